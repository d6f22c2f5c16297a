"""Simulated experiments: what the counters of two or more variants read, at a moment or look by look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gimel.analysis.proportions import Proportion
from gimel.analysis.report import experiment_report
from gimel.events import PARTICIPATE
from gimel.hyperloglog import BITMAPS, Count, bitmap_error, settled_error
from gimel.settings import NO_SETTINGS, ExperimentSettings
from tests.counts import counted

from .hyperloglog import (
    HIGHEST_RANK,
    REGISTERS,
    Floats,
    Ints,
    added,
    estimate,
    occupied_cells,
    places_and_ranks,
    random_hashes,
    sample_counts,
)

Kind = int | str
"""A counter's precision: over how many HyperLogLogs it is spread, or the name of a bitmap, or EXACT."""

EXACT = 0

CONTROL, VARIANT = "blue", "red"

MOST_AT_ONCE = 30_000
"""So many visitors are hashed at once, for as many experiments as they are enough for."""


@dataclass(frozen=True)
class Readings:
    """What the counters of many experiments with two variants read.

    One item per experiment in each array; if they were read more than once, one row per experiment and one column per
    look.
    """

    precision: Kind
    control_trials: Ints
    control_successes: Ints
    trials: Ints
    successes: Ints

    def __iter__(self) -> Iterator[tuple[int, int, int, int]]:
        return iter(zip(*(array.ravel().tolist() for array in self.arrays)))

    @property
    def arrays(self) -> tuple[Ints, Ints, Ints, Ints]:
        return self.control_trials, self.control_successes, self.trials, self.successes

    def reports(self, own: ExperimentSettings = NO_SETTINGS) -> Iterator[dict[str, Any]]:
        for n0, s0, n1, s1 in self:
            yield report(n0, s0, n1, s1, self.precision, own)

    def standing(self, difference: float = 0.0) -> Floats:
        """By about how many standard errors of the sampling alone the rates differ from this difference, half as many
        again where there are few successes or failures; 0 where a variant has no visitors.

        No interval of the project is much narrower than such a standard error allows: whoever asks which of a million
        of them exclude something need only compute those where this is large.
        """
        n0, s0, n1, s1 = self.arrays
        p1, p0 = (s1 + 1) / (n1 + 2), (s0 + 1) / (n0 + 2)
        z = np.abs(p1 - p0 - difference) / np.sqrt(p1 * (1 - p1) / (n1 + 2) + p0 * (1 - p0) / (n0 + 2))
        fewest = np.minimum(np.minimum(s0, s1), np.minimum(n0 - s0, n1 - s1))
        return np.where(np.minimum(n0, n1) == 0, 0.0, np.where(fewest < FEW, 1.5 * z, z))


FEW = 30
"""Successes or failures in one variant, below which a normal approximation is far off."""


def reading(value: int, precision: Kind) -> Count:
    """As the report gets it: beside each bitmap there is a HyperLogLog, which counts once the bitmap is too full."""
    if precision in BITMAPS and bitmap_error(value, BITMAPS[str(precision)]) > settled_error():
        return counted(value, 1)
    return counted(value, precision)


def report(
    n0: int, s0: int, n1: int, s1: int, precision: Kind, own: ExperimentSettings = NO_SETTINGS
) -> dict[str, Any]:
    """The project's own report of two variants and one goal."""
    counts: Mapping[str, Mapping[str, Count]] = {
        PARTICIPATE: {CONTROL: reading(n0, precision), VARIANT: reading(n1, precision)},
        "buy": {CONTROL: reading(s0, precision), VARIANT: reading(s1, precision)},
    }
    return experiment_report(counts, own)


