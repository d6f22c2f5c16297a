"""The `gimel` command."""

from __future__ import annotations

import sys
from typing import Any

import click

import gimel
from gimel.errors import GimelError

from . import deployment
from .backup import export, import_
from .bundle import bundle
from .configure import configure
from .console import err, plain, write_any_text
from .dashboard import dashboard, invite
from .experiment import experiment
from .openapi import openapi
from .plan import plan
from .queue import queue
from .report import history, report
from .serve import demo, serve
from .snapshot import snapshot
from .snippet import snippet
from .status import logs_command, status


class Commands(click.Group):
    """Commands that end with a message instead of a stack trace when they raise GimelError."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except GimelError as error:
            err.print(f"[red]Error:[/] {plain(error)}", soft_wrap=True)
            sys.exit(1)


@click.group(cls=Commands)
@click.version_option(gimel.__version__)
def main() -> None:
    """Run your own A/B testing backend."""
    write_any_text()


for command in (
    *(serve, demo, report, history, experiment, snapshot, dashboard, invite, export, import_),
    *(plan, snippet, openapi, configure),
    *(*deployment.COMMANDS, status, logs_command, bundle, queue),
):
    main.add_command(command)

if __name__ == "__main__":
    main()
