from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import fakeredis
import pytest
import redis
from hypothesis import settings

from gimel import access, config, connection
from gimel.ops.server.redis_process import find_server

from .clusters import Cluster
from .pages import browser, shop  # noqa: F401 - fixtures, one browser for all tests
from .parts import ROOT, GimelServer, Process, RedisServer, encrypted_redis, kill_processes

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

PATIENT = "--cluster-node-timeout", "15000"
"""Where no node is killed, a busy machine is to make none look dead."""

LONGEST = (
    *("browser/test_dashboard.py", "aws/test_failures.py", "aws/test_local_aws.py", "browser/test_dashboard_states.py"),
    *("benchmarks/test_benchmarks.py", "faults/test_faults.py", "validation/test_simulations.py"),
    *("aws/test_rollback_redis.py", "browser/test_refresh.py", "browser/test_dashboard_forward.py"),
    *("server/test_schemathesis.py", "aws/test_durable.py", "browser/test_dashboard_decides.py"),
)
"""Files that take longest, the longest first. If one of them came last, the other workers would have nothing to do."""


def pytest_configure() -> None:
    """Let SIGTERM end the run as Ctrl-C does: fixtures still stop what they started."""
    signal.signal(signal.SIGTERM, lambda number, frame: pytest.exit("terminated", returncode=128 + number))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests with a browser are slow. Files that take longest come first, and those with no slow test last."""
    for item in items:
        if item.path.parent.name == "browser":
            item.add_marker(pytest.mark.slow)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    places = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (places.get(item.path, len(places)), item.path not in slow))


@pytest.fixture(autouse=True)
def _children_end_with_their_test() -> Iterator[None]:
    """No child outlives its test, however that ends. Fixtures of a wider scope have started theirs already."""
    before = set(Process.running)
    yield
    kill_processes(before)


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No test reads the machine's own configuration, or leaves its settings to the next."""
    for name in list(os.environ):
        if name.startswith("GIMEL_") and name != "GIMEL_TEST_STRICT":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    connection.use(None)
    access.use(None)


@pytest.fixture
def fake() -> redis.Redis:
    """The handlers on an imitation of Redis; this client sees what they wrote."""
    server = fakeredis.FakeServer()
    connection.use(config.Config(), fakeredis.FakeRedis(server=server))
    return fakeredis.FakeRedis(server=server, decode_responses=True)


@pytest.fixture(scope="session")
def _node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), *PATIENT, is_replicated=False) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def _virtual_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Like ElastiCache Serverless: one node that has all slots, but takes no commands across them. It is a Valkey."""
    folder = tmp_path_factory.mktemp("virtual-node")
    with Cluster(folder, *PATIENT, masters=1, is_replicated=False, binary=find_server()) as cluster:
        yield cluster


def _use(store: RedisServer | Cluster) -> Any:
    store.flush()
    # Patient, because these tests are of what Redis holds, and the machine may be busy.
    settings = config.RedisSettings(store.url, cluster=isinstance(store, Cluster), timeout_s=5, connect_timeout_s=5)
    connection.use(config.Config(redis_settings=settings))
    return store.client()


@pytest.fixture
def single(_node: RedisServer) -> redis.Redis:
    """The handlers on a real, empty Redis of one node; this client sees what they wrote."""
    return cast("redis.Redis", _use(_node))


# Not of one test, or it would be killed after the first that needs it.
@pytest.fixture(scope="module", params=["_node", "_cluster", "_virtual_node"], ids=["node", "cluster", "virtual-node"])
def _store(request: pytest.FixtureRequest) -> RedisServer | Cluster:
    return cast("RedisServer | Cluster", request.getfixturevalue(request.param))


@pytest.fixture
def real(_store: RedisServer | Cluster) -> redis.Redis | redis.RedisCluster:
    """The handlers on a real, empty Redis of each kind; this client sees what they wrote."""
    return cast("redis.Redis | redis.RedisCluster", _use(_store))


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A running Redis of the test's own, to be stopped and started at will."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder).start()
    yield server
    server.stop()


@pytest.fixture
def tls_redis(tmp_path: Path) -> Iterator[tuple[RedisServer, Path]]:
    """A running Redis that also speaks TLS as `localhost`, and the certificate of its authority."""
    server, authority = encrypted_redis(tmp_path)
    yield server.start(), authority
    server.stop()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., GimelServer]]:
    """Starts `gimel serve` with the given options, in a home of its own."""
    started: list[GimelServer] = []

    def start(*options: str, **environ: str) -> GimelServer:
        started.append(GimelServer(*options, home=tmp_path, environ=environ))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def round_trips(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often a question was sent to Redis and an answer read, since it was last asked."""
    asked = {"trips": 0, "waiting": False}
    send = redis.connection.AbstractConnection.send_packed_command
    read = redis.connection.AbstractConnection.read_response

    def counted_send(self, *args, **options):
        asked["waiting"] = True
        return send(self, *args, **options)

    def counted_read(self, *args, **options):
        asked["trips"] += asked["waiting"]
        asked["waiting"] = False
        return read(self, *args, **options)

    monkeypatch.setattr(redis.connection.AbstractConnection, "send_packed_command", counted_send)
    monkeypatch.setattr(redis.connection.AbstractConnection, "read_response", counted_read)

    def since_last() -> int:
        trips, asked["trips"] = asked["trips"], 0
        return trips

    return since_last
