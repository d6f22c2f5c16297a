"""The Redis that commands read: the configured one, or else that of `gimel serve`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from gimel import config, connection
from gimel.ops.server import redis_process


@contextmanager
def use_store(config_file: Path | None, data: Path) -> Iterator[config.Config]:
    """Connect the handlers to the configured Redis, or else to the embedded one, running or not. Raises ConfigError."""
    found = config.load(config_file)
    with ExitStack() as stack:
        if not found.redis_settings:
            url = stack.enter_context(redis_process.reachable(data))
            found = replace(found, redis_settings=config.RedisSettings(url=url))
        connection.use(found)
        yield found
