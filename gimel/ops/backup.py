"""Exports the counts of namespaces to a file, and imports them into another Redis.

Commands of one key each, which a cluster takes too. Memory grows with the names, not with the visitors.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from itertools import count, islice
from pathlib import Path
from typing import Any, TypeVar

from redis.crc import key_slot

import gimel
from gimel import lives, plans
from gimel.config import Config
from gimel.counters import ask_each
from gimel.frozen import Frozen
from gimel.histories import History
from gimel.hyperloglog import BITMAPS
from gimel.keyspace import (
    LAST_SNAPSHOT_KEY,
    NAMESPACES_KEY,
    all_counters_key,
    counters_key,
    ended_key,
    experiments_key,
    frozen_key,
    history_key,
    own_counters,
    settings_key,
    statuses_key,
    stopped_key,
)
from gimel.lives import Life
from gimel.namespaces import find_namespaces
from gimel.plans import Ended
from gimel.round_trip import Client, Command, as_hash
from gimel.settings import KEYS, ExperimentSettings

from . import backup_file
from .backup_file import BackupError, Entry, as_bytes, as_text, registers

MEMBERS = 1000  # of an exact counter, in one line of the file
BATCH = 100  # entries for one round trip
TEMPORARY_S = 3600

Item = TypeVar("Item")
Progress = Callable[[int, int], object]
"""Called with what is done, and the whole."""


class TargetDiffers(BackupError):
    """The target already has other counts under these names."""


@dataclass
class Summary:
    """What was exported or imported. `settings`: those of experiments that this config.json lacks."""

    namespaces: set[str] = field(default_factory=set)
    experiments: int = 0
    counters: set[bytes] = field(default_factory=set)
    settings: dict[str, Mapping[str, Any]] = field(default_factory=dict)


def export(
    client: Client, namespaces: Sequence[str], path: Path, config: Config, progress: Progress = lambda *_: None
) -> Summary:
    """Write the counts of these namespaces to a new file. Raises BackupError and StoreUnavailable."""
    sizes = {namespace: _size(client, namespace) for namespace in namespaces}
    empty = [namespace for namespace, size in sizes.items() if not size["experiments"]]
    if empty or not sizes:
        hint = f"namespaces with experiments: {', '.join(find_namespaces(client)) or 'none'}"
        raise BackupError(f"no experiments to export in {', '.join(empty) or 'this Redis'}", hint)
    total = sum(size["counters"] for size in sizes.values())
    summary = Summary()

    def entries() -> Iterator[Entry]:
        for namespace in namespaces:
            for entry in _count_up(summary, _entries(client, namespace, config)):
                yield entry
                progress(min(len(summary.counters), total), total)

    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    header = {"version": gimel.__version__, "created": created, "namespaces": sizes}
    backup_file.write(path, header, entries())
    return summary


def load(
    client: Client,
    path: Path,
    config: Config,
    into: str | None = None,
    merge: bool = False,
    progress: Progress = lambda *_: None,
) -> Summary:
    """Add the counts in a file to Redis, after all of it was read and compared with what is there.

    An import that was interrupted can be run again: what it wrote is found equal. `into` is another namespace for the
    counts; with `merge`, they are added to others that are there. Raises BackupError, DamagedFile, TargetDiffers and
    StoreUnavailable.
    """
    comparison = _Comparison(client, merge)
    for batch in _batches(_read(path, into, 0, progress)):
        comparison.add(batch)
    comparison.finish()
    # Without the last snapshot, the next one takes nothing that is imported for what began since then.
    ask_each(client, [("DEL", LAST_SNAPSHOT_KEY)])
    summary = Summary()
    for batch in _batches(_count_up(summary, _read(path, into, 1, progress))):
        _write(client, batch, merge)
        own = {as_text(entry.experiment): entry.settings for entry in batch if entry.settings}
        summary.settings |= {name: found for name, found in own.items() if found != _settings(config, name)}
    ask_each(client, [("DEL", LAST_SNAPSHOT_KEY)])  # again, if one was taken meanwhile
    return summary


def _size(client: Client, namespace: str) -> dict[str, int]:
    experiments = _experiments(client, namespace)
    sizes = ask_each(client, [("SCARD", as_bytes(counters_key(namespace, as_text(name)))) for name in experiments])
    return {"experiments": len(experiments), "counters": sum(sizes)}


def _experiments(client: Client, namespace: str) -> dict[bytes, bool]:
    """The names of all experiments, sorted, and whether they count: drafts and archived ones do not."""
    counting = _members(client, experiments_key(namespace))
    statuses = as_hash(_ask(client, "HGETALL", as_bytes(statuses_key(namespace))))
    return {name: name in counting for name in sorted({*counting, *statuses})}


def _entries(client: Client, namespace: str, config: Config) -> Iterator[Entry]:
    space = as_bytes(namespace)
    for name, is_counting in _experiments(client, namespace).items():
        experiment = as_text(name)
        # Before the counts, which are then no older.
        life = lives.read(client, namespace, [experiment])[experiment]
        frozen = Frozen.decode(_ask(client, "GET", frozen_key(namespace, experiment)))
        ended = plans.read(client, namespace, [experiment]).get(experiment)
        history = History.decode(_ask(client, "GET", history_key(namespace, experiment)))
        if is_counting:
            yield Entry(space, name, settings=_settings(config, experiment))
        own = list(own_counters(namespace, experiment, _members(client, counters_key(namespace, experiment))))
        bitmaps: defaultdict[bytes, dict[str, bytes]] = defaultdict(dict)
        for counter in own:
            if counter.kind in BITMAPS:
                bitmaps[counter.listed_key][counter.kind] = counter.key
        for group in _batches(counter for counter in own if counter.kind not in BITMAPS):
            keys = [counter.key for counter in group if counter.kind != "exact"]
            strings = dict(zip(keys, ask_each(client, [("GET", key) for key in keys])))
            for counter in group:
                entry = Entry(space, name, counter.key[len(space) + 1 :])
                if counter.kind == "exact":
                    yield from _exact(client, entry)
                elif strings[counter.key] is None:  # listed, but not there: the report has it with a count of 0
                    yield entry
                else:
                    hyperloglog = _registers(counter.key, strings[counter.key])
                    # One after the other, as they are large, and after the HyperLogLog, so that they have all it has.
                    found = {kind: _ask(client, "GET", key) for kind, key in bitmaps[counter.key].items()}
                    yield replace(
                        entry, hyperloglog=hyperloglog, bitmaps={k: bits for k, bits in found.items() if bits}
                    )
        if ended:
            yield Entry(space, name, ended=ended)
        if history:
            yield Entry(space, name, history=history)
        if life.version:
            yield Entry(space, name, life=life, frozen=frozen)


def _exact(client: Client, entry: Entry) -> Iterator[Entry]:
    cursor = None
    while cursor != b"0":
        cursor, members = _ask(client, "SSCAN", entry.full_key, cursor or 0, "COUNT", MEMBERS)
        yield replace(entry, members=tuple(members))


def _members(client: Client, key: str) -> list[bytes]:
    return sorted(_ask(client, "SMEMBERS", as_bytes(key)))


def _ask(client: Client, *command: Any) -> Any:
    return ask_each(client, [command])[0]


def _registers(key: bytes, value: bytes) -> bytes:
    try:
        return registers(value)
    except ValueError:
        raise BackupError(f"key {as_text(key)} is not a HyperLogLog", "delete or rename it") from None


def _settings(config: Config, experiment: str) -> dict[str, Any]:
    """What config.json says of this experiment, for JSON."""
    default = vars(ExperimentSettings())
    own = vars(config.experiment(experiment))
    found = {name: own[name] for name in own.keys() & KEYS if own[name] != default[name]}
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in sorted(found.items())}


def _count_up(summary: Summary, entries: Iterable[Entry]) -> Iterator[Entry]:
    """The same entries, those of an experiment in a row, counted in `summary`."""
    last = None
    for entry in entries:
        summary.namespaces.add(as_text(entry.namespace))
        summary.experiments += (entry.namespace, entry.experiment) != last
        last = entry.namespace, entry.experiment
        if entry.key:
            summary.counters.add(entry.listed_key)
        yield entry


def _read(path: Path, into: str | None, done: int, progress: Progress) -> Iterator[Entry]:
    """The entries of a file, for the first or second of two passes over it."""
    found = set()
    for entry, position in backup_file.read(path):
        size = path.stat().st_size
        progress(done * size + position, 2 * size)
        if into is not None:
            found.add(entry.namespace)
            if len(found) > 1:
                raise BackupError(f"{path} has several namespaces", "import it without --into")
            entry = replace(entry, namespace=as_bytes(into))
        yield entry


def _write(client: Client, entries: Sequence[Entry], merge: bool) -> None:
    """Write these entries, each in such a way that doing so again changes nothing."""
    found = [entry for entry in entries if entry.hyperloglog]
    created = ask_each(client, [("SET", entry.full_key, entry.hyperloglog, "NX") for entry in found])
    others = _different(client, [entry for entry, is_new in zip(found, created) if not is_new])
    if others and not merge:
        raise _differs(others[0].full_key, "was counted while importing")
    partial = _partial_bitmaps(client, others)
    ask_each(client, [("SREM", _own(entry), *(entry.listed_bitmap(kind) for kind in BITMAPS)) for entry in others])
    for entry in found:
        for kind, bits in entry.bitmaps.items():
            for command in _merge(entry.bitmap_key(kind), bits, "BITOP", "OR", entry.bitmap_key(kind)):
                # One by one: BITOP's first argument is no key, so a cluster's node may have to send it on to another.
                ask_each(client, [command])
    ask_each(client, [each for entry in others for each in _merge(entry.full_key, entry.hyperloglog, "PFMERGE")])
    ask_each(client, [command for entry in entries for command in _add(entry)])
    whole = [
        ("SADD", _own(entry), entry.listed_bitmap(kind))
        for entry in found
        for kind in entry.bitmaps
        if (entry.full_key, kind) not in partial
    ]
    ask_each(client, whole)
    _write_ends(client, [entry for entry in entries if entry.ended])
    _write_histories(client, [entry for entry in entries if entry.history])
    _write_lives(client, [entry for entry in entries if entry.life])


def _write_ends(client: Client, entries: Sequence[Entry]) -> None:
    """Write the ends of plans. The earlier of two stands, and of the same second this one.

    A report that was read while counts were missing may have written another.
    """
    keys = [ended_key(as_text(entry.namespace), as_text(entry.experiment)) for entry in entries]
    values = [entry.ended.encode() for entry in entries if entry.ended]
    ask_each(client, [("SET", key, value, "NX") for key, value in zip(keys, values)])
    for entry, key, standing in zip(entries, keys, ask_each(client, [("GET", key) for key in keys])):
        other = Ended.decode(standing)
        if entry.ended and other and other.at >= entry.ended.at:
            ask_each(client, [("SET", key, entry.ended.encode())])


def _write_histories(client: Client, entries: Sequence[Entry]) -> None:
    """Write the histories. Of two, the one that began earlier stands, or else the one that goes on for longer.

    Two cannot be added up: how many visitors were in both at each moment, nobody has counted.
    """
    keys = [history_key(as_text(entry.namespace), as_text(entry.experiment)) for entry in entries]
    values = [entry.history.encode() for entry in entries if entry.history]
    ask_each(client, [("SET", key, value, "NX") for key, value in zip(keys, values)])
    for entry, key, value, found in zip(entries, keys, values, ask_each(client, [("GET", key) for key in keys])):
        standing = History.decode(found)
        if entry.history and standing and _span(entry.history) > _span(standing):
            ask_each(client, [("SET", key, value)])


def _write_lives(client: Client, entries: Sequence[Entry]) -> None:
    """Write the records of experiments, and what they had counted when they were stopped. Others that are there
    stand."""
    commands: list[Command] = []
    for entry in entries:
        namespace, name, life = as_text(entry.namespace), as_text(entry.experiment), entry.life
        if life and lives.read(client, namespace, [name])[name] in (Life(), life):
            if entry.frozen:
                commands.append(("SET", frozen_key(namespace, name), entry.frozen.encode(), "NX"))
            commands.append(("HSETNX", settings_key(namespace, name), life.version, life.encode()))
            commands.append(("HSET", as_bytes(statuses_key(namespace)), entry.experiment, life.status))
            if life.status in (lives.STOPPED, lives.ARCHIVED):
                commands.append(("SADD", as_bytes(stopped_key(namespace)), entry.experiment))
    ask_each(client, commands)


def _span(history: History) -> tuple[int, int]:
    """Greater for one that began earlier or, if both began at the same moment, that goes on for longer."""
    return -history.moments[0], history.moments[-1]


def _own(entry: Entry) -> bytes:
    return as_bytes(counters_key(as_text(entry.namespace), as_text(entry.experiment)))


def _partial_bitmaps(client: Client, entries: Sequence[Entry]) -> set[tuple[bytes, str]]:
    """The keys and kinds of which the target's HyperLogLog has uuids that its bitmap has not."""
    asked = [(entry, kind) for entry in entries for kind in BITMAPS]
    listed = ask_each(client, [("SISMEMBER", _own(entry), entry.listed_bitmap(kind)) for entry, kind in asked])
    return {(entry.full_key, kind) for (entry, kind), is_listed in zip(asked, listed) if not is_listed}


