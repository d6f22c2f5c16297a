"""One fault while visitors send events, and a verdict on every single event."""

from __future__ import annotations

import multiprocessing
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import median

import redis

from gimel import keyspace
from gimel.events import Event
from tests.aws.ministack import Ministack
from tests.parts import DEADLINE_S, wait_for

from .clients import EXPERIMENT, GOALS, VARIANTS, Attempt, Crowd, Story, play
from .faults import Fault
from .world import LAMBDA, World

PROCESSES = 8
EVENTS_PER_S = 500
"""What two cores carry with the servers and the visitors on them."""

LEAD = 0.25
"""The share of the visitors' time that comes before the fault, and at least after it."""

START_S = 0.3
PATIENCE_S = 30
NEVER_S = 10
"""A target that counts nothing for so long, although Redis answers, does not recover."""

GIVEN_UP_S = 90
"""After the last visitor, when what waits elsewhere must be counted."""

SETTLED_S = 4
"""Nothing more is expected once no counter has grown for so long."""

UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

FIRST_S, MEDIAN_S, RECOVERY_S = 1.2, 0.05, 2.0
"""The bars of an outage."""


@dataclass(frozen=True)
class Outcome:
    """What a fault did to the events of one target. Times in seconds; None where there was nothing to time."""

    target: str
    events: int
    answered: int
    lost: int
    lost_by_redis: int
    doubled: int
    leavers: int
    leavers_lost: int
    first_s: float | None
    median_s: float | None
    recovery_s: float
    log_lines: int
    uuids_in_log: int

    def losses(self, fault: Fault) -> list[str]:
        """Broken promises about events."""
        bars = {
            "answered 200, and lost": self.lost,
            "counted more than once": self.doubled,
            "of visitors who left, lost": self.leavers_lost if fault.is_kept and self.target != LAMBDA else 0,
            "ids of events in the log": self.uuids_in_log,
        }
        return [f"{fault.name}, {self.target}: {number} {what}" for what, number in bars.items() if number]

    def delays(self, fault: Fault) -> list[str]:
        """Missed bars of time."""
        if not fault.is_outage:
            return []
        bars = {
            "first answer": (self.first_s, FIRST_S),
            "median answer": (self.median_s, MEDIAN_S),
            "recovery": (self.recovery_s, RECOVERY_S),
        }
        return [
            f"{fault.name}, {self.target}: {what} after {found:.2f} s"
            for what, (found, most) in bars.items()
            if found is not None and found > most
        ]


@dataclass(frozen=True)
class Times:
    """When the fault began, ended and was mended, as time.monotonic() says; by target, how long it then took to count
    again, and how many lines it had logged before."""

    began: float
    ended: float
    mended: float
    recovery_s: dict[str, float]
    log_lines: dict[str, int]


@dataclass(frozen=True)
class Stage:
    """What all faults share: a local AWS, and the processes that play the visitors."""

    ministack: Ministack
    pool: Executor


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Start both, and end them."""
    spawned = multiprocessing.get_context("spawn")  # a fork would copy the threads of a proxy
    together = spawned.Barrier(PROCESSES)
    with ProcessPoolExecutor(PROCESSES, spawned, together.wait, (DEADLINE_S,)) as pool:
        ministack = Ministack(folder)
        try:
            list(pool.map(abs, range(PROCESSES), timeout=2 * DEADLINE_S))  # starts all; none works before all are there
            yield Stage(ministack, pool)
        finally:
            ministack.stop()
            for process in multiprocessing.active_children():
                process.kill()  # after a failure, visitors would go on for a while


def run(fault: Fault, events: int, folder: Path, stage: Stage, lasts_s: float | None = None) -> list[Outcome]:
    """Send so many events to the fault's targets, and judge. The fault lasts `lasts_s`, or as the table says."""
    lasts_s = fault.lasts_s if lasts_s is None else min(lasts_s, fault.lasts_s)
    with World(folder, stage.ministack, **fault.options) as world:
        steps = fault.steps(world)
        next(steps)
        crowds = list(_crowds(fault, events, lasts_s, world))
        playing = [stage.pool.submit(play, crowd) for crowd in crowds]
        time.sleep(max(0, crowds[0].starts_at + LEAD * crowds[0].lasts_s - time.monotonic()))
        log_lines = {name: len(target.log) for name, target in world.targets.items()}
        next(steps)
        began = time.monotonic()
        time.sleep(lasts_s)
        ended = time.monotonic()
        next(steps, None)
        mended = time.monotonic()
        times = Times(began, ended, mended, _recoveries(world), log_lines)
        next(steps, None)
        stories = [crowd.result(4 * PATIENCE_S) for crowd in playing]
        _settle(world, stories)
        return [_judge(fault, world, target, stories, times) for target in world.targets]


