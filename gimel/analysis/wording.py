"""How figures and names read in a sentence: lists, percents, rounding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from decimal import ROUND_HALF_UP, Decimal
from math import ceil, floor, log10
from typing import NamedTuple

from gimel.histories import DAY
from gimel.plans import TIME

LONGEST_LIST = 4
MINUS = "\N{MINUS SIGN}"

FINEST = 4
"""No column of figures has more decimals."""

SMALLEST = 8
"""A single figure has more of them where it would read 0 otherwise, but no more than this."""


class Digits(NamedTuple):
    """How many decimals the figures of a goal have, wherever they are shown: in percent, or in percentage points."""

    rate: int = 2
    points: int = 2
    uplift: int = 1


USUAL = Digits()
"""Those of a goal without intervals."""


def decimals(widths: Iterable[float], apart: Iterable[tuple[float, float]] = ()) -> int:
    """How many decimals shares have in percent, if they are uncertain by these half-widths of their intervals.

    The last digit is a third of the median one or less, and fine enough to tell the two shares of each pair in `apart`
    from each other, unless FINEST decimals cannot.
    """
    known = sorted(width for width in widths if width > 0)
    middle = known[(len(known) - 1) // 2] if known else 1.0
    enough = max(0, min(FINEST, ceil(0.5 - log10(100 * middle))))
    pairs = [(one, other) for one, other in apart if _fixed(100 * one, FINEST) != _fixed(100 * other, FINEST)]
    while any(_fixed(100 * one, enough) == _fixed(100 * other, enough) for one, other in pairs):
        enough += 1
    return enough


def named(label: str) -> str:
    """A variant's or goal's name, where it would otherwise be invisible too."""
    return label if label.strip() else "(no name)"


def listed(labels: Sequence[str]) -> str:
    """red, green and blue; of many, the first few."""
    words = [named(label) for label in labels]
    if len(words) > LONGEST_LIST:
        words = [*words[: LONGEST_LIST - 1], f"{len(words) - LONGEST_LIST + 1:,} more"]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def on_day(moment: str) -> str:
    """2026-11-30T10:00:00Z -> 30 November 2026."""
    day = datetime.strptime(moment, TIME)
    return f"{day.day} {day:%B %Y}"


def on_date(moment: int, now: int) -> str:
    """4 May, 14:00 UTC; at the beginning of a day 4 May. With its year if that has passed."""
    at, today = (datetime.fromtimestamp(60 * one, timezone.utc) for one in (moment, now))
    day = f"{at.day} {at:%B}" + f" {at.year}" * (at.year != today.year)
    return f"{day}, {at:%H:%M} UTC" if moment % DAY else day


def in_days(days: float) -> str:
    """How long it takes at the present rate, with no more digits than that has."""
    if days > 365:
        return "more than a year"
    if days < 1.5:
        return "about a day" if days > 0.75 else "less than a day"
    return f"about {float(f'{days:.2g}'):.0f} days"


def per_visitor(rate: float) -> str:
    """How often a visitor reaches a goal, to three digits."""
    return f"{rate:,.{max(0, 2 - floor(log10(rate or 1)))}f}"


def about(visitors: float, digits: int = 2) -> str:
    """1234567 -> 1,300,000: rounded up, with no more digits than a plan needs."""
    step = 10 ** max(0, floor(log10(max(visitors, 1))) + 1 - digits)
    return f"{max(1, ceil(visitors / step)) * step:,}"


def percent(share: float, digits: int, signed: bool = False) -> str:
    """0.0592 -> 5.92 %, with so many decimals, or more if it would read 0 and is not."""
    return f"{points(share, digits, signed)} %"


def points(share: float, digits: int, signed: bool = False) -> str:
    """The same without the sign of percent: a share in percentage points. The page's numbers.js has the same rules."""
    size = abs(100 * share)
    texts = (_fixed(size, more) for more in range(digits, SMALLEST + 1))
    text = next((one for one in texts if one.strip("0.")), None)
    if text is None:
        return _fixed(0.0, digits)
    return f"{MINUS if share < 0 else '+' if signed else ''}{text}"


def _fixed(value: float, digits: int) -> str:
    """Rounded as a browser does: half up, from the shortest decimals that stand for this float."""
    return f"{Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):,f}"


def rounded_up(share: float) -> str:
    """A bound in percent, rounded up to two digits, so that it stays a bound."""
    value = 100 * share
    decimals = max(0, 1 - floor(log10(value))) if 0 < value < 9.9 else 0
    step = 10.0**-decimals
    return f"{ceil(value / step - 1e-9) * step:,.{decimals}f} %"
