"""Reports that come in pages, and what was not counted, in a real Chromium."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from tests.parts import GimelServer, wait_for

from .reading import address, listed, visitors

ALIKE = {"a": (60, {"buy": 6}), "b": (62, {"buy": 9})}
NAMES = [f"e{number:03}" for number in range(205)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    started = GimelServer("--data", "data", home=tmp_path_factory.mktemp("pages"))
    for name in NAMES:
        visitors(started, name, {"a": (3, {"buy": 1}), "b": (2, {})})
    visitors(started, "only", ALIKE, namespace="small")
    yield started
    started.stop()


def with_meta(page, **meta):
    """The answers of the server with this in their meta as well."""

    def answer(route):
        items = route.fetch().json()
        items[0]["meta"] |= meta
        route.fulfill(json=items)

    page.route("**/experiments?*", answer)
    page.get_by_role("button", name="Refresh").click()


def test_the_first_pages_are_shown_while_the_others_are_on_their_way(server, visit):
    page = visit("about:blank")
    held = []
    page.route("**/experiments?*after=e199*", lambda route: held.append(route))
    page.goto(address(server, sort="name"))
    expect(page.locator("#found")).to_have_text("200 experiments so far")
    wait_for(lambda: page.evaluate("true") and held, "the question")
    assert listed(page).all_inner_texts() == NAMES[:200]
    expect(page.locator("#experiment")).to_contain_text("Loading the report…")
    expect(page.locator("#export")).to_be_hidden()
    page.get_by_role("link", name="e007").click()
    expect(page.locator("#experiment h2")).to_have_text("e007")
    held[0].continue_()
    expect(page.locator("#found")).to_have_text("205 experiments")
    assert listed(page).all_inner_texts() == NAMES
    expect(page.locator("#experiment h2")).to_have_text("e007")
    expect(page.locator("#export")).to_be_visible()


def test_a_refresh_keeps_the_whole_list_until_the_next_one_is_whole(server, visit):
    page = visit(server.url)
    expect(page.locator("#found")).to_have_text("205 experiments")
    held = []
    page.route("**/experiments?*after=e099*", lambda route: held.append(route))
    page.get_by_role("button", name="Refresh").click()
    wait_for(lambda: page.evaluate("true") and held, "the question")
    expect(page.locator("#found")).to_have_text("205 experiments")


def test_a_report_that_breaks_off_is_none(server, visit):
    page = visit("about:blank", failing=True)
    page.route("**/experiments?*after=e099*", lambda route: route.abort())
    page.goto(server.url)
    expect(page.get_by_role("heading", name="Gimel does not answer")).to_be_visible()


def test_a_server_that_knows_no_pages_is_read_at_once(server, visit):
    page = visit("about:blank")
    asked = []

    def answer(route):
        asked.append(route.request.url)
        _, *items = route.fetch(url=f"{server.url}/experiments").json()
        route.fulfill(json=[{"meta": {"scope": None}}, *items])

    page.route("**/experiments?*", answer)
    page.goto(server.url)
    expect(page.locator("#found")).to_have_text("205 experiments")
    assert len(asked) == 1


def test_what_was_ignored_today_is_one_line_and_a_limit_a_warning(server, visit):
    page = visit(address(server, namespace="small"))
    expect(page.locator("#found")).to_have_text("1 experiment")
    expect(page.locator("#ignored")).to_be_empty()
    with_meta(page, ignored={"bot": 1204, "origin": 1})
    expect(page.locator("#ignored")).to_have_text(
        "1,204 requests from bots, 1 request from other origins ignored today."
    )
    page.unroute_all()
    with_meta(page, ignored={"limit": 3})
    expect(page.locator("#ignored .note .icon")).to_be_visible()
    expect(page.locator("#ignored")).to_have_text(
        "3 requests beyond a limit ignored today: delete experiments that are no longer needed, or raise limits in"
        " config.json."
    )


def test_what_was_ignored_is_said_where_nothing_else_is(server, visit):
    page = visit(address(server, namespace="empty"))
    expect(page.get_by_role("heading", name="Nothing has been tracked yet")).to_be_visible()
    with_meta(page, ignored={"experiment": 7})
    expect(page.locator("#state")).to_contain_text("7 requests for experiments that are not in config.json ignored")


def test_what_was_ignored_is_in_the_html_and_not_in_the_json(server, visit, tmp_path):
    page = visit(address(server, namespace="small"))
    with_meta(page, ignored={"bot": 1204})
    expect(page.locator("#ignored")).to_contain_text("1,204")
    saved = {}
    for form in ("html", "json"):
        page.locator("#export summary").click()
        with page.expect_download() as download:
            page.locator(f"[data-form={form}]").click()
        saved[form] = tmp_path / f"report.{form}"
        download.value.save_as(saved[form])
    assert [item["experiment"] for item in json.loads(saved["json"].read_text())] == ["only"]
    expect(visit(saved["html"].as_uri()).locator("#ignored")).to_have_text("1,204 requests from bots ignored today.")
