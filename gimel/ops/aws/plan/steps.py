"""Steps as data: one AWS call each. A `Ref` stands for a value that an earlier step's response provides."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gimel.errors import GimelError
from gimel.ops.aws.desired import SECRET_VARIABLES, Secret

MISSING = (
    *("ResourceNotFoundException", "NotFoundException", "NoSuchEntity", "NoSuchEntityException"),
    *("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "NotFound", "ResourceNotFound"),
)


@dataclass(frozen=True)
class Ref:
    """A value that is known only when an earlier step has run, such as an id. It replaces `{}` in `template`."""

    name: str
    template: str = "{}"

    def fill(self, value: str) -> str:
        """The template with this value."""
        return self.template.replace("{}", value)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One AWS call, and what it does in words.

    `outputs` maps names of `Ref`s to keys of the response, or paths such as `Role.RoleId`. `waiter` is botocore's name
    of what to wait for afterwards. `tolerates` lists the errors that mean that it was done already.
    """

    description: str
    service: str
    call: str
    params: Mapping[str, Any]
    outputs: Mapping[str, str] = field(default_factory=dict)
    waiter: str = ""
    waiter_params: Mapping[str, Any] = field(default_factory=dict)
    tolerates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """What several steps are about, such as one function: a service, and the parameters that name the thing."""

    service: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def step(self, call: str, description: str, params: Mapping[str, Any] | None = None, **options: Any) -> Step:
        """A call about it, with more parameters and the options of `Step`. A waiter waits for the same thing."""
        if "waiter" in options:
            options["waiter_params"] = self.params
        merged = {**self.params, **(params or {})}
        return Step(description=description, service=self.service, call=call, params=merged, **options)

    def remove(self, call: str, description: str, params: Mapping[str, Any] | None = None) -> Step:
        """A call that deletes it, or part of it, and succeeds if that is gone already."""
        return self.step(call, description, params, tolerates=MISSING)

    def patch(self, call: str, title: str, patches: Sequence[Mapping[str, Any]]) -> Iterator[Step]:
        """A call with these patch operations, described after the title; none if there is nothing to patch."""
        if patches:
            yield self.step(call, f"{title}: {_summary(patches)}", {"patchOperations": patches})


@dataclass(frozen=True)
class Plan:
    """Steps in order, the values of `Ref`s known before the first step, and notes for the reader."""

    steps: tuple[Step, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


Perform = Callable[[int, Step, Mapping[str, Any]], Mapping[str, Any]]
"""Makes (or only records) the call of step n with these parameters, and returns the response."""


def execute(plan: Plan, perform: Perform) -> dict[str, str]:
    """Perform each step in turn, and return the values of all `Ref`s. A dry run is this loop with another `perform`."""
    values = dict(plan.values)
    for number, step in enumerate(plan.steps, 1):
        response = perform(number, step, resolve(step.params, values))
        for name, key in step.outputs.items():
            values[name] = _at(response, key) or f"(known after step {number})"
    return values


def _at(response: Any, path: str) -> str:
    for key in path.split("."):
        response = response.get(key, {})
    return str(response or "")


def resolve(value: Any, values: Mapping[str, str]) -> Any:
    """The value with every `Ref` replaced. Raises GimelError if one is not known yet."""
    if isinstance(value, Ref):
        if value.name not in values:
            raise GimelError(f"the plan uses {value.name} too early", "this is a bug in Gimel; please report it")
        return value.fill(values[value.name])
    if isinstance(value, Mapping):
        return {key: resolve(item, values) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolve(item, values) for item in value]
    return value


def dry_run(plan: Plan) -> list[dict[str, Any]]:
    """Every step in words and as a call, without calling AWS. Secrets are masked."""
    rows: list[dict[str, Any]] = []

    def record(number: int, step: Step, params: Mapping[str, Any]) -> Mapping[str, Any]:
        call = {"service": step.service, "call": step.call, "params": _masked(params)}
        rows.append({"step": number, "description": step.description, **call})
        return {}

    execute(plan, record)
    return rows


def _masked(value: Any, key: str = "") -> Any:
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    if key in SECRET_VARIABLES or isinstance(value, Secret):
        return "***"
    if isinstance(value, Mapping):
        return {name: _masked(item, name) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(item) for item in value]
    return value


def as_json(plan: Plan, title: str = "") -> str:
    """The plan as JSON."""
    content = {"title": title, "steps": dry_run(plan), "notes": list(plan.notes)}
    return json.dumps(content, indent=2, ensure_ascii=False)


def patch(op: str, path: str, value: Any = None) -> dict[str, Any]:
    """One of API Gateway's patch operations, which take numbers as text."""
    text = f"{value:.15g}" if isinstance(value, (int, float)) else value
    return {"op": op, "path": path, **({} if value is None else {"value": text})}


def replace(*values: tuple[str, Any, Any]) -> list[dict[str, Any]]:
    """The patch operations for those paths whose existing value (the second) is not the desired one (the third)."""
    return [patch("replace", path, desired) for path, existing, desired in values if existing != desired]


def _summary(patches: Sequence[Mapping[str, Any]]) -> str:
    texts = []
    for one in patches:
        text = str(one["path"]).replace("~1", "/").strip("/").removeprefix("*/*/")
        text = f"remove {text}" if one["op"] == "remove" else text
        texts.append(f"{text} {one['value']}" if text.endswith("Limit") else text)
    return ", ".join(texts)
