"""Steps for the API, its stage, and permission for it to invoke the functions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from gimel.ops.aws.desired import ACCESS_LOG_FORMAT, BINARY_TYPES, GATEWAY_RESPONSES, TRACK_URL, Desired
from gimel.ops.aws.existing import Existing
from gimel.ops.aws.names import LIVE, STAGE, TRACK, marker
from gimel.ops.aws.wiring import Route
from gimel.ops.endpoints import HEALTH

from . import functions, http_api
from .steps import Ref, Step, Target, patch, replace

API = Ref("API")
DEPLOYMENT = Ref("API deployment")

GATEWAY = Target("apigateway")
ON_API = Target("apigateway", {"restApiId": API})

INTEGRATION_DEFAULTS = {"timeoutInMillis": 29_000, "connectionType": "INTERNET", "responseTransferMode": "BUFFERED"}
"""What API Gateway itself fills in."""

INVOCATION = {"Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com"}

STATEMENT = "gimel-"
"""How the ids of policy statements begin."""

ALL_METHODS = "*/*"
LIMITED = ("~1/GET", f"{HEALTH.replace('/', '~1')}/GET")
"""In no usage plan, because they need no key; so the stage limits them as the plan limits reports."""


def values(existing: Existing) -> dict[str, str]:
    """The ids that are known already."""
    if not existing.api:
        return {}
    return {API.name: existing.api.id} | {_resource(path).name: id for path, id in existing.api.resources.items()}


def api(desired: Desired, existing: Existing) -> Iterator[Step]:
    """The API with the desired paths and methods, and no others. None of it is public before `release`."""
    text, base, found = marker(desired.settings.name), desired.names.base, existing.api
    if found is None:
        params: dict[str, Any] = {"name": base, "description": text, "tags": desired.tags}
        params |= {"endpointConfiguration": {"types": ["REGIONAL"]}, "binaryMediaTypes": list(BINARY_TYPES)}
        outputs = {API.name: "id", _resource("/").name: "rootResourceId"}
        yield GATEWAY.step("create_rest_api", f"create API {base}", params, outputs=outputs)
    else:
        patches = replace(("/description", found.description, text))
        lacking = [kind for kind in BINARY_TYPES if kind not in found.binary_types]
        patches += [patch("add", f"/binaryMediaTypes/{kind.replace('/', '~1')}") for kind in lacking]
        yield from ON_API.patch("update_rest_api", f"update API {base}", patches)
    yield from _delete_stale(desired, existing)
    for path in dict.fromkeys(route.path for route in desired.wiring.routes if route.path != "/"):
        if not found or path not in found.resources:
            params = {"parentId": _resource("/"), "pathPart": path.lstrip("/")}
            outputs = {_resource(path).name: "id"}
            yield ON_API.step("create_resource", f"create path {path}", params, outputs=outputs)
    for route in desired.wiring.routes:
        yield from _method(desired, existing, route)
    for name, parameters in GATEWAY_RESPONSES.items():
        if not found or found.responses.get(name) != parameters:
            description = f"add CORS header to gateway response {name}"
            params = {"responseType": name, "responseParameters": parameters}
            yield ON_API.step("put_gateway_response", description, params)


def _resource(path: str) -> Ref:
    return Ref(f"path {path}")


def _method(desired: Desired, existing: Existing, route: Route) -> Iterator[Step]:
    found = existing.api.methods.get((route.path, route.method)) if existing.api else None
    function = desired.names.function(route.function)
    uri = desired.names.invocation_uri(function)
    title = f"{route.method} {route.path}"
    method = Target("apigateway", {**ON_API.params, "resourceId": _resource(route.path), "httpMethod": route.method})
    keep = found is not None and _is_plain(found, route.needs_key)
    if found and not keep:
        # No call replaces a method. The stage keeps serving the old one until `release`.
        yield method.remove("delete_method", f"delete method {title}")
    if not keep:
        description = f"create method {title}" + (" (requires an API key)" if route.needs_key else "")
        yield method.step("put_method", description, {"authorizationType": "NONE", "apiKeyRequired": route.needs_key})
    if not keep or not found or not _is_proxy(found.get("methodIntegration") or {}, uri):
        params = {"type": "AWS_PROXY", "integrationHttpMethod": "POST", "uri": uri}
        yield method.step("put_integration", f"connect {title} to alias {LIVE} of {function}", params)


def _is_plain(method: Mapping[str, Any], needs_key: bool) -> bool:
    """Whether a method is exactly as desired, apart from its integration."""
    extras = ("requestParameters", "requestModels", "methodResponses", "requestValidatorId", "authorizerId")
    return (
        method.get("authorizationType") == "NONE"
        and bool(method.get("apiKeyRequired")) == needs_key
        and not any(method.get(extra) for extra in extras)
    )


def _is_proxy(integration: Mapping[str, Any], uri: str) -> bool:
    desired = {"type": "AWS_PROXY", "httpMethod": "POST", "uri": uri}
    extras = ("credentials", "requestParameters", "requestTemplates", "cacheKeyParameters", "contentHandling")
    return (
        desired.items() <= dict(integration).items()
        and not any(integration.get(extra) for extra in extras)
        and all(integration.get(key) in (None, value) for key, value in INTEGRATION_DEFAULTS.items())
    )


def _delete_stale(desired: Desired, existing: Existing) -> Iterator[Step]:
    if not existing.api:
        return
    resources = existing.api.resources
    paths = {route.path for route in desired.wiring.routes} | {"/"}
    # The longest first, so that a path is deleted before its parent.
    for path in sorted(set(resources) - paths, key=len, reverse=True):
        yield ON_API.remove("delete_resource", f"delete path {path}", {"resourceId": resources[path]})
    routes = {(route.path, route.method) for route in desired.wiring.routes}
    for path, verb in sorted(existing.api.methods):
        if path in paths and (path, verb) not in routes:
            method = {"resourceId": resources[path], "httpMethod": verb}
            yield ON_API.remove("delete_method", f"delete method {verb} {path}", method)


def permissions(desired: Desired, existing: Existing) -> Iterator[Step]:
    """API Gateway may invoke each function through its alias, and only for the function's own paths."""
    sources: dict[str, dict[str, tuple[str, Ref]]] = {}
    for route in desired.wiring.routes:
        source = Ref(API.name, desired.names.account.arn("execute-api", f"{{}}/{STAGE}/*{route.path}"))
        own = sources.setdefault(desired.names.function(route.function), {})
        own[_statement_id(STATEMENT, route.path)] = f"API Gateway may invoke {{}} for {route.path}", source
    for path, source in http_api.sources(desired, existing).items():
        allowed = f"the HTTP API may invoke {{}} for {path}"
        sources[desired.names.function(TRACK)][_statement_id(http_api.STATEMENT, path)] = allowed, source
    known = {**values(existing), **http_api.values(existing)}
    for name, wanted in sorted(sources.items()):
        found = existing.functions.get(name)
        granted = dict(found.permissions) if found else {}
        for statement, (allowed, source) in sorted(wanted.items()):
            correct = source.name in known and granted.get(statement) == source.fill(known[source.name])
            if statement in granted and not correct:
                yield functions.remove_permission(name, statement)
            if not correct:
                params = {**INVOCATION, "SourceArn": source}
                description = f"add permission: {allowed.format(name)}"
                yield functions.permission(name, statement).step("add_permission", description, params)
        for statement in sorted(granted):
            if statement.startswith((STATEMENT, http_api.STATEMENT)) and statement not in wanted:
                yield functions.remove_permission(name, statement)


