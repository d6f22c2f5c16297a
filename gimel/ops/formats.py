"""A report as a person or a program wants it: tables with verdicts, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gimel.analysis.wording import each, percent, points

Report = list[dict[str, Any]]
"""Items of the report that name an experiment."""

COLORS = {"winner": "green", "loser": "red", "do_not_trust": "bold red", "collecting": "yellow", "mismatch": "bold red"}

SIGN = "\N{REPLACEMENT CHARACTER}"
TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

UNBOUNDED = 1.0
"""An uncertainty of which whole percents are enough."""

INTERVALS = ("rate_interval", "difference_interval", "uplift_interval", "always_valid_interval")
FIGURES = (
    *("rate", "rate_interval", "difference", "difference_interval", "uplift", "uplift_interval"),
    *("p_value", "unadjusted_p_value", "chance_to_beat_control", "always_valid_interval", "always_valid_p_value"),
    *("visitors_needed", "counting_error"),
)


def as_json(report: Report) -> str:
    """The report as it is, indented."""
    return json.dumps(report, ensure_ascii=False, indent=2)


def columns() -> list[str]:
    """The columns of `rows`; an interval has two."""
    figures = [
        column
        for figure in FIGURES
        for column in ([f"{figure}_low", f"{figure}_high"] if figure in INTERVALS else [figure])
    ]
    said = ["verdict", "verdict_text", "verdict_reason", "goal_verdict", "goal_verdict_text", "goal_verdict_reason"]
    split = ["control", "comparisons", "sample_ratio", "sample_ratio_p_value", "sample_ratio_text", "notes"]
    counts = ["participants", "participants_counting_error", "expected_participants", "expected_share", "successes"]
    return ["experiment", "goal", "kind", "variant", *counts, *figures, *said, *split]


def rows(report: Report) -> Iterator[dict[str, Any]]:
    """One row for each goal and variant; an experiment without goals has a row for each variant."""
    for item in report:
        ratio = item.get("sample_ratio", {})
        shared = {
            "experiment": item["experiment"],
            "control": item.get("control"),
            "sample_ratio": ratio.get("state"),
            "sample_ratio_p_value": ratio.get("p_value"),
            "sample_ratio_text": ratio.get("text"),
            "comparisons": item.get("comparisons"),
            "notes": "; ".join(item.get("notes", [])),
        }
        taking_part = {one["label"]: one for one in item.get("participants", [])}
        expected = {one["label"]: one for one in ratio.get("expected", [])}
        for goal in item["goals"] or [{"goal": None, "results": item.get("participants", [])}]:
            for result in goal["results"]:
                row = {
                    **shared,
                    "goal": goal["goal"],
                    "kind": goal.get("kind"),
                    "variant": result["label"],
                    "participants": result["trials"],
                    "participants_counting_error": taking_part.get(result["label"], {}).get("counting_error"),
                    "expected_participants": expected.get(result["label"], {}).get("trials"),
                    "expected_share": expected.get(result["label"], {}).get("share"),
                    "successes": result.get("successes"),
                    **_said("verdict", result),
                    **_said("verdict", goal, "goal_"),
                }
                for figure in FIGURES:
                    if figure in INTERVALS:
                        bounds = result.get(figure) or {}
                        row |= {f"{figure}_low": bounds.get("low"), f"{figure}_high": bounds.get("high")}
                    else:
                        row[figure] = result.get(figure)
                yield row


def _said(key: str, item: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    verdict = item.get(key, {})
    return {
        f"{prefix}verdict": verdict.get("state"),
        f"{prefix}verdict_text": verdict.get("text"),
        f"{prefix}verdict_reason": verdict.get("reason"),
    }


def as_csv(report: Report) -> str:
    """A header and `rows`; names that a spreadsheet would run as a formula are led by an apostrophe."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns(), lineterminator="\n")
    writer.writeheader()
    for row in rows(report):
        writer.writerow({name: _inert(value) for name, value in row.items()})
    return text.getvalue()


def _inert(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)  # as a browser writes it
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def visible(text: str) -> str:
    """Text for a terminal: what could move its cursor, or turn the reading direction, is shown as a sign."""
    return "".join(
        SIGN if (unicodedata.category(one) == "Cc" and one != "\n") or one in TURNING else one for one in text
    )


