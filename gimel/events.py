"""One thing that a visitor did, as sent by a page: read, checked, and refused with every reason at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from .errors import BadRequest

DEFAULT_NAMESPACE = "alephbet"
PARTICIPATE = "participate"
"""The event of a visitor who enters the experiment: a variant's trials."""

MAX_NAME_LENGTH = 200
MAX_EVENTS = 500

REQUIRED = ("experiment", "variant", "event", "uuid")
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
SURROGATE = re.compile("[\ud800-\udfff]")

HINT = f"send {', '.join(REQUIRED)} as text of 1 to {MAX_NAME_LENGTH} characters, and optionally namespace"


@dataclass(frozen=True)
class Event:
    """A visitor (`uuid`) took part in an experiment, or reached one of its goals, in one variant."""

    namespace: str
    experiment: str
    goal: str
    variant: str
    uuid: str


@dataclass(frozen=True)
class Batch:
    """The events of one request: those to count, those not on this deployment's list, and those refused."""

    accepted: list[Event] = field(default_factory=list)
    ignored: int = 0
    refused: dict[int, list[str]] = field(default_factory=dict)


def read_batch(items: Iterable[object], allowed: frozenset[str] | None = None) -> Batch:
    """Read every item; `allowed` names the experiments that are counted, None meaning all of them."""
    accepted, ignored, refused = [], 0, {}
    for position, item in enumerate(items):
        try:
            event = read_event(item)
        except BadRequest as error:
            refused[position] = error.problems
        else:
            if allowed is None or event.experiment in allowed:
                accepted.append(event)
            else:
                ignored += 1
    return Batch(accepted, ignored, refused)


def read_event(item: object) -> Event:
    """Turn what a client sent into an `Event`.

    Raises BadRequest naming everything that is wrong with it.
    """
    if isinstance(item, BadRequest):
        raise item
    if not isinstance(item, Mapping):
        raise BadRequest([f"an event is an object, not {_kind(item)}"], HINT)
    problems: list[str] = []
    names = {field: _required(item, field, problems) for field in REQUIRED}
    namespace = _namespace(item, problems)
    if problems:
        raise BadRequest(problems, HINT)
    return Event(namespace, names["experiment"], names["event"], names["variant"], names["uuid"])


def read_namespace(params: Mapping[str, object]) -> str:
    """The namespace asked for, or `alephbet`. Raises BadRequest."""
    problems: list[str] = []
    namespace = _namespace(params, problems)
    if problems:
        raise BadRequest(problems, "a namespace is text without a colon")
    return namespace


def read_experiment(params: Mapping[str, object]) -> tuple[str, str]:
    """The (namespace, experiment) asked for, which an older Gimel may have named in any way. Raises BadRequest."""
    problems: list[str] = []
    experiment = _required(params, "experiment", problems, _unreadable)
    namespace = _namespace(params, problems)
    if problems:
        raise BadRequest(problems, "send experiment=NAME, and optionally namespace=NAME")
    return namespace, experiment


def read_scope(params: Mapping[str, object]) -> str | None:
    """The text of `scope`, a comma-separated list of experiments; None for all. Raises BadRequest."""
    problems: list[str] = []
    scope = _required(params, "scope", problems, _unreadable) if params.get("scope") else None
    if problems:
        raise BadRequest(problems, "send scope=NAME,NAME")
    return scope


def _required(
    item: Mapping[str, object],
    field: str,
    problems: list[str],
    find_faults: Callable[[str], list[str]] | None = None,
) -> str:
    value = item.get(field)
    if value is None:
        problems.append(f"{field} is missing")
        return ""
    text = _text(value)
    if text is None:
        problems.append(f"{field} must be text, not {_kind(value)}")
        return ""
    if not text:
        problems.append(f"{field} is empty")
    problems.extend(f"{field} {problem}" for problem in (find_faults or _faults)(text))
    return text


def _namespace(item: Mapping[str, object], problems: list[str]) -> str:
    value = item.get("namespace")
    # Old builds of Alephbet send the text `undefined` when the page gives no namespace.
    if value in (None, "", "undefined"):
        return DEFAULT_NAMESPACE
    text = _text(value)
    if text is None:
        problems.append(f"namespace must be text, not {_kind(value)}")
        return DEFAULT_NAMESPACE
    problems.extend(f"namespace {problem}" for problem in _faults(text))
    if ":" in text:
        problems.append("namespace contains a colon")
    return text


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return None


def _faults(text: str) -> list[str]:
    faults = []
    if len(text) > MAX_NAME_LENGTH:
        faults.append(f"has {len(text)} characters, more than {MAX_NAME_LENGTH}")
    if CONTROL.search(text):
        faults.append("contains a control character")
    return faults + _unreadable(text)


def _unreadable(text: str) -> list[str]:
    return ["is not valid UTF-8"] if SURROGATE.search(text) else []


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return {bool: "true or false", list: "a list", dict: "an object"}.get(type(value), "a single value")
