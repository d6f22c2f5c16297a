"""The page that decides, in a real Chromium: the headline and its figures, and the list of what needs a person."""

from __future__ import annotations

import json
import random
import re
from datetime import datetime, timedelta, timezone
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

from gimel.analysis.report import experiment_report
from gimel.ops.formats import WITHIN
from gimel.page import snapshot
from gimel.plans import Ended
from gimel.settings import ExperimentSettings
from tests.counts import counted
from tests.parts import GimelServer

from .reading import LIST, address, cell, copied, goal, listed, numbers, row, visitors, words

NOW = datetime(2026, 5, 20, 12, 0, tzinfo=timezone.utc)
MINUS = "\N{MINUS SIGN}"
NUMBER = rf"[+{MINUS}]?[\d,]+(?:\.\d+)?"


def ago(days: float) -> str:
    return f"{NOW - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"


def counts(**goals: dict[str, int]) -> dict:
    return {name: {label: counted(value, 0) for label, value in found.items()} for name, found in goals.items()}


def made(trials: int = 20_000, settings: dict | None = None, ended: Ended | None = None, control=None, **goals) -> dict:
    """The report of blue and red with so many visitors each, and [successes of blue, of red] by goal."""
    found = {goal: dict(zip(("blue", "red"), reached)) for goal, reached in goals.items()}
    everyone = {"participate": {"blue": trials, "red": trials}, **found}
    return experiment_report(counts(**everyone), ExperimentSettings(**settings or {}), control, ended)


WON, LOST, OPEN, SAME = [1000, 1250], [1000, 800], [1000, 1040], [9000, 9010]


@pytest.fixture
def opened(visit, tmp_path):
    """Opens the page on these reports, in a file."""

    def open_(reports: dict[str, dict], name: str = "", **options):
        file = tmp_path / "report.html"
        file.write_text(snapshot([{"experiment": key, **each} for key, each in reports.items()], "alephbet", NOW))
        page = visit(file.as_uri(), **options)
        page.evaluate("hash => { location.hash = hash; }", urlencode({"experiment": name or next(iter(reports))}))
        expect(page.locator("#experiment h2")).to_be_attached()
        return page

    return open_


def test_the_headline_is_first_and_facts_follow(opened):
    facts = {
        "first_seen": ago(12.5),
        "last_seen": ago(0),
        "days": 12.5,
        "visitors_per_day": {"blue": 1604.0, "red": 1555.0},
    }
    report = {**made(buy=WON), **facts}
    page = opened({"button": report}, timezone_id="America/New_York")
    expect(page.locator(".headline")).to_contain_text(report["headline"])
    assert "Red wins on buy: +0.5 to +2.0 points." in report["headline"]
    tops = page.locator("h2, .headline, .facts, section.goal, table.split").evaluate_all(
        "all => all.map(each => each.getBoundingClientRect().top)"
    )
    assert tops == sorted(tops)
    sizes = page.locator("#experiment *").evaluate_all(
        "all => all.map(each => parseFloat(getComputedStyle(each).fontSize))"
    )
    assert page.locator(".headline").evaluate("each => parseFloat(getComputedStyle(each).fontSize)") == max(sizes)
    # 20 May, 12:00 UTC, in New York.
    assert words(page.locator(".facts")) == (
        "since 7 may 2026, 20:00 gmt-4 · 12 days · about 3,200 visitors per day · last event 20 may 2026, 08:00 gmt-4"
    )


def test_the_goal_of_the_headline_is_first_where_none_is_named(opened):
    page = opened({"button": made(add=OPEN, buy=WON, call=OPEN)})
    expect(page.locator(".goal h3")).to_have_text(["buy", "add", "call"])


def test_a_table_has_one_interval_and_what_contradicts_it_waits_below(opened):
    report = made(buy=[1000, 1100])
    (blue, red) = report["goals"][0]["results"]
    assert blue["label"] == "blue"
    assert red["verdict"]["state"] == "collecting"
    assert red["difference_interval"]["low"] > 0
    page = opened({"button": report})
    part = goal(page, "buy")
    text = words(part)
    assert "chance" not in text
    assert len(re.findall(rf"{NUMBER}.? to {NUMBER}", words(part.locator("table.compared")))) == 1
    always = report["goals"][0]["results"][1]["always_valid_interval"]
    shown = numbers(cell(row(part, "red"), "Difference").locator("small").inner_text())
    assert all(number.is_(100 * end) for number, end in zip(shown, always.values(), strict=True))
    expect(page.locator(".legend span")).to_have_text(
        ["observed difference", "95 % interval, no matter how often you check"]
    )
    part.get_by_text("All figures").click()
    assert "chance to beat" in words(part)


