"""The `aws` section of config.json: how the functions and the API are to be. Only the laptop reads it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gimel import config
from gimel.validation import Section, flag, json_object, list_of, positive, text, whole

RUNTIMES = ("python3.10", "python3.11", "python3.12", "python3.13", "python3.14")
SNAP_START_RUNTIMES = RUNTIMES[2:]
MAX_TIMEOUT_S = 28
"""API Gateway gives up after 29 seconds, so no function may take as long."""

MOST_TAGS = 49
"""Of those that a thing may have, one is Gimel's own."""

TAG_SIGNS = "_.:/=+-@"
"""What AWS' services all take in tags, besides letters, digits and spaces."""

RETENTIONS_DAYS = (
    1,
    3,
    5,
    7,
    14,
    30,
    60,
    90,
    120,
    150,
    180,
    365,
    400,
    545,
    731,
    1096,
    1827,
    2192,
    2557,
    2922,
    3288,
    3653,
)


def default_runtime() -> str:
    """Lambda's runtime of this Python's minor version, else the newest one there is."""
    local = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return local if local in RUNTIMES else RUNTIMES[-1]


@dataclass(frozen=True)
class FunctionSettings:
    """Of one function, or of all: memory (MB), longest run (seconds), and concurrency kept for it alone."""

    memory_mb: int = 256
    timeout_s: int = 10
    reserved_concurrency: int | None = None


@dataclass(frozen=True)
class Throttle:
    """Requests per second, and how many may come at once."""

    rate: float
    burst: int


@dataclass(frozen=True)
class AwsSettings:
    """A checked `aws` section."""

    name: str = "gimel"
    runtime: str = field(default_factory=default_runtime)
    architecture: str = "arm64"
    common: FunctionSettings = FunctionSettings()
    functions: dict[str, FunctionSettings] = field(default_factory=dict)
    subnet_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()
    snap_start: bool = False
    throttle: Throttle = Throttle(500, 1000)
    key_throttle: Throttle = Throttle(20, 40)
    log_retention_days: int = 30
    access_log: bool = True
    kms_key_arn: str | None = None
    tags: dict[str, str] = field(default_factory=dict)

    def function(self, name: str) -> FunctionSettings:
        """The settings of the function that has this name in a deployment named `gimel`."""
        return self.functions.get(name, self.common)


KEYS = {
    "name",
    "runtime",
    "architecture",
    "memory_mb",
    "timeout_s",
    "reserved_concurrency",
    "functions",
    "vpc",
    "snap_start",
    "throttle",
    "key_throttle",
    "log_retention_days",
    "access_log",
    "kms_key_arn",
    "tags",
}


def load(path: Path | None = None) -> tuple[config.Config, AwsSettings, dict[str, Any]]:
    """The checked configuration, its checked `aws` section, and the file as it is.

    Raises ConfigError, naming everything that is wrong.
    """
    file = config.read(path)
    problems: list[str] = []
    settings = read(json_object(file.content.get("aws")) or {}, problems)
    return config.check(file, problems=problems), settings, dict(file.content)


def read(raw: dict[str, Any], problems: list[str]) -> AwsSettings:
    """An `aws` section. What is wrong with it is added to `problems`, and left out."""
    section = Section(raw, KEYS, "aws.", problems)
    take, wrong = section.take, section.problems
    common = _function(section, FunctionSettings())
    functions: dict[str, FunctionSettings] = {}
    for name, own in take("functions", "an object of functions, such as gimel-track", json_object, {}).items():
        if not isinstance(own, dict):
            wrong.append(f'aws.functions.{name}: must be an object such as {{"memory_mb": 512}}')
        else:
            known = {"memory_mb", "timeout_s", "reserved_concurrency"}
            functions[name] = _function(Section(own, known, f"aws.functions.{name}.", wrong), common)
    vpc = Section(take("vpc", "an object", json_object, {}), {"subnet_ids", "security_group_ids"}, "aws.vpc.", wrong)
    default = AwsSettings()
    settings = AwsSettings(
        name=take(
            "name", "lowercase letters, digits and hyphens, at most 24, not ending in delete", _name, default.name
        ),
        runtime=take("runtime", f"one of {', '.join(RUNTIMES)}", _one_of(*RUNTIMES), default.runtime),
        architecture=take("architecture", "arm64 or x86_64", _one_of("arm64", "x86_64"), default.architecture),
        common=common,
        functions=functions,
        subnet_ids=vpc.take("subnet_ids", 'a list such as ["subnet-…"]', _texts, ()),
        security_group_ids=vpc.take("security_group_ids", 'a list such as ["sg-…"]', _texts, ()),
        snap_start=take("snap_start", "true or false", flag, default.snap_start),
        throttle=_throttle(section, "throttle", default.throttle),
        key_throttle=_throttle(section, "key_throttle", default.key_throttle),
        log_retention_days=take(
            "log_retention_days",
            f"one of {', '.join(map(str, RETENTIONS_DAYS))}",
            _one_of(*RETENTIONS_DAYS),
            default.log_retention_days,
        ),
        access_log=take("access_log", "true or false", flag, default.access_log),
        kms_key_arn=take("kms_key_arn", "the ARN of a key", text),
        tags=take(
            "tags",
            f"an object of at most {MOST_TAGS} texts, of letters, digits, spaces and {TAG_SIGNS}, with keys of 1 to "
            "128 and values of up to 256 characters; no key begins with aws: or differs from another only in case",
            _tags,
            {},
        ),
    )
    if bool(settings.subnet_ids) != bool(settings.security_group_ids):
        wrong.append("aws.vpc: needs both subnet_ids and security_group_ids")
    if settings.snap_start and settings.runtime not in SNAP_START_RUNTIMES:
        wrong.append(f"aws.snap_start: needs a runtime of {SNAP_START_RUNTIMES[0]} or later, not {settings.runtime}")
    return settings


def _function(section: Section, default: FunctionSettings) -> FunctionSettings:
    timeout = f"whole seconds from 1 to {MAX_TIMEOUT_S} (API Gateway gives up after 29)"
    return replace(
        default,
        memory_mb=section.take("memory_mb", "a whole number from 128 to 10240", whole(128, 10240), default.memory_mb),
        timeout_s=section.take("timeout_s", timeout, whole(1, MAX_TIMEOUT_S), default.timeout_s),
        reserved_concurrency=section.take(
            "reserved_concurrency", "a whole number from 0", whole(0, 100_000), default.reserved_concurrency
        ),
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


def _texts(value: object) -> tuple[str, ...] | None:
    texts = list_of(str)(value)
    return None if texts is None else tuple(texts)


def _tags(value: object) -> dict[str, str] | None:
    if not isinstance(value, dict) or len(value) > MOST_TAGS:
        return None
    fits = all(
        isinstance(text, str)
        and 0 < len(key) <= 128
        and len(text) <= 256
        and all(sign.isalnum() or sign in TAG_SIGNS + " " for sign in key + text)
        for key, text in value.items()
    )
    # IAM does not tell keys apart by case.
    keys = {key.lower() for key in value}
    return value if fits and len(keys) == len(value) and not any(key.startswith("aws:") for key in keys) else None