def _crowds(fault: Fault, events: int, lasts_s: float, world: World) -> Iterable[Crowd]:
    all_s = max(events / EVENTS_PER_S, lasts_s / (1 - 2 * LEAD))
    ports = {name: target.port for name, target in world.targets.items()}
    starts_at = time.monotonic() + START_S
    next_page_s = 0.4 * lasts_s, 0.8 * lasts_s
    for number in range(PROCESSES):
        yield Crowd(f"{fault.name} {number}", events // PROCESSES, ports, starts_at, all_s, next_page_s, PATIENCE_S)


def _keys(target: str) -> list[str]:
    return [keyspace.exact_key(target, EXPERIMENT, goal, variant) for goal in GOALS for variant in VARIANTS]


def _sizes(client: redis.Redis | redis.RedisCluster, names: Iterable[str]) -> dict[str, int]:
    keys = {name: _keys(name) for name in names}
    with client.pipeline(transaction=False) as pipe:
        for key in (key for each in keys.values() for key in each):
            pipe.scard(key)
        sizes = iter(pipe.execute())
    return {name: sum(next(sizes) for _ in each) for name, each in keys.items()}


def _recoveries(world: World) -> dict[str, float]:
    """How long after Redis' first answer each target has counted an event; infinity if it does not."""

    def answer() -> dict[str, int] | None:
        try:
            return _sizes(world.client(), world.targets)
        except (redis.RedisError, redis.exceptions.RedisClusterException):
            return None

    before = wait_for(answer, "Redis to answer again")
    assert isinstance(before, dict)
    answered_at = time.monotonic()
    found: dict[str, float] = {}
    client = world.client()
    while len(found) < len(before) and time.monotonic() < answered_at + NEVER_S:
        time.sleep(0.005)
        for name, size in _sizes(client, before.keys() - found).items():
            if size > before[name]:
                found[name] = time.monotonic() - answered_at
    return {name: found.get(name, inf) for name in before}


def _settle(world: World, stories: Sequence[Story]) -> None:
    """Wait until every event that was answered 200 is counted, or nothing more is, and the queue is empty."""
    events = [event for story in stories for event in story.events]
    answered = {one.uuid for story in stories for one in story.attempts if one.is_final}
    client, last, since = world.client(), -1, time.monotonic()
    end = since + GIVEN_UP_S
    while time.monotonic() < min(since + SETTLED_S, end):
        missing: set[str] = set()
        for target in world.targets:
            missing |= compare(client, target, events)[0] & answered
        if not missing:
            return
        if len(missing) != last or (world.queue and world.queue.left()):
            last, since = len(missing), time.monotonic()
        time.sleep(0.1)


def _judge(fault: Fault, world: World, target: str, stories: Sequence[Story], times: Times) -> Outcome:
    events = {event.uuid: event for story in stories for event in story.events if event.namespace == target}
    attempts = [one for story in stories for one in story.attempts if one.uuid in events]
    leavers = {leaver for story in stories for leaver in story.leavers if leaver in events}
    missing, doubled = compare(world.client(), target, events.values())
    answered: dict[str, float] = {}
    for one in attempts:
        if one.is_final:
            answered[one.uuid] = min(answered.get(one.uuid, one.at + one.took_s), one.at + one.took_s)
    lost = {each: at for each, at in answered.items() if each in missing}
    # What Redis took just before the fault may be answered just after it.
    last_s = times.began - fault.redis_loses_s, times.began + (0.1 if fault.redis_loses_s else 0)
    woken_s = times.ended, times.mended if fault.wakes else times.ended
    by_redis = {each for each, at in lost.items() if any(start <= at <= end for start, end in (last_s, woken_s))}
    log = "\n".join(world.targets[target].log)
    return Outcome(
        target=target,
        events=len(events),
        answered=len(answered),
        lost=len(lost) - len(by_redis),
        lost_by_redis=len(by_redis),
        doubled=doubled,
        leavers=len(leavers),
        leavers_lost=len(leavers & missing - by_redis),
        **_delays(attempts, times),
        recovery_s=times.recovery_s[target],
        log_lines=len(world.targets[target].log) - times.log_lines[target],
        uuids_in_log=len(events.keys() & set(UUID.findall(log))),
    )


def compare(client: redis.Redis | redis.RedisCluster, target: str, events: Iterable[Event]) -> tuple[set[str], int]:
    """The ids of this target's events that are not counted, and how often anything is that was not sent as such."""
    wanted: defaultdict[bytes, dict[bytes, str]] = defaultdict(dict)
    for event in (event for event in events if event.namespace == target):
        key = keyspace.exact_key(event.namespace, event.experiment, event.goal, event.variant)
        wanted[key.encode()][keyspace.digest(event.uuid)] = event.uuid
    missing: set[str] = set()
    doubled = 0
    listed = [
        key
        for experiment in client.smembers(keyspace.experiments_key(target))
        for key in client.smembers(keyspace.counters_key(target, experiment.decode()))
    ]
    for key in {*listed, *wanted}:
        found = set(client.smembers(key))
        missing |= {each for digest, each in wanted[key].items() if digest not in found}
        doubled += len(found - set(wanted[key]))
    return missing, doubled


def _delays(attempts: Iterable[Attempt], times: Times) -> dict[str, float | None]:
    """The time of the first answer in the fault, and the median of what was sent after it; None if nobody answered."""
    during = sorted((one for one in attempts if times.began <= one.at < times.ended), key=lambda one: one.at)
    if not any(one.status for one in during):
        return {"first_s": None, "median_s": None}
    first = during[0]
    after = [one.took_s for one in during if one.at > first.at + first.took_s]
    return {"first_s": first.took_s, "median_s": median(after) if after else None}
