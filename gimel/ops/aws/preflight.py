"""Looks, before anything is changed, at what would go wrong: credentials, rights, Redis and its settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

import redis
from botocore.exceptions import BotoCoreError, ClientError

from gimel import config, connection, passwords
from gimel.errors import ConfigError, GimelError
from gimel.ops.addresses import is_loopback

from . import policies
from .deployment import Deployment

OLDEST_REDIS = (2, 8, 9)
"""The first with HyperLogLogs."""

ALMOST_FULL = 0.9
"""Of maxmemory."""

NOT_THERE = ("ParameterNotFound", "ResourceNotFoundException")

OLDEST_REDIS_WITH_USERS = (6, 0, 0)


class Level(Enum):
    """How a finding is to be taken."""

    GOOD = "ok"
    UNKNOWN = "unknown"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One thing looked at, and what to do about it."""

    level: Level
    what: str
    cure: str = ""


def check(deployment: Deployment) -> Iterator[Finding]:
    """Everything that can be looked at from here, in the order in which it matters."""
    yield from check_account(deployment)
    yield from check_redis(deployment.config, bool(deployment.settings.subnet_ids))


def check_account(deployment: Deployment) -> Iterator[Finding]:
    """Credentials and region, then rights as far as IAM tells."""
    try:
        account = deployment.aws.account
    except GimelError as error:
        yield Finding(Level.ERROR, error.message, error.hint)
        return
    yield Finding(Level.GOOD, f"credentials of account {account.id}, region {account.region}")
    try:
        arn = deployment.aws.client("sts").get_caller_identity()["Arn"]
        wanted = deployment.permissions
        denied = policies.missing(deployment.aws.client("iam"), arn, account, wanted)
    except (ClientError, BotoCoreError, NotImplementedError):
        yield Finding(Level.UNKNOWN, "IAM does not tell whether your rights suffice", "`gimel permissions` lists them")
        return
    if denied:
        # Only a warning: the simulator knows neither every kind of policy nor every server's idea of rights.
        some = ", ".join(denied[:5]) + (f" and {len(denied) - 5} more" if len(denied) > 5 else "")
        cure = "if deploying fails, `gimel permissions` prints a policy that has them"
        yield Finding(Level.WARNING, f"IAM's simulator says that you may not {some}", cure)
    else:
        yield Finding(Level.GOOD, "your rights suffice, as far as IAM's simulator knows")


def check_redis(loaded: config.Config, in_vpc: bool) -> Iterator[Finding]:
    """Whether Redis answers, and whether it keeps what it is given."""
    try:
        client = connection.connect(loaded.redis)
    except ConfigError as error:
        yield Finding(Level.ERROR, error.message, error.hint)
        return
    if passwords.is_reference(loaded.redis.password):
        # Redis itself asks for it only once it is reached, which a private one cannot be from here.
        try:
            passwords.AwsCredentialProvider(str(loaded.redis.password)).get_credentials()
        except passwords.PasswordLookupError as error:
            yield _no_password(error)
            return
    try:
        info: dict[str, Any] = dict(client.info())
    except redis.AuthenticationError as error:
        yield Finding(Level.ERROR, f"Redis refuses the password: {error}", "mend redis.username and redis.password")
        return
    except redis.ResponseError as error:
        yield _no_information(client, error)
        return
    except (redis.RedisError, OSError) as error:
        cure = "expected for a private one, which can only be reached from its VPC"
        if not in_vpc:
            cure = "check its host, port and TLS; for a private one, which cannot be reached from here, set aws.vpc too"
        yield Finding(Level.UNKNOWN if in_vpc else Level.WARNING, f"Redis cannot be reached from here: {error}", cure)
        return
    finally:
        client.close()
    yield from _dangers(client, info, loaded.redis)


def _no_password(error: passwords.PasswordLookupError) -> Finding:
    cause = error.__cause__
    if isinstance(cause, ClientError) and cause.response["Error"]["Code"] in NOT_THERE:
        return Finding(Level.ERROR, str(error), "create it in this account and region, or mend redis.password")
    return Finding(Level.UNKNOWN, str(error), "the functions read it with their own role; you need not be able to")


