"""`gimel report` and `gimel history`: in the terminal or as a file."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import click

import gimel
from gimel import page
from gimel.errors import GimelError
from gimel.gateway import Request
from gimel.ops import formats, history_formats
from gimel.ops.api_client import fetch_history, fetch_report

from .console import config_option, data_option, err, key_option, namespace_option, out, plain
from .store import use_store

FORMATS = ("table", "json", "csv", "html")
HISTORY_FORMATS = ("table", "json", "csv")

PAGE = 100
"""Experiments to read at a time."""

MOST_PLOTTED = 5
"""Experiments whose histories a report in the terminal shows: each is a request of its own."""

EXPORTED_POINTS = 100
"""Of each history in a page."""

Read = Callable[[Mapping[str, str]], formats.Report]
ReadHistory = Callable[[Mapping[str, str]], dict[str, Any]]


@click.command()
@click.argument("experiments", nargs=-1)
@namespace_option
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="Output format.")
@click.option("--url", help="URL of a deployed API to read from instead of Redis.")
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
    """Show the results of all experiments, or only of the EXPERIMENTS named."""
    every = {"namespace": namespace}
    # `scope` is a list separated by commas, so that a name with a comma must stand alone in it.
    is_scoped = len(experiments) == 1 or (bool(experiments) and not any("," in name for name in experiments))
    with _source(url, api_key, config_file, data) as (read, read_history):
        meta, items = _read_pages(read, {**every, "scope": ",".join(experiments)} if is_scoped else every)
        found = [item for item in items if not experiments or item["experiment"] in experiments]
        unknown = sorted(set(experiments) - {item["experiment"] for item in found})
        if unknown and is_scoped:
            _, items = _read_pages(read, every)
        is_plotted = form == "html" or (form == "table" and len(found) <= MOST_PLOTTED)
        histories = _read_histories(read_history, namespace, found) if is_plotted else []
    for name in unknown:
        say_unknown(name, namespace, items)
    # Files are UTF-8, whatever the terminal's encoding.
    if form == "json":
        click.echo(json.dumps(found, ensure_ascii=False, indent=2).encode())
    elif form == "csv":
        click.echo(formats.as_csv(found).encode(), nl=False)
    elif form == "html":
        click.echo(
            page.snapshot(found, namespace, ignored=meta.get("ignored") or {}, histories=histories).encode(), nl=False
        )
    else:
        if found:
            out.print(formats.as_text(found, out.width, {one["experiment"]: one for one in histories}))
        elif not experiments:
            err.print(f"No events in namespace {plain(repr(namespace))} yet.")
        for line in formats.ignored_today(meta.get("ignored") or {}):
            err.print(line, soft_wrap=True)
        if not experiments and meta.get("archived"):
            err.print(f"[dim]archived, and shown if named: {plain(', '.join(meta['archived']))}[/]", soft_wrap=True)
    if unknown:
        sys.exit(1)


@click.command()
@click.argument("experiment")
@namespace_option
@click.option("--control", help="The variant to compare with, instead of the configured one.")
@click.option(
    "--format", "form", type=click.Choice(HISTORY_FORMATS), default="table", show_default=True, help="Output format."
)
@click.option("--url", help="URL of a deployed API to read from instead of Redis.")
@key_option
@config_option
@data_option
def history(
    experiment: str,
    namespace: str,
    control: str | None,
    form: str,
    url: str | None,
    api_key: str | None,
    config_file: Path | None,
    data: Path,
) -> None:
    """Show how the figures of EXPERIMENT came about: a line for each of the last days, or up to 500 points as CSV or
    JSON."""
    params = {"experiment": experiment, "namespace": namespace, **({"control": control} if control else {})}
    with _source(url, api_key, config_file, data) as (read, read_history):
        found = read_history(params)
        items = [] if found["at"] else _read_pages(read, {"namespace": namespace})[1]
    if not found["at"]:
        say_unknown(experiment, namespace, items)
        sys.exit(1)
    if form == "json":
        click.echo(json.dumps(found, ensure_ascii=False, indent=2).encode())
    elif form == "csv":
        click.echo(history_formats.as_csv(found).encode(), nl=False)
    else:
        out.print(history_formats.as_text(found))


@contextmanager
def _source(
    url: str | None, api_key: str | None, config_file: Path | None, data: Path
) -> Iterator[tuple[Read, ReadHistory]]:
    """Reads reports and histories: from the API at `url`, or else from Redis."""
    if url:
        yield partial(fetch_report, url, api_key), partial(fetch_history, url, api_key)
        return
    with use_store(config_file, data):
        yield (
            lambda params: cast(formats.Report, gimel.all.handle(Request(params)).value),
            lambda params: cast("dict[str, Any]", gimel.history.handle(Request(params)).value),
        )


def _read_histories(read: ReadHistory, namespace: str, items: formats.Report) -> list[dict[str, Any]]:
    """Those that there are. The report is complete without them: an API that is older has none."""
    found = []
    with suppress(GimelError):
        for item in items:
            params = {"namespace": namespace, "experiment": item["experiment"], "limit": str(EXPORTED_POINTS)}
            found.append(read(params))
    return found


def _read_pages(read: Read, params: Mapping[str, str]) -> tuple[dict[str, Any], formats.Report]:
    """What is said of the whole, and all experiments that have counts or settings.

    An API that knows no pages answers with all of them at once, and names no next one.
    """
    found: formats.Report = []
    page, after = {"limit": str(PAGE)}, ""
    while True:
        items = read({**params, **page})
        found += [item for item in items if item.get("experiment") and exists(item)]
        meta: dict[str, Any] = next((item["meta"] for item in items if isinstance(item.get("meta"), dict)), {})
        following = meta.get("next") or ""
        if following <= after:
            return meta, found
        page["after"] = after = following


def exists(item: Mapping[str, Any]) -> bool:
    """Whether it is more than a name that was asked for."""
    return bool(item["goals"] or item.get("participants") or (item.get("settings") or {}).get("version"))


def say_unknown(name: str, namespace: str, items: formats.Report) -> None:
    """Say that there is no such experiment among these, and which one may be meant."""
    hint = _did_you_mean(name, [item["experiment"] for item in items])
    message = f"No experiment {plain(repr(name))} in namespace {plain(repr(namespace))}.{plain(hint)}"
    err.print(f"[yellow]{message}[/]", soft_wrap=True)


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    by_folded = {each.casefold(): each for each in known}
    folded = name.casefold()
    close = difflib.get_close_matches(folded, by_folded, 1) or [
        each for each in by_folded if folded.strip() and folded in each
    ]
    return f" Did you mean {by_folded[close[0]]!r}?" if close else ""
