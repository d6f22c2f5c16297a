"""What three nodes of a cluster take, against one Redis, when Redis is the limit."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.clusters import Cluster
from tests.parts import RedisServer

from .rounds import Figures, interleave
from .subjects import Place, Subject

NODES, GENERATORS, THREADS, SIZE = 3, 2, 4, 200
"""Nodes; processes that send, threads of each, and events of a list."""

SHARE, PERIOD_S = 0.01, 0.05
"""How much of a core a limited node may use, in turns that come once a period. The nodes take turns, too, so that each
finds a core."""

ROUNDS, ROUND_S = 4, 2
SITES: dict[str, tuple[int, object, bool]] = {
    "20 experiments": (20, 1, True),
    "1 experiment": (1, 1, True),
    "1 experiment, precision 16": (1, 16, True),
    "20 experiments, no limit": (20, 1, False),
}
"""The experiments, their precision, and whether the nodes are limited."""


def measure(folder: Path, quick: bool) -> dict[str, Figures]:
    """By site."""
    found = {}
    with ExitStack() as stack:
        (folder / "one").mkdir()
        one = [RedisServer(folder / "one", "--appendonly", "no").start()]
        stack.callback(one[0].stop)
        three = stack.enter_context(Cluster(folder / "three", masters=NODES, is_replicated=False)).nodes
        for site, (experiments, precision, is_limited) in SITES.items():
            with ExitStack() as inner:
                ways = {
                    name: _way(inner, servers, experiments, precision, is_limited, 0.5 if quick else ROUND_S)
                    for name, servers in (("one node", one), ("three nodes", three))
                }
                found[site] = interleave(ways, 1 if quick else ROUNDS)
    return found


def _way(
    stack: ExitStack,
    servers: Sequence[RedisServer],
    experiments: int,
    precision: object,
    is_limited: bool,
    seconds: float,
) -> Callable[[], dict[str, float]]:
    generators = []
    for _ in range(GENERATORS):
        generators.append(Subject("gimel", Place(servers[0].port, is_cluster=len(servers) > 1), precision=precision))
        stack.callback(generators[-1].close)
    pool = stack.enter_context(ThreadPoolExecutor(GENERATORS))
    order = {"namespace": "alephbet", "count": 2_000, "experiments": experiments, "size": SIZE, "threads": THREADS}
    starts = itertools.count(0, 2_000)

    def block() -> dict[str, float]:
        before = [_cpu_s(server) for server in servers]
        with limited(servers) if is_limited else ExitStack():
            done = [pool.submit(one.run, "storm", seconds, first=next(starts), **order) for one in generators]
            events = sum(each.result()["events"] for each in done)
        used = [_cpu_s(server) - one for server, one in zip(servers, before)]
        return {
            "events a second": events / seconds,
            "events a second of the busiest node's CPU": events / max(used),
            "the busiest node's share of a core": max(used) / seconds,
        }

    return block


def _cpu_s(server: RedisServer) -> float:
    info = server.client().info("cpu")
    return float(info["used_cpu_user"] + info["used_cpu_sys"])


@contextmanager
def limited(servers: Sequence[RedisServer]) -> Iterator[None]:
    """These servers run for a share of the time only, as on a machine that is so much slower."""
    pids = [server.process.pid for server in servers if server.process]
    command = [sys.executable, "-c", LIMITER, str(SHARE), str(PERIOD_S), *map(str, pids)]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.kill()
            process.wait()
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


LIMITER = """
import os, signal, sys, time
share, period, *pids = sys.argv[1:]
share, period = float(share), float(period)
def used(pid):
    with open(f"/proc/{pid}/schedstat") as file:
        return int(file.read().split()[0]) / 1e9
for pid in pids:
    os.kill(int(pid), signal.SIGSTOP)
start, before = time.monotonic(), {pid: used(pid) for pid in pids}
turn = start
while True:
    for pid in pids:
        turn += period / len(pids)
        time.sleep(max(0, turn - time.monotonic()))
        # A turn that was too long costs the next ones.
        if used(pid) - before[pid] < share * (time.monotonic() - start):
            os.kill(int(pid), signal.SIGCONT)
            time.sleep(share * period)
            os.kill(int(pid), signal.SIGSTOP)
"""
