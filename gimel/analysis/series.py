"""How the figures of an experiment came about: the answer of `GET /history`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from gimel.events import PARTICIPATE
from gimel.histories import DAY, History, as_moment, as_text, until
from gimel.hyperloglog import NOTHING
from gimel.plans import Ended
from gimel.settings import NO_SETTINGS, ExperimentSettings

from .comparisons import intervals
from .past import Counts, value_at
from .proportions import Interval
from .report import Basis, pairs, rates
from .strata import Strata

MAX_POINTS = 500

MAX_TESTS = 3_000
"""So many comparisons are computed at most, in about 0.2 s; more variants and goals have fewer points, but MIN_POINTS.
"""

MIN_POINTS = 10
HOURS_OF = 2 * DAY
"""Of the last minutes, so many, each hour is a point."""

DIGITS = 6
BANDS = ("difference", "low", "high", "once_low", "once_high")


def series(
    history: History | None,
    counts: Counts,
    own: ExperimentSettings = NO_SETTINGS,
    control: str | None = None,
    ended: Ended | None = None,
    now: int = 0,
    limit: int = MAX_POINTS,
) -> dict[str, Any]:
    """The figures of an experiment at moments of its history, the last of them `now`, ready for JSON.

    The arguments are those of `experiment_report`, and `limit`: at most so many points, but MIN_POINTS where there are
    as many. Each point has the figures that a report would have shown then, with the settings, roles and variants of
    now; once the plan has ended, the band that decides is that of the end. What each key means is in docs/http-api.md.
    Floats have DIGITS significant digits.
    """
    past = until(history or History(), counts, now)
    basis = Basis.of(counts, own, control, ended, past)
    control = basis.variants.control
    labels = [label for label in basis.variants.real if label == control]
    labels += [label for label in basis.variants.real if label != control]
    past = past if labels else History()
    tested = [goal for goal in basis.reached if not basis.is_repeated(goal)]
    positions = _points(past.moments, min(limit, MAX_TESTS // max(1, len(tested) * (len(labels) - 1))))
    at = [past.at(position, counts) for position in positions]
    return {
        "control": control or None,
        "labels": labels,
        "at": [as_text(past.moments[position]) for position in positions],
        "visitors": {label: [_value(one, PARTICIPATE, label) for one in at] for label in labels},
        "days": _days(past, labels, list(basis.reached)),
        "goals": [
            {
                "goal": goal,
                "kind": "proportion" if goal in tested else "per_visitor",
                "role": basis.roles[goal],
                "successes": {label: [_value(one, goal, label) for one in at] for label in labels},
                "rates": {label: [_rate(one, goal, label, goal in tested) for one in at] for label in labels},
                "differences": _differences(goal, basis, labels, at, past.moments, positions) if goal in tested else {},
            }
            for goal in basis.reached
        ],
        "verdicts": [{"at": as_text(one.at), "goal": one.goal, "state": one.state} for one in past.changes],
    }


def _points(moments: Sequence[int], most: int) -> list[int]:
    """The positions to show: the last hours, the first, and evenly of those in between."""
    most = min(MAX_POINTS, max(MIN_POINTS, most))
    recent = [one for one, moment in enumerate(moments) if moment > moments[-1] - HOURS_OF]
    recent = recent if len(recent) <= most // 2 else recent[-1:]
    older, room = len(moments) - len(recent), most - len(recent)
    if older <= room:
        return list(range(len(moments)))
    return [step * (older - 1) // (room - 1) for step in range(room)] + recent


def _value(counts: Counts, goal: str, label: str) -> int:
    return counts.get(goal, {}).get(label, NOTHING).value


def _rate(counts: Counts, goal: str, label: str, is_proportion: bool) -> float | None:
    visitors, reached = _value(counts, PARTICIPATE, label), _value(counts, goal, label)
    return _rounded((min(reached, visitors) if is_proportion else reached) / visitors) if visitors else None


def _differences(
    goal: str,
    basis: Basis,
    labels: Sequence[str],
    at: Sequence[Counts],
    moments: Sequence[int],
    positions: Sequence[int],
) -> dict[str, dict[str, list[float | None]]]:
    """The difference of each variant at each point, with the band that decides and that of a single look."""
    found: dict[str, dict[str, list[float | None]]] = {
        label: {band: [] for band in BANDS} for label in labels if label != basis.variants.control
    }
    end = as_moment(basis.ended.at) if basis.ended else None
    for counts, position in zip(at, positions):
        strata = basis.strata.until(position) if basis.strata else None
        bands = _bands(goal, basis, labels, counts, strata, end is not None and moments[position] >= end)
        for label, lists in found.items():
            for band, values in lists.items():
                values.append(bands.get(label, {}).get(band))
    return found


def _bands(
    goal: str, basis: Basis, labels: Sequence[str], counts: Counts, strata: Strata | None, has_ended: bool
) -> dict[str, dict[str, float | None]]:
    control, terms = basis.variants.control, basis.terms(goal)
    compared = pairs(goal, control, rates(counts, goal, labels), strata)
    if compared is None:
        return {}
    in_time = rates(counts, goal, basis.decided.real)
    decided = basis.at_end(goal) if has_ended else pairs(goal, control, in_time, strata)
    found = {}
    for label, tested in intervals(control, compared, decided, terms).items():
        planned = tested.planned.interval if tested.planned else None
        band = planned if terms.plan else tested.interval
        variant, against = compared[label]
        found[label] = {
            "difference": _rounded(variant.rate - against.rate),
            **dict(zip(("low", "high"), _ends(band))),
            **dict(zip(("once_low", "once_high"), _ends(tested.single))),
        }
    return found


def _ends(interval: Interval | None) -> Iterator[float | None]:
    return iter((_rounded(interval.low), _rounded(interval.high)) if interval else (None, None))


def _days(past: History, labels: Sequence[str], goals: Sequence[str]) -> dict[str, Any]:
    """What was counted on each day (UTC), as if counters had grown evenly between the moments of the history."""
    first = next((one for one, values in enumerate(zip(*_all(past))) if any(values)), None)
    if first is None:
        return {"day": [], "visitors": {}, "reached": {}}
    moments, last = past.moments, past.moments[-1]
    began = moments[max(0, first - 1)] // DAY * DAY
    days = list(range(began, last + 1, DAY))[-MAX_POINTS:]
    ends = [min(one, last) for one in [*days, days[-1] + DAY]]

    def on_each(values: tuple[int, ...]) -> list[int]:
        # What was there at the first moment came before the history.
        read = [round(value_at(moments, values, max(one, moments[0]))) for one in ends]
        return [max(0, after - before) for before, after in pairwise(read)]

    nothing = (0,) * len(moments)
    of_each = {
        goal: {label: on_each(past.counts.get(goal, {}).get(label, nothing)) for label in labels}
        for goal in (PARTICIPATE, *goals)
    }
    return {"day": [as_text(day)[:10] for day in days], "visitors": of_each.pop(PARTICIPATE), "reached": of_each}


def _all(past: History) -> list[tuple[int, ...]]:
    return [values for variants in past.counts.values() for values in variants.values()]


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
