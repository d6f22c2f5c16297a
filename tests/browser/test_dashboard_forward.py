"""`gimel dashboard`: the page of a deployed API, whose key stays with the command."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

import pytest
from playwright.sync_api import expect

from tests.parts import GimelServer, start_gimel, wait_for
from tests.server.test_app import ask

from .reading import cell, goal, row, visitors

KEY = "the deployment's key"


class Dashboard:
    """`gimel dashboard` as its user starts it."""

    def __init__(self, folder, *options: str, key: str | None = KEY, **more: str) -> None:
        environ = {"BROWSER": "true", **more}  # the command that does nothing
        if key:
            environ["GIMEL_API_KEY"] = key
        self.process = start_gimel("dashboard", "--port", "0", *options, home=folder, **environ)
        self.process.wait_for_line("Press Ctrl-C to stop.")
        self.lines = self.process.lines
        self.address = next(line.split()[4] for line in self.lines if line.startswith("The dashboard is at"))
        self.url, fragment = self.address.split("/#")
        self.token = dict(parse_qsl(fragment))["token"]

    def stop(self) -> None:
        self.process.stop()


def api(home) -> GimelServer:
    """A server that wants a key, as a deployed API does."""
    server = GimelServer("--api-key", KEY, home=home)
    visitors(server, "deployed", {"a": (30, {"buy": 3}), "b": (31, {"buy": 9})}, namespace="shop")
    return server


@pytest.fixture(scope="module")
def deployed(tmp_path_factory) -> Iterator[GimelServer]:
    """One for all tests, which is only read."""
    server = api(tmp_path_factory.mktemp("deployed"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def opened(tmp_path_factory, deployed) -> Iterator[Dashboard]:
    """One for all calls that it refuses."""
    started = Dashboard(tmp_path_factory.mktemp("opened"), "--url", deployed.url)
    yield started
    started.stop()


@pytest.fixture
def to_be_changed(tmp_path) -> Iterator[GimelServer]:
    """One that a test may change or stop."""
    (tmp_path / "api").mkdir()
    server = api(tmp_path / "api")
    yield server
    server.stop()


@pytest.fixture
def dashboard(tmp_path) -> Iterator:
    started: list[Dashboard] = []

    def start(*options: str, **more) -> Dashboard:
        started.append(Dashboard(tmp_path, *options, **more))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def test_the_page_shows_a_deployed_api_and_never_sees_the_key(deployed, dashboard, visit):
    started = dashboard("--url", deployed.url, "--namespace", "shop")
    page = visit("about:blank")
    seen = []
    page.on("request", lambda request: seen.append(f"{request.url} {request.headers} {request.post_data}"))
    page.on("response", lambda answer: seen.append(f"{answer.headers} {answer.text() if answer.ok else ''}"))
    page.goto(started.address)
    expect(page.locator("#experiment h2")).to_have_text("deployed")
    page.get_by_label("Compared with").select_option("b")
    expect(page).to_have_url(f"{started.url}/#namespace=shop&experiment=deployed&control=b")
    expect(row(goal(page, "buy"), "b")).to_contain_text("control")
    wait_for(lambda: page.evaluate("1") and len(seen) > 10, "all requests and their answers")
    assert not any(KEY in text for text in [*seen, *started.lines])


def test_the_token_is_in_no_address_and_not_sent_to_the_api(dashboard, stub, visit):
    url, asked = stub(200, {"Content-Type": "application/json"}, b"[]")
    started = dashboard("--url", url)
    page = visit("about:blank")
    seen = []
    page.on("request", lambda request: seen.append(request.url))
    page.goto(started.address)
    expect(page.get_by_role("heading", name="Nothing has been tracked yet")).to_be_visible()
    assert not any(started.token in each for each in [page.url, *seen])
    assert asked
    assert not any(started.token in str(headers) for _, headers in asked)


def test_links_work_in_other_tabs_and_after_a_reload(deployed, dashboard, visit):
    started = dashboard("--url", deployed.url, "--namespace", "shop")
    page = visit(started.address)
    expect(page.locator("#experiment h2")).to_have_text("deployed")
    page.reload()
    expect(page.locator("#experiment h2")).to_have_text("deployed")
    other = page.context.new_page()
    other.goto(f"{started.url}/#namespace=shop&experiment=deployed")
    expect(other.locator("#experiment h2")).to_have_text("deployed")


def test_a_page_without_a_token_says_what_to_do_and_accepts_one(deployed, dashboard, visit):
    started = dashboard("--url", deployed.url, "--namespace", "shop")
    page = visit(f"{started.url}/#namespace=shop", failing=True)
    expect(page.locator("#state")).to_contain_text("Open the address printed by `gimel dashboard`")
    page.evaluate("address => { location.href = address; }", started.address)
    expect(page.locator("#experiment h2")).to_have_text("deployed")


def test_a_link_with_a_wrong_token_does_not_lock_a_page_out(deployed, dashboard, visit):
    started = dashboard("--url", deployed.url, "--namespace", "shop")
    page = visit(started.address, failing=True)
    expect(page.locator("#experiment h2")).to_have_text("deployed")
    for wrong in ("wrong", "ש"):
        page.goto("about:blank")
        page.goto(f"{started.url}/#namespace=shop&token={wrong}")
        expect(page.locator("#experiment h2")).to_have_text("deployed")


def test_a_page_of_an_earlier_start_works_again(deployed, dashboard, visit):
    """At the same port, as is usual: a page left open, and a link to it."""
    first = dashboard("--url", deployed.url, "--namespace", "shop")
    page = visit(first.address, failing=True)
    expect(page.locator("#experiment h2")).to_have_text("deployed")
    link = page.url
    first.stop()
    second = dashboard("--url", deployed.url, "--namespace", "shop", "--port", first.url.rpartition(":")[2])
    assert (second.url, second.token == first.token) == (first.url, False)
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#banner")).to_contain_text("Open the address printed by `gimel dashboard`")
    opened = page.context.new_page()
    opened.goto(second.address)
    expect(opened.locator("#experiment h2")).to_have_text("deployed")
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#banner")).to_be_hidden()
    opened.goto(link)
    expect(opened.locator("#experiment h2")).to_have_text("deployed")


def test_the_address_that_the_browser_is_started_with_is_good_once(deployed, dashboard, visit, tmp_path):
    """Other users can read it in the list of processes."""
    opened_at = tmp_path / "opened-at"
    starter = tmp_path / "browser"
    starter.write_text(f"#!/bin/sh\nprintf %s \"$1\" > '{opened_at}.part' && mv '{opened_at}.part' '{opened_at}'\n")
    starter.chmod(0o700)
    started = dashboard("--url", deployed.url, "--namespace", "shop", BROWSER=str(starter))
    wait_for(opened_at.exists, "the browser")
    opened = opened_at.read_text()
    assert started.token not in opened
    page = visit(opened)
    expect(page.locator("#experiment h2")).to_have_text("deployed")
    page.reload()
    expect(page.locator("#experiment h2")).to_have_text("deployed")
    second = visit(opened, failing=True)
    expect(second.locator("#state")).to_contain_text("Open the address printed by `gimel dashboard`")


def test_an_experiment_of_a_deployed_api_is_deleted(to_be_changed, dashboard, visit):
    started = dashboard("--url", to_be_changed.url, "--namespace", "shop")
    page = visit(started.address)
    page.get_by_role("button", name="Delete…").click()
    page.get_by_label("Type its name to confirm").fill("deployed")
    page.get_by_role("button", name="Delete permanently").click()
    expect(page.get_by_role("heading", name="Nothing has been tracked yet")).to_be_visible()
    expect(page.get_by_label("Snippet")).to_contain_text(f'"{to_be_changed.url}/track", "shop"')


def test_a_wrong_key_is_reported_and_not_asked_for(deployed, dashboard, visit):
    started = dashboard("--url", deployed.url, key="wrong")
    page = visit(started.address, failing=True)
    expect(page.locator("#state")).to_contain_text(f"{deployed.url} refused the API key")
    expect(page.get_by_label("API key")).to_have_count(0)


def test_an_unreachable_api_is_reported(to_be_changed, dashboard, visit):
    started = dashboard("--url", to_be_changed.url)
    to_be_changed.stop()
    page = visit(started.address, failing=True)
    expect(page.locator("#state")).to_contain_text(f"Cannot reach {to_be_changed.url}")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Host": "evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/experiments"),
        ("GET", "/history?experiment=deployed"),
        ("DELETE", "/delete?experiment=deployed"),
        ("POST", "/enter"),
    ],
)
def test_other_pages_cannot_use_the_key(opened, headers, method, path):
    status, sent, body = ask(f"{opened.url}{path}", method, X_Gimel_Token=opened.token, **headers)
    assert status == 403
    assert "Access-Control-Allow-Origin" not in sent
    assert "session token missing" in json.loads(body)["error"]


@pytest.fixture
def stub() -> Iterator:
    """An API of somebody else's: it answers this status, headers and body, and keeps who asked for what."""
    sites = []

    def start(status: int, headers: dict[str, str], body: bytes = b"") -> tuple[str, list]:
        asked = []

        class Site(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append((self.path, dict(self.headers)))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *ignored: object) -> None:
                pass

        sites.append(ThreadingHTTPServer(("127.0.0.1", 0), Site))
        threading.Thread(target=sites[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{sites[-1].server_port}", asked

    yield start
    for site in sites:
        site.shutdown()
        site.server_close()


def test_other_programs_of_this_machine_cannot_use_the_key(dashboard, stub):
    url, asked = stub(200, {"Content-Type": "application/json"}, b"[]")
    started = dashboard("--url", url)
    calls = [("GET", "/experiments"), ("DELETE", "/delete?experiment=e"), ("GET", "/?about=1"), ("POST", "/nowhere")]
    for token in ({}, {"X_Gimel_Token": ""}, {"X_Gimel_Token": "wrong"}, {"X_Gimel_Token": "\xe9"}):
        for method, path in calls:
            status, _, body = ask(f"{started.url}{path}", method, **token)
            assert status == 403
            assert "open the address printed by `gimel dashboard`" in json.loads(body)["hint"]
    assert asked == []


@pytest.mark.parametrize("path", ["/experiments", "/history?experiment=e"])
def test_a_redirect_does_not_take_the_key_along(dashboard, stub, path):
    url, asked = stub(302, {"Location": "/stolen"})
    started = dashboard("--url", url)
    status, _, body = ask(f"{started.url}{path}", X_Gimel_Token=started.token)
    assert (status, [path for path, _ in asked]) == (502, [path if "?" in path else f"{path}?"])
    assert asked[0][1]["X-Api-Key"] == KEY
    assert "302" in json.loads(body)["error"]


def test_an_api_of_gimel_1_shows_its_counts(dashboard, stub, visit):
    results = [{"label": "blue", "successes": 3, "trials": 41}, {"label": "red", "successes": 5, "trials": 40}]
    old = [{"meta": {"scope": None}}, {"experiment": "old", "goals": [{"goal": "buy", "results": results}]}]
    url, _ = stub(200, {"Content-Type": "application/json"}, json.dumps(old).encode())
    page = visit(dashboard("--url", url).address)
    expect(page.locator("#experiment h2")).to_have_text("old")
    expect(row(page.locator("table.split"), "red")).to_contain_text("40")
    expect(cell(row(goal(page, "buy"), "red"), "Reached")).to_have_text("5of 40")
    expect(cell(row(goal(page, "buy"), "red"), "Rate")).to_have_text("\u2013")
    expect(page.locator("#list .chip")).to_have_text("No verdict")


def test_nothing_but_the_dashboard_is_served(opened):
    paths = ("/health", "/example", "/track", "/enter")
    assert [ask(opened.url + path, X_Gimel_Token=opened.token)[0] for path in paths] == [405, 404, 405, 405]