def _statement_id(prefix: str, path: str) -> str:
    """The id of the policy statement that lets an API invoke a function for this path."""
    part = path.lstrip("/")
    if re.fullmatch(r"[A-Za-z0-9_-]{1,80}", part):
        return f"{prefix}{part}"
    # Ids may not contain dots or exceed 100 characters, and no two paths may end up with the same one.
    return f"{prefix}{part.replace('.', '-')[:80]}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"


def release(desired: Desired, existing: Existing, api_changes: bool) -> Iterator[Step]:
    """Deploy the API and point the stage to that deployment, unless it points there already."""
    stage = existing.api.stage if existing.api else None
    deployments = existing.api.deployments if existing.api else {}
    digest = desired.api_digest
    deployed: str | Ref | None = stage.get("deploymentId") if stage else None
    if not stage or deployments.get(str(deployed)) != digest:
        # Left by an earlier run that was interrupted between this step and the next.
        left = [found for found, text in deployments.items() if text == digest]
        if left and not api_changes:
            deployed = left[-1]
        else:
            deployed, outputs = DEPLOYMENT, {DEPLOYMENT.name: "id"}
            yield ON_API.step("create_deployment", "deploy the API", {"description": digest}, outputs=outputs)
    on_stage = Target("apigateway", {**ON_API.params, "stageName": STAGE})
    if not stage:
        params = {"deploymentId": deployed, "description": marker(desired.settings.name), "tags": desired.tags}
        yield on_stage.step("create_stage", f"create stage {STAGE}", params)
    patches = replace(("/deploymentId", stage.get("deploymentId"), deployed)) if stage else []
    patches += _stage_patches(desired, existing, stage or {})
    yield from on_stage.patch("update_stage", f"configure stage {STAGE}", patches)
    if stage and not desired.is_tagged(stage.get("tags") or {}):
        arn = Ref(API.name, desired.names.account.arn("apigateway", f"/restapis/{{}}/stages/{STAGE}", owned=False))
        yield GATEWAY.step("tag_resource", f"tag stage {STAGE}", {"resourceArn": arn, "tags": desired.tags})


