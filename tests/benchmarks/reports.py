"""How long a report of all experiments takes, by their number and precision, near Redis and a millisecond away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import redis

from gimel import counters
from gimel.events import Event
from gimel.hyperloglog import EXACT, Precision
from gimel.keyspace import NAMESPACES_KEY, experiments_key
from tests.parts import RedisServer

from .rounds import Figures, interleave
from .subjects import Place, Subject, delayed

PRECISIONS: tuple[Precision, ...] = (1, 4, 16, 64, 256, EXACT)
SIZES = {10: 15, 200: 5, 1_000: 2}
"""Experiments, and in how many rounds they are reported."""

GOALS = {"participate": 5_000, "view": 2_500, "sign up": 500, "buy": 250}
"""How many visitors are counted for each, with each variant."""

VARIANTS = ("control", "blue", "red")
EXACT_SHARE = 50
"""The exact sets have so many times fewer members: a report reads their sizes alone."""

MOST_KEYS = 200_000
"""Larger cases are left out: to fill them alone takes minutes."""

OLD = "gimel 1.5"


def measure(folder: Path, quick: bool) -> dict[str, Figures]:
    """By the number of experiments and the distance of Redis."""
    found: dict[str, Figures] = {}
    server = RedisServer(folder, "--appendonly", "no").start()
    try:
        with redis.Redis(port=server.port) as client:
            for size, rounds in list(SIZES.items())[: 1 if quick else None]:
                client.flushall()
                fits = [
                    one
                    for one in PRECISIONS
                    if size * 12 * (1 if one == EXACT else one) <= (2_000 if quick else MOST_KEYS)
                ]
                for precision in fits:
                    _fill(client, f"precision {precision}", precision, size)
                _fill(client, OLD, 1, size)
                for added_ms in (0, 1):
                    with ExitStack() as stack:
                        place = Place(server.port)
                        if added_ms:
                            place = stack.enter_context(delayed(place, added_ms))
                        found[f"{size:,} experiments, + {added_ms} ms"] = _measure(
                            stack, place, fits, 1 if quick else rounds
                        )
    finally:
        server.stop()
    return found


def _measure(stack: ExitStack, place: Place, precisions: Sequence[Precision], rounds: int) -> Figures:
    # `keeping` is a process of its own, because every other report makes `ours` forget what it has kept.
    ours, keeping, theirs = (Subject(name, place) for name in ("gimel", "gimel", "gimel-1.5.0"))
    for each in (ours, keeping, theirs):
        stack.callback(each.close)
    ways: dict[str, Any] = {
        (name := f"precision {precision}"): lambda name=name: ours.medians("new_report", namespace=name)
        for precision in precisions
    }
    ways["unchanged"] = lambda: keeping.medians("report", namespace="precision 1")
    ways["counts"] = lambda: ours.medians("counts", namespace="precision 1")
    ways[OLD] = lambda: theirs.medians("report", namespace=OLD)
    return interleave(ways, rounds)


def _fill(client: redis.Redis, namespace: str, precision: Precision, size: int) -> None:
    """A namespace of this many experiments, all copies of one that is counted as ever."""
    visitors = (
        Event(namespace, "experiment", goal, variant, f"{variant} {number}")
        for goal, count in GOALS.items()
        for variant in VARIANTS
        for number in range(count // (EXACT_SHARE if precision == EXACT else 1))
    )
    while batch := list(islice(visitors, 5_000)):
        counters.record(client, batch, lambda _: precision)
    own = sorted(client.smembers(f"{namespace}:experiment:counter_keys"))
    dumps = dict(zip(own, _all(client, (("DUMP", key) for key in own))))

    def commands() -> Iterator[tuple[Any, ...]]:
        yield "SADD", NAMESPACES_KEY, namespace
        for number in range(size):
            name = f"experiment {number}"
            copies = {key.replace(b":experiment:", f":{name}:".encode()): dump for key, dump in dumps.items()}
            yield "SADD", experiments_key(namespace), name
            yield "SADD", f"{namespace}:{name}:counter_keys", *copies
            for key, dump in copies.items():
                yield "RESTORE", key, 0, dump

    _all(client, commands())
    counters.forget(client, namespace, "experiment")


def _all(client: redis.Redis, commands: Iterator[tuple[Any, ...]]) -> list[Any]:
    """The replies to these commands, some thousands at a time."""
    replies = []
    while batch := list(islice(commands, 5_000)):
        with client.pipeline(transaction=False) as pipe:
            for command in batch:
                pipe.execute_command(*command)
            replies += pipe.execute()
    return replies
