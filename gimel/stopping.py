"""What a change of an experiment's status does to its counts: they are frozen, deleted, or go on."""

from __future__ import annotations

from dataclasses import replace

from . import histories
from .counters import ask_each, count_with, forget, learn_stopped
from .errors import BadRequest, StoreUnavailable
from .events import PARTICIPATE
from .frozen import Frozen
from .histories import History
from .keyspace import LAST_SNAPSHOT_KEY, ended_key, frozen_key, history_key, settings_key, stopped_key
from .round_trip import Client, Command

ARCHIVED_BYTES = 3_600
"""What an archived experiment may take in all, besides its keys and what Redis needs to keep them. Its history has what
its settings and counts leave, ..."""

LEAST_HISTORY_BYTES = 600
"""... and at least so much."""


def apply(client: Client, namespace: str, experiment: str, before: str, after: str) -> None:
    """Do what belongs to a change from the status `before` to `after`. Doing it again changes nothing.

    Whoever stops freezes the counts, and has later events ignored; whoever archives also deletes the counters. To start
    again deletes the frozen counts; so does a decision, as it may follow a start that was cut off. Raises BadRequest if
    it cannot start again, and StoreUnavailable.
    """
    if after in ("stopped", "archived"):
        stop(client, namespace, experiment)
        if after == "archived":
            archive(client, namespace, experiment)
    elif after in ("running", "decided") and before != "draft":
        start(client, namespace, experiment)
    learn_stopped(client, namespace)


def stop(client: Client, namespace: str, experiment: str) -> None:
    """Have its events ignored from now on, and freeze its counts and history, unless they are. Raises
    StoreUnavailable."""
    frozen, history = frozen_key(namespace, experiment), history_key(namespace, experiment)
    ask_each(client, [("SADD", stopped_key(namespace), experiment)])
    asked = [("GET", frozen), ("GET", history), ("GET", LAST_SNAPSHOT_KEY)]
    found, (is_frozen, record, last_run) = count_with(client, namespace, [experiment], asked)
    if is_frozen:
        return
    now, counts, past = histories.now(), found[experiment], History.decode(record)
    commands: list[Command] = []
    if counts and (past or not record):  # or another version of Gimel tells it
        after = histories.record(histories.append(past, counts, now, histories.last_run(last_run)))
        commands += [("SET", history, after)] if after else []
    ask_each(client, [*commands, ("SET", frozen, Frozen(now, counts).encode(), "NX")])


def archive(client: Client, namespace: str, experiment: str) -> None:
    """Delete the counters of a stopped experiment, and thin its history. Raises StoreUnavailable."""
    from .analysis.past import Past  # not at the top: `track` starts without the statistics
    from .analysis.strata import Strata

    key, history = frozen_key(namespace, experiment), history_key(namespace, experiment)
    asked = [("GET", key), ("GET", history), ("GET", ended_key(namespace, experiment))]
    *records, versions = ask_each(client, [*asked, ("HVALS", settings_key(namespace, experiment))])
    frozen, past = Frozen.decode(records[0]), History.decode(records[1])
    if records[0] is None:
        return  # it was deleted or started meanwhile, and whoever changes its record looks for that
    if frozen is None:
        raise StoreUnavailable("another version of Gimel wrote the counts of the stopped experiment", "upgrade Gimel")
    final = replace(frozen, is_final=True).encode()
    commands: list[Command] = [("SET", key, final)]
    if past:
        left = max(LEAST_HISTORY_BYTES, ARCHIVED_BYTES - sum(map(len, (final, records[2] or b"", *versions))))
        labels = frozen.counts.get(PARTICIPATE, {})
        pace = Past.of(past, frozen.counts, frozen.at, labels)
        periods = Strata.of(pace.history, frozen.counts, labels)
        needed = periods.moments if periods else set()
        thin = histories.final_record(pace.history, left, needed | pace.moments)
        if len(thin) > left:
            thin = histories.final_record(pace.history, left, needed)
        commands.append(("SET", history, thin))
    ask_each(client, commands)
    forget(client, namespace, experiment, keeps_report=True)


def start(client: Client, namespace: str, experiment: str) -> None:
    """Count again. Raises BadRequest if the counters were deleted, and StoreUnavailable."""
    key = frozen_key(namespace, experiment)
    frozen = Frozen.decode(ask_each(client, [("GET", key)])[0])
    if frozen and frozen.is_final:
        raise BadRequest(
            ["status: it cannot start again, because its counters were deleted when it was archived"],
            "start a new experiment under another name",
        )
    ask_each(client, [("DEL", key)])
    ask_each(client, [("SREM", stopped_key(namespace), experiment)])
