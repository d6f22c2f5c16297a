"""The dashboard in a real Chromium: what it shows is what the report says."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from playwright.sync_api import Locator, expect

from tests.parts import npm_file

from .reading import LIST, address, cell, goal, listed, numbers, report, row, visitors, words

CHECKOUT = "checkout: one page or three"
PRICE = "price display"
SERIOUS = {"serious", "critical"}


def results(item: dict, name: str) -> dict[str, dict]:
    found = next(each for each in item["goals"] if each["goal"] == name)
    return {result["label"]: result for result in found["results"]}


def bounds(interval: dict | None) -> list[float]:
    return [100 * interval["low"], 100 * interval["high"]] if interval else []


def details(part) -> Locator:
    """All figures of a goal."""
    part.get_by_text("All figures").click()
    return part.locator("details.more")


def agree(text: str, truths: list[float]) -> bool:
    shown = numbers(text)
    return len(shown) == len(truths) and all(each.is_(true) for each, true in zip(shown, truths))


@pytest.mark.parametrize("name", [CHECKOUT, PRICE, "button color", "free trial", "צבע הכפתור"])
def test_the_numbers_on_the_page_are_the_reports(demo, visit, name):
    page = visit(address(demo, experiment=name))
    item = report(demo)[name]
    expect(page.locator("#experiment h2")).to_have_text(name)
    for found in item["goals"]:
        for label, result in results(item, found["goal"]).items():
            line = row(goal(page, found["goal"]), label)
            assert agree(cell(line, "Reached").inner_text(), [result["successes"], result["trials"]])
            assert agree(cell(line, "Rate").inner_text(), [100 * result["rate"]])
            if result["uplift"] is not None:
                decides = bounds(result["planned_interval" if item["plan"] else "always_valid_interval"])
                assert agree(cell(line, "Difference").inner_text(), [100 * result["difference"], *decides])
                assert agree(cell(line, "Uplift").inner_text(), [100 * result["uplift"]])


def test_all_figures_are_the_reports(demo, visit):
    page = visit(address(demo, experiment="free shipping banner"))
    result = results(report(demo)["free shipping banner"], "order placed")["shown"]
    line = row(details(goal(page, "order placed")), "shown")
    assert agree(cell(line, "Rate").inner_text(), bounds(result["rate_interval"]))
    assert agree(cell(line, "Uplift").inner_text(), bounds(result["uplift_interval"]))
    chance = numbers(cell(line, "Chance").inner_text())[0]
    assert abs(chance.value - 100 * result["chance_to_beat_control"]) <= max(chance.slack, 0.1)
    once = [*bounds(result["difference_interval"]), result["p_value"]]
    assert agree(cell(line, "Single look").inner_text(), once)
    always = [*bounds(result["always_valid_interval"]), result["always_valid_p_value"]]
    assert agree(cell(line, "Always valid").inner_text(), always)
    assert agree(cell(line, "Expected loss").inner_text(), [100 * result["expected_loss"]])
    assert agree(cell(line, "Counting error").inner_text(), [100 * result["counting_error"]])
    needed = numbers(cell(line, "Still needed").inner_text())[0].value
    assert result["visitors_needed"] <= needed <= 1.1 * result["visitors_needed"]


def test_a_per_visitor_goal_shows_the_reports_numbers_and_no_test(demo, visit):
    page = visit(address(demo, experiment="article layout"))
    part = goal(page, "page view")
    for label, result in results(report(demo)["article layout"], "page view").items():
        line = row(part, label)
        assert agree(cell(line, "Reached").inner_text(), [result["successes"], result["trials"]])
        assert agree(cell(line, "Per visitor").inner_text(), [result["rate"]])
        if result["uplift"] is not None:
            assert agree(cell(line, "Uplift").inner_text(), [100 * result["uplift"]])
            expect(cell(line, "Uplift")).to_contain_text("not tested")
    expect(part.locator("svg.plot")).to_have_count(0)
    expect(part.get_by_text("All figures")).to_have_count(0)


def test_participants_and_their_shares_are_the_reports(demo, visit):
    page = visit(address(demo, experiment="search engine"))
    item = report(demo)["search engine"]
    everyone = sum(variant["trials"] for variant in item["participants"])
    for variant, expected in zip(item["participants"], [90, 10]):
        line = row(page.locator("table.split"), variant["label"])
        assert agree(cell(line, "Participants").inner_text(), [variant["trials"]])
        assert agree(cell(line, "Share").inner_text(), [100 * variant["trials"] / everyone])
        assert agree(cell(line, "Expected").inner_text(), [expected])


def test_verdict_and_reason_are_the_reports(demo, visit):
    page = visit(address(demo, experiment=CHECKOUT))
    for found in report(demo)[CHECKOUT]["goals"]:
        text = words(goal(page, found["goal"]).locator(".verdict"))
        assert found["verdict"]["text"].lower() in text
        assert found["verdict"]["reason"].lower() in text


@pytest.mark.parametrize("width", [1400, 390])
def test_the_bars_lie_where_the_numbers_say(demo, visit, width):
    page = visit(address(demo, experiment=PRICE), viewport={"width": width, "height": 900})
    part = goal(page, "plan chosen")
    expect(part).to_be_visible()
    place = "each => { const box = each.getBoundingClientRect(); return [box.left, box.right]; }"
    ticks = part.locator(".axis .tick[data-value]").evaluate_all(
        f"all => all.map(each => [Number(each.dataset.value), ...({place})(each)])"
    )
    known = [(value, (left + right) / 2) for value, left, right in ticks]
    (low, at_low), (high, at_high) = known[0], known[-1]
    assert len(known) >= 3

    def pixel(difference: float) -> float:
        return at_low + (difference - low) / (high - low) * (at_high - at_low)

    compared = {label: each for label, each in results(report(demo)[PRICE], "plan chosen").items() if each["p_value"]}
    assert len(compared) == 3
    for label, result in compared.items():
        plot = row(part, label).locator("svg.plot")
        bar = plot.locator("rect.inner").evaluate(place)
        dot = plot.locator("circle").evaluate(place)
        interval = result["always_valid_interval"]
        assert bar == pytest.approx([pixel(interval["low"]), pixel(interval["high"])], abs=1)
        assert sum(dot) / 2 == pytest.approx(pixel(result["difference"]), abs=1)


def test_another_control_changes_the_numbers_and_the_address(demo, visit):
    page = visit(address(demo, experiment=PRICE))
    page.get_by_label("Compared with").select_option("yearly")
    expect(row(goal(page, "plan chosen"), "yearly")).to_contain_text("control")
    result = results(report(demo, control="yearly")[PRICE], "plan chosen")["monthly"]
    assert result["uplift"] > 0
    line = row(goal(page, "plan chosen"), "monthly")
    assert agree(cell(line, "Uplift").inner_text(), [100 * result["uplift"]])
    assert "control=yearly" in page.url
    page.reload()
    expect(page.get_by_label("Compared with")).to_have_value("yearly")


def test_a_control_chosen_leaves_the_other_experiments_as_they_are(demo, visit):
    page = visit(address(demo, experiment=PRICE, control="yearly"))
    expect(page.get_by_label("Compared with")).to_have_value("yearly")
    page.get_by_role("link", name=CHECKOUT).click()
    expect(page.get_by_label("Compared with")).to_have_value("three pages")
    assert "control" not in page.url.split("#")[1].replace("checkout", "")


def test_another_namespace_shows_its_experiments(demo, visit):
    page = visit(address(demo))
    expect(page.get_by_role("link", name=CHECKOUT)).to_be_visible()
    page.get_by_label("Namespace").fill("mobile")
    page.get_by_label("Namespace").press("Enter")
    expect(page.locator("#experiment h2")).to_have_text("onboarding tour")
    expect(listed(page)).to_have_text(["onboarding tour"])
    assert "namespace=mobile" in page.url
    page.go_back()
    expect(page.get_by_role("link", name=CHECKOUT)).to_be_visible()


def test_the_list_is_searched_and_sorted(demo, visit):
    page = visit(address(demo))
    items = report(demo)
    expect(page.locator(LIST)).to_have_count(len(items))
    by_number = sorted(items, key=lambda name: -sum(each["trials"] for each in items[name]["participants"]))
    page.get_by_role("button", name="Participants").click()
    expect(listed(page)).to_have_text(by_number)
    expect(page.locator("th.participants")).to_have_attribute("aria-sort", "descending")
    page.get_by_role("button", name="Participants").click()
    expect(listed(page)).to_have_text(by_number[::-1])
    page.keyboard.press("/")
    page.keyboard.type("ORDER placed")
    found = [name for name in items if "order placed" in str(items[name]["goals"])]
    expect(page.locator(LIST)).to_have_count(len(found))
    assert len(found) < len(items)
    assert "search=ORDER" in page.url
    page.get_by_label("Search experiments").fill("nowhere to be found")
    page.get_by_role("button", name="Clear search").click()
    expect(page.locator(LIST)).to_have_count(len(items))


def test_a_winner_that_loses_another_goal_is_no_winner_on_the_list(server, visit):
    everyone = 1500
    mixed = {"blue": (everyone, {"clicked": 300, "bought": 200}), "red": (everyone, {"clicked": 450, "bought": 90})}
    visitors(server, "mixed", mixed)
    visitors(server, "won", {label: (part, {"clicked": goals["clicked"]}) for label, (part, goals) in mixed.items()})
    # Two winners of one goal, of which one loses another: the other one's gains are not in doubt.
    three = {**mixed, "green": (everyone, {"clicked": 460, "bought": 205})}
    visitors(server, "three", three)
    items = report(server)
    states = {label: each["verdict"]["state"] for label, each in results(items["three"], "bought").items()}
    assert (states["red"], states["green"]) == ("loser", "collecting")
    page = visit(server.url)
    line = page.locator(LIST, has_text="mixed").filter(has=page.get_by_text("mixed", exact=True))
    expect(line.locator(".chip")).to_have_text("Mixed")
    expect(line.locator(".summary")).to_contain_text("red wins clicked but loses bought")
    expect(page.locator(LIST, has_text="won").locator(".chip")).to_have_text("Winner")
    other = page.locator(LIST, has_text="three").locator(".summary")
    expect(other).to_contain_text(items["three"]["verdict"]["text"])
    expect(other).to_contain_text("loses bought")
    expect(other).not_to_contain_text("green loses")


def test_a_loss_is_seen_behind_names_of_200_characters(server, visit):
    arms = {"blue": (900, {"c" * 200: 100, "bought": 150}), "r" * 200: (900, {"c" * 200: 250, "bought": 40})}
    visitors(server, "long", arms)
    page = visit(server.url, viewport={"width": 390, "height": 844})
    expect(page.locator(LIST).locator(".chip")).to_have_text("Mixed")
    summary = page.locator(f"{LIST} .summary")
    expect(summary).to_contain_text("but loses")
    assert summary.locator("span").evaluate("each => each.scrollHeight <= each.clientHeight + 1 || !each.clientHeight")
    below = "each => each.getBoundingClientRect().bottom <= each.closest('tr').getBoundingClientRect().bottom + 1"
    assert summary.locator("span").evaluate(below)


def test_one_participant_is_not_called_participants(server, visit):
    visitors(server, "alone", {"a": (1, {})})
    page = visit(server.url, viewport={"width": 390, "height": 844})
    expect(page.locator(LIST)).to_be_visible()
    unit = "each => getComputedStyle(each, '::after').content"
    assert page.locator("#list td.participants").evaluate(unit) == '" participant"'
    page.get_by_role("link", name="alone").click()
    expect(page.locator("#experiment .quiet").first).to_have_text("1 participant · 1 variant · 0 goals")


def test_a_verdict_on_the_list_does_not_repeat_its_chip(demo, visit):
    page = visit(address(demo))
    line = page.locator(LIST, has_text="free shipping banner")
    expect(line.locator(".chip")).to_have_text("Collecting")
    assert words(line.locator(".summary")).startswith("order placed: about")


def test_a_wrong_split_is_explained_once_and_every_goal_refers_to_it(demo, visit):
    page = visit(address(demo))
    line = page.locator(LIST).first
    expect(line).to_contain_text("new landing page")
    expect(line.locator(".chip")).to_have_text("Do not trust")
    expect(line.locator(".warnings")).to_have_text("2")  # since when, too
    item = report(demo)["new landing page"]
    alarm = page.get_by_role("note")
    expect(alarm).to_contain_text("should be 50 / 50")
    assert item["sample_ratio"]["reason"].lower() in words(alarm)
    for found in item["goals"]:
        part = goal(page, found["goal"])
        expect(part.locator(".goal-head .chip")).to_have_text("Do not trust")
        assert found["verdict"]["text"].lower() in words(part.locator(".verdict"))
        expect(part).not_to_contain_text("should be 50 / 50")


def test_the_counting_error_is_mentioned_where_it_matters(demo, visit):
    page = visit(address(demo, experiment="button color"))
    items = report(demo)
    expect(page.locator(".counting")).to_be_visible()
    assert words(page.locator(".counting")) == items["button color"]["counting_note"].lower()
    page.get_by_role("link", name="free shipping banner").click()
    expect(page.locator("#experiment h2")).to_have_text("free shipping banner")
    assert items["free shipping banner"]["counting_note"] is None
    expect(page.locator(".counting")).to_have_count(0)


def test_negative_numbers_have_true_minus_signs(demo, visit):
    page = visit(address(demo))
    for name in report(demo):
        page.goto(address(demo, experiment=name))
        expect(page.locator("#experiment h2")).to_have_text(name)
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        assert re.findall(r"(?<![\w-])-\d.*", page.locator("body").inner_text()) == []


def test_nothing_is_needed_any_more_where_there_is_a_verdict(demo, visit):
    page = visit(address(demo, experiment=PRICE))
    part = details(goal(page, "plan chosen"))
    states = {label: each["verdict"]["state"] for label, each in results(report(demo)[PRICE], "plan chosen").items()}
    assert {"winner", "loser", "collecting"} <= set(states.values())
    for label, state in states.items():
        if state != "control":
            needed = cell(row(part, label), "Still needed").inner_text()
            assert (needed == "\u2013") == (state != "collecting")


def test_an_uplift_without_an_upper_end_shows_its_lower_one(server, visit):
    visitors(server, "rare", {"a": (300, {"buy": 0}), "b": (300, {"buy": 40}), "c": (300, {"buy": 0})})
    found = results(report(server)["rare"], "buy")
    assert found["b"]["uplift_interval"]["high"] is None
    assert found["b"]["uplift_interval"]["low"] > 0
    page = visit(server.url)
    part = details(goal(page, "buy"))
    shown = cell(row(part, "b"), "Uplift")
    expect(shown).to_have_text(re.compile(r"^\+[\d,]+\u202f% or more$"))
    assert agree(shown.inner_text(), [100 * found["b"]["uplift_interval"]["low"]])
    # Of the other one nothing is known: its rate may be nothing at all.
    assert found["c"]["uplift_interval"]["low"] == -1
    expect(cell(row(part, "c"), "Uplift")).to_have_text("unknown")


@pytest.mark.parametrize("width", [1400, 1310, 390])
def test_uplifts_of_thousands_of_percent_keep_to_their_column(server, visit, width):
    visitors(server, "huge", {"a": (300, {"buy": 2}), "b": (300, {"buy": 90})})
    page = visit(address(server, experiment="huge"), viewport={"width": width, "height": 900})
    shown = cell(row(details(goal(page, "buy")), "b"), "Uplift")
    low, high = results(report(server)["huge"], "buy")["b"]["uplift_interval"].values()
    assert high > 10
    for number, true in zip(numbers(shown.inner_text()), (low, high)):
        assert number.value == pytest.approx(100 * true, rel=0.05)
        assert number.value == float(f"{number.value:.2g}")  # as many digits as they can bear
    assert shown.evaluate("each => each.scrollWidth <= each.clientWidth")
    assert labels_apart(page)


def labels_apart(page) -> bool:
    """Whether no label of an axis lies on another, or leaves its card."""
    place = "each => { const box = each.getBoundingClientRect(); return [box.left, box.right]; }"
    for axis in page.locator(".axis").all():
        for kind in (":not(.minor)", ".minor"):
            ticks = axis.locator(f".tick{kind}").evaluate_all(
                f"all => all.filter(each => each.checkVisibility()).map({place})"
            )
            left, right = axis.locator("xpath=ancestor::section[1]").evaluate(place)
            places = [(left, left), *sorted(ticks), (right, right)]
            if any(before[1] > after[0] for before, after in pairwise(places)):
                return False
    return True


def test_labels_of_an_axis_lie_apart(server, visit):
    many, few = (3000, {"buy": 300, "look": 2900}), (62, {"buy": 9, "look": 60})
    visitors(server, "few", {"a": (60, {"buy": 6, "look": 59}), "b": few})
    visitors(server, "many", {"a": many, "b": (3100, {"buy": 450, "look": 2960}), "c": few})
    page = visit(server.url)
    for name in report(server):
        page.goto(address(server, experiment=name))
        expect(page.locator("#experiment h2")).to_have_text(name)
        for width in (1800, 1310, 1001, 390, 320):
            page.set_viewport_size({"width": width, "height": 900})
            assert labels_apart(page), (name, width)


def test_it_reads_again_every_30_seconds_while_visible(server, visit):
    visitors(server, "live", {"a": (3, {}), "b": (2, {})})
    page = visit(server.url, stopped=True)
    expect(page.locator("#experiment")).to_contain_text("5 participants")
    before = page.locator("#freshness").inner_text()
    visitors(server, "live", {"a": (7, {"buy": 1}), "b": (2, {})})
    page.clock.fast_forward(31_000)
    expect(page.locator("#experiment")).to_contain_text("9 participants")
    expect(page.locator("#freshness")).not_to_have_text(before)

    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("Object.defineProperty(document, 'visibilityState', {configurable: true, get: () => 'hidden'})")
    page.clock.fast_forward(120_000)
    assert asked == []
    with page.expect_response("**/experiments?*"):
        page.evaluate("delete document.visibilityState; document.dispatchEvent(new Event('visibilitychange'))")


def test_the_list_is_walked_by_arrow_keys(demo, visit):
    page = visit(address(demo))
    links = page.locator("#list tbody a")
    links.first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#experiment h2")).to_have_text(listed(page).nth(1).inner_text())
    expect(links.nth(1)).to_be_focused()


def serious(page) -> list:
    """What axe-core finds to be a serious violation on this page."""
    page.wait_for_load_state("networkidle")
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    page.evaluate(npm_file("axe-core", "4.10.2", "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    return [(each["id"], [node["target"] for node in each["nodes"]]) for each in found if each["impact"] in SERIOUS]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_axe_finds_no_serious_violation(demo, visit, scheme, width):
    for view in ({"experiment": PRICE}, {"experiment": "new landing page"}, {}, {"namespace": "empty"}):
        page = visit(address(demo, **view), color_scheme=scheme, viewport={"width": width, "height": 900})
        assert serious(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation_in_dialogs_and_failures(serve, visit, scheme):
    server = serve("--api-key", "k")
    arms = {"blue": (900, {"clicked": 100, "bought": 150}), "red": (900, {"clicked": 250, "bought": 40})}
    visitors(server, "mixed", arms)
    page = visit(server.url, failing=True, color_scheme=scheme)
    expect(page.get_by_label("API key")).to_be_visible()
    assert serious(page) == []
    page.get_by_label("API key").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    assert serious(page) == []
    page.get_by_label("API key").fill("k")
    page.keyboard.press("Enter")
    expect(page.locator("#list .chip")).to_have_text("Mixed")
    assert serious(page) == []
    # By the keyboard, as the menu that has been opened lies over the buttons.
    page.get_by_role("button", name="Delete…").press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert serious(page) == []
    page.keyboard.press("Escape")
    server.stop()
    page.get_by_role("button", name="Refresh").press("Enter")
    expect(page.locator("#banner")).to_be_visible()
    assert serious(page) == []


@pytest.mark.parametrize("width", [1800, 1001, 390, 320])
def test_no_figure_leaves_its_card_or_meets_another(demo, visit, width):
    page = visit(address(demo, experiment=PRICE), viewport={"width": width, "height": 900})
    expect(goal(page, "plan chosen")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    crowded = """all => all.filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.textContent)"""
    assert page.locator("#experiment td.number").evaluate_all(crowded) == []
    right = "getBoundingClientRect().right"
    inside = f"all => all.every(each => each.{right} <= each.closest('.card').{right})"
    assert page.locator("#experiment .card td").evaluate_all(inside)


def test_a_phone_shows_the_list_or_one_experiment(demo, visit):
    page = visit(address(demo), viewport={"width": 390, "height": 844})
    expect(page.locator("#experiment")).to_be_hidden()
    page.get_by_role("link", name=PRICE).click()
    expect(page.locator("#overview")).to_be_hidden()
    expect(page.locator("#experiment h2")).to_be_focused()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("link", name="All experiments").click()
    expect(page.locator("#experiment")).to_be_hidden()
