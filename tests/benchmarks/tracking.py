"""How long an event takes, near Redis and far from it, in the open, with a password and with TLS."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.parts import RedisServer, encrypted_redis

from .rounds import Figures, interleave
from .subjects import Place, Subject, delayed

ROUNDS, CALLS = 20, 200
PASSWORD = "a-password-of-the-benchmark"
CONDITIONS = {
    "direct": (0, False, False),
    "+ 0.5 ms": (0.5, False, False),
    "+ 1 ms": (1, False, False),
    "+ 5 ms": (5, False, False),
    "password": (0, True, False),
    "password, + 1 ms": (1, True, False),
    "TLS": (0, False, True),
    "TLS, + 1 ms": (1, False, True),
}
"""Milliseconds that the network adds to a round trip, whether Redis wants a password, and whether with TLS."""

ALSO_QUICK = "direct", "password, + 1 ms", "TLS"

SUBJECTS: dict[str, tuple[str, str, dict[str, object]]] = {
    "socket": ("redis-py", "socket", {}),
    "pfadd": ("redis-py", "pfadd", {}),
    "pipeline": ("redis-py", "pipeline", {}),
    "gimel rest": ("gimel", "rest", {"precision": 1}),
    "gimel flat": ("gimel", "flat", {"precision": 1}),
    "gimel 16": ("gimel", "rest", {"precision": 16}),
    "gimel 1.5": ("gimel-1.5.0", "flat", {}),
    "lamed": ("lamed-0.4.3", "flat", {}),
}
"""By name: the program, the form of its calls, and its settings."""


@contextmanager
def redis_places(folder: Path) -> Iterator[dict[tuple[bool, bool], Place]]:
    """A Redis in the open, which also speaks TLS, and one with a password."""
    off = "--appendonly", "no"
    for name in ("open", "locked"):
        (folder / name).mkdir(parents=True)
    server, authority = encrypted_redis(folder / "open", *off)
    locked = RedisServer(folder / "locked", *off, "--requirepass", PASSWORD)
    with ExitStack() as stack:
        for each in (server, locked):
            stack.callback(each.start().stop)
        assert server.tls_port
        yield {
            (False, False): Place(server.port),
            (True, False): Place(locked.port, PASSWORD),
            (False, True): Place(server.tls_port, authority=authority),
        }


def measure(folder: Path, quick: bool) -> dict[str, Figures]:
    """By condition."""
    found: dict[str, Figures] = {}
    with redis_places(folder) as places:
        for condition in ALSO_QUICK if quick else CONDITIONS:
            added_ms, *kind = CONDITIONS[condition]
            with ExitStack() as stack:
                place = places[tuple(kind)]
                if added_ms:
                    place = stack.enter_context(delayed(place, added_ms))
                calls = 3 if quick else round(CALLS / (1 + 5 * added_ms))
                found[condition] = _measure(place, 1 if quick else ROUNDS, calls)
    return found


def _measure(place: Place, rounds: int, calls: int) -> Figures:
    with ExitStack() as stack:
        ways = {}
        for name, (program, call, settings) in SUBJECTS.items():
            subject = Subject(program, place, **settings)
            stack.callback(subject.close)
            starts = itertools.count(0, calls)
            ways[name] = lambda subject=subject, call=call, name=name, starts=starts: subject.medians(
                call, namespace=name.replace(" ", "-"), first=next(starts), count=calls
            )
        return interleave(ways, rounds)