def test_figures_of_a_wrong_split_are_muted(opened):
    uneven = experiment_report(counts(participate={"blue": 9000, "red": 8000}, buy={"blue": 900, "red": 1000}))
    page = opened({"uneven": uneven, "even": made(buy=WON)}, "uneven")

    def colors() -> set[str]:
        figures = page.locator(".goal .value, .goal .variant")
        return set(figures.evaluate_all("all => all.map(each => getComputedStyle(each).color)"))

    quiet = page.locator(".legend").evaluate("each => getComputedStyle(each).color")
    assert colors() == {quiet}
    assert page.locator(".goal .plot:is(.good, .bad)").count() == 0
    expect(page.locator(".headline")).to_contain_text("Do not trust these figures")
    page.evaluate("location.hash = 'experiment=even'")
    expect(page.locator("#experiment h2")).to_have_text("even")
    assert quiet not in colors()


def generated(how_many: int) -> dict[str, dict]:
    """Reports of all kinds and sizes."""
    chance = random.Random(20260503)
    found = {}
    for number in range(how_many):
        labels = "abcd"[: chance.choice((2, 2, 2, 3, 4))]
        everyone = round(10 ** chance.uniform(1.5, 6))
        trials = {label: round(everyone * chance.uniform(0.995, 1.005)) for label in labels}
        plan = chance.random() < 0.3
        settings: dict = {"smallest_change": chance.choice((0.02, 0.05, 0.1))}
        if plan:
            settings["planned_visitors"] = round(everyone * chance.choice((0.9, 3)))
        if chance.random() < 0.3:
            settings |= {"goal": "one", "guardrails": {"two": chance.choice((-0.1, 0.1))}}
        goals = {}
        for goal_name in ("one", "two")[: chance.choice((1, 2))]:
            base = 10 ** chance.uniform(-3.5, -0.1)
            spread = chance.choice((0.0, 0.02, 0.1, 0.5))
            rates = {label: min(1.0, base * (1 + chance.uniform(-spread, spread))) for label in labels}
            goals[goal_name] = {label: round(trials[label] * rate) for label, rate in rates.items()}
        made_of = counts(participate=trials, **goals)
        is_over = plan and sum(trials.values()) >= settings["planned_visitors"] * len(labels)
        ended = Ended(sum(trials.values()), "2026-05-18T10:00:00Z", made_of) if is_over else None
        found[f"experiment {number:03}"] = experiment_report(made_of, ExperimentSettings(**settings), ended=ended)
    return found


READ = """async names => {
    const found = {};
    for (const name of names) {
        location.hash = new URLSearchParams({experiment: name, search: name}); // of the list, only its row
        await new Promise(drawn => setTimeout(drawn));
        while (document.querySelector("#experiment h2").textContent !== name) await new Promise(requestAnimationFrame);
        const texts = (part, selector) => [...part.querySelectorAll(selector)].map(each => each.textContent);
        found[name] = {
            headline: document.querySelector(".headline > span:last-child").textContent,
            goals: [...document.querySelectorAll("section.goal")].map(part => ({
                goal: part.querySelector("h3").textContent,
                verdict: texts(part, ".verdict").join(" "),
                rates: texts(part, ".compared [data-label=Rate] .value"),
                differences: texts(part, ".compared [data-label=Difference] .value"),
                intervals: texts(part, ".compared [data-label=Difference] small"),
                others: texts(part, ".all td"),
            })),
        };
    }
    return found;
}"""


def test_sentence_and_table_agree_in_200_experiments(opened):
    reports = generated(200)
    page = opened(reports)
    shown = page.evaluate(READ, list(reports))
    checked = {"headline": 0, "rates": 0, "gap": 0, "ends": 0}
    for name, report in reports.items():
        goals = {part["goal"]: part for part in shown[name]["goals"]}
        assert shown[name]["headline"].replace("\u202f", " ") == report["headline"]
        about = goals.get(report["verdict"]["goal"])
        for low, high in re.findall(rf"({NUMBER}) to ({NUMBER}) points", shown[name]["headline"]):
            assert f"{low} to {high}" in about["intervals"], name
            checked["headline"] += 1
        for part in goals.values():
            text = part["verdict"].replace("\u202f", " ")
            intervals = [re.findall(NUMBER, each) for each in part["intervals"]]
            sizes = [sorted((one.lstrip(f"+{MINUS}") for one in each), key=float) for each in intervals]
            for rates in re.findall(rf"({NUMBER}) % against ({NUMBER}) %", text):
                assert {f"{rate}\u202f%" for rate in rates} <= set(part["rates"]), (name, text)
                checked["rates"] += 1
            for gap in re.findall(rf"({NUMBER}) to ({NUMBER}) percentage points (?:higher|lower)", text):
                assert list(gap) in sizes, (name, text)
                checked["gap"] += 1
            for ends in re.findall(rf"(?:from|between) ({NUMBER}) (?:to|and) ({NUMBER}) percentage points", text):
                assert list(ends) in intervals, (name, text)
                checked["ends"] += 1
    assert min(checked.values()) > 30, checked
    keeps_signs_and_order(reports, shown)


