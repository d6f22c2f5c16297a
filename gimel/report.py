"""Counts in, report out: what each goal's counts say about each variant, in figures and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Any

from gimel import verdict
from gimel.sequential import always_valid_interval, always_valid_p_value
from gimel.stats import (
    Count,
    Interval,
    Proportion,
    bonferroni,
    chance_to_beat_control,
    difference_interval,
    p_value,
    rate_interval,
    sample_ratio_p_value,
    uplift_interval,
)
from gimel.verdict import Rival, Verdict

PARTICIPATE = "participate"
"""The event of a visitor who enters the experiment: a variant's trials."""

ALPHA = 0.05
SPLIT_ALPHA = 0.001
BEYOND_COUNTING_ERROR = 4
"""So many standard errors above the visitors, successes are repeated ones and no counting error."""

NOTHING = Count(0, 0.0)


@dataclass(frozen=True, slots=True)
class Split:
    """The sample-ratio check: whether visitors are split as they should be."""

    p_value: float | None
    labels: Sequence[str]
    visitors: Sequence[Count]
    shares: Sequence[float]
    alarm: Verdict | None

    def as_dict(self) -> dict[str, Any]:
        everyone = sum(count.value for count in self.visitors)
        if self.alarm:
            state, text = "mismatch", self.alarm.text
        elif self.p_value is None:
            state, text = "not_tested", "there is no split of visitors to check yet"
        else:
            state, text = "as_expected", "the visitors are split as they should be"
        return {
            "state": state,
            "p_value": self.p_value,
            "expected": [
                {"label": label, "share": share, "trials": everyone * share}
                for label, share in zip(self.labels, self.shares)
            ],
            "text": text,
        }


@dataclass(frozen=True, slots=True)
class Experiment:
    """What all goals of an experiment share."""

    labels: Sequence[str]
    trials: Mapping[str, Count]
    control: str
    alarm: Verdict | None

    @property
    def comparisons(self) -> int:
        return max(1, len(self.labels) - 1)


