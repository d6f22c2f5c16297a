"""Each variant of a goal against the control: the figures, corrected for several variants, and the verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from typing import Any

from . import verdicts
from .proportions import (
    Interval,
    Proportion,
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

Side = Callable[[str], Proportion | None]
"""A variant's counts; None if no one takes part."""

Level = tuple[float, float]
"""The level at which a variant is tested, and its p-value corrected for the number of variants."""

NEEDS = ("visitors_needed", "visitors_needed_smallest", "visitors_needed_equal")


@dataclass(frozen=True, slots=True)
class Compared:
    """What is known of a variant. `loss_of_control` is the expected loss of choosing the control instead."""

    comparison: Comparison
    figures: Mapping[str, Any]
    loss_of_control: float


def compare_all(control: str, labels: Sequence[str], now: Side, decided: Side, terms: Terms) -> dict[str, Compared]:
    """The variants `labels` against the control, all of which take part.

    `now` has all counts, `decided` those from which the verdict is made, which differ once a plan has ended.
    """
    against = _present(now(control))
    owns = {label: _present(now(label)) for label in labels}
    p_values = {label: p_value(own, against) for label, own in owns.items()}
    once = _step_by_step(owns, lambda label, level: p_values[label], terms.alpha)
    always = _step_by_step(owns, lambda label, level: always_valid_p_value(owns[label], against, level), terms.alpha)
    planned = _planned(control, labels, decided, terms)
    found = {}
    for label, own in owns.items():
        level, corrected = once[label]
        always_level = _deciding_level(always[label], len(labels), terms)
        single = difference_interval(own, against, level, p_values[label])
        interval = always_valid_interval(own, against, always_level)
        loss, loss_of_control = expected_losses(own, against)
        figures = {
            "difference": own.rate - against.rate,
            "difference_interval": single,
            "uplift": own.rate / against.rate - 1 if against.rate else None,
            "uplift_interval": uplift_interval(own, against, level, p_values[label]),
            "p_value": corrected,
            "unadjusted_p_value": p_values[label],
            "chance_to_beat_control": chance_to_beat_control(own, against),
            "always_valid_interval": interval,
            "always_valid_p_value": always[label][1],
            "expected_loss": loss if terms.allowed is None else None,
        }
        needed = partial(_needed, label, own, control, against, always_level, terms)
        pair = Pair(label, own, control, against, interval, single, needed)
        test = planned.get(label)
        if test:
            figures |= {"planned_interval": test.interval, "planned_p_value": test.p_value}
            pair = replace(pair, interval=test.interval)
        if test and terms.plan and terms.plan.ended:
            single = difference_interval(test.own, test.against, level, p_value(test.own, test.against))
            pair = replace(pair, variant=test.own, control=test.against, once=single, since=interval)
        if terms.plan and not test:
            unseen = named(label if decided(control) else control)
            comparison = Comparison(pair, Verdict("no_data", f"{unseen} had no visitors when the plan ended"))
        else:
            comparison = verdicts.compare(pair, terms)
        if comparison.needed:
            figures |= dict(zip(NEEDS, comparison.needed))
        found[label] = Compared(comparison, figures, loss_of_control)
    return found


@dataclass(frozen=True, slots=True)
class _Planned:
    """A variant by the plan."""

    own: Proportion
    against: Proportion
    interval: Interval
    p_value: float


def _planned(control: str, labels: Sequence[str], decided: Side, terms: Terms) -> dict[str, _Planned]:
    """Those variants that had visitors, with the control, when the plan was decided."""
    against, plan = decided(control), terms.plan
    if plan is None or against is None:
        return {}
    owns = {label: own for label in labels if (own := decided(label))}
    size = plan.sizes.get(control, plan.visitors)
    fractions = {
        label: information_fraction(own, against, plan.sizes.get(label, plan.visitors), size)
        for label, own in owns.items()
    }
    levels = _step_by_step(
        owns, lambda label, level: planned_p_value(owns[label], against, fractions[label], level), terms.alpha
    )
    found = {}
    for label, own in owns.items():
        level = _deciding_level(levels[label], len(owns), terms)
        interval = planned_interval(own, against, fractions[label], level)
        found[label] = _Planned(own, against, interval, levels[label][1])
    return found


def _step_by_step(labels: Iterable[str], test: Callable[[str, float], float], alpha: float) -> dict[str, Level]:
    """The smallest of k p-values is tested at alpha / k; if it is below, the next at alpha / (k - 1), and so on. From
    the first that is not, all have its level (Holm 1979, Scandinavian Journal of Statistics 6, 65-70).

    `test` gives a variant's p-value at a level. The interval at a variant's level excludes 0 exactly when its corrected
    p-value is below alpha.
    """
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


def _deciding_level(of_test: Level, comparisons: int, terms: Terms) -> float:
    """Step by step is for tests of no difference. A guardrail's test is another one."""
    return of_test[0] if terms.allowed is None else terms.alpha / comparisons


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


def _present(own: Proportion | None) -> Proportion:
    if own is None:
        raise ValueError("only variants with visitors are compared")
    return own
