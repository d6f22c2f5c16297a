"""The generated policy allows exactly what Gimel calls."""

from __future__ import annotations

import fnmatch
import re
from datetime import datetime, timezone
from typing import Any

import pytest
from botocore.session import Session
from botocore.stub import ANY, Stubber

from gimel.ops.aws import logs, policies, preflight, status
from gimel.ops.aws.client import Aws
from gimel.ops.aws.names import Account as Place
from gimel.ops.aws.names import Names
from tests.parts import ROOT

from . import gimel15, test_alarms, test_domain, test_drift, test_http_api
from .account import ID, Account, apply
from .test_settings import entry

pytestmark = pytest.mark.slow

IMPLIED = {"lambda:ListTags"}  # AWS checks this for another call, GetFunction.
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
DRIFTS = (
    test_drift.removed_route,
    test_drift.extra_method,
    test_drift.no_access_log,
    test_drift.disabled_key,
    test_drift.plan_without_stage,
    test_drift.wider_role,
    test_drift.wider_trust,
    test_drift.untagged,
    test_drift.impatient_queue,
    test_drift.disabled_mapping,
    test_drift.duplicated_mapping,
)


@pytest.fixture
def calls(account, gimel_at) -> list[tuple[str, str, dict[str, Any]]]:
    """Every call of a long life: Gimel 1.5 is upgraded, drifts, is fixed, changed, rolled back and removed."""
    gimel15.lay_out(account, times=7)
    account.calls.clear()
    assert list(preflight.check_account(gimel_at()))
    apply(gimel_at(functions={"gimel-track": {"reserved_concurrency": 2}}))
    for drift in DRIFTS:
        drift(account)
    apply(gimel_at())
    apply(gimel_at(memory_mb=512, tags={"team": "web"}))
    watched = {"memory_mb": 512, "tags": {"team": "web"}}
    apply(gimel_at(**watched, alarms=test_alarms.OPS))
    test_alarms.untagged_alarm_of_tags(account)
    test_alarms.untagged_topic_of_tags(account)
    apply(gimel_at(**watched, alarms={"email": "web@example.com"}))
    assert gimel_at().costs(gimel_at().observe())
    apply(gimel_at(**watched))
    apply(gimel_at(), gimel_at().plan_rollback())
    options = {"track_api": "http", "domain": test_domain.DOMAIN, "certificate_arn": test_domain.CERTIFICATE}
    apply(gimel_at(**options))
    for drift in test_http_api.DRIFTS:
        drift(account)
    test_domain.mapped_elsewhere(account)
    apply(gimel_at(**{**options, "tags": {"team": "web"}, "certificate_arn": f"{test_domain.CERTIFICATE}2"}))
    gimel_at().key_value(gimel_at().require_live())
    status.describe(gimel_at(), gimel_at().observe(), gimel_at().require_live())
    logs.read(gimel_at(), ["gimel-track"], 60)
    url = test_drift.queue_url(account, "gimel-dead-letters")
    account.client("sqs").send_message(QueueUrl=url, MessageBody="{}")
    assert gimel_at().dead_letter_reasons()
    assert len(list(gimel_at().redrive(1))) == 1
    apply(gimel_at(), gimel_at().plan_removal())
    for name in ("gimel-track", "cart"):
        apply(gimel_at({"extra_wiring": [entry(name=name)]}))
    apply(gimel_at())
    return [call for call in account.calls if call[0] != "sts"]


def needed(service: str, call: str, params: dict[str, Any]) -> list[tuple[str, str]]:
    """The actions that AWS checks for a call, each with its resource."""
    if service == "lambda":
        return _needed_by_lambda(call, params)
    if service == "sqs":
        name = params.get("QueueName") or params["QueueUrl"].rpartition("/")[2]
        own = f"arn:aws:sqs:eu-west-1:{ID}:{name}"
        return [(f"sqs:{call}", own), *([("sqs:TagQueue", own)] if "tags" in params else [])]
    if service == "sns":
        topic = (
            params.get("TopicArn") or params.get("ResourceArn") or f"arn:aws:sns:eu-west-1:{ID}:{params.get('Name')}"
        )
        own = "*" if call == "Unsubscribe" else topic
        return [(f"sns:{call}", own), *([("sns:TagResource", own)] if "Tags" in params else [])]
    if service == "events":
        own = f"arn:aws:events:eu-west-1:{ID}:rule/gimel-snapshot"
        return [(f"events:{call}", own), *([("events:TagResource", own)] if "Tags" in params else [])]
    if service == "cloudwatch":
        return _needed_by_cloudwatch(call, params)
    if service == "logs":
        return [(f"logs:{call}", _log_group(call, params))]
    if call == "SimulatePrincipalPolicy":
        # moto's own user has an ARN of STS.
        return [(f"iam:{call}", params["PolicySourceArn"].replace(":sts:", ":iam:"))]
    if service == "iam":
        return [(f"iam:{call}", f"arn:aws:iam::{ID}:role/{params['RoleName']}")]
    operation = OPERATIONS[service, call]
    http = operation.http
    # The version of the interface is no part of the resource.
    path = http["requestUri"].partition("?")[0].removeprefix("/v2")
    for part in [part[1:-1] for part in path.split("/") if part.startswith("{")]:
        members = operation.input_shape.members.items()
        member = next(name for name, shape in members if shape.serialization.get("name") == part)
        path = path.replace("{" + part + "}", str(params[member]))
    return [(f"apigateway:{http['method']}", f"arn:aws:apigateway:eu-west-1::{path}")]


