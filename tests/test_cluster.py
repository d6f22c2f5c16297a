"""Gimel on the nodes of a cluster: what it sends to whom, and what a node costs that is down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
import redis

from gimel import config, connection, counters, outages, round_trip, stopped
from gimel.errors import ConfigError, StoreUnavailable
from gimel.events import Event
from gimel.keyspace import counter_key, stopped_key

from .clusters import Cluster, Node, slot_of
from .faults.proxy import Proxy
from .parts import ROOT

COUNTER = ("e", "participate", "red")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("nodes"), "--cluster-require-full-coverage", "no") as started:
        started.be_patient()
        yield started


@pytest.fixture
def virtual(_virtual_node: Cluster) -> Node:
    _virtual_node.flush()
    return _virtual_node.nodes[0]


@pytest.fixture
def cluster(nodes: Cluster) -> Cluster:
    nodes.flush()
    return nodes


def client(url: str, **more: Any) -> round_trip.Client:
    return connection.connect(config.RedisSettings(url=url, cluster=True, **more))


def record(client: round_trip.Client, *names: str) -> None:
    counters.record(client, [Event("alephbet", *(names or COUNTER), "u1")], lambda _: 1)


def calls(node: Node) -> dict[str, int]:
    """How often each command was called since the last time."""
    found = {name.partition("_")[2]: stats["calls"] for name, stats in node.ask("INFO", "commandstats").items()}
    node.ask("CONFIG", "RESETSTAT")
    return {name: found[name] for name in found if not name.startswith(("config", "info", "repl"))}


def test_the_first_event_finds_the_nodes_by_the_connection_that_it_uses(virtual):
    first = client(virtual.url)
    calls(virtual)
    record(first)
    assert virtual.ask("INFO", "stats")["total_connections_received"] == 1
    assert calls(virtual) == {"cluster|slots": 1, "sadd": 4, "scard": 1, "srem": 1, "pfadd": 1, "smembers": 1}
    record(first)
    assert calls(virtual) == {"exists": 1, "pfadd": 1}


PROGRAM = """
import sys, gimel
from gimel import config, connection, counters
from gimel.events import Event
connection.connect(config.RedisSettings())
assert "gimel.cluster" not in sys.modules
client = connection.connect(config.RedisSettings(url=sys.argv[1], cluster=True))
counters.record(client, [Event("alephbet", "lean", "participate", "red", "u1")], lambda _: 1)
assert "asyncio" not in sys.modules
print(counters.overview(client, "alephbet")[0])
"""


def test_a_function_on_lambda_imports_what_a_cluster_needs_and_no_other_does(virtual):
    environ = {**os.environ, "AWS_LAMBDA_FUNCTION_NAME": "track"}
    words = [sys.executable, "-c", PROGRAM, virtual.url]
    done = subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
    assert "'lean'" in done.stdout, done.stderr


def test_reports_read_from_replicas_and_events_ask_masters(cluster):
    of_replicas = client(cluster.url, replica_reads=True)
    record(of_replicas)
    cluster.wait()
    for node in cluster.nodes:
        calls(node)
    assert list(counters.count(of_replicas, "alephbet", ["e"])) == ["e"]
    assert counters.overview(of_replicas, "alephbet")[0] == ["e"]
    record(of_replicas)
    asked = {node: calls(node).keys() for node in cluster.nodes}
    masters = cluster.masters()
    assert not set().union(*(asked[master] for master in masters)) & {"pfcount", "smembers"}
    assert set().union(*asked.values()) >= {"pfcount", "smembers", "exists", "pfadd"}


def test_a_cluster_has_no_attribute_that_redis_py_does_not_know(virtual):
    here = client(virtual.url)
    record(here)
    assert not hasattr(here, "no_such_name")


def test_wrong_settings_are_said_as_such(cluster, redis_server):
    with pytest.raises(StoreUnavailable, match=r"set redis\.cluster to false"):
        record(client(redis_server.url))
    of_one = connection.connect(config.RedisSettings(url=cluster.url))
    with pytest.raises(StoreUnavailable, match=r"set redis\.cluster to true"):
        record(of_one)


def test_a_cluster_that_has_moved_is_found_where_the_first_node_was(tmp_path):
    """As where nodes get new addresses, and a name leads to them."""
    with (
        Cluster(tmp_path / "old", masters=1, is_replicated=False) as old,
        Cluster(tmp_path / "new", masters=1, is_replicated=False) as new,
    ):
        name = Proxy(old.nodes[0].port)
        try:
            here = client(f"redis://127.0.0.1:{name.port}")
            record(here)
            old.kill(old.nodes[0])
            name.switch(new.nodes[0].port)
            record(here)
            assert list(counters.count(here, "alephbet", ["e"])["e"]) == ["participate"]
            assert new.nodes[0].ask("EXISTS", counter_key("alephbet", *COUNTER)) == 1
        finally:
            name.close()


@pytest.mark.parametrize(
    ("url", "first"),
    [
        ("redis://", "localhost:6379"),
        ("redis://h", "h:6379"),
        ("redis://:7000", "localhost:7000"),
        ("redis://[::1]", "[::1]:6379"),
    ],
)
def test_a_url_without_host_or_port_means_the_usual_ones(url, first):
    assert client(url).options["url"] == f"redis://{first}"


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"cluster": True, "unix_socket": "/r.sock"}, "redis.cluster: needs a host instead of a Unix socket"),
        ({"cluster": True, "url": "unix:///r.sock"}, "redis.cluster: needs a host instead of a Unix socket"),
        ({"cluster": True, "host": "h", "db": 1}, "redis.cluster: a cluster has only database 0; remove redis.db"),
        ({"cluster": True, "url": "redis://h/1"}, "redis.cluster: a cluster has only database 0; remove redis.db"),
        ({"cluster": True, "url": "ftp://h/1"}, "redis.url: invalid Redis URL"),
        ({"replica_reads": True, "host": "h"}, 'redis.replica_reads: needs "cluster": true'),
    ],
)
def test_settings_that_no_cluster_has_are_refused(tmp_path, section, said):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"redis": section}))
    with pytest.raises(ConfigError, match=said):
        config.load(path)


def test_a_cluster_is_healthy_while_a_slot_moves_and_afterwards(cluster):
    here = client(cluster.url)
    counters.check_writable(here)
    slot = slot_of(counter_key("alephbet", "health", "health", "health", counters.HEALTH_KEYS - 1))
    source = cluster.master_of(slot)
    target = next(master for master in cluster.masters() if master is not source)
    cluster.start_move(slot, target)
    counters.check_writable(here)
    cluster.end_move(slot, target)
    counters.check_writable(here)


def keys(cluster: Cluster) -> dict[Node, set[bytes]]:
    return {master: set(master.ask("KEYS", "*")) for master in cluster.masters()}


def test_a_deletion_is_completed_by_its_repetition_wherever_a_node_fails(cluster, monkeypatch):
    here = client(cluster.url)
    record(here, "other", "participate", "red")
    rest = keys(cluster)
    exchange: Callable[..., Any] = round_trip._exchange_with_all
    failures = 0
    for pool in {here.pool_of(str(key)) for key in range(100)}:
        for answers in count():
            for goal in "participate", "buy":
                record(here, "e", goal, "red")
            left = answers

            def exchange_until_it_fails(client, requests, *more, pool=pool):
                nonlocal left
                kept = {each: sent[:left] if each is pool else sent for each, sent in requests.items()}
                found = exchange(client, {each: sent for each, sent in kept.items() if sent}, *more)
                left -= len(kept.get(pool, ()))
                if kept.get(pool) != requests.get(pool):
                    found[pool] = [redis.ConnectionError("cut")] * len(requests[pool])
                return found

            monkeypatch.setattr(round_trip, "_exchange_with_all", exchange_until_it_fails)
            is_complete = True
            try:
                counters.forget(here, "alephbet", "e")
            except StoreUnavailable:
                is_complete = False
                failures += 1
            monkeypatch.setattr(round_trip, "_exchange_with_all", exchange)
            counters.forget(here, "alephbet", "e")
            assert keys(cluster) == rest, answers
            if is_complete:
                break
    assert failures >= 10


def test_a_node_that_is_down_does_not_prolong_an_outage_of_all(cluster, monkeypatch):
    def fail(error: Exception) -> None:
        raise error

    monkeypatch.setattr("gimel.breaker.PAUSE_S", 0)
    here = client(cluster.url)
    for error in redis.TimeoutError(), StoreUnavailable("one node is down", ""):
        with pytest.raises(StoreUnavailable):
            outages.ask(here, lambda error=error: fail(error))
    record(here)


# The last of this file: afterwards, nodes are missing.
def test_a_report_reads_from_masters_while_replicas_are_down(cluster):
    of_replicas = client(cluster.url, replica_reads=True)
    record(of_replicas)
    cluster.wait()
    before = counters.count(of_replicas, "alephbet", ["e"])
    replica = cluster.replica_of(cluster.master_of(slot_of(counter_key("alephbet", *COUNTER))))
    cluster.kill(replica)
    for _ in range(3):
        assert counters.count(of_replicas, "alephbet", ["e"]) == before


def test_a_master_that_is_down_stops_only_events_of_its_slots(cluster, monkeypatch):
    """Not even if it is the one that knows which experiments are stopped, and is asked with each event."""
    monkeypatch.setattr(stopped, "KNOWN_S", 0)
    here = client(cluster.url)
    names = [(f"e{number}", "participate", "red") for number in range(20)]
    masters = {name: cluster.master_of(slot_of(counter_key("alephbet", *name))) for name in names}
    down = cluster.master_of(slot_of(stopped_key("alephbet")))
    for name in names:
        record(here, *name)
    cluster.kill(down)
    failed = set()
    for name in names:
        try:
            record(here, *name)
        except StoreUnavailable:
            failed.add(masters[name])
    assert failed == {down}
