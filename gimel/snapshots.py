"""Takes snapshots: once an hour, what has changed is appended to the history of each experiment."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from . import connection, counters, histories, lives, notices, reports
from .counters import ask_each
from .errors import StoreUnavailable
from .events import DEFAULT_NAMESPACE
from .histories import HOUR, SPLIT, Change, History, as_moment
from .keyspace import (
    LAST_SNAPSHOT_KEY,
    NAMESPACES_KEY,
    Experiment,
    experiments_key,
    history_key,
    stopped_key,
)
from .namespaces import find_namespaces
from .round_trip import Client, Command

log = logging.getLogger("gimel")

AT_ONCE = 100
"""How many histories are written in one round trip."""


class Taken(NamedTuple):
    """Of how many experiments a snapshot was taken, and how many histories have changed."""

    experiments: int
    changed: int


def take(now: int | None = None) -> Taken:
    """Append to the history of each experiment what has changed, as of the moment `now`.

    A snapshot that is cut off has written a part of the histories, and the next one goes on from there. Two at once do
    no harm. Notices are sent at the end. Raises StoreUnavailable.
    """
    client, moment = connection.client(), histories.now() if now is None else now
    last_run = last(client)
    if last_run is not None and last_run > moment + HOUR:
        hint = f"check this machine's clock, or delete the key {LAST_SNAPSHOT_KEY}"
        raise StoreUnavailable(f"the last snapshot is of {histories.as_text(last_run)}, which is later than now", hint)
    if last_run is None:
        _list_namespaces(client)
    (listed,) = ask_each(client, [("SMEMBERS", NAMESPACES_KEY)])
    experiments = changed = 0
    found: list[notices.Notice] = []
    known: set[Experiment] = set()
    for namespace in sorted({DEFAULT_NAMESPACE, *(name.decode("utf-8", "replace") for name in listed)}):
        (stopped,) = ask_each(client, [("SMEMBERS", stopped_key(namespace))])
        every = counters.overview(client, namespace).names
        names = [name for name in every if name.encode() not in stopped]
        halted = [name for name in every if name.encode() in stopped]
        for name, life in lives.read(client, namespace, halted).items():
            if life.version and life.status in (lives.RUNNING, lives.DECIDED, lives.ARCHIVED):  # cut off, too
                lives.change(client, namespace, name, {"status": life.status})
        known |= {(namespace, name) for name in [*every, *(name.decode("utf-8", "replace") for name in stopped)]}
        experiments += len(names)
        writes = _writes(namespace, names, moment, last_run, found)
        while some := list(islice(writes, AT_ONCE)):
            changed += _write(client, namespace, some)
    # An import deletes this key, as what it brings has not begun since the last snapshot.
    ask_each(client, [("SET", LAST_SNAPSHOT_KEY, moment, *([] if last_run is None else ["XX"]))])
    notices.tell(client, found, known, moment)
    return Taken(experiments, changed)


def last(client: Client) -> int | None:
    """The moment of the last snapshot of all experiments. Raises StoreUnavailable."""
    return histories.last_run(ask_each(client, [("GET", LAST_SNAPSHOT_KEY)])[0])


def _list_namespaces(client: Client) -> None:
    """List the namespaces of Gimel 1.x. Whoever may not look at all keys goes without them."""
    try:
        found = find_namespaces(client)
    except StoreUnavailable as error:
        log.warning("could not look for the namespaces of Gimel 1.x: %s", error)
        return
    if found:
        ask_each(client, [("SADD", NAMESPACES_KEY, *(name.encode("utf-8", "surrogateescape") for name in found))])


def _writes(
    namespace: str, names: Sequence[str], now: int, last_run: int | None, found: list[notices.Notice]
) -> Iterator[tuple[str, Command]]:
    """What to write for those of these experiments whose history changes. Adds what is to tell. Raises
    StoreUnavailable."""
    for name, report in reports.in_batches(namespace, names, moment=now):
        status = report.content["settings"]["status"]
        if status in (lives.STOPPED, lives.ARCHIVED):  # whoever wrote that was cut off before it took effect
            lives.change(connection.client(), namespace, name, {"status": status})
            continue
        found += notices.of(namespace, name, report.content)
        before = History.decode(report.record)
        if not report.counts or (report.record and not before):
            continue  # there is nothing to tell yet, or another version of Gimel tells it
        after = histories.changed(histories.append(before, report.counts, now, last_run), states(report.content, now))
        if after == before:
            continue
        record = histories.record(after)
        if record:
            # Not if it was deleted or made by somebody else in the meantime.
            yield name, ("SET", history_key(namespace, name), record, "XX" if report.record else "NX")
        else:
            log.warning("experiment %r of namespace %r has too many names for a history", name, namespace)


def _write(client: Client, namespace: str, writes: Sequence[tuple[str, Command]]) -> int:
    """Write these, but of no experiment that is deleted or archived meanwhile. Returns how many were written."""
    written = ask_each(client, [command for _, command in writes])
    listed = ask_each(client, [("SISMEMBER", experiments_key(namespace), name) for name, _ in writes])
    now = lives.read(client, namespace, [name for name, _ in writes])
    gone = [not (is_listed or now[name].version) for is_listed, (name, _) in zip(listed, writes)]
    ask_each(client, [("DEL", command[1]) for (_, command), is_gone in zip(writes, gone) if is_gone])
    for name, life in now.items():
        if life.status == lives.ARCHIVED:  # so it may have a whole history again
            lives.change(client, namespace, name, {"status": lives.ARCHIVED})
    return sum(bool(done and is_listed) for done, is_listed in zip(written, listed))


def states(content: dict[str, Any], now: int) -> Iterator[Change]:
    """The state of each verdict in this report."""
    yield Change(now, None, content["verdict"]["state"])
    split = content["sample_ratio"]
    is_wrong, since = split["state"] == "mismatch", split.get("since")
    yield Change(as_moment(since) if is_wrong and since else now, SPLIT, "mismatch" if is_wrong else "ok")
    for goal in content["goals"]:
        yield Change(now, goal["goal"], goal["verdict"]["state"])
