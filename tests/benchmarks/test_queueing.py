"""The simulation of docs/scale.md: its queues, and where it puts the keys."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest
from redis.crc import key_slot

from gimel.events import Event

from .queueing import delays_s, node_of, shares, table
from .service_times import GOALS, VARIANTS, Nodes, sent

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


@pytest.mark.parametrize("load", [0.3, 0.6, 0.9])
def test_one_node_delays_events_as_the_formula_for_a_constant_service_time_says(load):
    service_s = 10e-6
    expected = service_s + load * service_s / (2 * (1 - load))  # M/D/1: Pollaczek and Khinchine
    assert delays_s([1.0], service_s, load / service_s, 400_000).mean() == pytest.approx(expected, rel=0.03)


def test_each_node_delays_only_the_events_that_go_to_it():
    service_s = 10e-6
    alone = service_s + 0.5 * service_s / (2 * (1 - 0.5))
    delays = delays_s([0.5, 0.0, 0.5], service_s, 2 * 0.5 / service_s, 400_000)
    assert delays.mean() == pytest.approx(alone, rel=0.03)
    assert delays.min() == pytest.approx(service_s)


def test_slots_are_those_of_a_new_cluster():
    keys = [f"key {number}" for number in range(2000)]
    for first, last, node in ((0, 5460, 0), (5461, 10922, 1), (10923, 16383, 2)):
        own = {key_slot(key.encode()) for key in keys if node_of(key, 3) == node}
        assert first <= min(own) <= max(own) <= last
        assert len(own) > 500


@pytest.mark.parametrize("precision", [1, 16])
def test_an_event_goes_to_one_node_as_the_simulation_has_it(precision):
    found = [0] * 3
    uuids = [str(number) for number in range(200)]
    for goal, variant, uuid in product(GOALS, VARIANTS, uuids):
        _, again = sent(Nodes(), [Event("alephbet", "button color", goal, variant, uuid)], precision)
        (node,) = {node_of(command[1], 3) for command in again}
        found[node] += 1
    expected = shares(["button color"], precision, 3)
    assert [one / sum(found) for one in found] == pytest.approx(expected, abs=0.05 * (precision > 1))


def test_the_page_has_the_table_that_its_service_time_makes():
    page = PAGE.read_text()
    found = re.search(r"([\d.]+) µs for an event", page)
    assert found
    assert "\n".join(table(float(found[1]) / 1e6)) in page