def as_text(report: Report) -> RenderableType:
    """For the terminal: of each experiment the split of visitors, and of each goal the verdict and a table."""
    parts: list[RenderableType] = []
    for item in _visible(report):
        parts += [Text(item["experiment"], style="bold underline"), *_split(item)]
        for goal in item["goals"]:
            parts += [Padding(_goal(goal, item), (1, 0, 0, 2))]
        if not item["goals"]:
            parts.append(Text("  no goal reached yet"))
        parts.append(Text())
    return Group(*parts)


def _visible(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _visible(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_visible(inner) for inner in value]
    return visible(value) if isinstance(value, str) else value


def _split(item: dict[str, Any]) -> list[Text]:
    ratio = item.get("sample_ratio", {})
    shown = ", ".join(f"{one['trials']:,} {one['label']}" for one in item.get("participants", []))
    lines = [Text(f"  participants: {shown}")]
    if ratio.get("state") == "mismatch":
        lines.append(Text(f"  {ratio['text']}", style=COLORS["mismatch"]))
        if not item["goals"] and ratio.get("reason"):  # else each goal's verdict says it
            lines.append(Text(f"  {ratio['reason']}", style="dim"))
    return lines + [Text(f"  {note}", style="yellow") for note in item.get("notes", [])]


def _goal(goal: dict[str, Any], item: dict[str, Any]) -> Group:
    verdict = goal.get("verdict", {})
    title = Text.assemble(
        (goal["goal"], "bold"), "   ", (verdict.get("text", ""), COLORS.get(verdict.get("state"), ""))
    )
    parts: list[RenderableType] = [title]
    if verdict.get("reason"):
        parts.append(Text(verdict["reason"], style="dim"))
    return Group(*parts, _table(goal, item))


def _table(goal: dict[str, Any], item: dict[str, Any]) -> Table:
    per_visitor = goal.get("kind") == "per_visitor"
    table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("\nVariant", overflow="fold")
    for name in ("\nParticipants", "\nReached", "Per\nvisitor" if per_visitor else "\nRate"):
        table.add_column(name, justify="right")
    if not per_visitor:
        table.add_column("Uplift\n(95 % interval)", justify="right")
        table.add_column("Beats\ncontrol", justify="right")
    for result in goal["results"]:
        control = result["label"] == item.get("control")
        label = Text(result["label"])
        if control:
            label.append(" (control)", style="dim")
        cells: list[str | Text] = [label, f"{result['trials']:,}", f"{result['successes']:,}"]
        if per_visitor:
            cells.append("–" if result.get("rate") is None else each(result["rate"]))
        else:
            cells += [_rate(result), *(["", ""] if control else [_uplift(result), _chance(result)])]
        table.add_row(*cells, style=COLORS.get(result.get("verdict", {}).get("state"), ""))
    return table


def _rate(result: dict[str, Any]) -> str:
    bounds = result.get("rate_interval")
    return percent(result["rate"], _half(bounds)) if bounds else "–"


def _uplift(result: dict[str, Any]) -> str:
    uplift, bounds = result.get("uplift"), result.get("uplift_interval") or {}
    low, high = bounds.get("low"), bounds.get("high")
    if high is None:
        return _unbounded_uplift(uplift, low)
    if uplift is None or low is None:
        return "–"
    width = (high - low) / 2
    return f"{points(uplift, width, '+')} % ({points(low, width, '+')} to {points(high, width, '+')})"


def _unbounded_uplift(uplift: float | None, low: float | None) -> str:
    """Where the control's rate may be 0. A low end of -100 % says nothing: no uplift is below it."""
    shown = [f"{points(uplift, UNBOUNDED, '+')} %"] if uplift is not None else []
    known = [f"{points(low, UNBOUNDED, '+')} % or more"] if low is not None and low > -1 else []
    if shown and known:
        return f"{shown[0]} ({known[0]})"
    return "".join(shown or known) or "–"


def _half(bounds: dict[str, float]) -> float:
    return (bounds["high"] - bounds["low"]) / 2


def _chance(result: dict[str, Any]) -> str:
    chance = result.get("chance_to_beat_control")
    if chance is None:
        return "–"
    if chance < 0.001:
        return "< 0.1 %"
    return "> 99.9 %" if chance > 0.999 else f"{100 * chance:.1f} %"
