"""The Redis side: record, count and forget. The keys are in `keyspace`."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from .config import Limits
from .deadline import apart, limit
from .errors import StoreUnavailable
from .events import DEFAULT_NAMESPACE, REASONS, Event
from .hyperloglog import BITMAPS, EXACT, Count, Precision, total
from .keyspace import (
    NAMESPACES_KEY,
    TURNED_AWAY_KEY,
    CounterName,
    Experiment,
    all_counters_key,
    bitmap_key,
    counter_key,
    counters_key,
    digest,
    ended_key,
    exact_key,
    experiments_key,
    frozen_key,
    history_key,
    ignored_key,
    listed_bitmap,
    own_bitmaps,
    own_counters,
    settings_key,
    statuses_key,
    stopped_key,
)
from .limits import NOTHING, Bounded, Created, Sizes, beyond, warn
from .outages import ask
from .round_trip import Client, Command, as_hash, rehearse, send
from .stopped import Stopped, questions

Counts = dict[str, dict[str, Count]]
"""How many distinct uuids, by goal and variant."""

READS = {"exact": "SCARD", **dict.fromkeys(BITMAPS, "BITCOUNT")}
"""How a key of each kind is read, if not by PFCOUNT."""

KEYS_AT_ONCE = 5000
"""Keys to read at a time for a report."""

MANY = 20
"""A request with more counters than this looks at what is new before it writes: to undo them would take long."""

REPORT_TIMEOUT_S = 8
"""A report of many counters takes longer than an event may; a function has 10 seconds by default."""

CHECK_TIMEOUT_S = 4
"""For the sizes, and to undo: reading a full experiment can take longer than an event may, but an event of new names
that is cut off leaves them in Redis."""

HEALTH_KEYS = 100
"""So many that each node of a cluster holds one, unless it has far fewer slots than others."""

IGNORED_KEPT_S = 2 * 86400

KNOWN_S = 60
"""How long a process takes for granted that what it has listed, a counter and each of its keys, is listed, as long as
the key exists."""

SHORT = 336
"""Commands with at most this many characters, and 8 more for each, fit into one packet of TCP, whichever they are."""

MAX_KNOWN = 20_000
"""How many counters and keys a process remembers so."""


def record(
    client: Client,
    events: Iterable[Event],
    precision_of: Callable[[str], Precision],
    limits: Limits | None = None,
    bounded: Bounded = lambda *_: (),
) -> list[tuple[Event, str]]:
    """Count these events, each once no matter how often it is sent, in one network round trip; in two, if there is a
    new bitmap.

    Returns those that are not counted, each with the reason: `limit` or `stopped`. Events of counters that are new, and
    beyond the limits or of a stopped experiment, are told by the replies: a second round trip looks at the sizes, and
    what was created is undone. Counters that exist are never beyond the limits. Which experiments are stopped is asked
    in the same round trip, and remembered for a while. `precision_of` gives an experiment's precision, and `bounded`
    the limits that do not apply to it. Raises StoreUnavailable.
    """
    by_names: defaultdict[tuple[str, ...], list[Event]] = defaultdict(list)
    for event in events:
        by_names[event[:4]].append(event)
    all_sent = {CounterName(*names): found for names, found in by_names.items()}

    known, stopped = _told.get(client) or _told.setdefault(client, ({}, Stopped()))
    namespaces = {name[0] for name in all_sent}
    sent = all_sent
    if stopped.names and any(name[:2] in stopped for name in all_sent):
        if stale := stopped.to_ask(namespaces):  # not in one round trip with events that would be counted then
            stopped.learn(stale, ask_each(client, questions(stale)))
        sent = {name: found for name, found in all_sent.items() if name[:2] not in stopped}

    members = _members(sent, precision_of)
    now = time.monotonic()
    were_known = are_known = all(known.get(name, now) > now for name in sent)
    complete: dict[str, bool] = {}

    def write() -> dict[CounterName, str]:
        nonlocal are_known
        if are_known:
            are_known = False  # asked again, the key exists because it has just been made, listed or not
            if _write_known(client, members, known, complete, stopped, namespaces):
                return {}
        start_s = time.monotonic()
        refused = write_all()
        if not refused:
            if len(known) > MAX_KNOWN:
                known.clear()
            known.update(dict.fromkeys((*sent, *members), start_s + KNOWN_S))
        return refused

    def write_all() -> dict[CounterName, str]:
        refused: dict[CounterName, str] = {}
        if limits and len(sent) > MANY and not were_known:  # of those, keys may have been made already, to be undone
            with apart(CHECK_TIMEOUT_S):
                missing = _missing(client, sent)
                refused = beyond(limits, missing, _sizes(client, missing.counters), bounded) if missing.counters else {}
        kept = {key: found for key, found in members.items() if found.name not in refused}
        created = _write(client, [name for name in sent if name not in refused], kept, complete, stopped)
        unwanted = [name for name in created.counters if name[:2] in stopped]
        if unwanted or (limits and created.counters):
            with apart(CHECK_TIMEOUT_S):
                undone = beyond(limits, created, _sizes(client, created.counters, created), bounded) if limits else {}
                refused |= undone
                if undone or unwanted:
                    _undo(client, created, {*undone, *unwanted}, precision_of)
        if limits and refused:
            warn(limits, refused)
        return refused | dict.fromkeys(unwanted, "stopped")

    try:
        refused = ask(client, write) if sent else {}
    except StoreUnavailable:
        for name in sent:
            known.pop(name, None)  # the key may have been made, and not listed
        raise
    if not refused and not stopped.names:
        return []
    reasons = dict.fromkeys(refused, "limit") | {name: "stopped" for name in all_sent if name[:2] in stopped}
    return [(event, reason) for name, reason in reasons.items() for event in all_sent[name]]


class _Members(NamedTuple):
    """What a key counts, and what to add to it; and the kind of the counter's bitmap, if it has one."""

    name: CounterName
    command: str
    members: Collection[str | bytes | int]
    kind: str = ""

    @property
    def is_bitmap(self) -> bool:
        return self.command == "SETBIT"

    def commands(self, key: str) -> list[Command]:
        """To write to this key."""
        if self.is_bitmap:
            return [("SETBIT", key, position, 1) for position in self.members]
        return [(self.command, key, *self.members)]


