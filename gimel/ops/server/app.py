"""What both servers share: the application, its errors, and which pages a request may come from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gimel import page
from gimel.gateway import to_json
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
    """A JSON answer with the dashboard's security headers."""
    return status, {"Content-Type": JSON, **page.HEADERS}, to_json(value).encode()


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
