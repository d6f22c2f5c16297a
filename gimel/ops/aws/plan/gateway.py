"""Steps for the API, its stage and who may call the functions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from gimel.ops.aws.desired import ACCESS_LOG_FORMAT, GATEWAY_RESPONSES, Wanted
from gimel.ops.aws.existing import Observed
from gimel.ops.aws.names import LIVE, STAGE, marker
from gimel.ops.aws.wiring import Route

from . import functions
from .steps import MISSING, Late, Step

API = Late("${api}")
DEPLOYMENT = "deployment"

INTEGRATION_DEFAULTS = {"timeoutInMillis": 29_000, "connectionType": "INTERNET", "responseTransferMode": "BUFFERED"}
"""What API Gateway itself fills in."""

ALL_METHODS = "*/*"


def known(observed: Observed) -> dict[str, str]:
    """The ids that later steps use and that are known already."""
    names: dict[str, str] = {}
    if observed.api:
        names["api"] = observed.api.id
        names.update({_resource(path): found for path, found in observed.api.resources.items()})
    if observed.key:
        names["key"] = observed.key.id
    if observed.usage_plan:
        names["usage plan"] = observed.usage_plan.id
    return names


def api(wanted: Wanted, observed: Observed) -> Iterator[Step]:
    """The API, its resources and methods, and nothing beside them. The public sees nothing of it before `release`."""
    text, found = marker(wanted.settings.name), observed.api
    if found is None:
        params = {
            "name": wanted.names.base,
            "description": text,
            "endpointConfiguration": {"types": ["REGIONAL"]},
            "tags": wanted.tags,
        }
        learned = {"api": "id", _resource("/"): "rootResourceId"}
        yield Step(f"create API {wanted.names.base}", "apigateway", "create_rest_api", params, learned)
    elif found.description != text:
        patch = [{"op": "replace", "path": "/description", "value": text}]
        yield _call("mark the API as this deployment's", "update_rest_api", patchOperations=patch)
    yield from _remove_stale(wanted, observed)
    resources = found.resources if found else {}
    paths = dict.fromkeys(route.path for route in wanted.wiring.routes)
    for path in paths:
        if path not in resources:
            yield _call(
                f"create path {path}",
                "create_resource",
                {_resource(path): "id"},
                parentId=Late(f"${{{_resource('/')}}}"),
                pathPart=path.lstrip("/"),
            )
    for route in wanted.wiring.routes:
        yield from _method(wanted, observed, route)
    for name, parameters in GATEWAY_RESPONSES.items():
        if not found or found.responses.get(name) != parameters:
            does = f"let pages read the gateway's own errors ({name})"
            yield _call(does, "put_gateway_response", responseType=name, responseParameters=parameters)


def _call(does: str, call: str, learns: Mapping[str, str] | None = None, **params: Any) -> Step:
    tolerates = MISSING if call.startswith("delete_") else ()
    return Step(does, "apigateway", call, {"restApiId": API, **params}, learns or {}, tolerates=tolerates)


def _resource(path: str) -> str:
    return f"resource {path}"


def _on(route: Route) -> dict[str, Any]:
    return {"resourceId": Late(f"${{{_resource(route.path)}}}"), "httpMethod": route.method}


def _method(wanted: Wanted, observed: Observed, route: Route) -> Iterator[Step]:
    found = observed.api.methods.get((route.path, route.method)) if observed.api else None
    uri = wanted.names.invocation_uri(wanted.names.function(route.function))
    title = f"{route.method} {route.path}"
    kept = found is not None and _is_plain(found, route.needs_key)
    if found and not kept:
        # No call replaces a method. The stage goes on with what was deployed.
        yield _call(f"take away {title} as it is", "delete_method", **_on(route))
    if not kept:
        yield _call(
            f"offer {title}" + (" with the API key" if route.needs_key else ""),
            "put_method",
            **_on(route),
            authorizationType="NONE",
            apiKeyRequired=route.needs_key,
        )
    if not kept or not found or not _is_proxy(found.get("methodIntegration") or {}, uri):
        yield _call(
            f"answer {title} with {LIVE} of {wanted.names.function(route.function)}",
            "put_integration",
            **_on(route),
            type="AWS_PROXY",
            integrationHttpMethod="POST",
            uri=uri,
        )


def _is_plain(method: Mapping[str, Any], needs_key: bool) -> bool:
    """Whether a method is just as ours are, whatever answers it."""
    extras = ("requestParameters", "requestModels", "methodResponses", "requestValidatorId", "authorizerId")
    return (
        method.get("authorizationType") == "NONE"
        and bool(method.get("apiKeyRequired")) == needs_key
        and not any(method.get(extra) for extra in extras)
    )


def _is_proxy(integration: Mapping[str, Any], uri: str) -> bool:
    wanted = {"type": "AWS_PROXY", "httpMethod": "POST", "uri": uri}
    extras = ("credentials", "requestParameters", "requestTemplates", "cacheKeyParameters", "contentHandling")
    return (
        wanted.items() <= dict(integration).items()
        and not any(integration.get(extra) for extra in extras)
        and all(integration.get(key) in (None, value) for key, value in INTEGRATION_DEFAULTS.items())
    )


def _remove_stale(wanted: Wanted, observed: Observed) -> Iterator[Step]:
    if not observed.api:
        return
    paths = {route.path for route in wanted.wiring.routes} | {"/"}
    # The longest first: a path goes before the one it hangs on.
    for path in sorted(set(observed.api.resources) - paths, key=len, reverse=True):
        resource = observed.api.resources[path]
        yield _call(f"remove path {path}", "delete_resource", resourceId=resource)
    routes = {(route.path, route.method) for route in wanted.wiring.routes}
    for path, verb in sorted(observed.api.methods):
        if path in paths and (path, verb) not in routes:
            resource = observed.api.resources[path]
            does = f"remove {verb} {path}"
            yield _call(does, "delete_method", resourceId=resource, httpMethod=verb)


def permissions(wanted: Wanted, observed: Observed) -> Iterator[Step]:
    """API Gateway may call each function through its alias, for its own paths alone."""
    routes: dict[str, dict[str, str]] = {}
    for route in wanted.wiring.routes:
        name = wanted.names.function(route.function)
        routes.setdefault(name, {})[_statement(route.path)] = wanted.account.arn(
            "execute-api", f"${{api}}/{STAGE}/*{route.path}"
        )
    for name, sources in sorted(routes.items()):
        found = observed.functions.get(name)
        granted = dict(found.permissions) if found else {}
        for sid, source in sorted(sources.items()):
            right = observed.api and granted.get(sid) == source.replace("${api}", observed.api.id)
            if sid in granted and not right:
                yield _revoke(name, sid)
            if not right:
                yield _grant(name, sid, source)
        for sid in sorted(granted):
            if sid.startswith("gimel-") and sid not in sources:
                yield _revoke(name, sid)


def _statement(path: str) -> str:
    """The id of the statement that lets API Gateway call a function for this path."""
    part = path.lstrip("/")
    if re.fullmatch(r"[A-Za-z0-9_-]{1,80}", part):
        return f"gimel-{part}"
    # Statements take no dots and 100 characters, and no two paths may end up with the same one.
    return f"gimel-{part.replace('.', '-')[:80]}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"


def _grant(name: str, sid: str, source: str) -> Step:
    params = {
        "FunctionName": name,
        "Qualifier": LIVE,
        "StatementId": sid,
        "Action": "lambda:InvokeFunction",
        "Principal": "apigateway.amazonaws.com",
        "SourceArn": Late(source),
    }
    return Step(f"let API Gateway call {name} ({sid})", "lambda", "add_permission", params)


def _revoke(name: str, sid: str) -> Step:
    params = {"FunctionName": name, "Qualifier": LIVE, "StatementId": sid}
    does = f"stop API Gateway from calling {name} ({sid})"
    return Step(does, "lambda", "remove_permission", params, tolerates=MISSING)


def release(wanted: Wanted, observed: Observed, api_changes: bool) -> Iterator[Step]:
    """Deploy the API as it is now, and point the stage at that; where it already is, leave it."""
    stage = observed.api.stage if observed.api else None
    deployments = observed.api.deployments if observed.api else {}
    digest = wanted.api_digest
    deployed: str | Late | None = stage.get("deploymentId") if stage else None
    if not stage or deployments.get(str(deployed)) != digest:
        # Left over where an earlier run broke off between this step and the next.
        left = [found for found, text in deployments.items() if text == digest]
        if left and not api_changes:
            deployed = left[-1]
        else:
            deployed = Late(f"${{{DEPLOYMENT}}}")
            yield _call("deploy the API", "create_deployment", {DEPLOYMENT: "id"}, description=digest)
    text = marker(wanted.settings.name)
    name: dict[str, Any] = {"stageName": STAGE}
    if not stage:
        params: dict[str, Any] = {**name, "deploymentId": deployed, "description": text, "tags": wanted.tags}
        yield _call(f"create stage {STAGE}", "create_stage", **params)
    patches = list(_stage_patches(wanted, observed, stage))
    if stage and stage.get("deploymentId") != deployed:
        patches.insert(0, {"op": "replace", "path": "/deploymentId", "value": deployed})
    if patches:
        told = ", ".join(_told(patch) for patch in patches)
        yield _call(f"set up stage {STAGE}: {told}", "update_stage", **name, patchOperations=patches)
    if stage and not wanted.is_tagged(stage.get("tags") or {}):
        path = f"/restapis/${{api}}/stages/{STAGE}"
        arn = Late(wanted.account.arn("apigateway", path, owned=False))
        tagged = {"resourceArn": arn, "tags": wanted.tags}
        yield Step(f"tag stage {STAGE}", "apigateway", "tag_resource", tagged)


def _told(patch: Mapping[str, Any]) -> str:
    text = str(patch["path"]).strip("/").removeprefix(f"{ALL_METHODS}/")
    return f"{text} {patch['value']}" if text.startswith("throttling/") else text


def _stage_patches(wanted: Wanted, observed: Observed, stage: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    stage = stage or {}
    methods = stage.get("methodSettings") or {}
    found = methods.get(ALL_METHODS) or {}
    throttle = wanted.settings.throttle
    settings = {
        "rateLimit": (throttle.rate, found.get("throttlingRateLimit")),
        "burstLimit": (throttle.burst, found.get("throttlingBurstLimit")),
    }
    for key, (value, before) in settings.items():
        if before != value:
            yield {"op": "replace", "path": f"/{ALL_METHODS}/throttling/{key}", "value": f"{value:.15g}"}
    # Settings of a single method, which outrank those of all. Their names are escaped as paths of patches are.
    yield from ({"op": "remove", "path": f"/{method}"} for method in sorted(set(methods) - {ALL_METHODS}))
    log = stage.get("accessLogSettings") or {}
    if functions.logs_access(wanted, observed):
        arn = wanted.names.log_group_arn(wanted.names.access_log_group)
        for key, text in (("destinationArn", arn), ("format", ACCESS_LOG_FORMAT)):
            if str(log.get(key, "")).removesuffix(":*") != text:
                yield {"op": "replace", "path": f"/accessLogSettings/{key}", "value": text}
    elif log.get("destinationArn") and not wanted.settings.access_log:
        yield {"op": "remove", "path": "/accessLogSettings"}