_Known = dict[CounterName | str, float]
"""Counters and keys that this process has listed, and until when it takes that for granted, by its clock."""

_told: WeakKeyDictionary[Client, tuple[_Known, Stopped]] = WeakKeyDictionary()
"""What Redis has told this process, by client."""


def learn_stopped(client: Client, namespace: str) -> None:
    """Know at once which experiments are stopped: this process has changed it. Raises StoreUnavailable."""
    _, stopped = _told.setdefault(client, ({}, Stopped()))
    stopped.learn([namespace], ask_each(client, questions([namespace])))


def _members(
    sent: Mapping[CounterName, Iterable[Event]], precision_of: Callable[[str], Precision]
) -> dict[str, _Members]:
    """What to add to which key."""
    found: dict[str, _Members] = {}
    for name, events in sent.items():
        precision = precision_of(name.experiment)
        if precision == EXACT:
            found[exact_key(*name)] = _Members(name, "SADD", {digest(event.uuid) for event in events})
            continue
        if isinstance(precision, str):
            positions = {int.from_bytes(digest(event.uuid), "big") % BITMAPS[precision] for event in events}
            found[counter_key(*name)] = _Members(name, "PFADD", {event.uuid for event in events}, precision)
            found[bitmap_key(precision, *name)] = _Members(name, "SETBIT", positions, precision)
            continue
        shards: defaultdict[int, set[str | bytes]] = defaultdict(set)
        for event in events:
            shards[int.from_bytes(digest(event.uuid), "big") % precision if precision > 1 else 0].add(event.uuid)
        for shard, members in shards.items():
            found[counter_key(*name, shard)] = _Members(name, "PFADD", members)
    return found


