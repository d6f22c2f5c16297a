"""The keyspace: what Gimel keeps in Redis, and how names become keys and keys names.

The keys are those of Gimel 1.x, byte for byte:

    {namespace}:experiments                                       set of experiment names
    {namespace}:counter_keys                                      set of a key of each counter
    {namespace}:{experiment}:counter_keys                         set of the keys of that experiment's counters
    {namespace}:counters:{experiment}:{goal}:{variant}            HyperLogLog of the uuids of one event

In the second, a counter stands once, under its key in the fourth line, whether it has that key or others.

A precision above 1 spreads a counter over several HyperLogLogs, whose counts are added; Gimel 1.x's key is shard 0.
An exact counter is a set. All have a second word of their own, so that no two names can produce the same key:

    {namespace}:shards:{experiment}:{goal}:{variant}:{shard}      HyperLogLog of some of the uuids
    {namespace}:exact:{experiment}:{goal}:{variant}               set of 8-byte hashes of the uuids

A bitmap stands beside Gimel 1.x's HyperLogLog, which gets every uuid, too. The key of that is in it, with braces, so
that a cluster keeps both in one slot:

    {namespace}:bitmap:{the key in the fourth line}               bitmap of hashes of the uuids; or bitmap-768, larger

Gimel 1.x asks for the PFCOUNT of whatever the third line lists, and fails where that is no HyperLogLog. So a bitmap
is listed there under a name that is no key, and only if it has every uuid that the HyperLogLog has:

    {namespace}:complete-bitmap:{experiment}:{goal}:{variant}     or complete-bitmap-768

The end of a planned experiment has a second word of its own, too. An experiment whose name begins with it has a key
like this only in the third line, which ends in another word:

    {namespace}:ended:{experiment}:counts                         string: counts and expected split at its end,
                                                                  compressed JSON

So has the history of an experiment:

    {namespace}:history:{experiment}:counts                       string: counts over time, and its verdicts, compressed

An experiment that is planned, stopped or archived here has settings and, once it was stopped, the counts of then:

    {namespace}:settings:{experiment}:versions                    hash: settings by version, JSON; the highest counts;
                                                                  compressed once archived
    {namespace}:frozen:{experiment}:counts                        string: counts when it was stopped, compressed
    {namespace}:statuses                                          hash: status by experiment, of those with settings
    {namespace}:stopped                                           set: experiments whose events are ignored

What belongs to no namespace has no colon in its key, so that no names can produce it either:

    gimel-namespaces                                              set of the namespaces
    gimel-last-snapshot                                           string: when the last snapshot of all experiments was
                                                                  taken, in minutes since 1970 (UTC)
    gimel-notices                                                 hash: what a webhook was told, or is still to be told
    gimel-notifying                                               string: a snapshot is sending notices; expires
    gimel-turned-away                                             sorted set: events that were not counted of late, JSON
                                                                  without ids, by the minute; expires after an hour
    gimel-ignored-{day}                                           hash: requests ignored on this day (UTC), by reason
                                                                  and namespace; expires after two days

Gimel 1.x reads goal and variant from the right of the key, so they must not contain a colon there: it is written
`%3A`, and a `%` before `3A` or `25` is written `%25`. The name `counter_keys`, which could make a counter's key equal
to that of a set, is written `counter%5Fkeys`. Every other name stays as it is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from functools import lru_cache
from typing import NamedTuple

from .hyperloglog import BITMAPS

SET_NAME = "counter_keys"
SET_NAME_ESCAPED = "counter%5Fkeys"

LISTED_BITMAP = "complete-"

KINDS = ("counters", "shards", "exact", *(LISTED_BITMAP + kind for kind in BITMAPS))
"""The second word of what an experiment's set lists."""

HASH_BYTES = 8

MAX_ESCAPED = 2_000
"""How many names are remembered as they are written: a process sees the same ones all the time."""

NAMESPACES_KEY = "gimel-namespaces"
LAST_SNAPSHOT_KEY = "gimel-last-snapshot"
NOTICES_KEY = "gimel-notices"
NOTIFYING_KEY = "gimel-notifying"
TURNED_AWAY_KEY = "gimel-turned-away"

Experiment = tuple[str, str]
"""A namespace and the name of an experiment."""


