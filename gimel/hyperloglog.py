"""What a counter reads, and how far off it may be: an estimate with its error, for every kind of counter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import expm1, fsum, hypot, inf, log1p, sqrt
from typing import Literal, NamedTuple

REGISTERS = 16384
"""Registers of one Redis HyperLogLog."""

UNROUNDED_BELOW = REGISTERS // 16
"""Below this reading a HyperLogLog's estimate depends only on how many registers are set."""

MAX_LOAD = 30
"""Items per bit from which on a bitmap is as good as full."""

DOUBT = 5
"""By how many standard errors a HyperLogLog must read more than its bitmap to show that the bitmap misses uuids; or
less, to show that it has those of a counter that was deleted."""

COLLISIONS = 2
"""By how much more it may read less: of a few uuids, two that select the same register make more than DOUBT."""

Bitmap = Literal["bitmap", "bitmap-768"]
Precision = int | Literal["exact"] | Bitmap
"""Over how many HyperLogLogs a counter is spread; or `exact`, which counts with a set; or the kind of its bitmap."""

EXACT: Literal["exact"] = "exact"
BITMAPS: Mapping[str, int] = {"bitmap": 8 * (192 * 1024 - 10) - 1, "bitmap-768": 8 * (768 * 1024 - 10) - 1}
"""How many bits each kind of bitmap has. One more, always 0, is the last: setting that allocates all of them at once.
With the 10 bytes that Redis adds to a string, they fill one of jemalloc's size classes; the next takes 17 % more."""
PRECISIONS: tuple[int | Literal["exact"], ...] = (1, 4, 16, 64, 256, EXACT)


@dataclass(frozen=True, slots=True)
class Count:
    """A counter's reading, with its RELATIVE standard error now, and what that error will be once the counter is large.

    Both errors are 0 for an exact counter; `settled_error` is never below `error`. `is_full`: it has a bitmap with so
    many bits set that it is less exact than its HyperLogLog, which is read instead. Raises ValueError for what no
    counter can read.
    """

    value: int
    error: float = 0.0
    settled_error: float = 0.0
    is_full: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.value < inf and 0 <= self.error < inf):
            raise ValueError(f"a counter reads a number >= 0 with an error >= 0, not {self.value!r}, {self.error!r}")
        if self.settled_error < self.error:
            object.__setattr__(self, "settled_error", self.error)


NO_BITMAP: Mapping[str, int] = {}
NOTHING = Count(0)
"""The reading of a counter that does not exist."""


def total(exact: int, readings: Iterable[int], bits_set: Mapping[str, int] = NO_BITMAP) -> Count:
    """The sum of independent counters of one thing: an exact number, and what PFCOUNT reads of each HyperLogLog.

    The first HyperLogLog may have complete bitmaps, whose BITCOUNTs are `bits_set`; the most exact of them all counts.
    Independent errors add up in squares. Redis returns a set's members in any order: fsum gives the same for each.
    """
    readings = list(readings)
    bitmap, is_full = _bitmap(readings[0], bits_set) if bits_set else (None, False)
    if bitmap:
        del readings[0]
    value = round(fsum([exact, *map(unrounded, readings), bitmap.value if bitmap else 0]))
    if not value:
        return NOTHING
    error = sqrt(fsum((reading * hyperloglog_error(reading)) ** 2 for reading in readings))
    settled = settled_error() * sqrt(fsum(reading * reading for reading in readings))
    if bitmap:
        error = hypot(error, bitmap.value * bitmap.error)
        settled = hypot(settled, bitmap.value * bitmap.settled_error)
    # More digits say nothing, and are most of what a record of counts would take.
    error, settled = (float(f"{one / value:.5g}") for one in (error, settled))
    return Count(value, error, settled, is_full)


class _Estimate(NamedTuple):
    """A bitmap's reading, not rounded, and its relative standard errors: now, and with an item for each bit, or with
    twice as many as now, or those of the HyperLogLog that is then more exact."""

    value: float
    error: float
    settled_error: float


def _bitmap(reading: int, bits_set: Mapping[str, int]) -> tuple[_Estimate | None, bool]:
    """The most exact of a counter's bitmaps, None if its HyperLogLog is more exact or shows that it has other uuids;
    and whether they are full."""
    if not reading:
        return None, False
    found = []
    for kind, number in bits_set.items():
        bits = BITMAPS[kind]
        value = linear_count(number, bits)
        error = bitmap_error(value, bits)
        found.append(_Estimate(value, error, min(bitmap_error(max(bits, 2 * value), bits), settled_error())))
    best = min(found, key=lambda one: one.error)
    own_error = hyperloglog_error(reading)
    if best.error > own_error:
        return None, True
    missed, allowed = unrounded(reading) - best.value, DOUBT * reading * own_error
    return (best if -allowed - COLLISIONS <= missed <= allowed else None), False


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


def linear_count(bits_set: int, bits: int) -> float:
    """How many distinct items set so many bits, each the one that its hash selects: -m ln(1 - c/m) for c of m bits.

    Linear counting (Whang, Vander-Zanden & Taylor 1990, ACM TODS 15(2), 208-229, eq. 3). Infinite if all are set.
    """
    return -bits * log1p(-bits_set / bits) if bits_set < bits else inf


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