def _write_known(
    client: Client,
    members: Mapping[str, _Members],
    known: _Known,
    complete: dict[str, bool],
    stopped: Stopped,
    namespaces: Collection[str],
) -> bool:
    """Count these events of counters that were listed a while ago. Returns whether they still are.

    Adds to `complete` which bitmaps are, and to `stopped` which experiments of these namespaces are, if it is time.

    Whoever deletes a counter deletes its key, too. So if the key exists, the counter is still listed; if not, it must
    be listed anew. Nothing may come between the two commands of a key. Redis reads a short event at once; a longer
    message it may read in parts, so that is a transaction where there are some.

    Whoever made a key may have ended before listing it, so each process lists each key once in a while.
    """
    now = time.monotonic()
    commands: list[Command] = []
    places = {}
    for key, found in members.items():
        places[key] = len(commands)
        commands += [("EXISTS", key), *found.commands(key)]
    is_short = len(commands) <= 4 and sum(8 + sum(len(str(one)) for one in each[1:]) for each in commands) <= SHORT
    end = len(commands)
    unsure = [key for key, found in members.items() if not found.is_bitmap and known.get(key, now) <= now]
    commands += [("SADD", counters_key(*members[key].name[:2]), key) for key in unsure]
    commands += _unlist_partial(members, unsure)
    stale = stopped.to_ask(namespaces)
    # Once, as the second time, all keys exist.
    replies = send(client, commands, atomic=not is_short, once=True, spare=questions(stale))
    if stale:
        stopped.learn(stale, replies[len(commands) :])
    existed = {key: replies[place] for key, place in places.items()}
    complete |= _complete(members, existed)
    if not all(existed.values()) or any(replies[end : end + len(unsure)]):
        return False
    known.update(dict.fromkeys(unsure, now + KNOWN_S))
    return True


def _write(
    client: Client,
    sent: Sequence[CounterName],
    members: Mapping[str, _Members],
    complete: dict[str, bool],
    stopped: Stopped,
) -> Created:
    """List these counters and count these events, and return what is new.

    Adds to `complete` which bitmaps are, and lists these; and to `stopped` which experiments are. Always: if something
    is new, its experiment may have been archived a moment ago.
    """
    own: defaultdict[str, list[str]] = defaultdict(list)
    for key, found in members.items():
        if not found.is_bitmap:
            own[counters_key(*found.name[:2])].append(key)
    commands = [
        *_ask_for_names(sent, "SADD"),
        *(("SADD", key, *listed) for key, listed in own.items()),
        *_unlist_partial(members, members),
    ]
    places = {}
    for key, found in members.items():
        if found.kind:
            places[key] = len(commands)
            commands.append(("EXISTS", key))
        if found.is_bitmap:
            commands.append(("SETBIT", key, BITMAPS[found.kind], 0))  # all of it at once, which takes less memory
        commands += found.commands(key)
    namespaces, _ = _places(sent)
    replies = send(client, commands, atomic=True, spare=questions(namespaces))
    stopped.learn(namespaces, replies[len(commands) :])
    complete |= _complete(members, {key: replies[place] for key, place in places.items()})
    _list_complete(client, members, complete)
    return _created(sent, iter(replies), is_new=1)


def _complete(members: Mapping[str, _Members], existed: Mapping[str, int]) -> dict[str, bool]:
    """Whether new bitmaps have every uuid of their HyperLogLogs: if both are new."""
    found = {}
    for key, one in members.items():
        if one.is_bitmap:
            before = existed[counter_key(*one.name)], existed[key]
            if not all(before):
                found[key] = not any(before)
    return found