def keeps_signs_and_order(reports: dict[str, dict], shown: dict) -> None:
    """Nothing is shown as 0 that is not, and no bound as what it bounds."""
    compared = 0
    for name, report in reports.items():
        for found in report["goals"]:
            part = next(each for each in shown[name]["goals"] if each["goal"] == found["goal"])
            rows = sorted(found["results"], key=lambda one: (one["label"] != report["control"], one["label"]))[1:]
            for result, difference, interval in zip(rows, part["differences"][1:], part["intervals"], strict=True):
                bounds = result["planned_interval" if report["plan"] else "always_valid_interval"]
                true = bounds["low"], result["difference"], bounds["high"]
                low, high = numbers(interval)
                figures = low.value, numbers(difference)[0].value, high.value
                assert all((a > 0, a < 0) == (b > 0, b < 0) for a, b in zip(figures, true)), (name, figures, true)
                if true[0] < true[1] < true[2]:
                    assert figures[0] < figures[1] < figures[2], (name, figures, true)
                assert found["digits"]["points"] <= 4
                compared += 1
    assert compared > 200


def test_a_goal_that_is_compared_within_periods_says_so_beside_its_rates(opened):
    report = made(buy=WON, look=OPEN)
    report["goals"][0]["by_day"] = {"red": {"difference": 0.01}}
    page = opened({"button": report})
    expect(page.locator("section.goal", has_text=WITHIN)).to_have_count(1)
    expect(goal(page, "buy")).to_contain_text(WITHIN)


def test_at_1024_pixels_a_goal_is_a_table_and_a_third_of_it_the_plot(opened):
    reports = {"button": made(buy=WON, settings={"planned_visitors": 30_000})}
    reports["four"] = experiment_report(
        counts(participate=dict.fromkeys("abcd", 6200), buy=dict(zip("abcd", (586, 624, 801, 417))))
    )
    page = opened(reports, viewport={"width": 1024, "height": 900})
    for name in reports:
        page.evaluate("hash => { location.hash = hash; }", urlencode({"experiment": name}))
        expect(page.locator("#experiment h2")).to_have_text(name)
        expect(page.locator("#overview")).to_be_visible()
        width = "each => each.getBoundingClientRect().width"
        table = page.locator("table.compared")
        assert table.locator("tbody tr").last.evaluate("each => getComputedStyle(each).display") == "table-row"
        assert table.locator("svg.plot").last.evaluate(width) > table.evaluate(width) / 3
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


