"""How many events a core takes, one by one and in lists."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from pathlib import Path

from tests.parts import RedisServer

from .rounds import Figures, interleave
from .subjects import Place, Subject

ROUNDS, EVENTS = 15, 1_000
SIZES = 1, 10, 100, 500
OLD = "gimel 1.5"


def measure(folder: Path, quick: bool) -> Figures:
    """Events a second of CPU of the process that takes them, by the size of the lists."""
    server = RedisServer(folder, "--appendonly", "no").start()
    try:
        with ExitStack() as stack:
            ways = {}
            for name, program, precision, size in (
                *((f"{size} a list", "gimel", 1, size) for size in SIZES),
                ("500 a list, precision 16", "gimel", 16, 500),
                (OLD, "gimel-1.5.0", None, None),
            ):
                subject = Subject(program, Place(server.port), **({"precision": precision} if precision else {}))
                stack.callback(subject.close)
                ways[name] = _way(subject, name.replace(" ", "-"), size)
            return interleave(ways, 1 if quick else ROUNDS)
    finally:
        server.stop()


def _way(subject: Subject, namespace: str, size: int | None):
    starts = itertools.count(0, EVENTS)

    def rate() -> dict[str, float]:
        order = {"namespace": namespace, "first": next(starts), "count": EVENTS}
        done = subject.run("lists", 2, size=size, **order) if size else subject.run("flat", 2, **order)
        return {"events a second": len(done["times"]) * (size or 1) / done["cpu"]}

    return rate
