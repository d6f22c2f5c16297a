"""A report as tables with verdicts for the terminal, or as CSV."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import floor
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gimel.analysis.report import ALPHA, INTERVALS, ROW_FIELDS
from gimel.analysis.wording import USUAL, Digits, on_day, per_visitor, percent, points

from . import text_plot

Report = list[dict[str, Any]]
"""Items of the report that name an experiment."""

STATES = {
    "do_not_trust": ("Do not trust", "bold red"),
    "mixed": ("Mixed", "bold red"),
    "worse": ("Worse", "red"),
    "winner": ("Winner", "green"),
    "loser": ("Control wins", "red"),
    "no_difference": ("No difference", ""),
    "leaning": ("", ""),  # its text begins with this word
    "inconclusive": ("Inconclusive", ""),
    "collecting": ("Collecting", "yellow"),
    "not_yet_known": ("Open", "yellow"),
    "not_worse": ("Kept", ""),
    "per_visitor": ("Per visitor", ""),
    "no_data": ("No data", ""),
}
"""How the verdict on a goal or an experiment is shown, by its state: its label and color."""

ROLES = {"primary": "primary goal", "goal": "", "guardrail": "guardrail", "secondary": ""}
"""What a goal is called by its role, in the order in which goals are read."""

WITHIN = (
    "Compared within periods (see the note on shares): differences and uplifts, and the rates in the sentence above,"
    " are not those of the rates in this table."
)
"""Below the table of a goal that has `by_day`."""

DRAFT = "a draft: it starts with its first visitor"

IGNORED = {
    "bot": "from bots",
    "prefetch": "from browsers that load pages in advance",
    "origin": "from other origins",
    "namespace": "for namespaces that are not in config.json",
    "experiment": "for experiments that are not in config.json",
    "variant": "for variants that are not in config.json",
    "goal": "for goals that are not in config.json",
    "stopped": "for experiments that are stopped",
}
"""Requests that are not counted, by the reason."""

LIMIT = "limit"
RAISE_IT = "delete experiments that are no longer needed, or raise limits in config.json"

PLACEHOLDER = "\N{REPLACEMENT CHARACTER}"
BIDI_CONTROLS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

CELL_WITH_FORMULA = re.compile(
    # A cell begins where the value does, and after whatever a spreadsheet may take for the end of one.
    "(?:^|(?<=[\t\n;,]))(?=[\\s\\0'\"]*[=+@\uff1d\uff0b\uff0d\uff20-])|^(?=[\t\n\0])"
)

LIFE = ("status", "owner", "decision", "note")
"""Settings that are columns, besides those of which the figures tell."""

FIGURES = [field for field in ROW_FIELDS if field not in ("label", "successes", "trials", "verdict")]


def rows(report: Report) -> Iterator[dict[str, Any]]:
    """One row for each goal and variant; an experiment without goals has a row for each variant."""
    for item in report:
        ratio = item.get("sample_ratio", {})
        plan = item.get("plan") or {}
        ended = plan.get("ended") or {}
        participants = {one["label"]: one for one in item.get("participants", [])}
        expected = {one["label"]: one for one in ratio.get("expected", [])}
        for goal in item["goals"] or [{"goal": None, "results": item.get("participants", [])}]:
            for result in goal["results"]:
                label = result["label"]
                yield {
                    "experiment": item["experiment"],
                    "goal": goal["goal"],
                    "kind": goal.get("kind"),
                    "role": goal.get("role"),
                    "alpha": goal.get("alpha"),
                    "variant": label,
                    "unexpected": participants.get(label, {}).get("unexpected"),
                    "participants": result["trials"],
                    "participants_counting_error": participants.get(label, {}).get("counting_error"),
                    "expected_participants": expected.get(label, {}).get("trials"),
                    "expected_share": expected.get(label, {}).get("share"),
                    "successes": result.get("successes"),
                    **_figures(result),
                    **_verdict("verdict", result),
                    **_verdict("goal_verdict", goal),
                    **_since("goal_verdict", goal),
                    "days_left": goal.get("days_left"),
                    **_verdict("experiment_verdict", item),
                    **_since("experiment_verdict", item),
                    "experiment_verdict_goal": item.get("verdict", {}).get("goal"),
                    "control": item.get("control"),
                    "comparisons": item.get("comparisons"),
                    "first_seen": item.get("first_seen"),
                    "last_seen": item.get("last_seen"),
                    "days": item.get("days"),
                    "visitors_per_day": item.get("visitors_per_day", {}).get(label),
                    "smallest_change": item.get("smallest_change"),
                    "planned_participants": plan.get("in_all"),
                    "plan_reached": plan.get("reached"),
                    "plan_ended": ended.get("at"),
                    "plan_ended_participants": ended.get("visitors"),
                    "sample_ratio": ratio.get("state"),
                    "sample_ratio_p_value": ratio.get("p_value"),
                    "sample_ratio_always_valid_p_value": ratio.get("always_valid_p_value"),
                    "sample_ratio_text": ratio.get("text"),
                    "sample_ratio_since": ratio.get("since"),
                    "counting_note": item.get("counting_note"),
                    "notes": "; ".join(item.get("notes", [])),
                    **{name: item.get("settings", {}).get(name) for name in LIFE},
                }


def _figures(result: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in FIGURES:
        if field in INTERVALS:
            bounds = result.get(field) or {}
            found |= {f"{field}_low": bounds.get("low"), f"{field}_high": bounds.get("high")}
        else:
            found[field] = result.get(field)
    return found


def _verdict(column: str, item: dict[str, Any]) -> dict[str, Any]:
    verdict = item.get("verdict", {})
    return {
        column: verdict.get("state"),
        f"{column}_text": verdict.get("text"),
        f"{column}_reason": verdict.get("reason"),
    }


def _since(column: str, item: dict[str, Any]) -> dict[str, Any]:
    since = item.get("verdict_since") or {}
    return {f"{column}_since": since.get("at"), f"{column}_before": since.get("before")}


def as_csv(report: Report) -> str:
    """A header and `rows`, in which a spreadsheet finds no formula."""
    nothing: Report = [{"experiment": "", "goals": [{"goal": "", "results": [{"label": "", "trials": 0}]}]}]
    return csv_of(list(next(rows(nothing))), rows(report))  # the header, even if there is no row


def csv_of(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """A header and these rows, in which a spreadsheet finds no formula."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _inert(value) for name, value in row.items()})
    return text.getvalue()


