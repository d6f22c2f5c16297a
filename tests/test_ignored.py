"""How many requests were ignored today, on a real Redis."""

from __future__ import annotations

from dataclasses import replace

import pytest

import gimel
from gimel import connection, counters, keyspace

from .calls import EVENT, make_rest_event, post


@pytest.fixture(autouse=True)
def _closed(real):
    settings = replace(connection.settings(), allowed_experiments=frozenset({EVENT["experiment"]}))
    connection.use(settings)


OTHER = {**EVENT, "experiment": "other"}


def ignored(namespace: str = "alephbet") -> dict[str, int]:
    """What a report says."""
    return gimel.all({"namespace": namespace})[0]["meta"]["ignored"]


def test_a_report_says_how_many_requests_were_ignored_and_why(real):
    gimel.track(EVENT)
    assert ignored() == {}
    for _ in range(3):
        gimel.track(make_rest_event(query=OTHER))
    gimel.track(post([EVENT, OTHER, OTHER]))
    assert ignored() == {"experiment": 4}
    gimel.track({**EVENT, "namespace": "staging"})
    gimel.track({**OTHER, "namespace": "staging"})
    assert (ignored(), ignored("staging")) == ({"experiment": 4}, {"experiment": 1})


def test_namespaces_that_a_stranger_invents_are_counted_together(real):
    gimel.track(EVENT)
    for number in range(50):
        gimel.track({**OTHER, "namespace": f"n{number}"})
    assert ignored() == ignored("n1") == {"experiment": 50}
    assert real.hgetall(keyspace.ignored_key()) == {"experiment ": "50"}


def test_the_numbers_are_those_of_a_day_and_are_forgotten(real, monkeypatch):
    gimel.track(EVENT)
    monkeypatch.setattr(counters, "ignored_key", lambda: "gimel-ignored-2026-11-24")
    gimel.track(OTHER)
    assert 0 < real.ttl("gimel-ignored-2026-11-24") <= 2 * 86400
    monkeypatch.undo()
    assert ignored() == {}
    gimel.track(OTHER)
    assert ignored() == {"experiment": 1}


def test_counting_costs_a_round_trip_only_where_something_is_ignored(real, round_trips):
    gimel.track(EVENT)
    gimel.track(OTHER)
    round_trips()
    gimel.track(OTHER)
    assert round_trips() == 1
    gimel.track(post([EVENT, OTHER]))
    assert round_trips() == 2
    gimel.track(EVENT)
    assert round_trips() == 1
    gimel.all({})
    assert round_trips() == 4


def test_what_cannot_be_counted_as_ignored_is_answered_the_same(real):
    real.set(keyspace.ignored_key(), "not a hash")
    answer = gimel.track(make_rest_event(query=OTHER))
    assert (answer["statusCode"], answer["body"]) == (200, "null")
    assert answer["headers"]["X-Gimel-Ignored"] == "experiment"
