"""A stranger with a script: a million invented names, sent to the real handlers on a real Redis."""

from __future__ import annotations

import json
import random
import string
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import redis

import gimel
from gimel import config, connection
from gimel.config import Config, ExperimentSettings
from gimel.events import DEFAULT_NAMESPACE, MAX_EVENTS, MAX_NAME_LENGTH, PARTICIPATE
from tests.calls import make_rest_event, post, read
from tests.parts import RedisServer

NAMES = 1_000_000
VISITORS = 20_000
EXPERIMENT, VARIANTS, GOALS = "button color", ("blue", "red"), ("clicked", "bought")
POSITIONS = "namespace", "experiment", "variant", "event"
READS = 20
MOST_MB = 256
SLOWER = 1.5
"""By which factor a report may take longer; the machine's own noise is smaller than that."""


@dataclass(frozen=True)
class Flood:
    """What a real experiment and its Redis were like before and after."""

    names: int
    took_s: float
    megabytes: tuple[float, float]
    report_ms: tuple[float, float]
    is_report_same: bool

    def problems(self) -> list[str]:
        """Broken promises."""
        found = []
        if not self.is_report_same:
            found.append("flood: the report of the real experiment has changed")
        if self.megabytes[1] - self.megabytes[0] > MOST_MB:
            found.append(f"flood: Redis has grown by {self.megabytes[1] - self.megabytes[0]:.0f} MB")
        if self.report_ms[1] > SLOWER * self.report_ms[0]:
            found.append("flood: the report takes {:.1f} ms instead of {:.1f} ms".format(*reversed(self.report_ms)))
        return found


def run(folder: Path, names: int = NAMES, progress: Callable[[int], object] = lambda done: None) -> Flood:
    """Fill a Redis with a real experiment, then with what the limits let through of so many invented names."""
    folder.mkdir()
    server = RedisServer(folder).start()
    try:
        closed = ExperimentSettings(variants=frozenset(VARIANTS), goals=frozenset(GOALS))
        connection.use(
            Config(
                redis_settings=config.RedisSettings(url=server.url),
                precision=16,
                experiments={EXPERIMENT: closed},
            )
        )
        for events in _batches(_visits()):
            _send(events)
        before = _look(server.client())
        started = time.monotonic()
        for done, events in enumerate(_batches(_inventions(names)), 1):
            _send(events)
            progress(done * MAX_EVENTS)
        took_s = time.monotonic() - started
        after = _look(server.client())
        return Flood(names, took_s, (before[0], after[0]), (before[1], after[1]), before[2] == after[2])
    finally:
        connection.use(None)
        server.stop()


def _visits() -> Iterator[dict[str, str]]:
    chance = random.Random("visits")
    for number in range(VISITORS):
        variant = VARIANTS[number % len(VARIANTS)]
        for goal in (PARTICIPATE, *(goal for goal in GOALS if chance.random() < 0.1)):
            yield {"experiment": EXPERIMENT, "variant": variant, "event": goal, "uuid": f"{number}"}


def _inventions(names: int) -> Iterator[dict[str, str]]:
    """Events of the real experiment, in each of which one name is invented; of any length."""
    chance = random.Random("inventions")
    for number in range(names):
        length = chance.randint(8, MAX_NAME_LENGTH - 8)
        event = {"experiment": EXPERIMENT, "variant": VARIANTS[0], "event": PARTICIPATE, "namespace": DEFAULT_NAMESPACE}
        event[POSITIONS[number % len(POSITIONS)]] = (
            f"{number} {''.join(chance.choices(string.ascii_letters, k=length))}"
        )
        yield {**event, "uuid": f"{chance.getrandbits(128):032x}"}


def _batches(events: Iterator[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    while batch := list(islice(events, MAX_EVENTS)):
        yield batch


def _send(events: list[dict[str, str]]) -> None:
    answer = gimel.track(post(events))
    assert (answer["statusCode"], json.loads(answer["body"])) == (200, None), answer


def _look(client: redis.Redis) -> tuple[float, float, Any]:
    """Megabytes in use, milliseconds for a report of the real experiment, and that report."""
    times = []
    for _ in range(READS):
        started = time.monotonic()
        answer = gimel.experiment(make_rest_event(query={"experiment": EXPERIMENT}))
        times.append(1000 * (time.monotonic() - started))
    return client.info("memory")["used_memory"] / 1e6, median(times), read(answer)
