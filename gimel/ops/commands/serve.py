"""`gimel serve` and `gimel demo`: the local server, with an embedded Redis or the configured one."""

from __future__ import annotations

import logging
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import click

from gimel import access, bots, config, connection, counters
from gimel.access import READ, WRITE, Key
from gimel.errors import ConfigError, StoreUnavailable
from gimel.gateway import cors_origin
from gimel.ops import known_bots, resources
from gimel.ops.addresses import is_loopback
from gimel.ops.api_client import base_url
from gimel.ops.server import demo as samples
from gimel.ops.server import redis_process, spool
from gimel.ops.server.app import App
from gimel.ops.server.folder import claim
from gimel.ops.server.hourly import Hourly
from gimel.ops.server.local import LocalApi
from gimel.ops.server.redis_process import INSTALL
from gimel.ops.server.wsgi import Server
from gimel.snippet import snippet

from .console import (
    PORTS,
    browser_option,
    config_option,
    data_option,
    err,
    key_option,
    out,
    plain,
    progress_bar,
    read_key_option,
    run,
    stoppable,
)

LOOPBACK = "127.0.0.1"


@click.command()
@click.option("--host", default=LOOPBACK, show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=PORTS, help="Port; 0: any free port.")
@data_option
@config_option
@key_option
@read_key_option
@click.option("--public-url", help="URL of this server for browsers, if a proxy with TLS is in front of it.")
@click.option(
    "--alephbet",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File alephbet.min.js for /example; default: the one from a CDN.",
)
@click.option(
    "--spool-mb",
    default=256,
    show_default=True,
    type=click.IntRange(0, 1024 * 1024),
    help="Size limit of the file that keeps events in the data folder while Redis is down; 0: keep none.",
)
@click.option("--demo", "is_demo", is_flag=True, help="Show sample experiments from a temporary data folder.")
@stoppable()
def serve(
    host: str,
    port: int,
    data: Path,
    config_file: Path | None,
    api_key: str | None,
    read_key: str | None,
    public_url: str | None,
    alephbet: Path | None,
    spool_mb: int,
    is_demo: bool,
) -> None:
    """Run Gimel on this machine: count events, answer report requests and show the dashboard."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    bots.use(known_bots.rule())
    url = base_url(public_url) if public_url else None
    access.use(_keys(api_key, read_key))
    if not access.has_keys() and (url or not is_loopback(host)):
        why = "other machines could read reports and delete experiments"
        hint = "set one with --api-key-file or GIMEL_API_KEY"
        raise ConfigError(f"cannot listen {f'for {url}' if url else f'on {host}'} without an API key ({why})", hint)
    with ExitStack() as stack:
        store = use_samples(stack) if is_demo else _use_redis(_load(config_file), data, spool_mb, stack)
        api = LocalApi(url, alephbet, is_demo, connection.settings().track_path)
        server = _server(api, host, port)
        if not is_demo:
            stack.enter_context(Hourly())
        url = url or server.url
        track_url = f"{url}{api.track_path}"
        for line in (
            f"Gimel is running at {server.url}   (Redis: {store})",
            f"Dashboard:       {url}/",
            f"Track URL:       {track_url}",
            f"Try it:          {url}/example",
            "For your page:\n",
        ):
            out.print(plain(line), soft_wrap=True)
        click.echo(snippet(track_url))
        run(server)


def _keys(api_key: str | None, read_key: str | None) -> list[Key] | None:
    """The keys for `access`; None if there is none. Raises ConfigError."""
    if read_key and not api_key:
        raise ConfigError("the read key needs a write key beside it", "set one with --api-key-file or GIMEL_API_KEY")
    if read_key and read_key == api_key:
        raise ConfigError("the read key is the same as the API key", "set another with --read-key-file")
    named = {WRITE: api_key, READ: read_key}
    return [Key.of(kind, value) for kind, value in named.items() if value] or None


def _server(api: LocalApi, host: str, port: int) -> Server:
    return Server(App(api.answer, cors_origin, api.admit), host, port, {api.track_path: config.TRACK})


def _load(config_file: Path | None) -> config.Config:
    found = config.load(config_file)
    return found if found.path else replace(found, precision=resources.PRECISION)


def _use_redis(found: config.Config, data: Path, spool_mb: int, stack: ExitStack) -> str:
    """Connect the handlers to the configured Redis, an embedded one or fakeredis, and return a description of it.

    Events that it does not take are kept in the data folder.
    """
    folder = data.expanduser().resolve()
    connection.use(found)
    if found.redis_settings:
        connection.client()  # raises ConfigError before anything is kept
        if spool_mb or (folder / spool.FILE).exists():
            stack.callback(claim(folder).close)
            _keep_events(found, folder, spool_mb, stack)
        try:
            counters.check_writable(connection.client(), found.has_bitmaps)
        except StoreUnavailable as error:
            # Not fatal: Redis may come back, and until then events are kept, or sent again by browsers.
            err.print(f"[yellow]Warning:[/] {plain(error)}", soft_wrap=True)
        return "as configured"
    binary = redis_process.find_server()
    if binary:
        server = stack.enter_context(redis_process.EmbeddedRedis(folder, binary))
        found = replace(found, redis_settings=config.RedisSettings(url=server.url))
        _keep_events(found, folder, spool_mb, stack)
        return f"embedded, data in {server.folder}"
    try:
        import fakeredis
    except ImportError:
        raise redis_process.NoRedisServer("no redis-server found", INSTALL) from None
    connection.use(found, fakeredis.FakeRedis())
    warning = plain(f"no redis-server found, so counts are lost on exit. To keep them, {INSTALL}.")
    err.print(f"[yellow]Warning:[/] {warning}", soft_wrap=True)
    return "in-memory fakeredis (nothing is saved)"


def _keep_events(found: config.Config, folder: Path, spool_mb: int, stack: ExitStack) -> None:
    """Let events that Redis does not take wait in this folder, if they may, and count those that wait there."""
    kept = spool.Spool(folder, spool_mb)

    def tell(when: str) -> None:
        if kept.waiting:
            events = "1 event waits" if kept.waiting == 1 else f"{kept.waiting:,} events wait"
            out.print(f"{events} to be counted {when}.", soft_wrap=True)

    tell("as soon as Redis takes events")
    stack.callback(tell, "at the next start")
    connection.use(found, new_overflow=kept if spool_mb else None)
    stack.enter_context(kept)


@click.command()
@click.option("--port", default=0, type=PORTS, help="Port; default: any free port.")
@browser_option
@stoppable()
def demo(port: int, browser: bool) -> None:
    """Show sample experiments in the browser. Nothing is saved."""
    with ExitStack() as stack:
        use_samples(stack)
        server = _server(LocalApi(is_demo=True, track_path=connection.settings().track_path), LOOPBACK, port)
        out.print(f"The demo is at {server.url}", soft_wrap=True)
        run(server, server.url if browser else None)


def use_samples(stack: ExitStack) -> str:
    """Connect the handlers to sample experiments in a temporary Redis, and return a description of it.

    Touches neither the configured Redis nor the user's data folder. Raises NoRedisServer.
    """
    binary = redis_process.find_server()
    if binary is None:
        raise redis_process.NoRedisServer("the demo needs redis-server, which was not found", INSTALL)
    # Short names: the path of a Unix socket is limited to about 100 bytes.
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gimel-")))
    server = stack.enter_context(redis_process.EmbeddedRedis(folder / "r", binary))
    connection.use(samples.configuration(server.url, folder))
    with progress_bar("Adding sample visitors") as progress:
        samples.fill(connection.client(), progress)
    return "sample experiments, deleted on exit"
