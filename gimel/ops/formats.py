"""A report as a person or a program wants it: table, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from rich.table import Table
from rich.text import Text

Report = list[dict[str, Any]]
"""Items of the report that name an experiment."""

COLUMNS = ("experiment", "goal", "variant", "participants", "successes", "rate")


def rows(report: Report) -> list[dict[str, Any]]:
    """One row for each goal and variant; an experiment without goals has a row for each variant."""
    found = []
    for item in report:
        for goal in item["goals"] or [{"goal": None, "results": item["participants"]}]:
            for result in goal["results"]:
                successes, trials = result.get("successes"), result["trials"]
                rate = successes / trials if successes is not None and trials else None
                values = (item["experiment"], goal["goal"], result["label"], trials, successes, rate)
                found.append(dict(zip(COLUMNS, values)))
    return found


def as_json(report: Report) -> str:
    """The report as it is, indented."""
    return json.dumps(report, ensure_ascii=False, indent=2)


def as_csv(report: Report) -> str:
    """A header and `rows`; names that a spreadsheet would run as a formula are led by an apostrophe."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows(report):
        writer.writerow({name: _inert(value) for name, value in row.items()})
    return text.getvalue()


def _inert(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def as_table(report: Report) -> Table:
    """A table for the terminal; a name is shown once, on its first row."""
    table = Table(header_style="bold")
    for name in ("Experiment", "Goal", "Variant"):
        table.add_column(name, overflow="fold")
    for name in ("Participants", "Reached", "Rate"):
        table.add_column(name, justify="right")
    above = None
    for row in rows(report):
        experiment, goal = row["experiment"], row["goal"]
        if above and above[0] != experiment:
            table.add_section()
        same = above == (experiment, goal)
        table.add_row(
            Text("" if above and above[0] == experiment else experiment),
            Text("" if same else goal or "(no goal reached yet)"),
            Text(row["variant"]),
            f"{row['participants']:,}",
            "" if row["successes"] is None else f"{row['successes']:,}",
            "" if row["rate"] is None else f"{row['rate']:.2%}",
        )
        above = (experiment, goal)
    return table
