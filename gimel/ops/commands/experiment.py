"""`gimel experiment`: an experiment's settings and status, shown and changed."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

import click
from rich.table import Table

import gimel
from gimel.errors import BadRequest
from gimel.gateway import Request
from gimel.lives import ARCHIVED, DECIDED, RUNNING, STOPPED, TEXTS
from gimel.ops.api_client import ApiError, fetch_report, request
from gimel.settings import EDITABLE

from .console import config_option, data_option, err, key_option, namespace_option, out, plain
from .report import exists, say_unknown
from .store import use_store

LISTS = ("goals", "per_visitor", "variants")
NUMBERS_BY_NAME = ("guardrails", "weights")


@dataclass(frozen=True)
class Target:
    """An experiment, in the API at `url` or else in Redis."""

    namespace: str
    name: str
    url: str | None
    api_key: str | None

    def read(self, scope: str) -> list[dict[str, Any]]:
        """The experiments in this scope, or all."""
        params = {"namespace": self.namespace, "scope": scope}
        if self.url:
            items = fetch_report(self.url, self.api_key, params)
        else:
            items = cast("list[dict[str, Any]]", gimel.all.handle(Request(params)).value)
        return [item for item in items if item.get("experiment")]

    def report(self) -> dict[str, Any]:
        """What is reported of it, or the end if there is no such experiment."""
        found = next((item for item in self.read(self.name) if item["experiment"] == self.name), None)
        if not found or not exists(found):
            say_unknown(self.name, self.namespace, self.read(""))
            sys.exit(1)
        return found

    def settings(self) -> dict[str, Any]:
        """Its settings, or the end if there is no such experiment."""
        found = self.report()
        if "settings" not in found:
            raise ApiError(f"{self.url} knows no settings", "deploy this version of Gimel")
        return cast("dict[str, Any]", found["settings"])

    def change(self, changes: Mapping[str, Any], version: int | None = None) -> None:
        """Change it and say so, or say what is wrong and end."""
        content = {"experiment": self.name, "namespace": self.namespace, "version": version, "changes": dict(changes)}
        if self.url:
            body = json.dumps(content).encode()
            answer = request(self.url, self.api_key, "/experiment", {}, "PUT", body, (200, 400, 409)).json()
        else:
            try:
                answer = gimel.experiment.handle(Request(method="PUT", content=content)).value
            except BadRequest as error:
                answer = {"problems": error.problems}
        if problems := answer.get("problems"):
            _refuse("", problems)
        settings = answer["settings"]
        changed = answer.get("changed")
        if changed and not settings["version"]:
            raise ApiError(answer["error"], answer["hint"])
        if changed:
            told = [f"{key}: was {_shown(one['was'])}, is {_shown(one['is'])}" for key, one in sorted(changed.items())]
            hint = f"Look at it, and repeat the command with --version {settings['version']}."
            _refuse(f", because others have changed the same since version {version}", told, hint)
        out.print(f"{plain(self.name)}: {settings['status']}, version {settings['version']}", soft_wrap=True)


@click.group()
def experiment() -> None:
    """Show or change the settings and the status of an experiment."""


def on_experiment(function: Callable[..., None]) -> Callable[..., object]:
    """The argument and options that name an experiment, which the command gets as a Target."""

    @click.argument("name")
    @namespace_option
    @click.option("--url", help="URL of a deployed API to use instead of Redis.")
    @key_option
    @config_option
    @data_option
    @functools.wraps(function)
    def with_target(
        *,
        name: str,
        namespace: str,
        url: str | None,
        api_key: str | None,
        config_file: Path | None,
        data: Path,
        **given: object,
    ) -> None:
        with nullcontext() if url else use_store(config_file, data):
            function(Target(namespace, name, url, api_key), **given)

    return with_target


version_option = click.option(
    "--version", type=click.IntRange(0), help="The version that you have seen; nothing newer is overwritten."
)
note_option = click.option("--note", help="Why.")


@experiment.command()
@on_experiment
@click.option("--format", "form", type=click.Choice(("table", "json")), default="table", help="Output format.")
def show(target: Target, form: str) -> None:
    """Show the status and the settings of the experiment NAME."""
    settings = target.settings()
    if form == "json":
        click.echo(json.dumps(settings, ensure_ascii=False, indent=2).encode())
        return
    out.print(f"[bold]{plain(target.name)}[/]: {settings['status']}, version {settings['version']}", soft_wrap=True)
    table = Table.grid(padding=(0, 2))
    for status, at in settings["dates"].items():
        table.add_row(f"  {status}", at)
    for key in (*TEXTS, *sorted(EDITABLE)):
        if settings[key] not in (None, ""):
            where = "[dim]set in config.json[/]" if key in settings["in_config"] else ""
            table.add_row(f"  {key}", plain(_shown(settings[key])), where)
    out.print(table)


@experiment.command("set")
@on_experiment
@click.argument("settings", nargs=-1, required=True, metavar="KEY=VALUE...")
@version_option
def set_(target: Target, settings: tuple[str, ...], version: int | None) -> None:
    """Change settings of the experiment NAME, or make a draft of a new one.

    KEY is hypothesis, owner, link, note, goal, guardrails, baseline, variants, weights, goals, per_visitor,
    smallest_change or planned_visitors. Lists are written as a,b and numbers by name as a=1,b=2, or either as JSON;
    nothing after the sign resets a key.
    """
    target.change(dict(map(_setting, settings)), version)


@experiment.command()
@on_experiment
@version_option
def start(target: Target, version: int | None) -> None:
    """Start the draft NAME, or count again what was stopped."""
    target.settings()  # or else a mistyped name would be a new experiment
    target.change({"status": RUNNING}, version)


@experiment.command()
@on_experiment
@note_option
@version_option
def stop(target: Target, note: str | None, version: int | None) -> None:
    """Stop the experiment NAME: within a minute its events are ignored, and its report stays as it is now."""
    if target.settings()["status"] == ARCHIVED:
        raise click.UsageError("it is archived, and counts nothing; `gimel experiment restore` shows it again")
    target.change({"status": STOPPED, **_said(note)}, version)


@experiment.command()
@on_experiment
@click.argument("decision")
@note_option
@version_option
def decide(target: Target, decision: str, note: str | None, version: int | None) -> None:
    """Record the DECISION on the experiment NAME: a variant, or other text such as "none".

    It keeps counting, but its headline stays as it is now.
    """
    target.change({"status": DECIDED, "decision": decision, **_said(note)}, version)


@experiment.command()
@on_experiment
@note_option
@version_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def archive(target: Target, note: str | None, version: int | None, yes: bool) -> None:
    """Archive the stopped or decided experiment NAME: its report is kept, its counters are deleted."""
    if not yes:
        question = f"Archive {plain(target.name)}? Its counters are deleted, and it can never run again"
        click.confirm(question, abort=True, err=True)
    target.change({"status": ARCHIVED, **_said(note)}, version)


@experiment.command()
@on_experiment
@version_option
def restore(target: Target, version: int | None) -> None:
    """Show the archived experiment NAME among the others again, as stopped. Its counters are gone."""
    status = target.settings()["status"]
    if status not in (ARCHIVED, STOPPED):
        raise click.UsageError(f"it is {status}, not archived")
    target.change({"status": STOPPED}, version)


def _refuse(why: str, told: Iterable[str], *hint: str) -> NoReturn:
    lines = (f"  {plain(one)}" for one in told)
    err.print(f"[red]Error:[/] nothing was changed{why}", *lines, *hint, sep="\n", soft_wrap=True)
    sys.exit(1)


def _said(note: str | None) -> dict[str, str]:
    return {} if note is None else {"note": note}


def _setting(text: str) -> tuple[str, Any]:
    """A key and its value for JSON. Raises click.BadParameter."""
    key, sign, value = text.partition("=")
    if not sign:
        raise click.BadParameter(f"{text!r} is not KEY=VALUE")
    if key in ("status", "decision"):  # which ask, or say more
        raise click.BadParameter(f"{key} is changed by start, stop, decide, archive and restore")
    if not value:
        return key, None
    try:
        if value.startswith(("[", "{")) and key in (*LISTS, *NUMBERS_BY_NAME):
            return key, json.loads(value)
        if key in LISTS:
            return key, [one.strip() for one in value.split(",")]
        if key in NUMBERS_BY_NAME:
            return key, {name.strip(): _number(number) for name, _, number in _pairs(value)}
        return key, _number(value) if key == "smallest_change" else value
    except ValueError:
        raise click.BadParameter(
            f"{key}: {value!r} is neither JSON nor as `gimel experiment set --help` says"
        ) from None


def _pairs(text: str) -> Iterator[tuple[str, str, str]]:
    return (one.rpartition("=") for one in text.split(","))


def _number(text: str) -> float:
    """A number, or a percentage."""
    return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, dict):
        return ", ".join(f"{name}={number:g}" for name, number in value.items())
    return "nothing" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
