"""python -m tests.faults.containers PORT NUMBER: so many Lambda containers of `gimel.track`, behind one address.

As on Lambda, each is a process that answers one request at a time, and a request goes to one that is free. POST /queue
takes what an event source mapping sends.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3  # noqa: F401 - see the introduction of docs/reliability.md

import gimel
from tests.calls import make_rest_event

from .clients import TOOK
from .proxy import BACKLOG, LOOPBACK


class Gateway(BaseHTTPRequestHandler):
    """Calls the function with the event that API Gateway would send."""

    def do_GET(self) -> None:
        self._track("")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path == "/queue":
            self._send(200, json.dumps(gimel.track(json.loads(body))))
        else:
            self._track(body)

    def _track(self, body: str) -> None:
        query = dict(parse_qsl(urlsplit(self.path).query))
        event = make_rest_event(self.command, query, body, dict(self.headers))
        started = time.monotonic()
        answer: Any = gimel.track(event)
        took = {TOOK: f"{time.monotonic() - started:.6f}"}
        self._send(answer["statusCode"], answer["body"], **answer["headers"], **took)

    def _send(self, status: int, body: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body)), "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *ignored: object) -> None:
        pass


def main(port: int, number: int) -> None:
    """Answer until SIGTERM. The parent only waits, and ends all."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    listener = socket.create_server((LOOPBACK, port), backlog=BACKLOG)
    containers = []
    for _ in range(number):
        container = os.fork()
        if not container:
            while True:
                link, address = listener.accept()
                with link, suppress(ConnectionError):  # the client may have gone
                    Gateway(link, address, None)  # type: ignore[arg-type]
        containers.append(container)

    def end(*ignored: object) -> None:
        for container in containers:
            os.kill(container, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    while True:
        signal.pause()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
