"""What each endpoint does: require, act, answer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from . import bots, connection, counters, plans
from .config import Config, ExperimentSettings
from .errors import GimelError, StoreUnavailable, TooLarge
from .events import (
    HINT,
    Batch,
    Event,
    read_batch,
    read_control,
    read_experiment,
    read_namespace,
    read_page,
    read_scope,
)
from .gateway import Answer, Request, endpoint, sender_origin, to_json
from .packing import NARROW

PAGE_BYTES, PAGE_S = 2_000_000, 3.0
"""A page ends early once it is this large or took this long, so that any page fits into an answer and a timeout."""

MAX_REPORT_BYTES = 16_000_000
"""A report without pages may have this size, before compression: it is held in memory as a whole."""

MAX_KEPT, MAX_KEPT_BYTES = 1_000, MAX_REPORT_BYTES
"""How many experiments' reports a process keeps, those of a full namespace, and their size as JSON."""


@endpoint("GET", "POST")
def track(request: Request) -> Answer:
    """Count each event once, no matter how often it is sent."""
    # What comes from the queue was told when it was kept there.
    log = None if request.from_queue else connection.function_log()
    try:
        batch = _record(request)
    except Exception:
        if log:
            log.add(failed=len(request.items))
        raise
    if log:
        log.add(accepted=len(batch.accepted), ignored=len(batch.ignored), refused=len(batch.refused))
    return _tracked(batch, request.is_list)


@endpoint("GET")
def experiment(request: Request) -> Answer:
    """Report one experiment: a list with an item for each goal. `control` names a variant to compare with."""
    namespace, name = read_experiment(request.params)
    control = read_control(request.params)
    ((_, report),) = _reports(namespace, [name], control)
    answer = report.content
    return Answer([{**goal, "control": answer["control"], "notes": answer["notes"]} for goal in answer["goals"]])


@endpoint("GET")
def all(request: Request) -> Answer:
    """Report all experiments of a namespace, or those in `scope`, a comma-separated list.

    `control` names the variant that the others are compared with; a note says where it is unknown. With `limit`, at
    most that many, the first by name that follow `after`; `next` is the last of them if there are more.
    """
    namespace = read_namespace(request.params)
    scope = read_scope(request.params)
    control = read_control(request.params)
    limit, after = read_page(request.params)
    names, ignored = counters.overview(connection.client(), namespace)
    if scope:
        # A name may itself contain a comma.
        names = sorted({*scope.split(","), *({scope} & set(names))} - {""})
    names = [name for name in names if name > after]
    reports, size, began = [], 0, time.monotonic()
    for name, report in _in_batches(namespace, names[:limit], control):
        reports.append({"experiment": name, **report.content})
        size += report.size
        if limit:
            if size > PAGE_BYTES or time.monotonic() - began > PAGE_S:
                break
        elif size > MAX_REPORT_BYTES:
            raise TooLarge(f"the report has more than {MAX_REPORT_BYTES / 1e6:.0f} MB", NARROW)
    following = names[len(reports) - 1] if 0 < len(reports) < len(names) else None
    return Answer([{"meta": {"scope": scope, "ignored": ignored, "next": following}}, *reports])


@endpoint("DELETE")
def delete(request: Request) -> Answer:
    """Delete one experiment: its counters, its name and the end of its plan, and nothing else."""
    namespace, name = read_experiment(request.params)
    counters.forget(connection.client(), namespace, name)
    return Answer()


@endpoint("GET")
def health(request: Request) -> Answer:
    """Say whether events can be counted now. Nothing is counted, and a stranger learns nothing else."""
    counters.check_writable(connection.client(), connection.settings().has_bitmaps)
    return Answer({"redis": "answers"})


def _record(request: Request) -> Batch:
    """Count a request's events, or keep them. Returns what became of each. Raises StoreUnavailable."""
    settings = connection.settings()
    no_visitor = _no_visitor(request.headers, settings)
    batch = read_batch(request.items, lambda event: no_visitor or settings.unlisted(event))
    if batch.accepted:
        batch = batch.ignoring(_count(batch.accepted, request.from_queue), "limit")
    if batch.ignored:
        _count_ignored(batch)
    return batch


def _no_visitor(headers: Mapping[str, str], settings: Config) -> str | None:
    """Why a request comes from no visitor of the pages. A queue and flat events have no headers to tell by."""
    reason = None if settings.count_bots else bots.reason_to_ignore(headers)
    if not reason and settings.require_origin and headers and sender_origin(headers) not in settings.cors_origins:
        return "origin"
    return reason


