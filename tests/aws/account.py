"""A moto account: its state, and a record of every call."""

from __future__ import annotations

import io
import json
from typing import Any
from zipfile import ZipFile, ZipInfo

import boto3
import botocore.loaders
import botocore.session

from gimel import access
from gimel.ops.aws.deployment import Deployment
from gimel.ops.aws.plan import steps
from gimel.ops.aws.plan.steps import Plan
from gimel.ops.aws.wiring import wire

from .http_apis import domains, http_apis

# Shared, because loading the service models takes longer than all calls of a deployment.
LOADER = botocore.loaders.create_loader()
FUNCTIONS = sorted(function.name for function in wire().functions)
READING = ("Get", "List", "Describe", "Filter", "Simulate")
ID = "123456789012"
INTEGRATION = ("type", "uri", "credentials", "timeoutInMillis", "requestParameters", "connectionType")


class Account:
    """Clients, a record of all calls, and the state of everything that deploy could change."""

    def __init__(self, region: str | None = None) -> None:
        self.session = _session(region)
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.session.events.register("provide-client-params.*.*", self._note)
        # The tests' own clients are not recorded.
        self.own = _session(region)
        self._clients: dict[str, Any] = {}
        self.client("apigateway").update_account(
            patchOperations=[{"op": "replace", "path": "/cloudwatchRoleArn", "value": f"arn:aws:iam::{ID}:role/logs"}]
        )

    def _note(self, params: dict[str, Any], model: Any, **ignored: Any) -> None:
        self.calls.append((model.service_model.service_name, model.name, dict(params)))

    def client(self, service: str) -> Any:
        # Kept, because to make one takes longer than most calls.
        if service not in self._clients:
            self._clients[service] = self.own.client(service)
        return self._clients[service]

    @property
    def writes(self) -> list[tuple[str, str, dict[str, Any]]]:
        return [call for call in self.calls if not call[1].startswith(READING)]

    def state(self) -> dict[str, Any]:
        """The state by kind and name, without what differs between two equal deployments."""
        return {
            "functions": {item["FunctionName"]: self._function(item["FunctionName"]) for item in self._functions()},
            "apis": {item["id"]: self._api(item) for item in self.client("apigateway").get_rest_apis()["items"]},
            "http_apis": http_apis(self.client("apigatewayv2")),
            "domains": domains(self.client("apigatewayv2")),
            "keys": {item["id"]: item for item in self.client("apigateway").get_api_keys()["items"]},
            "plans": {item["id"]: self._plan(item) for item in self.client("apigateway").get_usage_plans()["items"]},
            "roles": {item["RoleName"]: self.role(item["RoleName"]) for item in self._roles()},
            "groups": {item["logGroupName"]: item.get("retentionInDays") for item in self._groups()},
            "queues": {url.rpartition("/")[2]: self._queue(url) for url in self._queue_urls()},
            "mappings": self._mappings(),
            "schedules": {item["Name"]: self._schedule(item) for item in self.client("events").list_rules()["Rules"]},
            "topics": {item["TopicArn"]: self._topic(item["TopicArn"]) for item in self._topics()},
            "alarms": {item["AlarmName"]: self._alarm(item) for item in self._alarms()},
        }

    def _functions(self) -> list[dict[str, Any]]:
        return self.client("lambda").list_functions()["Functions"]

    def _roles(self) -> list[dict[str, Any]]:
        return self.client("iam").list_roles()["Roles"]

    def _groups(self) -> list[dict[str, Any]]:
        return self.client("logs").describe_log_groups()["logGroups"]

    def _queue_urls(self) -> list[str]:
        return self.client("sqs").list_queues().get("QueueUrls", [])

    def _topics(self) -> list[dict[str, Any]]:
        return self.client("sns").list_topics()["Topics"]

    def _topic(self, arn: str) -> dict[str, Any]:
        client = self.client("sns")
        found = client.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
        return {
            "subscriptions": sorted((item["Protocol"], item["Endpoint"]) for item in found),
            "tags": _by_key(client.list_tags_for_resource(ResourceArn=arn)["Tags"]),
        }

    def _schedule(self, item: dict[str, Any]) -> dict[str, Any]:
        client = self.client("events")
        return {
            **item,
            "targets": client.list_targets_by_rule(Rule=item["Name"])["Targets"],
            "tags": _by_key(client.list_tags_for_resource(ResourceARN=item["Arn"])["Tags"]),
        }

    def _alarms(self) -> list[dict[str, Any]]:
        return self.client("cloudwatch").describe_alarms()["MetricAlarms"]

    def _alarm(self, item: dict[str, Any]) -> dict[str, Any]:
        tags = self.client("cloudwatch").list_tags_for_resource(ResourceARN=item["AlarmArn"])["Tags"]
        kept = {key: value for key, value in item.items() if "Timestamp" not in key and not key.startswith("State")}
        return {**kept, "tags": _by_key(tags)}

    def _queue(self, url: str) -> dict[str, Any]:
        client = self.client("sqs")
        found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        kept = ("VisibilityTimeout", "MessageRetentionPeriod", "SqsManagedSseEnabled", "RedrivePolicy", "Policy")
        return {
            **{key: found.get(key) or "" for key in kept},
            "tags": client.list_queue_tags(QueueUrl=url).get("Tags", {}),
        }

    def _mappings(self) -> dict[str, Any]:
        changing = ("UUID", "LastModified", "EventSourceMappingArn")
        return {
            f"{item['EventSourceArn']} {item['FunctionArn']} {number}": {
                key: value for key, value in item.items() if key not in changing and value != {}
            }
            for number, item in enumerate(self.client("lambda").list_event_source_mappings()["EventSourceMappings"])
        }

    def _function(self, name: str) -> dict[str, Any]:
        client = self.client("lambda")
        found = client.get_function(FunctionName=name)
        kept = ("Runtime", "Role", "Handler", "MemorySize", "Timeout", "Architectures", "Environment", "CodeSha256")
        try:
            policy = json.loads(client.get_policy(FunctionName=name, Qualifier="live")["Policy"])["Statement"]
        except client.exceptions.ResourceNotFoundException:
            policy = []
        return {
            "configuration": {key: _comparable(found["Configuration"].get(key)) for key in kept},
            "tags": found.get("Tags", {}),
            "reserved": found.get("Concurrency", {}).get("ReservedConcurrentExecutions"),
            "aliases": {
                alias["Name"]: (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
                for alias in client.list_aliases(FunctionName=name)["Aliases"]
            },
            "policy": {statement["Sid"]: statement.get("Condition") for statement in policy},
        }

    def _api(self, item: dict[str, Any]) -> dict[str, Any]:
        client, api = self.client("apigateway"), item["id"]
        methods = {}
        for resource in client.get_resources(restApiId=api)["items"]:
            for verb in resource.get("resourceMethods", {}):
                found = client.get_method(restApiId=api, resourceId=resource["id"], httpMethod=verb)
                methods[f"{verb} {resource['path']}"] = {
                    "key": found["apiKeyRequired"],
                    "parameters": found.get("requestParameters") or {},
                    "responses": sorted(found.get("methodResponses") or {}),
                    **{key: found.get("methodIntegration", {}).get(key) for key in INTEGRATION},
                }
        responses = client.get_gateway_responses(restApiId=api)["items"]
        stages = {}
        for stage in client.get_stages(restApiId=api)["item"]:
            deployed = client.get_deployment(restApiId=api, deploymentId=stage["deploymentId"])
            methods_of = stage.get("methodSettings", {})
            stages[stage["stageName"]] = {
                "deployed": deployed.get("description"),
                "methods": {
                    name: [found["throttlingRateLimit"], found["throttlingBurstLimit"]]
                    for name, found in methods_of.items()
                },
                "access log": stage.get("accessLogSettings"),
                "tags": stage.get("tags", {}),
                "variables": stage.get("variables", {}),
            }
        return {
            "name": item["name"],
            "binary": item.get("binaryMediaTypes") or [],
            "paths": sorted(resource["path"] for resource in client.get_resources(restApiId=api)["items"]),
            "methods": methods,
            "responses": {found["responseType"]: found.get("responseParameters") for found in responses},
            "stages": stages,
        }

    def _plan(self, item: dict[str, Any]) -> dict[str, Any]:
        keys = self.client("apigateway").get_usage_plan_keys(usagePlanId=item["id"])["items"]
        return {**item, "keys": [key["id"] for key in keys]}

    def role(self, name: str) -> dict[str, Any]:
        client = self.client("iam")
        names = client.list_role_policies(RoleName=name)["PolicyNames"]
        found = client.get_role(RoleName=name)["Role"]
        return {
            "trust": found["AssumeRolePolicyDocument"],
            "policies": {one: client.get_role_policy(RoleName=name, PolicyName=one)["PolicyDocument"] for one in names},
            "attached": client.list_attached_role_policies(RoleName=name)["AttachedPolicies"],
        }

    def only(self, kind: str) -> Any:
        (found,) = self.state()[kind].values()
        return found

    def key(self, kind: str = access.WRITE) -> str:
        """The id of the key of this kind, of the deployment `gimel`."""
        name = {access.WRITE: "gimel", access.READ: "gimel-read"}[kind]
        (found,) = (id for id, key in self.state()["keys"].items() if key["name"] == name)
        return str(found)

    def make_function(self, name: str, **options: Any) -> None:
        """Create a function that belongs to somebody else."""
        role = options.pop("Role", None) or self.make_role("somebody")
        code = {"ZipFile": small_zip()}
        self.client("lambda").create_function(
            **{"FunctionName": name, "Runtime": "python3.12", "Role": role, "Handler": "a.b", "Code": code, **options}
        )

    def make_role(self, name: str) -> str:
        client = self.client("iam")
        try:
            return str(client.get_role(RoleName=name)["Role"]["Arn"])
        except client.exceptions.NoSuchEntityException:
            return str(client.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"])


def _by_key(tags: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def _comparable(value: Any) -> Any:
    """Without the id of the role and the hashes of keys, which differ between two equal deployments."""
    if isinstance(value, dict) and "Variables" in value:
        variables = {key: text for key, text in value["Variables"].items() if key != "GIMEL_ROLE_ID"}
        if access.VARIABLE in variables:
            variables[access.VARIABLE] = [one["kind"] for one in json.loads(variables[access.VARIABLE])]
        return {"Variables": variables}
    return value


def _session(region: str | None) -> boto3.Session:
    core = botocore.session.Session()
    core.register_component("data_loader", LOADER)
    return boto3.Session(botocore_session=core, region_name=region)


def small_zip(text: str = "def b(event, context): pass") -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as archive:
        archive.writestr(ZipInfo("a.py"), text)
    return buffer.getvalue()


def apply(deployment: Deployment, plan: Plan | None = None) -> dict[str, str]:
    """Perform every step of the plan, which is by default that of a deploy."""
    return steps.execute(deployment.plan() if plan is None else plan, deployment.aws.perform)


def descriptions(plan: Plan) -> list[str]:
    return [step.description for step in plan.steps]
