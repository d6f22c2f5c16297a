"""Checks what could go wrong before anything is changed: credentials, permissions, Redis and its settings."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from typing import Any, cast
from urllib.parse import urlsplit

import redis
from botocore.exceptions import BotoCoreError, ClientError

from gimel import config, connection, passwords
from gimel.errors import ConfigError, GimelError
from gimel.namespaces import primaries
from gimel.ops.addresses import is_loopback
from gimel.ops.nodes import Info, engine, info, size
from gimel.replies import IN_CLUSTER, WORDS, unavailable
from gimel.round_trip import send

from . import bundle, policies
from .deployment import Deployment
from .findings import Finding, Level
from .redis_address import address
from .redis_address import password as password_of
from .settings import DEFAULT_RUNTIME, DEPRECATED_FROM

OLDEST_REDIS = (2, 8, 9)  # the first with HyperLogLogs
OLDEST_REDIS_WITH_USERS = (6, 0, 0)
ALMOST_FULL = 0.9  # of maxmemory
ENDPOINT_COST = "billed for each hour and availability zone: $0.01, which is $7.30 a month, in us-east-1 in 2026"
NOT_FOUND = ("ParameterNotFound", "ResourceNotFoundException")


def check(deployment: Deployment) -> Iterator[Finding]:
    """All checks that are possible from here, the most important first."""
    in_vpc, settings = bool(deployment.settings.subnet_ids), deployment.config.redis_settings
    region, is_local = None, False
    try:
        region, is_local = deployment.account.region, deployment.aws.is_local
    except GimelError as error:
        yield Finding(Level.ERROR, error.message, error.hint)
    else:
        yield from check_account(deployment)
        if deployment.settings.durable and in_vpc:
            yield from check_endpoint(deployment)
    yield from check_runtime(deployment.settings.runtime)
    yield from check_source(deployment.config, deployment.content)
    # A password in AWS may be another one in another account.
    if region or not settings or not passwords.is_reference(settings.password):
        yield from check_redis(deployment.config, in_vpc, region, is_local)


def check_account(deployment: Deployment) -> Iterator[Finding]:
    """The account and region, and permissions there as far as IAM can tell. Raises GimelError without an account."""
    account = deployment.account
    yield Finding(Level.GOOD, f"credentials are valid: account {account.id}, region {account.region}")
    try:
        arn = deployment.aws.client("sts").get_caller_identity()["Arn"]
        denied = policies.missing(deployment.aws.client("iam"), arn, account, deployment.permissions)
    except (ClientError, BotoCoreError, NotImplementedError):
        yield Finding(Level.UNKNOWN, "could not check IAM permissions", "`gimel permissions` lists what you need")
        return
    if denied:
        # Only a warning: the simulator does not know every kind of policy, and emulators differ.
        some = ", ".join(denied[:5]) + (f" and {len(denied) - 5} more" if len(denied) > 5 else "")
        hint = "if the deploy fails, add the policy that `gimel permissions` prints"
        yield Finding(Level.WARNING, f"IAM permissions seem to be missing: {some}", hint)
    else:
        yield Finding(Level.GOOD, "IAM permissions are sufficient, according to the IAM policy simulator")


def check_runtime(runtime: str) -> Iterator[Finding]:
    """Whether AWS still supports the runtime, and whether its Python is here to compile the zip."""
    end = DEPRECATED_FROM[runtime]
    if end <= date.today():
        message = f"AWS deprecated {runtime} on {end}: no more security patches, and soon no updates of functions"
        yield Finding(Level.WARNING, message, f"set aws.runtime to {DEFAULT_RUNTIME}")
    else:
        yield Finding(Level.GOOD, f"AWS supports {runtime} until {end}")
    if bundle.find_python(runtime) is None:
        version = runtime.removeprefix("python")
        message = f"no Python {version} on this machine, so the zip has sources only, and a cold start compiles them: "
        hint = f"install Python {version}, for example with `uv python install {version}` or `pyenv install {version}`"
        yield Finding(Level.WARNING, message + bundle.COST_OF_SOURCES, hint)


def check_endpoint(deployment: Deployment) -> Iterator[Finding]:
    """Whether functions in a VPC can reach SQS there. Raises GimelError without an account."""
    region, ec2 = deployment.account.region, deployment.aws.client("ec2")
    try:
        (vpc, *_) = {
            found["VpcId"] for found in ec2.describe_subnets(SubnetIds=deployment.settings.subnet_ids)["Subnets"]
        }
        in_vpc = [{"Name": "vpc-id", "Values": [vpc]}]
        pages = ec2.get_paginator("describe_vpc_endpoints").paginate(Filters=in_vpc)
        found = [each for page in pages for each in page["VpcEndpoints"] if each["ServiceName"].endswith(".sqs")]
    except (ClientError, BotoCoreError, NotImplementedError):
        message = "could not check whether the VPC has an interface endpoint for SQS, which aws.durable needs"
        yield Finding(Level.UNKNOWN, message, f"make sure that it has one, with private DNS; it is {ENDPOINT_COST}")
        return
    if not found:
        message = f"{vpc} has no interface endpoint for SQS: without one, or a NAT gateway, nothing can be queued"
        hint = f"create one for com.amazonaws.{region}.sqs with private DNS ({ENDPOINT_COST}); or remove aws.durable"
        yield Finding(Level.WARNING, message, hint)
    elif not any(each.get("PrivateDnsEnabled") and each.get("State", "").lower() == "available" for each in found):
        message = f"the interface endpoint for SQS of {vpc} is not available, or has no private DNS"
        yield Finding(Level.WARNING, message, "enable its private DNS: the functions use SQS' usual name")
    else:
        yield Finding(Level.GOOD, f"{vpc} has an interface endpoint for SQS")


def check_source(loaded: config.Config, content: Mapping[str, Any]) -> Iterator[Finding]:
    """Which Redis is meant, and whether the shell's variables or config.json say so."""
    try:
        used = address(loaded.redis)
    except ConfigError:
        return  # check_redis says so
    try:
        in_file = config.check(config.ConfigFile(loaded.path, {"redis": content.get("redis")}), {}).redis
    except ConfigError:
        in_file = None  # missing, or not filled in
    has_url, password = bool(os.environ.get("GIMEL_REDIS_URL")), os.environ.get("GIMEL_REDIS_PASSWORD")
    if has_url and in_file:
        message = f"GIMEL_REDIS_URL in your shell overrides {loaded.path}: {used} instead of {address(in_file)}"
        yield Finding(Level.WARNING, message, "unset GIMEL_REDIS_URL to use that of the file")
    else:
        yield Finding(Level.GOOD, f"Redis is {used}" + (", from GIMEL_REDIS_URL in your shell" if has_url else ""))
    if password and has_url:
        hint = "put the password into GIMEL_REDIS_URL"
        yield Finding(Level.WARNING, "GIMEL_REDIS_URL replaces GIMEL_REDIS_PASSWORD, which is ignored", hint)
    elif password and in_file and password_of(in_file) not in (None, password):
        message = f"GIMEL_REDIS_PASSWORD in your shell overrides the password in {loaded.path}"
        yield Finding(Level.WARNING, message, "unset GIMEL_REDIS_PASSWORD to use that of the file")


