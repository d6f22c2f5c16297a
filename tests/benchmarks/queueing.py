"""How long events wait at the nodes of Redis: `make scale` prints the tables of docs/scale.md and draws its plot.

It measures how long Redis takes for an event, and then simulates a queue for each node: events arrive at random (a
Poisson process), each goes to the node that holds its counter's key, by Redis' own slots, and a node takes them one
after the other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib
import numpy
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from gimel.keyspace import counter_key

from .service_times import (
    GOALS,
    KNOWN,
    VARIANTS,
    measure,
    measure_pfcount,
    measure_stall,
    measure_track,
    messages_of_lists,
    messages_of_one_event,
)

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PLOT = Path(__file__).parents[2] / "docs" / "queueing.png"
NODES = {1: "#c0392b", 3: "#2471a3", 12: "#27ae60"}
"""How many, and their color."""

TRAFFIC = ((1, 1), (1, 16), (1, 64), (100, 1), (100, 16))
"""How many experiments share the events, and their precision. The first four are drawn."""

BUSY = 0.8
"""How busy a node may be: beyond that, waiting grows fast."""

EVENTS, SEED = 100_000, 11
NAMES = 101
"""Where a few keys fall is luck: the page shows the median of so many names, and the worst."""


def node_of(key: str, nodes: int) -> int:
    """The node that holds a key, by the ranges that `redis-cli --cluster create` gives."""
    firsts = [round(node * REDIS_CLUSTER_HASH_SLOTS / nodes) for node in range(nodes)]
    return bisect_right(firsts, key_slot(key.encode())) - 1


def shares(experiments: Sequence[str], precision: int, nodes: int) -> list[float]:
    """The share of these experiments' events, of which each has as many, that goes to each node."""
    found = [0] * nodes
    for experiment, goal, variant, shard in product(experiments, GOALS, VARIANTS, range(precision)):
        found[node_of(counter_key("alephbet", experiment, goal, variant, shard), nodes)] += 1
    return [one / sum(found) for one in found]


def typical_and_worst(experiments: int, precision: int, nodes: int) -> tuple[list[float], list[float]]:
    """The shares of the nodes with names that spread the keys neither well nor badly, and with those that do it worst.

    Of a single experiment, 101 names are looked at; many experiments with many keys differ little.
    """
    tries = NAMES if experiments == 1 else 5
    names = [[f"experiment {start + number}" for number in range(experiments)] for start in range(0, tries * 100, 100)]
    found = sorted((shares(one, precision, nodes) for one in names), key=max)
    return found[len(found) // 2], found[-1]


def delays_s(shares: Sequence[float], service_s: float, rate: float, events: int = EVENTS) -> numpy.ndarray[Any, Any]:
    """Seconds from each event's arrival at Redis until it is counted, at so many events per second."""
    chance = numpy.random.default_rng(SEED)
    arrivals = numpy.cumsum(chance.exponential(1 / rate, events))
    nodes = chance.choice(len(shares), events, p=shares)
    delays = numpy.empty(events)
    for node in range(len(shares)):
        own = numpy.flatnonzero(nodes == node)
        # Lindley: each waits for what the one before it had to wait, and its service, less the time between the two.
        walk = numpy.concatenate(([0.0], numpy.cumsum(service_s - numpy.diff(arrivals[own]))))[: len(own)]
        delays[own] = walk - numpy.minimum.accumulate(walk) + service_s
    return delays


def draw(service_s: float, path: Path) -> None:
    figure, grid = plt.subplots(2, 2, figsize=(9, 6), sharex=True, sharey=True)
    for axis, (experiments, precision) in zip(grid.flat, TRAFFIC):
        for nodes, color in NODES.items():
            typical, _ = typical_and_worst(experiments, precision, nodes)
            rates = numpy.linspace(0.02, 0.99, 30) / max(typical) / service_s
            waits = [1e6 * numpy.quantile(delays_s(typical, service_s, rate), 0.99) for rate in rates]
            axis.plot(rates, waits, color=color, label=f"{nodes} node{'s' * (nodes > 1)}")
        title = f"{experiments} experiment{'s' * (experiments > 1)}, precision {precision}"
        axis.set(xscale="log", yscale="log", title=title, xlim=(1e4, 2e6), ylim=(5, 1e3))
    for axis in grid[1]:
        axis.set_xlabel("events per second")
    for axis in grid[:, 0]:
        axis.set_ylabel("slowest 1 % at Redis (µs)")
    grid[0][0].legend(fontsize=8, loc="upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=85, metadata={"Software": None})
    plt.close(figure)


def table(service_s: float) -> list[str]:
    """Events per second at which the busiest node is BUSY, with typical names (and with the worst)."""
    heads = [f"{nodes} node{'s' * (nodes > 1)}" for nodes in NODES]
    lines = [f"| experiments | precision | {' | '.join(heads)} |", "|---|---|" + "---|" * len(NODES)]
    for experiments, precision in TRAFFIC:
        cells = []
        for nodes in NODES:
            found = typical_and_worst(experiments, precision, nodes)
            typical, worst = (round(BUSY / max(one) / service_s, -3) for one in found)
            cells.append(f"{typical:,.0f} ({worst:,.0f})" if nodes > 1 else f"{typical:,.0f}")
        lines.append(f"| {experiments} | {precision} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    measured = measure({**messages_of_one_event(), **messages_of_lists()})
    print("| Redis' processor time for | µs | by TLS |\n|---|---|---|")
    for name, (plain, tls) in measured.items():
        print(f"| {name} | {plain:.1f} | {tls:.1f} |")
    changed, same = measure_pfcount()
    print(f"| reading a counter that has changed since the last report | {changed:.1f} | |")
    print(f"| reading one that has not | {same:.1f} | |")
    print(f"\nWhile a report reads 5,000 changed counters, a request waits {measure_stall() / 1000:.0f} ms at most.")
    print("\n| events in a request | µs of the function's processor | µs per event |\n|---|---|---|")
    for size, taken in measure_track().items():
        print(f"| {size} | {taken:,.0f} | {taken / size:.0f} |")
    service_us = round(measured[KNOWN][0], 1)
    print(f"\nRedis takes {service_us} µs for an event.", *table(service_us / 1e6), sep="\n")
    draw(service_us / 1e6, PLOT)


if __name__ == "__main__":
    main()
