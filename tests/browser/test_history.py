"""Plots over time in a real Chromium: they lie where the history's numbers say, and say them."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from playwright.sync_api import Locator, Page, expect

from gimel.histories import DAY, HOUR, Change, History, now
from gimel.keyspace import LAST_SNAPSHOT_KEY, history_key
from tests.parts import GimelServer, RedisServer

from .reading import Shown, address, goal, numbers, visitors
from .test_dashboard import serious
from .test_dashboard_files import exported, opened_file

BUSY = "busy for weeks"
ARMS = {"blue": (400, {"buy": 60}), "green": (410, {"buy": 110}), "red": (390, {"buy": 64})}
TWO = {label: (100, {"buy": 10 + place}) for place, label in enumerate(("blue", "red"))}
STATES = {"none": 0, "one": 1, "two": 2, "thousands": 5000}


def history_of(arms: dict, moments: tuple[int, ...], changes: tuple[Change, ...] = ()) -> bytes:
    """A history that began with nobody and came evenly to these counts, of which the last point lacks the last step."""
    counts: dict[str, dict[str, tuple[int, ...]]] = {}
    for label, (everyone, goals) in arms.items():
        for name, total in {"participate": everyone, **goals}.items():
            steps = range(len(moments))
            counts.setdefault(name, {})[label] = tuple(total * step // len(moments) for step in steps)
    return History(moments, counts, changes).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    """`gimel serve` with experiments of several histories."""
    redis = RedisServer(tmp_path_factory.mktemp("redis")).start()
    # The server would take one at the start, however late that is on a busy machine, and when the next hour begins.
    redis.client().set(LAST_SNAPSHOT_KEY, now() + 3 * HOUR)
    gimel = GimelServer(home=tmp_path_factory.mktemp("home"), environ={"GIMEL_REDIS_URL": redis.url})
    visitors(gimel, BUSY, ARMS)
    for name in STATES:
        visitors(gimel, name, TWO)
    today = now() // HOUR * HOUR
    moments = tuple(today - 28 * DAY + 12 * HOUR * step for step in range(56))
    changes = [(10, "buy", "collecting"), (25, "buy", "leaning"), (40, "buy", "winner"), (30, "", "mismatch")]
    keys = {
        history_key("alephbet", BUSY): history_of(
            ARMS, moments, tuple(Change(moments[at], *rest) for at, *rest in changes)
        )
    }
    for name, length in STATES.items():
        hours = tuple(today - HOUR * back for back in range(length, 0, -1))
        keys |= {history_key("alephbet", name): history_of(TWO, hours)} if length else {}
    redis.client().mset(keys)
    yield gimel
    gimel.stop()
    redis.stop()


def series(server, name: str, **params: str) -> dict:
    with urlopen(f"{server.url}/history?{urlencode({'experiment': name, **params})}") as answer:
        return json.load(answer)


def opened(visit, server, name: str, **options) -> Page:
    """The page of an experiment, with all plots unfolded."""
    page = visit(address(server, experiment=name), **options)
    expect(page.locator("#experiment h2")).to_have_text(name)
    unfold(page)
    return page


def unfold(page: Page) -> None:
    expect(page.locator("details.over-time").first).to_be_visible()
    for title in ("Visitors per day", "Over time"):
        for part in page.locator("details.over-time", has=page.locator("summary", has_text=title)).all():
            if part.get_attribute("open") is None:
                part.locator("summary").first.click()
            expect(part.locator(".panel").first).to_be_visible()


def panel(part: Locator, title: str) -> Locator:
    return part.locator(".panel").filter(has=part.page.locator(".panel-title", has_text=title))


def drawn(part: Locator, line: str = "") -> list[tuple[float, float]]:
    """The points of a path in a plot, in the plot's coordinates."""
    path = part.locator(f"svg svg path{line}")
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path.get_attribute("d"))]


