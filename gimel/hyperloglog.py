"""What a counter reads, and how far off it may be: an estimate with its error, for every kind of counter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import expm1, fsum, inf, log1p, sqrt
from typing import Literal

REGISTERS = 16384
"""Registers of one Redis HyperLogLog."""

UNROUNDED_BELOW = REGISTERS // 16
"""Below this reading a HyperLogLog's estimate depends only on how many registers are set."""

MAX_LOAD = 30
"""Items per bit from which on a bitmap is as good as full."""

Precision = int | Literal["exact"]
"""Over how many HyperLogLogs a counter is spread; or `exact`, which counts with a set."""

EXACT: Literal["exact"] = "exact"
BITMAPS: Mapping[str, int] = {"bitmap": 8 * 192 * 1024, "bitmap-768": 8 * 768 * 1024}
"""How many bits each kind of bitmap has."""
PRECISIONS: tuple[Precision, ...] = (1, 4, 16, 64, 256, EXACT)


@dataclass(frozen=True, slots=True)
class Count:
    """A counter's reading, with its RELATIVE standard error now, and what that error will be once the counter is large.

    Both errors are 0 for an exact counter; `settled_error` is never below `error`. Raises ValueError for what no
    counter can read.
    """

    value: int
    error: float = 0.0
    settled_error: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.value < inf and 0 <= self.error < inf):
            raise ValueError(f"a counter reads a number >= 0 with an error >= 0, not {self.value!r}, {self.error!r}")
        if self.settled_error < self.error:
            object.__setattr__(self, "settled_error", self.error)


NOTHING = Count(0)
"""The reading of a counter that does not exist."""


def total(exact: int, readings: Iterable[int]) -> Count:
    """The sum of independent counters of one thing: an exact number, and what PFCOUNT reads of each HyperLogLog.

    Independent errors add up in squares. Redis returns a set's members in any order: fsum gives the same for each.
    """
    readings = list(readings)
    value = round(fsum([exact, *map(unrounded, readings)]))
    if not value:
        return NOTHING
    error = sqrt(fsum((reading * hyperloglog_error(reading)) ** 2 for reading in readings))
    settled = settled_error() * sqrt(fsum(reading * reading for reading in readings))
    return Count(value, error / value, settled / value)


def settled_error(shards: int = 1) -> float:
    """The relative standard error of a large count, read from this many HyperLogLogs and added up.

    1.04 / sqrt(m) for the m registers of all of them (Flajolet, Fusy, Gandouet & Meunier 2007, theorem 1; reached at
    every size by the estimator of Ertl 2017, arXiv:1702.01284, which Redis uses).
    """
    return 1.04 / sqrt(REGISTERS * shards)


def hyperloglog_error(n: float, shards: int = 1) -> float:
    """The relative standard error of a count of n, read from this many HyperLogLogs and added up.

    The smaller of `settled_error` and linear counting's error, sqrt(m (e^t - t - 1)) / n with t = n/m (Whang,
    Vander-Zanden & Taylor 1990, ACM TODS 15(2), 208-229: m cells, n distinct items). With K shards each counts about
    n/K, and independent errors add up to 1/sqrt(K) of one's. Raises ValueError for less than one shard.
    """
    if shards < 1:
        raise ValueError(f"a counter has one shard or more, not {shards!r}")
    if n < 1:
        return 0.0
    load = n / (shards * REGISTERS)
    if load > 3:
        return settled_error(shards)
    return min(settled_error(shards), sqrt((expm1(load) - load) / (REGISTERS * shards)) / load)


def bitmap_error(n: float, bits: int) -> float:
    """The relative standard error of a count of n by linear counting in so many bits.

    sqrt(m (e^t - t - 1)) / n with t = n/m (Whang, Vander-Zanden & Taylor 1990, ACM TODS 15(2), 208-229). Infinite
    where the bitmap is as good as full.
    """
    if n < 1:
        return 0.0
    load = n / bits
    return sqrt((expm1(load) - load) / bits) / load if load < MAX_LOAD else inf


def unrounded(reading: int) -> float:
    """What PFCOUNT rounded to this whole number, so that the readings of many HyperLogLogs add up without bias.

    While few of the m registers are set, the estimate is linear counting's, m ln(m / (m - k)) for k of them (Whang,
    Vander-Zanden & Taylor 1990, eq. 3), and the reading reveals k. Rounding skips a number here and there; where all
    shards of two variants lie near such a gap, their difference would be stretched by 3 %. From UNROUNDED_BELOW on,
    shards differ by more than the gaps, and the reading is taken as it is.
    """
    if reading >= UNROUNDED_BELOW:
        return float(reading)
    taken = round(-REGISTERS * expm1(-reading / REGISTERS))
    return -REGISTERS * log1p(-taken / REGISTERS)
