"""Counts as a Redis of so many HyperLogLogs would read them."""

from __future__ import annotations

from gimel.hyperloglog import Count, hyperloglog_error, settled_error


def counted(value: int, shards: int = 1) -> Count:
    """This reading of a counter spread over so many HyperLogLogs; 0 stands for an exact counter."""
    return Count(value, hyperloglog_error(value, shards), settled_error(shards)) if shards else Count(value)
