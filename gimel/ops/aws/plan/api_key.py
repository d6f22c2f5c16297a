"""Steps for the API key and its usage plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gimel.ops.aws.desired import Desired
from gimel.ops.aws.existing import Existing
from gimel.ops.aws.names import STAGE, marker

from .gateway import API, GATEWAY
from .steps import Ref, Step, Target, patch, replace

KEY = Ref("API key")
USAGE_PLAN = Ref("usage plan")


def values(existing: Existing) -> dict[str, str]:
    """The ids that are known already."""
    found = {KEY.name: existing.key, USAGE_PLAN.name: existing.usage_plan}
    return {name: thing.id for name, thing in found.items() if thing}


def key(desired: Desired, existing: Existing) -> Iterator[Step]:
    """The API key, and the usage plan without which it has no effect."""
    text, base, found = marker(desired.settings.name), desired.names.base, existing.key
    if found is None:
        params = {"name": base, "description": text, "enabled": True, "tags": desired.tags}
        yield GATEWAY.step("create_api_key", f"create API key {base}", params, outputs={KEY.name: "id"})
    else:
        enabled = "true" if found.enabled else "false"
        patches = replace(("/description", found.description, text), ("/enabled", enabled, "true"))
        yield from Target("apigateway", {"apiKey": found.id}).patch("update_api_key", f"update API key {base}", patches)
    if not existing.foreign_plan:
        yield from _usage_plan(desired, existing)


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
    if not found or not existing.key or existing.key.id not in found.keys:
        params = {"usagePlanId": USAGE_PLAN, "keyId": KEY, "keyType": "API_KEY"}
        yield GATEWAY.step("create_usage_plan_key", "add the API key to the usage plan", params)
