"""Made-up experiments: the same every time, counted by the real code, apart from the user's data."""

from __future__ import annotations

import signal
import tempfile
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import pytest

import gimel
from gimel import connection, plans
from gimel.ops.commands.serve import use_samples
from gimel.ops.server import demo
from tests.parts import start_gimel

pytestmark = pytest.mark.slow


def reports() -> list:
    return [gimel.all({"namespace": namespace}) for namespace in ("alephbet", "mobile")]


class Noon(datetime):
    """A clock that stands still: the end of a plan has its time."""

    @classmethod
    def now(cls, tz=None):
        return cls(2026, 11, 30, 12, tzinfo=tz)


def test_the_demo_is_the_same_every_time(monkeypatch):
    monkeypatch.setattr(plans, "datetime", Noon)
    found = []
    for _ in range(2):
        with ExitStack() as stack:
            use_samples(stack)
            found.append(reports())
            folder = connection.settings().path.parent
        assert not folder.exists()
    assert found[0] == found[1]
    assert len(found[0][0]) - 1 + len(found[0][1]) - 1 == len(demo.EXPERIMENTS)


def test_the_demo_shows_each_kind_of_verdict():
    with ExitStack() as stack:
        use_samples(stack)
        items = {item["experiment"]: item for item in gimel.all({}) if "experiment" in item}
    states = {name: {goal["verdict"]["state"] for goal in item["goals"]} for name, item in items.items()}
    assert "winner" in states["checkout: one page or three"]
    assert states["button color"] == {"no_difference"}
    assert states["free shipping banner"] == {"collecting"}
    assert states["new landing page"] == {"do_not_trust"}
    assert "per_visitor" in states["article layout"]
    assert states["product photos"] == {"leaning"}
    assert {"winner", "worse"} <= states["delivery date"]
    assert "winner" in states["free trial"]
    assert items["free trial"]["plan"]["ended"]
    assert not items["sign-up form"]["plan"]["ended"]
    assert items["search engine"]["sample_ratio"]["state"] == "as_expected"
    assert [each["share"] for each in items["search engine"]["sample_ratio"]["expected"]] == [0.9, 0.1]


def test_the_demo_has_a_plan_that_runs_and_one_that_the_first_report_ends():
    with ExitStack() as stack:
        use_samples(stack)
        gimel.all({})
        found = plans.read(connection.client(), "alephbet", ["sign-up form", "free trial"])
        planned = [connection.settings().experiment(name).planned_visitors for name in ("sign-up form", "free trial")]
    assert set(found) == {"free trial"}
    assert found["free trial"].planned == 2 * planned[1]
    assert planned[0]


def test_progress_ends_when_all_visitors_have_come(fake):
    told = []
    demo.fill(fake, lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]


def test_the_demo_leaves_the_users_data_alone(serve, redis_server, tmp_path):
    server = serve("--demo", GIMEL_REDIS_URL=redis_server.url)
    assert redis_server.client().dbsize() == 0
    assert not (tmp_path / ".gimel").exists()
    folders = [line for line in server.lines if "deleted on exit" in line]
    assert len(folders) == 1


def test_the_demo_leaves_nothing_behind(serve):
    with tempfile.TemporaryDirectory() as scratch:
        server = serve("--demo", TMPDIR=scratch)
        assert list(Path(scratch).iterdir())
        server.stop()
        assert not list(Path(scratch).iterdir())


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_gimel_demo_leaves_nothing_behind_however_it_is_ended(sign, tmp_path):
    with tempfile.TemporaryDirectory() as scratch:
        process = start_gimel("demo", "--no-browser", home=tmp_path, TMPDIR=scratch)
        process.wait_for_line("Press Ctrl-C to stop.")
        assert list(Path(scratch).iterdir())
        assert process.stop(sign) == 0, process.output
        assert not list(Path(scratch).iterdir())
