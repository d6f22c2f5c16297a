"""The Lambda handlers behind a local server, which builds the very events that API Gateway would."""

from __future__ import annotations

import base64
import hmac
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from gimel import connection, counters
from gimel.errors import StoreUnavailable
from gimel.gateway import cors_origin, to_json
from gimel.ops.addresses import is_loopback
from gimel.ops.endpoints import ENDPOINTS, Endpoint
from gimel.ops.snippet import alephbet_script

from . import exports
from .exports import Answer

log = logging.getLogger("gimel")

MAX_BODY_BYTES = 6 * 1024 * 1024  # what Lambda takes


def _is_local(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False


def is_of_this_machine(environ: Mapping[str, Any]) -> bool:
    """Whether the page that asks, if any, was loaded from this machine, under a name that can mean no other."""
    page = environ.get("HTTP_ORIGIN")
    return all(map(_is_local, [f"//{environ.get('HTTP_HOST', '')}", *([page] if page else [])]))


@dataclass(frozen=True)
class App:
    """The WSGI application. `api_key` is what reports and deletions need; None leaves them to this machine's pages."""

    api_key: str | None = None
    alephbet: Path | None = None
    is_demo: bool = False

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        try:
            status, headers, body = self._answer(environ)
        except Exception:
            log.exception("%s %s", environ["REQUEST_METHOD"], environ.get("PATH_INFO"))
            status, headers, body = _json(500, {"error": "the server failed to answer; its log has the cause"})
        if headers["Content-Type"] == "application/json":
            headers = {**self._cors(environ), **headers}
        headers["Content-Length"] = str(len(body))
        start_response(f"{status} {HTTPStatus(status).phrase}", list(headers.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _cors(self, environ: dict[str, Any]) -> dict[str, str]:
        """Which pages may read a JSON answer."""
        return cors_origin(environ.get("HTTP_ORIGIN", ""))

    def _answer(self, environ: dict[str, Any]) -> Answer:
        path = environ.get("PATH_INFO", "/")
        for endpoint in ENDPOINTS:
            if endpoint.path == path:
                return self._call(endpoint, environ)
        # A key guards what costs this server work, too.
        refusal = self._refusal(environ) if path in exports.EXPORTS else None
        if refusal:
            return _json(403, refusal)
        answer = exports.answer(environ, self._about(environ))
        if answer:
            return answer
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _json(405, {"error": "only GET is answered here"})
        if path == "/health":
            return _health()
        if path == "/alephbet.js" and self.alephbet:
            return 200, {"Content-Type": "text/javascript; charset=utf-8"}, self.alephbet.read_bytes()
        if path == "/example":
            return 200, {"Content-Type": "text/html; charset=utf-8"}, self._example()
        paths = ", ".join([*(endpoint.path for endpoint in ENDPOINTS), "/", "/health", "/example"])
        return _json(404, {"error": "nothing is here", "hint": f"try {paths}"})

    def _call(self, endpoint: Endpoint, environ: dict[str, Any]) -> Answer:
        if endpoint.needs_key and environ["REQUEST_METHOD"] != "OPTIONS":
            refusal = self._refusal(environ)
            if refusal:
                return _json(403, refusal)
        if int(environ.get("CONTENT_LENGTH") or 0) > MAX_BODY_BYTES:
            return _json(
                413, {"error": f"the body is larger than {MAX_BODY_BYTES:,} bytes", "hint": "send less at a time"}
            )
        answer = endpoint.entry(proxy_event(environ))
        return answer["statusCode"], dict(answer["headers"]), answer["body"].encode()

    def _refusal(self, environ: dict[str, Any]) -> dict[str, str] | None:
        if self.api_key is not None:
            given = environ.get("HTTP_X_API_KEY", "").encode("latin-1")
            if hmac.compare_digest(given, self.api_key.encode("utf-8", "surrogateescape")):
                return None
            return {"error": "the API key is missing or wrong", "hint": "send it in the header x-api-key"}
        # Without a key, any page in this machine's browser could read or delete, or come back under a name of its own
        # that now means this machine: both the page and the name must be this machine's.
        if is_of_this_machine(environ):
            return None
        return {"error": "only pages of this machine may do this", "hint": "start the server with --api-key"}

    def _about(self, environ: dict[str, Any]) -> dict[str, object]:
        """What the dashboard must know of this server."""
        here = f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}"
        needs_key = self.api_key is not None
        about = {"track_url": f"{here}/track", "needs_key": needs_key, "example": "/example", "place": "this machine"}
        return {**about, "is_demo": self.is_demo}

    def _example(self) -> bytes:
        page = Template((Path(__file__).parent.parent / "dashboard/example.html").read_text(encoding="utf-8"))
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
        counters.ping(connection.client())
    except StoreUnavailable:
        return _json(503, {"redis": "does not answer"})
    return _json(200, {"redis": "answers"})


def _json(status: int, value: object) -> Answer:
    return status, {"Content-Type": "application/json"}, to_json(value).encode()