def _list_complete(client: Client, members: Mapping[str, _Members], complete: Mapping[str, bool]) -> None:
    """List the bitmaps that are complete, which lets them be read, and no others.

    A counter that was deleted meanwhile is not listed, and then its bitmap must not be, either.
    """
    commands: list[Command] = []
    for key, is_complete in complete.items():
        if key in members:
            name, own = members[key].name, counters_key(*members[key].name[:2])
            listed = own, listed_bitmap(members[key].kind, *name)
            commands += [("SISMEMBER", own, counter_key(*name)), ("SADD" if is_complete else "SREM", *listed)]
    replies = send(client, commands, atomic=True)
    send(client, [("SREM", *change[1:]) for is_listed, change in zip(replies[::2], commands[1::2]) if not is_listed])


def _unlist_partial(members: Mapping[str, _Members], keys: Iterable[str]) -> Iterator[Command]:
    """Bitmaps that do not get what the HyperLogLogs among these keys get are not to be read any more."""
    for key in keys:
        found = members[key]
        if key == counter_key(*found.name):
            partial = [listed_bitmap(kind, *found.name) for kind in BITMAPS if kind != found.kind]
            yield "SREM", counters_key(*found.name[:2]), *partial


def _missing(client: Client, sent: Iterable[CounterName]) -> Created:
    """What would be new."""
    return _created(sent, iter(send(client, _ask_for_names(sent, "SISMEMBER"))), is_new=0)


def _ask_for_names(sent: Iterable[CounterName], command: str) -> list[Command]:
    """This command for each name and the set that lists it. `_created` reads the replies."""
    namespaces, experiments = _places(sent)
    commands: list[Command] = []
    for namespace in namespaces:
        commands += [(command, NAMESPACES_KEY, namespace), ("SCARD", experiments_key(namespace))]
    commands += [(command, experiments_key(namespace), experiment) for namespace, experiment in experiments]
    return commands + [(command, all_counters_key(name.namespace), counter_key(*name)) for name in sent]


def _places(names: Iterable[CounterName]) -> tuple[list[str], list[Experiment]]:
    """The namespaces and experiments of these counters, each once."""
    experiments = list(dict.fromkeys(name[:2] for name in names))
    return list(dict.fromkeys(namespace for namespace, _ in experiments)), experiments


def _created(sent: Iterable[CounterName], replies: Iterator[int], is_new: int) -> Created:
    """What is new, by the replies to `_ask_for_names`, which are `is_new` for a new name."""
    namespaces, experiments = _places(sent)
    # A namespace that held experiments is not new, even if it is listed only now.
    new_namespaces = [one for one in namespaces if (next(replies), next(replies)) == (is_new, 0)]
    new_experiments = {one: None for one in experiments if next(replies) == is_new}
    # In a new experiment, a counter that is not new is somebody else's of this moment.
    new_counters = [name for name in sent if next(replies) == is_new or name[:2] in new_experiments]
    return Created(new_namespaces, list(new_experiments), new_counters)


def _sizes(client: Client, names: Iterable[CounterName], created: Created = NOTHING) -> Sizes:
    """What Redis holds of the namespaces and experiments of these counters, besides what was created.

    Others may have taken some of that away since, so it is asked in the same transaction what is still there.
    """
    namespaces, experiments = _places(names)
    commands = [
        ("SCARD", NAMESPACES_KEY),
        *(("SCARD", experiments_key(namespace)) for namespace in namespaces),
        *(("SCARD", all_counters_key(namespace)) for namespace in namespaces),
        *(("SMEMBERS", counters_key(*experiment)) for experiment in experiments),
        *(("SISMEMBER", NAMESPACES_KEY, namespace) for namespace in created.namespaces),
        *(("SISMEMBER", experiments_key(namespace), experiment) for namespace, experiment in created.experiments),
        *(("SISMEMBER", all_counters_key(name.namespace), counter_key(*name)) for name in created.counters),
    ]
    replies = iter(send(client, commands, atomic=True))
    sizes = Sizes(
        next(replies),
        {namespace: next(replies) for namespace in namespaces},
        {namespace: next(replies) for namespace in namespaces},
        {one: {(own.goal, own.variant) for own in own_counters(*one, next(replies))} for one in experiments},
    )
    still_there = Created(
        [one for one in created.namespaces if next(replies)],
        [one for one in created.experiments if next(replies)],
        [one for one in created.counters if next(replies)],
    )
    return sizes.without(still_there)


