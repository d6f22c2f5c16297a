"""A refresh in a real Chromium: it changes what differs and leaves alone what a person is doing."""

from __future__ import annotations

import copy
import re

import pytest
from playwright.sync_api import Page, expect

from tests.parts import wait_for

from .reading import address, cell, goal, listed, report, row, visitors

CHECKOUT = "checkout: one page or three"
PRICE = "price display"
PARTS = ["list", "experiment", "state", "found", "banner", "freshness"]

WATCH = """parts => {
  window.mutations = [];
  const seen = records => window.mutations.push(...records.map(each => ({
    part: parts.find(id => document.getElementById(id).contains(each.target)),
    kind: each.type, text: each.target.textContent, attribute: each.attributeName,
  })));
  const options = {childList: true, subtree: true, attributes: true, characterData: true};
  window.observers = parts.map(id => {
    const observer = new MutationObserver(seen);
    observer.observe(document.getElementById(id), options);
    return observer;
  });
  window.allMutations = () => {
    window.observers.forEach(each => seen(each.takeRecords()));
    return window.mutations;
  };
}"""


class Refreshed:
    """A page on the demo's report, which a test can change before the next refresh."""

    def __init__(self, page: Page, items: dict[str, dict]) -> None:
        self.page = page
        self.items = copy.deepcopy(items)
        page.route("**/experiments?*", lambda route: route.fulfill(json=list(self.items.values())))

    def opened(self, url: str) -> Page:
        self.page.goto(url)
        expect(self.page.locator("#experiment h2")).to_be_visible()
        expect(self.page.locator(".over-time, .history-note").first).to_be_attached()  # the history has come, too
        self.page.evaluate(WATCH, PARTS)
        return self.page

    def refresh(self) -> list[dict]:
        """What the next refresh changes, except the time of day."""
        before = self.page.locator("#freshness").inner_text()
        self.page.clock.fast_forward(31_000)
        expect(self.page.locator("#freshness")).not_to_have_text(before)
        found = self.page.evaluate("window.allMutations()")
        self.page.evaluate("window.mutations = []")
        clock = [each["kind"] for each in found if each["part"] == "freshness"]
        assert clock == ["characterData"]
        return [each for each in found if each["part"] != "freshness"]


@pytest.fixture
def refreshed(demo, visit) -> Refreshed:
    return Refreshed(visit("about:blank", stopped=True), report(demo))


def change_count(item: dict) -> None:
    """One more success, which changes no other figure of the page."""
    item["goals"][0]["results"][-1]["successes"] += 1


@pytest.mark.parametrize("name", [CHECKOUT, PRICE, "new landing page", "article layout", "button color"])
def test_a_refresh_without_news_touches_no_node(demo, refreshed, name):
    refreshed.opened(address(demo, experiment=name))
    assert refreshed.refresh() == []
    assert refreshed.refresh() == []


@pytest.mark.parametrize("view", [{"namespace": "empty"}, {"search": "nowhere to be found"}, {"experiment": "gone"}])
def test_a_refresh_without_results_touches_no_node(demo, visit, view):
    page = visit(address(demo, **view), stopped=True)
    expect(page.locator("#freshness time")).to_be_visible()
    expect(page.locator("#main .state")).to_be_visible()
    page.evaluate(WATCH, PARTS)
    before = page.locator("#freshness").inner_text()
    page.clock.fast_forward(31_000)
    expect(page.locator("#freshness")).not_to_have_text(before)
    assert {each["part"] for each in page.evaluate("window.allMutations()")} == {"freshness"}


def test_a_server_that_stays_away_is_reported_once(demo, visit):
    page = Refreshed(visit("about:blank", failing=True, stopped=True), report(demo)).opened(address(demo))
    page.route("**/experiments?*", lambda route: route.fulfill(status=503, json={"error": "not now"}))
    with page.expect_response("**/experiments?*"):
        page.clock.fast_forward(31_000)
    expect(page.locator("#banner")).to_contain_text("Not now")
    page.evaluate("window.allMutations(); window.mutations = []")
    with page.expect_response("**/experiments?*"):
        page.clock.fast_forward(31_000)
    expect(page.locator("body")).not_to_have_class(re.compile("reading"))
    assert page.evaluate("window.allMutations()") == []


def test_a_changed_count_changes_only_its_own_text(demo, refreshed):
    page = refreshed.opened(address(demo, experiment=CHECKOUT))
    result = refreshed.items[CHECKOUT]["goals"][0]["results"][-1]
    change_count(refreshed.items[CHECKOUT])
    found = refreshed.refresh()
    assert [(each["part"], each["kind"], each["text"]) for each in found] == [
        ("experiment", "characterData", f"{result['successes']:,}")
    ]
    name = refreshed.items[CHECKOUT]["goals"][0]["goal"]
    expect(cell(row(goal(page, name), result["label"]), "Reached").locator(".value")).to_have_text(
        f"{result['successes']:,}"
    )


def test_selected_text_survives_a_change_elsewhere(demo, refreshed):
    page = refreshed.opened(address(demo, experiment=CHECKOUT))
    page.locator("#experiment .verdict strong").first.evaluate("each => getSelection().selectAllChildren(each)")
    selected = page.evaluate("getSelection().toString()")
    assert selected
    change_count(refreshed.items[CHECKOUT])
    assert refreshed.refresh()
    assert page.evaluate("getSelection().toString()") == selected


