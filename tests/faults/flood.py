"""A stranger with a script: a million invented names, sent to the real handlers on a real Redis."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import redis

import gimel
from gimel import config, connection
from gimel.events import DEFAULT_NAMESPACE, MAX_EVENTS, MAX_NAME_LENGTH, PARTICIPATE
from gimel.settings import ExperimentSettings
from tests.calls import make_rest_event, post, read
from tests.parts import RedisServer

NAMES = 1_000_000
VISITORS = 20_000
CLOSED, OPEN = "button color", "free shipping"
"""An experiment with allowlists of variants and goals, and one without."""

VARIANTS, GOALS = ("blue", "red"), ("clicked", "bought")
POSITIONS = "namespace", "experiment", "variant", "event"
READS = 100
MOST_MB = 16
SLOWER = 1.5
"""By which factor the fastest of several reports may take longer."""


@dataclass(frozen=True)
class Look:
    """Redis' memory, and of real experiments the report, the counts and the time of the fastest of several reports."""

    megabytes: float
    report: Any
    open_counts: dict[tuple[str, str], tuple[int, int]]
    report_ms: float


@dataclass(frozen=True)
class Flood:
    """What real experiments and their Redis were like before and after."""

    names: int
    took_s: float
    before: Look
    after: Look

    def __str__(self) -> str:
        ms = f"a report {self.before.report_ms:.1f} and {self.after.report_ms:.1f} ms"
        mb = f"{self.before.megabytes:.1f} and {self.after.megabytes:.1f} MB"
        return f"{self.names:,} names in {self.took_s:.0f} s; before and after: {mb}, {ms}"

    def problems(self) -> list[str]:
        """Broken promises."""
        found = []
        if self.after.report != self.before.report:
            found.append("flood: the report of an experiment with allowlists has changed")
        if not self.before.open_counts.items() <= self.after.open_counts.items():
            found.append("flood: the counts of an experiment without allowlists have changed")
        if self.after.megabytes - self.before.megabytes > MOST_MB:
            found.append(f"flood: Redis has grown to {self.after.megabytes:.0f} MB")
        if self.after.report_ms > SLOWER * self.before.report_ms:
            found.append(
                f"flood: a report takes {self.after.report_ms:.1f} ms instead of {self.before.report_ms:.1f} ms"
            )
        return found


def run(folder: Path, names: int = NAMES, progress: Callable[[int], object] = lambda done: None) -> Flood:
    """Fill a Redis with real experiments, then with what the limits let through of so many invented names."""
    folder.mkdir()
    server = RedisServer(folder).start()
    try:
        closed = ExperimentSettings(variants=frozenset(VARIANTS), goals=frozenset(GOALS))
        settings = config.RedisSettings(url=server.url)
        connection.use(config.Config(redis_settings=settings, precision=16, experiments={CLOSED: closed}))
        for events in _batches(_visits()):
            _send(events)
        before = _look(server.client())
        started = time.monotonic()
        for done, events in enumerate(_batches(_inventions(names)), 1):
            _send(events)
            progress(done * MAX_EVENTS)
        took_s = time.monotonic() - started
        return Flood(names, took_s, before, _look(server.client()))
    finally:
        connection.use(None)
        server.stop()


def _visits() -> Iterator[dict[str, str]]:
    chance = random.Random("visits")
    for number in range(VISITORS):
        variant = VARIANTS[number % len(VARIANTS)]
        for goal in (PARTICIPATE, *(goal for goal in GOALS if chance.random() < 0.1)):
            for name in (CLOSED, OPEN):
                yield {"experiment": name, "variant": variant, "event": goal, "uuid": f"{number}"}


def _inventions(names: int) -> Iterator[dict[str, str]]:
    """Events of a real experiment, in each of which one name is invented; of any length."""
    chance = random.Random("inventions")
    for number in range(names):
        name = chance.randbytes(chance.randint(4, MAX_NAME_LENGTH // 2 - 4)).hex()
        event = {"namespace": DEFAULT_NAMESPACE, "experiment": chance.choice((CLOSED, OPEN))}
        event |= {"variant": VARIANTS[0], "event": PARTICIPATE}
        event[POSITIONS[number % len(POSITIONS)]] = f"{number} {name}"
        yield {**event, "uuid": f"{number}"}


def _batches(events: Iterator[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    while batch := list(islice(events, MAX_EVENTS)):
        yield batch


def _send(events: list[dict[str, str]]) -> None:
    answer = gimel.track(post(events))
    assert (answer["statusCode"], json.loads(answer["body"])) == (200, None), answer


def _look(client: redis.Redis) -> Look:
    times = []
    for _ in range(READS):
        started = time.monotonic()
        report = _report(CLOSED)
        times.append(1000 * (time.monotonic() - started))
    counts = {
        (goal["goal"], result["label"]): (result["successes"], result["trials"])
        for goal in _report(OPEN)
        for result in goal["results"]
    }
    return Look(client.info("memory")["used_memory"] / 1e6, report, counts, min(times))


def _report(experiment: str) -> Any:
    return read(gimel.experiment(make_rest_event(query={"experiment": experiment})))