def _add(entry: Entry) -> Iterator[Command]:
    namespace = as_text(entry.namespace)
    if entry.members:
        yield "SADD", entry.full_key, *entry.members
    if entry.key:
        yield "SADD", as_bytes(all_counters_key(namespace)), entry.listed_key
        yield "SADD", _own(entry), entry.full_key
    if entry.counts:
        yield "SADD", as_bytes(experiments_key(namespace)), entry.experiment
    yield "SADD", NAMESPACES_KEY, entry.namespace


def _merge(key: bytes, value: bytes | None, *command: str | bytes) -> Iterator[Command]:
    """Merge this value with that of a key, by a command for the two."""
    beside = b"{%s}:importing" % _tag(key)
    yield "SET", beside, value, "EX", TEMPORARY_S
    yield *command, key, beside
    yield "DEL", beside


def _tag(key: bytes) -> bytes:
    """What, in braces, puts another key into the same slot of a cluster: PFMERGE and BITOP need that."""
    found = re.match(rb"[^{]*\{([^}]+)\}", key)
    if found or b"}" not in key:
        return found[1] if found else key
    return next(tag for tag in (b"%d" % number for number in count()) if key_slot(tag) == key_slot(key))


def _different(client: Client, entries: Sequence[Entry]) -> list[Entry]:
    """Those whose HyperLogLog in Redis is another."""
    values = ask_each(client, [("GET", entry.full_key) for entry in entries])
    return [
        entry
        for entry, value in zip(entries, values)
        if value is not None and _registers(entry.full_key, value) != entry.hyperloglog
    ]


