"""The commands that use AWS. Results go to stdout, progress and questions to stderr."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TimeElapsedColumn

from gimel.access import READ, WRITE
from gimel.errors import GimelError
from gimel.ops.aws import logs, preflight, selftest
from gimel.ops.aws.deployment import Deployment, Live
from gimel.ops.aws.errors import Interrupted, NotConfirmed, PreflightFailed, SelfTestFailed
from gimel.ops.aws.findings import Level
from gimel.ops.aws.plan import api_key as api_keys
from gimel.ops.aws.plan import steps, undo
from gimel.ops.aws.plan.steps import Plan, Step
from gimel.ops.aws.plan.undo import Rollback
from gimel.ops.aws.redis_address import address
from gimel.snippet import snippet

from .console import config_option, err, out, plain, show_finding

DAY_S = 86_400
DRIFT = 2  # as of `terraform plan -detailed-exitcode`

yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
dry_option = click.option("--dry-run", is_flag=True, help="Show the plan without applying it.")
LOG_PERIOD_S = 300
LOG_RECORDS = 10
LOG_TRIES, LOG_RETRY_S = 5, 2
"""CloudWatch shows a line some seconds after it was written."""

FORMATS = click.Choice(["text", "json"])
format_option = click.option(
    "--format", "form", type=FORMATS, default="text", show_default=True, help="Format of the plan."
)


@click.command()
@config_option
@dry_option
@click.option("--exit-code", is_flag=True, help="With --dry-run: exit with 2 if there are changes to make.")
@format_option
@yes_option
def deploy(config_file: Path | None, dry_run: bool, exit_code: bool, form: str, yes: bool) -> None:
    """Create or update the deployment on AWS, to match the configuration. Safe to rerun at any time."""
    if exit_code and not dry_run:
        raise click.UsageError("--exit-code needs --dry-run")
    deployment = Deployment.load(config_file)
    # Without a spinner, which would erase botocore's prompt for an MFA code.
    if not _run_preflight(deployment, err):
        raise PreflightFailed("preflight failed, so nothing was changed", "fix the errors above and retry")
    with err.status("Reading the current deployment …"):
        before = deployment.observe()
        plan = deployment.plan(before)
    account, bundle = deployment.account, deployment.desired.bundle
    size = f"{len(bundle.data) / 1e6:.2f} MB, {'compiled for' if bundle.compiled else 'sources for'}"
    title = f"{deployment.names.base} in {account.region} (account {account.id}), which counts in "
    title += f"{address(deployment.config.redis)}; {size} {deployment.settings.runtime}"
    values = _confirm_and_apply(deployment, plan, title, dry_run, form, lambda: _confirm(yes))
    if exit_code and plan.steps:
        sys.exit(DRIFT)
    if values is None:
        return
    live, direct = deployment.live(values), deployment.live(values, direct=True)
    if form == "text":
        _show_addresses(deployment, live, config_file)
    if not _passes(deployment, live, direct, selftest.PATIENCE_S):
        _show_latest_records(deployment)
        raise _offer_rollback(deployment, live, direct, undo.restore(before, deployment.observe()), yes)
    if form == "text":
        out.print("\nFor your page:\n")
        click.echo(snippet(live.track_url))


def _show_addresses(deployment: Deployment, live: Live, config_file: Path | None) -> None:
    print_key = _print_key(config_file)
    out.print()
    for label, value in (
        ("Track URL:", live.track_url),
        ("Report URL:", f"{live.reports_url}/experiments"),
        ("Dashboard:", f"{live.reports_url}/"),
        ("API key:", print_key),
        ("or:", f"aws apigateway get-api-key --api-key {live.keys[WRITE]} --include-value --query value --output text"),
        ("Report:", f"gimel report --url {live.reports_url} --api-key $({print_key})"),
    ):
        out.print(f"{label:<12}{escape(value)}", soft_wrap=True)
    if record := deployment.dns_record():
        out.print(
            f"DNS record: {record.name} CNAME {record.target}\n"
            f"{'':<12}(at the apex of a zone: an alias record to it, hosted zone {record.zone})",
            soft_wrap=True,
        )


def _print_key(config_file: Path | None) -> str:
    return f"gimel api-key --config {shlex.quote(str(config_file))}" if config_file else "gimel api-key"


def _passes(deployment: Deployment, live: Live, direct: Live, patience_s: float = 0) -> bool:
    """Ask the deployed URL, show what is found, and return whether it counts events."""
    err.print("\nSelf-test of the deployed URL:")
    passed = True
    for finding in selftest.check(deployment, live, direct, patience_s):
        show_finding(finding, err)
        passed &= finding.level is not Level.ERROR
    return passed


def _show_latest_records(deployment: Deployment) -> None:
    """Show what the functions wrote about failures in these minutes."""
    records: list[logs.Record] = []
    try:
        for _ in range(LOG_TRIES):
            records = logs.read(deployment, sorted(deployment.functions), LOG_PERIOD_S)
            if records:
                break
            time.sleep(LOG_RETRY_S)
    except GimelError as error:
        err.print(plain(error), soft_wrap=True)
        return
    err.print("The functions' logs:" if records else "The functions' logs say nothing about it yet: see `gimel logs`.")
    show_records(records[-LOG_RECORDS:], err)


def show_records(records: Sequence[logs.Record], console: Console) -> None:
    """Show what functions wrote, with time and function."""
    for one in records:
        console.print(f"[dim]{one.when}[/]  {plain(one.function)}  {plain(one.text)}", soft_wrap=True)


def _offer_rollback(deployment: Deployment, live: Live, direct: Live, way_back: Plan, yes: bool) -> SelfTestFailed:
    """Ask whether to roll back, if there is a way, and do it. Returns the error with which deploy ends."""
    failed, fix = "everything is deployed, but events are not counted", "fix the cause above and deploy again"
    if not way_back.steps:
        return SelfTestFailed(failed, fix)
    if yes or not _wants_rollback():
        return SelfTestFailed(failed, f"{fix}; or go back with `gimel rollback`")
    _apply(deployment, way_back)
    if not _passes(deployment, live, direct):
        return SelfTestFailed("rolled back, but events are still not counted", fix)
    return SelfTestFailed("the new release did not count events and was rolled back; the one before does", fix)


def _wants_rollback() -> bool:
    try:
        return click.confirm("Roll back to the release that was live before?", err=True)
    except click.Abort:
        err.print()
        return False


@click.command()
@config_option
@click.option(
    "--to",
    "release",
    help="Release, as listed by the description of the alias live; default: the one that was live before.",
)
@click.option("--to-other-redis", is_flag=True, help="Go back even to a release that counts in another Redis.")
@dry_option
@format_option
@yes_option
def rollback(
    config_file: Path | None, release: str | None, to_other_redis: bool, dry_run: bool, form: str, yes: bool
) -> None:
    """Roll all functions back to the release that was live before."""
    deployment = Deployment.load(config_file)
    plan = deployment.plan_rollback(release)
    title = f"roll back {deployment.names.base} in {deployment.account.region} to release {plan.release}"

    def confirm() -> bool:
        return _confirm(yes) if to_other_redis or plan.redis == plan.now else _confirm_other_redis(plan, yes)

    if _confirm_and_apply(deployment, plan, title, dry_run, form, confirm) is None:
        return
    existing = deployment.observe()
    if not _passes(deployment, deployment.live_at(existing), deployment.live_at(existing, direct=True)):
        _show_latest_records(deployment)
        raise SelfTestFailed("rolled back, but events are not counted", "fix the cause above, or deploy again")


@click.command()
@config_option
@click.option("--name", help="Name of the deployment, instead of typing it to confirm.")
@dry_option
@format_option
def destroy(config_file: Path | None, name: str | None, dry_run: bool, form: str) -> None:
    """Delete everything that deploy created on AWS. Redis keeps its data."""
    deployment = Deployment.load(config_file)
    plan, base, region = deployment.plan_removal(), deployment.names.base, deployment.account.region
    title = f"delete {base} from {region}" if plan.steps else f"nothing of {base} to delete in {region}"
    own = deployment.settings.name
    applied = _confirm_and_apply(deployment, plan, title, dry_run, form, lambda: _confirm_name(own, name))
    if applied is not None and plan.steps:
        err.print("Redis keeps its data.")


@click.command("preflight")
@config_option
def preflight_command(config_file: Path | None) -> None:
    """Check credentials, permissions and Redis, without changing anything."""
    if not _run_preflight(Deployment.load(config_file), out):
        sys.exit(1)


@click.command("api-key")
@config_option
@click.option("--read", is_flag=True, help="The key that can only read reports.")
@click.option("--rotate", is_flag=True, help="Replace the key, with a deploy.")
@click.option(
    "--overlap",
    type=click.IntRange(0, 365),
    default=7,
    show_default=True,
    help="With --rotate: how many days the old key stays valid.",
)
@dry_option
@yes_option
def api_key(config_file: Path | None, read: bool, rotate: bool, overlap: int, dry_run: bool, yes: bool) -> None:
    """Print the API key that can read, change and delete, or with --read the one that can only read."""
    deployment, kind = Deployment.load(config_file), READ if read else WRITE
    if rotate:
        _rotate(deployment, kind, int(time.time()) + overlap * DAY_S, dry_run, yes, _print_key(config_file))
    else:
        click.echo(deployment.key_value(deployment.require_live(), kind))


def _rotate(deployment: Deployment, kind: str, until: int, dry_run: bool, yes: bool, print_key: str) -> None:
    """Replace the key of this kind. The old one is valid until that second since 1970; `print_key` prints the new."""
    plan = deployment.plan(api_keys.replaced(deployment.observe(), kind, until))
    title = f"replace the {kind} key of {deployment.names.base} in {deployment.account.region}"
    values = _confirm_and_apply(deployment, plan, title, dry_run, "text", lambda: _confirm(yes))
    if values is None:
        return
    if not _passes(deployment, deployment.live(values), deployment.live(values, direct=True), selftest.PATIENCE_S):
        raise SelfTestFailed("the key is replaced, but events are not counted", "fix the cause above and deploy again")
    new = escape(print_key) + " --read" * (kind == READ)
    out.print(f"The old key is valid until {api_keys.at(until)}. The new one: {new}", soft_wrap=True)


@click.command("permissions")
@config_option
def permissions_command(config_file: Path | None) -> None:
    """Print the IAM policy that you need to deploy."""
    click.echo(json.dumps(Deployment.load(config_file).permissions, indent=2))


COMMANDS = (deploy, rollback, destroy, preflight_command, api_key, permissions_command)


def _run_preflight(deployment: Deployment, console: Console) -> bool:
    """Show the findings of preflight. Returns whether none of them is an error."""
    passed = True
    for finding in preflight.check(deployment):
        show_finding(finding, console)
        passed &= finding.level is not Level.ERROR
    return passed


def _confirm_and_apply(
    deployment: Deployment, plan: Plan, title: str, dry_run: bool, form: str, confirm: Callable[[], bool]
) -> Mapping[str, str] | None:
    """Show the plan and, unless this is a dry run, confirm and apply it.

    Returns the values of the plan's `Ref`s if AWS now matches it; else None.
    """
    _show(plan, title, form)
    if dry_run:
        return None
    if plan.steps and not confirm():
        err.print("Nothing was changed.")
        return None
    return _apply(deployment, plan) if plan.steps else plan.values


def _show(plan: Plan, title: str, form: str) -> None:
    if form == "json":
        click.echo(steps.as_json(plan, title))
        return
    rows = steps.dry_run(plan)
    count = f"{len(rows)} steps" if len(rows) > 1 else f"{len(rows)} step" if rows else "no changes"
    out.print(f"{escape(title)}: {count}", soft_wrap=True)
    for row in rows:
        out.print(f"{row['step']:>4}  {escape(row['description'])}", soft_wrap=True)
    for note in plan.notes:
        out.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)


def _confirm(yes: bool) -> bool:
    return yes or bool(ask(lambda: click.confirm("Apply this plan?", err=True), "answer y, or use --yes"))


def _confirm_name(own: str, name: str | None) -> bool:
    """Whether the deployment's name was given. Raises NotConfirmed."""
    if name is None:
        question = f"This cannot be undone. To confirm, type the name of the deployment ({own})"
        name = ask(lambda: click.prompt(question, err=True), "type the name, or use --name")
    if name != own:
        raise NotConfirmed(f"{name} is not the name of this deployment, so nothing was changed", f"type {own}")
    return True