def _inert(value: object) -> object:
    """A cell's value. Wherever a spreadsheet could begin a cell with a formula, an apostrophe makes it text."""
    if isinstance(value, bool):
        return str(value).lower()  # as a browser writes it, as the next
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, str):
        return value
    value = value.replace("\0", PLACEHOLDER)  # which Python 3.10 cannot write
    return CELL_WITH_FORMULA.sub("'", re.sub("\r\n?", "\n", value))  # a lone \r, never quoted, would end the row


def ignored_today(counts: Mapping[str, int]) -> list[Text]:
    """For the terminal: how many requests were ignored, and a warning if a limit was reached."""
    order = [*IGNORED, *(code for code in counts if code not in IGNORED)]
    parts = [
        f"{_requests(counts[code])} {IGNORED.get(code, f'({visible(code)})')}"
        for code in order
        if counts.get(code) and code != LIMIT
    ]
    lines = [Text(f"{', '.join(parts)} ignored today", style="dim")] if parts else []
    if counts.get(LIMIT):
        lines.append(Text(f"{_requests(counts[LIMIT])} beyond a limit ignored today: {RAISE_IT}", style="yellow"))
    return lines


def _requests(number: int) -> str:
    return f"{number:,} request{'' if number == 1 else 's'}"


def visible(text: str) -> str:
    """Text for a terminal: characters that could move its cursor or change the reading direction are replaced."""
    return "".join(
        PLACEHOLDER if (unicodedata.category(one) == "Cc" and one != "\n") or one in BIDI_CONTROLS else one
        for one in text
    )


