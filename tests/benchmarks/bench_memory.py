"""Memory of one counter by precision and visitors, and of a namespace that strangers have filled up to the limits, on
a real Redis: `python -m tests.benchmarks.bench_memory`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import redis

from gimel import counters
from gimel.config import Limits
from gimel.events import Event
from gimel.hyperloglog import PRECISIONS
from tests.parts import RedisServer

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder)).start()
        try:
            client = redis.Redis(port=server.port)
            print("KB of Redis for one counter")
            print(f"{'precision':>10}" + "".join(f"{size:>12,}" for size in SIZES))
            for precision in PRECISIONS:
                client.flushall()
                sent, cells = 0, []
                for size in SIZES:
                    while sent < size:
                        step = min(2_000, size - sent)
                        visitors = [Event("n", "e", "buy", "red", str(sent + i)) for i in range(step)]
                        counters.record(client, visitors, lambda _, precision=precision: precision)
                        sent += step
                    keys = list(client.scan_iter("n:*:e:buy:red*"))
                    cells.append(sum(client.memory_usage(key, samples=0) for key in keys) / 1024)
                print(f"{precision!s:>10}" + "".join(f"{cell:>12,.1f}" for cell in cells))
            print("MB of Redis for a namespace full of invented names, each with one visitor, by their length")
            for letter, length in (("x", 20), ("x", 200), ("🎯", 200)):
                client.flushall()
                before = client.info("memory")["used_memory"]
                for start in range(0, 2 * Limits.counters, 500):
                    names = [str(start + i).ljust(length, letter) for i in range(500)]
                    # The names of experiments run out first; so each gets some of the others.
                    invented = [Event("n", f"{name[:2]:{letter}<{length}}", name, name, "u") for name in names]
                    counters.record(client, invented, lambda _: 16, Limits(goals=10_000, variants=10_000))
                used = client.info("memory")["used_memory"] - before
                print(f"{length:>10} x {letter}: {client.scard('n:counter_keys'):,} counters, {used / 1e6:,.1f} MB")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
