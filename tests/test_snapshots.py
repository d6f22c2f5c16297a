"""Snapshots: what is appended to the histories of all experiments, whatever happens meanwhile."""

from __future__ import annotations

import gimel
from gimel import connection, counters, histories, snapshots
from gimel.events import Event
from gimel.histories import DAY, History

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