def as_text(report: Report, width: int, histories: Mapping[str, Mapping[str, Any]] | None = None) -> RenderableType:
    """For the terminal: how the visitors of each experiment are split, and a verdict and a table for each goal.

    `histories` are answers of `GET /history` by experiment; goals of those have a small plot over time.
    """
    no_wrap = width >= 72  # in a narrower terminal figures wrap, too, so that none is cut off
    parts: list[RenderableType] = []
    for raw in report:
        item, series = _visible(raw), _visible((histories or {}).get(raw["experiment"]))
        verdict = item.get("verdict", {})
        headline = Text(item.get("headline") or "", style=STATES.get(verdict.get("state"), ("", ""))[1] or "bold")
        parts.append(Text(item["experiment"], style="bold underline"))
        parts += [Text(f"  {status}", style="cyan")] if (status := _status(item.get("settings") or {})) else []
        if status == DRAFT:
            parts.append(Text())
            continue
        parts += [Padding(headline, (0, 0, 0, 2)), *_overview(item)]
        about_it = verdict.get("goal")
        goals = sorted(
            item["goals"], key=lambda goal: ([*ROLES].index(goal.get("role", "goal")), goal["goal"] != about_it)
        )
        parts += [Padding(_goal(goal, item, no_wrap, series, width - 2), (1, 0, 0, 2)) for goal in goals]
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


def _overview(item: dict[str, Any]) -> list[Text]:
    shown: dict[bool, list[str]] = {False: [], True: []}
    for one in item.get("participants", []):
        shown[bool(one.get("unexpected"))].append(f"{one['trials']:,} {one['label']}")
    lines = [Text(f"participants: {', '.join(shown[False])}")]
    if shown[True]:
        lines.append(Text(f"unexpected: {', '.join(shown[True])}", style="dim"))
    lines += [Text(dates)] if (dates := _dates(item)) else []
    lines += [Text(_planned(item))] if item.get("plan") else []
    if item.get("sample_ratio", {}).get("reason"):
        lines.append(Text(item["sample_ratio"]["reason"], style="dim"))
    lines += [Text(note, style="yellow") for note in item.get("notes", [])]
    if item.get("counting_note"):
        lines.append(Text(item["counting_note"], style="dim"))
    return [Text("  ") + line for line in lines]


def _status(settings: dict[str, Any]) -> str:
    """Where an experiment stands, unless it just runs, and what was decided."""
    status, dates = settings.get("status", "running"), settings.get("dates", {})
    if status in ("running", "draft"):
        return DRAFT if status == "draft" else ""
    text = f"{status} on {on_day(dates[status])}" if status in dates else str(status)
    decision = f"; decision: {settings['decision']}" if settings.get("decision") else ""
    return f"{text}{decision}" + (f" ({settings['note']})" if settings.get("note") else "")


def _planned(item: dict[str, Any]) -> str:
    """How far a planned experiment is."""
    plan, ended = item["plan"], item["plan"]["ended"]
    if ended:
        day = on_day(ended["at"])
        return f"the plan for {plan['in_all']:,} visitors ended on {day} at {ended['visitors']:,}: its verdict is final"
    came = sum(one["trials"] for one in item["participants"] if not one["unexpected"])
    done = f"{came:,} of {plan['in_all']:,} planned visitors, {floor(100 * plan['reached'])} %"
    return f"{done}; the verdict is final when they have come"


