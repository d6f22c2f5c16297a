"""One Redis client for the life of a container: connected once, kept warm, reconnected after a drop."""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from . import config

_client: redis.Redis | None = None


def current() -> redis.Redis:
    """The client of this container, made on first use. Raises ConfigError."""
    global _client
    if _client is None:
        _client = connect(config.current().redis)
    return _client


def use(client: redis.Redis | None) -> None:
    """Make every handler use this client; None means: the configured one, made anew."""
    global _client
    _client = client


def connect(settings: config.RedisSettings) -> redis.Redis:
    """A client for these settings. Nothing is sent before its first command."""
    options: dict[str, Any] = {
        "socket_connect_timeout": settings.connect_timeout_s,
        "socket_timeout": settings.timeout_s,
        # A dropped connection is tried once more, at once: every command here may safely run twice.
        # A slow Redis is not: the browser sends the event again later.
        "retry": Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        # Two replies fewer at cold start: no HELLO, no CLIENT SETINFO.
        "protocol": 2,
        "driver_info": None,
    }
    if settings.tls_ca_file:
        options["ssl_ca_certs"] = settings.tls_ca_file
    if settings.url:
        return redis.Redis.from_url(settings.url, **options)
    return redis.Redis(
        host=settings.host,
        port=settings.port,
        db=settings.db,
        username=settings.username,
        password=settings.password,
        ssl=settings.tls,
        **options,
    )
