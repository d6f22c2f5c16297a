"""The `gimel` command."""

from __future__ import annotations

import io
import sys
from typing import Any

import click

import gimel
from gimel.errors import GimelError

from . import deployment
from .configure import configure
from .console import err, plain, with_cause
from .dashboard import dashboard
from .report import report
from .serve import demo, serve


class Commands(click.Group):
    """Commands whose mistakes are told in plain words, without a stack trace."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except GimelError as error:
            err.print(f"[red]Error:[/] {plain(with_cause(error))}", soft_wrap=True)
            sys.exit(1)


@click.group(cls=Commands)
@click.version_option(gimel.__version__)
def main() -> None:
    """Run your own A/B testing backend."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a letter shows its number instead.
            stream.reconfigure(errors="backslashreplace")


for command in (serve, demo, report, dashboard, configure, *deployment.COMMANDS):
    main.add_command(command)

if __name__ == "__main__":
    main()
