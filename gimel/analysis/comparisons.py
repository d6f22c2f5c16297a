"""Each variant of a goal against the control: the figures, corrected for several variants, and the verdicts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, isfinite
from typing import Any

from . import verdicts
from .proportions import (
    Interval,
    Proportion,
    bonferroni,
    chance_to_beat_control,
    difference_interval,
    expected_losses,
    p_value,
    uplift_interval,
)
from .sequential import (
    always_valid_interval,
    always_valid_p_value,
    information_fraction,
    planned_interval,
    planned_p_value,
    visitors_needed,
)
from .verdicts import Comparison, Needed, Pair, Terms, Verdict
from .wording import Digits, decimals, named

Range = tuple[Interval, float]
"""An interval, and the figure that it is of."""

Pairs = Mapping[str, tuple[Proportion, Proportion]]
"""Variants, each with the control that it is compared with."""

Level = tuple[float, float]
"""The level at which a variant is tested, and its p-value corrected for the number of variants."""

DIFFERENCES = ("difference_interval", "always_valid_interval")
NEEDS = ("visitors_needed", "visitors_needed_smallest", "visitors_needed_equal")


@dataclass(frozen=True, slots=True)
class Compared:
    """What is known of a variant. `loss_of_control` is the expected loss of choosing the control instead."""

    comparison: Comparison
    figures: Mapping[str, Any]
    loss_of_control: float


@dataclass(frozen=True, slots=True)
class Tested:
    """A variant against the control: for a single look, no matter how often you check, and by the plan, if it has one
    and both had visitors when that was decided."""

    p_value: float
    once: Level
    single: Interval
    always: Level
    interval: Interval
    planned: _Planned | None


def intervals(control: str, pairs: Pairs, decided: Pairs | None, terms: Terms) -> dict[str, Tested]:
    """Each variant's intervals, corrected for several variants. The arguments are those of `compare_all`."""
    p_values = {label: p_value(*pair) for label, pair in pairs.items()}
    once = _corrected(pairs, lambda label, level: p_values[label], terms)
    always = _corrected(pairs, lambda label, level: always_valid_p_value(*pairs[label], level), terms)
    planned = _planned(control, {label: pair for label, pair in (decided or {}).items() if label in pairs}, terms)
    return {
        label: Tested(
            p_values[label],
            once[label],
            difference_interval(*pair, once[label][0], p_values[label]),
            always[label],
            always_valid_interval(*pair, always[label][0]),
            planned.get(label),
        )
        for label, pair in pairs.items()
    }


def compare_all(
    control: str, pairs: Pairs, decided: Pairs | None, terms: Terms, rates: Sequence[Range]
) -> dict[str, Compared]:
    """Each variant against the control, in figures and with its verdict.

    `pairs` are by all counts, `decided` by those from which the verdict is made, which differ once a plan has ended;
    None if the control had no visitors then. `rates` are those of all variants by all counts, with their intervals.
    """
    figures_of: dict[str, dict[str, Any]] = {}
    judged = {}
    for label, tested in intervals(control, pairs, decided, terms).items():
        own, against = pairs[label]
        (level, corrected), (always_level, always_corrected) = tested.once, tested.always
        single, interval = tested.single, tested.interval
        figures = figures_of[label] = {
            "difference": own.rate - against.rate,
            "difference_interval": single,
            "uplift": own.rate / against.rate - 1 if against.rate else None,
            "uplift_interval": uplift_interval(own, against, level, tested.p_value),
            "p_value": corrected,
            "unadjusted_p_value": tested.p_value,
            "chance_to_beat_control": chance_to_beat_control(own, against),
            "always_valid_interval": interval,
            "always_valid_p_value": always_corrected,
        }
        needed = partial(_needed, label, own, control, against, always_level, terms)
        pair = Pair(label, own, control, against, interval, single, needed)
        if test := tested.planned:
            figures.update(planned_interval=test.interval, planned_p_value=test.p_value)
            single = difference_interval(test.own, test.against, test.level, p_value(test.own, test.against))
            since = interval if terms.plan and terms.plan.ended else None
            pair = Pair(label, test.own, control, test.against, test.interval, single, needed, since)
        judged[label] = pair
    digits = _digits(rates, figures_of.values(), judged.values())
    found = {}
    for label, pair in judged.items():
        pair, figures = replace(pair, digits=digits), figures_of[label]
        loss, loss_of_control = expected_losses(*pairs[label])
        figures["expected_loss"] = loss if terms.allowed is None else None
        if terms.plan and "planned_interval" not in figures:
            unseen = named(control if decided is None else label)
            comparison = Comparison(pair, Verdict("no_data", f"{unseen} had no visitors when the plan ended"))
        else:
            comparison = verdicts.compare(pair, terms)
        if comparison.needed:
            figures.update(zip(NEEDS, comparison.needed))
        found[label] = Compared(comparison, figures, loss_of_control)
    return found


