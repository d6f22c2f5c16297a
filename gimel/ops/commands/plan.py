"""`gimel plan`: how long an experiment will take."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from decimal import ROUND_HALF_UP, Context
from pathlib import Path
from typing import Any

import click

from gimel import config
from gimel.analysis.planning import Question, answer
from gimel.errors import BadRequest
from gimel.ops import plan_formats, resources

from .console import config_option, data_option, err, key_option, namespace_option, out, plain
from .experiment import Target
from .store import use_store

ROUNDED = Context(prec=3, rounding=ROUND_HALF_UP)
"""How figures of another experiment are: as by `toPrecision` in planner.js, which takes the same ones."""


@click.command()
@click.option("--rate", help="The control's conversion rate, such as 5% or 0.05.")
@click.option("--change", required=True, help="The smallest relative change that matters, such as 10%.")
@click.option("--per-day", help="Visitors per day, in all variants together.")
@click.option("--variants", help="How many variants there are, with the control; default: 2.")
@click.option("--weights", help="The variants' weights, the control's first, such as 9,1; default: equal ones.")
@click.option("--experiment", default="", help="Its name, in case config.json has a precision of its own for it.")
@click.option("--like", metavar="EXPERIMENT", help="Take the rate and the visitors per day that are not given from it.")
@click.option("--goal", help="The goal of that experiment with the rate to take, if it has several.")
@namespace_option
@click.option("--url", help="URL of a deployed API to read that experiment from instead of Redis.")
@key_option
@click.option("--format", "form", type=click.Choice(("table", "json")), default="table", help="Output format.")
@config_option
@data_option
def plan(
    experiment: str,
    like: str | None,
    goal: str | None,
    namespace: str,
    url: str | None,
    api_key: str | None,
    form: str,
    config_file: Path | None,
    data: Path,
    **asked: str | None,
) -> None:
    """Show how many visitors and days an experiment takes, and what it shows by when."""
    if like is not None:
        with nullcontext() if url else use_store(config_file, data):
            item = Target(namespace, like, url, api_key).report()
        if told := _take_figures(asked, item, goal):
            # With `json`, stdout has what the API answers.
            (err if form == "json" else out).print(plain(told), soft_wrap=True)
    elif goal or url:
        raise click.UsageError("--goal and --url are for --like EXPERIMENT")
    elif not (asked["rate"] and asked["per_day"]):
        raise click.UsageError("give --rate and --per-day, or --like EXPERIMENT to take them from")
    settings = config.load(config_file)
    found = answer(Question.read(asked, settings.precision_of(experiment) if settings.path else resources.PRECISION))
    if form == "json":
        click.echo(json.dumps(found, indent=2))
    else:
        out.print(plan_formats.as_text(found, out.width), crop=False)


def _take_figures(asked: dict[str, str | None], item: Mapping[str, Any], goal: str | None) -> str:
    """Fill in the rate and the visitors per day that are not given, from the report of an experiment. Where they come
    from, in words. Raises BadRequest."""
    name, control = item["experiment"], item.get("control")
    told, problems = [], []
    rates = {
        each["goal"]: row
        for each in item["goals"]
        for row in each["results"]
        if each.get("kind") == "proportion" and row["label"] == control and 0 < (row["rate"] or 0) < 1
    }
    if not asked["rate"]:
        chosen = goal or (next(iter(rates)) if len(rates) == 1 else "")
        if row := rates.get(chosen):
            asked["rate"] = f"{ROUNDED.create_decimal_from_float(100 * row['rate']):f}%"
            counted = f"{row['successes']:,} of {row['trials']:,}"
            told.append(f"{counted} visitors of its control {control!r} reached {chosen!r}")
        elif rates:
            why = f"no conversion rate for {goal!r}" if goal else "several goals"
            problems.append(f"{name!r} has {why}: --goal must be one of {', '.join(map(repr, rates))}")
        else:
            problems.append(f"no goal of {name!r} has a conversion rate above 0 % and below 100 % yet: give --rate")
    if not asked["per_day"]:
        if per_day := sum((item.get("visitors_per_day") or {}).values()):
            asked["per_day"] = f"{ROUNDED.create_decimal_from_float(per_day):f}"
            told.append(f"{per_day:,.0f} visitors per day came over its last 7 full days")
        else:
            problems.append(f"{name!r} has no full day of visitors yet: give --per-day")
    if problems:
        raise BadRequest(problems)
    return f"As in {name!r}: {'; '.join(told)}." if told else ""