def experiment_report(
    counts: Mapping[str, Mapping[str, Count]],
    baseline: str | None = None,
    weights: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The report of one experiment, ready for JSON.

    `counts` is {goal: {variant: Count}} with the goal `participate`; `baseline` the configured control and
    `weights` the configured weight of each variant. What each key means is in docs/statistics.md; a figure
    that is undefined is None. Never raises for what counters can hold.
    """
    labels = sorted({label for variants in counts.values() for label in variants})
    participants = counts.get(PARTICIPATE, {})
    trials = {label: participants.get(label, NOTHING) for label in labels}
    control, notes = _control([label for label in labels if trials[label].value] or labels, labels, baseline)
    split = _split(trials, weights, notes)
    experiment = Experiment(labels, trials, control or "", split.alarm)
    return {
        "participants": [
            {"label": label, "trials": trials[label].value, "counting_error": trials[label].error} for label in labels
        ],
        "control": control,
        "comparisons": experiment.comparisons,
        "sample_ratio": split.as_dict(),
        "notes": notes,
        "goals": [_goal(goal, counts[goal], experiment) for goal in sorted(counts) if goal != PARTICIPATE],
    }


def _control(seen: Sequence[str], labels: Sequence[str], baseline: str | None) -> tuple[str | None, list[str]]:
    """The configured control, else the first variant that somebody was seen to take part in."""
    if not labels:
        return None, []
    if baseline is None or baseline in labels:
        return seen[0] if baseline is None else baseline, []
    missing = f"the configured baseline {baseline} has not been seen"
    return seen[0], [f"{missing}; the variants are compared with {seen[0]} instead"]


def _split(trials: Mapping[str, Count], weights: Mapping[str, float] | None, notes: list[str]) -> Split:
    """Against the configured weights, of which a variant never seen has its share too; else against equal
    ones.
    """
    if weights is None:
        labels = [label for label, count in trials.items() if count.value]
        expected = [1.0] * len(labels)
    else:
        labels = sorted(label for label, weight in weights.items() if weight > 0 and isfinite(weight))
        expected = [float(weights[label]) for label in labels]
        strangers = [label for label, count in trials.items() if count.value and label not in labels]
        if strangers:
            notes.append(f"no weight is configured for {verdict.listed(strangers)}: the split is checked without it")
    visitors = [trials.get(label, NOTHING) for label in labels]
    everything = sum(expected)
    shares = [weight / everything for weight in expected]
    if len(labels) < 2 or not any(count.value for count in visitors):
        return Split(None, labels, visitors, shares, None)
    p = sample_ratio_p_value(visitors, expected)
    alarm = verdict.do_not_trust(visitors, shares, labels) if p < SPLIT_ALPHA else None
    return Split(p, labels, visitors, shares, alarm)


def _goal(goal: str, successes: Mapping[str, Count], experiment: Experiment) -> dict[str, Any]:
    reached = {label: successes.get(label, NOTHING) for label in experiment.labels}
    repeated = any(_exceeds(count, experiment.trials[label]) for label, count in reached.items())
    rows, conclusion = (_per_visitor if repeated else _proportions)(reached, experiment)
    if experiment.alarm:
        conclusion = experiment.alarm
        for row in rows:
            row["verdict"] = conclusion.as_dict()
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


def _per_visitor(reached: Mapping[str, Count], experiment: Experiment) -> tuple[list[dict[str, Any]], Verdict]:
    trials, control = experiment.trials, experiment.control
    rates = {label: reached[label].value / count.value for label, count in trials.items() if count.value}
    conclusion = verdict.per_visitor(list(rates.items()))
    rows = []
    for label, count in reached.items():
        row = _row(label, count, trials[label])
        if label in rates:
            row["rate"] = rates[label]
            row["counting_error"] = sqrt(count.error**2 + trials[label].error ** 2)
            row["verdict"] = (
                verdict.CONTROL if label == control else verdict.per_visitor([(label, rates[label])])
            ).as_dict()
            if label != control and control in rates:
                row["difference"] = rates[label] - rates[control]
                row["uplift"] = rates[label] / rates[control] - 1 if rates[control] else None
        rows.append(row)
    return rows, conclusion


def _proportions(reached: Mapping[str, Count], experiment: Experiment) -> tuple[list[dict[str, Any]], Verdict]:
    trials, control = experiment.trials, experiment.control
    against = Proportion(reached[control], trials[control]) if trials.get(control, NOTHING).value else None
    rows, rivals = [], []
    for label, count in reached.items():
        row = _row(label, count, trials[label])
        if trials[label].value:
            own = Proportion(count, trials[label])
            row["rate"] = own.rate
            row["rate_interval"] = _bounds(rate_interval(own, ALPHA))
            row["counting_error"] = own.error
            if label == control:
                row["verdict"] = verdict.CONTROL.as_dict()
            elif against is None:
                row["verdict"] = verdict.no_control(control).as_dict()
            else:
                rival = _compare(row, label, own, against, experiment)
                rivals.append(rival)
                row["verdict"] = rival.verdict.as_dict()
        rows.append(row)
    if against is None and any(count.value for count in trials.values()):
        return rows, verdict.no_control(control)
    if against is None:
        return rows, verdict.no_data("no visitors yet", _lost(sum(count.value for count in reached.values())))
    if not rivals:
        return rows, verdict.no_data(
            f"nothing to compare: only {verdict.name(control)} has visitors so far",
            "it takes a second variant",
        )
    return rows, verdict.summary(rivals, control, against)


def _compare(row: dict[str, Any], label: str, own: Proportion, against: Proportion, experiment: Experiment) -> Rival:
    """Fills a row with its comparison to the control, corrected for the number of such comparisons."""
    comparisons = experiment.comparisons
    alpha = ALPHA / comparisons
    single = p_value(own, against)
    interval = always_valid_interval(own, against, alpha)
    rival = verdict.compare(label, own, experiment.control, against, interval, alpha)
    row["difference"] = own.rate - against.rate
    row["difference_interval"] = _bounds(difference_interval(own, against, alpha))
    row["uplift"] = own.rate / against.rate - 1 if against.rate else None
    row["uplift_interval"] = _bounds(uplift_interval(own, against, alpha))
    row["p_value"] = bonferroni(single, comparisons)
    row["unadjusted_p_value"] = single
    row["chance_to_beat_control"] = chance_to_beat_control(own, against)
    row["always_valid_interval"] = _bounds(interval)
    row["always_valid_p_value"] = bonferroni(always_valid_p_value(own, against), comparisons)
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
        "verdict": verdict.no_data("no visitors yet", _lost(successes.value)).as_dict(),
    }


def _lost(successes: int) -> str:
    return f"{successes:,} reached the goal, but none was counted as a participant" if successes else ""


def _bounds(interval: Interval) -> dict[str, float | None]:
    """An interval for JSON, which knows no infinity: None where there is no bound."""
    return {
        "low": interval.low if isfinite(interval.low) else None,
        "high": interval.high if isfinite(interval.high) else None,
    }
