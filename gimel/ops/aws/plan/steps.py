"""Steps: one AWS call each, as data. What only AWS can tell (an id, a version) is named, and filled in on the way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gimel.errors import GimelError
from gimel.ops.aws.desired import SECRET_VARIABLES

MISSING = ("ResourceNotFoundException", "NotFoundException", "NoSuchEntity", "NoSuchEntityException")


@dataclass(frozen=True)
class Late:
    """A text with `${names}` of what is known only when its turn comes."""

    text: str


@dataclass(frozen=True)
class Step:
    """One call: what it does in words, and the call itself.

    `learns` maps names to where they stand in the answer; `waiter` is botocore's name of what to wait for afterwards,
    with its parameters; `tolerates` are the errors that mean it was done already.
    """

    does: str
    service: str
    call: str
    params: Mapping[str, Any]
    learns: Mapping[str, str] = field(default_factory=dict)
    waiter: str = ""
    waiter_params: Mapping[str, Any] = field(default_factory=dict)
    tolerates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Steps in order, what is known before the first, and what a person should know."""

    steps: tuple[Step, ...] = ()
    known: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


Perform = Callable[[int, Step, Mapping[str, Any]], Mapping[str, Any]]
"""Does (or pretends to do) the n-th step with these parameters, and gives the answer."""


def execute(plan: Plan, perform: Perform) -> dict[str, str]:
    """Take each step in turn, and give all that was learned. A dry run is this loop with another `perform`."""
    known = dict(plan.known)
    for number, step in enumerate(plan.steps, 1):
        answer = perform(number, step, resolve(step.params, known))
        for name, key in step.learns.items():
            known[name] = str(answer.get(key, f"(known after step {number})"))
    return known


def resolve(value: Any, known: Mapping[str, str]) -> Any:
    """The value with every `Late` text filled in. Raises GimelError where a name is not known yet."""
    if isinstance(value, Late):
        return re.sub(r"\$\{([^}]+)\}", lambda found: _known(found[1], known), value.text)
    if isinstance(value, Mapping):
        return {key: resolve(item, known) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolve(item, known) for item in value]
    return value


def _known(name: str, known: Mapping[str, str]) -> str:
    if name not in known:
        raise GimelError(f"the plan uses {name} before it is known", "this is a defect of Gimel; please report it")
    return known[name]


def rehearse(plan: Plan) -> list[dict[str, Any]]:
    """A dry run: every step in words and as a call, fit for people and for JSON. Secrets are masked."""
    told: list[dict[str, Any]] = []

    def perform(number: int, step: Step, params: Mapping[str, Any]) -> Mapping[str, Any]:
        call = {"service": step.service, "call": step.call, "params": _shown(params)}
        told.append({"step": number, "does": step.does, **call})
        return {}

    execute(plan, perform)
    return told


def _shown(value: Any, key: str = "") -> Any:
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    if key in SECRET_VARIABLES:
        return "***"
    if isinstance(value, Mapping):
        return {name: _shown(item, name) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(item) for item in value]
    return value


def as_json(plan: Plan) -> str:
    """The plan for programs."""
    return json.dumps({"steps": rehearse(plan), "notes": list(plan.notes)}, indent=2, ensure_ascii=False)
