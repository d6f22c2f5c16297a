"""What a page sends: read and validated, and refused with every reason at once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from .errors import BadRequest

DEFAULT_NAMESPACE = "alephbet"
PARTICIPATE = "participate"
"""The event sent when a visitor enters the experiment: a variant's trials."""

MAX_NAME_LENGTH = 200
MAX_EVENTS = 500

REASONS = ("namespace", "experiment", "variant", "goal", "limit", "stopped", "bot", "prefetch", "origin")
"""Why an event may be ignored: not in an allowlist, beyond a limit, of a stopped experiment, or from no visitor of the
page."""

REQUIRED = ("experiment", "variant", "event", "uuid")
IN_ORDER = ("namespace", "experiment", "event", "variant", "uuid")
"""What clients call the fields of `Event`."""

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
SURROGATE = re.compile("[\ud800-\udfff]")

HINT = f"send {', '.join(REQUIRED)} as text of 1 to {MAX_NAME_LENGTH} characters, and optionally namespace"


CHANGE_HINT = (
    'send {"experiment": NAME, "version": the one that you have seen, "changes": {KEY: VALUE, or null to reset it}}'
)


class Event(NamedTuple):
    """A visitor (`uuid`) took part in one variant of an experiment, or reached one of its goals."""

    namespace: str
    experiment: str
    goal: str
    variant: str
    uuid: str

    def as_item(self) -> dict[str, str]:
        """As a client sends it; `read_event` reads it back."""
        names = {"namespace": self.namespace, "experiment": self.experiment, "variant": self.variant}
        return {**names, "event": self.goal, "uuid": self.uuid}


@dataclass(frozen=True)
class Batch:
    """The events of one request: those to count, those ignored, each with the reason, and the problems of those
    refused, by position."""

    accepted: list[Event] = field(default_factory=list)
    ignored: list[tuple[Event, str]] = field(default_factory=list)
    refused: dict[int, list[str]] = field(default_factory=dict)

    def ignoring(self, found: Collection[tuple[Event, str]]) -> Batch:
        """The same, with these accepted events ignored, each for its reason."""
        if not found:
            return self
        ignored = {event for event, _ in found}
        accepted = [event for event in self.accepted if event not in ignored]
        return Batch(accepted, [*self.ignored, *found], self.refused)


def read_batch(items: Iterable[object], ignores: Callable[[Event], str | None] = lambda event: None) -> Batch:
    """Read every item. `ignores` gives the reason why an event is ignored, or None for one to count."""
    accepted, ignored, refused = [], [], {}
    for position, item in enumerate(items):
        try:
            event = read_event(item)
        except BadRequest as error:
            refused[position] = error.problems
        else:
            reason = ignores(event)
            if reason is None:
                accepted.append(event)
            else:
                ignored.append((event, reason))
    return Batch(accepted, ignored, refused)


def read_event(item: object) -> Event:
    """The `Event` that a client sent. Raises BadRequest, which lists everything that is wrong with it."""
    if not isinstance(item, (dict, Mapping)):  # dict alone is found faster
        raise BadRequest([f"an event must be an object, not {_kind(item)}"], HINT)
    names: list[Any] = [item.get(name) for name in IN_ORDER]
    if _are_plain(names) and ":" not in names[0] and names[0] != "undefined":
        return Event(*names)
    problems: list[str] = []
    found = {field: _required(item, field, problems) for field in REQUIRED}
    namespace = _namespace(item, problems)
    if problems:
        raise BadRequest(problems, HINT)
    return Event(namespace, found["experiment"], found["event"], found["variant"], found["uuid"])


def read_namespace(params: Mapping[str, object]) -> str:
    """The requested namespace, or `alephbet`. Raises BadRequest."""
    problems: list[str] = []
    namespace = _namespace(params, problems)
    if problems:
        raise BadRequest(problems, "a namespace is text without a colon")
    return namespace


def read_experiment(params: Mapping[str, object]) -> tuple[str, str]:
    """The requested (namespace, experiment). Gimel 1.x accepted any name, so this does too. Raises BadRequest."""
    problems: list[str] = []
    experiment = _required(params, "experiment", problems, _encoding_problems)
    namespace = _namespace(params, problems)
    if problems:
        raise BadRequest(problems, "send experiment=NAME, and optionally namespace=NAME")
    return namespace, experiment