DECIDED = {"verdict_since": {"at": ago(3), "before": "collecting"}}
SEEN = {"days": 30.0, "first_seen": ago(30), "last_seen": ago(0)}
ENDED = Ended(40_000, ago(5), counts(participate={"blue": 20_000, "red": 20_000}, buy={"blue": 1000, "red": 1010}))
LATELY = {
    "a calm one": {**made(buy=OPEN), **SEEN, "notes": ["no events for 9 days has far too few visitors for a variant"]},
    "broken split": {**experiment_report(counts(participate={"blue": 9000, "red": 8000}, buy={"blue": 9})), **SEEN},
    "decided": {**made(buy=WON), **SEEN, "days": 5.0, **DECIDED},
    "ended": {
        **made(buy=[1000, 1010], settings={"planned_visitors": 20_000, "smallest_change": 0.01}, ended=ENDED),
        **SEEN,
    },
    "ended and removed": {
        **made(buy=[1000, 1010], settings={"planned_visitors": 20_000, "smallest_change": 0.01}, ended=ENDED),
        **SEEN,
        "last_seen": ago(2.1),  # no note tells of the end of events once a plan has ended
    },
    "forgotten": {**made(buy=OPEN), **SEEN, "last_seen": ago(40), "notes": ["no events for 40 days"]},
    "guarded": {**made(buy=OPEN, bugs=WON, settings={"goal": "buy", "guardrails": {"bugs": 0.1}}), **SEEN},
    "lost long ago": {
        **made(buy=LOST),
        **SEEN,
        "notes": ["no events for 9 days"],
        "verdict_since": {"at": ago(20), "before": None},
    },
    "mixed": {**made(buy=WON, look=LOST), **SEEN},
    "not yet lost": {
        **experiment_report(counts(participate=dict.fromkeys("abc", 20_000), buy=dict(zip("abc", (1000, 700, 1010))))),
        **SEEN,
    },
    "ready": {**made(buy=LOST), **SEEN, "verdict_since": {"at": ago(20), "before": "collecting"}},
    "silent": {**made(buy=OPEN), **SEEN, "last_seen": ago(3.5), "notes": ["no events for 3 days"]},
    "unguarded": {**made(buy=WON, bugs=OPEN, settings={"goal": "buy", "guardrails": {"bugs": 0.01}}), **SEEN},
    "young": {**made(buy=WON), **SEEN, "days": 3.0, "verdict_since": {"at": ago(20), "before": None}},
}
WHY = {
    "broken split": "Wrong split: find the cause",
    "mixed": "Better and worse: decide which goal matters",
    "guarded": "A guardrail got worse",
    "decided": "Decided since your last visit: a winner",
    "ended": "The plan ended on 15 May 2026",
    "silent": "No events for 3 days",
    "ready": "The control wins: you can stop it",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    started = GimelServer(home=tmp_path_factory.mktemp("decides"))
    visitors(started, "first", {"a": (60, {"buy": 6}), "b": (62, {"buy": 9})})
    visitors(started, "second", {"a": (30, {"buy": 6}), "b": (31, {"buy": 9})})
    visitors(started, "phone", {"a": (6, {"buy": 1}), "b": (6, {"buy": 2})}, namespace="mobile")
    yield started
    started.stop()


@pytest.fixture
def lately(visit, server):
    """Opens the page of a server with LATELY, at NOW; the last visit was so many days ago."""

    def open_(days: float | None = 7.0, view: dict | None = None, **options):
        page = visit("about:blank", **options)
        page.clock.install(time=NOW)
        items = [{"meta": {"scope": None}}, *({"experiment": name, **each} for name, each in LATELY.items())]
        page.route("**/experiments?*", lambda route: route.fulfill(json=items))
        if days is not None:
            then = NOW.timestamp() * 1000 - days * 86_400_000
            visits = json.dumps({"alephbet": {"since": then - 1, "seen": then}})
            page.add_init_script(
                f"localStorage.getItem('gimel visits') || localStorage.setItem('gimel visits', {visits!r})"
            )
        page.goto(address(server, **view or {}))
        expect(page.locator(LIST)).to_have_count(len(LATELY))
        return page

    return open_


def reasons(page) -> dict[str, str]:
    found = page.locator(f"{LIST}:has(.why)")
    return dict(zip(found.locator("th bdi").all_inner_texts(), found.locator(".why").all_inner_texts(), strict=True))


def test_the_list_says_what_needs_somebody_and_why(lately):
    page = lately()
    assert reasons(page) == WHY
    assert listed(page).all_inner_texts()[: len(WHY)] == list(WHY), "in this order"
    expect(page.locator("#list .group")).to_have_text(
        [f"Needs you {len(WHY)}", f"Everything else {len(LATELY) - len(WHY)}"]
    )
    expect(page.locator("#experiment h2")).to_have_text("broken split")
    page.get_by_label("Search experiments").fill("calm")
    expect(page.locator("#list .group")).to_have_text(["Everything else 1"])
    page.get_by_label("Search experiments").fill("")
    page.get_by_role("button", name="Experiment").click()
    expect(listed(page)).to_have_text(sorted(LATELY))
    expect(page.locator("#list .group")).to_have_count(0)
    assert reasons(page) == {name: WHY[name] for name in sorted(WHY)}


def test_what_was_decided_is_new_until_the_next_visit(lately):
    page = lately(days=None)
    first = {name: why for name, why in WHY.items() if name != "decided"}
    assert reasons(page) == first, "a first visit has missed nothing"
    page = lately(days=2.0)
    assert reasons(page) == first, "it was decided before the last visit"
    page = lately(days=4.0)
    assert reasons(page) == WHY
    page.clock.fast_forward(10 * 60_000)
    page.reload()
    expect(page.locator(LIST)).to_have_count(len(LATELY))
    assert reasons(page) == WHY, "this is still the same visit"
    page.clock.pause_at(NOW + timedelta(hours=2))
    page.reload()
    expect(page.locator(LIST)).to_have_count(len(LATELY))
    assert reasons(page) == first


def test_arrows_lead_from_the_search_into_the_list_and_back(lately):
    page = lately()
    page.keyboard.press("/")
    page.keyboard.press("ArrowDown")
    links = page.locator("#list tbody a")
    expect(links.first).to_be_focused()
    for _ in WHY:
        page.keyboard.press("ArrowDown")
    expect(links.nth(len(WHY))).to_be_focused()
    for _ in range(len(WHY) + 1):
        page.keyboard.press("ArrowUp")
    expect(page.get_by_label("Search experiments")).to_be_focused()


def test_the_namespaces_in_use_are_a_list(server, visit):
    page = visit("about:blank")

    def answer(route):
        items = route.fetch().json()
        items[0]["meta"]["namespaces"] = ["alephbet", "mobile", "<b>"]
        route.fulfill(json=items)

    page.route("**/experiments?*", answer)
    page.goto(address(server, experiment="first", search="irs"))
    page.get_by_text("In use").click()
    links = page.get_by_role("navigation", name="In use").get_by_role("link")
    expect(links).to_have_text(["alephbet", "mobile", "<b>"])
    expect(links.first).to_have_attribute("aria-current", "true")
    links.nth(1).click()
    expect(page.locator("#experiment h2")).to_have_text("phone")
    expect(page.get_by_label("Namespace")).to_have_value("mobile")
    expect(links.first).to_be_hidden()
    assert page.url.split("#")[1] == "namespace=mobile"


def test_without_other_namespaces_there_is_no_list_of_them(server, visit):
    page = visit(server.url)
    page.route("**/experiments?*", lambda route: route.fulfill(json=[{"meta": {"namespaces": ["alephbet"]}}]))
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_role("heading", name="Nothing has been tracked yet")).to_be_visible()
    expect(page.get_by_text("In use")).to_be_hidden()


