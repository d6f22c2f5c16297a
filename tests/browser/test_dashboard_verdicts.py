"""Plans, primary goals and guardrails in a real Chromium, on a page in a file: no visitor has to be counted for it."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

from gimel.analysis.report import experiment_report
from gimel.page import snapshot
from gimel.plans import Ended
from gimel.settings import ExperimentSettings
from tests.counts import counted

from .reading import cell, goal, numbers, row, words
from .test_dashboard import agree, bounds, results, serious


def counts(**goals: dict[str, int]) -> dict:
    return {name: {label: counted(value, 0) for label, value in found.items()} for name, found in goals.items()}


MANY = counts(
    participate={"blue": 6200, "red": 6200},
    buy={"blue": 310, "red": 372},
    look={"blue": 900, "red": 930},
    open={"blue": 1900, "red": 1930},
    refund={"blue": 100, "red": 260},
    ticket={"blue": 600, "red": 480},
)
SMALL = counts(participate={"blue": 4500, "red": 500}, buy={"blue": 450, "red": 50})
LATER = counts(participate={"blue": 21_000, "red": 21_000}, buy={"blue": 1050, "red": 1100})
PLAN = {"planned_visitors": 20_000, "smallest_change": 0.03}
REPORTS = {
    "running": experiment_report(
        MANY, ExperimentSettings(**PLAN, goal="buy", guardrails={"ticket": 0.02, "refund": 0.02})
    ),
    "ended": experiment_report(
        LATER,
        ExperimentSettings(**PLAN),
        ended=Ended(
            40_000,
            "2026-11-30T23:59:00Z",
            counts(participate={"blue": 20_000, "red": 20_010}, buy={"blue": 1000, "red": 1180}),
        ),
    ),
    "weighted": experiment_report(SMALL, ExperimentSettings(weights={"blue": 9, "red": 1})),
    "not yet": experiment_report(SMALL, ExperimentSettings(weights={"blue": 9, "red": 1}, goal="order")),
}


@pytest.fixture
def opened(visit, tmp_path):
    """Opens the page on one of these experiments, with all details."""
    file = tmp_path / "report.html"
    file.write_text(snapshot([{"experiment": name, **each} for name, each in REPORTS.items()], "alephbet"))

    def open_(name: str):
        page = visit(file.as_uri())
        page.evaluate("hash => { location.hash = hash; }", urlencode({"experiment": name}))
        expect(page.locator("#experiment h2")).to_have_text(name)
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        return page

    return open_


def test_the_goal_that_decides_is_first_and_guardrails_follow(opened):
    page = opened("running")
    expect(page.locator(".goal h3")).to_have_text(["buy", "refund", "ticket", "look", "open"])
    expect(page.locator(".goal-head .tag")).to_have_text(["primary goal", "guardrail", "guardrail"])


def test_a_guardrail_is_orange_where_it_is_worse_and_grey_where_it_is_kept(opened):
    page = opened("running")
    for name, chip, tone in ("refund", "Worse", "bad"), ("ticket", "Kept", "calm"):
        expect(goal(page, name).locator(".goal-head .chip")).to_have_text(chip)
        expect(goal(page, name).locator(f".chip.{tone}")).to_have_count(1)
    expect(goal(page, "refund").locator(".plot.bad")).to_have_count(1)
    expect(goal(page, "ticket").locator(".plot:is(.good, .bad)")).to_have_count(0)


def test_a_goal_beside_the_primary_one_says_at_what_level_it_is_tested(opened):
    page = opened("running")
    assert "tested at 2.5 %" in words(goal(page, "look"))
    assert "97.5 % ones" in words(goal(page, "look"))
    for name in "buy", "ticket":
        assert "tested at" not in words(goal(page, name))


def test_a_running_plan_says_how_far_it_is_and_its_interval_decides(opened):
    page = opened("running")
    assert words(page.locator(".plan")) == (
        "12,400 of 40,000 planned visitors, 31 %; the verdict is final when they have come."
    )
    expect(page.locator(".legend")).to_contain_text("95 % interval, by the plan")
    found = results(REPORTS["running"], "buy")["red"]
    line = row(goal(page, "buy").locator("details"), "red")
    expect(line.locator("td")).to_have_count(9)
    for name, key in ("Single look", "difference"), ("By the plan", "planned"), ("Always valid", "always_valid"):
        assert agree(cell(line, name).locator(".value").inner_text(), bounds(found[f"{key}_interval"]))
    line = row(goal(page, "buy"), "red")
    assert agree(cell(line, "Difference").locator("small").inner_text(), bounds(found["planned_interval"]))
    spoken = line.locator("svg.plot").get_attribute("aria-label")
    assert agree(spoken.partition("by the plan")[2], bounds(found["planned_interval"]))


def test_an_ended_plan_says_when_and_at_how_many_visitors(opened):
    page = opened("ended")
    assert words(page.locator(".plan")) == (
        "the plan for 40,000 visitors ended on 30 november 2026 at 40,010: its verdict is final."
    )
    expect(goal(page, "buy").locator(".goal-head .chip")).to_have_text("Winner")


def test_visitors_still_needed_are_told_as_they_are_split(opened):
    page = opened("weighted")
    needed = cell(row(goal(page, "buy").locator("details"), "red"), "Still needed")
    found = results(REPORTS["weighted"], "buy")["red"]
    names = ("visitors_needed", "visitors_needed_smallest", "visitors_needed_equal")
    for shown, name in zip(numbers(needed.inner_text()), names, strict=True):
        assert found[name] <= shown.value <= 1.1 * found[name]
    expect(needed).to_contain_text("in the smallest")
    expect(needed).to_contain_text("with an equal split")


def test_what_choosing_a_variant_may_cost_is_shown_for_the_control_too(opened):
    page = opened("running")
    details = goal(page, "buy").locator("details")
    for label, found in results(REPORTS["running"], "buy").items():
        assert agree(cell(row(details, label), "Expected loss").inner_text(), [100 * found["expected_loss"]])


def test_nothing_is_said_of_beating_the_control_on_a_guardrail(opened):
    page = opened("running")
    for name, beats in ("buy", True), ("ticket", False):
        text = words(goal(page, name).locator("details"))
        said = [phrase in text for phrase in ("chance to beat", "expected loss", "chance to exceed")]
        assert said == [beats, beats, not beats]


def test_a_verdict_that_is_none_of_a_goals_is_the_headline(opened):
    page = opened("not yet")
    assert words(page.locator(".headline span").last) == "no one has reached the primary goal, order, yet."


def test_every_figure_of_a_plan_fits(opened):
    page = opened("running")
    right = "getBoundingClientRect().right"
    outside = f"all => all.filter(each => each.{right} > each.closest('section, details').{right} + 1)"
    crowded = "all => all.filter(each => each.scrollWidth > each.clientWidth + 1)"
    for width in (1800, 1310, 1024, 390, 320):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        assert page.locator("#experiment td").evaluate_all(f"{outside}.map(each => each.textContent)") == [], width
        cells = page.locator("#experiment td.number, .experiments .verdict")
        assert cells.evaluate_all(f"{crowded}.map(each => each.textContent)") == [], width


def test_axe_finds_no_serious_violation_in_a_plan(opened):
    assert serious(opened("running")) == []