def _needed_by_lambda(call: str, params: dict[str, Any]) -> list[tuple[str, str]]:
    name = params.get("FunctionName")
    parts = ["function", name, params["Qualifier"]] if "Qualifier" in params else ["function", name]
    own = f"arn:aws:lambda:eu-west-1:{ID}:{':'.join(parts)}" if name else params.get("Resource", "*")
    passed = [(policies.PASS_ROLE, params["Role"])] if "Role" in params else []
    return [(f"lambda:{call}", own), *passed]


def _needed_by_cloudwatch(call: str, params: dict[str, Any]) -> list[tuple[str, str]]:
    if call in ("DescribeAlarms", "GetMetricData"):
        return [(f"cloudwatch:{call}", "*")]
    alarms = params.get("AlarmNames") or [params.get("AlarmName")]
    arns = [params.get("ResourceARN") or f"arn:aws:cloudwatch:eu-west-1:{ID}:alarm:{name}" for name in alarms]
    tagged = ["cloudwatch:TagResource"] if "Tags" in params else []
    return [(action, arn) for action in (f"cloudwatch:{call}", *tagged) for arn in arns]


def _log_group(call: str, params: dict[str, Any]) -> str:
    if call == "DescribeLogGroups":
        return "*"
    # Tags belong to the group itself, everything else to its contents.
    name = params.get("logGroupName")
    return f"arn:aws:logs:eu-west-1:{ID}:log-group:{name}:*" if name else params["resourceArn"]


class _Operations(dict):
    def __missing__(self, key: tuple[str, str]) -> Any:
        service, call = key
        self[key] = Session().get_service_model(service).operation_model(call)
        return self[key]


OPERATIONS = _Operations()


def allows(policy: dict[str, Any], action: str, resource: str) -> bool:
    return any(
        action in statement["Action"] and any(fnmatch.fnmatch(resource, pattern) for pattern in statement["Resource"])
        for statement in policy["Statement"]
    )


def test_the_policy_allows_exactly_the_calls_that_are_made(calls, gimel_at):
    policy = gimel_at({"extra_wiring": [entry(name="cart")]}).permissions
    made = {one for call in calls for one in needed(*call)}
    refused = sorted(one for one in made if not allows(policy, *one))
    assert refused == []
    granted = {action for action in policies.actions(policy) if not action.startswith("apigateway:")}
    unseen = IMPLIED | set(policies.ACCESS_LOG)
    assert granted - unseen - {action for action, _ in made} == set()


def test_only_listing_is_allowed_on_all_resources(gimel_at, account):
    policy = gimel_at().permissions
    everywhere = {statement["Sid"]: statement for statement in policy["Statement"] if statement["Resource"] == ["*"]}
    assert set(everywhere) == {"Look", "AccessLog", "Mappings", "Unsubscribe"}
    assert everywhere["Unsubscribe"]["Action"] == ["sns:Unsubscribe"]
    listed = everywhere["Look"]["Action"]
    reading = ("List", "Describe", "GetMetricData")
    assert all(action.partition(":")[2].startswith(reading) for action in listed)
    # Mappings are named by random ids, but each belongs to a function.
    own = {"lambda:FunctionArn": f"arn:aws:lambda:eu-west-1:{ID}:function:gimel-track*"}
    assert everywhere["Mappings"]["Condition"] == {"StringLike": own}


def test_it_is_limited_to_the_names_of_one_deployment(account, gimel_at):
    text = str(policies.policy(gimel_at(name="shop").names))
    assert "function:gimel-shop-*" in text
    assert "role/gimel-shop" in text


def test_the_longest_names_fit_into_a_managed_policy(gimel_at, account):
    longest = Names("a" * 24, Place("123456789012", "ap-southeast-2", "aws-us-gov", "https://sqs"))
    document = policies.policy(longest, in_vpc=True, functions=["a-function-of-extra-wiring"])
    assert len(policies.as_text(document)) <= 6144


def test_functions_of_extra_wiring_are_included_by_name(account, gimel_at):
    policy = gimel_at({"extra_wiring": [entry(name="cart")]}).permissions
    assert allows(policy, "lambda:CreateFunction", "arn:aws:lambda:eu-west-1:123456789012:function:cart")
    assert not allows(policy, "lambda:CreateFunction", "arn:aws:lambda:eu-west-1:123456789012:function:other")


