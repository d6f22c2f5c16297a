"""A deployment as Gimel 1.5 left it, created by the same calls with the same values."""

from __future__ import annotations

import json
from dataclasses import dataclass

from .account import Account, small_zip

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}}
        for service in ("lambda", "apigateway")
    ],
}
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["lambda:InvokeFunction"], "Resource": ["*"]},
        {"Effect": "Allow", "Action": ["kinesis:GetRecords", "logs:PutLogEvents"], "Resource": "*"},
    ],
}
# name, handler, timeout, path, method, whether it needs the key
FUNCTIONS = (
    ("gimel-track", "gimel.track", 3, "track", "GET", False),
    ("gimel-all-experiments", "gimel.all", 60, "experiments", "GET", True),
    ("gimel-delete-experiment", "gimel.delete", 30, "delete", "DELETE", True),
)


@dataclass(frozen=True)
class Old:
    """What must stay the same."""

    api: str
    key: str
    key_value: str


def lay_out(account: Account, times: int = 2) -> Old:
    """Deploy this many times; each time adds a version."""
    iam, gateway = account.client("iam"), account.client("apigateway")
    role = iam.create_role(RoleName="gimel", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    iam.put_role_policy(RoleName="gimel", PolicyName="gimel", PolicyDocument=json.dumps(POLICY))
    api = gateway.create_rest_api(name="gimel", description="Gimel API")["id"]
    root = gateway.get_resources(restApiId=api)["items"][0]["id"]
    for name, handler, timeout, path, method, needs_key in FUNCTIONS:
        alias = _function(account, name, role, handler, timeout, times)
        where = {
            "restApiId": api,
            "resourceId": gateway.create_resource(restApiId=api, parentId=root, pathPart=path)["id"],
        }
        uri = f"arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/{alias}/invocations"
        _method(gateway, where, method, needs_key, type="AWS", credentials=role, uri=uri, integrationHttpMethod="POST")
        _method(gateway, where, "OPTIONS", False, type="MOCK", requestTemplates={"application/json": "{}"})
    gateway.create_deployment(restApiId=api, stageName="prod", description="gimel deployment")
    stage = [{"restApiId": api, "stageName": "prod"}]
    key = gateway.create_api_key(name="gimel", enabled=True, stageKeys=stage)
    return Old(api, key["id"], gateway.get_api_key(apiKey=key["id"], includeValue=True)["value"])


def _function(account: Account, name: str, role: str, handler: str, timeout: int, times: int) -> str:
    client, code = account.client("lambda"), small_zip()
    common = {"FunctionName": name, "Runtime": "python3.8", "Role": role, "Handler": handler}
    sizes = {"MemorySize": 128, "Timeout": timeout}
    version = client.create_function(**common, **sizes, Publish=True, Code={"ZipFile": code})["Version"]
    for _ in range(times - 1):
        client.update_function_configuration(**common, **sizes)
        version = client.update_function_code(FunctionName=name, Publish=True, ZipFile=code)["Version"]
    return str(client.create_alias(FunctionName=name, FunctionVersion=version, Name="live")["AliasArn"])


def _method(gateway, where: dict[str, str], verb: str, needs_key: bool, **integration: object) -> None:
    parameters = {} if verb == "OPTIONS" else {"method.request.querystring.namespace": False}
    gateway.put_method(
        **where, httpMethod=verb, authorizationType="NONE", apiKeyRequired=needs_key, requestParameters=parameters
    )
    gateway.put_integration(**where, httpMethod=verb, **integration)
    gateway.put_method_response(
        **where,
        httpMethod=verb,
        statusCode="200",
        responseParameters={"method.response.header.Access-Control-Allow-Origin": False},
    )
    gateway.put_integration_response(
        **where,
        httpMethod=verb,
        statusCode="200",
        responseParameters={"method.response.header.Access-Control-Allow-Origin": "'*'"},
    )
