"""`gimel export` and `gimel import`: counts to a file, and back into Redis."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gimel import connection
from gimel.events import read_namespace
from gimel.namespaces import find_namespaces
from gimel.ops import backup

from .console import config_option, data_option, err, namespace_option, out, plain, progress_bar
from .store import use_store

file_argument = click.argument("file", type=click.Path(path_type=Path))


@click.command()
@file_argument
@namespace_option
@click.option("--all-namespaces", is_flag=True, help="Export every namespace instead of one.")
@config_option
@data_option
def export(file: Path, namespace: str, all_namespaces: bool, config_file: Path | None, data: Path) -> None:
    """Write all counts of a namespace to a new FILE, gzipped if its name ends in .gz."""
    with use_store(config_file, data) as found, progress_bar("Exporting") as progress:
        client = connection.client()
        names = find_namespaces(client) if all_namespaces else [namespace]
        summary = backup.export(client, names, file, found, progress)
    out.print(plain(f"Exported {_told(summary)} to {file}"), soft_wrap=True)


@click.command("import")
@file_argument
@click.option("--into", help="Import into this namespace instead; the file must have only one.")
@click.option("--merge", is_flag=True, help="Add the counts to those that Redis already has under the same names.")
@config_option
@data_option
def import_(file: Path, into: str | None, merge: bool, config_file: Path | None, data: Path) -> None:
    """Add the counts in FILE to Redis. If it is interrupted, run it again."""
    if into in ("", "undefined"):  # which events may send for the default namespace
        raise click.UsageError("--into needs the name of a namespace")
    target = None if into is None else read_namespace({"namespace": into})
    with use_store(config_file, data) as found, progress_bar("Importing") as progress:
        summary = backup.load(connection.client(), file, found, target, merge, progress)
    out.print(plain(f"Imported {_told(summary)} from {file}"), soft_wrap=True)
    if summary.settings:
        err.print("[yellow]These experiments had settings that this config.json lacks:[/]", soft_wrap=True)
        err.print(plain(json.dumps({"experiments": summary.settings}, ensure_ascii=False, indent=2)), soft_wrap=True)


def _told(summary: backup.Summary) -> str:
    counts = f"{summary.experiments:,} experiments with {len(summary.counters):,} counters"
    return f"{counts} of namespace {', '.join(sorted(summary.namespaces))}"
