"""A cluster of Redis nodes, which redis-py finds. Imported only where one is used."""

from __future__ import annotations

import threading
from typing import Any

import redis
from redis.cluster import ClusterNode
from redis.connection import ConnectionPool
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError


class Cluster(redis.RedisCluster):
    """redis-py's client, which looks for the nodes when it is first used, and not when it is created."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self._start_lock = threading.RLock()
        self._is_starting = False

    @classmethod
    def found_by(cls, pool: ConnectionPool) -> Cluster:
        """The cluster to which these connections to one of its nodes lead. Raises ValueError if they cannot."""
        options = dict(pool.connection_kwargs)
        if "path" in options or options.get("db"):
            raise ValueError("a cluster has no Unix socket and no databases but 0")
        host, port = options["host"], options["port"]
        for name in ("db", "retry", "host", "port"):
            options.pop(name, None)
        url = f"redis://[{host}]:{port}" if ":" in host else f"redis://{host}:{port}"
        return cls(url=url, connection_class=pool.connection_class, **options)

    def __getattr__(self, name: str) -> Any:
        """What redis-py's client has once it has started."""
        if name.startswith("__"):
            raise AttributeError(name)
        with self._start_lock:
            if self._is_starting:
                raise AttributeError(name)
            if "commands_parser" not in vars(self):
                self._is_starting = True
                try:
                    super().__init__(**self.options)
                finally:
                    self._is_starting = False
        return getattr(self, name)

    def close(self) -> None:
        """Close all connections."""
        if "nodes_manager" in vars(self):
            super().close()

    def refresh(self) -> None:
        """Look for the nodes anew, and use new connections."""
        self.nodes_manager.initialize()

    def pool_of(self, key: str | bytes) -> ConnectionPool:
        """Connections to the node that holds this key."""
        slot = key_slot(key if isinstance(key, bytes) else key.encode())
        return self._pool(self.nodes_manager.get_node_from_slot(slot))

    def redirected(self, error: AskError) -> ConnectionPool:
        """Connections to the node that this error names."""
        if isinstance(error, MovedError):
            self.nodes_manager.move_slot(error)
        node = self.nodes_manager.get_node(error.host, error.port)
        if node is None:
            node = ClusterNode(error.host, error.port)  # type: ignore[no-untyped-call]
        return self._pool(node)

    def _pool(self, node: ClusterNode) -> ConnectionPool:
        found: ConnectionPool = self.get_redis_connection(node).connection_pool
        return found
