"""`gimel bundle`: the zip, and what to enter with it, for a deployment by hand."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from gimel.errors import ConfigError
from gimel.ops import resources
from gimel.ops.aws import by_hand

from .console import config_option, out, plain


@click.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@config_option
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Output format."
)
def bundle(path: Path, config_file: Path | None, form: str) -> None:
    """Write the zip for AWS Lambda to PATH, and print what to enter with it by hand. Does not ask AWS."""
    if path.exists() and not zipfile.is_zipfile(path):
        raise ConfigError(f"{path} exists, and is not a zip", "choose another name, such as gimel.zip")
    wanted, described = by_hand.build(config_file)
    resources.save(path, wanted.bundle.data)
    described = {"zip": str(path), "bytes": len(wanted.bundle.data), **described, "notes": list(wanted.notes)}
    if form == "json":
        click.echo(json.dumps(described, ensure_ascii=False, indent=2).encode())
        return
    for line in _lines(described):
        out.print(plain(line), soft_wrap=True)


def _lines(described: Mapping[str, Any]) -> Iterator[str]:
    how = "compiled" if described["compiled"] else "sources only"
    yield f"Wrote {described['zip']}: {described['bytes'] / 1e6:.2f} MB, {how}, CodeSha256 {described['sha256']}"
    yield f"\nRuntime {described['runtime']}, architecture {described['architecture']}"
    role = described["role"]
    yield f"Role for Lambda with the policy {role['managed_policy']}"
    yield from (f"  and the right to {action} of {', '.join(arns)}" for action, arns in role["allow"].items())
    yield "\nFunctions"
    for function in described["functions"]:
        size = f"{function['memory_mb']} MB, {function['timeout_s']} s"
        yield f"  {function['name']:<25} handler {function['handler']}, {size}"
        yield from (f"    {name}={value}" for name, value in function["variables"].items())
        yield from (f"    {name}: ({what})" for name, what in function["variables_to_enter"].items())
    schedule = described["schedule"]
    yield f"\nSchedule: a rule of EventBridge, {schedule['expression']}, which invokes {schedule['function']}"
    types = ", ".join(described["binary_media_types"])
    yield f"\nRoutes of a REST API, as proxy integrations; binary media types: {types}"
    for route in described["routes"]:
        key = ", with API key" if route["needs_key"] else ""
        yield f"  {route['method']:<7} {route['path']:<13} {route['function']}{key}"
    yield "\nVariables of its stage"
    yield from (f"  {name}: ({what})" for name, what in described["stage_variables"].items())
    yield from (f"note: {note}" for note in described["notes"])
