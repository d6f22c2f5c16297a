"""`gimel plan`: how long an experiment will take."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gimel import config
from gimel.analysis.planning import Question, answer
from gimel.ops import plan_formats, resources

from .console import config_option, out


@click.command()
@click.option("--rate", required=True, help="The control's conversion rate, such as 5% or 0.05.")
@click.option("--change", required=True, help="The smallest relative change that matters, such as 10%.")
@click.option("--per-day", required=True, help="Visitors per day, in all variants together.")
@click.option("--variants", help="How many variants there are, with the control; default: 2.")
@click.option("--weights", help="The variants' weights, the control's first, such as 9,1; default: equal ones.")
@click.option("--format", "form", type=click.Choice(("table", "json")), default="table", help="Output format.")
@config_option
def plan(form: str, config_file: Path | None, **asked: str | None) -> None:
    """Show how many visitors and days an experiment takes, and what it shows by when."""
    settings = config.load(config_file)
    found = answer(Question.read(asked, settings.precision if settings.path else resources.PRECISION))
    if form == "json":
        click.echo(json.dumps(found, indent=2))
    else:
        out.print(plan_formats.as_text(found, out.width), crop=False)
