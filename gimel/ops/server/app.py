"""What both servers share: the WSGI application, its errors, and which pages a request may come from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from gimel.gateway import to_json
from gimel.ops.addresses import is_loopback

from . import assets

log = logging.getLogger("gimel")

Environ = Mapping[str, Any]
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
    """A WSGI application: sends what `answer` returns, and turns every exception into JSON.

    `cors` gives the headers that let a page of an origin read JSON.
    """

    answer: Callable[[Environ], Answer]
    cors: Callable[[str], Mapping[str, str]] = lambda origin: {}

    def __call__(self, environ: Environ, start_response: Callable[..., object]) -> Iterable[bytes]:
        try:
            status, headers, body = self.answer(environ)
        except HttpError as error:
            status, headers, body = json_answer(error.status, {"error": str(error), "hint": error.hint})
        except Exception:
            log.exception("%s %s", environ["REQUEST_METHOD"], environ.get("PATH_INFO"))
            status, headers, body = json_answer(500, {"error": "internal server error", "hint": "see the server's log"})
        if headers["Content-Type"] == JSON:
            headers = {**self.cors(environ.get("HTTP_ORIGIN", "")), **headers}
        headers["Content-Length"] = str(len(body))
        start_response(f"{status} {HTTPStatus(status).phrase}", list(headers.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def json_answer(status: int, value: object) -> Answer:
    """A JSON answer with the dashboard's security headers."""
    return status, {"Content-Type": JSON, **assets.HEADERS}, to_json(value).encode()


def is_local(environ: Environ) -> bool:
    """Whether a request uses a name of this machine, and comes from a page on this machine or from no page."""
    urls = [f"//{environ.get('HTTP_HOST', '')}", environ.get("HTTP_ORIGIN")]
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
