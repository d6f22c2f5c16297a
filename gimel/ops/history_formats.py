"""A history, as `GET /history` answers it, as a table for the terminal, or as CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gimel.analysis.series import BANDS
from gimel.analysis.wording import MINUS, decimals, per_visitor, percent, points

from .formats import csv_of, visible

COLUMNS = ("experiment", "at", "goal", "variant", "participants", "successes", "rate", *BANDS)
SHOWN_DAYS = 14


def rows(series: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One row for each point, goal and variant; an experiment without goals has a row for each point and variant."""
    for point, at in enumerate(series["at"]):
        for goal in series["goals"] or [{"goal": None}]:
            for label in series["labels"]:
                lists = goal.get("differences", {}).get(label, {})
                yield {
                    "experiment": series["experiment"],
                    "at": at,
                    "goal": goal["goal"],
                    "variant": label,
                    "participants": series["visitors"][label][point],
                    "successes": goal["successes"][label][point] if "successes" in goal else None,
                    "rate": goal["rates"][label][point] if "rates" in goal else None,
                    **{band: lists[band][point] if lists else None for band in BANDS},
                }


def as_csv(series: Mapping[str, Any]) -> str:
    """A header and `rows`, in which a spreadsheet finds no formula."""
    return csv_of(COLUMNS, rows(series))


def as_text(series: Mapping[str, Any]) -> RenderableType:
    """For the terminal: of each goal a table with a line for each of the last days, as its last point has it."""
    days = {at[:10]: point for point, at in enumerate(series["at"])}
    shown = [*days.items()][-SHOWN_DAYS:]
    parts: list[RenderableType] = [Text(visible(series["experiment"]), style="bold underline")]
    for goal in series["goals"] or [{"goal": None}]:
        table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("\nDay (UTC)", no_wrap=True)
        for label in series["labels"]:
            table.add_column(f"{visible(label)}\n{'rate' if 'rates' in goal else 'participants'}", justify="right")
            if label in goal.get("differences", {}):
                table.add_column(f"{visible(label)} {MINUS} control\n(interval that decides)", justify="right")
        for day, point in shown:
            table.add_row(day, *_cells(goal, series, point))
        parts += [Text(f"\n  {visible(goal['goal'])}" if goal["goal"] is not None else "", style="bold"), table]
    return Group(*parts, Text())


def _cells(goal: Mapping[str, Any], series: Mapping[str, Any], point: int) -> Iterator[str]:
    for label in series["labels"]:
        if "rates" not in goal:
            yield f"{series['visitors'][label][point]:,}"
            continue
        rate, lists = goal["rates"][label][point], goal["differences"].get(label)
        if rate is None:
            yield "–"
        elif goal["kind"] == "per_visitor":
            yield per_visitor(rate)
        else:
            yield percent(rate, decimals([rate / 100]))
        if lists:
            change, low, high = (lists[band][point] for band in ("difference", "low", "high"))
            if change is None or low is None or high is None:
                yield "–"
            else:
                digits = decimals([(high - low) / 2], [(low, 0), (high, 0)])
                shown, *ends = (points(one, digits, True) for one in (change, low, high))
                yield f"{shown} ({' to '.join(ends)})"
