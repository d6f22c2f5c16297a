"""A deployed API, or another server, asked over HTTP. Its key is sent to that address and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from gimel.errors import ConfigError, GimelError

TIMEOUT_S = 30
ENDINGS = ("/track", "/experiments", "/experiment")


class _NoRedirect(HTTPRedirectHandler):
    """A redirect would take the key along to wherever it leads."""

    def redirect_request(self, *ignored: Any) -> None:
        return None


_opener = build_opener(_NoRedirect)


def base_of(url: str) -> str:
    """The API's address without a path of an endpoint. Raises ConfigError where `url` is no web address."""
    base = url.rstrip("/")
    for ending in ENDINGS:
        base = base.removesuffix(ending)
    try:
        address = urlsplit(base)
        is_web = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:
        is_web = False
    if not is_web:
        raise ConfigError(f"{url} is not a web address", "give the API's address, such as https://…/prod")
    return base


def ask(url: str, api_key: str | None, path: str, params: Mapping[str, str], method: str = "GET") -> tuple[int, bytes]:
    """Status and body of what the API answers, errors included. Raises GimelError where it does not answer."""
    base = base_of(url)
    # A header is Latin-1 to Python, whatever is in it.
    headers = {"x-api-key": api_key.encode("utf-8", "surrogateescape").decode("latin-1")} if api_key else {}
    request = Request(f"{base}{path}?{urlencode(params, errors='surrogateescape')}", headers=headers, method=method)
    try:
        with _opener.open(request, timeout=TIMEOUT_S) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        cause = getattr(reason, "strerror", None) or reason
        raise GimelError(f"{base} cannot be reached ({cause})", "check the address and the network") from None


def fetch_report(url: str, api_key: str | None, params: Mapping[str, str]) -> list[dict[str, Any]]:
    """What `GET {url}/experiments` answers.

    Raises ConfigError where the URL is none, and GimelError where there is no sensible answer.
    """
    base = base_of(url)
    status, body = ask(url, api_key, "/experiments", params)
    if status != 200:
        raise GimelError(f"{base} answered {status}", cure(status, body))
    try:
        items = json.loads(body)
    except ValueError:
        items = None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise GimelError(f"{base} did not answer with a report", "check the address")
    return items


def cure(status: int, body: bytes) -> str:
    """What to do about an answer that is none."""
    if status in (401, 403):
        return "give the right key with --api-key or GIMEL_API_KEY"
    if status == 404 or 300 <= status < 400:
        return "check the address"
    try:
        said = json.loads(body)
        return ": ".join(filter(None, (said.get("error"), said.get("hint")))) or str(said)
    except (ValueError, AttributeError):
        return "see the log of the function"
