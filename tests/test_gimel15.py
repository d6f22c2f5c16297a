"""The same events through Gimel 1.5 and through ours: the same keys, the same reports, and the same deletions."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

import gimel
from gimel import connection, keyspace

from .calls import plain
from .parts import DEADLINE_S, RedisServer, pypi_package

PROGRAM = """
import json, sys, types
if sys.version_info >= (3, 12):  # its redis-py imports this, and uses it only with hiredis
    sys.modules["distutils"] = types.ModuleType("distutils")
    sys.modules["distutils.version"] = types.SimpleNamespace(StrictVersion=None)
from gimel import gimel
answers = [getattr(gimel, name)(event, None) for name, event in json.load(sys.stdin)]
print(json.dumps(answers))
"""

NAMESPACES = {}, {"namespace": "alephbet"}, {"namespace": "staging"}
EXPERIMENTS = "button color", "shop: colors", "a:b:c", "größer", "{tag}", "button"
GOALS = "participate", "participate", "buy", "sign up", "{tag}"
VARIANTS = "red", "blue", "größer", "100%"

Call = tuple[str, dict[str, str]]


def visits() -> list[Call]:
    """Events in any order, some of them repeated."""
    chance = random.Random(15)
    return [
        (
            "track",
            {
                "experiment": chance.choice(EXPERIMENTS),
                "uuid": f"u{chance.randrange(300)}",
                "variant": chance.choice(VARIANTS),
                "event": chance.choice(GOALS),
                **chance.choice(NAMESPACES),
            },
        )
        for _ in range(600)
    ]


QUESTIONS: list[Call] = [
    *(("all", dict(namespace)) for namespace in NAMESPACES),
    ("all", {"scope": "shop: colors,button"}),
    ("all", {"namespace": "nobody's"}),
    *(("experiment", {"experiment": name, **namespace}) for name in (*EXPERIMENTS, "x") for namespace in NAMESPACES),
]


class Gimel15:
    """Gimel 1.5 with a Redis of its own, each call in a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = RedisServer(folder).start()
        self.client = redis.Redis(port=self.server.port)
        (folder / "config.json").write_text(json.dumps({"redis": {"host": "127.0.0.1", "port": self.server.port}}))

    def ask(self, calls: list[Call]) -> list[Any]:
        """The answers of its handlers."""
        package = pypi_package("gimel", "1.5.0")
        path = f"{package / 'gimel' / 'vendor'}:{package}"
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            input=json.dumps(calls),
            cwd=self.folder,
            env={"PYTHONPATH": path, "HOME": str(self.folder), "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
            timeout=DEADLINE_S,
        )
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def _gimel15(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gimel15]:
    found = Gimel15(tmp_path_factory.mktemp("gimel15"))
    yield found
    found.server.stop()


@pytest.fixture
def old(_gimel15: Gimel15) -> Gimel15:
    """Gimel 1.5 on an empty Redis."""
    _gimel15.server.flush()
    return _gimel15


def ask(calls: list[Call]) -> list[Any]:
    """The answers of our handlers."""
    return [getattr(gimel, name)(event) for name, event in calls]


def contents(client: Any) -> dict[bytes, object]:
    """Every key that Gimel 1.5 knows: the members of a set, or the registers of a HyperLogLog."""
    found = {}
    for key in client.scan_iter(count=1000):
        if key != keyspace.NAMESPACES_KEY.encode():
            # Its first 16 bytes tell how it is written, and cache its count.
            found[key] = client.smembers(key) if client.type(key) == b"set" else client.get(key)[16:]
    return found


def copy(source: Any, target: Any) -> None:
    """Write everything as it is."""
    for key in source.scan_iter(count=1000):
        if source.type(key) == b"set":
            target.sadd(key, *source.smembers(key))
        else:
            target.set(key, source.get(key))


def in_order(answer: Any) -> Any:
    """What Gimel 1.5 said, or would have said of ours, in an order that it did not have."""
    items = [{"experiment": one["experiment"], "goals": in_order(one["goals"])} for one in answer if "goals" in one]
    goals = plain([one for one in answer if "goal" in one])
    for goal in goals:
        goal["results"].sort(key=lambda result: result["label"])
    return sorted(items, key=lambda one: one["experiment"]) + sorted(goals, key=lambda one: one["goal"])


def test_the_same_events_leave_the_same_keys(real, old):
    calls = visits()
    assert ask(calls) == old.ask(calls)
    assert contents(connection.client()) == contents(old.client)


def test_what_gimel_15_wrote_is_reported_as_it_did(real, old):
    old.ask(visits())
    copy(old.client, connection.client())
    assert [*map(in_order, ask(QUESTIONS))] == [*map(in_order, old.ask(QUESTIONS))]


def test_gimel_15_reports_what_we_wrote_as_we_do(real, old):
    ask(visits())
    copy(connection.client(), old.client)
    assert [*map(in_order, ask(QUESTIONS))] == [*map(in_order, old.ask(QUESTIONS))]


def test_a_deletion_leaves_what_gimel_15_leaves(real, old):
    deletions: list[Call] = [
        ("delete", {"experiment": "button"}),
        ("delete", {"experiment": "a:b:c", "namespace": "staging"}),
        ("delete", {"experiment": "nobody's"}),
    ]
    old.ask(visits())
    copy(old.client, connection.client())
    assert ask(deletions) == old.ask(deletions)
    assert contents(connection.client()) == contents(old.client)


def with_bitmaps() -> None:
    """Our handlers from now on, as another process."""
    connection.use(replace(connection.settings(), precision="bitmap"))


def test_gimel_15_reports_the_hyperloglogs_beside_our_bitmaps(real, old):
    with_bitmaps()
    ask(visits())
    copy(connection.client(), old.client)
    assert [*map(in_order, ask(QUESTIONS))] == [*map(in_order, old.ask(QUESTIONS))]


def test_what_gimel_15_deleted_does_not_come_back_by_a_bitmap(real, old):
    with_bitmaps()
    calls = [call for call in visits() if call[1]["experiment"] == "button"]
    ask(calls)
    copy(connection.client(), old.client)
    old.ask([("delete", {"experiment": "button", **namespace}) for namespace in NAMESPACES])
    assert all(b":bitmap:{" in key for key in old.client.scan_iter(count=1000) if b":" in key)
    for key in connection.client().scan_iter(count=1000):
        connection.client().delete(key)
    copy(old.client, connection.client())
    old.server.flush()
    with_bitmaps()
    again = calls[:20]
    assert ask(again) == old.ask(again)
    assert [*map(in_order, ask(QUESTIONS))] == [*map(in_order, old.ask(QUESTIONS))]