def _digits(rates: Sequence[Range], rows: Collection[Mapping[str, Any]], pairs: Collection[Pair]) -> Digits:
    """The decimals with which no order is lost: bounds and what they bound differ, and so do rates once decided."""
    settled = [(one.variant.rate, one.control.rate) for one in pairs if one.interval.low * one.interval.high > 0]
    differences = [(one.interval, one.variant.rate - one.control.rate) for one in pairs]
    looks = [(row[name], row["difference"]) for row in rows for name in DIFFERENCES]
    uplifts = [(row["uplift_interval"], row["uplift"]) for row in rows if isfinite(row["uplift_interval"].high)]
    return Digits(
        column_digits(rates, settled),
        column_digits(differences, _bounds(looks)),
        column_digits(uplifts) if uplifts else 0,
    )


def column_digits(ranges: Sequence[Range], apart: Iterable[tuple[float, float]] = ()) -> int:
    """How many decimals these figures have with their intervals, and to keep the two of each pair in `apart` apart."""
    return decimals([(interval.high - interval.low) / 2 for interval, _ in ranges], [*_bounds(ranges), *apart])


def _bounds(ranges: Iterable[Range]) -> Iterator[tuple[float, float]]:
    for interval, figure in ranges:
        yield interval.low, figure
        yield figure, interval.high


@dataclass(frozen=True, slots=True)
class _Planned:
    """A variant by the plan, tested at this level."""

    own: Proportion
    against: Proportion
    level: float
    interval: Interval
    p_value: float


def _planned(control: str, decided: Pairs, terms: Terms) -> dict[str, _Planned]:
    """Those variants that had visitors, with the control, when the plan was decided."""
    plan = terms.plan
    if plan is None:
        return {}
    size = plan.sizes.get(control, plan.visitors)
    fractions = {
        label: information_fraction(*pair, plan.sizes.get(label, plan.visitors), size)
        for label, pair in decided.items()
    }
    found = {}
    for label, (level, corrected) in _corrected(
        decided, lambda label, level: planned_p_value(*decided[label], fractions[label], level), terms
    ).items():
        interval = planned_interval(*decided[label], fractions[label], level)
        found[label] = _Planned(*decided[label], level, interval, corrected)
    return found


def _corrected(labels: Collection[str], test: Callable[[str, float], float], terms: Terms) -> dict[str, Level]:
    """The smallest of k p-values is tested at alpha / k; if it is below, the next at alpha / (k - 1), and so on. From
    the first that is not, all have its level (Holm 1979, Scandinavian Journal of Statistics 6, 65-70). Those of a
    guardrail, whose verdict is not on whether there is a difference, are all tested at alpha / k (Bonferroni).

    `test` gives a variant's p-value at a level. The interval at a variant's level excludes 0 exactly when its corrected
    p-value is below alpha.
    """
    alpha = terms.alpha
    if terms.allowed is not None:
        k = len(labels)
        return {label: (alpha / k, bonferroni(test(label, alpha / k), k)) for label in labels}
    found: dict[str, Level] = {}
    largest = 0.0
    waiting = set(labels)
    while waiting:
        level = alpha / len(waiting)
        p_values = {label: test(label, level) for label in waiting}
        for label in sorted(p_values, key=lambda one: (p_values[one], one)):
            largest = min(1.0, max(largest, p_values[label] * len(waiting)))
            found[label] = level, largest
            waiting.remove(label)
            if largest < alpha:
                break  # the next has a level of its own
    return found


def _needed(
    label: str, own: Proportion, control: str, against: Proportion, level: float, terms: Terms, change: float
) -> Needed | None:
    shares = terms.shares
    equal = 1 / len(shares) if shares else 0.5
    parts = shares.get(label, equal), shares.get(control, equal)
    in_all = visitors_needed(own, against, change, level, parts)
    if in_all is None:
        return None
    if parts == (equal, equal):
        return Needed(in_all, ceil(in_all * equal), in_all)
    least = ceil(in_all * min(shares.values()))
    return Needed(in_all, least, visitors_needed(own, against, change, level, (equal, equal)) or 0)
