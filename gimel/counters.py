"""The Redis side: the keyspace on one page, then record, count and forget.

Keys are those of Gimel 1.x, byte for byte:

    {namespace}:experiments                                       set of experiment names
    {namespace}:counter_keys                                      set of the keys of all counters
    {namespace}:{experiment}:counter_keys                         set of the keys of that experiment's counters
    {namespace}:counters:{experiment}:{goal}:{variant}            HyperLogLog of the uuids of one event

A precision above 1 spreads a counter over more HyperLogLogs, whose counts are added; that of Gimel 1.x is number 0.
An exact counter is a set. Both have a second word of their own, so that no names can make two keys alike:

    {namespace}:shards:{experiment}:{goal}:{variant}:{number}     HyperLogLog of some of the uuids
    {namespace}:exact:{experiment}:{goal}:{variant}               set of 8-byte hashes of the uuids

Gimel 1.x reads goal and variant from the right of the key, so they may not hold a colon there: it is written `%3A`,
and a `%` that stands before `3A` or `25` is written `%25`. The name `counter_keys`, with which a counter's key could
equal that of a set, is written `counter%5Fkeys`. Every other name stays as it is.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import fsum, sqrt
from typing import Any, NamedTuple, cast

import redis

from .config import EXACT, Precision
from .errors import StoreUnavailable
from .events import Event
from .hyperloglog import Count, hyperloglog_error, unrounded

Counts = dict[str, dict[str, Count]]
"""How many distinct uuids, by goal and variant."""

SET_NAME = "counter_keys"
SET_NAME_ESCAPED = "counter%5Fkeys"

KINDS = ("counters", "shards", "exact")

HASH_BYTES = 8


class Counter(NamedTuple):
    """A key that counts, and what it says it counts."""

    key: bytes
    kind: str
    goal: str
    variant: str


def counter_key(namespace: str, experiment: str, goal: str, variant: str, shard: int = 0) -> str:
    """HyperLogLog of the uuids of one event, or of those in one of its shards."""
    names = f"{experiment}:{escape(goal)}:{escape(variant)}"
    return f"{namespace}:shards:{names}:{shard}" if shard else f"{namespace}:counters:{names}"


def exact_key(namespace: str, experiment: str, goal: str, variant: str) -> str:
    """Set of the hashes of the uuids of one event."""
    return f"{namespace}:exact:{experiment}:{escape(goal)}:{escape(variant)}"


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
    if name == SET_NAME:
        return SET_NAME_ESCAPED
    percents = r"%(?=3A|25)" if name != SET_NAME_ESCAPED else "%"
    return re.sub(f":|{percents}", lambda found: "%3A" if found[0] == ":" else "%25", name)


def unescape(text: str) -> str:
    """The goal or variant that `escape` wrote."""
    if text == SET_NAME_ESCAPED:
        return SET_NAME
    return re.sub(r"%(3A|25)", lambda found: ":" if found[1] == "3A" else "%", text)


def own_counters(namespace: str, experiment: str, members: Iterable[bytes]) -> Iterator[Counter]:
    """The members of an experiment's set that are its counters. A stranger among them is nothing of ours."""
    prefixes = {kind: f"{namespace}:{kind}:{experiment}:".encode() for kind in KINDS}
    for key in members:
        for kind, prefix in prefixes.items():
            if key.startswith(prefix):
                names = key[len(prefix) :].decode("utf-8", "replace").split(":")
                if kind == "shards":
                    del names[-1]
                if len(names) > 1:
                    yield Counter(key, kind, unescape(names[-2]), unescape(names[-1]))


def digest(uuid: str) -> bytes:
    """A short hash of a uuid, the same in every process and version."""
    return hashlib.blake2b(uuid.encode(), digest_size=HASH_BYTES).digest()


