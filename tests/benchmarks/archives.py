"""python -m tests.benchmarks.archives: what archived experiments take, from a typical one to the largest.

Prints the table of docs/redis.md. Takes ten seconds.
"""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass
from itertools import accumulate
from math import sqrt
from pathlib import Path

import redis

from gimel import config, connection, counters, histories, lives
from gimel.frozen import Frozen
from gimel.histories import DAY, Change, History
from gimel.hyperloglog import total
from gimel.keyspace import ended_key, experiments_key, frozen_key, history_key, settings_key
from gimel.plans import Ended
from tests.parts import RedisServer

START, DAYS = 20_000 * DAY, 365

LATIN, CYRILLIC = "abcdefghijklmnopqrstuvwxyz    ", "абвгдежзийклмнопрстуфхцчшщъыьэюя     "
CHINESE = "".join(chr(0x4E00 + 7 * number) for number in range(2_900))
"""Letters, of which texts are made by chance. Those compress less than words do."""


@dataclass(frozen=True)
class Made:
    """How many goals and variants an experiment has, how many visitors come to each of these on a day, and its texts:
    of which letters they are, and how large a part of what they may have."""

    goals: int = 3
    variants: int = 3
    per_day: int = 3_000
    letters: str = LATIN
    part: float = 0.35


EXPERIMENTS = {
    "3 goals, 3 variants, texts of 1,000 characters": Made(),
    "all texts at full length": Made(part=1),
    "all texts at full length, Cyrillic": Made(part=1, letters=CYRILLIC),
    "all texts at full length, Chinese": Made(part=1, letters=CHINESE),
    "20 goals, 3 variants": Made(20),
    "20 goals, 3 variants, 40 visitors a day": Made(20, per_day=40),
    "49 goals, 3 variants": Made(49),
    "49 goals, 20 variants, 40 visitors a day": Made(49, 20, 40),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder), "--appendonly", "no").start()
        try:
            connection.use(config.Config(redis_settings=config.RedisSettings(url=server.url)))
            with redis.Redis(port=server.port) as client:
                print(f"Redis {client.info()['redis_version']}, a year, with a plan that has ended")
                for name, made in EXPERIMENTS.items():
                    client.flushall()
                    write(made)
                    archive()
                    print(f"| {name} | {taken(client) / 1000:.1f} KB |")
        finally:
            server.stop()


def write(made: Made) -> None:
    """Write a year of the experiment `e` of the namespace `n` as if it were running."""
    chance = random.Random(1)
    goals = {"participate": 1.0, **{f"goal {number}": chance.uniform(0.01, 0.4) for number in range(made.goals)}}
    variants = [f"variant {number}" for number in range(made.variants)]
    moments = tuple(START - DAY * day for day in range(DAYS - 1, -1, -1))

    def grown(daily: float) -> tuple[int, ...]:
        return tuple(accumulate(max(0, round(chance.gauss(daily, sqrt(daily)))) for _ in moments))

    values = {goal: {one: grown(made.per_day * rate) for one in variants} for goal, rate in goals.items()}
    changes = tuple(Change(one, "goal 0", ("leaning", "collecting")[one // DAY % 2]) for one in moments)
    at_end, now = (
        {goal: {name: total(0, [each[place]]) for name, each in of.items()} for goal, of in values.items()}
        for place in (DAYS // 2, -1)
    )
    ended = Ended(1_000, histories.as_text(moments[DAYS // 2]), at_end, dict.fromkeys(variants, 1 / made.variants))
    texts = {name: "".join(chance.choices(made.letters, k=int(made.part * most))) for name, most in lives.TEXTS.items()}
    texts["note"] = texts["note"][: 650 if made.letters == CHINESE else None]  # at most 8,000 bytes are allowed
    dates = {lives.RUNNING: histories.as_text(moments[0]), lives.DECIDED: histories.as_text(START)}
    life = lives.Life(1, lives.DECIDED, dates, {"planned_visitors": 1_000}, **texts)
    records = {
        history_key("n", "e"): histories.record(History(moments, values, changes)),
        frozen_key("n", "e"): Frozen(START, now).encode(),
        ended_key("n", "e"): ended.encode(),
    }
    store = connection.client()
    counters.ask_each(store, [("SET", key, record) for key, record in records.items() if record])
    counters.ask_each(store, [("HSET", settings_key("n", "e"), life.version, life.encode())])
    counters.ask_each(store, [("SADD", experiments_key("n"), "e")])


def archive() -> None:
    lives.change(connection.client(), "n", "e", {"status": lives.ARCHIVED})


def taken(client: redis.Redis) -> int:
    """The bytes of all keys of the only experiment that there is."""
    return sum(client.memory_usage(key) or 0 for key in client.scan_iter("n:*"))


if __name__ == "__main__":
    main()
