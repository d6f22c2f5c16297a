"""Asks the public URL of a deployment whether it counts, as a page does and as its owner does."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import responses
from typing import Any
from urllib.parse import urlencode, urlsplit

import gimel
from gimel.config import SELF_TEST, SELF_TEST_EXPERIMENT
from gimel.errors import GimelError
from gimel.events import PARTICIPATE
from gimel.ops.api_client import ApiError, ApiUnreachable, Reply, send
from gimel.ops.endpoints import HEALTH, PAGE

from .deployment import Deployment, Live
from .errors import AwsError
from .findings import Finding, Level

PATIENCE_S = 30
"""How long a new API, key or permission may take until all of AWS knows it."""

RETRY_S = 2

HEALTH_RETRIES = 2
"""How often a deploy asks again whether Redis answers: the first connection of a new function may take too long."""

TRIES = 2
"""Somebody else's self-test may delete the events of this one before they are read back."""

USER_AGENT = f"gimel-selftest/{gimel.__version__}"
EVENTS = ((PARTICIPATE, "a"), (PARTICIPATE, "b"), ("reached", "a"))


def check(
    deployment: Deployment,
    live: Live,
    direct: Live,
    patience_s: float = 0,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Finding]:
    """One finding after the other, until the first error.

    `direct` has API Gateway's own addresses, which are asked while those of `live` lead nowhere yet. Errors that API
    Gateway itself answers are waited for in all `patience_s`.
    """
    domain = urlsplit(live.track_url).hostname or ""
    if live != direct and not _resolves(domain):
        yield Finding(Level.WARNING, f"{domain} does not resolve", "create its DNS record, then run `gimel status`")
        live = direct
    origin = next((one for one in deployment.config.cors_origins if one != "*"), "https://example.com")
    try:
        retries = int(patience_s / RETRY_S)
        api = _Api(live, _read_key(deployment, live, retries, sleep), origin, retries, sleep)
        for step in (_preflight, _health, _report, _events, _page):
            yield Finding(Level.GOOD, step(api))
    except GimelError as error:
        yield Finding(Level.ERROR, error.message, error.hint)


def _read_key(deployment: Deployment, live: Live, retries: int, sleep: Callable[[float], None]) -> str:
    """The value of the API key, which may have been made just now. Raises GimelError."""
    for _ in range(retries):
        with suppress(AwsError):
            return deployment.key_value(live)
        sleep(RETRY_S)
    return deployment.key_value(live)


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True


@dataclass
class _Api:
    live: Live
    key: str
    origin: str
    retries: int
    sleep: Callable[[float], None]

    def ask(self, url: str, key: str | None = None, method: str = "GET", **headers: str) -> Reply:
        """The answer, after retries while there is none of the functions. Raises ApiUnreachable."""
        own = {"Origin": self.origin, "User-Agent": USER_AGENT}
        while True:
            try:
                reply = send(url, key, method, {**own, **headers})
                # 403 may come from functions that do not know a new key yet.
                if reply.status < 400 or (_is_of_function(reply) and reply.status != 403) or not self.retries:
                    return reply
            except ApiUnreachable:
                if not self.retries:
                    raise
            self.retries -= 1
            self.sleep(RETRY_S)

    def report(self, path: str, method: str = "GET") -> Reply:
        """The answer about the experiment of the self-test."""
        query = urlencode({"experiment": SELF_TEST_EXPERIMENT, "namespace": SELF_TEST})
        return self.ask(f"{self.live.reports_url}{path}?{query}", self.key, method)


def _is_of_function(reply: Reply) -> bool:
    value = reply.json()
    return isinstance(value, dict) and "message" not in value  # API Gateway's own errors have one


def _preflight(api: _Api) -> str:
    reply = api.ask(api.live.track_url, method="OPTIONS", **{"Access-Control-Request-Method": "GET"})
    _require(reply, 204, "OPTIONS", api.live.track_url)
    if reply.headers.get("access-control-allow-origin") not in ("*", api.origin):
        raise ApiError(f"pages of {api.origin} may not send events", "check cors_origins, then deploy")
    return "pages may send events to the track URL"


def _health(api: _Api) -> str:
    url = f"{api.live.reports_url}{HEALTH}"
    reply = api.ask(url)
    for _ in range(min(HEALTH_RETRIES, api.retries)):
        if reply.status != 503:
            break
        api.sleep(RETRY_S)
        reply = api.ask(url)
    _require(reply, 200, "GET", url)
    return "Redis answers the functions, and takes writes"


def _report(api: _Api) -> str:
    _require(api.report("/experiment"), 200, "GET", f"{api.live.reports_url}/experiment")
    return "the API key gives access to reports"


def _events(api: _Api) -> str:
    """Count, read back and delete. With a queue, an event is accepted although Redis is down."""
    counted = 0
    for _ in range(TRIES):
        _delete(api)
        for event, variant in EVENTS:
            _track(api, event, variant)
        counted = _count(api)
        _delete(api)
        if counted == len(EVENTS):
            return f"{counted} events were counted, read back and deleted"
    raise ApiError(f"only {counted} of {len(EVENTS)} events are in the report", "run `gimel status` in a minute")


def _page(api: _Api) -> str:
    url = f"{api.live.reports_url}{PAGE}"
    _require(api.ask(url), 200, "GET", url)
    return f"the dashboard is at {url}"


def _track(api: _Api, event: str, variant: str) -> None:
    visitor = str(uuid.uuid4())
    names = {"experiment": SELF_TEST_EXPERIMENT, "uuid": visitor, "variant": variant, "event": event}
    reply = api.ask(f"{api.live.track_url}?{urlencode({**names, 'namespace': SELF_TEST})}")
    _require(reply, 200, "GET", api.live.track_url)
    if ignored := reply.headers.get("x-gimel-ignored"):
        raise ApiError(f"an event was ignored, for the reason {ignored}", "deploy this version of Gimel")


def _count(api: _Api) -> int:
    """How many of the events are in the report. Others may have sent more of them."""
    reply = api.report("/experiment")
    _require(reply, 200, "GET", f"{api.live.reports_url}/experiment")
    goals: Any = reply.json()
    try:
        counts = {
            (event, row["label"]): row[key]
            for goal in goals
            for row in goal["results"]
            for event, key in ((PARTICIPATE, "trials"), (goal["goal"], "successes"))
        }
    except (KeyError, TypeError):
        raise ApiError(f"{api.live.reports_url} did not answer with a report") from None
    return sum(counts.get(event, 0) > 0 for event in EVENTS)


def _delete(api: _Api) -> None:
    _require(api.report("/delete", "DELETE"), 200, "DELETE", f"{api.live.reports_url}/delete")


def _require(reply: Reply, status: int, method: str, url: str) -> None:
    if reply.status != status:
        value = reply.json()
        told = (value.get("error") or value.get("message")) if isinstance(value, dict) else None
        answer = f"{reply.status} {responses.get(reply.status, '')}".rstrip() + (f": {told}" if told else "")
        raise ApiError(f"{method} {url} answered {answer}")
