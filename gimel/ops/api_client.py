"""An HTTP client for a deployed API or another Gimel server. The API key is sent to that address only."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException, responses
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, UnknownHandler

from gimel.config import TRACK, Config
from gimel.errors import ConfigError, GimelError

TIMEOUT_S = 30
WEB_ADDRESS = re.compile(r"https?://[^\s?#\"'<>\\]+", re.IGNORECASE)
PATHS = (TRACK, Config.track_path, "/experiments", "/experiment", "/history")


class InvalidUrl(ConfigError):
    """The URL is not a web address."""


class ApiUnreachable(GimelError):
    """The API cannot be reached."""


class ApiError(GimelError):
    """The API answered with an error, or with something other than what was requested."""


class ApiKeyRefused(ApiError):
    """The API refused the API key, or got none."""


# Without error handlers, errors and redirects are returned like other answers. Following a redirect would send the API
# key wherever it leads.
_opener = OpenerDirector()
for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler(), UnknownHandler()):
    _opener.add_handler(handler)


def base_url(url: str, track_path: str = TRACK) -> str:
    """The API's address without the path of an endpoint, or this path. Raises InvalidUrl."""
    base = url.rstrip("/")
    for path in (track_path, *PATHS):
        base = base.removesuffix(path)
    try:
        parts = urlsplit(base)
        is_web = bool(WEB_ADDRESS.fullmatch(base)) and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_web = False
    if not is_web:
        raise InvalidUrl(f"{url!r} is not a web address", "use the API's URL, such as https://example.com/prod")
    return base


def track_url(url: str, track_path: str) -> str:
    """Where pages send events, given the URL of an API: this URL, if it ends in a path for events. Raises InvalidUrl.

    Else the API's `/track`: what `track_path` it has is unknown, and it may be older than such paths.
    """
    base = base_url(url, track_path)
    named = url.rstrip("/").removeprefix(base)
    return f"{base}{named if named in (track_path, Config.track_path) else TRACK}"


@dataclass(frozen=True)
class Reply:
    """An answer, whatever its status. The names of headers are in lowercase."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, or None if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def send(
    url: str,
    api_key: str | None = None,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Reply:
    """The answer of a URL, within TIMEOUT_S. A body is sent as JSON. Raises ApiUnreachable."""
    # Python encodes headers as Latin-1, which sends these bytes unchanged.
    own = {"x-api-key": api_key.encode("utf-8", "surrogateescape").decode("latin-1")} if api_key else {}
    own |= {"Accept": "application/json", "Accept-Encoding": "gzip"}
    own |= {"Content-Type": "application/json"} if body is not None else {}
    asked = Request(url, body, {**own, **(headers or {})}, method=method)
    try:
        with _opener.open(asked, timeout=TIMEOUT_S) as answer:
            status, text = int(answer.status), bytes(answer.read())
            if answer.headers.get("Content-Encoding") == "gzip":
                text = gzip.decompress(text)
            return Reply(status, {name.lower(): value for name, value in answer.headers.items()}, text)
    except (OSError, HTTPException, UnicodeError, EOFError, zlib.error) as error:
        reason = getattr(error, "reason", error)
        cause = getattr(reason, "strerror", None) or reason
        base = base_url(url.partition("?")[0])
        raise ApiUnreachable(f"cannot reach {base} ({cause})", "check the URL and the network") from None


def request(
    url: str,
    api_key: str | None,
    path: str,
    params: Mapping[str, str],
    method: str = "GET",
    body: bytes | None = None,
    taken: Sequence[int] = (200,),
) -> Reply:
    """An answer with one of these statuses. Raises InvalidUrl, ApiUnreachable, ApiKeyRefused and ApiError."""
    base = base_url(url)
    reply = send(f"{base}{path}?{urlencode(params, errors='surrogateescape')}", api_key, method, body=body)
    if reply.status not in taken:
        raise _error(base, reply)
    return reply


def fetch_report(url: str, api_key: str | None, params: Mapping[str, str]) -> list[dict[str, Any]]:
    """What `GET {url}/experiments` answers. Raises the errors of `request`."""
    items = request(url, api_key, "/experiments", params).json()
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ApiError(f"{base_url(url)} did not answer with a report", "check the URL")
    return items


def fetch_history(url: str, api_key: str | None, params: Mapping[str, str]) -> dict[str, Any]:
    """What `GET {url}/history` answers. Raises the errors of `request`; an API that keeps no histories refuses it."""
    found = request(url, api_key, "/history", params).json()
    if not isinstance(found, dict):
        raise ApiError(f"{base_url(url)} did not answer with a history", "check the URL")
    return found


def _error(base: str, reply: Reply) -> ApiError:
    status, answer = reply.status, reply.json()
    details = answer if isinstance(answer, dict) else {}
    if status in (401, 403):
        message = ": ".join(filter(None, (f"{base} refused the API key", details.get("error"))))
        return ApiKeyRefused(message, "pass the right key with --api-key or GIMEL_API_KEY")
    if status == 404 or 300 <= status < 400:
        # An HTTP API has only the track URL.
        hint = "check the URL; that of a deployment is in the Report URL that `gimel deploy` prints"
    else:
        hint = ": ".join(filter(None, (details.get("error"), details.get("hint"))))
        hint = hint or (str(answer) if details else "see the function's log")
    return ApiError(f"{base} answered {status} {responses.get(status, '')}".rstrip(), hint)