def record(client: redis.Redis, events: Iterable[Event], precision_of: Callable[[str], Precision]) -> None:
    """Count these events, each once however often it comes, in one transaction and one network round trip.

    `precision_of` tells an experiment's precision. Raises StoreUnavailable.
    """
    sets: defaultdict[str, set[str | bytes]] = defaultdict(set)
    uuids: defaultdict[str, set[str]] = defaultdict(set)
    for event in events:
        names = (event.namespace, event.experiment, event.goal, event.variant)
        precision = precision_of(event.experiment)
        if precision == EXACT:
            key = exact_key(*names)
            sets[key].add(digest(event.uuid))
        else:
            shard = int.from_bytes(digest(event.uuid), "big") % precision if precision > 1 else 0
            key = counter_key(*names, shard)
            uuids[key].add(event.uuid)
        sets[experiments_key(event.namespace)].add(event.experiment)
        sets[all_counters_key(event.namespace)].add(key)
        sets[counters_key(event.namespace, event.experiment)].add(key)
    with _answering(), client.pipeline(transaction=True) as pipe:
        for key, members in sets.items():
            pipe.sadd(key, *members)
        for key, visitors in uuids.items():
            pipe.pfadd(key, *visitors)
        pipe.execute()


def ping(client: redis.Redis) -> None:
    """Ask for an answer, whatever it is. Raises StoreUnavailable."""
    with _answering():
        client.ping()


def experiments(client: redis.Redis, namespace: str) -> list[str]:
    """The names of all experiments, sorted, in one round trip. Raises StoreUnavailable."""
    with _answering():
        members = cast("set[bytes]", client.smembers(experiments_key(namespace)))
    return sorted(member.decode("utf-8", "replace") for member in members)


def count(client: redis.Redis, namespace: str, names: Sequence[str]) -> dict[str, Counts]:
    """The counts of each of these experiments, in two round trips whatever their number.

    Whatever is found for a goal and variant is added up, so that a precision can be raised without losing a count. An
    experiment that nobody took part in has no counts. Raises StoreUnavailable.
    """
    sets = [counters_key(namespace, name) for name in names]
    members: list[set[bytes]] = _pipeline(client, sets, lambda pipe, key: pipe.smembers(key))
    own = [(name, one) for name, keys in zip(names, members) for one in own_counters(namespace, name, keys)]
    values: list[int] = _pipeline(client, [counter for _, counter in own], _size)
    found: dict[str, dict[tuple[str, str], list[tuple[float, float]]]] = {name: {} for name in names}
    for (name, counter), value in zip(own, values):
        part = (value, 0.0) if counter.kind == "exact" else (unrounded(value), value * hyperloglog_error(value))
        found[name].setdefault((counter.goal, counter.variant), []).append(part)
    counts: dict[str, Counts] = {name: {} for name in names}
    for name, parts_of in found.items():
        for (goal, variant), parts in parts_of.items():
            counts[name].setdefault(goal, {})[variant] = _total(parts)
    return counts


def _size(pipe: Any, counter: Counter) -> object:
    return pipe.execute_command("SCARD" if counter.kind == "exact" else "PFCOUNT", counter.key)


def _total(parts: Sequence[tuple[float, float]]) -> Count:
    """The sum of estimates that each have an absolute standard error of their own, independent of the others'.

    Redis gives a set's members in any order: fsum gives the same for each.
    """
    value = round(fsum(estimate for estimate, _ in parts))
    return Count(value, sqrt(fsum(error**2 for _, error in parts)) / value if value else 0.0)


def forget(client: redis.Redis, namespace: str, experiment: str) -> None:
    """Delete an experiment's counters and its name, and nothing else. Raises StoreUnavailable."""
    own = counters_key(namespace, experiment)

    def delete(pipe: Any) -> None:
        keys = [counter.key for counter in own_counters(namespace, experiment, pipe.smembers(own))]
        if keys:
            pipe.delete(*keys)  # at once: a Redis that is full takes no transaction before there is room
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
    except (redis.RedisError, OSError, UnicodeError) as error:
        raise StoreUnavailable("Redis did not do what it was asked", _cure(error)) from error


def _cure(error: Exception) -> str:
    if isinstance(error, redis.AuthenticationError):
        return "mend its username and password"
    if isinstance(error, (redis.ConnectionError, redis.TimeoutError, OSError)):
        return "check that it runs and that its address is right, or try again later"
    return "try again later"
