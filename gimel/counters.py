"""The Redis side: record, count and forget. The keys are in `keyspace`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import redis

from .config import Limits
from .deadline import apart, limit
from .events import DEFAULT_NAMESPACE, REASONS, Event
from .hyperloglog import EXACT, Count, Precision, total
from .keyspace import (
    NAMESPACES_KEY,
    CounterName,
    Experiment,
    all_counters_key,
    counter_key,
    counters_key,
    digest,
    exact_key,
    experiments_key,
    ignored_key,
    own_counters,
)
from .limits import Bounded, Created, Sizes, beyond, warn
from .outages import ask

Counts = dict[str, dict[str, Count]]
"""How many distinct uuids, by goal and variant."""

KEYS_AT_ONCE = 5000
"""Keys to read at a time for a report."""

MANY = 20
"""A request with more counters than this looks at what is new before it writes: to undo them would take long."""

REPORT_TIMEOUT_S = 8
"""A report of many counters takes longer than an event may; a function has 10 seconds by default."""

CHECK_TIMEOUT_S = 4
"""For the sizes, and to undo: reading a full experiment can take longer than an event may, but an event of new names
that is cut off leaves them in Redis."""

IGNORED_KEPT_S = 2 * 86400


def record(
    client: redis.Redis,
    events: Iterable[Event],
    precision_of: Callable[[str], Precision],
    limits: Limits | None = None,
    bounded: Bounded = lambda *_: (),
) -> list[Event]:
    """Count these events, each once no matter how often it is sent, in one transaction and one network round trip.

    Events of counters that are new, and beyond the limits, are not counted but returned: a second round trip looks at
    the sizes, and what was created beyond them is undone. Counters that exist are never refused. `precision_of` gives
    an experiment's precision, and `bounded` the limits that do not apply to it. Raises StoreUnavailable.
    """
    sent: defaultdict[CounterName, list[Event]] = defaultdict(list)
    for event in events:
        sent[CounterName(event.namespace, event.experiment, event.goal, event.variant)].append(event)

    def write() -> list[Event]:
        if limits is None:
            _write(client, sent, precision_of)
            return []
        refused = {}
        if len(sent) > MANY:
            with apart(CHECK_TIMEOUT_S):
                missing = _missing(client, sent)
                refused = beyond(limits, missing, _sizes(client, missing), bounded) if missing.counters else {}
        created = _write(client, {name: sent[name] for name in sent if name not in refused}, precision_of)
        if created.counters:
            with apart(CHECK_TIMEOUT_S):
                undone = beyond(limits, created, _sizes(client, created).without(created), bounded)
                if undone:
                    _undo(client, created, undone, precision_of)
            refused |= undone
        if refused:
            warn(limits, refused)
        return [event for name in refused for event in sent[name]]

    return ask(client, write)


def _write(
    client: redis.Redis, sent: Mapping[CounterName, Iterable[Event]], precision_of: Callable[[str], Precision]
) -> Created:
    """Count these events, and return what is new."""
    sets: defaultdict[str, set[str | bytes]] = defaultdict(set)
    uuids: defaultdict[str, set[str]] = defaultdict(set)
    for name, events in sent.items():
        precision = precision_of(name.experiment)
        for event in events:
            if precision == EXACT:
                key = exact_key(*name)
                sets[key].add(digest(event.uuid))
            else:
                shard = int.from_bytes(digest(event.uuid), "big") % precision if precision > 1 else 0
                key = counter_key(*name, shard)
                uuids[key].add(event.uuid)
            sets[counters_key(*name[:2])].add(key)
    with client.pipeline(transaction=True) as pipe:
        _ask_for_names(pipe, sent, pipe.sadd)
        for key, members in sets.items():
            pipe.sadd(key, *members)
        for key, visitors in uuids.items():
            pipe.pfadd(key, *visitors)
        return _created(sent, iter(pipe.execute()), is_new=1)


def _missing(client: redis.Redis, sent: Iterable[CounterName]) -> Created:
    """What would be new."""
    with client.pipeline(transaction=False) as pipe:
        _ask_for_names(pipe, sent, pipe.sismember)
        return _created(sent, iter(pipe.execute()), is_new=0)


def _ask_for_names(pipe: Any, sent: Iterable[CounterName], command: Callable[[str, str], object]) -> None:
    """Send this command for each name to the set that lists it. `_created` reads the replies."""
    namespaces, experiments = _places(sent)
    for namespace in namespaces:
        command(NAMESPACES_KEY, namespace)
        pipe.scard(experiments_key(namespace))
    for namespace, experiment in experiments:
        command(experiments_key(namespace), experiment)
    for name in sent:
        command(all_counters_key(name.namespace), counter_key(*name))


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


def _sizes(client: redis.Redis, created: Created) -> Sizes:
    """What Redis holds of the namespaces and experiments in which something is new."""
    namespaces, experiments = _places(created.counters)
    with client.pipeline(transaction=False) as pipe:
        pipe.scard(NAMESPACES_KEY)
        for namespace in namespaces:
            pipe.scard(experiments_key(namespace))
        for namespace in namespaces:
            pipe.scard(all_counters_key(namespace))
        for experiment in experiments:
            pipe.smembers(counters_key(*experiment))
        replies = iter(pipe.execute())
    return Sizes(
        next(replies),
        {namespace: next(replies) for namespace in namespaces},
        {namespace: next(replies) for namespace in namespaces},
        {one: {(own.goal, own.variant) for own in own_counters(*one, next(replies))} for one in experiments},
    )


def _undo(
    client: redis.Redis, created: Created, refused: Collection[CounterName], precision_of: Callable[[str], Precision]
) -> None:
    """Delete these counters, and the created experiments and namespaces that have no other.

    Somebody may be writing the same names. So what lists a name is always taken away before what it lists, and whoever
    writes the name after that creates it anew, and checks it anew.
    """
    kept = set(created.counters).difference(refused)
    namespaces = set(created.namespaces) - {name.namespace for name in kept}
    experiments = set(created.experiments) - {name[:2] for name in kept}
    with client.pipeline(transaction=True) as pipe:
        for namespace in namespaces:
            pipe.smembers(experiments_key(namespace))
            pipe.delete(experiments_key(namespace))
            pipe.srem(NAMESPACES_KEY, namespace)
        found = pipe.execute()[::3] if namespaces else []
        experiments |= {(namespace, name.decode()) for namespace, names in zip(namespaces, found) for name in names}
        for experiment in experiments:
            pipe.srem(experiments_key(experiment[0]), experiment[1])
            pipe.smembers(counters_key(*experiment))
            pipe.delete(counters_key(*experiment))
        found = pipe.execute()[1::3] if experiments else []
        for experiment, members in zip(experiments, found):
            own = list(own_counters(*experiment, members))
            if own:
                pipe.srem(all_counters_key(experiment[0]), *(counter.listed_key for counter in own))
                pipe.delete(*(counter.key for counter in own))
        for name in refused:
            if name[:2] not in experiments:
                shards = precision_of(name.experiment)
                keys = [exact_key(*name)] if shards == EXACT else [counter_key(*name, shard) for shard in range(shards)]
                pipe.srem(all_counters_key(name.namespace), counter_key(*name))
                pipe.srem(counters_key(*name[:2]), *keys)
                pipe.delete(*keys)
        pipe.execute()


def check_writable(client: redis.Redis) -> None:
    """Check that events can be counted now, and leave nothing behind.

    Raises StoreUnavailable, which says what is wrong.
    """
    names = (DEFAULT_NAMESPACE, "health", "health", "health")
    writes = [("SADD", experiments_key(DEFAULT_NAMESPACE), "health"), ("PFADD", counter_key(*names), "health")]

    def queue() -> None:
        with client.pipeline(transaction=False) as pipe:
            # Queueing a write is refused by a replica, in full memory, after a failed save and without permission.
            for command in [("MULTI",), *writes, ("DISCARD",)]:
                pipe.execute_command(*command)  # type: ignore[no-untyped-call]
            try:
                pipe.execute()
            except redis.ResponseError:
                client.connection_pool.disconnect(inuse_connections=False)  # DISCARD may not be permitted
                raise

    ask(client, queue)


def ignore(client: redis.Redis, ignored: Collection[tuple[str, str]]) -> None:
    """Count a request ignored today, once for each of these namespaces and reasons, in one round trip.

    A namespace without experiments, which a stranger may have invented, is counted under the name of none, in two
    further round trips. Raises StoreUnavailable.
    """
    key = ignored_key()

    def write() -> None:
        with client.pipeline(transaction=False) as pipe:
            for namespace, reason in ignored:
                pipe.hincrby(key, f"{reason} {namespace}", 1)
            pipe.expire(key, IGNORED_KEPT_S)
            new = [one for one, times in zip(ignored, pipe.execute()) if times == 1]
            for namespace, _ in new:
                pipe.exists(experiments_key(namespace))
            invented = [one for one, is_known in zip(new, pipe.execute()) if not is_known]
            for namespace, reason in invented:
                pipe.hdel(key, f"{reason} {namespace}")
                pipe.hincrby(key, f"{reason} ", 1)
            pipe.execute()

    ask(client, write)


def overview(client: redis.Redis, namespace: str) -> tuple[list[str], dict[str, int]]:
    """The names of all experiments, sorted, and how many requests were ignored today, by reason; in one round trip.

    Requests for names that are no namespace count for every namespace. Raises StoreUnavailable.
    """
    fields = [(reason, name) for reason in REASONS for name in (namespace, "")]

    def fetch() -> list[Any]:
        with client.pipeline(transaction=False) as pipe:
            pipe.smembers(experiments_key(namespace))
            pipe.hmget(ignored_key(), [" ".join(one) for one in fields])
            return pipe.execute()

    members, counted = ask(client, fetch, REPORT_TIMEOUT_S)
    ignored: defaultdict[str, int] = defaultdict(int)
    for (reason, _), value in zip(fields, counted):
        if value:
            ignored[reason] += int(value)
    return sorted(name.decode("utf-8", "replace") for name in members), dict(ignored)


def count(client: redis.Redis, namespace: str, names: Sequence[str]) -> dict[str, Counts]:
    """The counts of each of these experiments, in two round trips however many there are.

    Everything found for a goal and variant is added up, so that raising the precision loses no count. An experiment
    without participants has no counts. Raises StoreUnavailable.
    """
    sets = [counters_key(namespace, name) for name in names]
    with limit(REPORT_TIMEOUT_S):
        members: list[set[bytes]] = ask_each(client, sets, lambda pipe, key: pipe.smembers(key))
        own = [(name, one) for name, keys in zip(names, members) for one in own_counters(namespace, name, keys)]
        values: list[int] = ask_each(
            client,
            [counter for _, counter in own],
            lambda pipe, counter: pipe.execute_command("SCARD" if counter.kind == "exact" else "PFCOUNT", counter.key),
        )
    readings: defaultdict[tuple[str, str, str], list[tuple[str, int]]] = defaultdict(list)
    for (name, counter), value in zip(own, values):
        readings[name, counter.goal, counter.variant].append((counter.kind, value))
    counts: dict[str, Counts] = {name: {} for name in names}
    for (name, goal, variant), parts in readings.items():
        exact = sum(value for kind, value in parts if kind == "exact")
        estimates = [value for kind, value in parts if kind != "exact"]
        counts[name].setdefault(goal, {})[variant] = total(exact, estimates)
    return counts


def batches(client: redis.Redis, namespace: str, names: Sequence[str]) -> Iterator[list[str]]:
    """These experiments in order, in batches of KEYS_AT_ONCE counters' keys or of one experiment.

    This bounds the memory that `count` takes, and how long it keeps Redis busy. Raises StoreUnavailable.
    """
    sizes = ask_each(client, [counters_key(namespace, name) for name in names], lambda pipe, key: pipe.scard(key))
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


def forget(client: redis.Redis, namespace: str, experiment: str) -> None:
    """Delete an experiment's counters and its name, and nothing else. Raises StoreUnavailable."""
    own = counters_key(namespace, experiment)

    def delete(pipe: Any) -> None:
        counters = list(own_counters(namespace, experiment, pipe.smembers(own)))
        keys = [counter.key for counter in counters]
        if keys:
            pipe.delete(*keys)  # at once: a full Redis refuses transactions until memory is freed
        pipe.multi()
        if keys:
            listed = {counter.listed_key for counter in counters}
            pipe.srem(all_counters_key(namespace), *listed.union(keys))
        pipe.delete(own, *keys)
        pipe.srem(experiments_key(namespace), experiment)
        pipe.scard(experiments_key(namespace))

    def run() -> None:
        # Watched, so that a counter created in between is not left behind unlisted.
        *_, left = cast("list[int]", client.transaction(delete, own))
        if not left:
            client.srem(NAMESPACES_KEY, namespace)

    ask(client, run, REPORT_TIMEOUT_S)


def ask_each(client: redis.Redis, items: Sequence[Any], command: Callable[[Any, Any], object]) -> list[Any]:
    """The replies to a command for each item, in one round trip. Raises StoreUnavailable."""

    def fetch() -> list[Any]:
        with client.pipeline(transaction=False) as pipe:
            for item in items:
                command(pipe, item)
            return pipe.execute()

    return ask(client, fetch, REPORT_TIMEOUT_S) if items else []
