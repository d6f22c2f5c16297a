from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.parts import GimelServer, RedisServer

expect.set_options(timeout=15_000)  # for a busy machine, but less than until the page reads again by itself


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GimelServer]:
    """`gimel serve --demo`, for tests that only look."""
    server = GimelServer("--demo", home=tmp_path_factory.mktemp("demo"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def _started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GimelServer, RedisServer]]:
    store = RedisServer(tmp_path_factory.mktemp("redis")).start()
    server = GimelServer(home=tmp_path_factory.mktemp("home"), environ={"GIMEL_REDIS_URL": store.url})
    yield server, store
    server.stop()
    store.stop()


@pytest.fixture
def server(_started: tuple[GimelServer, RedisServer]) -> GimelServer:
    """`gimel serve` with an empty Redis, the same for all tests that neither stop nor configure it."""
    server, store = _started
    store.flush()
    return server


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page; afterwards its console must be free of errors, and no request may have left its origin.

    `failing` is for a page whose server gives it errors, which Chromium itself writes to the console; `stopped` for one
    whose time goes on only when the test says so.
    """
    contexts, complaints = [], []

    def opened(url: str, failing: bool = False, stopped: bool = False, **options: object) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **options})
        contexts.append(context)
        origin = "http://127.0.0.1" if url == "about:blank" else url.split("/#")[0].rstrip("/")
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("console", lambda said: complaints.append(said.text) if _is_bad(said, failing) else None)
        page.on(
            "request",
            lambda asked: (
                complaints.append(f"left its origin: {asked.url}")
                if not asked.url.startswith((origin, "data:", "blob:"))
                else None
            ),
        )
        if stopped:
            # Installed alone, it goes on like any clock.
            page.clock.install()
            page.clock.pause_at(datetime.now() + timedelta(seconds=60))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def _is_bad(said: ConsoleMessage, failing: bool) -> bool:
    return said.type in ("error", "warning") and not (failing and "Failed to load resource" in said.text)
