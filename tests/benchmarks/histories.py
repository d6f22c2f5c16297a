"""python -m tests.benchmarks.histories: what the histories of 1,000 experiments take, and a snapshot of all of them.

Prints the figures of docs/redis.md. Takes two minutes.
"""

from __future__ import annotations

import random
import tempfile
import time
from itertools import accumulate, pairwise
from pathlib import Path

import redis

from gimel import config, connection, counters, histories, snapshots
from gimel.events import Event
from gimel.histories import DAY, HOUR, Change, History
from gimel.hyperloglog import Count
from gimel.keyspace import history_key
from tests.parts import RedisServer

EXPERIMENTS = 1_000
GOALS = {"participate": 500, "order placed": 40, "address entered": 150, "newsletter": 12}
"""How many visitors reach each on a day, at most, in the smallest experiment; in the largest, 20 times as many."""

VARIANTS = "control", "blue", "red"
CHANGES = 20
START = 20_000 * DAY


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder), "--appendonly", "no").start()
        try:
            with redis.Redis(port=server.port) as client:
                print(
                    f"Redis {client.info()['redis_version']}, {EXPERIMENTS:,} experiments of {len(GOALS) * 3} counters"
                )
                memory(client)
                settings = config.RedisSettings(url=server.url)
                for precision in (1, 16, 64):
                    client.flushall()
                    connection.use(config.Config(precision=precision, redis_settings=settings))
                    print(f"precision {precision:3}: a snapshot takes {snapshot()}")
        finally:
            server.stop()


def memory(client: redis.Redis) -> None:
    """Keep histories of a year with a snapshot every hour."""
    moments = year()
    before = client.info("memory")["used_memory"]
    for number in range(EXPERIMENTS):
        client.set(history_key("alephbet", f"experiment {number}"), histories.record(made_up(moments, number)) or b"")
    mb = (client.info("memory")["used_memory"] - before) / 1e6
    largest = max(client.memory_usage(history_key("alephbet", f"experiment {one}")) or 0 for one in range(EXPERIMENTS))
    print(f"histories of a year ({len(moments)} points): {mb:.1f} MB in all, {largest / 1024:.1f} KB the largest")


def year() -> tuple[int, ...]:
    """The moments that are left of a year of hours, in each of which something is counted."""
    found = None
    for hour in range(365 * 24):
        found = histories.append(found, {"participate": {"red": Count(hour)}}, START + hour * HOUR)
    assert found
    return found.moments


def made_up(moments: tuple[int, ...], number: int) -> History:
    """Counts that grow by chance."""
    chance = random.Random(number)
    size = 20 ** (number / EXPERIMENTS)
    steps = [0, *(after - before for before, after in pairwise(moments))]

    def grown(most: int) -> tuple[int, ...]:
        return tuple(accumulate(round(chance.random() * most * size * step / DAY) for step in steps))

    counts = {goal: {variant: grown(most) for variant in VARIANTS} for goal, most in GOALS.items()}
    changes = [Change(chance.choice(moments), chance.choice([*GOALS]), "collecting") for _ in range(CHANGES)]
    return History(moments, counts, tuple(changes))


def snapshot() -> str:
    """How long the second snapshot of all experiments takes, after each counter has changed."""
    for first in 0, 100:
        for number in range(EXPERIMENTS):
            events = [
                Event("alephbet", f"experiment {number}", goal, variant, f"{variant} {one}")
                for goal in GOALS
                for variant in VARIANTS
                for one in range(first, first + 100)
            ]
            counters.record(connection.client(), events, connection.settings().precision_of)
        cpu_s, wall_s = time.process_time(), time.monotonic()
        taken = snapshots.take(START + first)
        cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - wall_s
        assert taken == (EXPERIMENTS, EXPERIMENTS)
    return f"{wall_s:.1f} s, {cpu_s:.1f} s of a processor"


if __name__ == "__main__":
    main()
