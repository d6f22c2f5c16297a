"""`gimel configure`: create a configuration file."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gimel.ops import resources

from .console import config_option, out, plain


@click.command()
@config_option
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.option("--edit", is_flag=True, help="Open the file in your editor.")
def configure(config_file: Path | None, force: bool, edit: bool) -> None:
    """Create a configuration file from the template."""
    path = config_file or Path(os.environ.get("GIMEL_CONFIG") or Path.home() / ".gimel" / "config.json")
    if force or not (edit and path.exists()):
        resources.write(path, force)
        out.print(f"Wrote {plain(path)}", soft_wrap=True)
    if edit:
        click.edit(filename=os.fspath(path))
