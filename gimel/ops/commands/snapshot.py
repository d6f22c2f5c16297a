"""`gimel snapshot`: a snapshot by hand."""

from __future__ import annotations

from pathlib import Path

import click

from gimel import snapshots

from .console import config_option, data_option, out
from .store import use_store


@click.command()
@config_option
@data_option
def snapshot(config_file: Path | None, data: Path) -> None:
    """Add the present counts to the history of each experiment. A deployment and `gimel serve` do this every hour."""
    with use_store(config_file, data):
        taken = snapshots.take()
    experiments = "1 experiment" if taken.experiments == 1 else f"{taken.experiments:,} experiments"
    out.print(f"Snapshot of {experiments} taken; {taken.changed:,} changed.")
