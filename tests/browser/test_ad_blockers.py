"""Which requests ad blockers let pass: uBlock Origin's own engine and its default lists, at work on a real Chromium."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from gimel.config import TRACK, Config
from gimel.snippet import ALEPHBET_URL
from tests.calls import taking_part
from tests.parts import block_lists, missing, npm_package, wait_for

PAGE = "https://www.shop.example"
HOSTS = {
    "its own subdomain": "https://events.shop.example",
    "a REST API": "https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/prod",
    "an HTTP API": "https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
}
OTHER_HOSTS = ("http://127.0.0.1:8000", "https://d111111abcdef8.cloudfront.net", "https://analytics.shop.example")
TYPES = {"xhr": "xmlhttprequest", "document": "main_frame"}
"""What uBlock Origin calls the kinds of requests that Playwright names otherwise."""

EVENT = {"experiment": "button color", "uuid": "9e6682a8-bed1-419f-914", "variant": "red"}
QUERIES = [
    urlencode({**EVENT, "event": event, "namespace": namespace})
    for event in ("participate", "buy", "clicked", "page view", "signup", "conversion", "impression")
    for namespace in ("alephbet", "undefined", "shop")
]


class Blocker:
    """uBlock Origin's engine with the lists that it uses by default."""

    def __init__(self) -> None:
        node = shutil.which("node") or missing("no node: install the Debian package nodejs")
        engine = npm_package("@gorhill/ubo-core", "0.1.30") / "index.js"
        suffixes, lists = block_lists()
        command = [node, Path(__file__).with_name("ad_blocker.mjs"), engine, suffixes, *lists]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._lock = threading.Lock()

    def rule(self, url: str, kind: str, page: str = f"{PAGE}/") -> str | None:
        """The rule that blocks such a request of this page, if any does."""
        asked = {"url": url, "originURL": page, "type": TYPES.get(kind, kind)}
        with self._lock:
            self.process.stdin.write(json.dumps(asked) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def blocker() -> Iterator[Blocker]:
    made = Blocker()
    yield made
    made.process.kill()
    made.process.communicate()


@pytest.mark.parametrize("base", HOSTS.values(), ids=HOSTS)
@pytest.mark.parametrize("path", [TRACK, Config.track_path])
def test_a_visitor_with_an_ad_blocker_is_counted_at_the_neutral_path_alone(browser, shop, server, blocker, base, path):
    address = shop(f"{base}{path}")
    blocked = []

    def pass_on(route):
        url = route.request.url
        rule = blocker.rule(url, route.request.resource_type)
        if rule:
            blocked.append(rule)
            route.abort("blockedbyclient")
        else:
            real = url.replace(f"{PAGE}/", address).replace(base, server.url)
            route.fulfill(response=route.fetch(url=real))

    page = browser.new_page()
    page.route("**/*", pass_on)
    page.goto(f"{PAGE}/")
    page.evaluate("buy.complete()")

    def counted() -> list[dict]:
        return page.request.get(f"{server.url}/experiments").json()[1:]

    if path == TRACK:
        wait_for(lambda: page.evaluate("1") and len(blocked) >= 2, "two blocked events")
        assert (set(blocked), counted()) == ({"/track?*&event="}, [])
    else:
        wait_for(lambda: counted() and counted()[0]["goals"], "a visitor and a goal")
        assert (blocked, sum(taking_part(counted()[0]).values())) == ([], 1)
    page.unroute_all(behavior="ignoreErrors")  # Alephbet sends events again that are still on their way
    page.close()


def test_no_list_blocks_the_neutral_path_on_any_kind_of_host(blocker):
    for base in (*HOSTS.values(), *OTHER_HOSTS):
        for kind in ("fetch", "xmlhttprequest"):
            assert {blocker.rule(f"{base}{Config.track_path}?{query}", kind) for query in QUERIES} == {None}
            assert blocker.rule(f"{base}{Config.track_path}", kind) is None  # POST
            assert {blocker.rule(f"{base}{TRACK}?{query}", kind) for query in QUERIES} != {None}
    assert blocker.rule(ALEPHBET_URL, "script") is None


def test_beacons_to_another_site_are_blocked_whatever_their_path(blocker):
    for path in (TRACK, Config.track_path):
        assert blocker.rule(f"{HOSTS['a REST API']}{path}", "ping") == "*$ping,3p"
        assert blocker.rule(f"{HOSTS['its own subdomain']}{path}", "ping") is None
