"""Made-up experiments: the same every time, counted by the real code, apart from the user's data."""

from __future__ import annotations

import signal
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import gimel
from gimel import connection, plans
from gimel.analysis.report import experiment_report
from gimel.histories import DAY, HOUR, as_moment, as_text
from gimel.hyperloglog import Count
from gimel.ops.commands.serve import use_samples
from gimel.ops.server import demo
from gimel.plans import TIME
from tests.parts import start_gimel, wait_for

pytestmark = pytest.mark.slow

NOON = as_moment("2026-11-30T12:00:00Z")
"""A Monday."""

LANDING_PAGE = next(each for each in demo.EXPERIMENTS if each.breaks)


@contextmanager
def samples() -> Iterator[None]:
    """The demo at NOON."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr("gimel.histories.now", lambda: NOON)
        patch.setattr("gimel.reports.now", lambda: NOON)
        use_samples(stack)
        folder = connection.settings().path.parent
        yield
    assert not folder.exists()


def reports() -> list:
    return [gimel.all({"namespace": namespace}) for namespace in ("alephbet", "mobile")]


@pytest.fixture(scope="module")
def found() -> list:
    """The answers for both namespaces."""
    with samples():
        return reports()


@pytest.fixture
def items(found) -> dict[str, dict[str, Any]]:
    return {item["experiment"]: item for answer in found for item in answer if "experiment" in item}


def days_before_noon(time: str) -> float:
    return (NOON - as_moment(time)) / DAY


def test_the_demo_is_the_same_every_time(found, items):
    with samples():
        assert reports() == found
        ended = plans.read(connection.client(), "alephbet", ["sign-up form", "free trial"])
        planned = connection.settings().experiment("free trial").planned_visitors
    assert set(ended) == {"free trial"}
    assert ended["free trial"].planned == 2 * planned
    assert len(items) == len(demo.EXPERIMENTS)


def test_the_demo_shows_each_kind_of_verdict(items):
    states = {name: {goal["verdict"]["state"] for goal in item["goals"]} for name, item in items.items()}
    assert "winner" in states["checkout: one page or three"]
    assert states["button color"] == {"no_difference"}
    assert states["free shipping banner"] == {"collecting"}
    assert states["new landing page"] == {"do_not_trust"}
    assert "per_visitor" in states["article layout"]
    assert states["product photos"] == {"leaning"}
    assert {"winner", "worse"} <= states["delivery date"]
    assert "winner" in states["free trial"]
    assert states["onboarding tour"] == {"winner"}
    assert items["search engine"]["sample_ratio"]["state"] == "as_expected"
    assert [each["share"] for each in items["search engine"]["sample_ratio"]["expected"]] == [0.9, 0.1]


def test_each_history_tells_its_story(items):
    told = {name: [*item["notes"], item["sample_ratio"]["since"]] for name, item in items.items()}
    assert "no events for 4 days" in told["article layout"]
    assert "visitors per day fell by 60 % on 21 November" in told["search engine"]
    assert any("whole weeks" in note for note in told["onboarding tour"] if note)
    assert "2026-11-24T11:00:00Z" in told["new landing page"]
    held, faded = (items[name]["verdict_since"] for name in ("checkout: one page or three", "product photos"))
    assert days_before_noon(held["at"]) > 14
    assert faded["before"] == "winner"
    assert any("first third" in note for note in told["product photos"] if note)
    others = told.keys() - {"article layout", "search engine", "onboarding tour", "new landing page", "product photos"}
    assert {note for name in others for note in told[name]} == {None}


def test_most_experiments_ran_for_weeks_until_now(items):
    days = {name: item["days"] for name, item in items.items()}
    assert 0 < days.pop("welcome e-mail subject") < 0.3
    assert 4 < days.pop("onboarding tour") < 7
    assert days.pop("צבע הכפתור") is None  # older than its history
    assert all(9 < each < 61 for each in days.values())
    last = {name: item["last_seen"] for name, item in items.items()}
    assert days_before_noon(last.pop("article layout")) > 3
    assert {days_before_noon(each) for each in last.values()} == {0}


def test_a_plan_runs_and_another_ended_some_days_ago(items):
    assert items["sign-up form"]["plan"]["ended"] is None
    ended = items["free trial"]["plan"]["ended"]
    assert 3 < days_before_noon(ended["at"]) < 10
    assert 10_000 <= ended["visitors"] < 10_400 < sum(each["trials"] for each in items["free trial"]["participants"])


@pytest.mark.parametrize("days", range(7))
def test_the_split_broke_on_a_tuesday_on_every_day_of_the_week(fake, days):
    now = NOON + days * DAY + 7
    hours: demo.Hours = defaultdict(lambda: defaultdict(list))
    assert len(list(demo._visits(LANDING_PAGE, now, hours))) == sum(LANDING_PAGE.visitors.values())
    tuesday = demo.tuesday(now)
    assert f"{datetime.strptime(as_text(tuesday), TIME):%a}" == "Tue"
    assert 3 * DAY <= now // DAY * DAY - tuesday < 10 * DAY
    broke = tuesday + demo.BREAKS
    missing = range(broke, broke + 12 * HOUR)
    assert not set(missing) & set(hours["participate"]["redirect"])
    assert set(missing[::HOUR]) <= set(hours["participate"]["current page"])
    counts = {goal: {label: Count(len(come)) for label, come in each.items()} for goal, each in hours.items()}
    found = experiment_report(counts, history=demo._history(LANDING_PAGE, counts, hours, now), now=now)
    assert abs(as_moment(found["sample_ratio"]["since"]) - broke) <= HOUR


def test_progress_ends_when_all_visitors_have_come(fake, monkeypatch):
    few = [each for each in demo.EXPERIMENTS if sum(each.visitors.values()) < 3_000]
    monkeypatch.setattr(demo, "EXPERIMENTS", few)
    told = []
    demo.fill(connection.client(), lambda done, total: told.append((done, total)))
    assert len(told) > 1
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]


def test_the_demo_leaves_the_users_data_alone_and_nothing_behind(serve, redis_server, tmp_path):
    with tempfile.TemporaryDirectory() as scratch:
        server = serve("--demo", GIMEL_REDIS_URL=redis_server.url, TMPDIR=scratch)
        assert redis_server.client().dbsize() == 0
        assert not (tmp_path / ".gimel").exists()
        folders = [line for line in server.lines if "deleted on exit" in line]
        assert len(folders) == 1
        assert list(Path(scratch).iterdir())
        server.stop()
        assert not list(Path(scratch).iterdir())


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_gimel_demo_leaves_nothing_behind_however_it_is_ended(sign, tmp_path):
    """By Ctrl-C while it serves, or by a signal while visitors are still being added."""
    with tempfile.TemporaryDirectory() as scratch:
        process = start_gimel("demo", "--no-browser", home=tmp_path, TMPDIR=scratch)
        serves = sign == signal.SIGINT
        if serves:
            process.wait_for_line("Press Ctrl-C to stop.")
        wait_for(lambda: list(Path(scratch).glob("*/config.json")), "the folder of the demo")
        assert process.stop(sign) == (0 if serves else 128 + sign), process.output
        assert not list(Path(scratch).iterdir())
