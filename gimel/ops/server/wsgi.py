"""A production WSGI server, and how signals end it."""

from __future__ import annotations

import logging
import signal
import socket
from typing import NoReturn

import waitress

from gimel.errors import ConfigError

from .app import App
from .exports import MAX_EXPORT_BYTES

THREADS = 8
UNREAD_BYTES = 2 * MAX_EXPORT_BYTES  # a larger body is refused before it has come


class Server:
    """A production WSGI server around an `App`, bound at once; `run` answers until the process is told to end.

    Raises ConfigError where the address cannot be used.
    """

    def __init__(self, app: App, host: str, port: int) -> None:
        # A burst of events waits its turn: that is nothing to warn of.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        try:
            self._server = waitress.create_server(
                app, host=host, port=port, threads=THREADS, ident="gimel", max_request_body_size=UNREAD_BYTES
            )
        except (OSError, ValueError) as error:
            hint = "choose another one with --host and --port"
            cause = getattr(error, "strerror", None) or error
            raise ConfigError(f"{host}:{port} cannot be served ({cause})", hint) from None
        listening = getattr(self._server, "effective_listen", None)
        bound = listening[0][1] if listening else self._server.effective_port
        if host in ("0.0.0.0", "::", "*"):
            host = socket.gethostname()
        name = f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{bound}"

    def run(self) -> None:
        """Answer requests until Ctrl-C or `end_on_signals`; those being worked on are finished."""
        try:
            self._server.run()
        finally:
            self._server.close()


def end_on_signals() -> None:
    """Let SIGTERM, and the closing of the terminal, end this process as Ctrl-C does: after cleaning up."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
            signal.signal(number, _end)


def _end(number: int, frame: object) -> NoReturn:
    raise SystemExit(0)
