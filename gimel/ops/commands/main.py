"""The `gimel` command, and its commands that need no AWS."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import click
import redis
from rich.markup import escape

import gimel
from gimel import config, connection, counters
from gimel.errors import ConfigError, GimelError, StoreUnavailable
from gimel.gateway import Request
from gimel.ops import formats, resources
from gimel.ops.addresses import is_loopback
from gimel.ops.api_client import fetch_report
from gimel.ops.server import app, assets, redis_process
from gimel.ops.snippet import snippet

from . import deployment
from .console import PORTS, config_option, err, out
from .dashboard import dashboard, demo, use_stories

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=redis_process.default_folder,
    help="Folder of the embedded Redis.",
)
key_option = click.option("--api-key", envvar="GIMEL_API_KEY", help="API key; default: $GIMEL_API_KEY.")


class Commands(click.Group):
    """Commands whose mistakes are told in plain words, without a stack trace."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except GimelError as error:
            err.print(f"[red]Error:[/] {_plain(_with_cause(error))}", soft_wrap=True)
            sys.exit(1)


def _with_cause(error: GimelError) -> str:
    cause = error.__cause__
    return f"{error} ({cause})" if cause and str(cause) not in str(error) else str(error)


def _plain(text: str) -> str:
    return escape(formats.visible(text))


@click.group(cls=Commands)
@click.version_option(gimel.__version__)
def main() -> None:
    """Run your own A/B testing backend."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a letter shows its number instead.
            stream.reconfigure(errors="backslashreplace")


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=PORTS, help="Port; 0 takes a free one.")
@data_option
@config_option
@key_option
@click.option(
    "--alephbet",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="alephbet.min.js for /example, instead of the one from a CDN.",
)
@click.option("--demo", "is_demo", is_flag=True, help="Show made-up experiments, in a folder of their own.")
def serve(
    host: str,
    port: int,
    data: Path,
    config_file: Path | None,
    api_key: str | None,
    alephbet: Path | None,
    is_demo: bool,
) -> None:
    """Answer events and reports on this machine, as the deployed functions would."""
    app.end_on_signals()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    if not api_key and not is_loopback(host):
        hint = "give one with --api-key or GIMEL_API_KEY"
        raise ConfigError(f"on {host}, others can reach reports and delete, so they need an API key", hint)
    with ExitStack() as stack:
        where = use_stories(stack) if is_demo else _use_redis(config.load(config_file), data, stack)
        server = app.Server(app.App(api_key or None, alephbet, is_demo), host, port)
        track = f"{server.url}/track"
        out.print(f"Gimel answers at {server.url}   (Redis: {_plain(where)})", soft_wrap=True)
        out.print(f"Dashboard:       {server.url}/", soft_wrap=True)
        out.print(f"Track URL:       {track}", soft_wrap=True)
        out.print(f"Try it:          {server.url}/example", soft_wrap=True)
        out.print("For your page:\n", soft_wrap=True)
        click.echo(snippet(track))
        out.print("Ctrl-C ends it.")
        sys.stdout.flush()
        server.run()
    out.print("Ended.")


def _use_redis(found: config.Config, data: Path, stack: ExitStack) -> str:
    """Make the handlers use the configured Redis, else an embedded one; say which."""
    config.use(found)
    if found.redis_settings:
        client = connection.current()
        try:
            counters.ping(client)
        except StoreUnavailable as error:
            # No reason to end: Redis may come back, and browsers keep their events until then.
            err.print(f"[yellow]Warning:[/] {_plain(_with_cause(error))}", soft_wrap=True)
        return "as configured"
    binary = redis_process.find_server()
    if binary:
        server = stack.enter_context(redis_process.EmbeddedRedis(data, binary))
        config.use(replace(found, redis_settings=config.RedisSettings(url=server.url)))
        return f"embedded, keeps its data in {server.folder}"
    err.print(
        "[yellow]Warning:[/] there is no redis-server here, so nothing will be kept when this ends.\n"
        "Install the Debian package redis-server or `pip install 'gimel[local]'`.",
        soft_wrap=True,
    )
    connection.use(_fake_redis())
    return "an imitation in memory"


def _fake_redis() -> redis.Redis:
    try:
        import fakeredis
    except ImportError:
        hint = "install the Debian package redis-server, or `pip install 'gimel[local]'`"
        raise ConfigError("there is no Redis here", hint) from None
    return fakeredis.FakeRedis()


@main.command()
@click.argument("experiments", nargs=-1)
@click.option("--namespace", default="alephbet", show_default=True, help="Namespace of the experiments.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv", "html"]), default="table", show_default=True
)
@click.option("--url", help="Address of a deployed API, instead of Redis.")
@key_option
@config_option
@data_option
def report(
    experiments: tuple[str, ...],
    namespace: str,
    form: str,
    url: str | None,
    api_key: str | None,
    config_file: Path | None,
    data: Path,
) -> None:
    """Show the counts of all experiments, or of those named."""
    params = {"namespace": namespace}
    if experiments and not any("," in name for name in experiments):
        params["scope"] = ",".join(experiments)
    if url:
        items = fetch_report(url, api_key, params)
    else:
        with _reading_redis(config_file, data):
            items = cast("list[dict[str, Any]]", gimel.all.handle(Request(params)).value)
    found = [
        item for item in items if item.get("experiment") and (not experiments or item["experiment"] in experiments)
    ]
    empty = [item["experiment"] for item in found if not item["goals"] and not item.get("participants")]
    found = [item for item in found if item["experiment"] not in empty]
    unknown = sorted(set(experiments) - {item["experiment"] for item in found})
    for name in unknown:
        err.print(f"[yellow]There is no experiment {_plain(repr(name))} in namespace {_plain(repr(namespace))}.[/]")
    # Files are UTF-8, whatever the terminal is.
    if form == "json":
        click.echo(formats.as_json(found).encode())
    elif form == "csv":
        click.echo(formats.as_csv(found).encode(), nl=False)
    elif form == "html":
        click.echo(assets.snapshot(found, namespace).encode(), nl=False)
    elif found:
        out.print(formats.as_text(found))
    elif not experiments:
        err.print(f"Nothing has been tracked in namespace {_plain(repr(namespace))} yet.")
    if unknown:
        sys.exit(1)


@contextmanager
def _reading_redis(config_file: Path | None, data: Path) -> Iterator[None]:
    found = config.load(config_file)
    with ExitStack() as stack:
        if not found.redis_settings:
            url = stack.enter_context(redis_process.reachable(data))
            found = replace(found, redis_settings=config.RedisSettings(url=url))
        config.use(found)
        yield


@main.command()
@config_option
@click.option("--force", is_flag=True, help="Write over an existing file.")
@click.option("--edit", is_flag=True, help="Open the file in your editor.")
def configure(config_file: Path | None, force: bool, edit: bool) -> None:
    """Write a configuration file to start from."""
    path = config_file or Path(os.environ.get("GIMEL_CONFIG") or Path.home() / ".gimel" / "config.json")
    if force or not (edit and path.exists()):
        resources.write(path, force)
        out.print(f"Wrote {_plain(str(path))}", soft_wrap=True)
    if edit:
        click.edit(filename=os.fspath(path))


for command in (dashboard, demo, *deployment.COMMANDS):
    main.add_command(command)

if __name__ == "__main__":
    main()
