"""What moto lacks of HTTP APIs and custom domain names, and their state."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest
from moto.apigatewayv2.models import ApiGatewayV2Backend
from moto.apigatewayv2.responses import ApiGatewayV2Response

_tag_resource = ApiGatewayV2Backend.tag_resource
SETTINGS = {
    "autoDeploy": "auto_deploy",
    "defaultRouteSettings": "default_route_settings",
    "routeSettings": "route_settings",
    "accessLogSettings": "access_log_settings",
}


def correct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the calls that moto lacks, and correct those that differ from AWS."""

    def update_stage(response: ApiGatewayV2Response) -> tuple[int, dict[str, str], str]:
        *_, api, _, name = response.path.split("/")
        stage = response.apigatewayv2_backend.get_stage(api, unquote(name))
        for key, value in json.loads(response.body).items():
            # Routes that are not named keep their settings.
            merged = {**stage.route_settings, **value} if key == "routeSettings" else value
            setattr(stage, SETTINGS[key], merged)
        return 200, {}, json.dumps(stage.to_json())

    def tag_resource(backend: ApiGatewayV2Backend, resource_arn: str, tags: dict[str, str]) -> None:
        kind, name, *rest = resource_arn.partition("::/")[2].split("/")
        if kind == "apis" and not rest:
            _tag_resource(backend, resource_arn, tags)
        else:
            thing = backend.get_stage(name, rest[1]) if rest else backend.get_domain_name(name)
            thing.tags = {**thing.tags, **tags}

    monkeypatch.setattr(ApiGatewayV2Response, "update_stage", update_stage, raising=False)
    monkeypatch.setattr(ApiGatewayV2Backend, "tag_resource", tag_resource)


def http_apis(client: Any) -> dict[str, Any]:
    """Each HTTP API, without the ids of what belongs to it."""
    return {item["ApiId"]: _http_api(client, item) for item in client.get_apis()["Items"]}


def _http_api(client: Any, item: dict[str, Any]) -> dict[str, Any]:
    api = item["ApiId"]
    integrations = {
        found["IntegrationId"]: {
            key: value for key, value in found.items() if key not in ("IntegrationId", "ResponseMetadata")
        }
        for found in client.get_integrations(ApiId=api)["Items"]
    }
    routes = {
        found["RouteKey"]: [found["AuthorizationType"], integrations.get(found["Target"].rpartition("/")[2])]
        for found in client.get_routes(ApiId=api)["Items"]
    }
    stages = {
        found["StageName"]: {key: value for key, value in found.items() if not key.endswith("Date")}
        for found in client.get_stages(ApiId=api)["Items"]
    }
    kept = ("Name", "ProtocolType", "Description", "Tags", "DisableExecuteApiEndpoint", "CorsConfiguration")
    return {
        **{key: item.get(key) or None for key in kept},
        "integrations": len(integrations),
        "routes": routes,
        "stages": stages,
    }
