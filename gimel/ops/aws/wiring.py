"""The endpoints: one table, read by the local server and by deploy; and the policy of the functions behind it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gimel.errors import ConfigError
from gimel.ops.endpoints import ENDPOINTS

from .settings import MAX_TIMEOUT_S


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
