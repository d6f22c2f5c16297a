"""What all commands share: results go to stdout and all else to stderr; and options that several have."""

from __future__ import annotations

import threading
import webbrowser
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from gimel.errors import GimelError
from gimel.ops import formats
from gimel.ops.server.redis_process import default_folder
from gimel.ops.server.wsgi import Server

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

PORTS = click.IntRange(0, 65535)

config_option = click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration file.")
data_option = click.option(
    "--data", type=click.Path(path_type=Path), default=default_folder, help="Folder of the embedded Redis."
)
key_option = click.option("--api-key", envvar="GIMEL_API_KEY", help="API key; default: $GIMEL_API_KEY.")
browser_option = click.option("--browser/--no-browser", default=True, help="Whether to open the page in a browser.")


def plain(text: str) -> str:
    """Text that may come from anywhere, for `out` and `err`."""
    return escape(formats.visible(text))


def with_cause(error: GimelError) -> str:
    """An error and, where it does not say so itself, what caused it."""
    cause = error.__cause__
    return f"{error} ({cause})" if cause and str(cause) not in str(error) else str(error)


def run_with_browser(server: Server, address: str, browser: bool) -> None:
    """Serve until the process is told to end, with the page at `address` open in a browser if wanted."""
    out.print("Press Ctrl-C to stop.")
    if browser:
        # The server is bound already: a page asked for now is answered as soon as it runs.
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    server.run()
    out.print("Stopped.")
