"""What `GET /plan` answers, as tables and a plot for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gimel.analysis.wording import rounded_up
from gimel.hyperloglog import EXACT

from . import text_plot

WAYS = {"planned": "planned size", "always_valid": "always-valid", "single_look": "single look"}
HIDDEN = "The counting error of precision {} hides this change from {}: set a higher precision in config.json."


def as_text(found: Mapping[str, Any], width: int) -> RenderableType:
    """For a terminal of this width."""
    ways, change = found["ways"], found["change"]
    asked = (
        f"To detect a {'rise' if change > 0 else 'fall'} of {_share(abs(change))} from a rate of "
        f"{_share(found['rate'])} with a chance of {_share(found['power'])}, at {found['per_day']:,g} visitors per day"
    )
    durations = _table(" ", "Visitors", "Days", "")
    for way, title, meaning in (
        (ways["planned"], WAYS["planned"], "look at any time; final at the end"),
        (ways["always_valid"], WAYS["always_valid"], "look at any time; stop at the verdict"),
        (ways["always_valid"]["typical"], "  half of them", "have their verdict by then"),
        (ways["single_look"], WAYS["single_look"], "no one may look before"),
    ):
        durations.add_row(
            title, *("–" if way[key] is None else f"{way[key]:,}" for key in ("visitors", "days")), meaning
        )
    visible = _table("Weeks", "Visitors", *WAYS.values())
    for row in found["visible"]:
        visible.add_row(f"{row['weeks']}", f"{row['visitors']:,}", *(_change(row[way]) for way in WAYS))
    counters = "exact counters" if found["precision"] == EXACT else f"counters of precision {found['precision']}"
    parts: list[RenderableType] = [_line(asked, style="bold"), Text(f"({counters})\n"), durations]
    if hidden := [title for way, title in WAYS.items() if ways[way]["visitors"] is None]:
        parts += [Text(HIDDEN.format(found["precision"], ", ".join(hidden)), style="yellow")]
    parts += [Text("\nThe smallest change that is detected after", style="bold"), visible]
    if lines := text_plot.of_plan(found, width):
        parts += [Text("\nDays by the size of the change", style="bold"), Text("\n".join(lines), no_wrap=True)]
    if planned := found["settings"]["planned_visitors"]:
        each = "of each variant" if planned < ways["planned"]["visitors"] else "in all"
        set_them = f"planned_visitors={planned} smallest_change={found['settings']['smallest_change']:g}"
        parts.append(_line(f"\nTo decide by the planned size: gimel experiment set NAME {set_them} ({each})"))
    return Group(*parts)


def _line(text: str, style: str = "") -> Text:
    """In one piece, however narrow the terminal: to be copied."""
    return Text(text, style, no_wrap=True, overflow="ignore")


def _share(value: float) -> str:
    return f"{float(f'{100 * value:.3g}'):g} %"


def _table(*titles: str) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in titles:
        table.add_column(title, justify="right" if title.strip() else "left")
    return table


def _change(share: float | None) -> str:
    return "–" if share is None else rounded_up(share)
