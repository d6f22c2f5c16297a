"""An HTTP client for a deployed API or another Gimel server. The API key is sent to that address only."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Mapping
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


def send(url: str, api_key: str | None = None, method: str = "GET", headers: Mapping[str, str] | None = None) -> Reply:
    """The answer of a URL, within TIMEOUT_S. Raises ApiUnreachable."""
    # Python encodes headers as Latin-1, which sends these bytes unchanged.
    own = {"x-api-key": api_key.encode("utf-8", "surrogateescape").decode("latin-1")} if api_key else {}
    own |= {"Accept": "application/json", "Accept-Encoding": "gzip"}
    try:
        with _opener.open(Request(url, headers={**own, **(headers or {})}, method=method), timeout=TIMEOUT_S) as answer:
            status, body = int(answer.status), bytes(answer.read())
            if answer.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            return Reply(status, {name.lower(): value for name, value in answer.headers.items()}, body)
    except (OSError, HTTPException, UnicodeError, EOFError, zlib.error) as error:
        reason = getattr(error, "reason", error)
        cause = getattr(reason, "strerror", None) or reason
        base = base_url(url.partition("?")[0])
        raise ApiUnreachable(f"cannot reach {base} ({cause})", "check the URL and the network") from None


def request(url: str, api_key: str | None, path: str, params: Mapping[str, str], method: str = "GET") -> bytes:
    """The body of a 200 answer. Raises InvalidUrl, ApiUnreachable, ApiKeyRefused and ApiError."""
    base = base_url(url)
    reply = send(f"{base}{path}?{urlencode(params, errors='surrogateescape')}", api_key, method)
    if reply.status != 200:
        raise _error(base, reply.status, reply.body)
    return reply.body


def fetch_report(url: str, api_key: str | None, params: Mapping[str, str]) -> list[dict[str, Any]]:
    """What `GET {url}/experiments` answers. Raises the errors of `request`."""
    try:
        items = json.loads(request(url, api_key, "/experiments", params))
    except ValueError:
        items = None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ApiError(f"{base_url(url)} did not answer with a report", "check the URL")
    return items


def fetch_history(url: str, api_key: str | None, params: Mapping[str, str]) -> dict[str, Any]:
    """What `GET {url}/history` answers. Raises the errors of `request`; an API that keeps no histories refuses it."""
    try:
        found = json.loads(request(url, api_key, "/history", params))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ApiError(f"{base_url(url)} did not answer with a history", "check the URL")
    return found


def _error(base: str, status: int, body: bytes) -> ApiError:
    if status in (401, 403):
        return ApiKeyRefused(f"{base} refused the API key", "pass the right key with --api-key or GIMEL_API_KEY")
    if status == 404 or 300 <= status < 400:
        # An HTTP API has only the track URL.
        hint = "check the URL; that of a deployment is in the Report URL that `gimel deploy` prints"
    else:
        try:
            answer = json.loads(body)
            hint = ": ".join(filter(None, (answer.get("error"), answer.get("hint")))) or str(answer)
        except (ValueError, AttributeError):
            hint = "see the function's log"
    return ApiError(f"{base} answered {status} {responses.get(status, '')}".rstrip(), hint)
