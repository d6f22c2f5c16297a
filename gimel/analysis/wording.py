"""How figures and names read in a sentence: lists, percents, rounding."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from math import ceil, floor, log10

from gimel.histories import DAY
from gimel.plans import TIME

LONGEST_LIST = 4
MINUS = "\N{MINUS SIGN}"


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


def percent(share: float, uncertainty: float, signed: bool = False) -> str:
    """0.0592 -> 5.92 %, with as many decimals as an uncertainty of this size justifies."""
    return f"{points(share, uncertainty, signed)} %"


def points(share: float, uncertainty: float, signed: bool = False) -> str:
    """The same without the sign of percent: a share in percentage points."""
    decimals = max(0, min(4, ceil(0.5 - log10(100 * uncertainty)))) if uncertainty > 0 else 4
    rounded = round(100 * share, decimals)
    if signed:  # what rounds to 0 keeps its sign: an interval that holds 0 must not seem to begin there
        return f"{'+' if share > 0 else MINUS if share < 0 else ''}{abs(rounded):,.{decimals}f}"
    return f"{rounded + 0.0:,.{decimals}f}".replace("-", MINUS)  # + 0.0: there is no -0


def rounded_up(share: float) -> str:
    """A bound in percent, rounded up to two digits, so that it stays a bound."""
    value = 100 * share
    decimals = max(0, 1 - floor(log10(value))) if 0 < value < 9.9 else 0
    step = 10.0**-decimals
    return f"{ceil(value / step - 1e-9) * step:,.{decimals}f} %"
