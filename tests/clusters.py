"""Real clusters on 127.0.0.1, whose masters can be killed, whose slots can be moved, and which can grow."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import permutations
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.crc import REDIS_CLUSTER_HASH_SLOTS as SLOTS
from redis.crc import key_slot
from redis.retry import Retry

from .parts import DEADLINE_S, RedisServer, free_ports, wait_for

NODE_TIMEOUT_MS = 1000
"""A master that is silent for so long is replaced by its replica, which takes about as long again."""


def slot_of(key: str) -> int:
    """Where a cluster keeps this key."""
    return key_slot(key.encode())


def nodes_of(client: redis.Redis | RedisCluster) -> list[redis.Redis]:
    """A client for each node behind this one."""
    if isinstance(client, redis.Redis):
        return [client]
    return [client.get_redis_connection(node) for node in client.get_nodes()]


class Node(RedisServer):
    """One node, with a port for clients and one for the other nodes. It keeps nothing but its name on disk."""

    def __init__(self, folder: Path, ports: Sequence[int], *more_options: str, binary: str | None = None) -> None:
        folder.mkdir(parents=True)
        port, self.bus_port = ports
        options = {
            "cluster-enabled": "yes",
            "cluster-port": str(self.bus_port),
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            "appendonly": "no",
            "repl-diskless-sync-delay": "0",
            "repl-ping-replica-period": "1",
        }
        words = (word for name, value in options.items() for word in (f"--{name}", value))
        super().__init__(folder, *words, *more_options, port=port, binary=binary)
        self.id = ""

    def launch(self) -> None:
        super().launch()
        self._client = self.client(socket_timeout=DEADLINE_S, retry=Retry(NoBackoff(), 0), protocol=2)

    def ask(self, *command: object) -> Any:
        """The reply of this very node, wherever the slot is."""
        return self._client.execute_command(*command)

    @property
    def is_master(self) -> bool:
        return bool(self.ask("INFO", "replication")["role"] == "master")

    def is_ready(self, nodes: int) -> bool:
        """Whether it knows so many nodes, all slots are served as far as it knows, and it has what its master has."""
        known, replication = self.ask("CLUSTER INFO"), self.ask("INFO", "replication")
        has_all = replication["role"] == "master" or replication["master_link_status"] == "up"
        return has_all and (known["cluster_state"], known["cluster_known_nodes"]) == ("ok", str(nodes))


class Cluster:
    """Masters that share all slots, each with a replica unless it is to have none; a context manager."""

    def __init__(
        self, folder: Path, *options: str, masters: int = 3, is_replicated: bool = True, binary: str | None = None
    ) -> None:
        self.folder, self.options, self.binary = folder, options, binary
        self.nodes: list[Node] = []
        self._client: RedisCluster | None = None
        self._frozen: Node | None = None
        self._masters, self._is_replicated = masters, is_replicated

    def __enter__(self) -> Cluster:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for node in self.nodes:
            if node.process:
                self.kill(node)

    def _start(self) -> None:
        self._add(self._masters * (2 if self._is_replicated else 1))
        masters, replicas = self.nodes[: self._masters], self.nodes[self._masters :]
        for number, master in enumerate(masters):
            start, end = (SLOTS * each // len(masters) for each in (number, number + 1))
            master.ask("CLUSTER", "ADDSLOTSRANGE", start, end - 1)
            master.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        self._introduce(self.nodes)
        for replica, master in zip(replicas, masters):
            replica.ask("CLUSTER", "REPLICATE", master.id)
        self.wait()

    def _add(self, number: int) -> list[Node]:
        """Start nodes without slots, which know nobody yet."""
        ports = free_ports(2 * number)
        first = len(self.nodes)
        added = [
            Node(self.folder / f"node{first + each}", ports[2 * each : 2 * each + 2], *self.options, binary=self.binary)
            for each in range(number)
        ]
        self.nodes += added
        for node in added:
            node.launch()
        for node in added:
            node.wait()
            node.id = node.ask("CLUSTER", "MYID")
        return added

    def _introduce(self, added: Iterable[Node]) -> None:
        """Let every two nodes meet, which takes less time than waiting for their gossip."""
        for one, other in permutations(self.running, 2):
            if one in added:
                one.ask("CLUSTER", "MEET", "127.0.0.1", other.port, other.bus_port)
        ids = {node.id for node in self.nodes}
        for node in self.running:
            wait_for(lambda node=node: ids <= {each["node_id"] for each in node.ask("CLUSTER NODES").values()}, "nodes")

    @property
    def running(self) -> list[Node]:
        """The nodes that were neither killed nor frozen."""
        return [node for node in self.nodes if node.process and node is not self._frozen]

    @property
    def url(self) -> str:
        """The address of one node, from which a client finds the others."""
        return self.running[0].url

    def client(self) -> RedisCluster:
        """A client of them all."""
        if not self._client:  # which takes a tenth of a second
            self._client = RedisCluster.from_url(self.url, decode_responses=True, protocol=2)
        return self._client

    def wait(self) -> None:
        """Wait until all running nodes serve and agree who has which slots, and each replica has what its master has.

        Until it has something, clients are not told of a replica.
        """

        def is_ready() -> bool:
            with suppress(redis.RedisError):
                told = {node for shard in self.shards() for node in shard}
                ready = all(node.is_ready(len(self.nodes)) for node in self.running)
                return ready and all(node in told or node.is_master for node in self.running)
            return False

        wait_for(is_ready, "the cluster to serve")

    def shards(self) -> list[list[Node]]:
        """The nodes that share the same slots, the master first, as every running node says; [] while they differ."""
        by_port = {node.port: node for node in self.nodes}
        said = []
        for node in self.running:
            ranges = node.ask("CLUSTER SLOTS")
            said.append({(master[1], *sorted(one[1] for one in replicas)) for _, _, master, *replicas in ranges})
        return (
            [[by_port[port] for port in ports] for ports in sorted(said[0])] if said.count(said[0]) == len(said) else []
        )

    def master_of(self, slot: int) -> Node:
        """The master that has this slot."""
        ranges = next(each for each in self.running if each.is_master).ask("CLUSTER SLOTS")
        port = next(master[1] for start, end, master, *_ in ranges if start <= slot <= end)
        return next(node for node in self.nodes if node.port == port)

    def be_patient(self) -> None:
        """From now on, let no node look dead because the machine is busy. From the start, it would delay that."""
        for node in self.running:
            node.ask("CONFIG", "SET", "cluster-node-timeout", 15_000)

    def masters(self) -> list[Node]:
        """Those that run."""
        return [node for node in self.running if node.is_master]

    def flush(self) -> None:
        """Forget all keys."""
        for master in self.masters():
            master.ask("FLUSHALL")

    def kill(self, node: Node) -> None:
        """kill -9."""
        assert node.process
        node.process.kill_all()
        node.process = None

    def freeze(self, node: Node) -> None:
        """Let a node hang, with its connections open."""
        assert node.process
        self._frozen = node
        node.process.send_signal(signal.SIGSTOP)

    def thaw(self, master: Node) -> None:
        """Let the frozen master go on, which has been replaced: it is a replica now, and copies its new master."""
        assert master.process
        master.process.send_signal(signal.SIGCONT)
        self._frozen = None
        wait_for(lambda: not master.is_master, "the node to become a replica")
        self.wait()

    def replica_of(self, master: Node) -> Node:
        """The replica of this master."""
        return next(shard[1] for shard in self.shards() if shard[0] is master)

    def wait_without(self, master: Node) -> None:
        """Wait until every running node knows another master for its slots."""
        wait_for(lambda: master not in [shard[0] for shard in self.shards() or [[master]]], "a replica to take over")
        self.wait()

    def restart(self, node: Node) -> None:
        """Start a killed node: it is the replica of whoever took over."""
        node.start()
        wait_for(lambda: not node.is_master, "the node to become a replica")
        self.wait()

    def start_move(self, slot: int, target: Node) -> None:
        """Bring a slot's keys to another master. Until the end of the move, clients are sent on with ASK."""
        source = self.master_of(slot)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 1000 * DEADLINE_S, "KEYS", *keys)

    def end_move(self, slot: int, target: Node) -> None:
        """Let all masters know who has the slot. From now on, clients are sent on with MOVED."""
        for master in [target, *(each for each in self.masters() if each is not target)]:
            master.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def move(self, slots: Iterable[int], target: Node) -> None:
        """Give these slots to another master, one after the other, while clients read and write."""
        for slot in slots:
            self.start_move(slot, target)
            self.end_move(slot, target)

    def add_master(self) -> Node:
        """Another master, which has no slots yet."""
        (node,) = added = self._add(1)
        self._introduce(added)
        self.wait()
        return node
