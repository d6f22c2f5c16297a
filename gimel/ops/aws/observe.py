"""Reads the existing state of a deployment from AWS, page by page."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from gimel import access
from gimel.access import WRITE

from . import policies
from .errors import AmbiguousApi, NameTaken
from .existing import (
    Alarm,
    Alias,
    Api,
    Domain,
    Existing,
    Function,
    HttpApi,
    Key,
    Queue,
    Role,
    Schedule,
    Topic,
    UsagePlan,
)
from .names import HTTP_STAGE, LIVE, MARK, STAGE, TRACK, Names, is_of, marker
from .plan.steps import MISSING
from .settings import AwsSettings

Client = Callable[[str], Any]


def observe(client: Client, names: Names, functions: set[str], settings: AwsSettings) -> Existing:
    """The existing state of a deployment. `functions` are the desired ones, which may not be marked as ours yet.

    Raises NameTaken for what these settings need, and AmbiguousApi.
    """
    notes: list[str] = []
    alarms = bool(settings.alarms_email)
    gateway, logs = client("apigateway"), client("logs")
    listed = list(_pages(client("lambda"), "list_functions", "Functions"))
    own = [item for item in listed if _is_own(item, names, functions)]
    role_users = [item["FunctionName"] for item in listed if item.get("Role") == names.role_arn and item not in own]
    found = [_function(client("lambda"), item["FunctionName"]) for item in own]
    api = _api(gateway, names)
    keys = _keys(gateway, names, api.id if api else None, notes)
    ids = {key.id for key in keys}
    plan, foreign = _usage_plans(gateway, names, api)
    held = {id for each in (plan, *foreign) if each for id in each.keys}
    groups = {names.log_group(name) for name in (*functions, *(function.name for function in found))}
    found_queues = queues(client("sqs"), names, settings.durable)
    retentions = _log_groups(logs, groups | {names.access_log_group})
    return Existing(
        role=_role(client("iam"), names),
        functions={function.name: function for function in found},
        other_role_users=tuple(sorted(role_users)),
        api=api,
        http_api=_http_api(client("apigatewayv2"), names),
        domains={found.name: found for found in _domains(client("apigatewayv2"), names, settings.domain)},
        keys=keys,
        other_keys=dict(_other_keys(gateway, names, sorted(held - ids))),
        usage_plan=plan,
        foreign_plans=tuple(each for each in foreign if ids.intersection(each.keys)),
        log_groups=retentions,
        log_group_tags={group: _log_group_tags(logs, names.log_group_arn(group)) for group in retentions},
        queues=found_queues,
        mappings=tuple(_mappings(client("lambda"), names, names.queue in found_queues)),
        schedule=_schedule(client("events"), names),
        topic=_topic(client("sns"), names, alarms),
        alarms=_alarms(client("cloudwatch"), names, functions | {function.name for function in found}, alarms),
        can_log_access=bool(gateway.get_account().get("cloudwatchRoleArn")),
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class Located:
    """The id of the REST API and the keys, and what pages send events to instead, as far as they exist.

    `is_old`: it is still that of Gimel 1.x.
    """

    api: str | None
    keys: tuple[Key, ...]
    is_old: bool = False
    domain: str | None = None
    http_api: str | None = None


def locate(client: Client, names: Names, settings: AwsSettings) -> Located:
    """Only what a URL and the keys need: one call for each, and one more for a deployment of Gimel 1.x.

    Raises AmbiguousApi.
    """
    item = _own_api(client("apigateway"), names)
    api = str(item["id"]) if item else None
    keys = _keys(client("apigateway"), names, api, [])
    if item and _is_marked(item, names):
        second = client("apigatewayv2")
        if settings.domain and _or_none(second.get_domain_name, DomainName=settings.domain):
            return Located(api, keys, domain=settings.domain)
        if settings.track_api != "rest" and (own := _own_http_api(second, names)):
            return Located(api, keys, http_api=own["ApiId"])
        return Located(api, keys)
    return Located(api, keys, is_old=True)


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


def _is_marked(item: Mapping[str, Any], names: Names) -> bool:
    return is_of(names.deployment, item.get("description") or "")


def _is_own(item: Mapping[str, Any], names: Names, desired: set[str]) -> bool:
    text, name = item.get("Description") or "", item["FunctionName"]
    if is_of(names.deployment, text):
        return True
    if name in desired and text.startswith(MARK):
        raise NameTaken(f"function {name} belongs to {text.split(',')[0]}", "choose another aws.name")
    # Every function of Gimel 1.x has the role that ours has.
    if name in desired and item.get("Role") != names.role_arn:
        hint = "choose another aws.name, or another FunctionName in extra_wiring"
        raise NameTaken(f"function {name} already exists and was not created by Gimel", hint)
    return name in desired


def _role(iam: Any, names: Names) -> Role | None:
    response = _or_none(iam.get_role, RoleName=names.base)
    if response is None:
        return None
    found = {}
    for name in _pages(iam, "list_role_policies", "PolicyNames", RoleName=names.base):
        if document := _or_none(iam.get_role_policy, RoleName=names.base, PolicyName=name):
            found[str(name)] = _normal(document["PolicyDocument"])
    attached = _pages(iam, "list_attached_role_policies", "AttachedPolicies", RoleName=names.base)
    tags = {tag["Key"]: tag["Value"] for tag in response["Role"].get("Tags") or []}
    if tags.get("gimel:deployment") != names.deployment and not found.keys() & {names.base, names.policy}:
        raise NameTaken(f"role {names.base} already exists and was not created by Gimel", "choose another aws.name")
    return Role(
        id=response["Role"]["RoleId"],
        trust=_normal(response["Role"].get("AssumeRolePolicyDocument")),
        policies=found,
        attached=tuple(sorted(item["PolicyArn"] for item in attached)),
        tags=tags,
    )


def _normal(document: Any) -> str:
    return policies.as_text(json.loads(document) if isinstance(document, str) else document)


def _function(client: Any, name: str) -> Function:
    response = client.get_function(FunctionName=name)
    versions = _pages(client, "list_versions_by_function", "Versions", FunctionName=name)
    aliases = _pages(client, "list_aliases", "Aliases", FunctionName=name)
    return Function(
        name=name,
        latest=response["Configuration"],
        # $LATEST is listed too, and emulators may list a number twice.
        versions={int(item["Version"]): item for item in versions if item["Version"].isdigit()},
        aliases={item["Name"]: _alias(item) for item in aliases},
        permissions=_permissions(client, name),
        tags=response.get("Tags") or {},
        reserved_concurrency=(response.get("Concurrency") or {}).get("ReservedConcurrentExecutions"),
    )


def _alias(item: Mapping[str, Any]) -> Alias:
    weights = (item.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    return Alias(item["FunctionVersion"], tuple(sorted(weights)), item.get("Description") or "")


def _permissions(client: Any, name: str) -> dict[str, str]:
    """The source ARN that each statement of the alias' policy allows, by the statement's id."""
    response = _or_none(client.get_policy, FunctionName=name, Qualifier=LIVE)
    found = {}
    for statement in json.loads(response["Policy"])["Statement"] if response else ():
        condition = (statement.get("Condition") or {}).get("ArnLike") or {}
        found[statement["Sid"]] = str(condition.get("AWS:SourceArn") or "")
    return found


LONG_PAGES = {"PaginationConfig": {"PageSize": 500}}
"""The most that API Gateway allows; by default it lists 25 at once."""


def _own_api(client: Any, names: Names) -> dict[str, Any] | None:
    listed = _pages(client, "get_rest_apis", "items", **LONG_PAGES)
    named = [item for item in listed if item.get("name") == names.base]
    marked = [item for item in named if _is_marked(item, names)]
    # Gimel 1.x left no mark, but can be recognized by the path of its endpoint.
    candidates = marked or [item for item in named if "/track" in _resources(client, item["id"])]
    api = _only([item["id"] for item in candidates], lambda id: _stage(client, id), names)
    return next((item for item in candidates if item["id"] == api), None)


def _api(client: Any, names: Names) -> Api | None:
    item = _own_api(client, names)
    if item is None:
        return None
    api = item["id"]
    resources = _resources(client, api)
    methods = {
        (path, verb): _or_none(client.get_method, restApiId=api, resourceId=resource, httpMethod=verb)
        for path, (resource, verbs) in resources.items()
        for verb in verbs
    }
    responses = _pages(client, "get_gateway_responses", "items", restApiId=api)
    deployments = _pages(client, "get_deployments", "items", restApiId=api)
    return Api(
        id=api,
        description=item.get("description") or "",
        binary_types=tuple(item.get("binaryMediaTypes") or ()),
        resources={path: resource for path, (resource, _) in resources.items()},
        methods={key: method for key, method in methods.items() if method},
        responses={
            item["responseType"]: item.get("responseParameters") or {}
            for item in responses
            if not item.get("defaultResponse")
        },
        stage=_stage(client, api),
        deployments={item["id"]: item.get("description") or "" for item in deployments},
    )


def _only(ids: list[str], stage: Callable[[str], Any], names: Names) -> str | None:
    """The one of these APIs that is ours. Raises AmbiguousApi if several of them have a stage."""
    if len(ids) > 1:
        ids = [id for id in ids if stage(id)] or ids[:1]
    if len(ids) > 1:
        hint = f'set the description of yours to "{marker(names.deployment)}"'
        raise AmbiguousApi(f"there are {len(ids)} APIs named {names.base}: {', '.join(ids)}", hint)
    return ids[0] if ids else None


def _own_http_api(client: Any, names: Names) -> dict[str, Any] | None:
    found = {
        item["ApiId"]: item
        for item in _pages(client, "get_apis", "Items")
        if item.get("Name") == names.base and is_of(names.deployment, item.get("Description") or "")
    }
    api = _only(list(found), lambda id: _http_stage(client, id), names)
    return found[api] if api else None


def _http_api(client: Any, names: Names) -> HttpApi | None:
    item = _own_http_api(client, names)
    if item is None:
        return None
    api = item["ApiId"]
    return HttpApi(
        id=api,
        configuration=item,
        integrations={item["IntegrationId"]: item for item in _pages(client, "get_integrations", "Items", ApiId=api)},
        routes={item["RouteKey"]: item for item in _pages(client, "get_routes", "Items", ApiId=api)},
        stage=_http_stage(client, api),
    )


def _http_stage(client: Any, api: str) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = _or_none(client.get_stage, ApiId=api, StageName=HTTP_STAGE)
    return found


def _domains(client: Any, names: Names, configured: str | None) -> Iterator[Domain]:
    """All domains of ours, and the configured one even if it is not."""
    for item in _pages(client, "get_domain_names", "Items"):
        name, tags = item["DomainName"], item.get("Tags") or {}
        is_own = tags.get("gimel:deployment") == names.deployment
        if is_own or name == configured:
            mappings = {found.get("ApiMappingKey") or "": found for found in _domain_mappings(client, name)}
            yield Domain(name, is_own, (item.get("DomainNameConfigurations") or [{}])[0], tags, mappings)


def _domain_mappings(client: Any, name: str) -> Iterator[dict[str, Any]]:
    # boto3 has no paginator for these.
    page = client.get_api_mappings(DomainName=name)
    yield from page["Items"]
    while page.get("NextToken"):
        page = client.get_api_mappings(DomainName=name, NextToken=page["NextToken"])
        yield from page["Items"]


def _resources(client: Any, api: str) -> dict[str, tuple[str, list[str]]]:
    items = _pages(client, "get_resources", "items", restApiId=api)
    return {item["path"]: (item["id"], sorted(item.get("resourceMethods") or {})) for item in items}


def _stage(client: Any, api: str) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = _or_none(client.get_stage, restApiId=api, stageName=STAGE)
    return found


def _keys(client: Any, names: Names, api: str | None, notes: list[str]) -> tuple[Key, ...]:
    # AWS takes nameQuery as a prefix, and some emulators ignore it.
    listed = list(_pages(client, "get_api_keys", "items", nameQuery=names.base, includeValues=True, **LONG_PAGES))
    found: list[Key] = []
    for kind, name in names.keys.items():
        named = [item for item in listed if item.get("name") == name]
        own = [item for item in named if _is_marked(item, names)]
        if not own and kind == WRITE:
            # That of Gimel 1.x. Without an API of ours, an unmarked key of that name belongs to somebody else.
            unmarked = [item for item in named if not (item.get("description") or "").startswith(MARK)]
            staged = [item for item in named if api and f"{api}/{STAGE}" in (item.get("stageKeys") or [])]
            own = staged or (unmarked if api else [])
        keys = [_key(item, kind) for item in own]
        current = [key for key in keys if key.known.until is None]
        if len(current) > 1:
            others = ", ".join(key.id for key in current[1:])
            notes.append(f"other API keys are named {name} and are left unchanged: {others}")
        found += [key for key in keys if key not in current[1:]]
    return tuple(found)


def _key(item: Mapping[str, Any], kind: str) -> Key:
    text = item.get("description") or ""
    replaced = re.search(r", until (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d)$", text)
    until = int(datetime.fromisoformat(replaced[1]).timestamp()) if replaced else None
    known = access.Key.of(kind, item.get("value") or "", until)
    return Key(item["id"], text, bool(item.get("enabled")), known, until is not None and until <= time.time())


def _usage_plans(client: Any, names: Names, api: Api | None) -> tuple[UsagePlan | None, list[UsagePlan]]:
    """Our own usage plan, and those that somebody else created but that have our stage."""
    own, foreign = None, []
    for item in _pages(client, "get_usage_plans", "items"):
        stages = tuple(f"{stage['apiId']}:{stage['stage']}" for stage in item.get("apiStages") or [])
        ours = item.get("name") == names.base and _is_marked(item, names)
        if not ours and not (api and f"{api.id}:{STAGE}" in stages):
            continue
        held = tuple(found["id"] for found in _pages(client, "get_usage_plan_keys", "items", usagePlanId=item["id"]))
        plan = UsagePlan(item["id"], item.get("name") or "", stages, item.get("throttle") or {}, held)
        if ours:
            own = plan
        else:
            foreign.append(plan)
    return own, foreign


def _other_keys(client: Any, names: Names, ids: Sequence[str]) -> Iterator[tuple[str, access.Key]]:
    """Whoever put them into the plan let them do everything. None of Gimel's own: a second one may be a read key."""
    for id in ids:
        item = _or_none(client.get_api_key, apiKey=id, includeValue=True)
        if item and not _is_marked(item, names):
            yield f"{item.get('name') or 'without a name'} ({id})", access.Key.of(WRITE, item.get("value") or "")