def _count(events: list[Event], from_queue: bool) -> list[Event]:
    """Count these events now or, unless they come from there, keep them in the overflow. Raises StoreUnavailable.

    Returns those that are not counted because they go beyond the limits.
    """
    settings, log, start = connection.settings(), connection.function_log(), time.monotonic()
    try:
        ignored = counters.record(connection.client(), events, settings.precision_of, settings.limits, settings.bounded)
    except StoreUnavailable as error:
        overflow = connection.overflow()
        if overflow is None or from_queue:
            raise
        overflow.keep(events)
        log.add(kept=len(events))
        connection.outage_log().kept(error)
        return []
    log.add_latency(time.monotonic() - start)
    connection.outage_log().counted()
    return ignored


def _count_ignored(batch: Batch) -> None:
    """Count the request as ignored today. It is answered the same if that fails."""
    with suppress(GimelError):
        counters.ignore(connection.client(), sorted({(event.namespace, reason) for event, reason in batch.ignored}))


class _Report(NamedTuple):
    """An experiment's report, its size as JSON in bytes, and what it was made of."""

    content: dict[str, Any]
    size: int
    counts: counters.Counts
    own: ExperimentSettings
    ended: plans.Ended | None


_kept: dict[tuple[str, str, str | None], _Report] = {}
"""The last reports, by namespace, experiment and requested control."""


def _in_batches(namespace: str, names: Sequence[str], control: str | None) -> Iterator[tuple[str, _Report]]:
    for batch in counters.batches(connection.client(), namespace, names):
        yield from _reports(namespace, batch, control)


def _reports(namespace: str, names: Sequence[str], control: str | None) -> Iterator[tuple[str, _Report]]:
    client, settings = connection.client(), connection.settings()
    planned = [name for name in names if settings.experiment(name).planned_visitors]
    ended = plans.read(client, namespace, planned)
    counts = counters.count(client, namespace, names)
    for name in names:
        end = _ended(namespace, name, counts[name], ended.get(name)) if name in planned else None
        yield name, _report(namespace, name, counts[name], control, end)


def _ended(namespace: str, name: str, counts: counters.Counts, found: plans.Ended | None) -> plans.Ended | None:
    """What the verdict is made of once the planned visitors have come. The first report of then records it."""
    from .analysis.variants import planned_in_all, variants_of  # not at the top: `track` starts without the statistics

    own = connection.settings().experiment(name)
    variants = variants_of(counts, own)
    planned = planned_in_all(own, variants)
    have_come = planned is not None and variants.visitors >= planned
    end = planned if have_come else None
    return plans.settle(connection.client(), namespace, name, found, counts, end, variants.shares)


def _report(
    namespace: str, name: str, counts: counters.Counts, control: str | None, ended: plans.Ended | None
) -> _Report:
    """The report of these counts: the last one, as long as none changes. Nobody may change its content."""
    own = connection.settings().experiment(name)
    kept = _kept.get((namespace, name, control))
    if kept and (kept.counts, kept.own, kept.ended) == (counts, own, ended):
        return kept
    from .analysis import report  # not at the top: `track` starts without the statistics

    content = report.experiment_report(counts, own, control, ended)
    size = len(to_json({"experiment": name, **content}).encode())
    if len(_kept) >= MAX_KEPT or sum(one.size for one in _kept.values()) + size > MAX_KEPT_BYTES:
        _kept.clear()
    made = _kept[namespace, name, control] = _Report(content, size, counts, own, ended)
    return made


def _tracked(batch: Batch, is_list: bool) -> Answer:
    """An accepted event is answered `200` and `null`, the only answer that every Alephbet treats as final."""
    headers = {}
    if batch.ignored:
        headers["X-Gimel-Ignored"] = ", ".join(sorted({reason for _, reason in batch.ignored}))
    if not batch.refused:
        return Answer(headers=headers)
    refused = [{"item": position, "problems": problems} for position, problems in batch.refused.items()]
    counted = len(batch.accepted)
    status = 200 if counted or batch.ignored else 400
    if is_list:
        value: dict[str, object] = {
            "error": f"{len(refused)} of {counted + len(batch.ignored) + len(refused)} events refused",
            "counted": counted,
            "refused": refused,
            "hint": HINT,
        }
    else:
        problems = batch.refused[0]
        value = {"error": "; ".join(problems), "problems": problems, "hint": HINT}
    return Answer(value, status, headers, batch.refused)
