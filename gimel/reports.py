"""Makes the reports of experiments from what Redis holds: their counts, the end of their plan, and their history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from . import connection, counters, plans
from .frozen import Frozen
from .gateway import to_json
from .histories import HOUR, History, as_text, now
from .keyspace import ended_key, frozen_key, history_key
from .settings import ExperimentSettings

MAX_REPORT_BYTES = 16_000_000
"""A report without pages may have this size, before compression: it is held in memory as a whole."""

MAX_KEPT, MAX_KEPT_BYTES = 1_000, MAX_REPORT_BYTES
"""How many experiments' reports a process keeps, those of a full namespace, and their size as JSON."""


class Report(NamedTuple):
    """An experiment's report, its size as JSON in bytes, and what it was made of. Nobody may change the content.

    `record` is the history as Redis has it, `hour` that in which the report was made, `frozen` what was counted when
    the experiment was stopped, if it was.
    """

    content: dict[str, Any]
    size: int
    counts: counters.Counts
    own: ExperimentSettings
    ended: plans.Ended | None
    record: bytes | None
    hour: int
    frozen: Frozen | None

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
    client, settings = connection.client(), connection.settings()
    planned = [name for name in names if settings.experiment(name).planned_visitors]
    keys = [ended_key(namespace, name) for name in planned]
    keys += [key(namespace, name) for key in (history_key, frozen_key) for name in names]
    counts, replies = counters.count_with(client, namespace, names, [("GET", key) for key in keys])
    ended = dict(zip(planned, map(plans.Ended.from_json, replies)))
    at = now() if moment is None else moment
    records = replies[len(planned) :]
    for name, record, stopped in zip(names, records, records[len(names) :]):
        frozen = Frozen.decode(stopped)
        found, as_of = (frozen.counts, frozen.at) if frozen else (counts[name], at)
        end = end_of(namespace, name, found, ended[name], as_of, frozen is None) if name in ended else None
        yield name, _report(namespace, name, found, control, end, record, as_of, frozen)


def end_of(
    namespace: str, name: str, counts: counters.Counts, found: plans.Ended | None, moment: int, is_counted: bool = True
) -> plans.Ended | None:
    """What the verdict is made of once the planned visitors have come. The first report of then records it, with its
    moment, unless the experiment was stopped then, from when on nothing changes."""
    from .analysis.variants import planned_in_all, variants_of  # not at the top: `track` starts without the statistics

    own = connection.settings().experiment(name)
    variants = variants_of(counts, own)
    planned = planned_in_all(own, variants)
    have_come = planned is not None and variants.visitors >= planned
    end = planned if have_come else None
    if not is_counted:
        return found or (plans.Ended(end, as_text(moment), counts, variants.shares) if end else None)
    return plans.settle(connection.client(), namespace, name, found, counts, end, variants.shares, as_text(moment))


def _report(
    namespace: str,
    name: str,
    counts: counters.Counts,
    control: str | None,
    ended: plans.Ended | None,
    record: bytes | None,
    moment: int,
    frozen: Frozen | None,
) -> Report:
    """The report of these counts: the last one, as long as nothing changes."""
    own = connection.settings().experiment(name)
    made_of = counts, own, ended, record, moment // HOUR, frozen
    kept = _kept.get((namespace, name, control))
    if kept and kept[2:] == made_of:
        return kept
    from .analysis import report  # not at the top: `track` starts without the statistics

    content = report.experiment_report(counts, own, control, ended, History.decode(record), moment)
    size = len(to_json({"experiment": name, **content}).encode())
    if len(_kept) >= MAX_KEPT or sum(one.size for one in [*_kept.values()]) + size > MAX_KEPT_BYTES:
        _kept.clear()
    made = _kept[namespace, name, control] = Report(content, size, *made_of)
    return made
