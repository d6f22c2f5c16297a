"""The Redis side: the keyspace on one page, then record, count and forget.

Keys are those of Gimel 1.x, byte for byte:

    {namespace}:experiments                                set of experiment names
    {namespace}:counter_keys                               set of the keys of all counters
    {namespace}:{experiment}:counter_keys                  set of the keys of that experiment's counters
    {namespace}:counters:{experiment}:{goal}:{variant}     HyperLogLog of the uuids of one event

Gimel 1.x reads goal and variant from the right of the key, so they may not hold a colon there: it is written `%3A`,
and a `%` that stands before `3A` or `25` is written `%25`. Every other name stays as it is.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import redis

from .errors import StoreUnavailable
from .events import Event

PARTICIPATE = "participate"

Counts = dict[str, dict[str, int]]
"""How many distinct uuids, by goal and variant."""


def counter_key(namespace: str, experiment: str, goal: str, variant: str) -> str:
    """HyperLogLog of the uuids of one event."""
    return f"{namespace}:counters:{experiment}:{escape(goal)}:{escape(variant)}"


def experiments_key(namespace: str) -> str:
    """Set of the names of all experiments."""
    return f"{namespace}:experiments"


def all_counters_key(namespace: str) -> str:
    """Set of the keys of all counters."""
    return f"{namespace}:counter_keys"


def counters_key(namespace: str, experiment: str) -> str:
    """Set of the keys of one experiment's counters."""
    return f"{namespace}:{experiment}:counter_keys"


def escape(name: str) -> str:
    """Write a goal or variant so that it holds no colon, and is read back by `unescape` as it was."""
    return re.sub(r":|%(?=3A|25)", lambda found: "%3A" if found[0] == ":" else "%25", name)


def unescape(text: str) -> str:
    """The goal or variant that `escape` wrote."""
    return re.sub(r"%(3A|25)", lambda found: ":" if found[1] == "3A" else "%", text)


def goal_and_variant(key: bytes) -> tuple[str, str]:
    """What a counter's key says it counts."""
    _, goal, variant = key.decode("utf-8", "replace").rsplit(":", 2)
    return unescape(goal), unescape(variant)


def record(client: redis.Redis, events: Iterable[Event]) -> None:
    """Count these events, each once however often it comes, in one network round trip, all or none.

    Raises StoreUnavailable.
    """
    sets: defaultdict[str, set[str]] = defaultdict(set)
    uuids: defaultdict[str, set[str]] = defaultdict(set)
    for event in events:
        key = counter_key(event.namespace, event.experiment, event.goal, event.variant)
        sets[experiments_key(event.namespace)].add(event.experiment)
        sets[all_counters_key(event.namespace)].add(key)
        sets[counters_key(event.namespace, event.experiment)].add(key)
        uuids[key].add(event.uuid)
    with _answering(), client.pipeline(transaction=True) as pipe:
        for name, members in sets.items():
            pipe.sadd(name, *members)
        for name, members in uuids.items():
            pipe.pfadd(name, *members)
        pipe.execute()


def experiments(client: redis.Redis, namespace: str) -> list[str]:
    """The names of all experiments, sorted, in one round trip. Raises StoreUnavailable."""
    with _answering():
        members = cast("set[bytes]", client.smembers(experiments_key(namespace)))
    return sorted(member.decode("utf-8", "replace") for member in members)


def count(client: redis.Redis, namespace: str, names: Sequence[str]) -> dict[str, Counts]:
    """The counts of each of these experiments, in two round trips whatever their number.

    An experiment that nobody took part in has no counts. Raises StoreUnavailable.
    """
    sets = [counters_key(namespace, name) for name in names]
    members: list[set[bytes]] = _pipeline(client, sets, lambda pipe, key: pipe.smembers(key))
    keys = [(name, key) for name, found in zip(names, members) for key in found]
    values: list[int] = _pipeline(client, keys, lambda pipe, item: pipe.pfcount(item[1]))
    counts: dict[str, Counts] = {name: {} for name in names}
    for (name, key), value in zip(keys, values):
        goal, variant = goal_and_variant(key)
        variants = counts[name].setdefault(goal, {})
        variants[variant] = variants.get(variant, 0) + value
    return counts


def forget(client: redis.Redis, namespace: str, experiment: str) -> None:
    """Delete an experiment's counters and its name, and nothing else. Raises StoreUnavailable."""
    own = counters_key(namespace, experiment)

    def delete(pipe: Any) -> None:
        keys = pipe.smembers(own)
        pipe.multi()
        if keys:
            pipe.srem(all_counters_key(namespace), *keys)
        pipe.delete(own, *keys)
        pipe.srem(experiments_key(namespace), experiment)

    # Watched, so that a counter made in between is not left behind, unlisted.
    with _answering():
        client.transaction(delete, own)


def _pipeline(client: redis.Redis, items: Sequence[Any], command: Callable[[Any, Any], object]) -> list[Any]:
    if not items:
        return []
    with _answering(), client.pipeline(transaction=False) as pipe:
        for item in items:
            command(pipe, item)
        return pipe.execute()


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise StoreUnavailable("Redis did not do what it was asked", str(error)) from error