def queues(client: Any, names: Names, needed: bool) -> dict[str, Queue]:
    """Our queue and its dead letters, by name, as far as they exist. Raises NameTaken if they are needed."""
    found = {}
    for name in (names.queue, names.dead_letters):
        url = names.queue_url(name)
        if response := _or_none(client.get_queue_attributes, QueueUrl=url, AttributeNames=["All"]):
            tags = (_or_none(client.list_queue_tags, QueueUrl=url) or {}).get("Tags") or {}
            if tags.get("gimel:deployment") == names.deployment:
                found[name] = Queue(response.get("Attributes") or {}, tags)
            elif needed:
                hint = "choose another aws.name, or set aws.durable to false"
                raise NameTaken(f"queue {name} already exists and was not created by Gimel", hint)
    return found


def _schedule(client: Any, names: Names) -> Schedule | None:
    found = _or_none(client.describe_rule, Name=names.schedule)
    if found is None:
        return None
    tags = _tags(client.list_tags_for_resource(ResourceARN=names.schedule_arn))
    if tags.get("gimel:deployment") != names.deployment:
        message = f"EventBridge rule {names.schedule} already exists and was not created by Gimel"
        raise NameTaken(message, "choose another aws.name")
    targets = _pages(client, "list_targets_by_rule", "Targets", Rule=names.schedule)
    return Schedule(found, {item["Id"]: item for item in targets}, tags)


