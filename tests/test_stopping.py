"""What stopping, archiving, restoring and starting again does to counts, on a real Redis."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import accumulate
from math import sqrt
from typing import Any

import pytest

import gimel
from gimel import config, connection, counters, histories, keyspace, lives, plans, snapshots, stopping
from gimel.errors import BadRequest, StoreUnavailable
from gimel.events import Event
from gimel.frozen import Frozen
from gimel.histories import DAY, HOUR, History
from gimel.hyperloglog import Count
from gimel.settings import ExperimentSettings
from tests.benchmarks import archives

START = 20_000 * DAY


class Clock:
    """What time it is, for all that looks at it."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(histories, "now", found)
    monkeypatch.setattr("gimel.reports.now", found)
    return found


def visit(number: int, first: int = 0, experiment: str = "e", goal: str = "participate") -> list[tuple[Event, str]]:
    """So many visitors, half of them in each variant."""
    events = [Event("n", experiment, goal, "ab"[one % 2], f"{one}") for one in range(first, first + number)]
    return counters.record(connection.client(), events, connection.settings().precision_of)


def change(before: str, after: str, experiment: str = "e") -> None:
    stopping.apply(connection.client(), "n", experiment, before, after)


def report(experiment: str = "e") -> dict[str, Any]:
    return gimel.all({"namespace": "n", "scope": experiment})[1]


def series() -> dict[str, Any]:
    return gimel.history({"namespace": "n", "experiment": "e"})


def visitors() -> int:
    return sum(one["trials"] for one in report()["participants"])


def frozen(client: Any) -> Frozen | None:
    return Frozen.decode(counters.ask_each(connection.client(), [("GET", "n:frozen:e:counts")])[0])


def past() -> History | None:
    return History.decode(counters.ask_each(connection.client(), [("GET", "n:history:e:counts")])[0])


def new_process() -> None:
    connection.use(connection.settings())


@pytest.fixture(params=[1, 64, "bitmap", "exact"])
def precision(request: pytest.FixtureRequest, real: Any) -> Any:
    connection.use(replace(connection.settings(), precision=request.param))
    return request.param


