"""A production HTTP server, and the signals that stop it."""

from __future__ import annotations

import asyncio
import errno
import io
import logging
import math
import resource
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gimel.errors import ConfigError
from gimel.ops.endpoints import ENDPOINTS, PAGE

from .app import Answer, App, Environ, HttpError

THREADS = 32  # of each kind of path: with a Redis 200 ms away, these answer 160 requests a second
LANES = {endpoint.path for endpoint in ENDPOINTS} - {PAGE}
"""Paths that may wait for Redis: each has threads of its own, so that no other path waits for them."""

DESCRIPTORS = 10_000  # macOS allows little more

BACKLOG = 2048  # connections that may wait until they are accepted

REQUEST_S = 15  # until a request has arrived whole
KEEP_ALIVE_S = 30  # until the next request begins
SEND_S = 300  # until the client has taken an answer
WAKE_S = 2  # a signal that the system gives to another thread wakes nobody, and is handled then
FINISH_S = 10  # for requests in progress, when the server stops
CLEANUP_S = 30  # this and Redis take 25 s at most

MAX_HEADER_BYTES = 256 * 1024
MAX_BODY_BYTES = 6 * 1024 * 1024  # Lambda's limit
MAX_WAITING_BYTES = 40 * MAX_BODY_BYTES
"""Of all bodies that have arrived, but are not yet answered."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class PortTaken(ConfigError):
    """Another program is listening on the port."""


class Server:
    """A production HTTP server around an `App`, bound at once; `run` answers until the process is stopped.

    `aliases` are further paths, with the path that each of them stands for. Raises PortTaken, or ConfigError for any
    other reason not to listen there.
    """

    def __init__(self, app: App, host: str, port: int, aliases: Mapping[str, str] | None = None) -> None:
        self._sockets = _listen(host, port)
        bound = self._sockets[0].getsockname()[1]
        if host in ("0.0.0.0", "::", "*"):
            host = socket.gethostname()
        name = f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{bound}"
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # strangers' broken requests need no warning
        self._adapter = _Adapter(app, aliases or {})
        settings = uvicorn.Config(
            self._adapter,
            http=cast(Any, partial(_Connection, _raise_limits())),
            ws="none",
            loop="asyncio",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            headers=[("Server", "gimel")],
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=FINISH_S,
        )
        self._server = uvicorn.Server(settings)
        # In a thread of its own, so that a signal interrupts no request: it only ends the main thread's wait.
        self._thread = threading.Thread(target=self._serve, name="server", daemon=True)
        self._ended = threading.Event()  # an interrupted Thread.join() takes the thread for ended
        self._failure: BaseException | None = None

    def run(self, on_ready: Callable[[], object] = lambda: None) -> None:
        """Call `on_ready`, then answer requests until a signal or Ctrl-C; those in progress are completed."""
        try:
            self._thread.start()
            on_ready()
            self._wait()
        except (Stopped, KeyboardInterrupt):
            pass
        finally:
            self._server.should_exit = True
            if self._thread.ident:
                self._wait()
            self.close()
        if self._failure:
            raise self._failure

    def _wait(self) -> None:
        while not self._ended.wait(WAKE_S):
            pass

    def _serve(self) -> None:
        try:
            self._server.run(self._sockets)
        except BaseException as error:
            self._failure = error
        finally:
            self._ended.set()

    def close(self) -> None:
        """Stop listening."""
        for each in self._sockets:
            each.close()
        self._adapter.close()


def _listen(host: str, port: int) -> list[socket.socket]:
    """Sockets for every address of this host, all at the same port."""
    sockets: list[socket.socket] = []
    flags = socket.AI_PASSIVE
    try:
        found = socket.getaddrinfo(None if host == "*" else host, port, type=socket.SOCK_STREAM, flags=flags)
        for family, kind, protocol, _, address in found:
            # With the protocol given, asyncio knows that it is TCP, and sends answers without delay.
            sockets.append(socket.socket(family, kind, protocol))
            sockets[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sockets[-1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sockets[-1].bind((address[0], sockets[0].getsockname()[1] or port, *address[2:]))
            sockets[-1].listen(BACKLOG)
    except (OSError, ValueError) as error:
        for each in sockets:
            each.close()
        cause = getattr(error, "strerror", None) or error
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise PortTaken(f"port {port} is already in use", "choose another port with --port") from None
        hint = "check the address, or choose another port with --port"
        raise ConfigError(f"cannot listen on {host}:{port} ({cause})", hint) from None
    return sockets


def _raise_limits() -> int:
    """Allow this process as many descriptors as it may have; return how many connections that makes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = DESCRIPTORS if hard == unlimited else min(DESCRIPTORS, hard)
    if soft != unlimited and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    descriptors = DESCRIPTORS if soft == unlimited else min(DESCRIPTORS, soft)
    return descriptors * 9 // 10  # the rest is for files and for Redis


