"""Simulated experiments: what the counters of two or more variants read, at a moment or look by look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gimel.analysis.proportions import Proportion
from gimel.analysis.report import experiment_report
from gimel.events import PARTICIPATE
from gimel.hyperloglog import Count
from tests.counts import counted

from .hyperloglog import HIGHEST_RANK, REGISTERS, Ints, added, estimate, places_and_ranks, random_hashes, sample_counts

EXACT = 0
"""The precision of an exact counter; 1, 16, ... is the number of HyperLogLogs that one counter is spread
over.
"""

CONTROL, VARIANT = "blue", "red"


@dataclass(frozen=True)
class Readings:
    """What the counters of many experiments with two variants read; one item per experiment in each array."""

    precision: int
    control_trials: Ints
    control_successes: Ints
    trials: Ints
    successes: Ints

    def __iter__(self) -> Iterator[tuple[int, int, int, int]]:
        arrays = (self.control_trials, self.control_successes, self.trials, self.successes)
        return iter(zip(*(array.tolist() for array in arrays)))

    def reports(self) -> Iterator[dict[str, Any]]:
        for n0, s0, n1, s1 in self:
            yield report(n0, s0, n1, s1, self.precision)


def report(n0: int, s0: int, n1: int, s1: int, precision: int) -> dict[str, Any]:
    """The project's own report of two variants and one goal."""
    counts: Mapping[str, Mapping[str, Count]] = {
        PARTICIPATE: {CONTROL: counted(n0, precision), VARIANT: counted(n1, precision)},
        "buy": {CONTROL: counted(s0, precision), VARIANT: counted(s1, precision)},
    }
    return experiment_report(counts)


def compared(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The variant's row of such a report."""
    row: dict[str, Any] = answer["goals"][0]["results"][1]
    return row


def proportion(successes: int, trials: int, precision: int) -> Proportion:
    return Proportion(counted(successes, precision), counted(trials, precision))


def count(random: np.random.Generator, items: npt.ArrayLike, precision: int) -> Ints:
    return np.asarray(items, dtype=np.int64) if precision == EXACT else sample_counts(random, items, precision)


def simulate(
    random: np.random.Generator, experiments: int, visitors: int, rate: float, lift: float, precision: int
) -> Readings:
    """So many experiments with this many visitors in either variant; the variant's rate is (1 + lift) times
    the control's.

    Every event has a uuid of its own, as Alephbet sends it without a user_id.
    """
    trials = np.full(experiments, visitors)
    return Readings(
        precision,
        count(random, trials, precision),
        count(random, random.binomial(trials, rate), precision),
        count(random, trials, precision),
        count(random, random.binomial(trials, rate * (1 + lift)), precision),
    )


def simulate_one_uuid(
    random: np.random.Generator, experiments: int, visitors: int, rate: float, precision: int
) -> Readings:
    """The same with one uuid per visitor for every event, as GimelAdapter sends it with a user_id."""
    rows = []
    for _ in range(experiments):
        row = []
        for _ in (CONTROL, VARIANT):
            everyone = Counter(precision)
            reached = Counter(precision)
            hashes = random_hashes(random, visitors)
            shards = random.integers(0, max(1, precision), visitors)
            successes = random.binomial(visitors, rate)
            everyone.add(hashes, shards)
            reached.add(hashes[:successes], shards[:successes])
            row += [everyone.histograms(), reached.histograms()]
        rows.append(row)
    n0, s0, n1, s1 = added(estimate(np.array(rows))).T
    return Readings(precision, n0, s0, n1, s1)


def simulate_looks(
    random: np.random.Generator, visitors: int, rate: float, precision: int, looks: int = 100
) -> Readings:
    """One A/A experiment, read so many times while it grows to this many visitors per variant; who goes where
    is chance.
    """
    histograms: list[list[Ints]] = [[], [], [], []]
    totals: list[list[int]] = [[], [], [], []]
    counters = [Counter(precision) for _ in histograms]
    seen = [0, 0, 0, 0]
    edges = np.linspace(0, 2 * visitors, looks + 1).astype(int)
    for batch in np.diff(edges).tolist():
        control = int(random.binomial(batch, 0.5))
        for offset, trials in ((0, control), (2, batch - control)):
            for which, items in ((offset, trials), (offset + 1, int(random.binomial(trials, rate)))):
                seen[which] += items
                totals[which].append(seen[which])
                if precision != EXACT:
                    counters[which].add(random_hashes(random, items), random.integers(0, precision, items))
                    histograms[which].append(counters[which].histograms())
    if precision == EXACT:
        n0, s0, n1, s1 = np.array(totals)
    else:
        n0, s0, n1, s1 = added(estimate(np.array(histograms)))
    return Readings(precision, n0, s0, n1, s1)


class Counter:
    """A counter of one or more HyperLogLogs, down to the registers."""

    def __init__(self, shards: int) -> None:
        self.shards = max(1, shards)
        self.registers = np.zeros(self.shards * REGISTERS, dtype=np.uint8)

    def add(self, hashes: npt.NDArray[np.uint64], shards: Ints) -> None:
        places, ranks = places_and_ranks(hashes)
        if self.shards > 1:
            places += shards * REGISTERS
        np.maximum.at(self.registers, places, ranks)

    def histograms(self) -> Ints:
        width = HIGHEST_RANK + 1
        if self.shards == 1:
            return np.bincount(self.registers, minlength=width)[None, :]
        keys = self.registers.reshape(self.shards, REGISTERS) + (np.arange(self.shards) * width)[:, None]
        return np.bincount(keys.ravel(), minlength=self.shards * width).reshape(self.shards, width)
