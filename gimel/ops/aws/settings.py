"""The `aws` section of config.json. Only deployment commands read it; it is not in the zip."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from gimel import config
from gimel.validation import Section, flag, json_object, list_of, matching, positive, text, whole

from .names import SNAPSHOT

DEPRECATED_FROM = {
    "python3.10": date(2026, 10, 31),
    "python3.11": date(2027, 6, 30),
    "python3.12": date(2028, 10, 31),
    "python3.13": date(2029, 6, 30),
    "python3.14": date(2029, 6, 30),
}
"""When AWS stops patching a runtime. It refuses new functions a month later, and updates after that. From the table in
https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html, as of 2026."""

RUNTIMES = tuple(DEPRECATED_FROM)
DEFAULT_RUNTIME = "python3.13"
"""The newest runtime of AWS for which the tests of Gimel have run (on Python 3.10 to 3.13). It does not depend on this
machine's Python, so that two machines do not deploy different ones in turn."""

SNAP_START_RUNTIMES = RUNTIMES[2:]
MAX_TIMEOUT_S = 28
"""Less than the 29 seconds after which API Gateway times out."""
MAX_SNAPSHOT_S = 900
"""The most that Lambda allows: nobody waits for a snapshot."""
SNAPSHOT_S = 300
SNAPSHOT_MB = 256

MAX_TAGS = 49  # AWS allows 50, and Gimel adds one
TAG_SIGNS = "_.:/=+-@"
"""Allowed by all AWS services in tags, besides letters, digits and spaces."""

NAME_FORMAT = "lowercase letters, digits and hyphens, at most 24 characters, not ending in delete"
TAGS_FORMAT = (
    f"an object of at most {MAX_TAGS} tags, made of letters, digits, spaces and {TAG_SIGNS}; keys have 1 to 128 "
    "characters and values up to 256; no key may begin with aws: or differ from another only in case"
)

DOMAIN = r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}"

RETENTIONS_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)


@dataclass(frozen=True)
class FunctionSettings:
    """Settings of one function, or the default for all."""

    memory_mb: int = 256
    timeout_s: int = 10
    reserved_concurrency: int | None = None


@dataclass(frozen=True)
class Throttle:
    """Requests per second, and how many may arrive at once."""

    rate: float
    burst: int


@dataclass(frozen=True)
class AwsSettings:
    """A checked `aws` section."""

    name: str = "gimel"
    runtime: str = DEFAULT_RUNTIME
    architecture: str = "arm64"
    common: FunctionSettings = FunctionSettings()
    functions: dict[str, FunctionSettings] = field(default_factory=dict)
    subnet_ids: list[str] = field(default_factory=list)
    security_group_ids: list[str] = field(default_factory=list)
    durable: bool = True
    snap_start: bool = False
    throttle: Throttle = Throttle(500, 1000)
    key_throttle: Throttle = Throttle(20, 40)
    log_retention_days: int = 30
    access_log: bool = True
    kms_key_arn: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    account: str | None = None
    region: str | None = None
    track_api: str | None = None
    domain: str | None = None
    certificate_arn: str | None = None
    alarms_email: str | None = None


FUNCTION_KEYS = set(FunctionSettings.__dataclass_fields__)
VPC_KEYS = {"subnet_ids", "security_group_ids"}
ALARM_KEYS = {"email"}
NESTED = {"common", "alarms_email", *VPC_KEYS}
KEYS = set(AwsSettings.__dataclass_fields__) - NESTED | FUNCTION_KEYS | {"vpc", "alarms"}


def load(path: Path | None = None) -> tuple[config.Config, AwsSettings, Mapping[str, Any]]:
    """The checked configuration, its checked `aws` section, and the content of config.json.

    Raises ConfigError, which lists every problem.
    """
    file = config.read(path)
    problems: list[str] = []
    settings = read(json_object(file.content.get("aws")) or {}, problems)
    return config.check(file, problems=problems), settings, file.content


