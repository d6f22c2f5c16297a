"""Makes the reports of experiments from what Redis holds: their counts, the end of their plan, and their history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from . import connection, counters, lives, plans
from .frozen import Frozen
from .gateway import to_json
from .histories import HOUR, History, as_text, now
from .keyspace import ended_key, frozen_key, history_key
from .lives import Life
from .plans import Ended
from .round_trip import Command
from .settings import ExperimentSettings

MAX_REPORT_BYTES = 16_000_000
"""A report without pages may have this size, before compression: it is held in memory as a whole."""

MAX_KEPT, MAX_KEPT_BYTES = 1_000, MAX_REPORT_BYTES
"""How many experiments' reports a process keeps, those of a full namespace, and their size as JSON."""


class Report(NamedTuple):
    """An experiment's report, its size as JSON in bytes, and what it was made of. Nobody may change the content.

    `record` is the history as Redis has it, `hour` that in which the report was made, `frozen` what was counted when
    the experiment was stopped, if it was, and `life` its own record.
    """

    content: dict[str, Any]
    size: int
    counts: counters.Counts
    own: ExperimentSettings
    ended: Ended | None
    record: bytes | None
    hour: int
    frozen: Frozen | None
    life: Life

    @property
    def moment(self) -> int:
        """That as of which it is, in minutes since 1970 (UTC)."""
        return self.frozen.at if self.frozen else now()


_kept: dict[tuple[str, str, str | None], Report] = {}
"""The last reports, by namespace, experiment and requested control."""


def in_batches(
    namespace: str, names: Sequence[str], control: str | None = None, moment: int | None = None
) -> Iterator[tuple[str, Report]]:
    """The reports of these experiments, a batch at a time, as of a `moment`: by default, now. That of a stopped one is
    as of the moment when it was stopped. Raises StoreUnavailable."""
    for batch in counters.batches(connection.client(), namespace, names):
        yield from of(namespace, batch, control, moment)


def of(
    namespace: str, names: Sequence[str], control: str | None = None, moment: int | None = None
) -> Iterator[tuple[str, Report]]:
    """The reports of these experiments, in two round trips. Raises StoreUnavailable."""
    client = connection.client()
    asked: list[Command] = []
    for name in names:
        asked.append(lives.question(namespace, name))
        asked += [("GET", key(namespace, name)) for key in (ended_key, history_key, frozen_key)]
    counts, replies = counters.count_with(client, namespace, names, asked)
    at = now() if moment is None else moment
    for name, versions, end, record, stopped in zip(names, *(replies[place::4] for place in range(4))):
        life, ended, frozen = lives.latest(versions), Ended.decode(end), Frozen.decode(stopped)
        counted, as_of = (frozen.counts, frozen.at) if frozen else (counts[name], at)
        own, _ = life.own(connection.settings().experiment(name))
        ended = end_of(namespace, name, own, counted, ended, as_of, not frozen) if own.planned_visitors else None
        yield name, _report(namespace, name, control, as_of, counted, own, ended, record, frozen, life)


def end_of(
    namespace: str,
    name: str,
    own: ExperimentSettings,
    counts: counters.Counts,
    found: Ended | None,
    moment: int,
    is_counted: bool = True,
) -> Ended | None:
    """What the verdict is made of once the planned visitors have come. The first report of then records it, with its
    moment, unless the experiment was stopped then, from when on nothing changes."""
    from .analysis.variants import planned_in_all, variants_of  # not at the top: `track` starts without the statistics

    variants = variants_of(counts, own)
    planned = planned_in_all(own, variants)
    have_come = planned is not None and variants.visitors >= planned
    end = planned if have_come else None
    if not is_counted:
        return found or (Ended(end, as_text(moment), counts, variants.shares) if end else None)
    return plans.settle(connection.client(), namespace, name, found, counts, end, variants.shares, as_text(moment))


def _report(
    namespace: str,
    name: str,
    control: str | None,
    moment: int,
    counts: counters.Counts,
    own: ExperimentSettings,
    ended: Ended | None,
    record: bytes | None,
    frozen: Frozen | None,
    life: Life,
) -> Report:
    """The report of these counts: the last one, as long as nothing changes."""
    made_of = counts, own, ended, record, moment // HOUR, frozen, life
    kept = _kept.get((namespace, name, control))
    if kept and kept[2:] == made_of:
        return kept
    from .analysis import report  # not at the top: `track` starts without the statistics

    content = report.experiment_report(counts, own, control, ended, History.decode(record), moment)
    configured = connection.settings().experiment(name)
    if problems := life.own(configured)[1]:
        content["notes"].append(
            f"only config.json counts, because the other settings contradict it: {'; '.join(problems)}"
        )
    content["headline"] = life.headline or content["headline"]
    content["settings"] = life.as_dict(configured, content["first_seen"], bool(counts))
    size = len(to_json({"experiment": name, **content}).encode())
    if len(_kept) >= MAX_KEPT or sum(one.size for one in [*_kept.values()]) + size > MAX_KEPT_BYTES:
        _kept.clear()
    made = _kept[namespace, name, control] = Report(content, size, *made_of)
    return made
