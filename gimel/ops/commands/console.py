"""Shared by all commands: output (results to stdout, the rest to stderr), common options, and running a server."""

from __future__ import annotations

import codecs
import functools
import io
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from gimel.errors import ConfigError
from gimel.events import DEFAULT_NAMESPACE
from gimel.ops import formats
from gimel.ops.aws.findings import Finding
from gimel.ops.server.wsgi import Server, Stopped, stop_on_signals

out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)

PORTS = click.IntRange(0, 65535)

ASCII = str.maketrans("−–—×\u00a0\u202f\ufffd", "---x  ?") | {ord("…"): "...", ord("±"): "+/-"}
"""Stand-ins for signs that a terminal's encoding may lack."""

config_option = click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration file.")
data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=lambda: Path.home() / ".gimel" / "data",
    help="Folder of the embedded Redis, and of events that wait for Redis.",
)
namespace_option = click.option(
    "--namespace", default=DEFAULT_NAMESPACE, show_default=True, help="Namespace of the experiments."
)
browser_option = click.option("--browser/--no-browser", default=True, help="Open the page in a browser.")


Command = Callable[..., object]


def _key_options(name: str, kind: str) -> Callable[[Command], Command]:
    """Options for an API key of this kind, which the command gets by this name."""
    option = f"--{name.replace('_', '-')}"
    variable = f"GIMEL_{name.upper()}"

    def with_options(command: Command) -> Command:
        @click.option(
            option,
            name,
            envvar=variable,
            help=f"{kind}; default: ${variable}. Other users of this machine can see it here: prefer {option}-file.",
        )
        @click.option(
            f"{option}-file", type=click.Path(path_type=Path), help=f"File with the {kind}, on its first line."
        )
        @functools.wraps(command)
        def with_key(**given: Any) -> object:
            file = given.pop(f"{name}_file")
            if file:
                source = click.get_current_context().get_parameter_source(name)
                if source is ParameterSource.COMMANDLINE:
                    raise click.UsageError(f"use either {option} or {option}-file")
                given[name] = read_key(file, f"{option}-file")
            return command(**given)

        return with_key

    return with_options


key_option = _key_options("api_key", "API key")
read_key_option = _key_options("read_key", "API key that can only read")


def read_key(path: Path, option: str) -> str:
    """The API key in this file, which an option named. Raises ConfigError."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # some editors begin a file with a mark
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or "not valid UTF-8"
        raise ConfigError(f"cannot read the API key in {path} ({cause})", f"check {option}") from None
    if not lines or not lines[0].strip():
        raise ConfigError(f"{path} has no API key on its first line", "write the key there")
    return lines[0].strip()


def show_finding(finding: Finding, console: Console) -> None:
    """One line for a finding."""
    # ASCII only: not every terminal's encoding has an arrow.
    hint = f" [dim]-> {plain(finding.hint)}[/]" if finding.hint else ""
    console.print(f"{finding.level.value} {plain(finding.message)}{hint}", soft_wrap=True)


def plain(value: object) -> str:
    """Untrusted text, made safe for `out` and `err`. An error's cause is added unless its message includes it."""
    text, cause = str(value), getattr(value, "__cause__", None)
    return escape(formats.visible(f"{text} ({cause})" if cause and str(cause) not in text else text))


def write_any_text() -> None:
    """Make stdout and stderr replace characters that their encoding lacks: signs with ASCII, others with escapes."""
    codecs.register_error("gimel", _stand_in)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="gimel")


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    letters = error.object[error.start : error.end].translate(ASCII)
    return letters.encode("ascii", "backslashreplace").decode(), error.end


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[[int, int], object]]:
    """A bar in the terminal, moved by calling the result with what is done, and the whole."""
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as shown:
        task = shown.add_task(description, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


@contextmanager
def stoppable() -> Iterator[None]:
    """For a command that serves: Ctrl-C and other signals stop it, and it says so once it has cleaned up."""
    try:
        stop_on_signals()
        yield
    except Stopped:
        err.print("Interrupted.")
        raise
    out.print("Stopped.")


def run(server: Server, page: str | None = None) -> None:
    """Serve until Ctrl-C or a signal. Opens `page` in a browser, unless it is None."""

    def on_ready() -> None:
        out.print("Press Ctrl-C to stop.")
        sys.stdout.flush()
        if page:
            # The server is already bound, so the browser's request waits until it runs.
            threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()

    server.run(on_ready)
