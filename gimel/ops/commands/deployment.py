"""The commands that deal with AWS. Progress goes to stderr, results to stdout."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from gimel.errors import GimelError
from gimel.ops.aws import preflight
from gimel.ops.aws.deployment import Deployment
from gimel.ops.aws.plan import steps
from gimel.ops.aws.plan.steps import Plan, Step
from gimel.ops.aws.preflight import Finding, Level
from gimel.ops.snippet import snippet

from .console import config_option, err, out

yes_option = click.option("--yes", is_flag=True, help="Do it without asking.")
dry_option = click.option("--dry-run", is_flag=True, help="Only show what would be done.")
format_option = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Of the plan."
)

MARKS = {
    Level.GOOD: "[green]ok[/]",
    Level.UNKNOWN: "[blue]?[/] ",
    Level.WARNING: "[yellow]![/] ",
    Level.ERROR: "[red]x[/] ",
}


@click.command()
@config_option
@dry_option
@format_option
@yes_option
def deploy(config_file: Path | None, dry_run: bool, form: str, yes: bool) -> None:
    """Bring AWS to the state that the configuration describes; do it again at any time."""
    deployment = Deployment.load(config_file)
    _require_sound(deployment)
    with err.status("Looking at what is there …"):
        plan = deployment.plan()
    account, bundle = deployment.aws.account, deployment.wanted.bundle
    size = f"{len(bundle.data) / 1e6:.2f} MB, {'compiled for' if bundle.compiled else 'sources for'}"
    what = f"{deployment.names.base} in {account.region} (account {account.id}); {size} {deployment.settings.runtime}"
    if not _carry_out(deployment, plan, what, dry_run, form, yes) or form == "json":
        return
    url, key = deployment.require_api()
    own = f"gimel api-key --config {shlex.quote(str(config_file))}" if config_file else "gimel api-key"
    out.print()
    for title, value in (
        ("Track URL:", f"{url}/track"),
        ("Report URL:", f"{url}/experiments"),
        ("API key:", own),
        ("or:", f"aws apigateway get-api-key --api-key {key} --include-value --query value --output text"),
        ("Report:", f"gimel report --url {url} --api-key $({own})"),
    ):
        out.print(f"{title:<12}{escape(value)}", soft_wrap=True)
    out.print("\nFor your page:\n")
    click.echo(snippet(f"{url}/track"))


@click.command()
@config_option
@click.option(
    "--to", "release", help="A release, as `aws lambda list-versions-by-function` shows; default: the one before."
)
@dry_option
@format_option
@yes_option
def rollback(config_file: Path | None, release: str | None, dry_run: bool, form: str, yes: bool) -> None:
    """Move every function back to the version before."""
    deployment = Deployment.load(config_file)
    plan = deployment.plan_rollback(release)
    _carry_out(
        deployment, plan, f"roll {deployment.names.base} back in {deployment.aws.account.region}", dry_run, form, yes
    )


@click.command()
@config_option
@click.option("--name", help="The name of the deployment, instead of being asked for it.")
@dry_option
@format_option
def destroy(config_file: Path | None, name: str | None, dry_run: bool, form: str) -> None:
    """Remove from AWS what deploy made. Redis keeps its data."""
    deployment = Deployment.load(config_file)
    plan = deployment.plan_removal()
    title = f"remove {deployment.names.base} from {deployment.aws.account.region}"
    if not plan.steps:
        out.print(f"{escape(title)}: nothing of it is there")
        return
    if not dry_run:
        _show(plan, title, "text", err)
        own = deployment.settings.name
        if name is None:
            question = f"This cannot be undone. Type the name of the deployment ({own})"
            name = _answer(lambda: click.prompt(question, err=True), "removed", "give it with --name")
        if name != own:
            raise GimelError(f"{name} is not the name of this deployment, so nothing was removed", f"type {own}")
    _carry_out(deployment, plan, title, dry_run, form, yes=True, shown=not dry_run)
    if not dry_run:
        err.print("Redis keeps its data.")


@click.command("preflight")
@config_option
def preflight_command(config_file: Path | None) -> None:
    """Check credentials, rights, Redis and its settings, and change nothing."""
    findings = list(preflight.check(Deployment.load(config_file)))
    for finding in findings:
        out.print(_line(finding), soft_wrap=True)
    if any(finding.level is Level.ERROR for finding in findings):
        sys.exit(1)


@click.command("api-key")
@config_option
def api_key(config_file: Path | None) -> None:
    """Print the API key that reports and delete need."""
    deployment = Deployment.load(config_file)
    _, key = deployment.require_api()
    click.echo(deployment.key_value(key))


@click.command("permissions")
@config_option
def permissions_command(config_file: Path | None) -> None:
    """Print the policy of what you must be allowed to do."""
    click.echo(json.dumps(Deployment.load(config_file).permissions, indent=2))


COMMANDS = (deploy, rollback, destroy, preflight_command, api_key, permissions_command)


def _require_sound(deployment: Deployment) -> None:
    """Show what preflight finds. Raises GimelError where deploying cannot work."""
    sound = True
    # Without a spinner, which would wipe away botocore's question for a code of MFA.
    for finding in preflight.check(deployment):
        err.print(_line(finding), soft_wrap=True)
        sound &= finding.level is not Level.ERROR
    if not sound:
        raise GimelError("nothing was changed, because of the above", "mend it and run the same command again")


def _line(finding: Finding) -> str:
    # No arrow: not every terminal's encoding has one.
    cure = f" [dim]-> {escape(finding.cure)}[/]" if finding.cure else ""
    return f"{MARKS[finding.level]} {escape(finding.what)}{cure}"


def _carry_out(
    deployment: Deployment, plan: Plan, what: str, dry_run: bool, form: str, yes: bool, shown: bool = False
) -> bool:
    """Show the plan and, unless this is a dry run or there is nothing to do, ask and do it. Whether it stands now."""
    console = err if form == "json" and not dry_run else out
    if not shown:
        _show(plan, what, form if dry_run or form == "json" else "text", out if form == "json" else console)
    if dry_run:
        return False
    if not plan.steps:
        return True
    if not yes and not _answer(lambda: click.confirm("Do this?", err=True), "changed", "answer y, or use --yes"):
        err.print("Nothing was changed.")
        return False
    apply(deployment, plan)
    return True


def _answer(ask: Callable[[], Any], done: str, hint: str) -> Any:
    """What a person answers. Raises GimelError where nobody does."""
    try:
        return ask()
    except click.Abort:
        err.print()
        raise GimelError(f"there was no answer, so nothing was {done}", hint) from None


def _show(plan: Plan, what: str, form: str, console: Console) -> None:
    if form == "json":
        click.echo(steps.as_json(plan))
        return
    told = steps.rehearse(plan)
    title = f"{len(told)} steps" if len(told) > 1 else f"{len(told)} step" if told else "no changes"
    console.print(f"{escape(what)}: {title}", soft_wrap=True)
    for step in told:
        console.print(f"{step['step']:>4}  {escape(step['does'])}", soft_wrap=True)
    for note in plan.notes:
        console.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)


def apply(deployment: Deployment, plan: Plan) -> dict[str, str]:
    """Do every step of a plan, showing how far it is. Raises GimelError, also where it is interrupted."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err) as progress:
        task = progress.add_task("", total=len(plan.steps))

        def perform(number: int, step: Step, params: Mapping[str, Any]) -> Mapping[str, Any]:
            progress.update(task, description=escape(step.does))
            try:
                answer = deployment.aws.perform(number, step, params)
            except KeyboardInterrupt:
                where = f"interrupted in step {number} of {len(plan.steps)}, {step.does}"
                raise GimelError(where, "run the same command again: it goes on from there") from None
            progress.advance(task)
            return answer

        known = steps.execute(plan, perform)
        progress.update(task, description="done")
    return known
