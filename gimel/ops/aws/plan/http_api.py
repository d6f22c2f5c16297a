"""Steps for the HTTP API: it takes events for less than the REST API, and serves nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gimel.ops.aws.desired import HTTP_ACCESS_LOG_FORMAT, Desired
from gimel.ops.aws.existing import Existing
from gimel.ops.aws.names import HTTP_STAGE, LIVE, TRACK, Names, is_of, marker

from .steps import Ref, Step, Target

HTTP_API = Ref("HTTP API")
INTEGRATION = Ref("integration of the HTTP API")

GATEWAY = Target("apigatewayv2")
ON_API = Target("apigatewayv2", {"ApiId": HTTP_API})

STATEMENT = "gimel_http-"
"""How the ids of its policy statements begin. No path of the REST API makes such an id."""

INTEGRATION_DEFAULTS = {"TimeoutInMillis": 30_000, "ConnectionType": "INTERNET"}
"""What API Gateway itself fills in."""


def values(existing: Existing) -> dict[str, str]:
    """The ids that are known already."""
    return {HTTP_API.name: existing.http_api.id} if existing.http_api else {}


def is_wanted(desired: Desired, existing: Existing) -> bool:
    """Whether there is to be an HTTP API. One that exists is kept, because pages may use its URL.

    By default, new deployments get one, and those that had one that was deleted by hand.
    """
    if existing.http_api or desired.settings.track_api:
        return existing.http_api is not None or desired.settings.track_api == "http"
    granted = (statement for function in existing.functions.values() for statement in function.permissions)
    return existing.api is None or any(statement.startswith(STATEMENT) for statement in granted)


def takes_events(desired: Desired, existing: Existing) -> bool:
    """Whether pages are to send their events to the HTTP API."""
    return desired.settings.track_api != "rest" and is_wanted(desired, existing)


def notes(desired: Desired, existing: Existing) -> Iterator[str]:
    """That an HTTP API is kept although it is no longer wanted."""
    found = existing.http_api
    if found and desired.settings.track_api == "rest":
        yield (
            f"HTTP API {desired.names.base} is kept, because pages may still send events to "
            f"{found.configuration.get('ApiEndpoint')}; only `gimel destroy` deletes it"
        )


def sources(desired: Desired, existing: Existing) -> dict[str, Ref]:
    """The source ARN of its requests for each of its paths."""
    if not is_wanted(desired, existing):
        return {}
    account = desired.names.account
    return {
        path: Ref(HTTP_API.name, account.arn("execute-api", f"{{}}/*/*{path}")) for path in _routes(desired).values()
    }


def api(desired: Desired, existing: Existing) -> Iterator[Step]:
    """The API itself. Nothing of a new one is public before it has a `stage`."""
    if not is_wanted(desired, existing):
        return
    found, base = existing.http_api, desired.names.base
    if not found:
        params = {"Name": base, "ProtocolType": "HTTP", "Description": marker(desired.settings.name)}
        outputs = {HTTP_API.name: "ApiId"}
        yield GATEWAY.step("create_api", f"create HTTP API {base}", {**params, "Tags": desired.tags}, outputs=outputs)
        return
    if found.configuration.get("DisableExecuteApiEndpoint"):
        yield ON_API.step("update_api", f"enable the URL of HTTP API {base}", {"DisableExecuteApiEndpoint": False})
    if found.configuration.get("CorsConfiguration"):
        # API Gateway would replace the functions' headers, which depend on cors_origins.
        yield ON_API.remove("delete_cors_configuration", f"let the functions answer CORS of HTTP API {base}")
    yield from _tag(desired, "", found.configuration, f"HTTP API {base}")


def routes(desired: Desired, existing: Existing) -> Iterator[Step]:
    """The paths of the function that tracks, and no others. Routes move before their old integration is deleted."""
    if not is_wanted(desired, existing):
        return
    found = existing.http_api
    existing_routes = found.routes if found else {}
    integrations = found.integrations if found else {}
    function = desired.names.function(TRACK)
    proxy = {
        "IntegrationType": "AWS_PROXY",
        "IntegrationUri": desired.names.live_arn(function),
        "PayloadFormatVersion": "2.0",
    }
    kept = next((id for id, item in sorted(integrations.items()) if _is_plain(item, proxy)), None)
    target = Ref(INTEGRATION.name, "integrations/{}") if kept is None else f"integrations/{kept}"
    if kept is None:
        description = f"connect the HTTP API to alias {LIVE} of {function}"
        yield ON_API.step("create_integration", description, proxy, outputs={INTEGRATION.name: "IntegrationId"})
    desired_routes = _routes(desired)
    for key in desired_routes:
        route = existing_routes.get(key)
        connection = {"Target": target, "AuthorizationType": "NONE"}
        if not route:
            yield ON_API.step("create_route", f"create route {key} of the HTTP API", {"RouteKey": key, **connection})
        elif route.get("Target") != target or route.get("AuthorizationType") != "NONE":
            params = {"RouteId": route["RouteId"], **connection}
            yield ON_API.step("update_route", f"connect route {key} of the HTTP API", params)
    for key in sorted(existing_routes.keys() - desired_routes):
        params = {"RouteId": existing_routes[key]["RouteId"]}
        yield ON_API.remove("delete_route", f"delete route {key} of the HTTP API", params)
    for id in sorted(integrations.keys() - {kept}):
        yield ON_API.remove("delete_integration", f"delete integration {id} of the HTTP API", {"IntegrationId": id})


def _routes(desired: Desired) -> dict[str, str]:
    """The path of each route of the HTTP API. It cannot check a key, so it gets no path that needs one."""
    keyed = {route.path for route in desired.wiring.routes if route.needs_key}
    return {
        f"{route.method} {route.path}": route.path
        for route in desired.wiring.routes
        if route.function == TRACK and route.path not in keyed
    }


def _is_plain(integration: Mapping[str, Any], proxy: Mapping[str, str]) -> bool:
    extras = ("CredentialsArn", "RequestParameters", "ResponseParameters", "TlsConfig")
    return (
        proxy.items() <= dict(integration).items()
        and not any(integration.get(extra) for extra in extras)
        and all(integration.get(key) in (None, value) for key, value in INTEGRATION_DEFAULTS.items())
    )


def stage(desired: Desired, existing: Existing) -> Iterator[Step]:
    """The stage that makes the API public, and every change of it at once."""
    if not is_wanted(desired, existing):
        return
    found, on_stage = existing.http_api and existing.http_api.stage, Target("apigatewayv2", _stage_params())
    throttle = desired.settings.throttle
    limits = {"ThrottlingRateLimit": throttle.rate, "ThrottlingBurstLimit": throttle.burst}
    log = _access_log(desired)
    if not found:
        params = {"Description": marker(desired.settings.name), "Tags": desired.tags, "AutoDeploy": True}
        params |= {"DefaultRouteSettings": limits, **({"AccessLogSettings": log} if log else {})}
        yield on_stage.step("create_stage", f"create stage {HTTP_STAGE} of the HTTP API", params)
        return
    changed: dict[str, Any] = {} if found.get("AutoDeploy") else {"AutoDeploy": True}
    if not _has(found.get("DefaultRouteSettings"), limits):
        changed["DefaultRouteSettings"] = limits
    # Settings of single routes override those of all.
    single = {key: own for key, own in (found.get("RouteSettings") or {}).items() if key in _routes(desired)}
    if deviating := {key: limits for key, own in single.items() if not _has({**limits, **own}, limits)}:
        changed["RouteSettings"] = deviating
    before = found.get("AccessLogSettings") or {}
    logged = {**before, "DestinationArn": str(before.get("DestinationArn", "")).removesuffix(":*")}
    if log and logged != log:
        changed["AccessLogSettings"] = log
    if changed:
        description = f"configure stage {HTTP_STAGE} of the HTTP API: {', '.join(changed)}"
        yield on_stage.step("update_stage", description, changed)
    if before and not log:
        yield on_stage.remove("delete_access_log_settings", "turn off the access log of the HTTP API")
    yield from _tag(desired, f"/stages/{HTTP_STAGE}", found, f"stage {HTTP_STAGE} of the HTTP API")


def _stage_params() -> dict[str, Any]:
    return {**ON_API.params, "StageName": HTTP_STAGE}


def _access_log(desired: Desired) -> dict[str, str]:
    """Unlike a REST API, it needs no role of the account to write it."""
    if not desired.settings.access_log:
        return {}
    arn = desired.names.log_group_arn(desired.names.access_log_group)
    return {"DestinationArn": arn, "Format": HTTP_ACCESS_LOG_FORMAT}


def _has(found: Mapping[str, Any] | None, limits: Mapping[str, float]) -> bool:
    return all((found or {}).get(key) == value for key, value in limits.items())


def _tag(desired: Desired, part: str, found: Mapping[str, Any], what: str) -> Iterator[Step]:
    if not desired.is_tagged(found.get("Tags") or {}):
        arn = Ref(HTTP_API.name, desired.names.account.arn("apigateway", f"/apis/{{}}{part}", owned=False))
        yield GATEWAY.step("tag_resource", f"tag {what}", {"ResourceArn": arn, "Tags": desired.tags})


def delete(names: Names, existing: Existing) -> Iterator[Step]:
    """Delete the API with all that belongs to it."""
    found = existing.http_api
    if found and is_of(names.deployment, found.configuration.get("Description") or ""):
        target = Target("apigatewayv2", {"ApiId": found.id})
        yield target.remove("delete_api", f"delete HTTP API {names.base} ({found.id})")
