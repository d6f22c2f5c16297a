"""`gimel queue`: the events that wait while Redis cannot take them, and those that could not be counted."""

from __future__ import annotations

from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from gimel.ops.aws.deployment import Deployment

from .console import config_option, err, out, plain
from .deployment import ask, yes_option


@click.group(invoke_without_command=True)
@config_option
@click.pass_context
def queue(context: click.Context, config_file: Path | None) -> None:
    """Show how many messages wait for Redis, and how many could not be counted."""
    if context.invoked_subcommand:
        return
    deployment = Deployment.load(config_file)
    waiting, dead = deployment.require_queues()
    names = deployment.names
    out.print(f"{names.queue} in {names.account.region}:", soft_wrap=True)
    out.print(f"{waiting.waiting:>9,}  waiting: counted as soon as Redis can take them")
    out.print(f"{waiting.in_flight:>9,}  in flight: being counted, or about to be tried again")
    out.print(f"{names.dead_letters}:", soft_wrap=True)
    out.print(f"{dead.messages:>9,}  dead letters: not counted" + (", such as" if dead.messages else ""))
    for reason, count in deployment.dead_letter_reasons().most_common() if dead.messages else ():
        out.print(f"{count:>9,}  {plain(reason)}", soft_wrap=True)
    if dead.messages:
        out.print("Fix the cause, then send them back with `gimel queue redrive`.")


@queue.command()
@config_option
@yes_option
@click.pass_context
def redrive(context: click.Context, config_file: Path | None, yes: bool) -> None:
    """Send the dead letters back to the queue, to be counted again."""
    assert context.parent
    deployment = Deployment.load(config_file or context.parent.params["config_file"])
    _, dead = deployment.require_queues()
    if not dead.messages:
        out.print("There are no dead letters.")
        return
    question = f"Send about {dead.messages:,} dead letters back to the queue?"
    if not yes and not ask(lambda: click.confirm(question, err=True), "answer y, or use --yes"):
        err.print("Nothing was changed.")
        return
    moved = 0
    with Progress(TextColumn("sent back"), BarColumn(), MofNCompleteColumn(), console=err) as progress:
        task = progress.add_task("", total=dead.messages)
        for _ in deployment.redrive(dead.messages):
            moved += 1
            progress.advance(task)
    out.print(f"{moved:,} dead letters were sent back; what still cannot be counted returns to them.", soft_wrap=True)
