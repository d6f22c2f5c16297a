"""Counts in, report out: what each goal's counts say about each variant, in figures and in words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from math import isfinite, sqrt
from operator import attrgetter
from typing import Any

from gimel.events import PARTICIPATE
from gimel.histories import SPLIT, History, as_moment, as_text, until
from gimel.hyperloglog import NOTHING, Count
from gimel.plans import Ended
from gimel.settings import NO_SETTINGS, ExperimentSettings

from . import comparisons, counting, novelty, sample_ratio, verdicts
from .comparisons import Pairs
from .headline import headline
from .past import Counts, Past
from .plan import Plan
from .proportions import Interval, Proportion, rate_interval
from .strata import Strata
from .variants import Variants, changed_plan, notes, planned_in_all, variants_at_end, variants_of
from .verdicts import Terms, Verdict
from .wording import USUAL, Digits, named

ALPHA = 0.05
MANY_GOALS = 5
"""From so many goals on, a note says what testing each of them costs."""

NEVER_TOGETHER = Verdict(
    "no_data",
    "nothing to compare: it never had visitors in the same period as the control",
    "the shares of visitors changed, and figures of different times cannot be compared",
)

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
    planned_interval: Interval | None = None
    planned_p_value: float | None = None
    expected_loss: float | None = None
    visitors_needed: int | None = None
    visitors_needed_smallest: int | None = None
    visitors_needed_equal: int | None = None
    counting_error: float | None = None
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = dict(zip(ROW_FIELDS, _VALUES(self)), verdict=self.verdict.as_dict())
        for field in INTERVALS:
            if interval := found[field]:
                found[field] = {"low": _bound(interval.low), "high": _bound(interval.high)}
        return found


ROW_FIELDS = tuple(field.name for field in fields(ResultRow))
INTERVALS = frozenset(field.name for field in fields(ResultRow) if "Interval" in str(field.type))
_VALUES = attrgetter(*ROW_FIELDS)


@dataclass(frozen=True, slots=True)
class Goal:
    """What is known of one goal. `counting_share` is the counters' largest part in the variance of a rate."""

    goal: str
    kind: str
    verdict: Verdict
    results: tuple[ResultRow, ...]
    counting_share: float = 0.0
    digits: Digits = USUAL
    role: str = "goal"
    alpha: float = ALPHA
    by_day: Mapping[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        results = [row.as_dict() for row in self.results]
        return {
            "goal": self.goal,
            "kind": self.kind,
            "role": self.role,
            "alpha": self.alpha,
            "digits": self.digits._asdict(),
            "verdict": self.verdict.as_dict(),
            "results": results,
            "by_day": self.by_day,
        }


@dataclass(frozen=True, slots=True)
class Basis:
    """What the figures of an experiment are made of.

    `variants` are those by all counts, and `decided` those by the counts from which the verdicts are made, which differ
    once a plan has ended. `reached` has all counts of each goal. `ended` is None without a plan. `strata` are those of
    all counts, `strata_at_end` those by the counts of the verdicts. `per_day` are the present visitors per day in all;
    0 if that is unknown.
    """

    own: ExperimentSettings
    variants: Variants
    decided: Variants
    decided_by: Counts
    ended: Ended | None
    plan: Plan | None
    reached: Counts
    roles: Mapping[str, str]
    alphas: Mapping[str, float]
    strata: Strata | None = None
    strata_at_end: Strata | None = None
    per_day: float = 0.0

    @classmethod
    def of(
        cls,
        counts: Counts,
        own: ExperimentSettings,
        control: str | None,
        ended: Ended | None,
        past: History | None = None,
    ) -> Basis:
        """Of these counts; `past` is the history until now, the other arguments are those of `experiment_report`."""
        if own.planned_visitors is None:
            ended = None
        by = ended.counts if ended else counts
        resolved = decided = variants_at_end(ended, own, control) if ended else variants_of(counts, own, control)
        if ended:  # a label that came later is not what the others are compared with, unless it is requested
            resolved = variants_of(counts, replace(own, baseline=decided.control), control)
        reached = {goal: counts[goal] for goal in sorted(counts) if goal != PARTICIPATE}
        plan = _plan(own, resolved, decided, ended)
        strata = at_end = Strata.of(past, counts, resolved.real) if past else None
        if past and ended:
            at_end = Strata.of(until(past, by, as_moment(ended.at)), by, decided.real)
        return cls(own, resolved, decided, by, ended, plan, reached, *_roles(own, reached, by), strata, at_end)

    def is_repeated(self, goal: str) -> bool:
        """Whether a visitor can reach it more than once, so that it is not tested."""
        found, trials = self.decided_by.get(goal, {}), self.decided.trials
        exceeds = any(_exceeds(found.get(label, NOTHING), trials[label]) for label in self.decided.real)
        return exceeds or goal in self.own.per_visitor

    def terms(self, goal: str) -> Terms:
        """What the verdicts on a goal are judged by."""
        allowed = self.own.guardrails.get(goal)
        change, shares = self.own.smallest_change, self.decided.shares
        return Terms(change, self.alphas[goal], shares, self.plan, allowed, self.per_day)

    def at_end(self, goal: str) -> Pairs | None:
        """Each variant and the control, by the counts from which the verdict is made; None without the control."""
        return pairs(goal, self.variants.control, rates(self.decided_by, goal, self.decided.real), self.strata_at_end)


def rates(counts: Counts, goal: str, labels: Iterable[str]) -> dict[str, Proportion]:
    """The rate of each of these labels that has visitors."""
    trials, reached = counts.get(PARTICIPATE, {}), counts.get(goal, {})
    found = {label: trials.get(label, NOTHING) for label in labels}
    return {label: Proportion(reached.get(label, NOTHING), count) for label, count in found.items() if count.value}


def pairs(goal: str, control: str, rates: Mapping[str, Proportion], strata: Strata | None) -> Pairs | None:
    """Each variant with the control, as the strata compare them; None if the control has no rate."""
    against = rates.get(control)
    if against is None:
        return None
    plain = {label: (own, against) for label, own in rates.items() if label != control}
    if strata is None:
        return plain
    compared = {label: strata.compare(goal, label, control, pair) for label, pair in plain.items()}
    return {label: pair for label, pair in compared.items() if pair}


def experiment_report(
    counts: Counts,
    own: ExperimentSettings = NO_SETTINGS,
    control: str | None = None,
    ended: Ended | None = None,
    history: History | None = None,
    now: int | None = None,
) -> dict[str, Any]:
    """The report of one experiment, ready for JSON.

    `counts` is {goal: {variant: Count}} with the goal `participate`, `own` the experiment's settings, `control` one
    requested instead of the configured one, `ended` what was counted when its plan ended, and `history` what was
    counted before `now`, the moment of `counts`. What each key means is
    in docs/reading-a-report.md; a figure that is undefined is None. Never raises for what counters can hold.
    """
    now_last = until(history, counts, now) if history and now is not None else None
    basis = Basis.of(counts, own, control, ended, now_last)
    resolved, plan, own = basis.variants, basis.plan, basis.own
    split = sample_ratio.check(basis.decided)
    goals = []
    if history and control is not None and resolved.control != variants_of(basis.decided_by, own).control:
        # Those of the verdicts were recorded of another control.
        history = replace(history, changes=tuple(change for change in history.changes if change.goal == SPLIT))
    past = Past.of(history, counts, now, resolved.real)
    basis = replace(basis, per_day=past.per_day)
    for goal, found in basis.reached.items():
        if basis.is_repeated(goal):
            of_goal = _repeated(goal, resolved, found, goal in own.per_visitor)
        else:
            of_goal = _proportions(goal, basis)
        of_goal = replace(of_goal, role=basis.roles[goal], alpha=basis.alphas[goal])
        goals.append(of_goal if split.alarm is None else _distrusted(of_goal, resolved))
    about, verdict = _first_to_read(goals, split.alarm, own)
    since = past.split_since(basis.decided.shares) if split.alarm else None
    states: dict[str | None, str] = {None: verdict.state, **{goal.goal: goal.verdict.state for goal in goals}}
    every_count = [count for found in counts.values() for label, count in found.items() if label in resolved.real]
    report = {
        "participants": [
            {
                "label": label,
                "trials": count.value,
                "counting_error": count.error,
                "unexpected": label not in resolved.real,
            }
            for label, count in resolved.trials.items()
        ],
        **past.as_dict(),
        "control": resolved.control if resolved.trials else None,
        "comparisons": resolved.comparisons,
        "smallest_change": own.smallest_change,
        "plan": plan.as_dict() if plan else None,
        "verdict": {**verdict.as_dict(), "goal": about},
        "verdict_since": past.verdict_since(None, verdict.state),
        "sample_ratio": {**split.as_dict(), "since": None if since is None else as_text(since)},
        "counting_note": counting.note(every_count, max((goal.counting_share for goal in goals), default=0.0)),
        "notes": [
            *notes(resolved, own, control, basis.reached),
            *_notes(own, goals, resolved, basis.ended),
            *(basis.strata.notes({goal.goal: goal.by_day for goal in goals if goal.by_day}) if basis.strata else ()),
            *_novelties(basis, counts, now_last, goals if split.alarm is None else ()),
            *past.notes(states, since, basis.ended),
        ],
        "goals": [
            {
                **goal.as_dict(),
                "verdict_since": past.verdict_since(goal.goal, goal.verdict.state),
                "days_left": past.days_left(goal.verdict.missing),
            }
            for goal in goals
        ],
    }
    return {**report, "headline": headline(report, now)}


def _plan(own: ExperimentSettings, now: Variants, decided: Variants, ended: Ended | None) -> Plan | None:
    in_all = ended.planned if ended else planned_in_all(own, now)
    if own.planned_visitors is None or in_all is None:
        return None
    sizes = {label: share * in_all for label, share in decided.shares.items()}
    return Plan(own.planned_visitors, in_all, sizes, now.visitors, ended, decided.visitors)


def _roles(
    own: ExperimentSettings, goals: Collection[str], decided_by: Collection[str]
) -> tuple[dict[str, str], dict[str, float]]:
    """The role of each goal, and the level at which it is tested.

    The primary goal has ALPHA, and so has each guardrail. The others share as much between them: those in the settings,
    reached or not, and those among `decided_by`. Without a primary goal, each has ALPHA.
    """
    others = "goal" if own.goal is None else "secondary"
    roles = {goal: "guardrail" if goal in own.guardrails else others for goal in goals}
    if own.goal in roles:
        roles[own.goal] = "primary"
    sharing = {*(own.goals or ()), *decided_by} - {PARTICIPATE, own.goal, *own.guardrails, *own.per_visitor}
    part = ALPHA / max(1, len(sharing))
    is_part = {goal: roles[goal] == "secondary" and goal not in own.per_visitor for goal in goals}
    return roles, {goal: part if is_part[goal] else ALPHA for goal in goals}


def _notes(own: ExperimentSettings, goals: Collection[Goal], variants: Variants, ended: Ended | None) -> Iterator[str]:
    tested = [goal for goal in goals if goal.role == "goal" and goal.kind == "proportion"]
    if len(tested) >= MANY_GOALS:
        yield (
            f"{len(tested)} goals are tested separately, so a false verdict on at least one of them is several times as"
            " likely as with one goal: name the primary goal in the settings"
        )
    if ended and (note := changed_plan(own, ended)):
        yield note
    if ended and (changed := sample_ratio.check(variants).alarm):
        yield f"since the plan ended, the visitors are no longer split as expected: {changed.text}"


def _novelties(basis: Basis, counts: Counts, past: History | None, goals: Collection[Goal]) -> Iterator[str]:
    """What wears off or grows, unless the shares changed: then thirds have other visitors, too."""
    if past is None or basis.strata:
        return iter(())
    tested = [goal.goal for goal in goals if goal.kind == "proportion"]
    return novelty.notes(past, counts, tested, basis.variants.real, basis.variants.control)


def _first_to_read(
    goals: Collection[Goal], alarm: Verdict | None, own: ExperimentSettings
) -> tuple[str | None, Verdict]:
    if alarm:
        return None, alarm
    states: dict[str, dict[str, str]] = {}
    for goal in goals:
        for row in goal.results:
            states.setdefault(row.label, {})[goal.goal] = row.verdict.state
    return verdicts.of_experiment({goal.goal: goal.verdict for goal in goals}, states, own.goal, own.guardrails)


def _distrusted(goal: Goal, variants: Variants) -> Goal:
    moot: dict[str, Any] = dict.fromkeys(comparisons.NEEDS)
    rows = [
        replace(row, verdict=verdicts.WRONG_SPLIT, **moot) if row.label in variants.real else row
        for row in goal.results
    ]
    return replace(goal, verdict=verdicts.WRONG_SPLIT, results=tuple(rows))


def _exceeds(successes: Count, trials: Count) -> bool:
    allowed = BEYOND_COUNTING_ERROR * sqrt(
        (successes.value * successes.error) ** 2 + (trials.value * trials.error) ** 2
    )
    return trials.value > 0 and successes.value > trials.value + allowed


def _repeated(goal: str, variants: Variants, found: Mapping[str, Count], configured: bool) -> Goal:
    """A goal that a visitor can reach more than once: rates per visitor, and no test."""
    trials, control = variants.trials, variants.control
    reached = {label: found.get(label, NOTHING) for label in trials}
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


def _proportions(goal: str, basis: Basis) -> Goal:
    """A goal that a visitor reaches or not: each variant's rate, compared with the control's."""
    variants, reached, terms = basis.variants, basis.reached[goal], basis.terms(goal)
    trials, control = variants.trials, variants.control
    own_rates = rates({PARTICIPATE: trials, goal: reached}, goal, trials)
    intervals = {label: rate_interval(own, ALPHA) for label, own in own_rates.items()}
    real = {label: own_rates[label] for label in variants.real if label in own_rates}
    ranges = [(intervals[label], own.rate) for label, own in real.items()]
    compared = pairs(goal, control, real, basis.strata)
    at_end = basis.at_end(goal) if basis.ended else compared
    found = comparisons.compare_all(control, compared, at_end, terms, ranges) if compared else {}
    rows, share = [], 0.0
    for label in trials:
        count, own = reached.get(label, NOTHING), own_rates.get(label)
        verdict = _without_test(label, count, variants)
        if own is None:
            rows.append(_row(label, count, trials[label], verdict or _no_visitors([count])))
            continue
        if label in variants.real:
            share = max(share, counting.share_of_variance(own, intervals[label], ALPHA))
        figures = {"rate": own.rate, "rate_interval": intervals[label], "counting_error": own.error}
        if label in found:
            verdict = found[label].comparison.verdict
            figures |= found[label].figures
        elif label == control and found and terms.allowed is None:
            figures["expected_loss"] = max(one.loss_of_control for one in found.values())
        if compared is not None and label not in found and verdict is None:
            verdict = NEVER_TOGETHER
        rows.append(_row(label, count, trials[label], verdict or verdicts.no_control(control), **figures))
    if found:
        verdict = verdicts.of_goal([one.comparison for one in found.values()])
    elif len(real) > 1 and control in real:
        verdict = NEVER_TOGETHER
    elif control in real:
        verdict = Verdict(
            "no_data",
            f"nothing to compare: only {named(control)} has visitors so far",
            "a comparison needs a second variant",
        )
    elif any(count.value for count in trials.values()):
        verdict = verdicts.no_control(control)
    else:
        verdict = _no_visitors(reached.values())
    digits = next((one.comparison.pair.digits for one in found.values()), None) or Digits(
        comparisons.column_digits(ranges)
    )
    by_day = {}
    if basis.strata and compared:
        by_day = {
            label: basis.strata.as_dict(goal, label, control, pair)
            for label, pair in compared.items()
            if pair != (real[label], real[control])
        }
    return Goal(goal, "proportion", verdict, tuple(rows), share, digits, by_day=by_day or None)


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


def _bound(value: float) -> float | None:
    """JSON has no infinity: a bound that does not exist is None."""
    return value if isfinite(value) else None
