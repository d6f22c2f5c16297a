"""What a million events take of Redis: CPU and memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import redis

from tests.parts import RedisServer

from .rounds import Figures, interleave
from .subjects import Place, Subject

MILLION = 1_000_000
ONE_BY_ONE, ROUNDS = 500, 20
"""Events of a block, and blocks."""

LISTS, LIST_ROUNDS = 50_000, 19
"""The same for lists of 500. With the block that warms up, a million."""

SUBJECTS: dict[str, tuple[str, dict[str, object]]] = {
    **{f"precision {precision}": ("gimel", {"precision": precision}) for precision in (1, 16, 64, "exact")},
    "gimel 1.5": ("gimel-1.5.0", {}),
}


def measure(folder: Path, quick: bool) -> dict[str, Figures]:
    """By the way in which the events come."""
    return {
        "one by one": _measure(folder / "one", quick, "one by one", ONE_BY_ONE, ROUNDS),
        "lists": _measure(folder / "lists", quick, "lists", LISTS, LIST_ROUNDS),
    }


def _measure(folder: Path, quick: bool, kind: str, count: int, rounds: int) -> Figures:
    with ExitStack() as servers:
        clients, ways = {}, {}
        with ExitStack() as stack:
            for name, (program, settings) in SUBJECTS.items():
                is_old = program != "gimel"
                if is_old and kind == "lists":
                    continue  # it takes one event a call
                (folder / name).mkdir(parents=True)
                server = RedisServer(folder / name, "--appendonly", "no").start()
                servers.callback(server.stop)
                clients[name] = server.client()
                subject = Subject(program, Place(server.port), **settings)
                stack.callback(subject.close)
                call = kind if kind == "lists" else "flat" if is_old else "rest"
                ways[name] = _way(subject, call, 500 if quick else count, clients[name])
            empty = {name: _bytes(client) for name, client in clients.items()}
            figures = interleave(ways, 1 if quick else rounds)
        # Without the connections of the subjects, which are closed now, and their buffers.
        return {**figures, "bytes": {name: [_bytes(client) - empty[name]] for name, client in clients.items()}}


def _way(subject: Subject, call: str, count: int, client: redis.Redis) -> Callable[[], dict[str, float]]:
    starts, size = itertools.count(0, count), 500 if call == "lists" else 1

    def block() -> dict[str, float]:
        order = {"namespace": "alephbet", "first": next(starts), "count": count}
        before = _cpu_s(client)
        done = subject.run(call, 60, **({"size": size} if size > 1 else {}), **order)
        assert len(done["times"]) * size == count
        return {"seconds of CPU": (_cpu_s(client) - before) / count * MILLION}

    return block


def _cpu_s(client: redis.Redis) -> float:
    info = client.info("cpu")
    return float(info["used_cpu_user"] + info["used_cpu_sys"])


def _bytes(client: redis.Redis) -> int:
    return int(client.info("memory")["used_memory"])
