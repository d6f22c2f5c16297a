"""`gimel snippet`: the snippet that adds an experiment to a page."""

from __future__ import annotations

from pathlib import Path

import click

from gimel import config
from gimel import snippet as html
from gimel.config import TRACK
from gimel.ops import api_client
from gimel.ops.aws.deployment import Deployment

from .console import config_option, err, namespace_option, plain

BLOCKED = (
    f"many ad blockers block {TRACK}. If this API has another path for events, pass it as --url, as in "
    f"https://…{config.Config.track_path}; see docs/tracking.md."
)


@click.command()
@click.option("--url", help="URL of the API, or its track URL; default: the API deployed with your AWS credentials.")
@click.option("--experiment", default=html.EXPERIMENT, show_default=True, help="Name of the experiment.")
@click.option("--variants", default=",".join(html.VARIANTS), show_default=True, help="Names, separated by commas.")
@click.option("--goals", default=",".join(html.GOALS), show_default=True, help="Names, separated by commas.")
@click.option("--weights", default="", help="Whole numbers, in the order of the variants, such as 9,1; default: equal.")
@click.option("--per-visitor", default="", help="Those of the goals that count every time, such as page views.")
@click.option("--module", "is_module", is_flag=True, help="As an ES module, for a site with a build step.")
@namespace_option
@config_option
def snippet(url: str | None, is_module: bool, config_file: Path | None, **names: str) -> None:
    """Print the snippet that adds an experiment to your page."""
    problems = []
    try:
        api_client.base_url(url or "https://example.com")
    except api_client.InvalidUrl as error:
        problems.append(error.message)
    own_names = html.Names.read(names, problems)
    if url:
        own = config.load(config_file).track_path
        track_url = api_client.track_url(url, own)
        if track_url.endswith(TRACK) and own != TRACK:
            err.print(f"[yellow]Note:[/] {plain(BLOCKED)}", soft_wrap=True)
    else:
        track_url = Deployment.load(config_file).require_live().track_url
    click.echo(html.module(track_url, own_names) if is_module else html.snippet(track_url, own_names))
