"""Counts in, report out: what each goal's counts say about each variant, in figures and in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import isfinite, sqrt
from typing import Any

from gimel.events import PARTICIPATE
from gimel.hyperloglog import NOTHING, Count

from . import sample_ratio, verdicts
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
from .variants import Variants, arranged, notes
from .verdicts import Rival, Verdict
from .wording import name

ALPHA = 0.05
BEYOND_COUNTING_ERROR = 4
"""So many standard errors above the visitors, successes are repeated ones and no counting error."""


def experiment_report(
    counts: Mapping[str, Mapping[str, Count]],
    baseline: str | None = None,
    weights: Mapping[str, float] | None = None,
    per_visitor: Collection[str] = (),
) -> dict[str, Any]:
    """The report of one experiment, ready for JSON.

    `counts` is {goal: {variant: Count}} with the goal `participate`; `baseline` the configured control,
    `weights` the configured weight of each variant, and `per_visitor` the goals that a visitor can reach more
    than once. What each key means is in docs/statistics.md; a figure that is undefined is None. Never raises
    for what counters can hold.
    """
    participants = counts.get(PARTICIPATE, {})
    labels = sorted({label for variants in counts.values() for label in variants})
    goals = {goal: counts[goal] for goal in sorted(counts) if goal != PARTICIPATE}
    variants = arranged({label: participants.get(label, NOTHING) for label in labels}, baseline, weights)
    split = sample_ratio.check(variants.trials, variants.weights)
    return {
        "participants": [
            {"label": label, "trials": count.value, "counting_error": count.error}
            for label, count in variants.trials.items()
        ],
        "control": variants.control if labels else None,
        "comparisons": variants.comparisons,
        "sample_ratio": split.as_dict(),
        "notes": list(notes(variants, baseline, per_visitor, goals)),
        "goals": [
            _goal(goal, successes, variants, goal in per_visitor, split.alarm) for goal, successes in goals.items()
        ],
    }


def _goal(
    goal: str, successes: Mapping[str, Count], variants: Variants, per_visitor: bool, alarm: Verdict | None
) -> dict[str, Any]:
    reached = {label: successes.get(label, NOTHING) for label in variants.trials}
    repeated = per_visitor or any(_exceeds(reached[label], variants.trials[label]) for label in variants.compared)
    if repeated:
        rows, conclusion = _per_visitor(reached, variants, per_visitor)
    else:
        rows, conclusion = _proportions(reached, variants)
    if alarm:
        conclusion = alarm
        for row in rows:
            row["verdict"] = conclusion.as_dict()
            row["visitors_needed"] = None
    return {
        "goal": goal,
        "kind": "per_visitor" if repeated else "proportion",
        "verdict": conclusion.as_dict(),
        "results": rows,
    }


def _exceeds(successes: Count, trials: Count) -> bool:
    allowed = BEYOND_COUNTING_ERROR * sqrt(
        (successes.value * successes.error) ** 2 + (trials.value * trials.error) ** 2
    )
    return trials.value > 0 and successes.value > trials.value + allowed


def _per_visitor(
    reached: Mapping[str, Count], variants: Variants, configured: bool
) -> tuple[list[dict[str, Any]], Verdict]:
    trials, control = variants.trials, variants.control
    rates = {label: reached[label].value / count.value for label, count in trials.items() if count.value}
    rows = []
    for label, count in reached.items():
        row = _row(label, count, trials[label])
        if label in rates:
            row["rate"] = rates[label]
            row["counting_error"] = sqrt(count.error**2 + trials[label].error ** 2)
            row["verdict"] = verdicts.per_visitor([(label, rates[label])], configured).as_dict()
            if label == control:
                row["verdict"] = verdicts.CONTROL.as_dict()
            elif label not in variants.compared:
                row["verdict"] = verdicts.not_compared(label).as_dict()
            elif control in rates:
                row["difference"] = rates[label] - rates[control]
                row["uplift"] = rates[label] / rates[control] - 1 if rates[control] else None
        rows.append(row)
    shown = [(label, rate) for label, rate in rates.items() if label in variants.compared]
    return rows, verdicts.per_visitor(shown, configured) if shown else _nobody(reached)


def _proportions(reached: Mapping[str, Count], variants: Variants) -> tuple[list[dict[str, Any]], Verdict]:
    trials, control = variants.trials, variants.control
    against = Proportion(reached[control], trials[control]) if trials.get(control, NOTHING).value else None
    comparisons = variants.comparisons
    rows, rivals = [], []
    for label, count in reached.items():
        row = _row(label, count, trials[label])
        if trials[label].value:
            own = Proportion(count, trials[label])
            row["rate"] = own.rate
            row["rate_interval"] = _bounds(rate_interval(own, ALPHA))
            row["counting_error"] = own.error
            if label == control:
                row["verdict"] = verdicts.CONTROL.as_dict()
            elif label not in variants.compared:
                row["verdict"] = verdicts.not_compared(label).as_dict()
            elif against is None:
                row["verdict"] = verdicts.no_control(control).as_dict()
            else:
                rival = _compare(row, own, control, against, comparisons)
                rivals.append(rival)
                row["verdict"] = rival.verdict.as_dict()
        rows.append(row)
    if against is None and any(count.value for count in trials.values()):
        return rows, verdicts.no_control(control)
    if against is None:
        return rows, _nobody(reached)
    if not rivals:
        return rows, verdicts.no_data(
            f"nothing to compare: only {name(control)} has visitors so far",
            "it takes a second variant",
        )
    return rows, verdicts.summary(rivals, control, against)


def _compare(row: dict[str, Any], own: Proportion, control: str, against: Proportion, comparisons: int) -> Rival:
    """Fills a row with its comparison to the control, corrected for the number of such comparisons."""
    alpha = ALPHA / comparisons
    single = p_value(own, against)
    interval = always_valid_interval(own, against, alpha)
    rival = verdicts.compare(row["label"], own, control, against, interval, alpha)
    row["difference"] = own.rate - against.rate
    row["difference_interval"] = _bounds(difference_interval(own, against, alpha))
    row["uplift"] = own.rate / against.rate - 1 if against.rate else None
    row["uplift_interval"] = _bounds(uplift_interval(own, against, alpha))
    row["p_value"] = bonferroni(single, comparisons)
    row["unadjusted_p_value"] = single
    row["chance_to_beat_control"] = chance_to_beat_control(own, against)
    row["always_valid_interval"] = _bounds(interval)
    row["always_valid_p_value"] = bonferroni(always_valid_p_value(own, against, alpha), comparisons)
    row["visitors_needed"] = rival.needed
    return rival


def _row(label: str, successes: Count, trials: Count) -> dict[str, Any]:
    """A variant of which nothing is known but its counts."""
    return {
        "label": label,
        "successes": successes.value,
        "trials": trials.value,
        "rate": None,
        "rate_interval": None,
        "counting_error": None,
        "difference": None,
        "difference_interval": None,
        "uplift": None,
        "uplift_interval": None,
        "p_value": None,
        "unadjusted_p_value": None,
        "chance_to_beat_control": None,
        "always_valid_interval": None,
        "always_valid_p_value": None,
        "visitors_needed": None,
        "verdict": _nobody({label: successes}).as_dict(),
    }


def _nobody(reached: Mapping[str, Count]) -> Verdict:
    return verdicts.no_data("no visitors yet", _lost(sum(count.value for count in reached.values())))


def _lost(successes: int) -> str:
    return f"{successes:,} reached the goal, but none was counted as a participant" if successes else ""


def _bounds(interval: Interval) -> dict[str, float | None]:
    """An interval for JSON, which knows no infinity: None where there is no bound."""
    return {
        "low": interval.low if isfinite(interval.low) else None,
        "high": interval.high if isfinite(interval.high) else None,
    }
