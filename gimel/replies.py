"""What redis-py's exceptions mean, in words that contain no key, no id of a visitor and no password."""

from __future__ import annotations

import redis

from .errors import StoreUnavailable

FAILURES = (redis.RedisError, OSError, UnicodeError)
"""What redis-py raises; the last one for a host name that cannot exist."""

TELLING = (redis.ConnectionError, redis.TimeoutError, StoreUnavailable, OSError)
"""Errors whose text has no data in it."""

MOVED = {"READONLY", "MASTERDOWN", "LOADING", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS"}
"""What a server answers that is not the primary, or not any more, or not yet."""

IN_CLUSTER = (
    "Redis is a node of a cluster",
    "set redis.cluster to true; beside GIMEL_REDIS_URL, GIMEL_REDIS_CLUSTER=1",
)
NO_CLUSTER = ("Redis is not a cluster", "set redis.cluster to false; beside GIMEL_REDIS_URL, unset GIMEL_REDIS_CLUSTER")

WORDS = {
    **dict.fromkeys(("MOVED", "ASK", "CROSSSLOT"), IN_CLUSTER),
    "READONLY": ("Redis is a read-only replica", "use the address of its primary"),
    "MASTERDOWN": ("Redis is a replica without its primary", "use the address of its primary"),
    "LOADING": ("Redis is still loading its data", "retry later"),
    "CLUSTERDOWN": ("the Redis cluster is down", "check its nodes"),
    "NOREPLICAS": ("Redis has too few replicas to accept writes", "check its replicas and min-replicas-to-write"),
    "OOM": ("Redis is out of memory", "raise its maxmemory, or delete experiments"),
    "MISCONF": ("Redis cannot save its data", "check the disk that it saves to"),
    "NOPERM": ("Redis denies its user a command or a key", "check the permissions of redis.username"),
}


def unavailable(error: Exception) -> StoreUnavailable:
    """The same failure in plain words."""
    if isinstance(error, redis.AuthenticationError):
        hint = "check redis.username and redis.password, or redis.iam"
        return StoreUnavailable("Redis rejected the credentials", hint)
    if "cluster support disabled" in str(error):
        return StoreUnavailable(*NO_CLUSTER)
    if code(error) in WORDS:
        return StoreUnavailable(*WORDS[code(error)])
    if is_outage(error):
        hint = "check that Redis is running and its address is correct, or retry later"
        return StoreUnavailable("Redis does not answer", hint)
    return StoreUnavailable("Redis command failed", "retry later")


def is_outage(error: Exception) -> bool:
    """Whether Redis as a whole could not be used, rather than that it refused one command or key."""
    return isinstance(error, (redis.ConnectionError, redis.TimeoutError, OSError, UnicodeError)) or code(error) in MOVED


def may_succeed_on_a_new_connection(error: Exception) -> bool:
    """Whether the connection was cut, or leads to a server that is not the primary."""
    if isinstance(error, redis.ConnectionError):
        return not isinstance(error, redis.AuthenticationError)
    return code(error) in MOVED


def code(error: Exception) -> str:
    """The code of an error reply, such as READONLY; empty if it has none."""
    first, _, rest = describe(error).partition(" ")
    return first if rest and first.isupper() and isinstance(error, redis.RedisError) else ""


def describe(error: BaseException) -> str:
    """One line for the log."""
    if isinstance(error, redis.ResponseError):
        # redis-py quotes the command of a transaction, Redis an unknown command's arguments.
        text = str(error).rpartition("of pipeline caused error: ")[2].partition(", with args")[0]
        if text.startswith("Transaction discarded because of: "):
            return text.partition(": ")[2]
    elif isinstance(error, TELLING) or type(error).__module__.partition(".")[0] in ("botocore", "sqlite3"):
        text = str(error)
    else:
        return type(error).__name__
    status = getattr(error, "status_code", None)
    return f"{status} {text}" if status else text
