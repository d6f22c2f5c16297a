"""The end of a plan: one record, written by the first report that finds it, which stands whatever comes later."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import astuple, replace
from datetime import datetime
from itertools import product

import pytest
import redis

import gimel
from gimel import config, connection, counters, keyspace, plans, reports
from gimel.analysis import report
from gimel.events import Event
from gimel.hyperloglog import Count
from gimel.plans import Ended
from gimel.settings import ExperimentSettings

from .calls import make_rest_event, read
from .parts import ROOT, RedisServer
from .test_counters import ODD_NAMES
from .test_known_counters import Steps, run_with

ENDED = Ended(4, "2026-11-30T10:00:00Z", {"participate": {"blue": Count(2), "red": Count(2, 0.1, 0.2)}, "buy": {}})
KEY = "alephbet:ended:button:counts"
PATIENT_S = 60


@pytest.fixture
def made(monkeypatch) -> list[Ended | None]:
    """The ends that reports were made with."""
    found: list[Ended | None] = []
    original = report.experiment_report

    def kept(counts, own, control, ended, *past):
        found.append(ended)
        return original(counts, own, control, ended, *past)

    monkeypatch.setattr(report, "experiment_report", kept)
    monkeypatch.setattr(reports, "_kept", {})
    return found


def visit(number: int, first: int = 0, experiment: str = "button") -> None:
    """So many visitors in each of two variants."""
    for variant in ("blue", "red"):
        record(variant, number, first, experiment)


def record(variant: str, number: int, first: int = 0, experiment: str = "button") -> None:
    found = [Event("alephbet", experiment, "participate", variant, f"u{one}") for one in range(first, first + number)]
    counters.record(connection.client(), found, lambda _: "exact")


def plan(visitors: int | None = 2, **more) -> None:
    own = {"button": ExperimentSettings(planned_visitors=visitors, **more)}
    connection.use(replace(connection.settings(), experiments=own), connection.client())


def ended(made: list[Ended | None]) -> Ended | None:
    """The end that a report is made with, or was when it was last made."""
    gimel.experiment({"experiment": "button"})
    return made[-1]


def participants(found: Ended | None) -> int:
    return sum(count.value for count in found.counts["participate"].values()) if found else 0


def standing() -> Ended | None:
    return plans.read(connection.client(), "alephbet", ["button"]).get("button")


def test_a_record_is_read_back_as_it_was_whatever_the_names():
    counts = {name: {other: Count(5, 0.01, 0.02) for other in ODD_NAMES} for name in ODD_NAMES}
    found = Ended(40_000, "2026-11-30T10:00:00Z", counts, dict.fromkeys(ODD_NAMES, 0.1))
    assert Ended.decode(found.as_json()) == Ended.decode(found.encode()) == found


def test_a_record_of_an_earlier_development_version_is_read():
    counts = {goal: {variant: astuple(count) for variant, count in of.items()} for goal, of in ENDED.counts.items()}
    assert Ended.decode(json.dumps({**json.loads(ENDED.as_json()), "counts": counts})) == ENDED


UNREADABLE = [
    *("", "null", "[]", "{}", "no JSON", b"\xff", '{"version": 1}', "[" * 100_000),
    *(
        json.dumps({**json.loads(ENDED.as_json()), **wrong})
        for wrong in (
            {"version": 2},
            {"version": None},
            {"planned": "many"},
            {"planned": float("inf")},
            {"planned": 0},
            {"shares": {"red": 0}},
            {"shares": {"red": "many"}},
            {"planned": 10**400},
            {"counts": {"participate": {"red": [10**400, 0, 0]}}},
            {"counts": {"participate": {"red": [5.5, 0, 0]}}},
            {"counts": {"participate": {"red": [5, 1e300, 1e300]}}},
            {"at": "yesterday"},
            {"at": 5},
            {"counts": []},
            {"counts": {"participate": 5}},
            {"counts": {"participate": {"red": 5}}},
            {"counts": {"participate": {"red": ["5", 0, 0]}}},
            {"counts": {"participate": {"red": [-1, 0, 0]}}},
            {"counts": {"participate": {"red": [1, 2, 3, False, 5]}}},
            {"counts": {"participate": {"red": [float("nan"), 0, 0]}}},
            {"counts": {"participate": [["red"], [1, 2], [0], [0], [False]]}},
            {"counts": {"participate": [["red", "blue"], [1], [0], [0], [False]]}},
            {"counts": {"participate": [[5], [1], [0], [0], [False]]}},
        )
    ),
]


@pytest.mark.parametrize("value", UNREADABLE, ids=range(len(UNREADABLE)))
def test_a_record_that_cannot_be_read_is_neither_used_nor_replaced(fake, made, value):
    visit(3)
    plan()
    fake.set(KEY, value)
    assert ended(made) is None
    raw = connection.client().get(KEY)
    assert raw == (value if isinstance(value, bytes) else value.encode())


def test_the_first_report_after_the_planned_visitors_records_their_counts(real, made):
    plan()
    visit(1)
    assert ended(made) is None
    assert not real.exists(KEY)
    visit(1, first=1)
    first = ended(made)
    assert first.planned == 4
    assert first.counts == {"participate": {"blue": Count(2), "red": Count(2)}}
    assert first.shares == {"blue": 0.5, "red": 0.5}
    assert datetime.strptime(first.at, "%Y-%m-%dT%H:%M:%SZ")
    assert standing() == first
    visit(100, first=2)
    assert ended(made) == first
    assert [one["trials"] for one in gimel.all({"scope": "button"})[1]["participants"]] == [102, 102]


def test_with_weights_the_planned_visitors_are_those_of_all_variants(fake, made):
    plan(4, weights={"blue": 1, "red": 1})
    visit(1)
    assert ended(made) is None
    visit(1, first=1)
    assert ended(made).planned == 4


def test_visitors_of_a_label_that_is_no_variant_do_not_end_a_plan(fake, made):
    plan(2, variants=frozenset({"blue", "red", "green"}))
    visit(2)
    record("zzz", 10)
    assert ended(made) is None
    visit(1, first=2)
    assert ended(made).planned == 6


def test_a_record_stands_whatever_becomes_of_the_setting(real, made):
    plan()
    visit(2)
    first = ended(made)
    plan(50)
    assert ended(made) == first
    plan(None)
    assert ended(made) is None
    assert standing() == first
    plan(3)
    assert ended(made) == first


def test_a_record_of_an_experiment_that_began_again_is_deleted(real, made):
    plan()
    visit(20)
    assert participants(ended(made)) == 40
    for key in real.scan_iter("*"):  # as Gimel 1.x deletes it
        if key != KEY:
            real.delete(key)
    assert ended(made) is None
    assert not real.exists(KEY)
    visit(1)
    assert ended(made) is None
    visit(1, first=1)
    assert participants(ended(made)) == 4


def test_a_record_is_replaced_where_the_new_experiment_has_reached_its_plan_already(real, made):
    plan()
    visit(20)
    old = ended(made)
    real.flushall()
    real.set(KEY, old.as_json())
    visit(2)
    assert participants(ended(made)) == participants(standing()) == 4


def test_a_record_of_a_few_more_than_a_failover_left_stands(fake, made):
    plan()
    visit(20)
    first = ended(made)
    connection.client().spop("alephbet:exact:button:participate:red", 3)
    assert participants(ended(made)) == 40
    assert ended(made) == first


def test_a_deletion_takes_the_record(real, made):
    plan()
    visit(2)
    assert ended(made)
    gimel.delete({"experiment": "button"})
    assert list(real.scan_iter()) == []


def test_the_records_of_many_experiments_take_no_round_trip_of_their_own(real, round_trips):
    names = [f"e{number}" for number in range(5)]
    for name in names:
        visit(2, experiment=name)
    gimel.all({})
    round_trips()
    gimel.all({})
    without = round_trips()
    own = {name: ExperimentSettings(planned_visitors=2) for name in names[1:]}
    connection.use(replace(connection.settings(), experiments=own), connection.client())
    gimel.all({})
    assert len(list(real.scan_iter("*:ended:*"))) == 4
    round_trips()
    gimel.all({})
    assert round_trips() == without


def test_reports_without_a_plan_write_no_record(single, made):
    plan(None)
    visit(2)
    single.config_resetstat()
    assert ended(made) is None
    assert "cmdstat_set" not in single.info("commandstats")


def test_reports_that_find_the_end_at_once_agree_on_one_record(real, made):
    """Each has counts of its own, since visitors keep coming."""
    found, start = [], threading.Barrier(8)

    def settle(number: int) -> None:
        counts = {"participate": {"blue": Count(50 + number), "red": Count(50)}}
        client = connection.connect(connection.settings().redis)
        start.wait(20)
        found.append(plans.settle(client, "alephbet", "button", None, counts, 4, {}, "2026-11-30T10:00:00Z"))

    visit(60)
    threads = [threading.Thread(target=settle, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == [standing()] * 8
    plan()
    assert ended(made) == found[0]


def refuse(server: RedisServer, kind: str) -> None:
    """What this server no longer does from now on."""
    admin = server.client()
    if kind == "full":
        admin.config_set("maxmemory", 1)
    elif kind == "replica":
        admin.replicaof("127.0.0.1", 1)
    else:
        admin.acl_setuser("default", enabled=True, nopass=True, categories=["+@all"], keys=["*"], commands=[kind])


@pytest.mark.parametrize("kind", ["full", "replica", "-set"])
def test_a_report_is_made_without_a_record_if_none_can_be_written(redis_server, made, caplog, kind):
    connection.use(config.Config(redis_settings=config.RedisSettings(url=redis_server.url)))
    plan()
    visit(2)
    refuse(redis_server, kind)
    for _ in range(2):  # the circuit breaker lets the second in
        (item,) = gimel.all({})[1:]
        assert [one["trials"] for one in item["participants"]] == [2, 2]
    assert made == [None]
    assert "could not record the end of experiment 'button' of namespace 'alephbet': Redis " in caplog.text


def test_a_record_is_written_once_that_is_possible_again(redis_server, made):
    connection.use(config.Config(redis_settings=config.RedisSettings(url=redis_server.url)))
    plan()
    visit(2)
    refuse(redis_server, "full")
    assert ended(made) is None
    redis_server.client().config_set("maxmemory", 0)
    assert participants(ended(made)) == 4
    assert len(made) == 2  # the report that was kept is made anew


def test_a_record_that_cannot_be_read_now_fails_the_report(redis_server):
    """Another verdict than yesterday's would be worse."""
    connection.use(config.Config(redis_settings=config.RedisSettings(url=redis_server.url)))
    plan()
    visit(2)
    refuse(redis_server, "-get")
    answer = gimel.all({"httpMethod": "GET"})
    assert (answer["statusCode"], read(answer)["error"]) == (503, "could not store or read counts")


