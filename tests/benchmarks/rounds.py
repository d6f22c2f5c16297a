"""Measurements that take turns, and what is read from them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

Blocks = dict[str, list[float]]
"""Of each subject, a value a round: the median of a block of calls, or another figure of the block."""

Figures = dict[str, Blocks]
"""By the name of what was measured."""


def interleave(ways: Mapping[str, Callable[[], Mapping[str, float]]], rounds: int) -> Figures:
    """The figures of a block of each subject in every round, so that a slower moment of the machine is everybody's.

    Every other round goes backwards, so that nobody always follows the same neighbour. A round before them warms up.
    """
    figures: Figures = {}
    for number in range(rounds + 1):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            for figure, value in ways[name]().items():
                if number:
                    blocks = figures.setdefault(figure, {name: [] for name in ways})
                    blocks[name].append(float(f"{value:.4g}"))
    return figures


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