def run_for_days(clock: Clock, days: int, per_day: int = 10) -> None:
    """An experiment with visitors on each day, and an hourly snapshot now and then."""
    snapshots.take(clock.now)
    for day in range(days):
        clock.now = START + day * DAY + HOUR
        visit(per_day, day * per_day)
        visit(per_day // 2, day * per_day, goal="bought")
        snapshots.take(clock.now)


def test_a_stopped_experiment_is_reported_as_of_the_moment_when_it_was_stopped(real, clock, precision):
    run_for_days(clock, 3)
    clock.now += HOUR + 7
    visit(5, 100)
    before, course = report(), series()
    change("running", "stopped")
    assert (report(), series()) == (before, course)
    clock.now += 5 * DAY
    new_process()
    assert {reason for _, reason in visit(4, 200)} == {"stopped"}  # by the answer; they are counted, but not reported
    assert snapshots.take(clock.now) == (0, 0)
    assert (report(), series()) == (before, course)


def test_stopping_keeps_since_when_it_ran_though_no_snapshot_saw_it(real, clock):
    snapshots.take(START)
    clock.now += 50
    visit(4)
    change("running", "stopped")
    clock.now += 5 * DAY
    assert report()["first_seen"] == histories.as_text(START)


def test_stopping_again_keeps_the_first_moment(real, clock):
    visit(4)
    change("running", "stopped")
    before, until_then = frozen(real), past()
    clock.now += DAY
    visit(4, 4)
    for status in "stopped", "archived":
        change("stopped", status)
        assert replace(frozen(real), is_final=False) == before
        assert past() == until_then
    assert before.at == START


def test_starting_again_counts_again(real, clock):
    visit(4)
    change("running", "stopped")
    new_process()
    visit(2, 10)
    change("stopped", "running")
    assert frozen(real) is None
    new_process()
    assert visit(2, 20) == []
    assert visitors() == 8


def test_an_experiment_without_counters_can_be_stopped_and_started(real, clock):
    change("draft", "stopped")
    assert report()["goals"] == []
    change("stopped", "running")
    new_process()
    assert visit(2) == []
    assert visitors() == 2


def test_an_archived_experiment_keeps_its_report_and_loses_its_counters(real, clock, precision):
    run_for_days(clock, 5)
    visit(2, experiment="other")
    before, course = report(), series()
    change("running", "stopped")
    change("stopped", "archived")
    assert report() == before
    assert series() == course
    mine = {key for key in real.scan_iter() if not key.startswith("gimel-") and ":other" not in key}
    assert mine == {
        *("n:experiments", "n:counter_keys", "n:stopped"),
        *("n:frozen:e:counts", "n:history:e:counts"),
    }
    assert real.smembers("n:experiments") == {"other"}
    assert all(":other:" in key for key in real.smembers("n:counter_keys"))


def test_archiving_leaves_room_in_the_limits(real, clock):
    bounds = config.Limits(experiments=1, counters=2)
    connection.use(replace(connection.settings(), limits=bounds))

    def visit_within(experiment: str) -> list[tuple[Event, str]]:
        event = Event("n", experiment, "participate", "a", "u")
        return counters.record(connection.client(), [event], lambda _: 1, bounds)

    assert visit_within("e") == []
    assert visit_within("second")
    change("running", "archived")
    assert visit_within("second") == []


def test_an_archived_experiment_cannot_start_again(real, clock):
    visit(4)
    change("running", "stopped")
    change("stopped", "archived")
    change("archived", "stopped")
    before = report()
    with pytest.raises(BadRequest, match="its counters were deleted when it was archived"):
        change("stopped", "running")
    assert report() == before
    assert visitors() == 4
    new_process()
    assert {reason for _, reason in visit(1)} == {"stopped"}


def test_archiving_that_was_cut_off_goes_on(real, clock, monkeypatch):
    run_for_days(clock, 3)
    before = report()
    change("running", "stopped")
    with monkeypatch.context() as patched:
        patched.setattr(stopping, "forget", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            change("stopped", "archived")
    assert report() == before
    change("stopped", "archived")
    assert report() == before
    assert not real.exists("n:e:counter_keys")


def test_what_another_version_of_gimel_froze_is_not_deleted(real, clock):
    visit(4)
    change("running", "stopped")
    real.set("n:frozen:e:counts", "of the future")
    with pytest.raises(StoreUnavailable, match="another version"):
        change("stopped", "archived")
    assert real.get("n:frozen:e:counts") == "of the future"
    assert counters.count(connection.client(), "n", ["e"])["e"]


def test_a_snapshot_that_began_before_it_was_archived_leaves_its_thin_history(real, clock, monkeypatch):
    run_for_days(clock, 2)
    visit(2, 50)
    write, thin = snapshots._write, []

    def archived_meanwhile(*args: Any) -> int:
        for status in "stopped", "archived":
            lives.change(connection.client(), "n", "e", {"status": status})
        thin.append(past())
        return write(*args)

    monkeypatch.setattr(snapshots, "_write", archived_meanwhile)
    snapshots.take(clock.now + HOUR)
    assert [past()] == thin
    assert visitors() == 22


@pytest.mark.parametrize(
    ("name", "smoothed"),
    [
        ("3 goals, 3 variants, texts of 1,000 characters", set()),
        ("all texts at full length, Cyrillic", {"visitors_by_day", "visitors_per_day"}),
        ("20 goals, 3 variants, 40 visitors a day", {"visitors_by_day"}),
        ("49 goals, 3 variants", {"visitors_by_day", "visitors_per_day"}),
    ],
)
def test_a_year_of_an_archived_experiment_takes_less_than_5_kb(single, name, smoothed):
    """All of its keys, also with a plan that has ended."""
    archives.write(archives.EXPERIMENTS[name])
    before = report()
    archives.archive()
    assert len(list(single.scan_iter("n:*"))) == 6
    assert archives.taken(single) < 5_000
    after = report()
    assert before["plan"]["ended"]
    assert {key for key in before if after[key] != before[key]} <= {"settings", "visitors_per_day", *smoothed}
    if not smoothed:
        assert len(past().moments) > 20
    if "visitors_per_day" not in smoothed:
        assert after["visitors_per_day"] == pytest.approx(before["visitors_per_day"])


def test_an_archived_experiment_keeps_the_visitors_of_its_last_days(single, clock):
    """Of these, the history had the hours; and nobody came in the last ones before it was stopped."""
    found, chance, values = None, random.Random(3), [0, 0]
    for hour in range(12 * 24 - 8):
        clock.now = START + hour * HOUR + 37
        values = [value + chance.randrange(50) for value in values]
        counts = {"participate": dict(zip("ab", map(Count, values), strict=True))}
        found = histories.append(found, counts, clock.now)
    clock.now += 5 * HOUR
    records = {"history": found.encode(), "frozen": Frozen(clock.now, counts).encode()}
    counters.ask_each(connection.client(), [("SET", f"n:{kind}:e:counts", value) for kind, value in records.items()])
    single.sadd("n:experiments", "e")
    before = report()
    change("stopped", "archived")
    assert len(past().moments) < 20
    assert report() == before
    assert before["last_seen"] == histories.as_text(START + 12 * DAY - 9 * HOUR)


def test_an_archived_experiment_is_compared_within_the_same_periods(single, clock):
    """Where the shares changed, long ago, while the rates moved: the days around that change stay in its history."""
    days = 300
    shares = [(900, 100) if day < 101 else (500, 500) for day in range(days)]
    rates = [0.1 if day < 120 else 0.3 for day in range(days)]
    chance = random.Random(2)
    came = [[round(chance.gauss(one, sqrt(one))) for one in each] for each in shares]
    bought = [[round(one * rate) for one in each] for each, rate in zip(came, rates, strict=True)]
    values = {
        goal: dict(zip("ab", (tuple(accumulate(found)) for found in zip(*each, strict=True)), strict=True))
        for goal, each in (("participate", came), ("bought", bought))
    }
    moments = tuple(START - DAY * day for day in range(days - 1, -1, -1))
    counts = {goal: {variant: Count(each[-1]) for variant, each in found.items()} for goal, found in values.items()}
    records = {"history": History(moments, values).encode(), "frozen": Frozen(START, counts).encode()}
    counters.ask_each(connection.client(), [("SET", f"n:{kind}:e:counts", value) for kind, value in records.items()])
    single.hset("n:settings:e:versions", "9", "x" * 3_000)
    weights = {label: each[-1] for label, each in values["participate"].items()}
    connection.use(replace(connection.settings(), experiments={"e": ExperimentSettings(weights=weights)}))
    before = report()["goals"]
    assert before[0]["by_day"]
    change("stopped", "archived")
    assert len(past().moments) < days / 2
    assert report()["goals"] == before


@pytest.mark.parametrize("status", ["stopped", "archived"])
def test_a_plan_that_ended_with_the_last_visitors_has_ended(real, clock, status):
    connection.use(replace(connection.settings(), experiments={"e": ExperimentSettings(planned_visitors=2)}))
    visit(4)
    change("running", status)
    clock.now += DAY
    assert report()["plan"]["ended"]["at"] == histories.as_text(START)
    assert not real.exists("n:ended:e:counts")


def test_a_history_keeps_its_first_moments_however_little_room_it_has():
    moments = tuple(range(START, START + 100 * DAY, HOUR))
    history = History(moments, {"participate": {"a": tuple(range(len(moments)))}})
    found = History.decode(histories.final_record(history, 1))
    assert found.moments == moments[:2]  # the last one are the frozen counts
    assert found.counts["participate"]["a"] == (0, 1)


def test_deleting_deletes_all_that_there_is(real, clock):
    run_for_days(clock, 2)
    counters.ask_each(connection.client(), [("HSET", keyspace.settings_key("n", "e"), 1, "{}")])
    real.hset("n:statuses", "e", "archived")
    for status in "stopped", "archived":
        change("running", status)
    gimel.delete({"namespace": "n", "experiment": "e"})
    assert {key for key in real.scan_iter() if key != "gimel-last-snapshot"} == set()
    assert not real.exists("gimel-namespaces")


def test_a_namespace_stays_listed_as_long_as_it_has_archived_experiments(real, clock):
    visit(2)
    real.hset("n:statuses", "e", "archived")
    change("running", "stopped")
    change("stopped", "archived")
    assert real.smembers("gimel-namespaces") == {"n"}


@pytest.mark.parametrize(
    "record",
    [
        None,
        b"",
        b"text",
        plans.pack({"version": 2, "at": 1, "final": False, "counts": {}}),
        plans.pack({"version": 1, "at": -1, "final": False, "counts": {}}),
        plans.pack({"version": 1, "at": 1, "final": 1, "counts": {}}),
        plans.pack({"version": 1, "at": 1, "final": False, "counts": {"participate": {"a": [-1, 0, 0]}}}),
        plans.pack({"version": 1, "at": 1, "final": False, "counts": {"participate": {"a": [1, 0, 2]}}}),
        plans.pack({"version": 1, "at": 1, "final": False, "counts": []}),
    ],
)
def test_what_is_no_record_is_none(record):
    assert Frozen.decode(record) is None


def test_a_record_reads_as_it_was_written():
    found = Frozen(START, {"participate": {"é:": Count(7, 0.0061, 0.0081), "b": Count(2**40, 0.1, 0.2, True)}}, True)
    assert Frozen.decode(found.encode()) == found


def test_a_record_of_a_development_version_is_read():
    found = {"version": 1, "at": 1, "final": True, "counts": {"participate": {"a": [7, 0.1, 0.2, False], "b": [8]}}}
    counts = {"participate": {"a": Count(7, 0.1, 0.2), "b": Count(8)}}
    assert Frozen.decode(plans.pack(found)) == Frozen(1, counts, is_final=True)
