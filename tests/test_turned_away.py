"""Events that were not counted, and why, on a real Redis."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

import gimel
from gimel import connection, counters, histories, turned_away
from gimel.events import HINT, Event

from .calls import EVENT, make_rest_event, post

OTHER = {**EVENT, "experiment": "other"}
NOW = histories.as_text(30_000_000)
KEY = "gimel-turned-away"


@pytest.fixture(autouse=True)
def _closed(real, monkeypatch):
    connection.use(replace(connection.settings(), allowed_experiments=frozenset({EVENT["experiment"]})))
    monkeypatch.setattr(turned_away, "now", lambda: 30_000_000)
    monkeypatch.setattr(turned_away, "_recorded", {})


def told(namespace: str = "alephbet") -> list[dict[str, Any]]:
    """What a report says."""
    return gimel.all({"namespace": namespace})[0]["meta"]["turned_away"]


def ignored(experiment: str = "other", why: str = "experiment") -> dict[str, Any]:
    names = {"experiment": experiment, "variant": "red", "event": "participate"}
    return {"at": NOW, **names, "why": "ignored", "reasons": [why]}


def test_ignored_events_are_told_with_their_reason(real):
    gimel.track(make_rest_event(query=OTHER))
    assert told() == [ignored()]


def test_refused_events_are_told_with_all_that_is_wrong(real):
    answer = gimel.track(make_rest_event(query={"experiment": "button color", "variant": "red\n", "uuid": "u1"}))
    assert answer["statusCode"] == 400
    assert told() == [
        {
            "at": NOW,
            "experiment": "button color",
            "variant": "red\n",
            "event": "",
            "why": "refused",
            "reasons": json.loads(answer["body"])["problems"],
        }
    ]


def test_threads_may_tell_at_the_same_time(real):
    class MeanwhileForgotten(float):
        def __le__(self, start: float) -> bool:
            turned_away._recorded.popitem()
            return True

    turned_away._recorded |= {"one": MeanwhileForgotten(), "two": 0.0, "three": 0.0, "four": 0.0}
    assert gimel.track(make_rest_event(query=OTHER))["statusCode"] == 200
    assert told() == [ignored()]


@pytest.mark.parametrize("item", ["text", 7, None, [], {"variant": {"a": 1}, "experiment": ["x"]}, {}])
def test_what_is_no_event_is_told_without_names(real, item):
    gimel.track(post([item]))
    (found,) = told()
    assert (found["experiment"], found["variant"], found["event"]) == ("", "", "")


def test_what_cannot_be_read_is_told_in_each_namespace(real):
    counters.record(connection.client(), [Event("staging", "e", "participate", "a", "u1")], lambda name: 1)
    answers = [gimel.track(make_rest_event("POST", body=body)) for body in ("nonsense", "[]", "nonsense")]
    hints = [HINT, "send 1 to 500 events at a time"]
    assert [answer["statusCode"] for answer in answers] == [400] * 3
    assert [json.loads(answer["body"])["hint"].split(";")[0] for answer in answers[:2]] == hints
    for namespace in "alephbet", "staging":
        found = [
            {"at": NOW, "experiment": "", "variant": "", "event": "", "why": "refused", "reasons": [reason]}
            for reason in ("the list has 0 events", "the body is neither JSON nor a form")
        ]
        assert sorted(told(namespace), key=str) == sorted(found, key=str)


def test_no_id_of_a_visitor_is_kept(real):
    secret = "5f0c-secret" * 40
    for event in ({**OTHER, "uuid": secret[:20]}, {**EVENT, "uuid": secret}, {"uuid": secret}, secret):
        gimel.track(post([event]))
    assert len(told()) == 4
    assert "secret" not in json.dumps(real.zrange(KEY, 0, -1))


def test_long_and_broken_names_are_cut_and_mended(real):
    gimel.track(post([{**EVENT, "variant": "x" * 10_000, "event": "\ud800"}]))
    (found,) = told()
    assert (found["variant"], found["event"]) == ("x" * 200, "?")


def test_the_same_is_told_once_and_by_each_process_once_a_minute(real, monkeypatch):
    for number in range(5):
        gimel.track(make_rest_event(query={**OTHER, "uuid": f"u{number}"}))
    monkeypatch.setattr(turned_away, "_recorded", {})  # another process
    monkeypatch.setattr(turned_away, "now", lambda: 30_000_005)
    gimel.track(make_rest_event(query=OTHER))
    assert told() == [{**ignored(), "at": histories.as_text(30_000_005)}]


def test_the_newest_come_first(real, monkeypatch):
    gimel.track(make_rest_event(query=OTHER))
    monkeypatch.setattr(turned_away, "now", lambda: 30_000_005)
    gimel.track(make_rest_event(query={**OTHER, "experiment": "third"}))
    assert [one["experiment"] for one in told()] == ["third", "other"]


def test_they_are_bounded_in_number_for_a_process_and_in_all(real, monkeypatch):
    for number in range(30):
        gimel.track(make_rest_event(query={**OTHER, "experiment": f"e{number}"}))
    assert len(told()) == turned_away.MAX_AT_ONCE
    for process in range(6):
        monkeypatch.setattr(turned_away, "_recorded", {})
        gimel.track(post([{**OTHER, "experiment": f"e{process} {number}"} for number in range(30)]))
    assert len(told()) == turned_away.MAX_SHOWN
    assert real.zcard(KEY) == turned_away.MAX_KEPT


def test_they_are_bounded_in_bytes_and_valid_names_seldom_cut(real, monkeypatch):
    for character in "\x01x":
        names = dict.fromkeys(("experiment", "variant", "event", "uuid"), character * 300)
        for process in range(5):
            monkeypatch.setattr(turned_away, "_recorded", {})
            gimel.track(post([{**names, "namespace": f"{one}{process}:{character * 300}"} for one in range(20)]))
        found = real.zrange(KEY, 0, -1)
        assert len(found) == turned_away.MAX_KEPT
        assert sum(len(one.encode()) for one in found) < 250_000
        assert all({*json.loads(one)["variant"]} == {character} for one in found)
        real.delete(KEY)
    monkeypatch.setattr(turned_away, "_recorded", {})
    whole = {"x" * 200, "ü" * 149, "中" * 99, "\U0001f600" * 74}
    gimel.track(post([{**OTHER, "experiment": one} for one in sorted({*whole, "ü" * 150})]))
    assert {one["experiment"] for one in told()} == {*whole, "ü" * 50}


def test_a_process_goes_on_telling_after_a_minute(real, monkeypatch):
    for number in range(30):
        gimel.track(make_rest_event(query={**OTHER, "experiment": f"e{number}"}))
    clock = turned_away.time.monotonic
    monkeypatch.setattr(turned_away.time, "monotonic", lambda: clock() + turned_away.RECORD_EVERY_S + 1)
    gimel.track(make_rest_event(query=OTHER))
    assert "other" in {one["experiment"] for one in told()}
    assert len(turned_away._recorded) == 1


def test_they_are_those_of_the_last_hour_and_are_forgotten(real, monkeypatch):
    gimel.track(make_rest_event(query=OTHER))
    assert 0 < real.ttl(KEY) <= 3600
    monkeypatch.setattr(turned_away, "now", lambda: 30_000_060)
    assert len(told()) == 1
    monkeypatch.setattr(turned_away, "now", lambda: 30_000_061)
    assert told() == []


def test_a_namespace_has_its_own_and_those_of_unknown_ones(real):
    for namespace in "staging", "alephbet":
        gimel.track({**EVENT, "namespace": namespace})
    for namespace in "staging", "undefined", "stagign":
        gimel.track(make_rest_event(query={**OTHER, "namespace": namespace, "variant": namespace}))
    assert {one["variant"] for one in told()} == {"undefined", "stagign"}
    assert {one["variant"] for one in told("staging")} == {"staging", "stagign"}


def test_telling_costs_a_round_trip_only_once_a_minute(real, round_trips):
    gimel.track(EVENT)
    refused = make_rest_event(query={**EVENT, "uuid": ""})
    gimel.track(refused)
    round_trips()
    assert gimel.track(refused)["statusCode"] == 400
    assert round_trips() == 0
    gimel.track(make_rest_event(query=OTHER))
    assert round_trips() == 2
    gimel.track(make_rest_event(query={**OTHER, "variant": "green"}))
    assert round_trips() == 1  # the one that counts it as ignored
    gimel.all({})
    assert round_trips() == 4


def test_what_cannot_be_told_is_answered_and_counted_the_same(real):
    gimel.track(EVENT)
    real.set(KEY, "no sorted set")
    answer = gimel.track(make_rest_event(query={**OTHER}))
    assert (answer["statusCode"], answer["headers"]["X-Gimel-Ignored"]) == (200, "experiment")
    assert gimel.track(make_rest_event(query={**EVENT, "uuid": ""}))["statusCode"] == 400
    meta = gimel.all({})[0]["meta"]
    assert (meta["turned_away"], meta["ignored"]) == ([], {"experiment": 1})


def test_what_somebody_else_wrote_there_is_left_out(real):
    gimel.track(make_rest_event(query=OTHER))
    real.zadd(KEY, {"text": 30_000_000, "[]": 30_000_000, "{}": 30_000_000, '{"namespace": "alephbet"}': 1e300})
    assert [one["experiment"] for one in told() if "experiment" in one] == ["other"]


def test_what_a_queue_delivers_is_told_too(real):
    counters.forget(connection.client(), "alephbet", "none")
    gimel.track({"Records": [{"messageId": "1", "body": json.dumps(OTHER)}]})
    assert told() == [ignored()]
