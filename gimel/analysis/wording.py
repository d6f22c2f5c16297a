"""How figures and names read in a sentence: lists, percents, rounding."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10

LONGEST_LIST = 4


def each(rate: float) -> str:
    """How often a visitor reaches a goal, to three digits."""
    return f"{rate:,.{max(0, 2 - floor(log10(rate or 1)))}f}"


def name(label: str) -> str:
    return label if label.strip() else "(no name)"


def listed(words: Sequence[str]) -> str:
    """red, green and blue; of many, the first few."""
    if len(words) > LONGEST_LIST:
        words = [*words[: LONGEST_LIST - 1], f"{len(words) - LONGEST_LIST + 1:,} more"]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def about(visitors: float, digits: int = 2) -> str:
    """1234567 -> 1,300,000: rounded up, with no more digits than a plan can bear."""
    step = 10 ** max(0, floor(log10(max(visitors, 1))) + 1 - digits)
    return f"{max(1, ceil(visitors / step)) * step:,}"


def percent(rate: float, width: float) -> str:
    """A rate with as many decimals as an uncertainty of this width leaves it."""
    return f"{points(rate, width)} %"


def points(share: float, width: float, sign: str = "-") -> str:
    decimals = _decimals(width)
    return f"{round(100 * share, decimals) + 0.0:{sign},.{decimals}f}"  # + 0.0: there is no -0


def rounded_up(share: float) -> str:
    """A bound in percent, rounded up to two digits, so that it stays one."""
    value = 100 * share
    decimals = max(0, 1 - floor(log10(value))) if 0 < value < 9.9 else 0
    step = 10.0**-decimals
    return f"{ceil(value / step - 1e-9) * step:,.{decimals}f} %"


def _decimals(width: float) -> int:
    return max(0, min(4, ceil(0.5 - log10(100 * width)))) if width > 0 else 4