class _Connection(HttpToolsProtocol):
    """A client's connection. It is closed if a request does not arrive in time, or if its header is too large."""

    def __init__(self, max_connections: int, **given: Any) -> None:
        super().__init__(**given)
        self._max_connections = max_connections
        self._end: asyncio.TimerHandle | None = None
        self._is_header, self._header_bytes = True, 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._max_connections:
            transport.abort()
        self._end_in(REQUEST_S)

    def data_received(self, data: bytes) -> None:
        if self._end is None and (self.cycle is None or self.cycle.response_complete):
            self._end_in(REQUEST_S)
        if self._is_header:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._is_header and self._header_bytes > MAX_HEADER_BYTES:
            self.send_400_response("The header of the request is too large.")

    def on_headers_complete(self) -> None:
        self._is_header = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_header, self._header_bytes = True, 0
        self._go_on()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._end_in(SEND_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._go_on()
        super().connection_lost(exc)

    def _end_in(self, seconds: float) -> None:
        self._go_on()
        self._end = self.loop.call_later(seconds, self.transport.abort)

    def _go_on(self) -> None:
        if self._end:
            self._end.cancel()
            self._end = None


class _Adapter:
    """The ASGI side of an `App`: receives a whole request, and lets a thread of its lane answer it."""

    def __init__(self, app: App, aliases: Mapping[str, str]) -> None:
        self._app = app
        self._aliases = aliases
        self._lanes = {path: ThreadPoolExecutor(THREADS) for path in LANES}
        self._other = ThreadPoolExecutor(THREADS)
        self._waiting_bytes = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        environ = _environ(scope)
        environ["PATH_INFO"] = self._aliases.get(environ["PATH_INFO"], environ["PATH_INFO"])
        body = bytearray()
        try:
            try:
                if _has_body(environ):
                    self._app.admit(environ)
                if not await self._read(environ, body, receive):
                    return
            except HttpError as error:
                await _send(self._app.refuse(environ, error), environ, send, more_body=True)
                # A client that is still sending would not see the answer, if the connection were closed now.
                while "HTTP_EXPECT" not in environ and (await receive()).get("more_body"):
                    pass
                await send({"type": "http.response.body"})
                return
            environ["wsgi.input"] = io.BytesIO(body)
            pool = self._lanes.get(environ["PATH_INFO"], self._other)
            answer = await asyncio.get_running_loop().run_in_executor(pool, self._app, environ)
            await _send(answer, environ, send)
        finally:
            self._waiting_bytes -= len(body)

    def close(self) -> None:
        """Let no more requests begin."""
        for pool in (*self._lanes.values(), self._other):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _read(self, environ: dict[str, Any], body: bytearray, receive: Receive) -> bool:
        """Fill `body`; False if the client went away before it had sent everything. Raises HttpError."""
        more_body = True
        while True:
            if "HTTP_TRANSFER_ENCODING" in environ:  # in chunks: only their arrival tells how long the body is
                environ["CONTENT_LENGTH"] = str(len(body))
                self._app.admit(environ)
            if int(environ.get("CONTENT_LENGTH") or 0) > MAX_BODY_BYTES:
                raise HttpError(
                    413, f"request body is larger than {MAX_BODY_BYTES:,} bytes", "send fewer events at a time"
                )
            if self._waiting_bytes > MAX_WAITING_BYTES:
                raise HttpError(503, "too many large requests at once", "retry later")
            if not more_body:
                return True
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            more_body = message["more_body"]
            body += message["body"]
            self._waiting_bytes += len(message["body"])


async def _send(answer: Answer, environ: Environ, send: Send, more_body: bool = False) -> None:
    status, headers, body = answer
    if more_body and "HTTP_EXPECT" in environ:
        headers = {**headers, "Connection": "close"}  # whether the body comes is up to the client
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    body = b"" if environ["REQUEST_METHOD"] == "HEAD" else body
    await send({"type": "http.response.body", "body": body, "more_body": more_body})


def _has_body(environ: Environ) -> bool:
    return environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ


def _environ(scope: Message) -> dict[str, Any]:
    """What a WSGI server makes of this request."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "PATH_INFO": scope["path"],
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "wsgi.url_scheme": scope["scheme"],
    }
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").upper(), raw_value.decode("latin-1")
        if "_" in name:
            continue  # X_API_KEY is not X-API-KEY
        key = name.replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


class Stopped(SystemExit):
    """A signal asked this process to stop."""


def stop_on_signals() -> None:
    """Raise `Stopped` on Ctrl-C, SIGTERM, or when the terminal is closed.

    Further signals do not interrupt the cleanup, unless it takes longer than CLEANUP_S.
    """
    stopped_at = -math.inf

    def stop(number: int, frame: object) -> None:
        nonlocal stopped_at
        now = time.monotonic()
        if now - stopped_at > CLEANUP_S:
            stopped_at = now
            raise Stopped(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, stop)
