"""Events of stopped experiments are ignored, on a real Redis."""

from __future__ import annotations

from typing import Any

import pytest

import gimel
from gimel import config, connection, counters, keyspace, stopped, stopping
from gimel.config import Limits
from gimel.events import Event

from .calls import EVENT, make_rest_event, post

OTHER = {**EVENT, "experiment": "other"}
STOPPED = keyspace.stopped_key("alephbet")
NAME = EVENT["experiment"]


def track(event: dict[str, str] = EVENT, uuid: str = "u1", **names: str) -> str | None:
    """Why the event was ignored, if it was."""
    answer = gimel.track(make_rest_event(query={**event, "uuid": uuid, **names}))
    assert (answer["statusCode"], answer["body"]) == (200, "null")
    return answer["headers"].get("X-Gimel-Ignored")


def visitors(experiment: str = NAME) -> int:
    found = counters.count(connection.client(), "alephbet", [experiment])[experiment]
    return sum(one.value for one in found.get("participate", {}).values())


def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let so much time pass that this process asks again."""
    clock = stopped.time.monotonic
    monkeypatch.setattr(stopped.time, "monotonic", lambda: clock() + stopped.KNOWN_S + 1)


def start_anew() -> None:
    """Know nothing, as a new process does."""
    connection.use(connection.settings())


def contents(client: Any) -> set[str]:
    return {key for key in client.scan_iter() if not key.startswith("gimel-")}


@pytest.fixture(params=[1, 16, "bitmap", "exact"])
def precision(request: pytest.FixtureRequest, real: Any) -> Any:
    settings = connection.settings()
    connection.use(config.replace(settings, precision=request.param))
    return request.param


def test_an_event_of_a_stopped_experiment_is_ignored_within_the_time_that_a_process_remembers(real, monkeypatch):
    assert (track(), track(OTHER)) == (None, None)
    real.sadd(STOPPED, NAME)
    assert track(uuid="u2") is None
    later(monkeypatch)
    assert track(OTHER, "u2") is None  # learns of both by the answer
    assert track(uuid="u3") == "stopped"
    assert (visitors(), visitors("other")) == (2, 2)


def test_the_process_that_stops_or_starts_one_need_not_wait(real):
    assert track() is None
    stopping.apply(connection.client(), "alephbet", NAME, "running", "stopped")
    assert track(uuid="u2") == "stopped"
    stopping.apply(connection.client(), "alephbet", NAME, "stopped", "running")
    assert track(uuid="u3") is None
    assert visitors() == 2


def test_one_that_is_deleted_while_it_is_stopped_may_begin_again_at_once(real):
    track()
    stopping.apply(connection.client(), "alephbet", NAME, "running", "stopped")
    gimel.delete({"experiment": NAME})
    assert track() is None
    assert visitors() == 1


def test_a_new_process_learns_by_the_answer_to_its_first_request_and_says_so(real):
    track()
    real.sadd(STOPPED, NAME)
    start_anew()
    assert [track(uuid="u2"), track(uuid="u3")] == ["stopped", "stopped"]
    assert visitors() == 2


def test_what_is_new_in_a_stopped_experiment_leaves_nothing(real, precision):
    track()
    before = contents(real)
    real.sadd(STOPPED, NAME, "archived")
    start_anew()
    new = [{**EVENT, "experiment": "archived"}, {**EVENT, "event": "bought"}, {**EVENT, "variant": "green"}]
    answer = gimel.track(post(new))
    assert answer["headers"]["X-Gimel-Ignored"] == "stopped"
    assert contents(real) == {*before, STOPPED}
    assert real.smembers("alephbet:experiments") == {NAME}


def test_one_that_is_archived_while_a_process_counts_it_does_not_come_back(real, precision):
    assert track() is None
    track(OTHER)
    real.sadd(STOPPED, NAME)
    counters.forget(connection.connect(connection.settings().redis), "alephbet", NAME)
    real.sadd(STOPPED, NAME)
    before = contents(real)
    assert track(uuid="u2") == "stopped"
    assert contents(real) == before
    assert real.smembers("alephbet:experiments") == {"other"}


def test_others_of_the_same_request_are_counted(real):
    gimel.track(post([EVENT, OTHER]))
    real.sadd(STOPPED, NAME)
    start_anew()
    for uuid in "u2", "u3":
        answer = gimel.track(post([{**EVENT, "uuid": uuid}, {**OTHER, "uuid": uuid}]))
        assert answer["headers"]["X-Gimel-Ignored"] == "stopped"
    assert visitors("other") == 3


def test_one_that_is_started_again_is_counted_again(real, monkeypatch):
    track()
    real.sadd(STOPPED, NAME)
    start_anew()
    track()
    real.srem(STOPPED, NAME)
    assert track(uuid="u2") == "stopped"
    later(monkeypatch)
    assert track(uuid="u3") is None
    assert visitors() == 2


def test_what_was_stopped_is_asked_for_before_it_is_counted(real, monkeypatch):
    track()
    track(OTHER)
    real.sadd(STOPPED, NAME)
    start_anew()
    track()
    later(monkeypatch)
    assert track(uuid="u2") == "stopped"
    assert visitors() == 1


def test_asking_costs_no_round_trip(real, monkeypatch, round_trips):
    for _ in range(2):
        track()
    round_trips()
    track()
    assert round_trips() == 1
    later(monkeypatch)
    track()
    assert round_trips() == 1


def test_a_stopped_experiment_costs_the_one_that_counts_it_as_ignored(real, round_trips):
    track()
    real.sadd(STOPPED, NAME)
    start_anew()
    track()
    track()
    round_trips()
    track()
    assert round_trips() == 1
    assert gimel.all({})[0]["meta"]["ignored"] == {"stopped": 3}


def test_stopped_experiments_are_ignored_beyond_the_limits_too(real):
    real.sadd(STOPPED, NAME)
    event = Event("alephbet", NAME, "participate", "red", "u1")
    bounds = Limits(experiments=1)
    assert counters.record(connection.client(), [event], lambda _: 1, bounds) == [(event, "stopped")]
    other = event._replace(experiment="other")
    assert counters.record(connection.client(), [other], lambda _: 1, bounds) == []
    third = event._replace(experiment="third")
    assert counters.record(connection.client(), [third, event], lambda _: 1, bounds) == [
        (third, "limit"),
        (event, "stopped"),
    ]


def test_an_event_is_counted_even_if_which_are_stopped_cannot_be_read(real, monkeypatch):
    real.set(STOPPED, "not a set")  # a cluster's node that is down fails for its own keys alone, too
    track()
    later(monkeypatch)
    track(uuid="u2")
    assert visitors() == 2