def test_a_focused_select_keeps_its_focus_and_value(demo, refreshed):
    page = refreshed.opened(address(demo, experiment=PRICE))
    control = page.get_by_label("Compared with")
    control.focus()
    # As while choosing by keyboard in an open list: no `change` event has come yet.
    control.evaluate("each => { each.value = 'yearly'; }")
    change_count(refreshed.items[PRICE])
    assert len(refreshed.refresh()) == 1
    expect(control).to_be_focused()
    expect(control).to_have_value("yearly")


def test_a_control_chosen_stays_chosen_until_its_figures_come(demo, visit):
    page = visit(address(demo, experiment=PRICE))
    expect(page.locator("#experiment h2")).to_be_visible()
    held = []
    page.route("**/experiments?*control=*", lambda route: held.append(route))
    control = page.get_by_label("Compared with")
    control.select_option("yearly")
    expect(page).to_have_url(re.compile("control=yearly"))
    expect(control).to_have_value("yearly")
    wait_for(lambda: page.evaluate("true") and held, "the request")
    held[0].continue_()
    expect(row(goal(page, "plan chosen"), "yearly")).to_contain_text("control")
    page.unroute("**/experiments?*control=*")
    control.select_option("per day")
    expect(row(goal(page, "plan chosen"), "per day")).to_contain_text("control")
    page.go_back()
    expect(control).to_have_value("yearly")
    expect(row(goal(page, "plan chosen"), "yearly")).to_contain_text("control")


def test_a_control_that_could_not_be_loaded_is_not_shown_as_chosen(demo, visit):
    page = visit(address(demo, experiment=PRICE), failing=True)
    expect(page.locator("#experiment h2")).to_be_visible()
    page.route("**/experiments?*control=*", lambda route: route.fulfill(status=503, json={"error": "not now"}))
    page.get_by_label("Compared with").select_option("yearly")
    expect(page.locator("#banner")).to_contain_text("Not now")
    expect(page.get_by_label("Compared with")).to_have_value("monthly")


def test_what_is_unfolded_stays_so_and_only_in_its_experiment(demo, refreshed):
    refreshed.items["twin"] = {**refreshed.items[PRICE], "experiment": "twin"}
    page = refreshed.opened(address(demo, experiment=PRICE))
    page.get_by_text("All figures").click()
    change_count(refreshed.items[PRICE])
    assert refreshed.refresh()
    expect(page.locator("details.more:not(.over-time)")).to_have_attribute("open", "")
    page.get_by_role("link", name="twin").click()
    expect(page.locator("#experiment h2")).to_have_text("twin")
    expect(page.locator("details.more:not(.over-time)")).not_to_have_attribute("open", "")


def test_scroll_positions_stay(demo, refreshed):
    page = refreshed.opened(address(demo, experiment=CHECKOUT))
    page.set_viewport_size({"width": 1400, "height": 400})
    page.evaluate("document.querySelector('#list').scrollTop = 90; scrollTo(0, 150)")
    change_count(refreshed.items[CHECKOUT])
    assert refreshed.refresh()
    assert page.evaluate("[document.querySelector('#list').scrollTop, scrollY]") == [90, 150]


def test_the_focus_on_the_list_stays_where_experiments_change_places(demo, refreshed):
    page = refreshed.opened(address(demo, sort="participants"))
    before = listed(page).all_inner_texts()
    link = page.get_by_role("link", name=before[3])
    link.focus()
    # The one with the focus overtakes all others, and the last one the first of those.
    refreshed.items[before[3]]["participants"][0]["trials"] += 1_000_000
    refreshed.items[before[-1]]["participants"][0]["trials"] += 500_000
    assert refreshed.refresh()
    expect(listed(page)).to_have_text([before[3], before[-1], *before[:3], *before[4:-1]])
    expect(link).to_be_focused()


def test_experiments_that_come_and_go_leave_the_others_alone(demo, refreshed):
    page = refreshed.opened(address(demo, sort="name"))
    before = listed(page).all_inner_texts()
    page.get_by_role("link", name=before[2]).focus()
    refreshed.items["0 new"] = {**refreshed.items[before[1]], "experiment": "0 new"}
    del refreshed.items[before[1]]
    found = [each for each in refreshed.refresh() if each["part"] == "list"]
    assert [each["kind"] for each in found if each["kind"] != "attributes"] == ["childList"] * 2
    expect(listed(page)).to_have_text(["0 new", before[0], *before[2:]])
    expect(page.get_by_role("link", name=before[2])).to_be_focused()


def test_buttons_act_on_what_is_shown_now(demo, refreshed):
    """No handler of an earlier state may survive in a node that is used again."""
    page = refreshed.opened(address(demo, experiment=PRICE))
    page.get_by_role("button", name="Participants").click()
    page.get_by_role("button", name="Participants").click()
    expect(page.locator("th.participants")).to_have_attribute("aria-sort", "ascending")
    refreshed.items[PRICE]["participants"][0]["trials"] += 1
    refreshed.refresh()
    page.get_by_role("button", name="Delete…").click()
    everyone = sum(each["trials"] for each in refreshed.items[PRICE]["participants"])
    expect(page.get_by_role("dialog")).to_contain_text(f"{everyone:,} participants")


def test_a_key_that_was_wrong_can_be_corrected_where_it_was_typed(serve, visit):
    server = serve("--api-key", "k")
    visitors(server, "guarded", {"a": (3, {}), "b": (2, {})})
    page = visit(server.url, failing=True)
    field = page.get_by_label("API key")
    field.fill("kk")
    field.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The API key is wrong.")
    expect(field).to_be_focused()
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    expect(page.locator("#experiment h2")).to_have_text("guarded")