def _undo(
    client: Client, created: Created, refused: Collection[CounterName], precision_of: Callable[[str], Precision]
) -> None:
    """Delete these counters, and the created experiments and namespaces that have no other.

    Somebody may be writing the same names. So what lists a name is always taken away before what it lists, and whoever
    writes the name after that creates it anew, and checks it anew. A counter is taken out of both of its lists at once,
    though its experiment's is deleted before: it may have been listed there anew.
    """
    kept = set(created.counters).difference(refused)
    namespaces = set(created.namespaces) - {name.namespace for name in kept}
    experiments = set(created.experiments) - {name[:2] for name in kept}
    commands: list[Command] = []
    for namespace in namespaces:
        listing = experiments_key(namespace)
        commands += [("SMEMBERS", listing), ("DEL", listing), ("SREM", NAMESPACES_KEY, namespace)]
    found = send(client, commands, atomic=True)[::3]
    experiments |= {(namespace, name.decode()) for namespace, names in zip(namespaces, found) for name in names}
    commands = []
    for experiment in experiments:
        own = counters_key(*experiment)
        commands += [("SREM", experiments_key(experiment[0]), experiment[1]), ("SMEMBERS", own), ("DEL", own)]
    found = send(client, commands, atomic=True)[1::3]
    commands = []
    unwanted = set(refused)
    for experiment, members in zip(experiments, found):
        for counter in own_counters(*experiment, members):
            unwanted.add(CounterName(*experiment, counter.goal, counter.variant))
            commands.append(("DEL", counter.key))  # of another precision, perhaps
    for name in unwanted:
        precision = precision_of(name.experiment)
        shards = precision if isinstance(precision, int) else 1
        keys = [exact_key(*name)] if precision == EXACT else [counter_key(*name, shard) for shard in range(shards)]
        listed = [*keys, *(listed_bitmap(kind, *name) for kind in BITMAPS)]
        keys += [bitmap_key(kind, *name) for kind in BITMAPS]
        commands += [
            ("SREM", all_counters_key(name.namespace), counter_key(*name)),
            ("SREM", counters_key(*name[:2]), *listed),
            *(("DEL", key) for key in keys),
        ]
    send(client, commands, atomic=True)


def check_writable(client: Client, with_bitmaps: bool = False) -> None:
    """Check that events can be counted now, and leave nothing behind; also `with_bitmaps`, if there are some.

    Raises StoreUnavailable, which says what is wrong.
    """
    names = (DEFAULT_NAMESPACE, "health", "health", "health")
    writes: list[Command] = [(change, experiments_key(DEFAULT_NAMESPACE), "health") for change in ("SADD", "SREM")]
    writes.append(("EXISTS", counter_key(*names)))
    writes += [("PFADD", counter_key(*names, shard), "health") for shard in range(HEALTH_KEYS)]
    if with_bitmaps:
        writes += [("SETBIT", bitmap_key(kind, *names), 0, 1) for kind in BITMAPS]
    # Queueing a write is refused by a replica, in full memory, after a failed save and without permission.
    ask(client, lambda: rehearse(client, writes))


