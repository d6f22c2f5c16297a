"""A new experiment on the page, in a real Chromium: from the numbers to its first visitor."""

from __future__ import annotations

import json
import re
from math import ceil
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Locator, Page, expect

from gimel import snippet
from gimel.analysis.planning import WAYS, Question, answer
from tests.calls import taking_part
from tests.commands.test_main import run
from tests.parts import alephbet_file

from .reading import address, numbers, report, visitors
from .test_dashboard import serious

TYPED = {"Conversion rate now": "5", "Smallest change that matters": "10", "Visitors per day": "2,400"}
ASKED = {"rate": "5%", "change": "10%", "per_day": "2400"}


def type_figures(page: Page, **more: str) -> None:
    for label, text in {**TYPED, **more}.items():
        page.get_by_role("textbox", name=label).fill(text)


def truth_of(server, weights: str) -> dict:
    """What the functions say, with counters of the server's precision; it answers the same."""
    asked = {**ASKED, "weights": weights}
    with urlopen(f"{server.url}/plan?{urlencode(asked)}") as response:
        answered = json.load(response)
    assert answered == answer(Question.read(asked, answered["precision"]))
    return answered


def table(page: Page, caption: str) -> Locator:
    return page.get_by_role("table", name=caption)


def figures(rows: Locator) -> list[list[float]]:
    """The numbers in the cells of each row."""
    return [
        [shown.value for text in row.locator("td.number").all_inner_texts() for shown in numbers(text)]
        for row in rows.all()
    ]


def test_the_numbers_are_those_of_the_functions(demo, visit):
    page = visit(demo.url)
    page.get_by_role("link", name="New experiment").click()
    expect(page.get_by_role("heading", name="New experiment")).to_be_focused()
    expect(page.locator("#list [aria-current]")).to_have_count(0)
    with page.expect_request(lambda asked: "experiment=tea+%26+cake" in asked.url):  # whose precision may be its own
        page.get_by_label("Name", exact=True).fill("tea & cake")
        type_figures(page)
    page.get_by_label("split by weights").check()
    page.get_by_role("button", name="Add a variant").click()
    for weight, text in zip(page.get_by_label("weight", exact=True).all(), ("8", "1", "1"), strict=True):
        weight.fill(text)
    truth = truth_of(demo, "8,1,1")
    always = truth["ways"]["always_valid"]
    ways = [truth["ways"]["planned"], always, always["typical"], truth["ways"]["single_look"]]
    rows = table(page, "Visitors and days for each way of deciding").locator("tbody tr")
    expect(rows.first.locator("td").first).to_have_text(f"{ways[0]['visitors']:,}")
    assert figures(rows) == [[way["visitors"], way["days"]] for way in ways]
    visible = table(page, "The smallest change that is visible after some weeks").locator("tbody tr")
    for found, true in zip(figures(visible), truth["visible"], strict=True):
        assert found == [true["visitors"], *(ceil(1000 * true[way]) / 10 for way in WAYS)]
    check_curve(page, truth)
    planned = page.get_by_label(f"At the planned size of {ways[0]['visitors']:,} visitors ({ways[0]['days']} days)")
    expect(planned).to_be_checked()


def check_curve(page: Page, truth: dict) -> None:
    """Every line runs through the visitors of the functions, by the labels of its axes."""
    plot = page.locator(".plan-curve")
    height = float(plot.locator("svg.over line.grid").first.evaluate("line => line.closest('svg').clientHeight")) - 18
    sizes = [
        (numbers(tick.text_content())[0].value / 100, float(tick.get_attribute("y")) - 4)
        for tick in plot.locator("svg").filter(has=page.locator("text.tick:not(.minor)")).locator("text").all()
        if "%" in tick.text_content()
    ]
    highest = next(size / (1 - y / height) for size, y in sizes)
    assert all(abs(size / (1 - y / height) / highest - 1) < 0.02 for size, y in sizes)
    longest = max(56, *(way["days"] for way in truth["ways"].values()))
    for way in WAYS:
        drawn = re.findall(r"([\d.-]+) ([\d.-]+)", plot.locator(f"path[data-way={way}]").get_attribute("d"))
        assert len(drawn) == len(truth["curve"])
        for (x, y), true in zip(drawn, truth["curve"], strict=True):
            assert float(x) / 1000 * longest == pytest.approx(true[way] / truth["per_day"], abs=longest / 5000)
            assert highest * (1 - float(y) / height) == pytest.approx(true["change"], abs=highest / 500)


