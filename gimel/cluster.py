"""A cluster of Redis nodes, which redis-py finds. Imported only where one is used."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import redis
from redis.cluster import ClusterNode, LoadBalancingStrategy
from redis.connection import ConnectionPool
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, RedisClusterException

from .breaker import PAUSE_S, Breaker

NOT_FOR_NODES = ("db", "host", "port", "retry", "path")
"""What redis-py passes to a connection, but a cluster's client refuses."""


class Cluster(redis.RedisCluster):
    """redis-py's client, which looks for the nodes when it is first used, and not when it is created."""

    def __init__(self, pool: ConnectionPool, replica_reads: bool = False) -> None:
        """`pool` has the connections to one node. Raises ValueError if there can be no cluster behind it."""
        options = pool.connection_kwargs
        if "path" in options or options.get("db"):
            raise ValueError("a cluster has neither a Unix socket nor a database other than 0")
        host, port = options.get("host", "localhost"), options.get("port", 6379)
        self.options = {
            **{name: value for name, value in options.items() if name not in NOT_FOR_NODES},
            "url": f"redis://[{host}]:{port}" if ":" in host else f"redis://{host}:{port}",
            "connection_class": pool.connection_class,
            "connection_pool_class": type(pool),
            "load_balancing_strategy": LoadBalancingStrategy.RANDOM_REPLICA if replica_reads else None,
        }
        self._start_lock = threading.RLock()
        self._is_starting = False
        self._asked: dict[str, ConnectionPool] = {}
        self._breakers: WeakKeyDictionary[ConnectionPool, Breaker] = WeakKeyDictionary()
        self._failed: str | None = None
        self._next_refresh = 0.0

    def __getattr__(self, name: str) -> Any:
        """What redis-py's client has once it has started."""
        with self._start_lock:
            if name.startswith("__") or self._is_starting:
                raise AttributeError(name)
            if "commands_parser" not in vars(self):
                self._is_starting = True
                try:
                    first: list[ClusterNode] = []
                    with _usual_errors():
                        super().__init__(**self.options, startup_nodes=first)  # redis-py adds that of the URL
                    self._first = first[0]
                    # Its connection is open already.
                    if same := self.nodes_manager.nodes_cache.get(self._first.name):
                        same.redis_connection = self._first.redis_connection
                finally:
                    self._is_starting = False
        return super().__getattribute__(name)  # not getattr, which comes here again if there is none

    def command(self, **options: Any) -> Any:
        """Nothing, yet: redis-py asks for a table of all commands as it starts, which takes four times as long as all
        else. It asks a node for it when it does not know where in a command the keys are."""
        return {}

    def close(self) -> None:
        """Close all connections."""
        for pool in self._asked.values():
            pool.disconnect()
        if "nodes_manager" in vars(self):
            super().close()

    def refresh(self) -> None:
        """Look for the nodes anew, on new connections, and by the node that failed last only if there is no other."""
        self._next_refresh = time.monotonic() + PAUSE_S
        # redis-py forgets where it began, which may be a name that leads to wherever the cluster has gone.
        self.nodes_manager.startup_nodes = {self._first.name: self._first, **self.nodes_manager.startup_nodes}
        for node in self.nodes_manager.startup_nodes.values():
            if node.redis_connection:
                node.redis_connection.connection_pool.disconnect(inuse_connections=False)
        with _usual_errors():
            self.nodes_manager.initialize(last_failed_node_name=self._failed)
        self._failed = None

    def breaker_of(self, pool: ConnectionPool) -> Breaker:
        """That of the node of these connections."""
        return self._breakers.setdefault(pool, Breaker())

    def failed(self, pool: ConnectionPool) -> None:
        """This node failed, so another may soon take its place."""
        self._failed = "{host}:{port}".format_map(pool.connection_kwargs)

    def pool_of(self, key: str | bytes, from_replica: bool = False) -> ConnectionPool:
        """Connections to the node that holds this key, or to one that has a copy."""
        if self._failed and time.monotonic() > self._next_refresh:
            self.refresh()
        slot = key_slot(key if isinstance(key, bytes) else key.encode())
        strategy = self.load_balancing_strategy if from_replica else None
        with _usual_errors():
            return self._pool(self.nodes_manager.get_node_from_slot(slot, load_balancing_strategy=strategy))

    def redirected(self, error: AskError) -> ConnectionPool:
        """Connections to the node that this error names."""
        if isinstance(error, MovedError):
            self.nodes_manager.move_slot(error)
        node = self.nodes_manager.get_node(error.host, error.port)
        if node:
            return self._pool(node)
        # A new one, which is in no list before it has a slot.
        name = f"{error.host}:{error.port}"
        if name not in self._asked:
            self._asked[name] = self._pool(ClusterNode(error.host, error.port))  # type: ignore[no-untyped-call]
        return self._asked[name]

    def _pool(self, node: ClusterNode) -> ConnectionPool:
        found: ConnectionPool = self.get_redis_connection(node).connection_pool
        return found


@contextmanager
def _usual_errors() -> Iterator[None]:
    """Raises what made redis-py fail instead of its own error about it, which is no redis.RedisError."""
    try:
        yield
    except RedisClusterException as error:
        cause: BaseException | None = error
        while isinstance(cause, RedisClusterException):
            cause = cause.__cause__ or cause.__context__
        error.__cause__ = error.__context__ = None  # or the cause would be its own cause
        raise cause or redis.ConnectionError(str(error)) from None
