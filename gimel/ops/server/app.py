"""What both servers share: the application, its errors, and which pages a request may come from."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from gimel import page
from gimel.gateway import Entry, to_json
from gimel.ops.addresses import is_loopback

log = logging.getLogger("gimel")

Environ = Mapping[str, Any]
"""A request, as WSGI has it."""

Answer = tuple[int, dict[str, str], bytes]
JSON = "application/json"


class HttpError(Exception):
    """Ends the request with this status, and an error and hint as JSON."""

    def __init__(self, status: int, error: str, hint: str = "") -> None:
        super().__init__(error)
        self.status = status
        self.hint = hint


@dataclass(frozen=True)
class App:
    """Gives the answer to a request, and turns every exception into JSON.

    `admit` raises HttpError for a request that is to be refused before its body is read. `cors` gives the headers that
    let a page of an origin read JSON.
    """

    answer: Callable[[Environ], Answer]
    cors: Callable[[str], Mapping[str, str]] = lambda origin: {}
    admit: Callable[[Environ], object] = lambda environ: None

    def __call__(self, environ: Environ) -> Answer:
        """Answer a request."""
        try:
            return self._complete(environ, *self.answer(environ))
        except HttpError as error:
            return self.refuse(environ, error)
        except Exception:
            log.exception("%s %s", environ["REQUEST_METHOD"], environ.get("PATH_INFO"))
            return self.refuse(environ, HttpError(500, "internal server error", "see the server's log"))

    def refuse(self, environ: Environ, error: HttpError) -> Answer:
        """The answer for this error."""
        return self._complete(environ, *json_answer(error.status, {"error": str(error), "hint": error.hint}))

    def _complete(self, environ: Environ, status: int, headers: dict[str, str], body: bytes) -> Answer:
        if headers["Content-Type"] == JSON:
            headers = {**self.cors(environ.get("HTTP_ORIGIN", "")), **headers}
        return status, {**headers, "Content-Length": str(len(body))}, body


def json_answer(status: int, value: object) -> Answer:
    """A JSON answer with security headers."""
    headers = {"Content-Type": JSON, "Content-Security-Policy": "default-src 'none'", **page.HEADERS}
    return status, headers, to_json(value).encode()


def page_answer(environ: Environ, about: Mapping[str, object]) -> Answer:
    """The dashboard, or what it asks for: these facts about the server."""
    return call(Entry(lambda request: page.answer(request, about), {"GET": None, "HEAD": None}), environ)


def call(entry: Entry, environ: Environ) -> Answer:
    """What this Lambda entry point answers to a request."""
    answer = entry(proxy_event(environ))
    body = base64.b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"].encode()
    return answer["statusCode"], dict(answer["headers"]), body


def proxy_event(environ: Environ) -> dict[str, object]:
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


def is_local(environ: Environ) -> bool:
    """Whether a request uses a name of this machine, and comes from a page on this machine or from no page."""
    origin = environ.get("HTTP_ORIGIN")
    if not origin and environ.get("HTTP_SEC_FETCH_SITE") == "cross-site":
        return False  # an image or link of a page elsewhere
    urls = [f"//{environ.get('HTTP_HOST', '')}", origin]
    return all(_is_loopback_url(url) for url in urls if url)


def is_same_origin(environ: Environ) -> bool:
    """Whether a request comes from this server's own page or from no page."""
    origin = environ.get("HTTP_ORIGIN")
    is_own = not origin or origin.partition("://")[2] == environ.get("HTTP_HOST")
    return is_own and environ.get("HTTP_SEC_FETCH_SITE", "none") in ("same-origin", "none")


def _is_loopback_url(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False
