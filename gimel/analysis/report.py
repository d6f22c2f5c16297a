"""Counts in, report out: what each goal's counts say about each variant, in figures and in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from math import isfinite, sqrt
from typing import Any

from gimel.config import NO_SETTINGS, ExperimentSettings
from gimel.events import PARTICIPATE
from gimel.hyperloglog import NOTHING, Count
from gimel.plans import Ended

from . import counting, sample_ratio, verdicts
from .proportions import (
    Interval,
    Proportion,
    bonferroni,
    chance_to_beat_control,
    difference_interval,
    p_value,
    rate_interval,
    uplift_interval,
)
from .sequential import always_valid_interval, always_valid_p_value
from .variants import Variants, notes, resolve_variants
from .verdicts import Verdict
from .wording import named

ALPHA = 0.05
BEYOND_COUNTING_ERROR = 4
"""This many standard errors above the visitors, successes are repeated ones and not counting error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """A variant's figures for one goal; None where a figure is undefined.

    These fields, in this order, are the keys of the JSON and the columns of the CSV. What they mean is in
    docs/reading-a-report.md.
    """

    label: str
    successes: int
    trials: int
    rate: float | None = None
    rate_interval: Interval | None = None
    difference: float | None = None
    difference_interval: Interval | None = None
    uplift: float | None = None
    uplift_interval: Interval | None = None
    p_value: float | None = None
    unadjusted_p_value: float | None = None
    chance_to_beat_control: float | None = None
    always_valid_interval: Interval | None = None
    always_valid_p_value: float | None = None
    visitors_needed: int | None = None
    counting_error: float | None = None
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {field: _for_json(getattr(self, field)) for field in ROW_FIELDS}


ROW_FIELDS = tuple(field.name for field in fields(ResultRow))
INTERVALS = frozenset(field.name for field in fields(ResultRow) if "Interval" in str(field.type))


@dataclass(frozen=True, slots=True)
class Goal:
    """What is known of one goal. `counting_share` is the counters' largest part in the variance of a rate."""

    goal: str
    kind: str
    verdict: Verdict
    results: tuple[ResultRow, ...]
    counting_share: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        results = [row.as_dict() for row in self.results]
        return {"goal": self.goal, "kind": self.kind, "verdict": self.verdict.as_dict(), "results": results}


def experiment_report(
    counts: Mapping[str, Mapping[str, Count]],
    own: ExperimentSettings = NO_SETTINGS,
    control: str | None = None,
    ended: Ended | None = None,
) -> dict[str, Any]:
    """The report of one experiment, ready for JSON.

    `counts` is {goal: {variant: Count}} with the goal `participate`, `own` the experiment's settings, and `control` one
    requested instead of the configured one. What each key means is in docs/reading-a-report.md; a figure that is
    undefined is None. Never raises for what counters can hold.
    """
    participants = counts.get(PARTICIPATE, {})
    labels = sorted({label for found in counts.values() for label in found})
    reached = {goal: counts[goal] for goal in sorted(counts) if goal != PARTICIPATE}
    trials = {label: participants.get(label, NOTHING) for label in labels}
    resolved = resolve_variants(trials, own.baseline, own.weights, own.variants, control)
    split = sample_ratio.check(resolved)
    goals = [_goal(goal, reached[goal], resolved, goal in own.per_visitor, split.alarm is None) for goal in reached]
    about, verdict = _first_to_read(goals, split.alarm)
    every_count = [count for found in counts.values() for label, count in found.items() if label in resolved.real]
    return {
        "participants": [
            {
                "label": label,
                "trials": count.value,
                "counting_error": count.error,
                "unexpected": label not in resolved.real,
            }
            for label, count in trials.items()
        ],
        "control": resolved.control if labels else None,
        "comparisons": resolved.comparisons,
        "verdict": {**verdict.as_dict(), "goal": about},
        "sample_ratio": split.as_dict(),
        "counting_note": counting.note(every_count, max((goal.counting_share for goal in goals), default=0.0)),
        "notes": list(notes(resolved, own.baseline, control, own.per_visitor, reached)),
        "goals": [goal.as_dict() for goal in goals],
    }


def _first_to_read(goals: list[Goal], alarm: Verdict | None) -> tuple[str | None, Verdict]:
    if alarm:
        return None, alarm
    states: dict[str, dict[str, str]] = {}
    for goal in goals:
        for row in goal.results:
            states.setdefault(row.label, {})[goal.goal] = row.verdict.state
    return verdicts.of_experiment({goal.goal: goal.verdict for goal in goals}, states)


def _goal(goal: str, successes: Mapping[str, Count], variants: Variants, per_visitor: bool, trusted: bool) -> Goal:
    reached = {label: successes.get(label, NOTHING) for label in variants.trials}
    if per_visitor or any(_exceeds(reached[label], variants.trials[label]) for label in variants.real):
        found = _repeated(goal, reached, variants, per_visitor)
    else:
        found = _proportions(goal, reached, variants)
    if trusted:
        return found
    rows = [
        replace(row, verdict=verdicts.WRONG_SPLIT, visitors_needed=None) if row.label in variants.real else row
        for row in found.results
    ]
    return replace(found, verdict=verdicts.WRONG_SPLIT, results=tuple(rows))


