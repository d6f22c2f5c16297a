"""What a deployment serves: the endpoint table, and the `extra_wiring` of config.json."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gimel.config import TRACK
from gimel.errors import ConfigError
from gimel.ops.endpoints import ENDPOINTS, by_path

from .names import SNAPSHOT
from .settings import MAX_TIMEOUT_S

SCHEDULE = "cron(0 * * * ? *)"
"""When EventBridge invokes the function that takes snapshots, in its terms: at minute 0 of every hour."""


@dataclass(frozen=True)
class Route:
    """A method of a path of the API, and the function that handles it."""

    path: str
    method: str
    function: str
    needs_key: bool


@dataclass(frozen=True)
class Function:
    """A function and its name in a deployment named `gimel`. None means the value of the `aws` section."""

    name: str
    handler: str
    memory_mb: int | None = None
    timeout_s: int | None = None


@dataclass(frozen=True)
class Wiring:
    """All functions and routes of one deployment, and the path where pages send events."""

    functions: tuple[Function, ...]
    routes: tuple[Route, ...]
    notes: tuple[str, ...] = ()
    track_path: str = TRACK


def wire(extra: Sequence[dict[str, Any]] = (), track_path: str = TRACK) -> Wiring:
    """The endpoint table, with the `track_path` of config.json, and with its `extra_wiring` in the format of Gimel 1.x.

    Raises ConfigError, which names the wrong entry.
    """
    functions = {endpoint.function: Function(endpoint.function, endpoint.handler) for endpoint in ENDPOINTS}
    functions[SNAPSHOT] = Function(SNAPSHOT, "gimel.snapshot")  # without a route: the schedule invokes it
    routes: dict[tuple[str, str], Route] = {}
    notes: list[str] = []
    for path, endpoint in by_path(track_path).items():
        for method in endpoint.methods:
            _add(routes, Route(path, method, endpoint.function, endpoint.needs_key(method)), "")
    for position, entry in enumerate(extra):
        where = f"extra_wiring[{position}]"
        function, route = _extra(entry, where, notes)
        known = functions.get(function.name)
        if known and known.handler != function.handler:
            raise ConfigError(f"{where}: {function.name} already runs {known.handler}", "use another FunctionName")
        functions.setdefault(function.name, function)
        _add(routes, route, where)
    for route in list(routes.values()):
        routes[route.path, "OPTIONS"] = Route(route.path, "OPTIONS", route.function, needs_key=False)
    ordered = sorted(routes.values(), key=lambda route: (route.path, route.method))
    return Wiring(tuple(functions.values()), tuple(ordered), tuple(notes), track_path)


def _add(routes: dict[tuple[str, str], Route], route: Route, where: str) -> None:
    others = [other for other in routes.values() if other.path == route.path]
    if any(other.function != route.function for other in others):
        hint = "use another pathPart, or another track_path"
        raise ConfigError(f"{where}: {route.path} already belongs to {others[0].function}", hint)
    if routes.get((route.path, route.method), route) != route:
        raise ConfigError(f"{where}: {route.method} {route.path} is already defined", "remove this entry")
    routes[route.path, route.method] = route


def _extra(entry: dict[str, Any], where: str, notes: list[str]) -> tuple[Function, Route]:
    try:
        name, handler = str(entry["lambda"]["FunctionName"]), str(entry["lambda"]["Handler"])
        part, method = str(entry["api_gateway"]["pathPart"]), entry["api_gateway"]["method"]
        verb, needs_key = str(method["httpMethod"]).upper(), bool(method.get("apiKeyRequired", False))
        memory, timeout = int(entry["lambda"].get("MemorySize", 128)), int(entry["lambda"].get("Timeout", 3))
    except (KeyError, TypeError, ValueError, AttributeError):
        hint = "it needs lambda.FunctionName, lambda.Handler, api_gateway.pathPart and api_gateway.method.httpMethod"
        raise ConfigError(f"{where} is incomplete or invalid", hint) from None
    methods = {endpoint.handler: endpoint.methods for endpoint in ENDPOINTS}
    if handler not in methods:
        raise ConfigError(f"{where}: unknown handler {handler}", f"use one of {', '.join(methods)}")
    if verb not in methods[handler]:
        raise ConfigError(f"{where}: {handler} does not support {verb}", f"use {' or '.join(methods[handler])}")
    if not re.fullmatch(r"[A-Za-z0-9._-]+", part):
        raise ConfigError(f"{where}: pathPart {part!r} is not a single path segment", "use letters, digits and . _ -")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise ConfigError(f"{where}: {name!r} is not a valid function name", "use at most 64 letters, digits, _ and -")
    if timeout > MAX_TIMEOUT_S:
        notes.append(f"{where}: {name} gets a timeout of {MAX_TIMEOUT_S} s, as API Gateway does not wait {timeout} s")
    return Function(name, handler, memory, min(timeout, MAX_TIMEOUT_S)), Route(f"/{part}", verb, name, needs_key)