def check_redis(
    loaded: config.Config, in_vpc: bool, region: str | None = None, is_local: bool = False
) -> Iterator[Finding]:
    """Whether Redis responds, and whether it keeps its data. `region` is that of a password in AWS; `is_local` says
    that functions run on this machine."""
    try:
        settings = loaded.redis
        client = connection.connect(settings, region)
    except ConfigError as error:
        yield Finding(Level.ERROR, error.message, error.hint)
        return
    if not is_local:
        wrong = list(_host(settings, in_vpc))
        yield from wrong
        if any(finding.level is Level.ERROR for finding in wrong):
            return
    if passwords.is_reference(settings.password):
        # redis-py looks it up only when it has reached Redis, and a private Redis cannot be reached from here.
        provider = passwords.AwsCredentialProvider(str(settings.password), settings.username, region)
        try:
            provider.get_credentials()
        except passwords.PasswordLookupError as error:
            yield _password_lookup(error)
            return
    found: list[redis.Redis] = []
    try:
        found = primaries(client)
        told = [info(node) for node in found]
    except redis.AuthenticationError as error:
        yield _rejected(settings, error)
        return
    except redis.ResponseError as error:
        yield _info_failed(found, error)
        return
    except (redis.RedisError, OSError) as error:
        hint = "this is expected of a private Redis, which can be reached only from its VPC"
        if not in_vpc:
            hint = "check its host, port and TLS settings; if it is private, set aws.vpc"
        message = f"could not reach {address(settings)} from here: {error}"
        yield Finding(Level.UNKNOWN if in_vpc else Level.WARNING, message, hint)
        return
    if not settings.cluster and int(told[0].get("cluster_enabled", 0)):
        yield Finding(Level.ERROR, *IN_CLUSTER)
        return
    if settings.cluster:
        yield _cluster(found[0], told)
    risks: defaultdict[Finding, list[str]] = defaultdict(list)
    for node, one in zip(found, told):
        for finding in _risks(node, one, settings):
            risks[finding].append("{host}:{port}".format_map(node.connection_pool.connection_kwargs))
    for finding, nodes in risks.items():
        where = "" if len(nodes) == len(found) else f"{', '.join(nodes)}: "
        yield replace(finding, message=where + finding.message)


