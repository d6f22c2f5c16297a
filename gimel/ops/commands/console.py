"""Shared by all commands: output (results to stdout, the rest to stderr), common options, and running a server."""

from __future__ import annotations

import codecs
import io
import sys
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from gimel.events import DEFAULT_NAMESPACE
from gimel.ops import formats
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
    help="Data folder of the embedded Redis.",
)
key_option = click.option("--api-key", envvar="GIMEL_API_KEY", help="API key; default: $GIMEL_API_KEY.")
namespace_option = click.option(
    "--namespace", default=DEFAULT_NAMESPACE, show_default=True, help="Namespace of the experiments."
)
browser_option = click.option("--browser/--no-browser", default=True, help="Open the page in a browser.")


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
