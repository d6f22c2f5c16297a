"""The nodes of Redis that have keys, and what each tells about itself. Managed services leave some of that out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import redis

Info = Mapping[str, Any]
"""What INFO tells of a node, by field."""


def info(node: redis.Redis) -> Info:
    """What this node tells. Raises redis.RedisError."""
    return cast("Info", node.info())


def engine(info: Info) -> tuple[str, str]:
    """The name of the engine, and its version, which is empty if it does not say."""
    if "valkey_version" in info:
        return "Valkey", str(info["valkey_version"])  # its redis_version is the one with which it is compatible
    return "Redis", str(info.get("redis_version") or "")


def size(infos: Sequence[Info]) -> str:
    """Of how many nodes a cluster is, such as `3 primaries and 3 replicas`."""
    replicas = [int(info["connected_slaves"]) for info in infos if "connected_slaves" in info]
    found = f"{len(infos)} primar{'ies' if len(infos) > 1 else 'y'}"
    return f"{found} and {sum(replicas)} replica{'s' * (sum(replicas) != 1)}" if replicas else found
