"""A production WSGI server, and the signals that stop it."""

from __future__ import annotations

import errno
import logging
import math
import signal
import socket
import time
from collections.abc import Callable

import waitress

from gimel.errors import ConfigError

from .app import App
from .exports import MAX_EXPORT_BYTES

THREADS = 8
UNREAD_BYTES = 2 * MAX_EXPORT_BYTES  # waitress rejects a larger body before reading it
CLEANUP_S = 30  # waitress and Redis take 25 s at most


class PortTaken(ConfigError):
    """Another program is listening on the port."""


class Server:
    """A production WSGI server around an `App`, bound at once; `run` answers until the process is stopped.

    Raises PortTaken, or ConfigError for any other reason not to listen there.
    """

    def __init__(self, app: App, host: str, port: int) -> None:
        # In a burst, events wait for a thread; that needs no warning.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        try:
            self._server = waitress.create_server(
                app, host=host, port=port, threads=THREADS, ident="gimel", max_request_body_size=UNREAD_BYTES
            )
        except (OSError, ValueError) as error:
            cause = getattr(error, "strerror", None) or error
            if getattr(error, "errno", None) == errno.EADDRINUSE:
                raise PortTaken(f"port {port} is already in use", "choose another port with --port") from None
            hint = "check the address, or choose another port with --port"
            raise ConfigError(f"cannot listen on {host}:{port} ({cause})", hint) from None
        listening = getattr(self._server, "effective_listen", None)
        bound = listening[0][1] if listening else self._server.effective_port
        if host in ("0.0.0.0", "::", "*"):
            host = socket.gethostname()
        name = f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{bound}"

    def run(self, on_ready: Callable[[], object] = lambda: None) -> None:
        """Call `on_ready`, then answer requests until a signal or Ctrl-C; those in progress are completed."""
        try:
            on_ready()
            self._server.run()
        except (Stopped, KeyboardInterrupt):
            pass  # waitress catches those in its loop, but not just before it
        finally:
            self._server.close()


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
