"""Steps for the API key and its usage plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gimel.ops.aws.desired import Wanted
from gimel.ops.aws.existing import Observed
from gimel.ops.aws.names import STAGE, marker

from .steps import Late, Step


def key(wanted: Wanted, observed: Observed) -> Iterator[Step]:
    """The API key, and the usage plan without which it opens nothing."""
    text, found = marker(wanted.settings.name), observed.key
    if found is None:
        params = {"name": wanted.names.base, "description": text, "enabled": True, "tags": wanted.tags}
        does = f"create API key {wanted.names.base}"
        yield Step(does, "apigateway", "create_api_key", params, {"key": "id"})
    else:
        patches = []
        if found.description != text:
            patches.append({"op": "replace", "path": "/description", "value": text})
        if not found.enabled:
            patches.append({"op": "replace", "path": "/enabled", "value": "true"})
        if patches:
            params = {"apiKey": found.id, "patchOperations": patches}
            yield Step("mark and enable the API key", "apigateway", "update_api_key", params)
    if not observed.foreign_plan:
        yield from _usage_plan(wanted, observed)


def _usage_plan(wanted: Wanted, observed: Observed) -> Iterator[Step]:
    plan, text = observed.usage_plan, marker(wanted.settings.name)
    throttle = wanted.settings.key_throttle
    if plan is None:
        params = {
            "name": wanted.names.base,
            "description": text,
            "apiStages": [{"apiId": Late("${api}"), "stage": STAGE}],
            "throttle": {"rateLimit": throttle.rate, "burstLimit": throttle.burst},
            "tags": wanted.tags,
        }
        does = f"create usage plan {wanted.names.base}"
        yield Step(does, "apigateway", "create_usage_plan", params, {"usage plan": "id"})
    else:
        patches: list[dict[str, Any]] = []
        for name, value in (("rateLimit", throttle.rate), ("burstLimit", throttle.burst)):
            if plan.throttle.get(name) != value:
                patches.append({"op": "replace", "path": f"/throttle/{name}", "value": f"{value:.15g}"})
        if not observed.api or f"{observed.api.id}:{STAGE}" not in plan.stages:
            patches.append({"op": "add", "path": "/apiStages", "value": Late(f"${{api}}:{STAGE}")})
        if patches:
            params = {"usagePlanId": plan.id, "patchOperations": patches}
            yield Step("set up the usage plan", "apigateway", "update_usage_plan", params)
    if not plan or not observed.key or observed.key.id not in plan.keys:
        joined = {"usagePlanId": Late("${usage plan}"), "keyId": Late("${key}"), "keyType": "API_KEY"}
        yield Step("put the API key into the usage plan", "apigateway", "create_usage_plan_key", joined)
