"""The state of a deployment, as it is now: what runs, what waits, and what differs from the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

import redis

from gimel import connection, histories, snapshots
from gimel.config import RedisSettings
from gimel.counters import ask_each
from gimel.errors import GimelError
from gimel.events import DEFAULT_NAMESPACE
from gimel.keyspace import NAMESPACES_KEY, all_counters_key
from gimel.namespaces import primaries
from gimel.ops.nodes import engine, info, size
from gimel.passwords import IAM
from gimel.replies import unavailable

from .deployment import Deployment, Live
from .desired import ADDRESS
from .existing import Existing, Function
from .names import TRACK, Names
from .plan.functions import variables_of
from .redis_address import address


def describe(deployment: Deployment, existing: Existing, live: Live) -> dict[str, Any]:
    """The state that was observed, with Redis and what differs from the configuration, ready for JSON."""
    names = deployment.names
    own = {name: found for name, found in sorted(existing.functions.items()) if found.belongs_to(names.deployment)}
    return {
        "name": names.base,
        "region": names.account.region,
        "account": names.account.id,
        "track_url": live.track_url,
        "reports_url": live.reports_url,
        "functions": [_function(found) for found in own.values()],
        **_releases(own),
        "redis": _redis(deployment, own.get(names.function(TRACK))),
        "queue": _queue(existing, names),
        "schedule": existing.schedule.configuration["State"] == "ENABLED" if existing.schedule else None,
        "alarms": {name: alarm.configuration["StateValue"] for name, alarm in existing.alarms.items()},
        **_drift(deployment, existing),
    }


def _function(found: Function) -> dict[str, Any]:
    shown = found.versions.get(found.live or 0, found.latest)
    keys = {"runtime": "Runtime", "memory_mb": "MemorySize", "timeout_s": "Timeout", "state": "State"}
    return {"name": found.name, "version": found.live, **{key: shown.get(name) for key, name in keys.items()}}


def _releases(own: Mapping[str, Function]) -> dict[str, Any]:
    """The live release, those before it (the newest first), which one was rolled back, and the last deploy."""
    histories = [found.history for found in own.values() if found.live]
    live = {found.releases.get(found.live) for found in own.values() if found.live} - {None}
    before = dict.fromkeys(release for history in histories for release in history.releases if release not in live)
    left = {history.rolled_back_from for history in histories} - {None}
    changed = [version.get("LastModified", "") for found in own.values() for version in found.versions.values()]
    return {
        "releases": {
            "live": sorted(str(one) for one in live),
            "before": list(before),
            "rolled_back": sorted(str(one) for one in left),
        },
        "last_deploy": max(changed, default=None),
    }


def _redis(deployment: Deployment, track: Function | None) -> dict[str, Any]:
    """The Redis of the functions, and what it tells if it can be reached from here."""
    version = track.versions.get(track.live or 0, track.latest) if track else {}
    used = variables_of(version).get(ADDRESS)
    try:
        settings = deployment.config.redis
    except GimelError as error:
        return {"address": used, "problem": str(error)}
    configured = address(settings)
    used = used or configured
    if used != configured:
        return {"address": used, "problem": f"config.json names another one, {configured}"}
    try:
        return {"address": used, **_ask(settings, deployment.account.region)}
    except redis.ResponseError as error:
        return {"address": used, "problem": str(unavailable(error))}
    except (redis.RedisError, OSError, GimelError) as error:
        own = (settings.password or "").startswith(IAM)
        note = "; the functions sign in with their own role" if own else ""
        return {"address": used, "problem": f"cannot be asked from here: {error}{note}"}


def _ask(settings: RedisSettings, region: str) -> dict[str, Any]:
    client = connection.connect(settings, region)
    told = [info(node) for node in primaries(client)]
    named: list[bytes] = ask_each(client, [("SMEMBERS", NAMESPACES_KEY)])[0]
    namespaces = {DEFAULT_NAMESPACE, *(name.decode("utf-8", "replace") for name in named)}
    counters = sum(ask_each(client, [("SCARD", all_counters_key(namespace)) for namespace in namespaces]))
    last_snapshot = snapshots.last(client)
    sizes = [(int(one["used_memory"]), int(one.get("maxmemory", 0))) for one in told if "used_memory" in one]
    limits = [limit for _, limit in sizes if limit]
    fullest = max(sizes, key=lambda one: (one[0] / (one[1] or inf), one[0]), default=None) if len(told) > 1 else None
    logs = {one.get("aof_enabled") for one in told}
    return {
        "engine": _each(" ".join(engine(one)) for one in told),
        "nodes": size(told) if settings.cluster else None,
        "memory_bytes": sum(used for used, _ in sizes) if sizes else None,
        "max_memory_bytes": sum(limits) if len(limits) == len(told) else None,
        "fullest": {"memory_bytes": fullest[0], "max_memory_bytes": fullest[1] or None} if fullest else None,
        "counters": counters,
        "last_snapshot": None if last_snapshot is None else histories.as_text(last_snapshot),
        "eviction_policy": _each(one.get("maxmemory_policy") for one in told),
        "append_only_file": bool(logs.pop()) if logs in ({0}, {1}) else None,
    }


def _each(told: Iterable[str | None]) -> str | None:
    """What the nodes tell, each answer once; None if they do not."""
    return ", ".join(sorted({one.strip() for one in told if one})) or None


def _queue(existing: Existing, names: Names) -> dict[str, int] | None:
    queue, dead = existing.queues.get(names.queue), existing.queues.get(names.dead_letters)
    if not queue or not dead:
        return None
    return {"waiting": queue.waiting, "in_flight": queue.in_flight, "dead_letters": dead.messages}


def _drift(deployment: Deployment, existing: Existing) -> dict[str, Any]:
    """What a deploy would do now."""
    try:
        return {"drift": [step.description for step in deployment.plan(existing).steps]}
    except GimelError as error:
        return {"drift": None, "drift_problem": str(error)}