def test_a_user_with_the_documented_commands_can_do_all_that_an_endpoint_does(single, made):
    block = re.search(r"```\n(\+exists [^`]+)```", (ROOT / "docs" / "redis.md").read_text())
    single.acl_setuser("few", enabled=True, passwords=["+p"], keys=["*"], commands=block[1].split())
    try:
        few = replace(connection.settings().redis, username="few", password="p")
        connection.use(replace(connection.settings(), limits=config.Limits(), redis_settings=few))
        plan(precision="bitmap")
        gimel.health({})
        for number in range(4):
            gimel.track({"experiment": "button", "variant": "red", "event": "participate", "uuid": str(number)})
        counters.ignore(connection.client(), [("nobody's", "bot")])
        gimel.track(make_rest_event(query={"experiment": "of few rights"}))
        assert gimel.all({})[0]["meta"]["turned_away"][0]["experiment"] == "of few rights"
        assert ended(made).planned == 4
        assert gimel.snapshot({}) == {"experiments": 1, "changed": 1}
        for status in "stopped", "running", "stopped", "archived":
            changes = {"experiment": "button", "changes": {"status": status}}
            assert gimel.experiment(make_rest_event("PUT", body=json.dumps(changes)))["statusCode"] == 200
        gimel.delete({"experiment": "button"})
        assert [key for key in single.scan_iter() if not key.startswith("gimel-")] == []
    finally:
        single.acl_deluser("few")


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_delete_and_the_end_of_a_plan_may_meet_at_any_step(single, monkeypatch, goes_on):
    """No record is left, though the page may go on and make the experiment anew."""
    steps = Steps(monkeypatch)
    monkeypatch.setattr(plans, "send", counters.send)
    # Each waits for the other in the middle, on a machine that may be busy.
    monkeypatch.setattr(counters, "REPORT_TIMEOUT_S", PATIENT_S)
    patient = replace(connection.settings().redis, timeout_s=PATIENT_S)
    connection.use(replace(connection.settings(), redis_settings=patient))

    def another() -> redis.Redis:
        return connection.connect(connection.settings().redis)

    def delete() -> None:
        counters.forget(another(), "alephbet", "button")
        if goes_on:
            visit(1, first=1000)

    def settle(counts: counters.Counts) -> None:
        plans.settle(another(), "alephbet", "button", None, counts, 4, {}, "2026-11-30T10:00:00Z")

    length, deletions, first = 1, 14, 0
    while first < length:
        for before in range(deletions):
            for more in (0, 1, 3):
                single.flushall()
                visit(5)
                counts = counters.count(another(), "alephbet", ["button"])["button"]
                places = (first,) * before + (first + 1,) * more
                length = max(length, run_with(steps, places, lambda counts=counts: settle(counts), delete))
                assert not single.exists(KEY), places
                assert single.scard("alephbet:button:counter_keys") == (2 if goes_on else 0)
        first += 1
    assert length > 3


def test_no_names_make_the_record_of_an_experiment_equal_to_another_key():
    words = ("ended", "e", "counts", "counter_keys", "experiments", "counters", "exact", "shards", "1")
    names = [":".join(parts) for length in (1, 2, 3) for parts in product(words, repeat=length)]
    own = {keyspace.ended_key("n", name).decode(): name for name in names}
    assert len(own) == len(names)
    assert not own.keys() & {keyspace.counters_key("n", name) for name in names}
    assert not own.keys() & {keyspace.experiments_key("n"), keyspace.all_counters_key("n")}
    for experiment in names[:90]:
        for goal in names[:90]:
            for variant in ("counts", "ended:e", "a"):
                assert keyspace.counter_key("n", experiment, goal, variant) not in own
                assert keyspace.counter_key("n", experiment, goal, variant, 1) not in own
                assert keyspace.exact_key("n", experiment, goal, variant) not in own
