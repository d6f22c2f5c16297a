"""What to enter where a deployment is made by hand: in the console, with Terraform or with SAM. Asks nothing of AWS."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gimel import access, passwords
from gimel.config import Config

from . import desired, redis_address, settings
from .desired import (
    ADDRESS,
    BINARY_TYPES,
    NOTIFY_SECRET,
    NOTIFY_URL,
    PASSWORD,
    SECRET_VARIABLES,
    TRACK_URL,
    Desired,
    DesiredFunction,
)
from .names import SNAPSHOT, Account
from .wiring import SCHEDULE

OPTIONAL_VARIABLES = {
    "GIMEL_QUEUE_URL": "optional: URL of an SQS queue, for durable tracking",
    "GIMEL_DEAD_LETTERS_URL": "optional: URL of the SQS queue of its dead letters",
    access.VARIABLE: "optional: SHA-256 of a read and a write key, see docs/deploying.md; without, any key can delete",
}

WEBHOOK = {
    name: f"{key} of config.json, or ${name}"
    for name, key in ((NOTIFY_URL, "notify.url"), (NOTIFY_SECRET, "notify.secret"))
}


def build(path: Path | None) -> tuple[Desired, dict[str, Any]]:
    """The desired state of a config.json, and what to enter, as plain data. Raises ConfigError and BundleError.

    ARNs have the placeholders ACCOUNT and REGION, unless the configuration names them.
    """
    config, found, content = settings.load(path)
    region = found.region or "REGION"
    account = Account(found.account or "ACCOUNT", region, "aws", f"https://sqs.{region}.amazonaws.com")
    wanted = desired.build(config, found, content, account)
    origins = {PASSWORD: _origin_of_password(config), **WEBHOOK}
    names = {function.name: wanted.names.function(function.name) for function in wanted.wiring.functions}
    return wanted, {
        "sha256": wanted.bundle.sha256,
        "sources": wanted.bundle.digest,
        "compiled": wanted.bundle.compiled,
        "runtime": found.runtime,
        "architecture": found.architecture,
        "role": {
            "managed_policy": f"AWSLambda{'VPCAccess' if found.subnet_ids else 'Basic'}ExecutionRole",
            "allow": desired.readable({redis_address.password(config.redis) or ""}, found.kms_key_arn, account),
        },
        "functions": [_function(function, origins) for function in wanted.functions],
        "schedule": {"expression": SCHEDULE, "function": names[SNAPSHOT]},
        "binary_media_types": list(BINARY_TYPES),
        "stage_variables": {TRACK_URL: f"the URL that pages send events to, ending in {config.track_path}"},
        "routes": [
            {
                "method": route.method,
                "path": route.path,
                "function": names[route.function],
                "needs_key": route.needs_key,
            }
            for route in wanted.wiring.routes
        ],
    }


def _function(function: DesiredFunction, origins: Mapping[str, str]) -> dict[str, Any]:
    configuration = function.configuration
    variables: Mapping[str, str] = configuration["Environment"]["Variables"]
    to_enter = {name: hint for name, hint in OPTIONAL_VARIABLES.items() if name in variables}
    to_enter |= {
        name: origins[name]
        for name in sorted(variables.keys() & SECRET_VARIABLES - to_enter.keys())
        if not passwords.is_reference(variables[name])
    }
    return {
        "name": function.name,
        "handler": configuration["Handler"],
        "memory_mb": configuration["MemorySize"],
        "timeout_s": configuration["Timeout"],
        # No function reads ADDRESS: it is for rollbacks.
        "variables": {name: value for name, value in variables.items() if name not in {*to_enter, ADDRESS}},
        "variables_to_enter": to_enter,
    }


def _origin_of_password(config: Config) -> str:
    """Where the password is, which is not repeated here."""
    if os.environ.get("GIMEL_REDIS_URL"):
        return "the password in $GIMEL_REDIS_URL"
    if os.environ.get("GIMEL_REDIS_PASSWORD"):
        return "the value of $GIMEL_REDIS_PASSWORD"
    file = config.path.name if config.path else "config.json"
    return f"the password in redis.url of {file}" if config.redis.url else f"redis.password of {file}"
