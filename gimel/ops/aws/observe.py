"""Looks at what stands in an account, page by page, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from gimel.errors import GimelError

from . import policies
from .existing import Alias, Api, Function, Key, Observed, Role, UsagePlan
from .names import LIVE, MARK, STAGE, Names, is_of, marker
from .plan.steps import MISSING

Client = Callable[[str], Any]


def observe(client: Client, names: Names, functions: set[str]) -> Observed:
    """What stands there of a deployment. `functions` are those wanted, which may bear no mark of ours yet.

    Raises GimelError where it cannot be told which of several things is ours.
    """
    notes: list[str] = []
    listed = list(_pages(client("lambda"), "list_functions", "Functions"))
    mine = [item for item in listed if _is_mine(item, names, functions)]
    role_users = [item["FunctionName"] for item in listed if item.get("Role") == names.role_arn and item not in mine]
    found = [_function(client("lambda"), item["FunctionName"]) for item in mine]
    api = _api(client("apigateway"), names)
    key = _key(client("apigateway"), names, api, notes)
    plan, foreign = _usage_plans(client("apigateway"), names, api, key)
    groups = {names.access_log_group, *(names.log_group(name) for name in functions)}
    groups.update(names.log_group(item["FunctionName"]) for item in mine)
    retentions = _log_groups(client("logs"), groups)
    return Observed(
        role=_role(client("iam"), names),
        functions={function.name: function for function in found},
        others_with_role=tuple(sorted(role_users)),
        api=api,
        key=key,
        usage_plan=plan,
        foreign_plan=foreign,
        log_groups=retentions,
        log_group_tags={group: _log_group_tags(client("logs"), names.log_group_arn(group)) for group in retentions},
        gateway_may_log=bool(client("apigateway").get_account().get("cloudwatchRoleArn")),
        notes=tuple(notes),
    )


def _pages(client: Any, call: str, key: str, **params: Any) -> Iterator[dict[str, Any]]:
    for page in client.get_paginator(call).paginate(**params):
        yield from page.get(key) or []


def _or_none(call: Callable[..., Any], **params: Any) -> Any:
    try:
        return call(**params)
    except ClientError as error:
        if error.response["Error"]["Code"] in MISSING:
            return None
        raise


def _is_mine(item: Mapping[str, Any], names: Names, wanted: set[str]) -> bool:
    text, name = item.get("Description") or "", item["FunctionName"]
    if is_of(names.deployment, text):
        return True
    if name in wanted and text.startswith(MARK):
        raise GimelError(f"the function {name} belongs to {text.split(',')[0]}", "choose another aws.name")
    # Every function of Gimel 1.x has the role that ours has.
    if name in wanted and item.get("Role") != names.role_arn:
        hint = "choose another aws.name, or another FunctionName in extra_wiring"
        raise GimelError(f"there is a function {name} that Gimel did not make", hint)
    return name in wanted


def _role(iam: Any, names: Names) -> Role | None:
    answer = _or_none(iam.get_role, RoleName=names.base)
    if answer is None:
        return None
    policies = {}
    for name in _pages(iam, "list_role_policies", "PolicyNames", RoleName=names.base):
        document = _or_none(iam.get_role_policy, RoleName=names.base, PolicyName=name)
        if document:
            policies[str(name)] = _normal(document["PolicyDocument"])
    attached = _pages(iam, "list_attached_role_policies", "AttachedPolicies", RoleName=names.base)
    tags = {tag["Key"]: tag["Value"] for tag in answer["Role"].get("Tags") or []}
    if tags.get("gimel:deployment") != names.deployment and not policies.keys() & {names.base, names.policy}:
        raise GimelError(f"there is a role {names.base} that Gimel did not make", "choose another aws.name")
    return Role(
        trust=_normal(answer["Role"].get("AssumeRolePolicyDocument")),
        policies=policies,
        attached=tuple(sorted(item["PolicyArn"] for item in attached)),
        tags=tags,
    )


def _normal(document: Any) -> str:
    return policies.as_text(json.loads(document) if isinstance(document, str) else document)


def _function(client: Any, name: str) -> Function:
    answer = client.get_function(FunctionName=name)
    versions = {}
    for item in _pages(client, "list_versions_by_function", "Versions", FunctionName=name):
        # Also listed is $LATEST, and by emulators the same number twice.
        if item["Version"].isdigit():
            versions[int(item["Version"])] = item
    aliases = _pages(client, "list_aliases", "Aliases", FunctionName=name)
    return Function(
        name=name,
        latest=answer["Configuration"],
        versions=versions,
        aliases={item["Name"]: _alias(item) for item in aliases},
        permissions=_permissions(client, name),
        tags=answer.get("Tags") or {},
        reserved_concurrency=(answer.get("Concurrency") or {}).get("ReservedConcurrentExecutions"),
    )


def _alias(item: Mapping[str, Any]) -> Alias:
    weights = (item.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    return Alias(item["FunctionVersion"], tuple(sorted(weights)))


def _permissions(client: Any, name: str) -> dict[str, str]:
    """The source ARN that each statement of the alias' policy admits, by the statement's id."""
    answer = _or_none(client.get_policy, FunctionName=name, Qualifier=LIVE)
    if answer is None:
        return {}
    found = {}
    for statement in json.loads(answer["Policy"])["Statement"]:
        condition = (statement.get("Condition") or {}).get("ArnLike") or {}
        found[statement["Sid"]] = str(condition.get("AWS:SourceArn") or "")
    return found


def _api(client: Any, names: Names) -> Api | None:
    named = [item for item in _pages(client, "get_rest_apis", "items") if item.get("name") == names.base]
    marked = [item for item in named if is_of(names.deployment, item.get("description") or "")]
    # Gimel 1.x left no mark but the path of its endpoint.
    candidates = marked or [item for item in named if "/track" in _resources(client, item["id"])]
    if len(candidates) > 1:
        staged = [item for item in candidates if _stage(client, item["id"])]
        candidates = staged or candidates[:1]
    if len(candidates) > 1:
        ids = ", ".join(item["id"] for item in candidates)
        hint = f'give the description "{marker(names.deployment)}" to the one that is yours'
        raise GimelError(f"there are {len(candidates)} APIs named {names.base}: {ids}", hint)
    if not candidates:
        return None
    api = candidates[0]["id"]
    resources = _resources(client, api)
    methods = {}
    for path, (resource, verbs) in resources.items():
        for verb in verbs:
            found = _or_none(client.get_method, restApiId=api, resourceId=resource, httpMethod=verb)
            if found:
                methods[path, verb] = found
    responses = _pages(client, "get_gateway_responses", "items", restApiId=api)
    deployments = _pages(client, "get_deployments", "items", restApiId=api)
    return Api(
        id=api,
        description=candidates[0].get("description") or "",
        resources={path: resource for path, (resource, _) in resources.items()},
        methods=methods,
        responses={
            item["responseType"]: item.get("responseParameters") or {}
            for item in responses
            if not item.get("defaultResponse")
        },
        stage=_stage(client, api),
        deployments={item["id"]: item.get("description") or "" for item in deployments},
    )


def _resources(client: Any, api: str) -> dict[str, tuple[str, list[str]]]:
    items = _pages(client, "get_resources", "items", restApiId=api)
    return {item["path"]: (item["id"], sorted(item.get("resourceMethods") or {})) for item in items}


def _stage(client: Any, api: str) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = _or_none(client.get_stage, restApiId=api, stageName=STAGE)
    return found


def _key(client: Any, names: Names, api: Api | None, notes: list[str]) -> Key | None:
    named = [
        item
        # Not every server filters by nameQuery, and AWS takes it as a prefix.
        for item in _pages(client, "get_api_keys", "items", nameQuery=names.base)
        if item.get("name") == names.base
    ]
    marked = [item for item in named if is_of(names.deployment, item.get("description") or "")]
    staged = [item for item in named if api and f"{api.id}/{STAGE}" in (item.get("stageKeys") or [])]
    unmarked = [item for item in named if not (item.get("description") or "").startswith(MARK)]
    # A key of that name without an API of ours is somebody else's.
    candidates = marked or staged or (unmarked if api else [])
    if not candidates:
        return None
    if len(candidates) > 1:
        others = ", ".join(item["id"] for item in candidates[1:])
        notes.append(f"there are other API keys named {names.base}, which are left alone: {others}")
    item = candidates[0]
    return Key(item["id"], item.get("description") or "", bool(item.get("enabled")))


def _usage_plans(
    client: Any, names: Names, api: Api | None, key: Key | None
) -> tuple[UsagePlan | None, UsagePlan | None]:
    """Our usage plan, and one of another maker that has our key for our stage already."""
    own = foreign = None
    for item in _pages(client, "get_usage_plans", "items"):
        stages = tuple(f"{stage['apiId']}:{stage['stage']}" for stage in item.get("apiStages") or [])
        ours = item.get("name") == names.base and is_of(names.deployment, item.get("description") or "")
        if not ours and not (api and f"{api.id}:{STAGE}" in stages):
            continue
        keys = tuple(found["id"] for found in _pages(client, "get_usage_plan_keys", "items", usagePlanId=item["id"]))
        text = item.get("description") or ""
        plan = UsagePlan(item["id"], item.get("name") or "", text, stages, item.get("throttle") or {}, keys)
        if ours:
            own = plan
        elif key and key.id in keys:
            foreign = plan
    return own, foreign


def _log_groups(client: Any, wanted: set[str]) -> dict[str, int | None]:
    found = {}
    for group in sorted(wanted):
        for item in _pages(client, "describe_log_groups", "logGroups", logGroupNamePrefix=group):
            if item["logGroupName"] == group:
                found[group] = item.get("retentionInDays")
    return found


def _log_group_tags(client: Any, arn: str) -> Mapping[str, str]:
    answer = _or_none(client.list_tags_for_resource, resourceArn=arn)
    return (answer or {}).get("tags") or {}