def ignore(client: Client, ignored: Collection[tuple[str, str]], also: Sequence[Command] = ()) -> None:
    """Count a request ignored today, once for each of these namespaces and reasons, in one round trip.

    In the same one, `also` do these commands, which may fail.

    A namespace without experiments, which a stranger may have invented, is counted under the name of none, in two
    further round trips. Raises StoreUnavailable.
    """
    key = ignored_key()

    def write() -> None:
        counted = [("HINCRBY", key, f"{reason} {namespace}", 1) for namespace, reason in ignored]
        replies = send(client, [*counted, ("EXPIRE", key, IGNORED_KEPT_S)], spare=also)
        new = [one for one, times in zip(ignored, replies) if times == 1]
        known = send(client, [("EXISTS", experiments_key(namespace)) for namespace, _ in new])
        commands: list[Command] = []
        for (namespace, reason), is_known in zip(new, known):
            if not is_known:
                commands += [("HDEL", key, f"{reason} {namespace}"), ("HINCRBY", key, f"{reason} ", 1)]
        send(client, commands)

    ask(client, write)


class Overview(NamedTuple):
    """The names of all experiments of a namespace that have counters, sorted; how many requests were ignored today, by
    reason; the namespaces that have experiments, sorted, or else the default one; the recorded statuses by name; and
    what `turned_away.read` reads."""

    names: list[str]
    ignored: dict[str, int]
    namespaces: list[str]
    statuses: dict[str, str]
    turned_away: Sequence[bytes]


def overview(client: Client, namespace: str) -> Overview:
    """What there is, in one round trip.

    Requests for names that are no namespace count for every namespace. Raises StoreUnavailable.
    """
    fields = [(reason, name) for reason in REASONS for name in (namespace, "")]

    asked = [
        ("SMEMBERS", experiments_key(namespace)),
        ("HMGET", ignored_key(), *(" ".join(one) for one in fields)),
        ("SMEMBERS", NAMESPACES_KEY),
        ("HGETALL", statuses_key(namespace)),
    ]
    newest_first = [("ZREVRANGE", TURNED_AWAY_KEY, 0, -1, "WITHSCORES")]  # a report can do without
    members, counted, listed, recorded, told = ask_each(client, asked, may_be_old=True, spare=newest_first)
    ignored: defaultdict[str, int] = defaultdict(int)
    for (reason, _), value in zip(fields, counted):
        if value:
            ignored[reason] += int(value)
    names = sorted(name.decode("utf-8", "replace") for name in members)
    # One of Gimel 1.x is not listed before the first snapshot.
    namespaces = {*(name.decode("utf-8", "replace") for name in listed), *([namespace] if names else [])}
    statuses = {name.decode("utf-8", "replace"): status.decode() for name, status in as_hash(recorded).items()}
    return Overview(names, dict(ignored), sorted(namespaces or {DEFAULT_NAMESPACE}), statuses, told or ())


def count(client: Client, namespace: str, names: Sequence[str]) -> dict[str, Counts]:
    """The counts of each of these experiments, as `count_with` has them. Raises StoreUnavailable."""
    return count_with(client, namespace, names)[0]


def count_with(
    client: Client, namespace: str, names: Sequence[str], before: Sequence[Command] = ()
) -> tuple[dict[str, Counts], list[Any]]:
    """The counts of each of these experiments, and the replies to the commands `before`, which are older than the
    counts and never those of a replica; in two round trips however many there are.

    Everything found for a goal and variant is added up, so that raising the precision loses no count; but of a bitmap
    and its HyperLogLog, which have the same uuids, the more exact one is read. An experiment without participants has
    no counts. Raises StoreUnavailable.
    """
    listed = [("SMEMBERS", counters_key(namespace, name)) for name in names]
    with limit(REPORT_TIMEOUT_S):
        replies = ask_each(client, [*before, *listed], may_be_old=not before)
        members = replies[len(before) :]
        own = [(name, one) for name, keys in zip(names, members) for one in own_counters(namespace, name, keys)]
        values = ask_each(
            client,
            [(READS.get(counter.kind, "PFCOUNT"), counter.key) for _, counter in own],
            may_be_old=True,
        )
    readings: defaultdict[tuple[str, str, str], list[tuple[str, int]]] = defaultdict(list)
    for (name, counter), value in zip(own, values):
        readings[name, counter.goal, counter.variant].append((counter.kind, value))
    counts: dict[str, Counts] = {name: {} for name in names}
    for (name, goal, variant), parts in readings.items():
        exact = sum(value for kind, value in parts if kind == "exact")
        first = sum(value for kind, value in parts if kind == "counters")
        others = [value for kind, value in parts if kind == "shards"]
        bits_set = {kind: value for kind, value in parts if kind in BITMAPS}
        counts[name].setdefault(goal, {})[variant] = total(exact, [first, *others], bits_set)
    return counts, replies[: len(before)]


