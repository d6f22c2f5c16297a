"""One Redis client for the life of a container: connected once, kept warm, reconnected after a drop."""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from . import config, passwords
from .errors import ConfigError

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
    """A client for these settings. Nothing is sent before its first command.

    Raises ConfigError for settings that contradict each other.
    """
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
    if passwords.is_reference(settings.password):
        options["credential_provider"] = passwords.Referred(str(settings.password), settings.username)
    elif settings.password:
        options |= {"username": settings.username, "password": settings.password}
    if settings.tls or (settings.url or "").startswith("rediss:"):
        options |= {
            "ssl_ca_certs": settings.tls_ca_file,
            "ssl_certfile": settings.tls_cert_file,
            "ssl_keyfile": settings.tls_key_file,
        }
        if not settings.tls_verify:
            options |= {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    try:
        client = redis.Redis.from_url(settings.url, **options) if settings.url else _by_parts(settings, options)
        client.connection_pool.connection_kwargs["decode_responses"] = False  # keys are bytes, whatever a URL asks
        client.connection_pool.make_connection()
    except (TypeError, ValueError, redis.RedisError) as error:
        raise ConfigError("the Redis settings do not fit together", str(error)) from None
    return client


def _by_parts(settings: config.RedisSettings, options: dict[str, Any]) -> redis.Redis:
    return redis.Redis(
        host=settings.host,
        port=settings.port,
        unix_socket_path=settings.unix_socket,
        db=settings.db,
        ssl=settings.tls,
        **options,
    )