def read(raw: dict[str, Any], problems: list[str]) -> AwsSettings:
    """An `aws` section. Problems are added to `problems`, and defaults used instead."""
    section, default = Section(raw, KEYS, "aws.", problems), AwsSettings()
    take = section.take
    common = _function(section, FunctionSettings())
    snapshot = replace(common, memory_mb=max(common.memory_mb, SNAPSHOT_MB), timeout_s=SNAPSHOT_S)
    functions = {SNAPSHOT: snapshot}
    for name, own in take("functions", "an object of functions, such as gimel-track", json_object, {}).items():
        if isinstance(own, dict):
            usual, most_s = (snapshot, MAX_SNAPSHOT_S) if name == SNAPSHOT else (common, MAX_TIMEOUT_S)
            functions[name] = _function(Section(own, FUNCTION_KEYS, f"aws.functions.{name}.", problems), usual, most_s)
        else:
            problems.append(f'aws.functions.{name}: must be an object such as {{"memory_mb": 512}}')
    vpc = Section(take("vpc", "an object", json_object, {}), VPC_KEYS, "aws.vpc.", problems)
    alarms = Section(take("alarms", "an object", json_object, {}), ALARM_KEYS, "aws.alarms.", problems)
    subnets = vpc.take("subnet_ids", 'a list such as ["subnet-…"]', list_of(str), [])
    days, retentions = _one_of(*RETENTIONS_DAYS), f"one of {', '.join(map(str, RETENTIONS_DAYS))}"
    settings = AwsSettings(
        name=take("name", NAME_FORMAT, _name, default.name),
        runtime=take("runtime", f"one of {', '.join(RUNTIMES)}", _one_of(*RUNTIMES), default.runtime),
        architecture=take("architecture", "arm64 or x86_64", _one_of("arm64", "x86_64"), default.architecture),
        common=common,
        functions=functions,
        subnet_ids=subnets,
        security_group_ids=vpc.take("security_group_ids", 'a list such as ["sg-…"]', list_of(str), []),
        # Inside a VPC, SQS cannot be reached without an interface endpoint, which costs.
        durable=take("durable", "true or false", flag, not subnets),
        snap_start=take("snap_start", "true or false", flag, default.snap_start),
        throttle=_throttle(section, "throttle", default.throttle),
        key_throttle=_throttle(section, "key_throttle", default.key_throttle),
        log_retention_days=take("log_retention_days", retentions, days, default.log_retention_days),
        access_log=take("access_log", "true or false", flag, default.access_log),
        kms_key_arn=take("kms_key_arn", "the ARN of a key", text),
        tags=take("tags", TAGS_FORMAT, _tags, {}),
        account=take("account", "the 12 digits of an AWS account, as text", matching(r"\d{12}")),
        region=take("region", "a region such as eu-west-1", matching(r"[a-z]{2,4}(-[a-z]+)+-\d")),
        track_api=take("track_api", "http or rest", _one_of("http", "rest")),
        domain=take("domain", "a host name such as events.example.com", matching(DOMAIN)),
        certificate_arn=take(
            "certificate_arn", "the ARN of a certificate in ACM", matching(r"arn:\S+:certificate/\S+")
        ),
        alarms_email=alarms.take("email", "an e-mail address", matching(r"[^@\s]+@[^@\s]+\.[^@\s]+")),
    )
    if "alarms" in section.raw and not settings.alarms_email:
        problems.append('aws.alarms: needs an e-mail address, such as {"email": "ops@example.com"}')
    if bool(settings.domain) != bool(settings.certificate_arn):
        problems.append("aws.domain: needs both domain and certificate_arn")
    if bool(settings.subnet_ids) != bool(settings.security_group_ids):
        problems.append("aws.vpc: needs both subnet_ids and security_group_ids")
    if settings.snap_start and settings.runtime not in SNAP_START_RUNTIMES:
        oldest = SNAP_START_RUNTIMES[0]
        problems.append(f"aws.snap_start: needs a runtime of {oldest} or later, not {settings.runtime}")
    return settings


def _function(section: Section, default: FunctionSettings, most_s: int = MAX_TIMEOUT_S) -> FunctionSettings:
    def take(key: str, wanted: str, low: int, high: int) -> Any:
        return section.take(key, wanted, whole(low, high), getattr(default, key))

    why = "API Gateway times out after 29" if most_s == MAX_TIMEOUT_S else "the most that Lambda allows"
    timeout = f"whole seconds from 1 to {most_s} ({why})"
    return FunctionSettings(
        take("memory_mb", "a whole number from 128 to 10240", 128, 10240),
        take("timeout_s", timeout, 1, most_s),
        take("reserved_concurrency", "a whole number from 0", 0, 100_000),
    )


def _throttle(parent: Section, key: str, default: Throttle) -> Throttle:
    raw = parent.take(key, "an object with rate and burst", json_object, {})
    section = Section(raw, {"rate", "burst"}, f"aws.{key}.", parent.problems)
    return Throttle(
        section.take("rate", "requests per second, above 0", positive, default.rate),
        section.take("burst", "a whole number from 1", whole(1, 100_000), default.burst),
    )


def _name(value: object) -> str | None:
    # "shop-delete" and "shop" would both own a function gimel-shop-delete-experiment.
    fits = isinstance(value, str) and re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", value) and len(value) <= 24
    return value if isinstance(value, str) and fits and value.rsplit("-")[-1] != "delete" else None


def _one_of(*values: object) -> Callable[[object], Any]:
    return lambda value: value if value in values and not isinstance(value, bool) else None


def _tags(value: object) -> dict[str, str] | None:
    if not isinstance(value, dict) or len(value) > MAX_TAGS:
        return None
    fits = all(
        isinstance(text, str)
        and 0 < len(key) <= 128
        and len(text) <= 256
        and all(sign.isalnum() or sign in TAG_SIGNS + " " for sign in key + text)
        for key, text in value.items()
    )
    # IAM ignores case in keys.
    keys = {key.lower() for key in value}
    return value if fits and len(keys) == len(value) and not any(key.startswith("aws:") for key in keys) else None
