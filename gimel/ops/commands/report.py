"""`gimel report`: the report in the terminal, or as a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import click

import gimel
from gimel import config, connection
from gimel.gateway import Request
from gimel.ops import formats
from gimel.ops.api_client import fetch_report
from gimel.ops.server import assets, redis_process

from .console import config_option, data_option, err, key_option, out, plain


@click.command()
@click.argument("experiments", nargs=-1)
@click.option("--namespace", default="alephbet", show_default=True, help="Namespace of the experiments.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv", "html"]), default="table", show_default=True
)
@click.option("--url", help="Address of a deployed API, instead of Redis.")
@key_option
@config_option
@data_option
def report(
    experiments: tuple[str, ...],
    namespace: str,
    form: str,
    url: str | None,
    api_key: str | None,
    config_file: Path | None,
    data: Path,
) -> None:
    """Show the counts of all experiments, or of those named."""
    params = {"namespace": namespace}
    if experiments and not any("," in name for name in experiments):
        params["scope"] = ",".join(experiments)
    if url:
        items = fetch_report(url, api_key, params)
    else:
        with _reading_redis(config_file, data):
            items = cast("list[dict[str, Any]]", gimel.all.handle(Request(params)).value)
    found = [
        item for item in items if item.get("experiment") and (not experiments or item["experiment"] in experiments)
    ]
    empty = [item["experiment"] for item in found if not item["goals"] and not item.get("participants")]
    found = [item for item in found if item["experiment"] not in empty]
    unknown = sorted(set(experiments) - {item["experiment"] for item in found})
    for name in unknown:
        err.print(f"[yellow]There is no experiment {plain(repr(name))} in namespace {plain(repr(namespace))}.[/]")
    # Files are UTF-8, whatever the terminal is.
    if form == "json":
        click.echo(formats.as_json(found).encode())
    elif form == "csv":
        click.echo(formats.as_csv(found).encode(), nl=False)
    elif form == "html":
        click.echo(assets.snapshot(found, namespace).encode(), nl=False)
    elif found:
        out.print(formats.as_text(found))
    elif not experiments:
        err.print(f"Nothing has been tracked in namespace {plain(repr(namespace))} yet.")
    if unknown:
        sys.exit(1)


@contextmanager
def _reading_redis(config_file: Path | None, data: Path) -> Iterator[None]:
    found = config.load(config_file)
    with ExitStack() as stack:
        if not found.redis_settings:
            url = stack.enter_context(redis_process.reachable(data))
            found = replace(found, redis_settings=config.RedisSettings(url=url))
        connection.use(found)
        yield