def _differs(name: bytes, what: str) -> TargetDiffers:
    hint = "add the counts up with --merge, keep them apart with --into NAMESPACE, or delete the experiment there first"
    return TargetDiffers(f"the target has other counts: {as_text(name)} {what}", hint)


class _Comparison:
    """Compares all entries of a file with Redis, where only what the file has may be; with `merge`, anything may."""

    def __init__(self, client: Client, merge: bool) -> None:
        self.client = client
        self.merge = merge
        self.known: defaultdict[str, set[bytes]] = defaultdict(set)
        self.present: Counter[bytes] = Counter()

    def add(self, entries: Sequence[Entry]) -> None:
        """Compare these. Raises TargetDiffers."""
        if self.merge:
            return
        if others := _different(self.client, [entry for entry in entries if entry.hyperloglog]):
            raise _differs(others[0].full_key, "has another count than in the file")
        for entry in entries:
            namespace = as_text(entry.namespace)
            self.known[experiments_key(namespace)].add(entry.experiment)
            if entry.key:
                own = self.known[counters_key(namespace, as_text(entry.experiment))]
                own.update([entry.full_key, *(entry.listed_bitmap(kind) for kind in entry.bitmaps)])
        exact = [entry for entry in entries if entry.members]
        found = ask_each(self.client, [("SMISMEMBER", each.full_key, *each.members) for each in exact])
        for entry, flags in zip(exact, found):
            self.present[entry.full_key] += sum(flags)

    def finish(self) -> None:
        """Look for what the file does not have. Raises TargetDiffers."""
        for listing, names in self.known.items():
            for name in _members(self.client, listing):
                if name not in names:
                    raise _differs(name, "is not in the file")
        sizes = ask_each(self.client, [("SCARD", key) for key in self.present])
        for key, size in zip(self.present, sizes):
            if size > self.present[key]:
                raise _differs(key, "has another count than in the file")


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH)):
        yield batch
