"""The page for a team: an invite link, what the read key shows, and other keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.commands.test_main import run
from tests.parts import GimelServer
from tests.server.test_app import ask

from .reading import visitors
from .test_dashboard import serious

READ_KEY, WRITE_KEY = "rëad & = key", "write-key"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory) -> Iterator[GimelServer]:
    server = GimelServer("--api-key", WRITE_KEY, "--read-key", READ_KEY, home=tmp_path_factory.mktemp("home"))
    for name in ("one page", "two pages"):
        visitors(server, name, {"a": (30, {"buy": 3}), "b": (31, {"buy": 9})}, namespace="shop")
    visitors(server, "letter", {"a": (3, {}), "b": (3, {})}, namespace="mail")
    yield server
    server.stop()


@pytest.fixture
def invitation(guarded) -> str:
    options = "--url", guarded.url, "--read-key", READ_KEY
    return run("invite", *options, "--namespace", "shop", "--experiment", "two pages").stdout.strip()


def test_an_invite_link_lets_its_reader_in_and_leaves_no_key_in_the_address(guarded, invitation, visit):
    page = visit("about:blank")
    asked = []
    page.on("request", lambda request: asked.append((request.url, request.headers.get("x-api-key"))))
    page.goto(invitation)
    expect(page.locator("#experiment h2")).to_have_text("two pages")
    expect(page).to_have_url(f"{guarded.url}/#namespace=shop&experiment=two+pages")
    assert any(key for _, key in asked)
    assert not any("key" in url for url, _ in asked)
    page.get_by_role("link", name="one page").click()
    expect(page.locator("#experiment h2")).to_have_text("one page")
    page.go_back()
    expect(page).to_have_url(f"{guarded.url}/#namespace=shop&experiment=two+pages")
    later = page.context.new_page()  # a link without a key, as a colleague sends it
    later.goto(page.url)
    expect(later.locator("#experiment h2")).to_have_text("two pages")


def test_the_read_key_shows_no_way_to_change_anything(guarded, invitation, visit):
    page = visit(invitation)
    expect(page.get_by_text("Read only")).to_be_visible()
    expect(page.locator("#experiment h2")).to_have_text("two pages")
    expect(page.locator("#experiment .danger")).to_have_count(0)
    kept = page.evaluate("localStorage.getItem('gimel api key')")
    key = kept.encode().decode("latin-1")
    assert ask(f"{guarded.url}/delete?namespace=shop&experiment=two+pages", "DELETE", x_api_key=key)[0] == 403


def test_a_forgotten_key_is_gone_from_all_tabs(guarded, invitation, visit):
    page = visit(invitation, failing=True)
    expect(page.locator("#in-use")).to_be_visible()
    page.get_by_text("Read only").click()
    page.get_by_role("button", name="Forget the key").click()
    expect(page.get_by_label("API key")).to_be_visible()
    expect(page.locator("#in-use")).to_be_hidden()
    expect(page.locator("#list")).to_be_hidden()
    expect(page.locator("#key")).to_be_hidden()
    other = page.context.new_page()
    other.goto(guarded.url)
    expect(other.get_by_label("API key")).to_be_visible()
    assert READ_KEY not in page.evaluate("JSON.stringify([localStorage, sessionStorage])")


def test_a_reader_who_has_the_write_key_can_use_it_in_one_tab(guarded, invitation, visit):
    page = visit(invitation, failing=True)
    page.get_by_text("Read only").click()
    page.get_by_role("button", name="Use another key").click()
    field = page.get_by_label("API key")
    expect(field).to_be_focused()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#experiment h2")).to_have_text("two pages")
    page.get_by_text("Read only").click()
    page.get_by_role("button", name="Use another key").click()
    field.fill("wrong")
    field.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The API key is wrong.")
    page.get_by_role("button", name="Cancel").click()  # back to the key of the link
    expect(page.get_by_text("Read only")).to_be_visible()
    page.get_by_text("Read only").click()
    page.get_by_role("button", name="Use another key").click()
    field.fill(WRITE_KEY)
    field.press("Enter")
    expect(page.locator("#key summary")).to_have_text("Key")
    expect(page.locator("#experiment .danger")).not_to_have_count(0)
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.get_by_text("Read only")).to_be_visible()


def test_a_link_whose_key_was_replaced_says_so_and_the_next_one_works(guarded, invitation, visit):
    page = visit(f"{guarded.url}/#namespace=shop&key=replaced", failing=True)
    expect(page.get_by_role("alert")).to_have_text("The key of your link is no longer valid. Ask for a new link.")
    page.evaluate("address => { location.href = address; }", invitation)
    expect(page.locator("#experiment h2")).to_have_text("two pages")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", 1024), ("light", 320)])
def test_the_menu_of_the_key_fits_and_is_accessible(guarded, invitation, visit, scheme, width):
    page = visit(invitation, color_scheme=scheme, viewport={"width": width, "height": 800})
    page.get_by_text("Read only").click()
    for name in ("Use another key", "Forget the key"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert serious(page) == []
    page.get_by_role("button", name="Use another key").press("Enter")  # another menu lies over it
    assert serious(page) == []
