"""The configuration and the Redis client of this process: read and connected once, and kept for its whole life."""

from __future__ import annotations

import os
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from . import config, passwords
from .errors import ConfigError
from .metrics import FunctionLog
from .outage_log import OutageLog
from .overflow import Overflow, SqsQueue
from .round_trip import Client
from .timed_connection import TIMED, Pool

_settings: config.Config | None = None
_client: Client | None = None
_overflow: Overflow | None = None
_dead_letters: SqsQueue | None = None
_outage_log = OutageLog()
_function_log = FunctionLog()


def settings() -> config.Config:
    """The configuration, loaded on first use. Raises ConfigError."""
    global _settings
    if _settings is None:
        _settings = config.load()
    return _settings


def client() -> Client:
    """The client for these settings, created on first use. Raises ConfigError."""
    global _client
    if _client is None:
        _client = connect(settings().redis)
    return _client


def overflow() -> Overflow | None:
    """Where events wait while Redis cannot take them, if there is such a place: by default the deployment's queue."""
    global _overflow
    if _overflow is None and os.environ.get("GIMEL_QUEUE_URL"):
        _overflow = SqsQueue(os.environ["GIMEL_QUEUE_URL"])
    return _overflow


def dead_letters() -> SqsQueue | None:
    """The deployment's queue for messages that can never be counted, if there is one."""
    global _dead_letters
    if _dead_letters is None and os.environ.get("GIMEL_DEAD_LETTERS_URL"):
        _dead_letters = SqsQueue(os.environ["GIMEL_DEAD_LETTERS_URL"])
    return _dead_letters


def outage_log() -> OutageLog:
    """What the log has been told of outages of this Redis."""
    return _outage_log


def function_log() -> FunctionLog:
    """What a function on Lambda writes about its requests."""
    return _function_log


def use(
    new_settings: config.Config | None,
    new_client: Client | None = None,
    new_overflow: Overflow | None = None,
) -> None:
    """Make every handler use these settings, this client or one created for them, and this overflow or the default one.

    Without settings, they are loaded again on next use.
    """
    global _settings, _client, _overflow, _dead_letters, _outage_log, _function_log
    _settings, _client, _overflow = new_settings, new_client, new_overflow
    _dead_letters, _outage_log, _function_log = None, OutageLog(), FunctionLog()


def connect(settings: config.RedisSettings, region: str | None = None) -> Client:
    """A client for these settings. Nothing is sent before its first command.

    A password in AWS is that of this region, by default that of the environment.

    Raises ConfigError for settings that contradict each other.
    """
    options: dict[str, Any] = {
        "socket_connect_timeout": settings.connect_timeout_s,
        "socket_timeout": settings.timeout_s,
        "retry": Retry(NoBackoff(), 0),  # by `outages.ask`, which knows the deadline
        # Saves two round trips at cold start: no HELLO, no CLIENT SETINFO.
        "protocol": 2,
        "driver_info": None,
    }
    if passwords.is_reference(settings.password):
        provider = passwords.AwsCredentialProvider(str(settings.password), settings.username, region)
        options["credential_provider"] = provider
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
        if settings.url:
            client = redis.Redis.from_url(settings.url, **options)
            if "password" in options:  # from_url prefers that of the URL
                client.connection_pool.connection_kwargs["password"] = options["password"]
        else:
            options |= {"unix_socket_path": settings.unix_socket, "db": settings.db, "ssl": settings.tls}
            client = redis.Redis(settings.host, settings.port, **options)
        # Keys are bytes, whatever the URL says.
        options = {**client.connection_pool.connection_kwargs, "decode_responses": False}
        pool = Pool(TIMED[client.connection_pool.connection_class], **options)
        pool.make_connection()
        if settings.cluster:
            from .cluster import Cluster  # only here: most have no cluster

            return Cluster(pool, settings.replica_reads)
    except (TypeError, ValueError, redis.RedisError) as error:
        raise ConfigError("invalid combination of Redis settings", str(error)) from None
    return redis.Redis(connection_pool=pool)