def compared(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The variant's row of such a report."""
    row: dict[str, Any] = answer["goals"][0]["results"][1]
    return row


def proportion(successes: int, trials: int, precision: Kind) -> Proportion:
    return Proportion(reading(successes, precision), reading(trials, precision))


def count(random: np.random.Generator, items: npt.ArrayLike, precision: Kind) -> Ints:
    """What counters read after these numbers of distinct items, each independent of the others."""
    wanted = np.asarray(items, dtype=np.int64)
    if precision == EXACT:
        return wanted
    if isinstance(precision, int):
        return sample_counts(random, wanted, precision)
    bits = BITMAPS[precision]
    taken = occupied_cells(random, wanted, np.full(wanted.shape, bits))
    return _read(random, taken, wanted, bits)


def _read(random: np.random.Generator, taken: Ints, items: Ints, bits: int) -> Ints:
    """Linear counting (Whang, Vander-Zanden & Taylor 1990), or the HyperLogLog beside it where that is more exact."""
    read = np.rint(-bits * np.log1p(-np.minimum(taken, bits - 1) / bits)).astype(np.int64)
    full = np.array([bitmap_error(value, bits) > settled_error() for value in read.ravel().tolist()], dtype=bool)
    if full.any():
        full = full.reshape(read.shape)
        read[full] = sample_counts(random, items[full])
    return read


def simulate(
    random: np.random.Generator, experiments: int, visitors: int, rate: float, lift: float, precision: Kind
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
            everyone = Counters(1, precision)
            reached = Counters(1, precision)
            hashes = random_hashes(random, visitors)
            shards = random.integers(0, max(1, precision), visitors)
            successes = random.binomial(visitors, rate)
            everyone.add(hashes, shards)
            reached.add(hashes[:successes], shards[:successes])
            row += [everyone.readings()[0], reached.readings()[0]]
        rows.append(row)
    n0, s0, n1, s1 = np.array(rows).T
    return Readings(precision, n0, s0, n1, s1)


def simulate_looks(
    random: np.random.Generator,
    experiments: int,
    visitors: Sequence[int],
    rates: tuple[float, float],
    precision: Kind,
    share: float = 0.5,
) -> Readings:
    """Experiments that are read whenever so many visitors have come in all; `share` of them go to the variant, who is
    chance. `rates` are the control's and the variant's.
    """
    batches = np.broadcast_to(np.diff(visitors, prepend=0), (experiments, len(visitors)))
    variant = random.binomial(batches, share)
    control = batches - variant
    items = [control, random.binomial(control, rates[0]), variant, random.binomial(variant, rates[1])]
    n0, s0, n1, s1 = np.moveaxis(grow(random, np.stack(items, axis=-1), precision), -1, 0)
    return Readings(precision, n0, s0, n1, s1)


def grow(random: np.random.Generator, items: Ints, precision: Kind) -> Ints:
    """What counters read while they grow, down to the registers and bits; the looks are along the second axis.

    How many bits of a bitmap new items set depends on the past only by how many are set already.
    """
    if precision == EXACT:
        return np.cumsum(items, axis=1)
    read = np.empty_like(items)
    looks = range(items.shape[1])
    if precision in BITMAPS:
        bits = BITMAPS[str(precision)]
        taken = np.zeros_like(items[:, 0])
        seen = np.cumsum(items, axis=1)
        for look in looks:
            free = bits - taken
            taken = taken + occupied_cells(random, random.binomial(items[:, look], free / bits), free)
            read[:, look] = _read(random, taken, seen[:, look], bits)
        return read
    shards = int(precision)
    at_once = max(1, min(64, MOST_AT_ONCE // int(1 + items.sum(axis=2).mean())))
    for start in range(0, len(items), at_once):
        block = items[start : start + at_once]
        counters = Counters(block[:, 0].size, shards)
        for look in looks:
            new = block[:, look].ravel()
            owners = np.repeat(np.arange(new.size), new)
            hashes = random_hashes(random, owners.size)
            counters.add(hashes, random.integers(0, shards, owners.size) if shards > 1 else 0, owners)
            read[start : start + at_once, look] = counters.readings().reshape(block[:, look].shape)
    return read


class Counters:
    """Counters of one or more HyperLogLogs each, side by side, down to the registers."""

    def __init__(self, number: int, shards: int) -> None:
        self.shards = max(1, shards)
        self.registers = np.zeros(number * self.shards * REGISTERS, dtype=np.uint8)
        self._turns = np.empty(self.registers.size, dtype=np.int32)
        self.histograms = np.zeros((number, self.shards, HIGHEST_RANK + 1), dtype=np.int64)
        self.histograms[..., 0] = REGISTERS

    def add(self, hashes: npt.NDArray[np.uint64], shards: Ints | int = 0, owners: Ints | int = 0) -> None:
        """PFADD of each hash to this shard of this counter."""
        places, ranks = places_and_ranks(hashes)
        places += (owners * self.shards + shards) * REGISTERS
        before = self.registers[places]
        higher = ranks > before
        places, ranks, before = places[higher], ranks[higher], before[higher]
        np.maximum.at(self.registers, places, ranks)
        turns = np.arange(places.size)
        self._turns[places] = turns
        last = self._turns[places] == turns  # each register once
        raised, before = places[last], before[last]
        whose = raised // REGISTERS * (HIGHEST_RANK + 1)
        flat = self.histograms.reshape(-1)
        np.subtract.at(flat, whose + before, 1)
        np.add.at(flat, whose + self.registers[raised], 1)

    def readings(self) -> Ints:
        """What each counter reads."""
        return added(estimate(self.histograms))
