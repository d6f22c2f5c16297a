"""Reports over HTTP, from a deployed API or another server."""

from __future__ import annotations

import json
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

from gimel.errors import ConfigError, GimelError

TIMEOUT_S = 30


def fetch_report(url: str, api_key: str | None, params: dict[str, str]) -> list[dict[str, Any]]:
    """What `GET {url}/experiments` answers.

    Raises ConfigError where the URL is none, and GimelError where there is no sensible answer.
    """
    base = url.rstrip("/")
    for ending in ("/track", "/experiments", "/experiment"):
        base = base.removesuffix(ending)
    if urlsplit(base).scheme not in ("http", "https"):
        raise ConfigError(f"{url} is not a web address", "give the API's address, such as https://…/prod")
    request = Request(f"{base}/experiments?{urlencode(params)}", headers={"x-api-key": api_key} if api_key else {})
    try:
        with urlopen(request, timeout=TIMEOUT_S) as answer:
            items = json.load(answer)
    except HTTPError as error:
        raise GimelError(f"{base} answered {error.code}", _cure(error)) from None
    except (URLError, TimeoutError) as error:
        raise GimelError(f"{base} cannot be reached ({getattr(error, 'reason', error)})", "check the address") from None
    except ValueError:
        raise GimelError(f"{base} did not answer with a report", "check the address") from None
    if not isinstance(items, list):
        raise GimelError(f"{base} did not answer with a report", "check the address")
    return items


def _cure(error: HTTPError) -> str:
    if error.code == 403:
        return "give the right key with --api-key or GIMEL_API_KEY"
    if error.code == 404:
        return "check the address"
    try:
        said = json.load(error)
    except ValueError:
        return "see the log of the function"
    return " ".join(filter(None, (said.get("error"), said.get("hint")))) or str(said)
