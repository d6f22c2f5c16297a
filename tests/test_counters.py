"""The store, on a real Redis."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

import gimel
from gimel import connection, counters
from gimel.errors import StoreUnavailable
from gimel.events import Event
from tests.calls import EVENT, participants

ODD_NAMES = [
    "a:b",
    ":",
    "100%",
    "%3A",
    "%25",
    "%%3A:",
    "%253A",
    " a b ",
    "🎯",
    "名前",
    "a+b&c=d",
    "x" * 200,
    "<b>",
    "%2%3A",
]


def events(count: int, experiment: str = "e", variant: str = "red", goal: str = "participate") -> list[Event]:
    return [Event("alephbet", experiment, goal, variant, f"u{number}") for number in range(count)]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_escaped_name_holds_no_colon_and_is_read_back(name):
    assert ":" not in counters.escape(name)
    assert counters.unescape(counters.escape(name)) == name


@pytest.mark.parametrize("name", ["red", "100%", "5% off", "größer", "a b"])
def test_usual_names_stay_as_gimel_wrote_them(name):
    assert counters.escape(name) == name


def test_odd_names_come_back_as_they_went_in(real):
    client = connection.current()
    counters.record(client, [Event("n", name, name, name, "u1") for name in ODD_NAMES])
    assert counters.experiments(client, "n") == sorted(ODD_NAMES)
    found = counters.count(client, "n", ODD_NAMES)
    assert found == {name: {name: {name: 1}} for name in ODD_NAMES}


def test_what_gimel_1_wrote_is_read(real):
    key = "alephbet:counters:shop: colors:buy:red"
    real.sadd("alephbet:experiments", "shop: colors")
    real.sadd("alephbet:counter_keys", key, key.replace("buy", "participate"))
    real.sadd("alephbet:shop: colors:counter_keys", key, key.replace("buy", "participate"))
    real.pfadd(key, "u1", "u2")
    real.pfadd(key.replace("buy", "participate"), "u1", "u2", "u3")
    assert gimel.experiment({"experiment": "shop: colors"}) == [
        {"goal": "buy", "results": [{"label": "red", "successes": 2, "trials": 3}]}
    ]


def test_gimel_1_reads_what_is_written(real):
    gimel.track({**EVENT, "event": "buy"})
    key = "alephbet:counters:button color:buy:red"
    assert real.smembers("alephbet:experiments") == {"button color"}
    assert real.smembers("alephbet:counter_keys") == {key}
    assert real.smembers("alephbet:button color:counter_keys") == {key}
    assert real.pfcount(key) == 1
    assert sorted(real.scan_iter()) == sorted(
        ["alephbet:experiments", "alephbet:counter_keys", "alephbet:button color:counter_keys", key]
    )


@pytest.mark.parametrize("count", [1, 500])
def test_recording_is_one_round_trip_whatever_the_number_of_events(real, round_trips, count):
    counters.record(connection.current(), events(1))
    round_trips()
    counters.record(connection.current(), [*events(count), *events(count, "other", "blue", "buy")])
    assert round_trips() == 1


@pytest.mark.parametrize("count", [0, 1, 50])
def test_a_report_is_three_round_trips_at_most_whatever_the_number_of_experiments(real, round_trips, count):
    for number in range(count):
        counters.record(connection.current(), events(2, f"e{number}"))
    connection.current().ping()
    round_trips()
    assert len(gimel.all({})) == count + 1
    assert round_trips() == (3 if count else 1)
    gimel.experiment({"experiment": "e0"})
    assert round_trips() <= 2


def test_a_thousand_visitors_are_counted_within_the_error_of_a_hyperloglog(real):
    counters.record(connection.current(), events(1000))
    assert counters.count(connection.current(), "alephbet", ["e"])["e"]["participate"]["red"] == pytest.approx(
        1000, rel=0.02
    )


def test_the_same_event_from_many_threads_counts_once(real):
    with ThreadPoolExecutor(20) as threads:
        list(threads.map(lambda _: gimel.track(EVENT), range(200)))
    assert participants(real) == 1
    assert gimel.all({})[1]["participants"] == [{"label": "red", "trials": 1}]


def test_deleting_takes_one_experiment_and_nothing_else(real):
    for experiment in ("a", "a:b", "b"):
        counters.record(connection.current(), events(3, experiment))
    real.set("somebody's", "own")
    before = {key: real.type(key) for key in real.scan_iter()}
    counters.forget(connection.current(), "alephbet", "a")
    gone = {"alephbet:counters:a:participate:red", "alephbet:a:counter_keys"}
    assert {key: real.type(key) for key in real.scan_iter()} == {
        key: kind for key, kind in before.items() if key not in gone
    }
    assert real.smembers("alephbet:experiments") == {"a:b", "b"}
    assert real.scard("alephbet:counter_keys") == 2
    counters.forget(connection.current(), "alephbet", "never there")
    assert real.smembers("alephbet:experiments") == {"a:b", "b"}


def test_a_counter_made_while_deleting_is_not_left_behind(real, monkeypatch):
    counters.record(connection.current(), events(1))
    smembers = redis.client.Pipeline.smembers
    rivals = [events(1, goal="late")]

    def overtaken(self, name):
        members = smembers(self, name)
        if rivals:
            counters.record(connection.current(), rivals.pop())
        return members

    monkeypatch.setattr(redis.client.Pipeline, "smembers", overtaken)
    counters.forget(connection.current(), "alephbet", "e")
    assert list(real.scan_iter()) == []


def test_nothing_of_a_request_is_counted_where_a_part_cannot_be(real):
    real.set("alephbet:counter_keys", "not a set")
    with pytest.raises(StoreUnavailable):
        counters.record(connection.current(), events(1))