def test_a_link_to_one_experiment_or_all_is_copied(server, visit):
    page = visit(address(server, search="s", sort="name"), permissions=["clipboard-read", "clipboard-write"])
    expect(page.locator("#experiment h2")).to_have_text("first")
    assert copied(page.locator(".acts").get_by_role("button", name="Copy link")) == f"{server.url}/#experiment=first"
    page.get_by_text("Export", exact=True).click()
    menu = page.locator("#export")
    assert copied(menu.get_by_role("button", name="Copy link")) == f"{server.url}/#search=s&sort=name"
    menu.get_by_label("This experiment").check()
    assert copied(menu.locator("[data-form=link]")) == f"{server.url}/#experiment=first"


def test_that_it_was_copied_is_said_for_four_seconds_whatever_is_drawn_meanwhile(server, visit):
    page = visit(server.url, permissions=["clipboard-read", "clipboard-write"], stopped=True)
    expect(page.locator("#experiment h2")).to_be_visible()
    page.locator(".acts").get_by_role("button", name="Copy link").click()
    expect(page.locator("#copied")).to_have_text("Copied")
    with page.expect_response("**/experiments?*"):
        page.get_by_role("button", name="Refresh").click()
    page.clock.run_for(3900)
    expect(page.locator("#copied")).to_have_text("Copied")
    page.clock.run_for(200)
    expect(page.locator("#copied")).to_have_text("")


def test_one_experiment_is_exported_alone(server, visit, tmp_path):
    page = visit(address(server, experiment="second"))
    page.get_by_text("Export", exact=True).click()
    page.get_by_label("This experiment").check()
    saved = {}
    for form in ("json", "csv", "html"):
        if page.locator("#export").get_attribute("open") is None:
            page.get_by_text("Export", exact=True).click()
        with page.expect_download() as download:
            page.locator(f"[data-form={form}]").click()
        assert download.value.suggested_filename.startswith("gimel-alephbet-second-20")
        saved[form] = tmp_path / f"report.{form}"
        download.value.save_as(saved[form])
    assert [item["experiment"] for item in json.loads(saved["json"].read_text())] == ["second"]
    assert {line.split(",")[0] for line in saved["csv"].read_text().splitlines()[1:]} == {"second"}
    kept = visit(saved["html"].as_uri())
    expect(listed(kept)).to_have_text(["second"])
    expect(kept.locator("#experiment h2")).to_have_text("second")
