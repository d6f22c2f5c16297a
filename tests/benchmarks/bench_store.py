"""Time of `track` and of a large report on a real Redis: `python -m tests.benchmarks.bench_store`."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import redis

import gimel
from gimel import config, connection, counters
from gimel.events import Event
from tests.calls import EVENT
from tests.parts import RedisServer

EXPERIMENTS, GOALS, VARIANTS, VISITORS = 200, ("participate", "buy", "view", "sign up"), ("a", "b", "c"), 5_000


def medians_s(actions: Iterable[Callable[[], object]], times: int) -> list[float]:
    """The median duration of each, in seconds; in turns, so that a slower moment of the machine is everybody's."""
    taken: dict[Callable[[], object], list[float]] = {action: [] for action in actions}
    for _ in range(times):
        for action, durations in taken.items():
            start = time.perf_counter()
            action()
            durations.append(time.perf_counter() - start)
    return [statistics.median(durations) for durations in taken.values()]


def old_way(port: int) -> None:
    """What Gimel 1.x does for each event: a new connection and four commands in a transaction."""
    with redis.Redis(port=port) as client, client.pipeline() as pipe:
        pipe.sadd("alephbet:experiments", "e").sadd("alephbet:counter_keys", "k").sadd("alephbet:e:counter_keys", "k")
        pipe.pfadd("k", "u").execute()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder)).start()
        try:
            connection.use(config.Config(redis_settings=config.RedisSettings(url=server.url), precision=16))
            client = connection.client()
            ways: dict[str, Callable[[], object]] = {
                "a bare PFADD": lambda: client.pfadd("bare", "u"),
                "gimel.track, one event": lambda: gimel.track(EVENT),
                "the way of Gimel 1.x": lambda: old_way(server.port),
            }
            bare, *others = medians_s(ways.values(), 2_000)
            for name, taken in zip(ways, (bare, *others)):
                print(f"{name:28}{taken * 1e6:10,.0f} µs {taken / bare:8.2f} times a bare PFADD")
            for number in range(EXPERIMENTS):
                for goal in GOALS:
                    for variant in VARIANTS:
                        visitors = [Event("big", f"e{number}", goal, variant, str(i)) for i in range(VISITORS)]
                        counters.record(client, visitors, lambda _: 16)
            names = counters.overview(client, "big")[0]
            (first,) = medians_s([lambda: counters.count(client, "big", names)], 1)
            again, whole = medians_s(
                [lambda: counters.count(client, "big", names), lambda: gimel.all({"namespace": "big"})], 5
            )
            size = f"{EXPERIMENTS} x {len(GOALS) * len(VARIANTS)} counters at precision 16"
            print(f"counts of {size}: {first:.2f} s at first, {again:.2f} s again; the whole report {whole:.2f} s")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