def _dates(item: dict[str, Any]) -> str:
    """Since when and how fast visitors come, and when the last event did."""
    first, last = item.get("first_seen"), item.get("last_seen")
    per_day = float(f"{sum(item.get('visitors_per_day', {}).values()):.2g}")
    parts = [f"since {on_day(first)}"] if first else []
    parts += [f"about {points(per_day / 100, 0)} visitors a day"] if per_day else []  # rounded as on the page
    parts += [f"the last event on {on_day(last)}, {last[11:16]} UTC"] if last else []
    return ", ".join(parts)


def _sentences(item: dict[str, Any]) -> list[Text]:
    """The verdict on a goal or an experiment, why, and since when if it was another before."""
    verdict, since = item.get("verdict", {}), item.get("verdict_since") or {}
    label, color = STATES.get(verdict.get("state", ""), ("", ""))
    words = verdict.get("text") or ""
    text = Text(f"{label}: {words}" if label and words else label or words[:1].upper() + words[1:], style=color)
    more = [verdict["reason"]] if verdict.get("reason") else []
    if before := since.get("before"):
        more.append(f"since {on_day(since['at'])}; before that: {STATES.get(before, ('', ''))[0] or 'Leaning'}")
    return [text, *(Text(line, style="dim") for line in more)]


def _goal(
    goal: dict[str, Any], item: dict[str, Any], no_wrap: bool, series: Mapping[str, Any] | None, width: int
) -> Group:
    first, *more = _sentences(goal)
    role = ROLES[goal.get("role", "goal")]
    name = Text.assemble((goal["goal"], "bold"), (f" ({role})" if role else "", "dim"), "   ", first)
    lines = text_plot.over_time(series, goal["goal"], width) if series else []
    plot = [Text("\n".join(lines), style="dim", no_wrap=True, overflow="ellipsis")] if lines else []
    within = [Text(WITHIN, style="dim")] if goal.get("by_day") else []
    return Group(name, *more, _table(goal, item, no_wrap), *within, *plot)


def _table(goal: dict[str, Any], item: dict[str, Any], no_wrap: bool) -> Table:
    is_repeated, digits = goal.get("kind") == "per_visitor", Digits(**goal.get("digits") or USUAL._asdict())
    table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("\nVariant", overflow="fold", min_width=8)
    for name in ("\nParticipants", "\nReached", "Per\nvisitor" if is_repeated else "\nRate"):
        table.add_column(name, justify="right", no_wrap=no_wrap)
    if not is_repeated:
        for name in (f"Difference in points\n({100 - 100 * goal.get('alpha', ALPHA):.3g} % interval)", "\nUplift"):
            table.add_column(name, justify="right", no_wrap=no_wrap)
    unexpected = {one["label"] for one in item.get("participants", []) if one.get("unexpected")}
    for result in sorted(goal["results"], key=lambda result: result["label"] in unexpected):
        control = result["label"] == item.get("control")
        label = Text(result["label"])
        if control:
            label.append(" (control)", style="dim")
        cells: list[str | Text] = [label, f"{result['trials']:,}", f"{result['successes']:,}"]
        if is_repeated:
            cells.append("–" if result.get("rate") is None else per_visitor(result["rate"]))
        else:
            cells += _figures_of(result, digits, is_planned=bool(item.get("plan")))
        style = STATES.get(result.get("verdict", {}).get("state"), ("", ""))[1]
        table.add_row(*cells, style="dim" if result["label"] in unexpected else style)
    return table


def _figures_of(result: dict[str, Any], digits: Digits, is_planned: bool) -> list[str]:
    """The rate, the difference with the interval that decides, and the uplift."""
    rate, difference, uplift = (result.get(name) for name in ("rate", "difference", "uplift"))
    bounds = result.get("planned_interval" if is_planned else "always_valid_interval")
    shown = "" if difference is None else points(difference, digits.points, signed=True)
    if bounds:
        shown += f" ({' to '.join(points(bounds[end], digits.points, signed=True) for end in ('low', 'high'))})"
    return [
        "–" if rate is None else percent(rate, digits.rate),
        shown,
        "" if uplift is None else percent(uplift, digits.uplift, signed=True),
    ]
