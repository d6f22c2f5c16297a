"""Experiments that go the whole way: uuids through `gimel.track` into a real Redis, and back by `gimel.all`."""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import gimel
from gimel import config, connection
from gimel.events import MAX_EVENTS
from gimel.hyperloglog import BITMAPS, total
from gimel.keyspace import digest
from tests.calls import make_rest_event
from tests.parts import RedisServer

from .experiments import Counters, Kind
from .hyperloglog import redis_hash


@contextmanager
def running() -> Iterator[RedisServer]:
    """A redis-server of our own, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder)).start()
        try:
            yield server
        finally:
            server.stop()


def compare(
    server: RedisServer, seed: list[int], experiments: int, visitors: int, rate: float, precision: Kind
) -> dict[str, int]:
    """How often Redis and the numpy HyperLogLog count alike, and how often the report finds a difference."""
    random = np.random.default_rng(seed)
    client = server.client()
    connection.use(config.Config(redis_settings=config.RedisSettings(url=server.url), precision=precision))
    equal = false_positives = 0
    try:
        for _ in range(experiments):
            client.flushdb()
            simulated = {}
            for variant in ("blue", "red"):
                for goal, items in (("participate", visitors), ("buy", int(random.binomial(visitors, rate)))):
                    uuids = [str(uuid.UUID(bytes=random.bytes(16), version=4)) for _ in range(items)]
                    _track(variant, goal, uuids)
                    simulated[variant, goal] = _count(uuids, precision)
            (item,) = gimel.all({})[1:]
            (goal,) = item["goals"]
            blue, red = goal["results"]
            counted = {
                (row["label"], goal): row[key]
                for row in (blue, red)
                for goal, key in (("participate", "trials"), ("buy", "successes"))
            }
            equal += counted == simulated
            false_positives += red["p_value"] < 0.05
    finally:
        connection.use(None)
    return {"experiments": experiments, "equal": equal, "false_positives": false_positives}


def _track(variant: str, goal: str, uuids: list[str]) -> None:
    for start in range(0, len(uuids), MAX_EVENTS):
        events = [
            {"experiment": "equal", "variant": variant, "event": goal, "uuid": one}
            for one in uuids[start : start + MAX_EVENTS]
        ]
        answer = gimel.track(make_rest_event("POST", body=json.dumps(events)))
        assert answer["body"] == "null", answer


def _count(uuids: list[str], precision: Kind) -> int:
    places = [int.from_bytes(digest(one), "big") for one in uuids]
    shards = precision if isinstance(precision, int) else 1
    counter = Counters(1, shards)
    if uuids:
        counter.add(redis_hash(uuids), np.array([place % shards for place in places], dtype=np.int64))
    read = int(counter.readings()[0])
    if precision in BITMAPS:
        bits = len({place % BITMAPS[str(precision)] for place in places})
        return total(0, [read], {str(precision): bits}).value
    return read
