"""`gimel dashboard`: the page for a deployed API."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import click
from rich.markup import escape

from gimel.errors import ConfigError
from gimel.events import DEFAULT_NAMESPACE, read_namespace
from gimel.ops import api_client
from gimel.ops.aws.deployment import Deployment
from gimel.ops.server.app import App
from gimel.ops.server.proxy import Forwarder
from gimel.ops.server.tokens import Gate
from gimel.ops.server.wsgi import Server, end_on_signals

from .console import PORTS, browser_option, config_option, err, out, run_with_browser

HOST = "127.0.0.1"
PORT = 8003
"""The dashboard's usual one, so that a link to it is right the next time too."""


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
    run_with_browser(server, opened, browser)


def bound(app: App, port: int | None) -> Server:
    """A server at this port; None stands for the usual one, or a free one where that is taken."""
    if port is not None:
        return Server(app, HOST, port)
    try:
        return Server(app, HOST, PORT)
    except ConfigError:
        err.print(f"[yellow]Port {PORT} is taken, so links kept from another time do not lead here.[/]", soft_wrap=True)
        return Server(app, HOST, 0)


def find_deployment(config_file: Path | None) -> tuple[str, str]:
    """Address and key of the API that the configuration describes, with this machine's AWS credentials.

    Raises GimelError where none is deployed, or AWS does not tell.
    """
    deployment = Deployment.load(config_file)
    url, key = deployment.require_api()
    return url, deployment.key_value(key)