class CounterName(NamedTuple):
    """What a counter counts, however many keys it is spread over."""

    namespace: str
    experiment: str
    goal: str
    variant: str


class Counter(NamedTuple):
    """A key that counts, the key under which it stands among all counters, and what its names say it counts.

    `kind` is the second word of the key.
    """

    key: bytes
    listed_key: bytes
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


def bitmap_key(kind: str, namespace: str, experiment: str, goal: str, variant: str) -> str:
    """Bitmap of the hashes of the uuids of one event."""
    return f"{namespace}:{kind}:{{{counter_key(namespace, experiment, goal, variant)}}}"


def listed_bitmap(kind: str, namespace: str, experiment: str, goal: str, variant: str) -> str:
    """The name, no key, by which an experiment's set lists a bitmap that is complete."""
    return f"{namespace}:{LISTED_BITMAP}{kind}:{experiment}:{escape(goal)}:{escape(variant)}"


def experiments_key(namespace: str) -> str:
    """Set of the names of all experiments."""
    return f"{namespace}:experiments"


def all_counters_key(namespace: str) -> str:
    """Set of the keys of all counters."""
    return f"{namespace}:counter_keys"


def counters_key(namespace: str, experiment: str) -> str:
    """Set of the keys of one experiment's counters."""
    return f"{namespace}:{experiment}:counter_keys"


def ended_key(namespace: str, experiment: str) -> bytes:
    """String: the counts of one experiment when its plan ended."""
    return f"{namespace}:ended:{experiment}:counts".encode("utf-8", "surrogateescape")


def history_key(namespace: str, experiment: str) -> bytes:
    """String: the counts of one experiment over time."""
    return f"{namespace}:history:{experiment}:counts".encode("utf-8", "surrogateescape")


def settings_key(namespace: str, experiment: str) -> bytes:
    """Hash of the last versions of one experiment's settings."""
    return f"{namespace}:settings:{experiment}:versions".encode("utf-8", "surrogateescape")


def frozen_key(namespace: str, experiment: str) -> bytes:
    """String: the counts of one experiment when it was stopped."""
    return f"{namespace}:frozen:{experiment}:counts".encode("utf-8", "surrogateescape")


def statuses_key(namespace: str) -> str:
    """Hash of the status of each experiment that has settings."""
    return f"{namespace}:statuses"


def stopped_key(namespace: str) -> str:
    """Set of the names of the experiments whose events are ignored."""
    return f"{namespace}:stopped"


def ignored_key() -> str:
    """Hash of the requests ignored today, in UTC."""
    return f"gimel-ignored-{datetime.now(timezone.utc):%Y-%m-%d}"


@lru_cache(MAX_ESCAPED)
def escape(name: str) -> str:
    """Write a goal or variant without a colon, so that `unescape` reads it back as it was."""
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
    """The members of an experiment's set that are its counters. Other keys in it are not Gimel's, and are skipped."""
    prefixes = {kind: f"{namespace}:{kind}:{experiment}:".encode("utf-8", "surrogateescape") for kind in KINDS}
    known: dict[bytes, tuple[str, str]] = {}  # a counter may have hundreds of keys
    for key in members:
        for kind, prefix in prefixes.items():
            if key.startswith(prefix):
                names = key[len(prefix) :]
                if kind == "shards":
                    names = names.rpartition(b":")[0]
                if b":" in names:
                    if names not in known:
                        goal, variant = names.decode("utf-8", "replace").split(":")[-2:]
                        known[names] = unescape(goal), unescape(variant)
                    listed_key = prefixes["counters"] + names
                    if kind.startswith(LISTED_BITMAP):
                        kind = kind.removeprefix(LISTED_BITMAP)
                        (key,) = own_bitmaps(namespace, listed_key, [kind])
                    yield Counter(key, listed_key, kind, *known[names])


def own_bitmaps(namespace: str, listed_key: bytes, kinds: Iterable[str] = BITMAPS) -> list[bytes]:
    """The keys that a counter's bitmaps have, listed or not, by its key among all counters."""
    space = namespace.encode("utf-8", "surrogateescape")
    return [b"%b:%b:{%b}" % (space, kind.encode(), listed_key) for kind in kinds]


def digest(uuid: str) -> bytes:
    """A short hash of a uuid, the same in every process and version."""
    return hashlib.blake2b(uuid.encode(), digest_size=HASH_BYTES).digest()
