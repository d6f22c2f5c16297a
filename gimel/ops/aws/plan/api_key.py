"""Steps for the API key and its usage plan."""

from __future__ import annotations

from collections.abc import Iterator

from gimel.ops.aws.desired import Desired
from gimel.ops.aws.existing import Existing
from gimel.ops.aws.names import STAGE, marker

from .gateway import API, GATEWAY
from .steps import Ref, Step, Target, patch, summary

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
        patches = []
        if found.description != text:
            patches.append(patch("replace", "/description", text))
        if not found.enabled:
            patches.append(patch("replace", "/enabled", "true"))
        if patches:
            target = Target("apigateway", {"apiKey": found.id})
            description = f"update API key {base}: {summary(patches)}"
            yield target.step("update_api_key", description, {"patchOperations": patches})
    if not existing.foreign_plan:
        yield from _usage_plan(desired, existing)


def _usage_plan(desired: Desired, existing: Existing) -> Iterator[Step]:
    found, base, throttle = existing.usage_plan, desired.names.base, desired.settings.key_throttle
    limits = {"rateLimit": throttle.rate, "burstLimit": throttle.burst}
    if found is None:
        yield GATEWAY.step(
            "create_usage_plan",
            f"create usage plan {base}",
            {
                "name": base,
                "description": marker(desired.settings.name),
                "apiStages": [{"apiId": API, "stage": STAGE}],
                "throttle": limits,
                "tags": desired.tags,
            },
            outputs={USAGE_PLAN.name: "id"},
        )
    else:
        patches = [
            patch("replace", f"/throttle/{name}", f"{value:.15g}")
            for name, value in limits.items()
            if found.throttle.get(name) != value
        ]
        if not existing.api or f"{existing.api.id}:{STAGE}" not in found.stages:
            patches.append(patch("add", "/apiStages", Ref(API.name, f"{{}}:{STAGE}")))
        if patches:
            target = Target("apigateway", {"usagePlanId": found.id})
            description = f"update usage plan {base}: {summary(patches)}"
            yield target.step("update_usage_plan", description, {"patchOperations": patches})
    if not found or not existing.key or existing.key.id not in found.keys:
        params = {"usagePlanId": USAGE_PLAN, "keyId": KEY, "keyType": "API_KEY"}
        yield GATEWAY.step("create_usage_plan_key", "add the API key to the usage plan", params)
