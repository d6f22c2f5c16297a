"""What each endpoint does: require, act, answer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from . import access, bots, connection, counters, lives, reports, turned_away
from .access import READ, WRITE
from .config import TRACK, Config
from .errors import GimelError, StoreUnavailable, TooLarge
from .events import (
    HINT,
    Batch,
    Event,
    read_batch,
    read_change,
    read_control,
    read_experiment,
    read_namespace,
    read_page,
    read_scope,
)
from .gateway import Answer, Request, endpoint, sender_origin
from .histories import History
from .packing import NARROW

PAGE_BYTES, PAGE_S = 2_000_000, 3.0
"""A page ends early once it is this large or took this long, so that any page fits into an answer and a timeout."""


@endpoint(GET=None, POST=None)
def track(request: Request) -> Answer:
    """Count each event once, no matter how often it is sent."""
    if request.unreadable:
        _note(Batch(refused={0: request.unreadable.problems}), [None])
        raise request.unreadable
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


@endpoint(GET=READ, PUT=WRITE)
def experiment(request: Request) -> Answer:
    """Report one experiment: a list with an item for each goal. `control` names a variant to compare with.

    PUT changes its settings and its status.
    """
    if request.method == "PUT":
        return _changed(request.content)
    namespace, name = read_experiment(request.params)
    control = read_control(request.params)
    ((_, report),) = reports.of(namespace, [name], control)
    answer = report.content
    return Answer([{**goal, "control": answer["control"], "notes": answer["notes"]} for goal in answer["goals"]])


@endpoint(GET=READ)
def all(request: Request) -> Answer:
    """Report all experiments of a namespace but the archived ones, or those in `scope`, a comma-separated list.

    `control` names the variant that the others are compared with; a note says where it is unknown. With `limit`, at
    most that many, the first by name that follow `after`; `next` is the last of them if there are more.
    """
    namespace = read_namespace(request.params)
    scope = read_scope(request.params)
    control = read_control(request.params)
    limit, after = read_page(request.params)
    counted, ignored, namespaces, statuses, told = counters.overview(connection.client(), namespace)
    archived = sorted(name for name, status in statuses.items() if status == lives.ARCHIVED)
    every = {*counted, *statuses}
    # A name may itself contain a comma.
    wanted = {*scope.split(","), *({scope} & every)} - {""} if scope else every.difference(archived)
    names = sorted(name for name in wanted if name > after)
    found, size, began = [], 0, time.monotonic()
    for name, report in reports.in_batches(namespace, names[:limit], control):
        found.append({"experiment": name, **report.content})
        size += report.size
        if limit:
            if size > PAGE_BYTES or time.monotonic() - began > PAGE_S:
                break
        elif size > reports.MAX_REPORT_BYTES:
            raise TooLarge(f"the report has more than {reports.MAX_REPORT_BYTES / 1e6:.0f} MB", NARROW)
    following = names[len(found) - 1] if 0 < len(found) < len(names) else None
    meta: dict[str, object] = {"scope": scope, "ignored": ignored, "namespaces": namespaces, "next": following}
    meta |= {"archived": archived, "turned_away": turned_away.read(told, namespace, namespaces)}
    meta["access"] = access.kind_from(request.headers) or WRITE  # a flat event has no key, and needs none
    return Answer([{"meta": meta}, *found])


@endpoint(GET=READ)
def history(request: Request) -> Answer:
    """Tell how the figures of one experiment came about. `control` names a variant to compare with.

    With `limit`, at about so many moments.
    """
    from .analysis.series import MAX_POINTS, series  # not at the top: `track` starts without the statistics

    namespace, name = read_experiment(request.params)
    control = read_control(request.params)
    ((_, report),) = reports.of(namespace, [name], control)
    limit, _ = read_page(request.params)
    past = History.decode(report.record)
    found = series(past, report.counts, report.own, control, report.ended, report.moment, limit or MAX_POINTS)
    return Answer({"experiment": name, **found})


@endpoint(GET=READ)
def plan(request: Request) -> Answer:
    """Say how many visitors and days an experiment will take, with counters of the configured precision: that of
    `experiment`, if it has one of its own."""
    from .analysis.planning import Question, answer  # not at the top: `track` starts without the statistics

    precision = connection.settings().precision_of(str(request.params.get("experiment", "")))
    return Answer(answer(Question.read(request.params, precision)))


@endpoint(DELETE=WRITE)
def delete(request: Request) -> Answer:
    """Delete one experiment: its counters, name, settings, history and end of its plan, and nothing else."""
    namespace, name = read_experiment(request.params)
    client = connection.client()
    counters.forget(client, namespace, name)
    counters.learn_stopped(client, namespace)  # one of this name that begins now counts at once
    return Answer()


@endpoint(GET=None)
def health(request: Request) -> Answer:
    """Say whether events can be counted now. Nothing is counted, and a stranger learns nothing else."""
    counters.check_writable(connection.client(), connection.settings().has_bitmaps)
    return Answer({"redis": "answers"})


@endpoint(GET=None)
def dashboard(request: Request) -> Answer:
    """Serve the dashboard, a page without data; with `about`, say what it has to know about this API."""
    from . import page  # not at the top: `track` needs none

    track_url = request.stage.get("track_url") or f"https://{request.headers.get('host', '')}{TRACK}"
    return page.answer(request, {"track_url": track_url, "needs_key": True, "example": None, "is_demo": False})


@endpoint()
def snapshot(request: Request) -> Answer:
    """Append what has changed to the history of each experiment. A schedule calls it; no request can."""
    from . import snapshots  # not at the top: `track` needs none

    return Answer(snapshots.take()._asdict())


def _changed(content: Mapping[str, Any]) -> Answer:
    """Change the settings and the status of an experiment, unless somebody else has changed the same since."""
    namespace, name, version, changes = read_change(content)
    settings, headline = connection.settings(), None
    if changes.get("decision") or changes.get("status") == lives.DECIDED:
        ((_, report),) = reports.of(namespace, [name])
        headline = report.content["headline"]
    answer: dict[str, object] = {"experiment": name, "namespace": namespace}
    status = 200
    try:
        lives.change(connection.client(), namespace, name, changes, version, settings.experiment(name), headline)
    except lives.Conflict as error:
        answer, status = {"error": error.message, "hint": error.hint, "changed": error.changed}, 409
    ((_, report),) = reports.of(namespace, [name])
    return Answer({**answer, "settings": report.content["settings"]}, status)


def _record(request: Request) -> Batch:
    """Count a request's events, or keep them. Returns what became of each. Raises StoreUnavailable."""
    settings = connection.settings()
    no_visitor = _no_visitor(request.headers, settings)
    batch = read_batch(request.items, lambda event: no_visitor or settings.unlisted(event))
    if batch.accepted:
        batch = batch.ignoring(_count(batch.accepted, request.from_queue))
    if batch.ignored or batch.refused:
        _note(batch, request.items)
    return batch


def _no_visitor(headers: Mapping[str, str], settings: Config) -> str | None:
    """Why a request comes from no visitor of the pages. A queue and flat events have no headers to tell by."""
    reason = None if settings.count_bots else bots.reason_to_ignore(headers)
    if not reason and settings.require_origin and headers and sender_origin(headers) not in settings.cors_origins:
        return "origin"
    return reason


def _count(events: list[Event], from_queue: bool) -> list[tuple[Event, str]]:
    """Count these events now or, unless they come from there, keep them in the overflow. Raises StoreUnavailable.

    Returns those that are not counted because they go beyond the limits or are stopped, with the reason.
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


def _note(batch: Batch, items: Sequence[object]) -> None:
    """Count the request as ignored today, and record what was not counted. It is answered the same if that fails."""
    ignored = sorted({(event.namespace, reason) for event, reason in batch.ignored})
    also = turned_away.to_record(batch, items)
    if ignored or also:
        with suppress(GimelError):
            counters.ignore(connection.client(), ignored, also)


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
