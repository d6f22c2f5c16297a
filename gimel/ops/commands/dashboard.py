"""`gimel dashboard` and `gimel invite`: the dashboard of a deployed API, and links to it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import click
from rich.markup import escape

from gimel import config
from gimel.access import READ, WRITE
from gimel.errors import ConfigError
from gimel.events import DEFAULT_NAMESPACE, read_namespace
from gimel.ops import api_client
from gimel.ops.aws.deployment import Deployment
from gimel.ops.server.app import App
from gimel.ops.server.proxy import Forwarder
from gimel.ops.server.tokens import SessionTokens
from gimel.ops.server.wsgi import PortTaken, Server

from .console import (
    PORTS,
    browser_option,
    config_option,
    err,
    key_option,
    namespace_option,
    out,
    read_key_option,
    run,
    stoppable,
)

HOST = "127.0.0.1"
PORT = 8003
"""The default port: the same each time, so that links keep working."""


@click.command()
@click.option("--namespace", default=DEFAULT_NAMESPACE, show_default=True, help="Namespace to show first.")
@click.option("--url", help="URL of the API; default: the API deployed with your AWS credentials.")
@key_option
@click.option("--port", type=PORTS, help=f"Port; 0: any free port; default: {PORT}, or a free port if that is taken.")
@browser_option
@config_option
@stoppable()
def dashboard(
    namespace: str, url: str | None, api_key: str | None, port: int | None, browser: bool, config_file: Path | None
) -> None:
    """Show a deployed API's experiments in the browser. The page never sees the API key."""
    read_namespace({"namespace": namespace})
    if url is None:
        base, track_url, api_key = find_deployment(config_file)
    else:
        track_path = config.load(config_file).track_path
        base, track_url = api_client.base_url(url, track_path), api_client.track_url(url, track_path)
    tokens = SessionTokens()
    api = Forwarder(base, track_url, api_key, tokens)
    server = bind(App(api.answer, admit=api.admit), port)
    view = {"namespace": namespace} if namespace != DEFAULT_NAMESPACE else {}
    # Browsers never send a server what follows the `#`, and the page removes the secret from its address.
    printed, opened = (f"{server.url}/#{urlencode({**view, 'token': each})}" for each in (tokens.token, tokens.ticket))
    out.print(f"The dashboard is at {escape(printed)}   (API: {escape(base)})", soft_wrap=True)
    run(server, opened if browser else None)


@click.command()
@namespace_option
@click.option("--experiment", help="Experiment to show first.")
@click.option("--url", help="URL of the API; default: the API deployed with your AWS credentials.")
@read_key_option
@config_option
def invite(
    namespace: str, experiment: str | None, url: str | None, read_key: str | None, config_file: Path | None
) -> None:
    """Print a link to the dashboard that carries the read key: whoever opens it can read all reports."""
    read_namespace({"namespace": namespace})
    if url is None:
        base, _, read_key = find_deployment(config_file, READ)
    else:
        base = api_client.base_url(url, config.load(config_file).track_path)
        if not read_key:
            raise click.UsageError("with --url, name the read key: --read-key-file or GIMEL_READ_KEY")
        (first, *_) = api_client.fetch_report(base, read_key, {"namespace": namespace, "limit": "1"}) or [{}]
        if first.get("meta", {}).get("access") != READ:
            hint = "pass the read key; an API with only one kind of key has none"
            raise ConfigError("this key can also change and delete experiments", hint)
    view = {"namespace": namespace if namespace != DEFAULT_NAMESPACE else "", "experiment": experiment}
    fragment = urlencode({name: value for name, value in (view | {"key": read_key}).items() if value})
    click.echo(f"{base}/#{fragment}")


def bind(app: App, port: int | None) -> Server:
    """A server at this port; None means the default port, or any free one if that is taken."""
    try:
        return Server(app, HOST, PORT if port is None else port)
    except PortTaken:
        if port is not None:
            raise
    err.print(f"[yellow]Port {PORT} is taken, so this dashboard has a different address than usual.[/]", soft_wrap=True)
    return Server(app, HOST, 0)


def find_deployment(config_file: Path | None, kind: str = WRITE) -> tuple[str, str, str]:
    """Base URL, track URL and API key of this kind of the deployed API that the configuration describes.

    Raises GimelError if there is none, or AWS cannot be asked.
    """
    deployment = Deployment.load(config_file)
    live = deployment.require_live()
    return live.reports_url, live.track_url, deployment.key_value(live, kind)
