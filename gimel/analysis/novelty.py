"""Whether an effect wears off or grows: the uplift of the last third of the time against that of the first."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from itertools import product
from math import expm1, log, sqrt

from gimel.histories import DAY, History

from .distributions import critical_value
from .proportions import Proportion
from .strata import Counts, rate_between
from .wording import decimals, named, percent

ALPHA = 0.0001
"""Of all goals and variants of an experiment together, at one look."""

SHORTEST = 6 * DAY

ENOUGH = 50
"""So many must have reached the goal, and so many not, in the variant and in the control, in either third."""

WORN_OFF = "what was new may have worn off, so expect less than the whole time shows"


def notes(
    history: History, like: Counts, goals: Collection[str], labels: Collection[str], control: str
) -> Iterator[str]:
    """A sentence for each goal and variant whose uplift changed by more than chance. `history` goes until now.

    The logarithms of the ratios of both rates are compared (Altman & Bland 2003, BMJ 326, 219, for a difference of two
    relative risks), each with the variance (1 - p) / (n p) + e^2 of either rate, e being its counting error. They stay
    the same if all rates move, or if visitors reach the goal days later, while differences do not. Of 400 simulated
    experiments of 60 days (1,000 visitors a day, a rate of 5 % and half of it on weekends, a constant uplift of 10 %),
    looked at every day, none had a false note with exact counters, and one each with precision 64 and 1.
    """
    others = [label for label in labels if label != control]
    critical = critical_value(ALPHA / max(1, len(goals) * len(others)))
    thirds = _thirds(history)
    for goal, label in product(goals, others) if thirds else ():
        rates = [[rate_between(history, like, goal, one, *part) for one in (label, control)] for part in thirds]
        if not all(one and ENOUGH <= one.reached <= one.trials.value - ENOUGH for part in rates for one in part):
            continue
        (was, before), (now, after) = (_log_ratio(*(one for one in part if one)) for part in rates)
        if abs(now - was) < critical * sqrt(before + after):
            continue
        digits = decimals(map(sqrt, (before, after)), [(expm1(was), expm1(now))])
        shown = [percent(expm1(ratio), digits, True) for ratio in (was, now)]
        meaning = (
            WORN_OFF
            if now < was
            else "visitors may have had to get used to it, so expect more than the whole time shows"
        )
        yield f"{_about(goal, label)} {shown[0]} in the first third of the time and {shown[1]} in the last: {meaning}"


def has_worn_off(notes: Collection[str], goal: str, label: str) -> bool:
    """Whether one of the `notes` of a report says so of this variant."""
    return any(note.startswith(_about(goal, label)) and note.endswith(WORN_OFF) for note in notes)


def _about(goal: str, label: str) -> str:
    return f"on {named(goal)}, {named(label)}'s uplift was"


def _thirds(history: History) -> Sequence[tuple[int, int]]:
    """The positions between which the first and the last third of the time lie; empty while that is too short."""
    every = [sum(values) for values in zip(*(values for of in history.counts.values() for values in of.values()))]
    start = max((one for one, value in enumerate(every) if value == 0), default=0)
    moments, last = history.moments, len(history.moments) - 1
    time = moments[last] - moments[start] if moments else 0
    if time < SHORTEST:
        return ()
    first_end = bisect_right(moments, moments[start] + time // 3) - 1
    last_start = bisect_left(moments, moments[last] - time // 3)
    return ((start, first_end), (last_start, last)) if start < first_end < last_start < last else ()


def _log_ratio(own: Proportion, against: Proportion) -> tuple[float, float]:
    """The logarithm of the ratio of two rates, and its variance."""
    variance = sum((1 - one.rate) / one.reached + one.error_squared for one in (own, against))
    return log(own.rate / against.rate), variance