def _exceeds(successes: Count, trials: Count) -> bool:
    allowed = BEYOND_COUNTING_ERROR * sqrt(
        (successes.value * successes.error) ** 2 + (trials.value * trials.error) ** 2
    )
    return trials.value > 0 and successes.value > trials.value + allowed


def _repeated(goal: str, reached: Mapping[str, Count], variants: Variants, configured: bool) -> Goal:
    """A goal that a visitor can reach more than once: rates per visitor, and no test."""
    trials, control = variants.trials, variants.control
    rates = {label: reached[label].value / count.value for label, count in trials.items() if count.value}
    rows = []
    for label, count in reached.items():
        untested = _without_test(label, count, variants)
        if untested and label not in rates:
            rows.append(_row(label, count, trials[label], untested))
            continue
        figures: dict[str, Any] = {"rate": rates[label]}
        if untested is None and control in rates:
            figures["difference"] = rates[label] - rates[control]
            figures["uplift"] = rates[label] / rates[control] - 1 if rates[control] else None
        figures["counting_error"] = sqrt(count.error**2 + trials[label].error ** 2)
        verdict = untested or verdicts.repeated({label: rates[label]}, configured)
        rows.append(_row(label, count, trials[label], verdict, **figures))
    compared = {label: rate for label, rate in rates.items() if label in variants.real}
    verdict = verdicts.repeated(compared, configured) if compared else _no_visitors(reached.values())
    return Goal(goal, "per_visitor", verdict, tuple(rows))


def _proportions(goal: str, reached: Mapping[str, Count], variants: Variants) -> Goal:
    """A goal that a visitor reaches or not: each variant's rate, compared with the control's."""
    trials, control = variants.trials, variants.control
    against = Proportion(reached[control], trials[control]) if trials.get(control, NOTHING).value else None
    rows, comparisons, share = [], [], 0.0
    for label, count in reached.items():
        verdict = _without_test(label, count, variants)
        if verdict and not trials[label].value:
            rows.append(_row(label, count, trials[label], verdict))
            continue
        own = Proportion(count, trials[label])
        interval = rate_interval(own, ALPHA)
        if label in variants.real:
            share = max(share, counting.share_of_variance(own, interval, ALPHA))
        figures = {"rate": own.rate, "rate_interval": interval, "counting_error": own.error}
        if against and verdict is None:
            comparison, more = _compare(label, own, control, against, variants.comparisons)
            comparisons.append(comparison)
            figures |= more
            verdict = comparison.verdict
        rows.append(_row(label, count, trials[label], verdict or verdicts.no_control(control), **figures))
    if comparisons and against:
        verdict = verdicts.of_goal(comparisons, control, against)
    elif against:
        verdict = Verdict(
            "no_data",
            f"nothing to compare: only {named(control)} has visitors so far",
            "a comparison needs a second variant",
        )
    elif any(count.value for count in trials.values()):
        verdict = verdicts.no_control(control)
    else:
        verdict = _no_visitors(reached.values())
    return Goal(goal, "proportion", verdict, tuple(rows), share)


def _compare(
    label: str, own: Proportion, control: str, against: Proportion, comparisons: int
) -> tuple[verdicts.Comparison, dict[str, Any]]:
    """A variant's comparison to the control, corrected for the number of such comparisons, and its figures."""
    alpha = ALPHA / comparisons
    single = p_value(own, against)
    interval = always_valid_interval(own, against, alpha)
    comparison = verdicts.compare(label, own, control, against, interval, alpha)
    return comparison, {
        "difference": own.rate - against.rate,
        "difference_interval": difference_interval(own, against, alpha),
        "uplift": own.rate / against.rate - 1 if against.rate else None,
        "uplift_interval": uplift_interval(own, against, alpha),
        "p_value": bonferroni(single, comparisons),
        "unadjusted_p_value": single,
        "chance_to_beat_control": chance_to_beat_control(own, against),
        "always_valid_interval": interval,
        "always_valid_p_value": bonferroni(always_valid_p_value(own, against, alpha), comparisons),
        "visitors_needed": comparison.needed,
    }


def _row(label: str, successes: Count, trials: Count, verdict: Verdict, **figures: Any) -> ResultRow:
    return ResultRow(label=label, successes=successes.value, trials=trials.value, verdict=verdict, **figures)


def _without_test(label: str, reached: Count, variants: Variants) -> Verdict | None:
    """The verdict on a label that is not tested against the control; None for all others."""
    if label not in variants.real:
        return verdicts.not_compared(label, variants.are_configured)
    if not variants.trials[label].value:
        return _no_visitors([reached])
    return verdicts.CONTROL if label == variants.control else None


def _no_visitors(reached: Collection[Count]) -> Verdict:
    successes = sum(count.value for count in reached)
    lost = f"{successes:,} reached the goal, but none was counted as a participant" if successes else ""
    return Verdict("no_data", "no visitors yet", lost)


def _for_json(value: Any) -> Any:
    """JSON has no infinity: a bound that does not exist is None."""
    if isinstance(value, Interval):
        return {"low": value.low if isfinite(value.low) else None, "high": value.high if isfinite(value.high) else None}
    return value.as_dict() if isinstance(value, Verdict) else value
