"""Plots as a few lines of characters that any terminal has: how far a variant was from the control over time, and how
long changes of different sizes take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from gimel.histories import as_moment
from gimel.plans import TIME

LONGEST, SHORTEST = 56, 24
"""Of a line, in characters. A narrower terminal gets no plot."""

DAY_WIDTH = 8
PARTS = (0.25, 0.5, 0.75, 1.0)
"""Of the time since the first visitor: a line for each."""

PLAN_ROWS = 12
PLAN_MARKS = {"always_valid": "a", "single_look": "s", "planned": "p"}
PLAN_LEGEND = "p planned size, a always-valid, s single look"

LEGEND = "o observed; 95 %: = single look, - decides"


def over_time(series: Mapping[str, Any], goal: str, width: int) -> list[str]:
    """Lines of at most `width` characters about this goal; none where there is nothing to show. Days are those of UTC.

    `series` is an answer of `GET /history`. Each variant that is compared has a line for each of some moments.
    """
    found = next((each for each in series["goals"] if each["goal"] == goal), None)
    room = min(LONGEST, width - DAY_WIDTH)
    if found is None or room < SHORTEST or len(series["at"]) < 2:
        return []
    lines = [line for label, one in found["differences"].items() for line in _variant(label, one, series, room)]
    return [*lines, *([LEGEND] if len(LEGEND) <= width else [])] if lines else []


def of_plan(found: Mapping[str, Any], width: int) -> list[str]:
    """Lines of at most `width` characters about an answer of `GET /plan`; none where there is nothing to show.

    A line for each of some changes, on which the marks stand at the days that it takes.
    """
    room, curve = min(LONGEST, width - DAY_WIDTH), found["curve"]
    if room < SHORTEST or not curve:
        return []
    longest = max(56, *(way["days"] or 0 for way in found["ways"].values()))
    lines = [f"{'':{DAY_WIDTH}}0{f'{longest:,} days':>{room - 1}}"]
    for one in curve[:: -max(1, len(curve) // PLAN_ROWS)]:
        line = [" "] * room
        for way, mark in PLAN_MARKS.items():
            days = None if one[way] is None else one[way] / found["per_day"]
            if days is not None and days <= longest:
                line[round((room - 1) * days / longest)] = mark
        size = float(f"{100 * one['change']:.2g}")
        lines.append(f"{f'{size:g} %':<{DAY_WIDTH}}{''.join(line)}".rstrip())
    return [*lines, *([PLAN_LEGEND] if len(PLAN_LEGEND) <= width else [])]


def _variant(label: str, one: Mapping[str, Any], series: Mapping[str, Any], room: int) -> Iterator[str]:
    shown = _positions(series["at"], one["difference"])
    if len(shown) < 2:
        return
    rows = [[one[name][at] for name in ("low", "once_low", "difference", "once_high", "high")] for at in shown]
    # The first intervals may be so wide that nothing could be seen of the last.
    last = [abs(bound) for bound in rows[-1] if bound is not None]
    limit = max(2 * max(last), *(abs(row[2]) for row in rows)) or 0.01
    ends = [max(-limit, min(limit, bound)) for row in rows for bound in row if bound is not None]
    low, high = min(0.0, *ends), max(0.0, *ends)
    yield f"{label} - {series['control']} over time, percentage points"
    labels = [f"{float(f'{100 * end:.2g}'):+g}" for end in (low, high)]  # never +1e+02
    yield f"{'':{DAY_WIDTH}}{labels[0]}{labels[1]:>{room - len(labels[0])}}"
    for at, row in zip(shown, rows):
        moment = datetime.strptime(series["at"][at], TIME)
        day = "now" if at == len(series["at"]) - 1 else f"{moment.day} {moment:%b}"
        yield f"{day:<{DAY_WIDTH}}{_line(row, low, high, room)}".rstrip()


def _positions(at: list[str], differences: list[float | None]) -> list[int]:
    """The last point before each of the PARTS of the time since there is a difference."""
    times = [as_moment(one) for one in at]
    known = [one for one, value in enumerate(differences) if value is not None]
    if not known:
        return []
    first, last = times[known[0]], times[-1]
    return sorted({max(one for one in known if times[one] <= first + part * (last - first)) for part in PARTS})


def _line(row: list[float | None], low: float, high: float, room: int) -> str:
    """The intervals of one moment, with `<` and `>` where they go on beyond the plot."""
    outer_low, inner_low, middle, inner_high, outer_high = row
    line = [" "] * room

    def place(value: float) -> int:
        return round((room - 1) * (min(high, max(low, value)) - low) / (high - low))

    line[place(0.0)] = "|"
    for start, end, mark in ((outer_low, outer_high, "-"), (inner_low, inner_high, "=")):
        if start is None and end is None:
            continue
        first, last = place(-1.0 if start is None else start), place(1.0 if end is None else end)
        line[first : last + 1] = mark * (last - first + 1)
        if start is None or start < low:
            line[0] = "<"
        if end is None or end > high:
            line[-1] = ">"
    line[place(0.0)] = "|"
    line[place(middle or 0.0)] = "o"
    return "".join(line)