def seconds(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Axes:
    """From a place in a plot to a value and a share of the time, by the labels of its axes."""

    def __init__(self, part: Locator) -> None:
        levels = part.locator(".scale .tick").evaluate_all(
            "all => all.map(one => [Number(one.dataset.value), Number(one.getAttribute('y')) - 4])"
        )
        (self.low, self.at_low), (self.high, self.at_high) = levels[0], levels[-1]
        assert self.at_low > self.at_high, "more is further up"

    def value(self, y: float) -> float:
        return self.low + (y - self.at_low) / (self.at_high - self.at_low) * (self.high - self.low)

    def agree(self, points: list[tuple[float, float]], shares: list[float], values: list[float | None]) -> None:
        known = [(share, value) for share, value in zip(shares, values) if value is not None]
        assert len(points) == len(known)
        slack = 0.02 * (self.high - self.low) / abs(self.at_low - self.at_high)  # the path has hundredths of a pixel
        for (x, y), (share, value) in zip(points, known):
            assert x / 1000 == pytest.approx(share, abs=2e-4)
            assert self.value(y) == pytest.approx(value, abs=slack)


def test_plots_lie_where_the_series_says(server, visit):
    page = opened(visit, server, BUSY)
    truth = series(server, BUSY)
    buy = next(each for each in truth["goals"] if each["goal"] == "buy")
    times = [seconds(at) for at in truth["at"]]
    shares = [(time - times[0]) / (times[-1] - times[0]) for time in times]
    part = goal(page, "buy")
    for label in ("green", "red"):
        plot, found = panel(part, f"{label} −"), buy["differences"][label]
        axes = Axes(plot)
        axes.agree(drawn(plot, ".middle"), shares, found["difference"])
        for band, low, high in ((".decides", "low", "high"), (".once", "once_low", "once_high")):
            points = drawn(plot, band)
            half = len(points) // 2
            axes.agree(points[:half], shares, found[high])
            axes.agree(points[half:][::-1], shares, found[low])
        zero = plot.locator(".over line.zero").get_attribute("y1")
        assert axes.value(float(zero)) == pytest.approx(0, abs=1e-6)
        marks = plot.locator("line.mark").evaluate_all(
            "all => all.map(one => parseFloat(one.getAttribute('x1')) / 100)"
        )
        changed = [seconds(each["at"]) for each in truth["verdicts"] if each["goal"] == "buy"][1:]
        assert marks == pytest.approx([(at - times[0]) / (times[-1] - times[0]) for at in changed], abs=1e-4)
        # The first bands are so wide that they leave the plot; the last one fills a good part of it.
        last = [found["low"][-1], found["high"][-1]]
        assert 0.2 < (last[1] - last[0]) / (axes.value(0) - axes.value(110)) < 0.9
        # What is drawn to the plot's coordinates is as wide as the plot, whatever its width.
        for width in (1400, 390):
            page.set_viewport_size({"width": width, "height": 900})
            line, outer = (plot.locator(one).bounding_box() for one in (".over path.middle", ".over"))
            assert line["x"] + line["width"] == pytest.approx(outer["x"] + outer["width"], abs=1)
            assert line["x"] == pytest.approx(outer["x"] + shares[1] * outer["width"], abs=1)
    rates = panel(part, "Conversion rate")
    axes = Axes(rates)
    days = [min(max(seconds(f"{day}T12:00:00Z"), times[0]), times[-1]) for day in truth["days"]["day"]]
    for place, label in enumerate(truth["labels"]):
        axes.agree(drawn(rates, f".v{place}:not(.daily)"), shares, buy["rates"][label])
        came, reached = truth["days"]["visitors"][label], truth["days"]["reached"]["buy"][label]
        daily = [done / all_ if all_ else None for done, all_ in zip(reached, came)]
        axes.agree(drawn(rates, f".v{place}.daily"), [(day - times[0]) / (times[-1] - times[0]) for day in days], daily)
    assert rates.locator(".ends text").all_inner_texts() != []


def test_visitors_per_day_are_plotted(server, visit):
    page = opened(visit, server, BUSY)
    truth = series(server, BUSY)
    plot = panel(page.locator("section", has=page.locator("#split-title")), "Visitors")
    axes = Axes(plot)
    last = len(truth["days"]["day"]) - 1
    for place, label in enumerate(truth["labels"]):
        came = truth["days"]["visitors"][label]
        shares = [day / last for day in range(last + 1)]
        # Today is not over, so it is drawn apart.
        axes.agree(drawn(plot, f".v{place}:not(.unfinished)"), shares[:-1], came[:-1])
        axes.agree(drawn(plot, f".v{place}.unfinished"), shares[-2:], came[-2:])
    expect(plot.locator(".mark-label")).to_have_text("Split wrong")


def said(part: Locator) -> list[list[Shown]]:
    """The numbers of each readout."""
    return [numbers(text) for text in part.locator(".readout").all_inner_texts()]


def figures(truth: dict, name: str, at: int) -> list[list[float]]:
    """The same from the series, in percent and percentage points."""
    found = next(each for each in truth["goals"] if each["goal"] == name)
    every = [[100 * one[band][at] for band in ("difference", "low", "high", "once_low", "once_high")]
             for one in found["differences"].values()]  # fmt: skip
    day = truth["days"]["day"].index(truth["at"][at][:10])
    came, reached = truth["days"]["visitors"], truth["days"]["reached"][name]
    return [
        *every,
        [
            100 * part
            for label in truth["labels"]
            for part in (found["rates"][label][at], reached[label][day] / came[label][day])
        ],
    ]


def agree(shown: list[list[Shown]], truths: list[list[float]]) -> bool:
    return [len(one) for one in shown] == [len(one) for one in truths] and all(
        number.is_(true) for one, other in zip(shown, truths) for number, true in zip(one, other)
    )


def test_pointer_and_keys_read_the_series(server, visit):
    page = opened(visit, server, BUSY, timezone_id="America/New_York")
    truth = series(server, BUSY)
    part = goal(page, "buy").locator(".trends")
    last = len(truth["at"]) - 1
    assert agree(said(part), figures(truth, "buy", last))
    expect(part.locator(".moment")).to_contain_text("Now: ")
    plot = panel(part, "green −").locator(".over")
    times = [seconds(at) for at in truth["at"]]
    share = (times[30] - times[0]) / (times[-1] - times[0])
    plot.hover(position={"x": share * plot.bounding_box()["width"], "y": 40})
    assert agree(said(part), figures(truth, "buy", 30))
    expect(part.locator(".moment")).to_contain_text(re.compile(r"20\d\d, \d\d:\d\d (EST|EDT|GMT-[45]) · Leaning"))
    for cursor in part.locator(".cursor").all():
        assert float(cursor.get_attribute("x1").rstrip("%")) == pytest.approx(100 * share, abs=0.01)
    page.mouse.move(5, 5)
    assert agree(said(part), figures(truth, "buy", last))
    expect(part.locator(".cursor").first).to_be_hidden()

    part.focus()
    for key, at in (
        ("ArrowLeft", last - 1),
        ("PageUp", last),
        ("PageDown", last - 10),
        ("ArrowRight", last - 9),
        ("Home", 0),
        ("End", last),
    ):
        page.keyboard.press(key)
        assert part.get_attribute("aria-valuenow") == str(at)
    page.keyboard.press("PageDown")
    assert agree(said(part), figures(truth, "buy", last - 10))
    spoken = part.get_attribute("aria-valuetext")
    assert all(text in spoken for text in ("green minus blue", "decides", "single look", "Conversion rate: blue"))
    # A refresh keeps the cursor, and the focus.
    with page.expect_response("**/experiments?*"):
        page.get_by_role("button", name="Refresh").evaluate("each => each.click()")
    expect(page.locator("body")).not_to_have_class(re.compile("reading"))
    expect(part).to_be_focused()
    assert agree(said(part), figures(truth, "buy", last - 10))
    page.keyboard.press("Escape")
    expect(part.locator(".cursor").first).to_be_hidden()
    assert agree(said(part), figures(truth, "buy", last))


def test_a_table_has_the_same_figures(server, visit):
    page = opened(visit, server, BUSY)
    truth = series(server, BUSY)
    part = goal(page, "buy")
    part.get_by_text("As a table").click()
    lines = part.locator("table.points tbody tr")
    expect(lines).to_have_count(len(truth["at"]))
    shown = [number for text in lines.nth(30).locator("td").all_inner_texts() for number in numbers(text)]
    assert agree([shown], [[one for part in figures(truth, "buy", 30) for one in part]])


def test_a_goal_that_is_not_tested_has_rates_only(server, visit):
    truth = series(server, BUSY, control="green")
    assert truth["labels"][0] == "green"
    page = visit(address(server, experiment=BUSY, control="green"))
    expect(page.get_by_label("Compared with")).to_have_value("green")
    unfold(page)
    part = goal(page, "buy").locator(".trends")
    expect(panel(part, "red −").locator(".panel-title")).to_contain_text("red − green")
    assert agree(said(part), figures(truth, "buy", len(truth["at"]) - 1))


def test_short_and_long_histories(server, visit):
    page = visit(address(server, experiment="none"))
    expect(page.locator(".history-note")).to_have_text("No history yet: the first point comes within an hour.")
    expect(page.locator("details.over-time")).to_have_count(0)
    for name, points in (("one", 2), ("two", 3), ("thousands", 500)):
        truth = series(server, name)
        assert len(truth["at"]) == points
        page.goto(address(server, experiment=name))
        expect(page.locator("#experiment h2")).to_have_text(name)
        unfold(page)
        part = goal(page, "buy").locator(".trends")
        expect(part).to_have_attribute("aria-valuemax", str(points - 1))
        # The first points have no visitors, so no difference.
        line = drawn(part, ".middle")
        known = [one for one in truth["goals"][0]["differences"]["red"]["difference"] if one is not None]
        assert len(line) == len(known) < points
        assert part.locator("path").evaluate_all("all => all.every(one => !one.getAttribute('d').includes('NaN'))")
        assert 2 <= part.locator(".scale").first.locator(".tick").count() <= 6
        assert all(0 <= y <= 110 for _, y in line[-1:])


def test_an_export_has_the_plots(server, visit, tmp_path: Path):
    page = opened(visit, server, BUSY, stopped=True)
    shown = page.locator("#experiment svg.plot path").evaluate_all("all => all.map(one => one.getAttribute('d'))")
    texts = page.locator(".trends").all_inner_texts()
    kept = opened_file(visit, exported(page, "HTML", tmp_path))
    expect(kept.locator("#experiment h2")).to_have_text(BUSY)
    unfold(kept)
    assert len(shown) > 10
    assert kept.locator(".trends").all_inner_texts() == texts
    same = kept.locator("#experiment svg.plot path").evaluate_all("all => all.map(one => one.getAttribute('d'))")
    assert same == shown
    kept.goto(f"{kept.url.split('#')[0]}#experiment=two")
    expect(goal(kept, "buy").locator(".trends")).to_be_visible()


def test_the_list_has_a_sparkline_for_each_history(server, visit):
    page = visit(server.url)
    line = page.locator("#list tbody tr", has_text=BUSY)
    expect(line.locator("svg.spark")).to_have_attribute(
        "aria-label", re.compile(r"^\d+ visitors yesterday, at most \d+ on a day$")
    )
    assert len(re.findall("[ML]", line.locator("svg.spark path").get_attribute("d"))) == 27
    expect(page.locator("#list tbody tr", has_text="none").locator("svg.spark")).to_have_count(0)


def test_an_api_without_histories_shows_its_report(server, visit):
    page = visit("about:blank", failing=True)
    page.route("**/history?*", lambda route: route.fulfill(status=404, json={"error": "not found"}))
    page.goto(address(server, experiment=BUSY))
    expect(page.locator(".history-note")).to_contain_text("The history could not be read: not found.")
    expect(goal(page, "buy").locator("table").first).to_be_visible()
    expect(page.locator("#banner")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_the_plots(server, visit, scheme):
    page = opened(visit, server, "two", color_scheme=scheme)
    goal(page, "buy").get_by_text("As a table").click()
    for width in (1440, 1024, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert serious(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
