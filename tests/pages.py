"""A real browser, and a web team's page for it to open: fixtures of every test that needs them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, sync_playwright

from .parts import alephbet_file, chromium_path

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Safari/537.36"
"""What the browser of a visitor says; a headless one says that it is one, and is not counted."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real headless Chromium."""
    path = chromium_path()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=[*QUIET, f"--user-agent={USER_AGENT}"])
        yield chromium
        chromium.close()


PAGE = """<!doctype html>
<title>A shop</title>
<script>
  if (new URLSearchParams(location.search).has("nofetch")) delete window.fetch;
</script>
<script src="/alephbet.js"></script>
<script>
  const asked = new URLSearchParams(location.search);
  const adapter = new AlephBet[asked.get("adapter") || "AlephbetAdapter"](
    TRACK_URL, asked.get("namespace") || undefined);
  const experiment = new AlephBet.Experiment({
    name: asked.get("experiment") || "button color",
    user_id: asked.get("user") || undefined,
    tracking_adapter: adapter,
    variants: {
      blue: {activate: () => { document.body.dataset.variant = "blue"; }},
      red: {activate: () => { document.body.dataset.variant = "red"; }}
    }
  });
  const buy = new AlephBet.Goal("buy");
  const view = new AlephBet.Goal("page: view 100%", {unique: false});
  experiment.add_goals([buy, view]);
</script>
"""


@pytest.fixture
def shop() -> Iterator[Callable[[str], str]]:
    """A web team's page, on an origin of its own: give it a track URL, get the page's address."""
    script = alephbet_file().read_bytes()
    track_url = ["", ""]

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_script = self.path == "/alephbet.js"
            # The experiment runs where the body is: a script in the head has none yet.
            page = PAGE.replace("<title>", "<body><title>").replace("TRACK_URL", json.dumps(track_url[0]))
            self.send_response(200)
            self.send_header("Content-Type", "text/javascript" if is_script else "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(script if is_script else page.encode())

        def log_message(self, *ignored: object) -> None:
            pass

    site = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=site.serve_forever, daemon=True).start()

    def address(url: str) -> str:
        track_url[0] = url
        return f"http://127.0.0.1:{site.server_port}/"

    yield address
    site.shutdown()
    site.server_close()
