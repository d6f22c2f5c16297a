"""Experiments whose visitors are real uuids, counted by a real Redis."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import redis

from .experiments import Counter, compared, report
from .hyperloglog import estimate, redis_hash


@contextmanager
def running() -> Iterator[redis.Redis | None]:
    """A Redis server of our own on a unix socket, or None where the machine has no redis-server."""
    binary = shutil.which("redis-server")
    if binary is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "socket")
        server = subprocess.Popen(
            [binary, "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL,
        )
        try:
            client = redis.Redis(unix_socket_path=path)
            for _ in range(200):
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    time.sleep(0.02)
            yield client
            client.close()
        finally:
            server.terminate()
            server.wait()


def compare(client: redis.Redis, seed: list[int], experiments: int, visitors: int, rate: float) -> dict[str, int]:
    """How often Redis and the numpy HyperLogLog count alike, and how often the report finds a difference."""
    random = np.random.default_rng(seed)
    equal = false_positives = 0
    for _ in range(experiments):
        client.flushdb()
        pipe = client.pipeline(transaction=False)
        simulated = []
        for variant in ("blue", "red"):
            for goal, items in (("participate", visitors), ("buy", int(random.binomial(visitors, rate)))):
                uuids = [str(uuid.UUID(bytes=random.bytes(16), version=4)) for _ in range(items)]
                key = f"alephbet:counters:aa:{goal}:{variant}"
                for start in range(0, items, 5000):
                    pipe.pfadd(key, *uuids[start : start + 5000])
                counter = Counter(1)
                if uuids:
                    counter.add(redis_hash(uuids), np.zeros(items, dtype=np.int64))
                simulated.append(int(estimate(counter.histograms())[0]))
        pipe.execute()
        for variant in ("blue", "red"):
            for goal in ("participate", "buy"):
                pipe.pfcount(f"alephbet:counters:aa:{goal}:{variant}")
        counted = pipe.execute()
        equal += counted == simulated
        false_positives += compared(report(counted[0], counted[1], counted[2], counted[3], 1))["p_value"] < 0.05
    return {"experiments": experiments, "equal": equal, "false_positives": false_positives}