def _host(settings: config.RedisSettings, in_vpc: bool) -> Iterator[Finding]:
    """Whether functions can reach this host at all."""
    key = "redis.url" if settings.url else "redis.host"
    key = "GIMEL_REDIS_URL" if os.environ.get("GIMEL_REDIS_URL") else key
    place = urlsplit(address(settings))
    host = place.hostname or ""
    if place.scheme == "unix":
        yield Finding(Level.ERROR, "Lambda cannot reach a Unix socket", f"enter a host in {key}")
        return
    try:
        found = [item[4][0] for item in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        if not in_vpc:
            hint = f"correct {key}; if only its VPC knows that name, set aws.vpc"
            yield Finding(Level.ERROR, f"the host name {host} cannot be resolved: {error}", hint)
        return
    addresses = [ipaddress.ip_address(str(one).partition("%")[0]) for one in found]
    if in_vpc and not is_loopback(host):
        return  # in its VPC, the name may mean something else
    if any(one.is_loopback or one.is_unspecified for one in addresses):
        message = f"functions cannot reach {address(settings)}: {host} is a loopback address, on Lambda their own"
        yield Finding(Level.ERROR, message, f"enter a host that functions can reach in {key}")
    elif any(one.is_private for one in addresses):
        message = f"{address(settings)} has the private address {found[0]}, which functions reach only in its VPC"
        yield Finding(Level.WARNING, message, "set aws.vpc")


def _password_lookup(error: passwords.PasswordLookupError) -> Finding:
    cause = error.__cause__
    if isinstance(cause, ClientError) and cause.response["Error"]["Code"] in NOT_FOUND:
        return Finding(Level.ERROR, str(error), "create it in this account and region, or correct redis.password")
    return Finding(Level.UNKNOWN, str(error), "the functions do so with their own role, so you do not need access")


def _rejected(settings: config.RedisSettings, error: redis.AuthenticationError) -> Finding:
    if not (settings.password or "").startswith(passwords.IAM):
        hint = "check redis.username and redis.password"
        return Finding(Level.ERROR, f"Redis rejected the credentials: {error}", hint)
    # AWS has one answer for everything that can be wrong.
    message = f"Redis rejected a token of your own for its user {settings.username}: {error}"
    hint = "the functions sign theirs with their role; make sure that the user signs in by IAM and may use this cache"
    return Finding(Level.UNKNOWN, message, hint)


def _info_failed(found: Sequence[redis.Redis], error: redis.ResponseError) -> Finding:
    """Whether only INFO is forbidden or every command fails, such as when the database number is out of range."""
    if not found:
        problem = unavailable(error)
        return Finding(Level.ERROR, f"{problem.message}: {error}", problem.hint)
    try:
        found[0].ping()
    except redis.exceptions.NoPermissionError:
        pass
    except redis.ResponseError as refusal:
        return Finding(Level.ERROR, f"Redis returned an error: {refusal}", "check the redis section of config.json")
    except redis.RedisError:
        pass
    return Finding(Level.UNKNOWN, f"could not check the settings of Redis: {error}", "check them yourself")


def _cluster(node: redis.Redis, told: Sequence[Info]) -> Finding:
    with suppress(redis.RedisError):
        (state,) = send(node, [("CLUSTER", "INFO")])
        if b"cluster_state:fail" in state:
            return Finding(Level.ERROR, *WORDS["CLUSTERDOWN"])
    return Finding(Level.GOOD, f"Redis is a cluster of {size(told)}")


def _risks(node: redis.Redis, told: Info, settings: config.RedisSettings) -> Iterator[Finding]:
    """What is good or bad about a node."""
    yield _version(*engine(told), settings)
    if told.get("role") == "slave":
        yield Finding(Level.ERROR, "Redis is a read-only replica", "use the host of its primary")
    elif told.get("rdb_last_bgsave_status") == "err":
        rejects = _setting(node, "stop-writes-on-bgsave-error")
        if rejects != "no":
            hint = "see its log for the reason; often the disk is full"
            what = "rejects writes because it cannot save snapshots" if rejects else "could not save its last snapshot"
            yield Finding(Level.WARNING, f"Redis {what}", hint)
    if 0 < int(told.get("maxmemory") or 0) * ALMOST_FULL < int(told.get("used_memory") or 0):
        yield Finding(Level.WARNING, "Redis is almost out of memory", "add memory, or raise maxmemory")
    yield _eviction(str(told.get("maxmemory_policy") or _setting(node, "maxmemory-policy") or ""))
    yield _persistence(told, _setting(node, "save"))


def _version(name: str, text: str, settings: config.RedisSettings) -> Finding:
    if not text:
        return Finding(Level.UNKNOWN, "Redis responds, but does not report its version")
    found = tuple(int(part) for part in text.split(".")[:3] if part.isdigit())
    oldest = OLDEST_REDIS_WITH_USERS if settings.username else OLDEST_REDIS
    if found < oldest:
        return Finding(Level.ERROR, f"{name} {text} is too old", f"upgrade to {'.'.join(map(str, oldest))} or later")
    return Finding(Level.GOOD, f"{name} {text} responds and supports what Gimel needs")


def _eviction(policy: str) -> Finding:
    if not policy:
        return Finding(Level.UNKNOWN, "could not read Redis' eviction policy", "make sure that it is noeviction")
    if policy.startswith("allkeys"):
        message = f"Redis may evict counts when it runs out of memory (eviction policy {policy})"
        return Finding(Level.WARNING, message, "set maxmemory-policy to noeviction")
    note = " keeps counts, which never expire" if policy.startswith("volatile") else ""
    return Finding(Level.GOOD, f"eviction policy {policy}{note}")


def _persistence(told: Info, save: str | None) -> Finding:
    if int(told.get("aof_enabled", 0)):
        return Finding(Level.GOOD, "Redis writes an append-only file")
    if save is None:
        hint = "make sure that it has backups or an append-only file"
        return Finding(Level.UNKNOWN, "could not check whether Redis persists its data", hint)
    message = "Redis does not persist its data, so a restart loses its counts"
    if save:
        message = f"Redis only saves snapshots (save {save}), so a crash loses its counts since the last one"
    return Finding(Level.WARNING, message, "set appendonly to yes")


def _setting(node: redis.Redis, name: str) -> str | None:
    """A setting of Redis; None if it cannot be read, as on ElastiCache."""
    try:
        return cast("dict[str, str]", node.config_get(name)).get(name)
    except redis.RedisError:
        return None
