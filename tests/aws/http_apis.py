"""What moto lacks of HTTP APIs and custom domain names, and their state."""

from __future__ import annotations

import itertools
import json
from typing import Any
from urllib.parse import unquote

import pytest
from moto.apigateway import urls
from moto.apigateway.models import apigateway_backends
from moto.apigatewayv2.models import ApiGatewayV2Backend, ApiMapping, DomainName
from moto.apigatewayv2.responses import ApiGatewayV2Response

_create_domain_name = ApiGatewayV2Backend.create_domain_name
_tag_resource = ApiGatewayV2Backend.tag_resource
_numbers = itertools.count()
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

    def delete_access_log_settings(response: ApiGatewayV2Response) -> tuple[int, dict[str, str], str]:
        *_, api, _, name, _ = response.path.split("/")
        response.apigatewayv2_backend.get_stage(api, unquote(name)).access_log_settings = None
        return 204, {}, ""

    def create_domain_name(backend: ApiGatewayV2Backend, **params: Any) -> DomainName:
        made = _create_domain_name(backend, **params)
        made.domain_name_configurations = [_provisioned(made.domain_name, made.domain_name_configurations)]
        return made

    def update_domain_name(response: ApiGatewayV2Response) -> tuple[int, dict[str, str], str]:
        found = response.apigatewayv2_backend.get_domain_name(response.path.split("/")[-1])
        changed = json.loads(response.body)["domainNameConfigurations"]
        found.domain_name_configurations = [_provisioned(found.domain_name, changed)]
        return 200, {}, json.dumps(found.to_json())

    def create_api_mapping(backend: ApiGatewayV2Backend, **params: str) -> ApiMapping:
        # Of either kind of API, as on AWS. A key can be used only once.
        backend.get_domain_name(params["domain_name"])
        rest_apis = apigateway_backends[backend.account_id][backend.region_name].apis
        assert params["api_id"] in {*backend.apis, *rest_apis}
        keys = [found.api_mapping_key for found in backend.get_api_mappings(params["domain_name"])]
        assert params["api_mapping_key"] not in keys
        made = ApiMapping(api_mapping_id=f"m{next(_numbers)}", **params)
        backend.api_mappings[made.api_mapping_id] = made
        return made

    def update_api_mapping(response: ApiGatewayV2Response) -> tuple[int, dict[str, str], str]:
        *_, domain, _, mapping = response.path.split("/")
        found = response.apigatewayv2_backend.get_api_mapping(mapping, domain)
        changed = json.loads(response.body)
        found.api_id, found.stage = changed["apiId"], changed["stage"]
        return 200, {}, json.dumps(found.to_json())

    def tag_resource(backend: ApiGatewayV2Backend, resource_arn: str, tags: dict[str, str]) -> None:
        kind, name, *rest = resource_arn.partition("::/")[2].split("/")
        if kind == "apis" and not rest:
            _tag_resource(backend, resource_arn, tags)
        else:
            thing = backend.get_stage(name, rest[1]) if rest else backend.get_domain_name(name)
            thing.tags = {**thing.tags, **tags}

    # Under v1, because moto serves both versions from there.
    path = "{0}/v2/apis/(?P<api_id>[^/]+)/stages/(?P<stage_name>[^/]+)/accesslogsettings$"
    monkeypatch.setitem(urls.url_paths, path, ApiGatewayV2Response.dispatch)
    monkeypatch.setattr(ApiGatewayV2Response, "delete_access_log_settings", delete_access_log_settings, raising=False)
    monkeypatch.setattr(ApiGatewayV2Response, "update_stage", update_stage, raising=False)
    monkeypatch.setattr(ApiGatewayV2Response, "update_domain_name", update_domain_name, raising=False)
    monkeypatch.setattr(ApiGatewayV2Response, "update_api_mapping", update_api_mapping, raising=False)
    monkeypatch.setattr(ApiGatewayV2Backend, "create_domain_name", create_domain_name)
    monkeypatch.setattr(ApiGatewayV2Backend, "create_api_mapping", create_api_mapping)
    monkeypatch.setattr(ApiGatewayV2Backend, "tag_resource", tag_resource)


def _provisioned(name: str, configurations: list[dict[str, str]]) -> dict[str, str]:
    """The configuration with what AWS adds to it."""
    target = f"d-{name.partition('.')[0]}.execute-api.eu-west-1.amazonaws.com"
    return {**configurations[0], "apiGatewayDomainName": target, "hostedZoneId": "Z1", "domainNameStatus": "PENDING"}


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


def domains(client: Any) -> dict[str, Any]:
    """Each custom domain name, with its mappings by key."""
    kept = ("DomainNameConfigurations", "Tags")
    return {
        item["DomainName"]: {key: item[key] for key in kept} | _mappings(client, item["DomainName"])
        for item in client.get_domain_names()["Items"]
    }


def _mappings(client: Any, name: str) -> dict[str, Any]:
    found = client.get_api_mappings(DomainName=name)["Items"]
    return {"mappings": {item["ApiMappingKey"]: [item["ApiId"], item["Stage"]] for item in found}}
