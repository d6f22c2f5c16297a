"""Snapshots: what is appended to the histories of all experiments, whatever happens meanwhile."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest
import redis

import gimel
from gimel import config, connection, counters, histories, lives, snapshots
from gimel.errors import StoreUnavailable
from gimel.events import Event
from gimel.histories import DAY, HOUR, Change, History
from gimel.hyperloglog import Count
from gimel.settings import ExperimentSettings

START = 20_000 * DAY
LAST = "gimel-last-snapshot"


def visit(number: int, first: int = 0, experiment: str = "e", namespace: str = "alephbet", goal: str = "participate"):
    """So many visitors, half of them in each variant."""
    events = [Event(namespace, experiment, goal, "ab"[one % 2], f"{one}") for one in range(first, first + number)]
    counters.record(connection.client(), events, lambda name: "exact")


def read(experiment: str = "e", namespace: str = "alephbet") -> History | None:
    """The history of an experiment, as Redis has it."""
    key = f"{namespace}:history:{experiment}:counts"
    return History.decode(counters.ask_each(connection.client(), [("GET", key)])[0])


def series(experiment: str = "e", namespace: str = "alephbet") -> list[tuple[int, int]]:
    """The moments of a history, and how many participants there were."""
    found = read(experiment, namespace)
    at_each = zip(*found.counts["participate"].values(), strict=True)
    return [(moment - START, sum(values)) for moment, values in zip(found.moments, at_each, strict=True)]


def test_a_snapshot_appends_what_has_changed(real):
    visit(4)
    visit(2, experiment="still")
    visit(6, namespace="other")
    assert snapshots.take(START) == (3, 3)
    visit(4, first=4)
    assert snapshots.take(START + 60) == (3, 1)
    assert snapshots.take(START + 120) == (3, 0)
    assert series() == [(0, 4), (60, 8)]
    assert series("still") == [(0, 2)]
    assert series(namespace="other") == [(0, 6)]


@pytest.mark.parametrize("way", [["stopped"], ["stopped", "running"], ["stopped", "archived"]], ids="-".join)
def test_a_status_whose_effect_was_cut_off_has_it_with_the_next_snapshot(real, monkeypatch, way):
    visit(4)
    for status in way[:-1]:
        lives.change(connection.client(), "alephbet", "e", {"status": status})
    with monkeypatch.context() as cut:
        cut.setattr("gimel.stopping.apply", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            lives.change(connection.client(), "alephbet", "e", {"status": way[-1]})
    assert real.sismember("alephbet:stopped", "e") == (len(way) > 1)
    snapshots.take(histories.now())
    assert real.sismember("alephbet:stopped", "e") == real.exists("alephbet:frozen:e:counts") == (way[-1] != "running")
    assert real.sismember("alephbet:experiments", "e") == (way[-1] != "archived")
    assert real.hget("alephbet:statuses", "e") == way[-1]


@pytest.mark.parametrize("is_cut_off", [False, True])
def test_what_is_decided_after_a_start_that_was_cut_off_counts(real, monkeypatch, is_cut_off):
    visit(4)
    lives.change(connection.client(), "alephbet", "e", {"status": "stopped"})
    decision = {"status": "decided", "decision": "a"}
    with monkeypatch.context() as cut:
        cut.setattr("gimel.stopping.apply", Mock(side_effect=KeyboardInterrupt))
        for changes in ({"status": "running"}, *([decision] * is_cut_off)):
            with pytest.raises(KeyboardInterrupt):
                lives.change(connection.client(), "alephbet", "e", changes)
    if is_cut_off:
        snapshots.take(histories.now())
    else:
        lives.change(connection.client(), "alephbet", "e", decision)
    assert not real.exists("alephbet:stopped", "alephbet:frozen:e:counts")
    assert real.hget("alephbet:statuses", "e") == "decided"


def test_the_history_is_in_the_report(real):
    visit(4)
    snapshots.take(START)
    visit(4, experiment="new")
    snapshots.take(START + 60)
    found = {item["experiment"]: item for item in gimel.all({})[1:]}
    assert (found["e"]["first_seen"], found["new"]["first_seen"]) == (None, histories.as_text(START + 60))


def test_the_schedule_calls_a_function_that_takes_one(fake, monkeypatch):
    visit(4)
    monkeypatch.setattr(histories, "now", lambda: START)
    event = {"source": "aws.events", "detail-type": "Scheduled Event", "resources": ["arn"], "detail": {}}
    assert gimel.snapshot(event, None) == {"experiments": 1, "changed": 1}
    assert series() == [(0, 4)]
    assert gimel.snapshot({"httpMethod": "GET"})["statusCode"] == 405


def test_the_namespaces_that_have_experiments_are_named(real):
    def named(namespace: str = "alephbet") -> list[str]:
        return gimel.all({"namespace": namespace})[0]["meta"]["namespaces"]

    assert named() == named("other") == ["alephbet"]
    visit(1, namespace="other")
    visit(1, namespace="mobile")
    assert named() == ["mobile", "other"]
    visit(1)
    gimel.delete({"namespace": "other", "experiment": "e"})
    assert named() == named("other") == ["alephbet", "mobile"]


def test_an_event_still_takes_one_round_trip_and_a_report_of_200_experiments_four(single, round_trips):
    names = [f"experiment {number}" for number in range(200)]
    for name in names:
        visit(4, experiment=name)
    snapshots.take(START)
    visit(2, first=4, experiment=names[0])
    snapshots.take(START + 60)
    gimel.track({"experiment": names[0], "variant": "a", "event": "participate", "uuid": "1"})
    round_trips()
    gimel.track({"experiment": names[0], "variant": "a", "event": "participate", "uuid": "1"})
    assert round_trips() == 1
    items = gimel.all({})[1:]
    assert round_trips() <= 4
    assert [item["experiment"] for item in items if item["last_seen"]] == [names[0]]


def test_two_snapshots_at_once_do_no_harm(real):
    names = [f"experiment {number}" for number in range(20)]
    barrier = threading.Barrier(4)

    def together(moment: int) -> None:
        barrier.wait(30)
        snapshots.take(moment)

    for first, moment in (0, START), (4, START + 60):
        for name in names:
            visit(4, first, experiment=name)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(together, [moment, moment, moment + 1, moment + 1]))
    for name in names:
        found = series(name)
        assert [participants for _, participants in found][-1] == 8
        assert {moment for moment, _ in found} <= {0, 1, 60, 61}


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("has_history", [False, True])
@pytest.mark.parametrize("step", ["read", "written"])
def test_an_experiment_that_is_deleted_meanwhile_keeps_no_history(real, monkeypatch, step, has_history, goes_on):
    visit(20)
    visit(20, experiment="other")
    if has_history:
        snapshots.take(START)
    visit(20, first=20)
    visit(20, first=20, experiment="other")
    ask_each, in_batches = snapshots.ask_each, snapshots.reports.in_batches

    def delete() -> None:
        gimel.delete({"experiment": "e"})
        if goes_on:
            visit(40, first=40)

    def reading(*given: Any, **named: Any) -> Iterator[Any]:
        yield from list(in_batches(*given, **named))
        if step == "read":
            delete()

    def asking(client: Any, commands: Any) -> Any:
        answers = ask_each(client, commands)
        if step == "written" and commands and commands[0][0] == "SET" and commands[0][1] != LAST:
            delete()
        return answers

    with monkeypatch.context() as patch:
        patch.setattr(snapshots.reports, "in_batches", reading)
        patch.setattr(snapshots, "ask_each", asking)
        snapshots.take(START + 60)
    assert series("other")[-1] == (60, 40)
    if goes_on:
        snapshots.take(START + 120)
        # One that is new twice within moments begins with the first snapshot.
        assert series() == ([(60, 0), (120, 40)] if has_history or step == "written" else [(60, 40)])
    else:
        assert read() is None


def test_the_namespaces_of_gimel_1_are_found_by_the_first_snapshot(real, caplog):
    for name in "one", "two":
        visit(4, namespace=name)
        real.srem("gimel-namespaces", name)
    visit(4)
    assert snapshots.take(START) == (3, 3)
    assert real.smembers("gimel-namespaces") == {"alephbet", "one", "two"}
    visit(4, namespace="three")
    real.srem("gimel-namespaces", "three")
    assert snapshots.take(START + 60) == (3, 0)
    assert not caplog.records


def refuse(single: redis.Redis, *commands: str) -> None:
    """Use Redis as one who may not do these."""
    single.acl_setuser("few", enabled=True, passwords=["+p"], keys=["*"], commands=["+@all", *commands])
    few = replace(connection.settings().redis, username="few", password="p")
    connection.use(replace(connection.settings(), redis_settings=few))


def test_who_may_not_look_at_all_keys_goes_without_the_namespaces_of_gimel_1(single, caplog):
    visit(4)
    refuse(single, "-scan")
    assert snapshots.take(START) == snapshots.take(START + 60)._replace(changed=1) == (1, 1)
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "could not look for the namespaces of Gimel 1.x"
    ]


@pytest.mark.parametrize(
    ("setting", "value", "usual", "message"),
    [
        ("maxmemory", "1", "0", "Redis is out of memory"),
        ("min-replicas-to-write", "1", "0", "Redis has too few replicas to accept writes"),
    ],
)
def test_a_redis_that_takes_no_writes_loses_nothing(single, setting, value, usual, message):
    visit(4)
    snapshots.take(START)
    visit(4, first=4)
    single.config_set(setting, value)
    try:
        with pytest.raises(StoreUnavailable, match=message):
            snapshots.take(START + 60)
    finally:
        single.config_set(setting, usual)
    connection.use(connection.settings())  # on a new connection, at once
    assert (series(), single.get(LAST)) == ([(0, 4)], f"{START}")
    snapshots.take(START + 120)
    assert series() == [(0, 4), (120, 8)]


def test_who_may_not_write_is_told(single):
    visit(4)
    refuse(single, "-set")
    with pytest.raises(StoreUnavailable, match="Redis denies its user a command or a key"):
        snapshots.take(START)


def test_a_snapshot_that_is_cut_off_loses_nothing(fake, monkeypatch):
    visit(4)
    visit(4, namespace="other")
    snapshots.take(START)
    visit(4, first=4)
    visit(4, first=4, namespace="other")
    with monkeypatch.context() as patch:
        write = snapshots._write
        patch.setattr(snapshots, "_write", lambda *given: write(*given) if given[1] == "alephbet" else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            snapshots.take(START + 60)
    assert fake.get(LAST) == f"{START}"
    visit(4, first=8)
    snapshots.take(START + 120)
    assert series() == [(0, 4), (60, 8), (120, 12)]
    assert series(namespace="other") == [(0, 4), (120, 8)]


def test_a_clock_that_is_behind_writes_nothing(fake):
    visit(4)
    snapshots.take(START)
    visit(4, first=4)
    with pytest.raises(StoreUnavailable, match=r"the last snapshot is of 2024-10-04T00:00:00Z, .*: check this machine"):
        snapshots.take(START - 61)
    assert series() == [(0, 4)]
    snapshots.take(START - 60)
    assert series() == [(-60, 8)]


def test_each_verdict_is_recorded_when_it_changes(fake):
    visit(400)
    visit(100, goal="buy")
    snapshots.take(START)
    visit(3000, first=400)
    events = [Event("alephbet", "e", "buy", "b", f"{one}") for one in range(401, 1401, 2)]
    counters.record(connection.client(), events, lambda name: "exact")
    snapshots.take(START + 60)
    snapshots.take(START + 120)
    assert read().changes == (
        Change(START, None, "collecting"),
        Change(START, "buy", "collecting"),
        Change(START + 60, None, "winner"),
        Change(START + 60, "buy", "winner"),
    )
    events = [Event("alephbet", "e", "participate", "a", f"more {one}") for one in range(2000)]
    counters.record(connection.client(), events, lambda name: "exact")
    snapshots.take(START + 180)
    assert ("", "mismatch") in [(change.goal, change.state) for change in read().changes]


def test_settings_that_change_a_verdict_change_the_history(fake):
    visit(400)
    visit(100, goal="buy")
    snapshots.take(START)
    own = ExperimentSettings(per_visitor=frozenset(["buy"]))
    connection.use(config.Config(experiments={"e": own}), connection.client())
    assert snapshots.take(START + 60) == (1, 1)
    assert series() == [(0, 400)]
    assert read().changes[-1].at == START + 60
    assert snapshots.take(START + 120) == (1, 0)


def test_a_history_survives_a_restart(redis_server):
    settings = config.Config(redis_settings=config.RedisSettings(redis_server.url, timeout_s=30, connect_timeout_s=30))
    connection.use(settings)
    visit(4)
    snapshots.take(START)
    redis_server.stop()
    redis_server.start()
    connection.use(settings)
    visit(4, first=4)
    snapshots.take(START + 60)
    assert series() == [(0, 4), (60, 8)]


def test_an_experiment_without_counters_has_no_history_yet(fake):
    fake.sadd("alephbet:experiments", "listed")
    assert snapshots.take(START) == (1, 0)
    visit(4, experiment="listed")
    snapshots.take(START + 60)
    assert series("listed") == [(0, 0), (60, 4)]


def test_names_that_are_too_large_are_left_out_and_logged(fake, monkeypatch, caplog):
    visit(4)
    monkeypatch.setattr(histories, "MAX_RECORD_BYTES", 10)
    assert snapshots.take(START) == (1, 0)
    assert [record.message for record in caplog.records] == [
        "experiment 'e' of namespace 'alephbet' has too many names for a history"
    ]


def test_a_history_of_another_version_stays_as_it_is(fake):
    visit(4)
    fake.set("alephbet:history:e:counts", "of version 2")
    assert snapshots.take(START) == (1, 0)
    assert fake.get("alephbet:history:e:counts") == "of version 2"


def test_a_year_of_one_experiment_takes_at_most_40_kb(single):
    """With 3 goals and 3 variants, a snapshot every hour, and some 300,000 visitors."""
    chance = random.Random(13)
    goals, variants = ("participate", "buy", "sign up", "share"), ("red", "green", "blue")
    counts = {goal: dict.fromkeys(variants, Count(0)) for goal in goals}
    found = None
    # All but the last two days are thinned to days anyway.
    for hour in (*range(0, 24 * 362, 24), *range(24 * 362, 24 * 365)):
        for number, goal in enumerate(goals):
            for variant in variants:
                more = chance.randrange(400 if hour < 24 * 362 else 20) // (1 + 5 * number)
                counts[goal][variant] = Count(counts[goal][variant].value + more)
        found = histories.append(found, counts, START + hour * HOUR)
    assert len(found.moments) > 400
    single.set("history", histories.record(found))
    assert single.memory_usage("history") <= 40 * 1024


@pytest.mark.parametrize("garbage", ["", "foo", "-5", "9" * 20])
def test_what_is_no_moment_of_a_last_snapshot_is_replaced(real, garbage):
    visit(4)
    real.set(LAST, garbage)
    assert snapshots.take(START) == (1, 1)
    assert snapshots.last(connection.client()) == START
