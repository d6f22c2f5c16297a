"""Each variant of a goal against the control: the figures, corrected for several variants, and the verdicts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from math import ceil
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
from .wording import named

Pairs = Mapping[str, tuple[Proportion, Proportion]]
"""Variants, each with the control that it is compared with."""

Level = tuple[float, float]
"""The level at which a variant is tested, and its p-value corrected for the number of variants."""

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


def compare_all(control: str, pairs: Pairs, decided: Pairs | None, terms: Terms) -> dict[str, Compared]:
    """Each variant against the control, in figures and with its verdict.

    `pairs` are by all counts, `decided` by those from which the verdict is made, which differ once a plan has ended;
    None if the control had no visitors then.
    """
    found = {}
    for label, tested in intervals(control, pairs, decided, terms).items():
        own, against = pairs[label]
        (level, corrected), (always_level, always_corrected) = tested.once, tested.always
        single, interval = tested.single, tested.interval
        loss, loss_of_control = expected_losses(own, against)
        figures = {
            "difference": own.rate - against.rate,
            "difference_interval": single,
            "uplift": own.rate / against.rate - 1 if against.rate else None,
            "uplift_interval": uplift_interval(own, against, level, tested.p_value),
            "p_value": corrected,
            "unadjusted_p_value": tested.p_value,
            "chance_to_beat_control": chance_to_beat_control(own, against),
            "always_valid_interval": interval,
            "always_valid_p_value": always_corrected,
            "expected_loss": loss if terms.allowed is None else None,
        }
        needed = partial(_needed, label, own, control, against, always_level, terms)
        pair = Pair(label, own, control, against, interval, single, needed)
        if test := tested.planned:
            figures |= {"planned_interval": test.interval, "planned_p_value": test.p_value}
            single = difference_interval(test.own, test.against, test.level, p_value(test.own, test.against))
            since = interval if terms.plan and terms.plan.ended else None
            pair = Pair(label, test.own, control, test.against, test.interval, single, needed, since)
        if terms.plan and not test:
            unseen = named(control if decided is None else label)
            comparison = Comparison(pair, Verdict("no_data", f"{unseen} had no visitors when the plan ended"))
        else:
            comparison = verdicts.compare(pair, terms)
        if comparison.needed:
            figures |= dict(zip(NEEDS, comparison.needed))
        found[label] = Compared(comparison, figures, loss_of_control)
    return found


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
