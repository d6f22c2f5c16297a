"""What all commands share: results go to stdout and all else to stderr; and options that several have."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

PORTS = click.IntRange(0, 65535)

config_option = click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration file.")
