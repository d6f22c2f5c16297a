"""`gimel serve` and `gimel demo`: the local server, on a Redis of its own or the configured one."""

from __future__ import annotations

import logging
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import click
import redis
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from gimel import config, connection, counters
from gimel.errors import ConfigError, StoreUnavailable
from gimel.ops.addresses import is_loopback
from gimel.ops.server import demo as stories
from gimel.ops.server import redis_process
from gimel.ops.server.app import App
from gimel.ops.server.wsgi import Server, end_on_signals
from gimel.ops.snippet import snippet

from .console import (
    PORTS,
    browser_option,
    config_option,
    data_option,
    err,
    key_option,
    out,
    plain,
    run_with_browser,
    with_cause,
)

LOOPBACK = "127.0.0.1"


@click.command()
@click.option("--host", default=LOOPBACK, show_default=True, help="Address to listen on.")
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
    end_on_signals()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    if not api_key and not is_loopback(host):
        hint = "give one with --api-key or GIMEL_API_KEY"
        raise ConfigError(f"on {host}, others can reach reports and delete, so they need an API key", hint)
    with ExitStack() as stack:
        where = use_stories(stack) if is_demo else _use_redis(config.load(config_file), data, stack)
        server = Server(App(api_key or None, alephbet, is_demo), host, port)
        track = f"{server.url}/track"
        out.print(f"Gimel is running at {server.url}   (Redis: {plain(where)})", soft_wrap=True)
        out.print(f"Dashboard:       {server.url}/", soft_wrap=True)
        out.print(f"Track URL:       {track}", soft_wrap=True)
        out.print(f"Try it:          {server.url}/example", soft_wrap=True)
        out.print("For your page:\n", soft_wrap=True)
        click.echo(snippet(track))
        out.print("Press Ctrl-C to stop.")
        sys.stdout.flush()
        server.run()
    out.print("Stopped.")


def _use_redis(found: config.Config, data: Path, stack: ExitStack) -> str:
    """Make the handlers use the configured Redis, else an embedded one; say which."""
    connection.use(found)
    if found.redis_settings:
        client = connection.client()
        try:
            counters.ping(client)
        except StoreUnavailable as error:
            # No reason to end: Redis may come back, and browsers keep their events until then.
            err.print(f"[yellow]Warning:[/] {plain(with_cause(error))}", soft_wrap=True)
        return "as configured"
    binary = redis_process.find_server()
    if binary:
        server = stack.enter_context(redis_process.EmbeddedRedis(data, binary))
        connection.use(replace(found, redis_settings=config.RedisSettings(url=server.url)))
        return f"embedded, data in {server.folder}"
    err.print(
        "[yellow]Warning:[/] there is no redis-server here, so nothing will be kept when this ends.\n"
        "Install the Debian package redis-server or `pip install 'gimel[local]'`.",
        soft_wrap=True,
    )
    connection.use(found, _fake_redis())
    return "in-memory fakeredis (nothing is saved)"


def _fake_redis() -> redis.Redis:
    try:
        import fakeredis
    except ImportError:
        hint = "install the Debian package redis-server, or `pip install 'gimel[local]'`"
        raise ConfigError("there is no Redis here", hint) from None
    return fakeredis.FakeRedis()


@click.command()
@click.option("--port", default=0, type=PORTS, help="Port; default: a free one.")
@browser_option
def demo(port: int, browser: bool) -> None:
    """Show made-up experiments in the browser; nothing is kept."""
    end_on_signals()
    with ExitStack() as stack:
        use_stories(stack)
        server = Server(App(is_demo=True), LOOPBACK, port)
        out.print(f"The demo is at {server.url}", soft_wrap=True)
        run_with_browser(server, server.url, browser)


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
    connection.use(stories.configured(server.url, folder))
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("Visitors arrive")
        stories.fill(connection.client(), lambda done, total: progress.update(task, completed=done, total=total))
    return "sample experiments, deleted on exit"
