"""The endpoints: one table, read by the local server and by deploy; and the policy of the functions behind it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import gimel
from gimel.errors import ConfigError
from gimel.gateway import Entry

from .settings import MAX_TIMEOUT_S


@dataclass(frozen=True)
class Endpoint:
    """One Lambda function and the path at which a gateway offers it."""

    function: str
    handler: str
    path: str
    needs_key: bool

    @property
    def entry(self) -> Entry:
        """The Lambda entry point that `handler` names."""
        return cast(Entry, getattr(cast(Any, gimel), self.handler.removeprefix("gimel.")))

    @property
    def methods(self) -> tuple[str, ...]:
        """The HTTP methods it answers, besides OPTIONS."""
        return self.entry.methods


ENDPOINTS = (
    Endpoint("gimel-track", "gimel.track", "/track", needs_key=False),
    Endpoint("gimel-experiment", "gimel.experiment", "/experiment", needs_key=True),
    Endpoint("gimel-all-experiments", "gimel.all", "/experiments", needs_key=True),
    Endpoint("gimel-delete-experiment", "gimel.delete", "/delete", needs_key=True),
)


@dataclass(frozen=True)
class Route:
    """A method of a path of the API, and the function that answers it."""

    path: str
    method: str
    function: str
    needs_key: bool


@dataclass(frozen=True)
class Function:
    """A function under the name it has in a deployment named `gimel`. None: as the `aws` section says."""

    name: str
    handler: str
    memory_mb: int | None = None
    timeout_s: int | None = None


@dataclass(frozen=True)
class Wiring:
    """Everything that one deployment offers."""

    functions: tuple[Function, ...]
    routes: tuple[Route, ...]
    notes: tuple[str, ...] = field(default=())


def wire(extra: Sequence[dict[str, Any]] = ()) -> Wiring:
    """The table above, with the `extra_wiring` of Gimel 1.x's configuration files.

    Raises ConfigError, naming the entry that is wrong.
    """
    functions = {endpoint.function: Function(endpoint.function, endpoint.handler) for endpoint in ENDPOINTS}
    routes: dict[tuple[str, str], Route] = {}
    notes: list[str] = []
    for endpoint in ENDPOINTS:
        for method in endpoint.methods:
            _add(routes, Route(endpoint.path, method, endpoint.function, endpoint.needs_key), "")
    for position, entry in enumerate(extra):
        where = f"extra_wiring[{position}]"
        function, route = _extra(entry, where, notes)
        known = functions.get(function.name)
        if known and known.handler != function.handler:
            raise ConfigError(f"{where}: {function.name} runs {known.handler}", "give the function another name")
        functions.setdefault(function.name, function)
        _add(routes, route, where)
    for route in list(routes.values()):
        routes[route.path, "OPTIONS"] = Route(route.path, "OPTIONS", route.function, needs_key=False)
    ordered = sorted(routes.values(), key=lambda route: (route.path, route.method))
    return Wiring(tuple(functions.values()), tuple(ordered), tuple(notes))


def _add(routes: dict[tuple[str, str], Route], route: Route, where: str) -> None:
    others = [other for other in routes.values() if other.path == route.path]
    if any(other.function != route.function for other in others):
        raise ConfigError(f"{where}: {route.path} is taken by {others[0].function}", "give it another pathPart")
    if routes.get((route.path, route.method), route) != route:
        raise ConfigError(f"{where}: {route.method} {route.path} is there already", "leave this entry out")
    routes[route.path, route.method] = route


def _extra(entry: dict[str, Any], where: str, notes: list[str]) -> tuple[Function, Route]:
    try:
        name, handler = str(entry["lambda"]["FunctionName"]), str(entry["lambda"]["Handler"])
        part, method = str(entry["api_gateway"]["pathPart"]), entry["api_gateway"]["method"]
        verb, needs_key = str(method["httpMethod"]).upper(), bool(method.get("apiKeyRequired", False))
        memory, timeout = int(entry["lambda"].get("MemorySize", 128)), int(entry["lambda"].get("Timeout", 3))
    except (KeyError, TypeError, ValueError, AttributeError):
        hint = "it needs lambda.FunctionName, lambda.Handler, api_gateway.pathPart and api_gateway.method.httpMethod"
        raise ConfigError(f"{where} is not right", hint) from None
    answered = {endpoint.handler: endpoint.methods for endpoint in ENDPOINTS}
    if handler not in answered:
        raise ConfigError(f"{where}: there is no handler {handler}", f"use one of {', '.join(answered)}")
    if verb not in answered[handler]:
        raise ConfigError(f"{where}: {handler} does not answer {verb}", f"use {' or '.join(answered[handler])}")
    if not re.fullmatch(r"[A-Za-z0-9._-]+", part):
        raise ConfigError(f"{where}: pathPart {part!r} is no single part of a path", "use letters, digits and . _ -")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise ConfigError(f"{where}: {name!r} is no function's name", "use at most 64 letters, digits, _ and -")
    if timeout > MAX_TIMEOUT_S:
        notes.append(f"{where}: {timeout} s is longer than API Gateway waits, so {name} gets {MAX_TIMEOUT_S} s")
    return Function(name, handler, memory, min(timeout, MAX_TIMEOUT_S)), Route(f"/{part}", verb, name, needs_key)


TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}],
}

# Those of AWS' own policy AWSLambdaVPCAccessExecutionRole, version 3.
NETWORK_ACTIONS = [
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
]


def role_policy(
    log_groups: Iterable[str],
    parameter: str | None = None,
    secret: str | None = None,
    key: str | None = None,
    in_vpc: Sequence[str] = (),
) -> dict[str, Any]:
    """What the functions may do: write their own logs; read one parameter or secret; with `in_vpc` (function ARNs),
    have network interfaces. All arguments are ARNs.
    """
    logs = [f"{group}:*" for group in log_groups]
    statements: list[dict[str, Any]] = [_allow(["logs:CreateLogStream", "logs:PutLogEvents"], logs)]
    if parameter:
        statements.append(_allow(["ssm:GetParameter"], [parameter]))
    if secret:
        statements.append(_allow(["secretsmanager:GetSecretValue"], [secret]))
    if key:
        statements.append(_allow(["kms:Decrypt"], [key]))
    if in_vpc:
        # Lambda itself needs these, and EC2 takes no narrower resource; the code of the functions is denied them.
        statements.append(_allow(NETWORK_ACTIONS, ["*"]))
        own = {"ArnLike": {"lambda:SourceFunctionArn": list(in_vpc)}}
        statements.append({"Effect": "Deny", "Action": NETWORK_ACTIONS, "Resource": ["*"], "Condition": own})
    return {"Version": "2012-10-17", "Statement": statements}


def _allow(actions: list[str], resources: list[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def as_text(document: object) -> str:
    """A policy or other document as JSON, always the same."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))