def _topic(client: Any, names: Names, needed: bool) -> Topic | None:
    arn = names.topic_arn
    if not _or_none(client.get_topic_attributes, TopicArn=arn):
        return None
    tags = _tags(client.list_tags_for_resource(ResourceArn=arn))
    if tags.get("gimel:deployment") != names.deployment:
        if needed:
            hint = "choose another aws.name, or remove aws.alarms"
            raise NameTaken(f"topic {names.topic} already exists and was not created by Gimel", hint)
        return None
    addresses: dict[str, str | None] = {}
    for item in _pages(client, "list_subscriptions_by_topic", "Subscriptions", TopicArn=arn):
        # Instead of an ARN, there may be `PendingConfirmation` or, when the recipient has unsubscribed, `Deleted`.
        found = item["SubscriptionArn"]
        if item["Protocol"] == "email" and found != "Deleted":
            is_confirmed = found.startswith("arn:")
            addresses[item["Endpoint"]] = found if is_confirmed else addresses.get(item["Endpoint"])
    return Topic(tags, addresses)


def _alarms(client: Any, names: Names, functions: set[str], needed: bool) -> dict[str, Alarm]:
    found = {}
    for item in _pages(client, "describe_alarms", "MetricAlarms", AlarmNames=names.alarms(functions)):
        name = item["AlarmName"]
        tags = _tags(client.list_tags_for_resource(ResourceARN=names.alarm_arn(name)))
        if tags.get("gimel:deployment") == names.deployment:
            found[name] = Alarm(item, tags)
        elif needed:
            hint = "choose another aws.name, or remove aws.alarms"
            raise NameTaken(f"alarm {name} already exists and was not created by Gimel", hint)
    return found


def _tags(response: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in response.get("Tags") or ()}


def _mappings(client: Any, names: Names, has_queue: bool) -> Iterator[Mapping[str, Any]]:
    """All mappings of our queue; if it was deleted, or belongs to somebody else, only those to our own function."""
    queue, live = names.queue_arn(names.queue), names.live_arn(names.function(TRACK))
    for item in _pages(client, "list_event_source_mappings", "EventSourceMappings", EventSourceArn=queue):
        if item.get("State") != "Deleting" and (has_queue or item["FunctionArn"] == live):
            yield item


def _log_groups(client: Any, names: set[str]) -> dict[str, int | None]:
    found = {}
    for group in sorted(names):
        for item in _pages(client, "describe_log_groups", "logGroups", logGroupNamePrefix=group):
            if item["logGroupName"] == group:
                found[group] = item.get("retentionInDays")
    return found


def _log_group_tags(client: Any, arn: str) -> Mapping[str, str]:
    response = _or_none(client.list_tags_for_resource, resourceArn=arn)
    return (response or {}).get("tags") or {}