def batches(client: Client, namespace: str, names: Sequence[str]) -> Iterator[list[str]]:
    """These experiments in order, in batches of KEYS_AT_ONCE counters' keys or of one experiment.

    This bounds the memory that `count` takes, and how long it keeps Redis busy. Raises StoreUnavailable.
    """
    sizes = ask_each(client, [("SCARD", counters_key(namespace, name)) for name in names], may_be_old=True)
    batch: list[str] = []
    keys = 0
    for name, size in zip(names, sizes):
        if batch and keys + size > KEYS_AT_ONCE:
            yield batch
            batch, keys = [], 0
        batch.append(name)
        keys += size
    if batch:
        yield batch


OWN_KEYS = (ended_key, history_key, frozen_key, settings_key)
"""What Redis has of an experiment besides its counters."""


def forget(client: Client, namespace: str, experiment: str, keeps_report: bool = False) -> None:
    """Delete an experiment's counters, name, settings, history and end of its plan, and nothing else.

    With `keeps_report`, only its counters, and its name among those that count. Raises StoreUnavailable.

    The set by which its counters are found is emptied last, so that whatever fails, the same again deletes the rest.
    """
    own = counters_key(namespace, experiment)
    others = [] if keeps_report else [key(namespace, experiment) for key in OWN_KEYS]

    def run() -> None:
        is_left = True
        while is_left:
            (members,) = send(client, [("SMEMBERS", own)])
            counters = list(own_counters(namespace, experiment, members))
            keys = [counter.key for counter in counters]
            bitmaps = {key for one in counters for key in own_bitmaps(namespace, one.listed_key)}  # some are not listed
            unlist: list[Command] = [("SREM", experiments_key(namespace), experiment)]
            if not keeps_report:
                unlist += [("HDEL", statuses_key(namespace), experiment), ("SREM", stopped_key(namespace), experiment)]
            if keys:
                listed = {counter.listed_key for counter in counters}
                unlist.append(("SREM", all_counters_key(namespace), *listed.union(keys)))
            free: list[Command] = [("DEL", key) for key in (*bitmaps.union(keys), *others)]
            # At once, and not as a transaction: a full Redis refuses those until memory is freed.
            send(client, free + unlist)
            take_out: list[Command] = [("SREM", own, *members)] if members else []
            # Again what somebody has counted since. A counter that is new since is left in the set, and found there.
            is_left = send(client, [*unlist, *take_out, *free, ("SCARD", own)], atomic=True)[-1] > 0
        left = [("SCARD", experiments_key(namespace)), ("HLEN", statuses_key(namespace))]
        if any(send(client, left)):
            return
        if any(send(client, [("SREM", NAMESPACES_KEY, namespace), *left], atomic=True)[1:]):  # somebody came in between
            send(client, [("SADD", NAMESPACES_KEY, namespace)])

    ask(client, run, REPORT_TIMEOUT_S)


def ask_each(
    client: Client, commands: Sequence[Command], may_be_old: bool = False, spare: Sequence[Command] = ()
) -> list[Any]:
    """The replies to these commands, in one round trip; if they may be a moment old, from replicas.

    Then those to the `spare` ones, which may fail: None. Raises StoreUnavailable.
    """
    return ask(client, lambda: send(client, commands, from_replicas=may_be_old, spare=spare), REPORT_TIMEOUT_S)
