"""The Lambda handlers behind a local server, which builds the very events that API Gateway would."""

from __future__ import annotations

import base64
import hmac
import ipaddress
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from string import Template
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlsplit

import redis
import waitress

from gimel import connection
from gimel.errors import ConfigError
from gimel.gateway import to_json

from .snippet import alephbet_script
from .wiring import ENDPOINTS, Endpoint

THREADS = 8
MAX_BODY_BYTES = 6 * 1024 * 1024  # what Lambda takes

Answer = tuple[int, dict[str, str], bytes]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to this host, or a page was loaded from it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class App:
    """The WSGI application. `api_key` is what reports and deletions need; None leaves them to this machine's pages."""

    api_key: str | None = None
    alephbet: Path | None = None

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        status, headers, body = self._answer(environ)
        headers["Content-Length"] = str(len(body))
        start_response(f"{status} {HTTPStatus(status).phrase}", list(headers.items()))
        return [body]

    def _answer(self, environ: dict[str, Any]) -> Answer:
        path = environ.get("PATH_INFO", "/")
        for endpoint in ENDPOINTS:
            if endpoint.path == path:
                return self._call(endpoint, environ)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _json(405, {"error": "only GET is answered here"})
        if path == "/health":
            return _health()
        if path == "/alephbet.js" and self.alephbet:
            return 200, {"Content-Type": "text/javascript; charset=utf-8"}, self.alephbet.read_bytes()
        if path == "/example":
            return 200, {"Content-Type": "text/html; charset=utf-8"}, self._example()
        if path == "/":
            return 302, {"Location": "/example"}, b""
        paths = ", ".join([*(endpoint.path for endpoint in ENDPOINTS), "/health", "/example"])
        return _json(404, {"error": "nothing is here", "hint": f"try {paths}"})

    def _call(self, endpoint: Endpoint, environ: dict[str, Any]) -> Answer:
        if endpoint.needs_key and environ["REQUEST_METHOD"] != "OPTIONS":
            refusal = self._refusal(environ)
            if refusal:
                return _json(403, refusal)
        answer = endpoint.entry(proxy_event(environ))
        return answer["statusCode"], dict(answer["headers"]), answer["body"].encode()

    def _refusal(self, environ: dict[str, Any]) -> dict[str, str] | None:
        if self.api_key is not None:
            given = environ.get("HTTP_X_API_KEY", "").encode("latin-1")
            if hmac.compare_digest(given, self.api_key.encode()):
                return None
            return {"error": "the API key is missing or wrong", "hint": "send it in the header x-api-key"}
        # Without a key, any page in this machine's browser could read or delete, or come back under a name of its own
        # that now means this machine: both the page and the name must be this machine's.
        page = environ.get("HTTP_ORIGIN")
        hosts = [urlsplit(f"//{environ.get('HTTP_HOST', '')}"), *([urlsplit(page)] if page else [])]
        if all(is_loopback(host.hostname or "") for host in hosts):
            return None
        return {"error": "only pages of this machine may do this", "hint": "start the server with --api-key"}

    def _example(self) -> bytes:
        page = Template((Path(__file__).parent / "example.html").read_text(encoding="utf-8"))
        return page.substitute(alephbet=alephbet_script("/alephbet.js" if self.alephbet else None)).encode()


def proxy_event(environ: dict[str, Any]) -> dict[str, object]:
    """The REST API proxy event (payload 1.0) of a WSGI request."""
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").title(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") or (name in ("CONTENT_TYPE", "CONTENT_LENGTH") and value)
    }
    query = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True, errors="surrogateescape")
    body = environ["wsgi.input"].read()
    try:
        text, is_base64 = body.decode(), False
    except UnicodeDecodeError:
        text, is_base64 = base64.b64encode(body).decode(), True
    return {
        "resource": environ["PATH_INFO"],
        "path": environ["PATH_INFO"],
        "httpMethod": environ["REQUEST_METHOD"],
        "headers": headers,
        "queryStringParameters": dict(query) or None,
        "requestContext": {"httpMethod": environ["REQUEST_METHOD"], "stage": "local"},
        "body": text or None,
        "isBase64Encoded": is_base64,
    }


def _health() -> Answer:
    try:
        connection.current().ping()
    except redis.RedisError:
        return _json(503, {"redis": "does not answer"})
    return _json(200, {"redis": "answers"})


def _json(status: int, value: object) -> Answer:
    return status, {"Content-Type": "application/json", "Access-Control-Allow-Origin": "*"}, to_json(value).encode()


class Server:
    """A production WSGI server around an `App`, bound at once; `run` answers until Ctrl-C or SIGTERM.

    Raises ConfigError where the address cannot be used.
    """

    def __init__(self, app: App, host: str, port: int) -> None:
        try:
            self._server = waitress.create_server(
                app, host=host, port=port, threads=THREADS, ident="gimel", max_request_body_size=MAX_BODY_BYTES
            )
        except (OSError, ValueError) as error:
            hint = "choose another one with --host and --port"
            raise ConfigError(f"{host}:{port} cannot be served ({error})", hint) from None
        listening = getattr(self._server, "effective_listen", None)
        bound = listening[0][1] if listening else self._server.effective_port
        name = f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{bound}"

    def run(self) -> None:
        """Answer requests until Ctrl-C or SIGTERM; those that came in by then are still answered."""
        signal.signal(signal.SIGTERM, _end)
        try:
            self._server.run()
        finally:
            self._server.close()


def _end(number: int, frame: object) -> NoReturn:
    raise SystemExit(0)
