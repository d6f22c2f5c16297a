"""`gimel dashboard` and `gimel demo`: the page for a deployed API, and for made-up experiments."""

from __future__ import annotations

import tempfile
import threading
import webbrowser
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode

import click
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from gimel import config, connection
from gimel.errors import ConfigError
from gimel.events import DEFAULT_NAMESPACE, read_namespace
from gimel.ops import api_client
from gimel.ops.aws.deployment import Deployment
from gimel.ops.server import demo as stories
from gimel.ops.server import redis_process
from gimel.ops.server.app import App, Server, end_on_signals
from gimel.ops.server.proxy import Forwarder
from gimel.ops.server.tokens import Gate

from .console import PORTS, config_option, err, out

HOST = "127.0.0.1"
PORT = 8003
"""The dashboard's usual one, so that a link to it is right the next time too."""

browser_option = click.option("--browser/--no-browser", default=True, help="Whether to open the page in a browser.")


@click.command()
@click.option("--namespace", default=DEFAULT_NAMESPACE, show_default=True, help="Namespace to show first.")
@click.option("--url", help="Address of the API; default: the one deployed with the AWS credentials found here.")
@click.option("--api-key", envvar="GIMEL_API_KEY", help="Its API key, if --url is given; default: $GIMEL_API_KEY.")
@click.option("--port", type=PORTS, help=f"Port; default: {PORT}, or a free one if that is taken. 0: a free one.")
@browser_option
@config_option
def dashboard(
    namespace: str, url: str | None, api_key: str | None, port: int | None, browser: bool, config_file: Path | None
) -> None:
    """Show the experiments of a deployed API in the browser, without giving the page the API key."""
    end_on_signals()
    read_namespace({"namespace": namespace})
    if url is None:
        url, api_key = find_deployment(config_file)
    base = api_client.base_of(url)
    gate = Gate()
    server = bound(Forwarder(url=base, key=api_key, gate=gate), port)
    view = {"namespace": namespace} if namespace != DEFAULT_NAMESPACE else {}
    # After the `#`, which is sent to no server, and which the page takes out of its address.
    printed, opened = (f"{server.url}/#{urlencode({**view, 'token': way})}" for way in (gate.token, gate.ticket))
    out.print(f"The dashboard is at {escape(printed)}   (API: {escape(base)})", soft_wrap=True)
    _run(server, opened, browser)


def bound(app: App, port: int | None) -> Server:
    """A server at this port; None stands for the usual one, or a free one where that is taken."""
    if port is not None:
        return Server(app, HOST, port)
    try:
        return Server(app, HOST, PORT)
    except ConfigError:
        err.print(f"[yellow]Port {PORT} is taken, so links kept from another time do not lead here.[/]", soft_wrap=True)
        return Server(app, HOST, 0)


@click.command()
@click.option("--port", default=0, type=PORTS, help="Port; default: a free one.")
@browser_option
def demo(port: int, browser: bool) -> None:
    """Show made-up experiments in the browser; nothing is kept."""
    end_on_signals()
    with ExitStack() as stack:
        use_stories(stack)
        server = Server(App(is_demo=True), HOST, port)
        out.print(f"The demo is at {server.url}", soft_wrap=True)
        _run(server, server.url, browser)


def _run(server: Server, address: str, browser: bool) -> None:
    out.print("Ctrl-C ends it.")
    if browser:
        # The server is bound already: a page asked for now is answered as soon as it runs.
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    server.run()
    out.print("Ended.")


def use_stories(stack: ExitStack) -> str:
    """Make the handlers use made-up experiments, in a Redis and a folder that are gone afterwards; say which.

    Neither the configuration's Redis nor the user's data is touched. Raises ConfigError where there is no Redis.
    """
    binary = redis_process.find_server()
    if binary is None:
        hint = "install the Debian package redis-server, or `pip install 'gimel[local]'`"
        raise ConfigError("the demo needs a redis-server", hint)
    # A short name: the path of a Unix socket has little room.
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gimel-")))
    server = stack.enter_context(redis_process.EmbeddedRedis(folder / "r", binary))
    config.use(stories.configured(server.url, folder))
    connection.use(None)
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("Visitors arrive")
        stories.fill(connection.current(), lambda done, total: progress.update(task, completed=done, total=total))
    return "made-up experiments, gone when this ends"


def find_deployment(config_file: Path | None) -> tuple[str, str]:
    """Address and key of the API that the configuration describes, with this machine's AWS credentials.

    Raises GimelError where none is deployed, or AWS does not tell.
    """
    deployment = Deployment.load(config_file)
    url, key = deployment.require_api()
    return url, deployment.key_value(key)
