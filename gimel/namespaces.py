"""Finds the namespaces that nobody has listed: those of Gimel 1.x."""

from __future__ import annotations

from typing import Any

import redis

from .counters import REPORT_TIMEOUT_S, ask_each
from .keyspace import NAMESPACES_KEY, experiments_key, statuses_key
from .outages import ask
from .round_trip import Client


def find_namespaces(client: Client) -> list[str]:
    """The namespaces that have experiments, sorted, by a look at every key, and at the settings of those that are
    listed. Raises StoreUnavailable."""
    suffix = experiments_key("").encode()
    found: set[bytes] = set()
    # If Redis is a node of a cluster, and not configured as one, it has but a share, and refuses some of these keys.
    ask_each(client, [("EXISTS", experiments_key(str(number))) for number in range(50)])
    for node in ask(client, lambda: primaries(client), REPORT_TIMEOUT_S):
        cursor = None
        while cursor != b"0":
            scan = ("SCAN", cursor or 0, "MATCH", b"*" + suffix, "COUNT", 1000, "TYPE", "set")
            ((cursor, keys),) = ask_each(node, [scan])
            found.update(key.removesuffix(suffix) for key in keys)
    (listed,) = ask_each(client, [("SMEMBERS", NAMESPACES_KEY)])
    sizes = ask_each(client, [("HLEN", name + statuses_key("").encode()) for name in listed])
    found.update(name for name, size in zip(listed, sizes) if size)
    return sorted(name.decode("utf-8", "surrogateescape") for name in found if b":" not in name)


def primaries(client: Client) -> list[redis.Redis]:
    """A client of each node that has keys: the only one, or the primaries of a cluster. Raises redis.RedisError."""
    if isinstance(client, redis.Redis):
        return [client]
    cluster: Any = client
    return [cluster.get_redis_connection(node) for node in cluster.get_primaries()]