def test_the_role_may_be_passed_only_to_lambda(account, gimel_at):
    (passing,) = [one for one in gimel_at().permissions["Statement"] if policies.PASS_ROLE in one["Action"]]
    assert passing["Resource"] == [f"arn:aws:iam::{ID}:role/gimel"]
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}


PLACE = Place("123456789012", "eu-west-1", "aws", "https://sqs.eu-west-1.amazonaws.com")
SESSION = f"arn:aws:sts::{ID}:assumed-role/AWSReservedSSO_admin/me"
SSO_ROLE = f"arn:aws:iam::{ID}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_admin"


@pytest.fixture
def iam():
    client = Aws().client("iam")
    with Stubber(client) as stub:
        yield client, stub
        stub.assert_no_pending_responses()


def results(*decisions: tuple[str, str], more: bool = False) -> dict[str, Any]:
    found = [{"EvalActionName": action, "EvalDecision": decision} for action, decision in decisions]
    return {"EvaluationResults": found, "IsTruncated": more, **({"Marker": "next"} if more else {})}


def test_a_session_is_simulated_as_its_role_including_the_path(iam):
    client, stub = iam
    role = {"Path": "/", "RoleName": "AWSReservedSSO_admin", "RoleId": "A" * 16, "Arn": SSO_ROLE, "CreateDate": EPOCH}
    stub.add_response("get_role", {"Role": role}, {"RoleName": "AWSReservedSSO_admin"})
    asked = {"PolicySourceArn": SSO_ROLE, "ActionNames": ["a:b"], "ResourceArns": ["*"], "ContextEntries": []}
    stub.add_response("simulate_principal_policy", results(("a:b", "implicitDeny")), asked)
    policy = {"Statement": [{"Action": ["a:b"], "Resource": ["*"]}]}
    assert policies.missing(client, SESSION, PLACE, policy) == ["a:b"]


def test_the_path_of_a_role_of_sso_may_be_looked_up(gimel_at, account):
    policy = gimel_at().permissions
    assert allows(policy, "iam:GetRole", SSO_ROLE)
    assert allows(policy, "iam:SimulatePrincipalPolicy", SSO_ROLE)
    assert not allows(policy, "iam:GetRole", f"arn:aws:iam::{ID}:role/another")


def test_a_role_that_cannot_be_read_is_simulated_without_a_path(iam):
    client, stub = iam
    stub.add_client_error("get_role", "AccessDenied")
    asked = {"PolicySourceArn": f"arn:aws:iam::{ID}:role/AWSReservedSSO_admin", "ActionNames": ANY}
    stub.add_response("simulate_principal_policy", results(), {**asked, "ResourceArns": ANY, "ContextEntries": ANY})
    policies.missing(client, SESSION, PLACE, {"Statement": [{"Action": ["a:b"], "Resource": ["*"]}]})


def test_the_simulator_is_read_to_its_last_page_and_knows_who_the_role_is_passed_to(iam):
    client, stub = iam
    policy = policies.policy(Names("gimel", PLACE))
    me = f"arn:aws:iam::{ID}:user/me"
    for statement in [one for one in policy["Statement"] if one["Sid"] != "Simulate"]:
        known = {
            "PassRole": ("iam:PassedToService", "lambda.amazonaws.com"),
            "Mappings": ("lambda:FunctionArn", f"arn:aws:lambda:eu-west-1:{ID}:function:gimel-track*"),
        }
        key, value = known.get(statement["Sid"], ("", ""))
        context = {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
        asked = {
            "PolicySourceArn": me,
            "ActionNames": statement["Action"],
            "ResourceArns": statement["Resource"],
            "ContextEntries": [context] if key else [],
        }
        name = statement["Action"][-1]
        stub.add_response("simulate_principal_policy", results(("x:y", "allowed"), more=True), asked)
        stub.add_response("simulate_principal_policy", results((name, "explicitDeny")), {**asked, "Marker": "next"})
    last = {statement["Action"][-1] for statement in policy["Statement"] if statement["Sid"] != "Simulate"}
    assert policies.missing(client, me, PLACE, policy) == sorted(last)


def test_tagging_the_stage_is_allowed(account: Account, gimel_at):
    policy = gimel_at().permissions
    assert allows(policy, "apigateway:PUT", "arn:aws:apigateway:eu-west-1::/tags/arn%3Aaws%3Aapigateway")


def test_the_documentation_lists_exactly_these_actions(account, gimel_at):
    rows = re.findall(r"^\| `(\w+)` \| (\w[\w, ]+) \|$", (ROOT / "docs" / "deploying.md").read_text(), re.MULTILINE)
    listed = {f"{service}:{action}" for service, actions in rows for action in actions.split(", ")}
    assert listed == set(policies.actions(gimel_at().permissions))
