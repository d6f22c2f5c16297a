"""Steps for the API keys, of two kinds, and their usage plan. Functions know the hashes of those that they accept."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace as with_changes
from datetime import datetime, timezone
from typing import Any

from gimel import access
from gimel.access import READ, WRITE
from gimel.ops.aws.desired import Desired, DesiredFunction, Secret
from gimel.ops.aws.existing import Existing, Key
from gimel.ops.aws.names import STAGE, Names, marker

from .gateway import API, GATEWAY
from .steps import Ref, Step, Target, patch, replace

KEYS = {WRITE: Ref("API key"), READ: Ref("read API key")}
USAGE_PLAN = Ref("usage plan")
VALUE_BYTES = 20
"""API Gateway takes 20 to 128 letters and digits."""


def values(existing: Existing) -> dict[str, str]:
    """The ids that are known already."""
    found = {ref.name: existing.key(kind) for kind, ref in KEYS.items()} | {USAGE_PLAN.name: existing.usage_plan}
    return {name: thing.id for name, thing in found.items() if thing}


def new_values(existing: Existing) -> dict[str, Secret]:
    """Values for the keys that do not exist, by their kind. Chosen here, so that functions can know their hashes."""
    return {kind: Secret(secrets.token_hex(VALUE_BYTES)) for kind in KEYS if not existing.key(kind)}


def replaced(existing: Existing, kind: str, until: int) -> Existing:
    """The state in which the key of this kind is valid only until that second since 1970: a deploy makes a new one."""
    old = existing.key(kind)
    if old is None:
        return existing
    left = with_changes(old, known=with_changes(old.known, until=until), is_expired=until <= time.time())
    return with_changes(existing, keys=tuple(left if key is old else key for key in existing.keys))


def with_keys(desired: Desired, existing: Existing, new: Mapping[str, str]) -> Desired:
    """The desired state with what its functions have to know of these keys."""
    text = as_text(existing, new)
    return with_changes(desired, functions=tuple(with_text(function, text) for function in desired.functions))


def as_text(existing: Existing, new: Mapping[str, str]) -> str:
    """What functions have to know of the keys that exist and of new ones, as they have it in their environment."""
    keys = [key.known for key in existing.keys if not key.is_expired]
    keys += [*existing.other_keys.values(), *(access.Key.of(kind, value) for kind, value in new.items())]
    ordered = sorted(keys, key=lambda key: (key.kind, key.until or 0, key.sha256))
    return json.dumps([key.as_dict() for key in ordered])


def with_text(function: DesiredFunction, text: str) -> DesiredFunction:
    """The function with these keys, if it checks any."""
    variables = function.configuration["Environment"]["Variables"]
    if access.VARIABLE not in variables:
        return function
    environment = {"Variables": {**variables, access.VARIABLE: text}}
    return with_changes(function, configuration={**function.configuration, "Environment": environment})


def keys(desired: Desired, existing: Existing, new: Mapping[str, Secret]) -> Iterator[Step]:
    """The keys. Before the functions, so that a deploy that is resumed makes no others."""
    names, text = desired.names, marker(desired.settings.name)
    for key in existing.keys:
        name, own, until = names.keys[key.known.kind], text, key.known.until
        title = f"update API key {name}"
        if until is not None:
            title, own = f"let API key {name} expire at {at(until)}", f"{text}, until {at(until)}"
        enabled = "true" if key.enabled or key.is_expired else "false"
        # That of one that ends at once, too: whoever resumes this deploy must not take it for the valid one.
        patches = replace(("/description", key.description, own), ("/enabled", enabled, "true"))
        yield from _target(key).patch("update_api_key", title, patches)
    for kind, value in new.items():
        params = {"name": names.keys[kind], "description": text, "enabled": True, "value": value, "tags": desired.tags}
        params["generateDistinctId"] = True  # in some old accounts, a key's id is its value otherwise
        outputs = {KEYS[kind].name: "id"}
        yield GATEWAY.step("create_api_key", f"create API key {names.keys[kind]}", params, outputs=outputs)


def at(until: int) -> str:
    """A second since 1970 as text, as the description of a key that was replaced has it."""
    return datetime.fromtimestamp(until, timezone.utc).isoformat()


def _target(key: Key) -> Target:
    return Target("apigateway", {"apiKey": key.id})


def admit(desired: Desired, existing: Existing, new: Mapping[str, str]) -> Iterator[Step]:
    """The usage plan, without which keys have no effect, with those that are in no other; and no expired keys."""
    elsewhere = {id for plan in existing.foreign_plans for id in plan.keys}
    found = existing.usage_plan
    kept = [key for key in existing.keys if not key.is_expired and key.id not in elsewhere]
    wanted: list[tuple[str | Ref, str]] = [(key.id, key.known.kind) for key in kept]
    wanted += [(KEYS[kind], kind) for kind in new]
    if wanted:
        yield from _usage_plan(desired, existing)
    for id, kind in wanted:
        if not found or id not in found.keys:
            params = {"usagePlanId": USAGE_PLAN, "keyId": id, "keyType": "API_KEY"}
            description = f"add API key {desired.names.keys[kind]} to the usage plan"
            yield GATEWAY.step("create_usage_plan_key", description, params)
    yield from delete([key for key in existing.keys if key.is_expired], desired.names)


def _usage_plan(desired: Desired, existing: Existing) -> Iterator[Step]:
    found, base, throttle = existing.usage_plan, desired.names.base, desired.settings.key_throttle
    limits = {"rateLimit": throttle.rate, "burstLimit": throttle.burst}
    if found is None:
        params: dict[str, Any] = {"name": base, "description": marker(desired.settings.name), "tags": desired.tags}
        params |= {"apiStages": [{"apiId": API, "stage": STAGE}], "throttle": limits}
        yield GATEWAY.step("create_usage_plan", f"create usage plan {base}", params, outputs={USAGE_PLAN.name: "id"})
    else:
        patches = replace(*((f"/throttle/{key}", found.throttle.get(key), value) for key, value in limits.items()))
        if not existing.api or f"{existing.api.id}:{STAGE}" not in found.stages:
            patches.append(patch("add", "/apiStages", Ref(API.name, f"{{}}:{STAGE}")))
        target = Target("apigateway", {"usagePlanId": found.id})
        yield from target.patch("update_usage_plan", f"update usage plan {base}", patches)


def delete(keys: Iterable[Key], names: Names) -> Iterator[Step]:
    """Delete these keys."""
    for key in keys:
        old = " that was replaced" if key.known.until is not None else ""
        yield _target(key).remove("delete_api_key", f"delete API key {names.keys[key.known.kind]}{old}")
