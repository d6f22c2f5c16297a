"""Measurements that take turns, and what is read from them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

Blocks = dict[str, list[float]]
"""What each subject measured, a value a round: the median of a block of calls, or another figure of it."""


def interleave(ways: Mapping[str, Callable[[], float]], rounds: int) -> Blocks:
    """A value of each way in every round, so that a slower moment of the machine is everybody's.

    Every other round goes backwards, so that nobody always follows the same neighbour. A round before them warms up.
    """
    blocks: Blocks = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            value = ways[name]()
            if number:
                blocks[name].append(float(f"{value:.4g}"))
    return blocks


def middle(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def ratios(some: Sequence[float], others: Sequence[float]) -> tuple[float, float, float]:
    """How many times the others: the median of the rounds' ratios, and their 10th and 90th percentile."""
    found = [one / other for one, other in zip(some, others)]
    if len(found) < 2:
        return found[0], found[0], found[0]
    tenths = statistics.quantiles(found, n=10, method="inclusive")
    return statistics.median(found), tenths[0], tenths[-1]