def _stage_patches(desired: Desired, existing: Existing, stage: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    methods = stage.get("methodSettings") or {}
    limits = {ALL_METHODS: desired.settings.throttle, **dict.fromkeys(LIMITED, desired.settings.key_throttle)}
    for method, throttle in limits.items():
        named = [settings for name, settings in methods.items() if _unescaped(name) == _unescaped(method)]
        found = named[0] if named else {}
        yield from replace(
            (f"/{method}/throttling/rateLimit", found.get("throttlingRateLimit"), throttle.rate),
            (f"/{method}/throttling/burstLimit", found.get("throttlingBurstLimit"), throttle.burst),
        )
    # Settings of other single methods override those of all. Their names are escaped already, as patch paths are.
    wanted = {_unescaped(method) for method in limits}
    yield from (patch("remove", f"/{name}") for name in sorted(methods) if _unescaped(name) not in wanted)
    variables, known = stage.get("variables") or {}, {**values(existing), **http_api.values(existing)}
    url = _track_url(desired, existing)
    wanted_url = url if isinstance(url, str) or url.name not in known else url.fill(known[url.name])
    yield from replace((f"/variables/{TRACK_URL}", variables.get(TRACK_URL), wanted_url))
    log = stage.get("accessLogSettings") or {}
    if functions.logs_access(desired, existing):
        arn = desired.names.log_group_arn(desired.names.access_log_group)
        before = str(log.get("destinationArn", "")).removesuffix(":*")
        yield from replace(("/accessLogSettings/destinationArn", before, arn))
        yield from replace(("/accessLogSettings/format", log.get("format"), ACCESS_LOG_FORMAT))
    elif log.get("destinationArn") and not desired.settings.access_log:
        yield patch("remove", "/accessLogSettings")


def _track_url(desired: Desired, existing: Existing) -> str | Ref:
    path, account = desired.wiring.track_path, desired.names.account
    if desired.settings.domain:
        return f"https://{desired.settings.domain}{path}"
    if http_api.takes_events(desired, existing):
        return Ref(http_api.HTTP_API.name, account.http_url + path)
    return Ref(API.name, account.rest_url + path)


def _unescaped(method: str) -> str:
    """A method as settings name it, such as `health/GET`: the slash before it may be escaped, or missing."""
    return method.replace("~1", "/").lstrip("/")