def _no_information(client: Any, error: redis.ResponseError) -> Finding:
    """Whether Redis only does not tell about itself, or takes no command at all, as where the database is unknown."""
    try:
        client.ping()
    except redis.exceptions.NoPermissionError:
        pass
    except redis.ResponseError as refusal:
        return Finding(Level.ERROR, f"Redis refuses: {refusal}", "mend the section redis")
    except redis.RedisError:
        pass
    return Finding(Level.UNKNOWN, f"Redis answers, but not about itself: {error}", "look at its settings yourself")


def _dangers(client: Any, info: dict[str, Any], settings: config.RedisSettings) -> Iterator[Finding]:
    yield _version(str(info.get("redis_version", "0")), settings)
    if info.get("role") == "slave":
        yield Finding(Level.ERROR, "this Redis is a replica, which takes no events", "name the primary one")
    elif info.get("rdb_last_bgsave_status") == "err" and _setting(client, "stop-writes-on-bgsave-error") != "no":
        cure = "its log says why; often the disk is full"
        yield Finding(Level.WARNING, "Redis takes no events now, for it cannot write its snapshots", cure)
    if 0 < int(info.get("maxmemory") or 0) * ALMOST_FULL < int(info.get("used_memory") or 0):
        yield Finding(Level.WARNING, "Redis' memory is all but full", "give it more, or a larger maxmemory")
    yield _eviction(str(info.get("maxmemory_policy") or _setting(client, "maxmemory-policy") or ""))
    yield _persistence(info, _setting(client, "save"))
    if int(info.get("cluster_enabled", 0)):
        yield Finding(Level.ERROR, "Redis is in cluster mode, which Gimel does not speak", "use one node, or a proxy")
    host = urlsplit(settings.url).hostname or "localhost" if settings.url else settings.host
    if is_loopback(host):
        yield Finding(Level.WARNING, f"{host} is, on Lambda, the function itself", "name the host of Redis")


def _version(text: str, settings: config.RedisSettings) -> Finding:
    found = tuple(int(part) for part in text.split(".")[:3] if part.isdigit())
    least = OLDEST_REDIS_WITH_USERS if settings.username else OLDEST_REDIS
    if found < least:
        named = ".".join(map(str, least))
        return Finding(Level.ERROR, f"Redis {text} lacks what Gimel uses", f"upgrade it to {named} or later")
    return Finding(Level.GOOD, f"Redis {text} answers, and has all that Gimel uses")


def _eviction(policy: str) -> Finding:
    if not policy:
        return Finding(Level.UNKNOWN, "Redis does not tell its eviction policy", "make sure that it is noeviction")
    if policy.startswith("allkeys"):
        cure = "set maxmemory-policy to noeviction"
        return Finding(Level.WARNING, f"Redis may drop counts when memory is short ({policy})", cure)
    if policy.startswith("volatile"):
        return Finding(Level.GOOD, f"eviction policy {policy} spares counts, for they never expire")
    return Finding(Level.GOOD, f"eviction policy {policy}")


def _persistence(info: dict[str, Any], save: str | None) -> Finding:
    if int(info.get("aof_enabled", 0)):
        return Finding(Level.GOOD, "Redis keeps an append-only file")
    if save:
        cure = "set appendonly to yes"
        what = f"Redis writes to disk only now and then (save {save}); a crash loses the counts since"
        return Finding(Level.WARNING, what, cure)
    if save is None:
        cure = "make sure that it has backups or an append-only file"
        return Finding(Level.UNKNOWN, "Redis does not tell whether it keeps its data", cure)
    return Finding(Level.WARNING, "Redis keeps nothing: a restart loses all counts", "set appendonly to yes")


def _setting(client: Any, name: str) -> str | None:
    """A setting of Redis; None where it is not told, as on ElastiCache."""
    try:
        found = client.config_get(name)
    except redis.RedisError:
        return None
    finally:
        client.close()
    value = found.get(name, found.get(name.encode()))
    return value.decode() if isinstance(value, bytes) else value