def test_the_figures_of_another_experiment_are_proposed(demo, visit):
    page = visit(address(demo, plan="1"))
    page.get_by_label("Take the figures of").select_option("button color: confirmed e-mail")
    item = report(demo)["button color"]
    rows = next(each for each in item["goals"] if each["goal"] == "confirmed e-mail")["results"]
    rate = next(row["rate"] for row in rows if row["label"] == item["control"])
    shown = float(page.get_by_label("Conversion rate now").input_value())
    per_day = float(page.get_by_role("textbox", name="Visitors per day").input_value())
    assert (shown, per_day) == (
        float(f"{100 * rate:.3g}"),
        pytest.approx(sum(item["visitors_per_day"].values()), rel=0.005),
    )
    expect(table(page, "Visitors and days for each way of deciding")).to_be_visible()
    asked = ("plan", "--like", "button color", "--goal", "confirmed e-mail", "--change", "10%", "--url", demo.url)
    printed = json.loads(run(*asked, "--format", "json").stdout)
    assert (printed["rate"], printed["per_day"]) == (pytest.approx(shown / 100), per_day)


def test_what_is_wrong_is_told_where_it_was_typed(demo, visit):
    page = visit(address(demo, plan="1"), failing=True)
    type_figures(page, **{"Conversion rate now": "120", "Visitors per day": "many"})
    expect(page.locator("#problem-plan-rate")).to_contain_text("Must be above 0 and below 1")
    expect(page.locator("#problem-plan-per_day")).to_contain_text("Must be a number of visitors above 0")
    expect(page.get_by_label("Conversion rate now")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Name", exact=True).fill("button color")
    page.get_by_role("button", name="Save the draft").click()
    alert = page.get_by_role("alert")
    for problem in ("of this name exists", "Give each goal a name", "figures above are not complete"):
        expect(alert).to_contain_text(problem)
    remove = page.get_by_role("button", name="Remove this variant")
    remove.first.click()
    expect(remove).to_be_focused()  # that of the other one


def test_a_reader_sees_the_numbers_and_cannot_save(serve, redis_server, visit):
    server = serve("--api-key", "w", "--read-key", "r", GIMEL_REDIS_URL=redis_server.url)
    page = visit(address(server, plan="1"))
    page.get_by_label("API key").fill("r")
    page.keyboard.press("Enter")
    type_figures(page)
    expect(table(page, "Visitors and days for each way of deciding")).to_be_visible()
    expect(page.get_by_role("button", name="Save the draft")).to_be_disabled()
    expect(page.get_by_text("Saving needs the write key.")).to_be_visible()


def test_a_planned_experiment_runs_once_its_snippet_has_a_visitor(browser, server, visit):
    """A draft with its snippet; events that are refused meanwhile, with the reason; and the first visitor."""
    page = visit(address(server, plan="1"), stopped=True)
    type_figures(page)
    page.clock.run_for(1000)
    page.get_by_label("Name", exact=True).fill("checkout, short")
    page.get_by_label("Hypothesis").fill("Fewer fields, more orders")
    page.get_by_label("split by weights").check()
    page.get_by_role("button", name="Save the draft").click()
    expect(page.get_by_role("alert")).to_contain_text("Give each goal a name")
    page.evaluate("location.hash = 'namespace=shop&experiment=another'")
    expect(page.get_by_role("heading", name="New experiment")).to_be_hidden()
    page.evaluate("location.hash = 'namespace=shop&plan=1'")  # what was typed is still there
    expect(page.get_by_label("Name", exact=True)).to_be_visible()
    expect(page.locator("#planner .back")).to_have_attribute("href", "#namespace=shop")
    page.get_by_label("Name of the goal").fill("order placed")
    page.get_by_role("button", name="Add a goal").click()
    page.get_by_label("Name of the goal").last.fill("page view")
    page.get_by_label("counts every time").last.check()
    expect(table(page, "Visitors and days for each way of deciding")).to_be_visible()
    for weight, text in zip(page.get_by_label("weight", exact=True).all(), ("999999", "1"), strict=True):
        weight.fill(text)
    page.get_by_role("button", name="Save the draft").click()  # before the page has asked for the figures of these
    expect(page.locator("#experiment h2")).to_have_text("checkout, short")

    settings = report(server, namespace="shop")["checkout, short"]["settings"]
    planned = truth_of(server, "999999,1")["settings"]
    assert settings["status"] == "draft"
    assert {key: settings[key] for key in ("hypothesis", "baseline", "weights", "goal", "goals", "per_visitor")} == {
        "hypothesis": "Fewer fields, more orders",
        "baseline": "current",
        "weights": {"current": 999_999, "new": 1},
        "goal": "order placed",
        "goals": ["order placed", "page view"],
        "per_visitor": ["page view"],
    }
    assert {key: settings[key] for key in planned} == planned

    waiting = page.get_by_label("First visitor")
    expect(waiting.get_by_text("Waiting for the first visitor…")).to_be_visible()
    broken = json.dumps({"namespace": "shop", "experiment": "checkout, short", "event": "participate", "uuid": "1"})
    with pytest.raises(OSError, match="400"):
        urlopen(Request(f"{server.url}/track", broken.encode()))
    page.clock.run_for(4000)
    expect(table(page, "Its events that were not counted")).to_contain_text("refused: variant is missing")

    html = waiting.get_by_label("Snippet").first.inner_text()
    shop = browser.new_page()
    script = {"path": alephbet_file(), "headers": {"Access-Control-Allow-Origin": "*"}}
    shop.route(snippet.ALEPHBET_URL, lambda route: route.fulfill(**script))
    shop.route(f"{server.url}/shop", lambda route: route.fulfill(body=f"<body>{html}", content_type="text/html"))
    with shop.expect_response(lambda response: "event=participate" in response.url):
        shop.goto(f"{server.url}/shop")
    page.clock.run_for(4000)
    expect(page.get_by_text("The first visitor has arrived.")).to_be_visible()
    expect(page.locator(".tag.status.running").first).to_be_visible()
    shop.close()
    page.evaluate("location.hash = 'namespace=shop&plan=1'")
    expect(page.get_by_label("Name", exact=True)).to_have_value("")
    item = report(server, namespace="shop")["checkout, short"]
    assert (item["settings"]["status"], taking_part(item)["current"]) == ("running", 1)


def test_events_that_were_not_counted_are_told_with_their_reasons(server, visit):
    visitors(server, "known", {"a": (3, {})})
    with pytest.raises(OSError, match="400"):
        urlopen(Request(f"{server.url}/track", b'{"experiment": "known", "variant": "a", "event": "participate"}'))
    page = visit(server.url)
    page.get_by_text("1 kind of events not counted in the last hour").click()
    expect(page.locator("#ignored table")).to_contain_text("refused: uuid is missing")


def test_a_draft_that_names_too_little_for_a_snippet_says_so(server, visit):
    body = {"experiment": "bare", "changes": {"hypothesis": "none yet"}}
    urlopen(Request(f"{server.url}/experiment", json.dumps(body).encode(), method="PUT")).close()
    page = visit(address(server, experiment="bare"))
    expect(page.get_by_label("First visitor")).to_contain_text("Name two variants and a goal in the settings")


def test_a_draft_in_a_forgotten_tab_is_not_asked_for_every_few_seconds(server, visit):
    body = {"experiment": "forgotten", "changes": {"owner": "Ann"}}
    urlopen(Request(f"{server.url}/experiment", json.dumps(body).encode(), method="PUT")).close()
    page = visit(address(server, experiment="forgotten"), stopped=True)
    expect(page.get_by_text("Waiting for the first visitor…")).to_be_visible()
    asked: list[str] = []

    def asks_within(milliseconds: int) -> bool:
        asked.clear()
        page.clock.run_for(milliseconds)
        page.evaluate("0")
        return bool(asked)

    page.on("request", lambda one: asked.append(one.url) if "/experiments?" in one.url else None)
    with page.expect_response("**/experiments?**") as answered:
        assert asks_within(4_000)
    answered.value.finished()
    page.wait_for_function("!document.body.classList.contains('reading')")
    with page.expect_response("**/experiments?**") as answered:
        page.clock.fast_forward(600_000)
    answered.value.finished()
    page.wait_for_function("!document.body.classList.contains('reading')")
    assert not asks_within(4_000)
    assert asks_within(30_000)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", 1024), ("light", 390)])
def test_axe_finds_no_serious_violation_and_nothing_is_wider_than_the_screen(server, visit, scheme, width):
    body = {
        "experiment": "draft",
        "changes": {"variants": ["a", "b"], "baseline": "b", "goal": "buy", "goals": ["buy"]},
    }
    urlopen(Request(f"{server.url}/experiment", json.dumps(body).encode(), method="PUT")).close()
    page = visit(address(server, plan="1"), color_scheme=scheme, viewport={"width": width, "height": 900})
    type_figures(page)
    expect(table(page, "Visitors and days for each way of deciding")).to_be_visible()
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("location.hash = 'experiment=draft'")
    expect(page.get_by_label("Snippet").first).to_contain_text('"b": {activate')
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