def read_change(content: Mapping[str, object]) -> tuple[str, str, int | None, dict[str, Any]]:
    """The (namespace, experiment, version that the changes are based on, changes) of a change. Raises BadRequest."""
    problems: list[str] = []
    if SURROGATE.search(json.dumps(content, ensure_ascii=False)):
        raise BadRequest(["a text is not valid UTF-8"], CHANGE_HINT)
    experiment = _required(content, "experiment", problems, _encoding_problems)
    namespace = _namespace(content, problems)
    version, changes = content.get("version"), content.get("changes")
    if version is not None and (type(version) is not int or version < 0):
        problems.append("version must be a whole number from 0")
    if not isinstance(changes, dict) or all(key.startswith("//") for key in changes):  # comments
        problems.append("changes must be an object that is not empty")
    problems += [
        f"{key} is unknown" for key in sorted(content.keys() - {"experiment", "namespace", "version", "changes"})
    ]
    if problems:
        raise BadRequest(problems, CHANGE_HINT)
    return namespace, experiment, cast("int | None", version), cast("dict[str, Any]", changes)


def read_scope(params: Mapping[str, object]) -> str | None:
    """The text of `scope`, a comma-separated list of experiments; None for all. Raises BadRequest."""
    return _optional(params, "scope", "send scope=NAME,NAME")


def read_control(params: Mapping[str, object]) -> str | None:
    """The requested control variant, if any. Raises BadRequest."""
    return _optional(params, "control", "send control=NAME")


def _optional(params: Mapping[str, object], field: str, hint: str) -> str | None:
    problems: list[str] = []
    text = _required(params, field, problems, _encoding_problems) if params.get(field) else None
    if problems:
        raise BadRequest(problems, hint)
    return text


def read_page(params: Mapping[str, object]) -> tuple[int | None, str]:
    """How many experiments a report may have, None for all; and the name that theirs follow. Raises BadRequest."""
    problems: list[str] = []
    limit = None if params.get("limit") is None else _text(params["limit"]) or ""
    if limit is not None and not re.fullmatch("0*[1-9][0-9]{0,5}", limit):
        problems.append("limit must be a whole number from 1 to 999999")
    after = _required(params, "after", problems, _encoding_problems) if params.get("after") else ""
    if problems:
        raise BadRequest(problems, "send limit=NUMBER, and then after=NAME with the name in meta.next")
    return int(limit) if limit else None, after


def name_problems(text: str) -> list[str]:
    """What is wrong with the name of an experiment, goal or variant."""
    problems = []
    if len(text) > MAX_NAME_LENGTH:
        problems.append(f"has {len(text)} characters; at most {MAX_NAME_LENGTH} are allowed")
    if CONTROL.search(text):
        problems.append("contains a control character")
    return problems + _encoding_problems(text)


def _encoding_problems(text: str) -> list[str]:
    return ["is not valid UTF-8"] if SURROGATE.search(text) else []


def _are_plain(names: list[Any]) -> bool:
    """Whether these are texts that need no closer look, each for itself: nearly all are."""
    try:
        text = "".join(names)
    except TypeError:
        return False
    return len(text) <= MAX_NAME_LENGTH and text.isprintable() and all(names)


def _required(
    item: Mapping[str, object], field: str, problems: list[str], check: Callable[[str], list[str]] = name_problems
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
    problems.extend(f"{field} {problem}" for problem in check(text))
    return text


def _namespace(item: Mapping[str, object], problems: list[str]) -> str:
    value = item.get("namespace")
    # Old builds of Alephbet send the text `undefined` if the page sets no namespace.
    if value in (None, "", "undefined"):
        return DEFAULT_NAMESPACE
    text = _text(value)
    if text is None:
        problems.append(f"namespace must be text, not {_kind(value)}")
        return DEFAULT_NAMESPACE
    problems.extend(f"namespace {problem}" for problem in name_problems(text))
    if ":" in text:
        problems.append("namespace contains a colon")
    return text


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return None


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return {bool: "true or false", list: "a list", dict: "an object"}.get(type(value), "a single value")
