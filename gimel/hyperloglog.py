"""What a counter reads, and how far a HyperLogLog is off."""

from __future__ import annotations

from dataclasses import dataclass
from math import expm1, inf, log1p, sqrt

REGISTERS = 16384
"""Registers of one Redis HyperLogLog."""

UNROUNDED_BELOW = REGISTERS // 16
"""Below this reading a HyperLogLog's estimate depends on nothing but how many registers are taken."""


@dataclass(frozen=True, slots=True)
class Count:
    """A counter's reading. `error` is the counter's own RELATIVE standard error, 0 for an exact counter.

    Raises ValueError for what no counter can read.
    """

    value: int
    error: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.value < inf and 0 <= self.error < inf):
            raise ValueError(f"a counter reads a number >= 0 with an error >= 0, not {self.value!r}, {self.error!r}")


NOTHING = Count(0, 0.0)
"""The reading of a counter that is not there."""


def hyperloglog_error(n: float, shards: int = 1) -> float:
    """The relative standard error of a count of n read from so many HyperLogLogs, added up.

    The smaller of linear counting's error, sqrt(m (e^t - t - 1)) / n with t = n/m (Whang, Vander-Zanden &
    Taylor 1990, ACM TODS 15(2), 208-229: m cells, n distinct items), and the HyperLogLog's 1.04 / sqrt(m)
    (Flajolet, Fusy, Gandouet & Meunier 2007, theorem 1; reached at every size by the estimator of Ertl 2017,
    arXiv:1702.01284, which Redis uses). With K shards each counts about n/K, and independent errors add up to
    1/sqrt(K) of one's. Raises ValueError for less than one shard.
    """
    if shards < 1:
        raise ValueError(f"a counter has one shard or more, not {shards!r}")
    if n < 1:
        return 0.0
    load = n / (shards * REGISTERS)
    plateau = 1.04 / sqrt(REGISTERS * shards)
    if load > 3:
        return plateau
    return min(plateau, sqrt((expm1(load) - load) / (REGISTERS * shards)) / load)


def unrounded(reading: int) -> float:
    """What PFCOUNT rounded to this whole number, so that the readings of many HyperLogLogs add up without bias.

    While few of the m registers are taken, the estimate is linear counting's, m ln(m / (m - k)) for k of them
    (Whang, Vander-Zanden & Taylor 1990, eq. 3), and the reading tells k. Rounded, it skips a number here and
    there, and where all shards of two variants lie about such a gap, their difference is stretched by 3 %.
    From UNROUNDED_BELOW on, shards differ by more than the gaps, and the reading is taken as it is.
    """
    if reading >= UNROUNDED_BELOW:
        return float(reading)
    taken = round(-REGISTERS * expm1(-reading / REGISTERS))
    return -REGISTERS * log1p(-taken / REGISTERS)