def _confirm_other_redis(plan: Rollback, yes: bool) -> bool:
    """Whether the address of the other Redis was typed. Raises NotConfirmed."""
    hint = "add --to-other-redis if that is what you want"
    if yes:
        message = f"release {plan.release} counts in {plan.redis}, but the functions now use {plan.now}"
        raise NotConfirmed(f"{message}; nothing was changed", hint)
    question = f"Events would be counted in another Redis. To confirm, type its address ({plan.redis})"
    if (typed := ask(lambda: click.prompt(question, err=True), hint)) != plan.redis:
        raise NotConfirmed(f"{typed} is not the address of that Redis, so nothing was changed", f"type {plan.redis}")
    return True


def ask(question: Callable[[], Any], hint: str) -> Any:
    """The answer to a question. Raises NotConfirmed if there is none."""
    try:
        return question()
    except click.Abort:
        err.print()
        raise NotConfirmed("no answer was given, so nothing was changed", hint) from None


def _apply(deployment: Deployment, plan: Plan) -> Mapping[str, str]:
    """Perform every step of a plan and show the progress. Returns the values of its `Ref`s.

    Raises StepFailed and Interrupted.
    """
    columns = (SpinnerColumn(), "{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err) as progress:
        task = progress.add_task("", total=len(plan.steps))

        def perform(number: int, step: Step, params: Mapping[str, Any]) -> Mapping[str, Any]:
            progress.update(task, description=escape(step.description))
            try:
                response = deployment.aws.perform(number, step, params)
            except KeyboardInterrupt:
                message = f"interrupted during step {number} of {len(plan.steps)}: {step.description}"
                hint = "rerun the command; it resumes where it stopped"
                raise Interrupted(message, hint, number, step.description) from None
            progress.advance(task)
            return response

        values = steps.execute(plan, perform)
        progress.update(task, description="done")
    return values
