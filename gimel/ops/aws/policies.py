"""IAM policies as data: what the person who deploys needs, and what the functions need."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from .names import TRACK, Account, Names

# The calls that Gimel makes, by service. There is a statement for each key, with the resources that `policy` names.
CALLS = {
    "Functions": (
        "lambda",
        "AddPermission CreateAlias CreateFunction DeleteFunction DeleteFunctionConcurrency GetFunction "
        "GetFunctionConfiguration GetPolicy ListAliases ListTags ListVersionsByFunction PublishVersion "
        "PutFunctionConcurrency RemovePermission TagResource UpdateAlias UpdateFunctionCode "
        "UpdateFunctionConfiguration",
    ),
    "Mappings": ("lambda", "CreateEventSourceMapping DeleteEventSourceMapping UpdateEventSourceMapping"),
    "Queues": (
        "sqs",
        "CreateQueue DeleteMessage DeleteQueue GetQueueAttributes ListQueueTags ReceiveMessage SendMessage "
        "SetQueueAttributes TagQueue",
    ),
    "Schedule": (
        "events",
        "DeleteRule DescribeRule ListTagsForResource ListTargetsByRule PutRule PutTargets RemoveTargets TagResource",
    ),
    "Topic": (
        "sns",
        "CreateTopic DeleteTopic GetTopicAttributes ListSubscriptionsByTopic ListTagsForResource Subscribe TagResource",
    ),
    # IAM supports no narrower resource.
    "Unsubscribe": ("sns", "Unsubscribe"),
    "Alarms": ("cloudwatch", "DeleteAlarms ListTagsForResource PutMetricAlarm TagResource"),
    "Logs": (
        "logs",
        "CreateLogGroup DeleteLogGroup FilterLogEvents ListTagsForResource PutRetentionPolicy TagResource",
    ),
    "Role": (
        "iam",
        "CreateRole DeleteRole DeleteRolePolicy DetachRolePolicy GetRole GetRolePolicy ListAttachedRolePolicies "
        "ListRolePolicies PutRolePolicy TagRole UpdateAssumeRolePolicy",
    ),
}

LIST_CALLS = [
    *(
        "cloudwatch:DescribeAlarms",
        "cloudwatch:GetMetricData",
        "lambda:ListEventSourceMappings",
        "lambda:ListFunctions",
        "logs:DescribeLogGroups",
    )
]
"""IAM supports no narrower resource for these."""

PASS_ROLE = "iam:PassRole"
PASSED_TO = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}

# IAM names API Gateway's calls by HTTP method and path. One statement for all, because a policy has 6,144 characters.
GATEWAY_METHODS = ["DELETE", "GET", "PATCH", "POST", "PUT"]
GATEWAY_PATHS = ("/apikeys*", "/apis*", "/domainnames*", "/restapis*", "/tags*", "/usageplans*")
GATEWAY_ACCOUNT = "/account"

SIMULATE, SIMULATE_CALL = "Simulate", "iam:SimulatePrincipalPolicy"
SSO_ROLES = "role/aws-reserved/*"
"""Only of these does preflight need to look up the path: it is not in a session's ARN."""

VPC = ["ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcEndpoints", "ec2:DescribeVpcs"]
ACCESS_LOG = [
    *("logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DescribeResourcePolicies", "logs:GetLogDelivery"),
    *("logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:UpdateLogDelivery"),
]


def policy(names: Names, in_vpc: bool = False, functions: Iterable[str] = ()) -> dict[str, Any]:
    """Exactly what preflight, deploy, rollback and destroy need for one deployment.

    `functions` are the functions' names. One pattern covers most of them, but not those of extra wiring.
    """
    others = [name for name in sorted(functions) if not name.startswith(f"{names.base}-")]
    # Versions, aliases and the contents of a log group follow a colon, which a pattern that ends with * includes.
    patterns = [f"{names.base}-*", *(pattern for name in others for pattern in (name, f"{name}:*"))]
    groups = [names.access_log_group, f"{names.access_log_group}:*", *map(names.log_group, patterns)]
    resources = {
        "Functions": [names.function_arn(pattern) for pattern in patterns],
        # A mapping is named by a random id, so what limits these is the condition.
        "Mappings": ["*"],
        "Queues": [names.queue_arn(name) for name in (names.queue, names.dead_letters)],
        "Schedule": [names.schedule_arn],
        "Topic": [names.topic_arn],
        "Unsubscribe": ["*"],
        "Alarms": [names.alarm_arn(f"{names.base}-*")],
        "Logs": [names.log_group_arn(group) for group in groups],
        "Role": [names.role_arn],
    }
    conditions = {"Mappings": {"StringLike": {"lambda:FunctionArn": f"{names.function_arn(names.function(TRACK))}*"}}}
    statements = [
        _allow(title, [f"{service}:{call}" for call in calls.split()], resources[title], conditions.get(title))
        for title, (service, calls) in CALLS.items()
    ]
    statements += [
        _allow("Look", LIST_CALLS, ["*"]),
        _allow("PassRole", [PASS_ROLE], [names.role_arn], PASSED_TO),
        _allow("AccessLog", ACCESS_LOG, ["*"]),
        # Who will deploy is not known here.
        _allow(
            SIMULATE, [SIMULATE_CALL], [names.account.arn("iam", kind, regional=False) for kind in ("user/*", "role/*")]
        ),
        _allow("OwnRole", ["iam:GetRole"], [names.account.arn("iam", SSO_ROLES, regional=False)]),
    ]
    at_gateway = partial(names.account.arn, "apigateway", owned=False)
    methods = [f"apigateway:{method}" for method in GATEWAY_METHODS]
    statements.append(_allow("Gateway", methods, [at_gateway(path) for path in GATEWAY_PATHS]))
    statements.append(_allow("GatewayAccount", ["apigateway:GET"], [at_gateway(GATEWAY_ACCOUNT)]))
    if in_vpc:
        statements.append(_allow("Network", VPC, ["*"]))
    return {"Version": "2012-10-17", "Statement": statements}


def actions(document: Mapping[str, Any]) -> list[str]:
    """All actions of a policy, sorted."""
    return sorted({action for statement in document["Statement"] for action in statement["Action"]})


def _allow(
    title: str, allowed: list[str], resources: list[str], condition: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    statement = {"Sid": title, "Effect": "Allow", "Action": allowed, "Resource": resources}
    return {**statement, "Condition": condition} if condition else statement


def missing(iam: Any, arn: str, account: Account, needed: Mapping[str, Any]) -> list[str]:
    """The actions of a policy that IAM's simulator denies this principal. Raises ClientError if it cannot be used.

    For a session of an assumed role, it simulates the role.
    """
    if ":assumed-role/" in arn:
        arn = _role_behind(iam, arn.split("/")[1], account)
    denied: set[str] = set()
    for statement in needed["Statement"]:
        if statement.get("Sid") == SIMULATE:
            continue  # whoever gets an answer may ask
        pages = iam.get_paginator("simulate_principal_policy").paginate(
            PolicySourceArn=arn,
            ActionNames=statement["Action"],
            ResourceArns=statement["Resource"],
            ContextEntries=[
                {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
                for condition in statement.get("Condition", {}).values()
                for key, value in condition.items()
            ],
        )
        results = (result for page in pages for result in page["EvaluationResults"])
        denied.update(result["EvalActionName"] for result in results if result["EvalDecision"] != "allowed")
    return sorted(denied)


def _role_behind(iam: Any, name: str, account: Account) -> str:
    """The ARN of a session's role. The session's ARN lacks the role's path, which roles of SSO have."""
    try:
        return str(iam.get_role(RoleName=name)["Role"]["Arn"])
    except ClientError:
        return account.arn("iam", f"role/{name}", regional=False)


TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}],
}

NETWORK_ACTIONS: tuple[str, ...] = (
    *("ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface"),
    *("ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses"),
)
"""Those of AWS' managed policy AWSLambdaVPCAccessExecutionRole, version 3."""


def role_policy(
    log_groups: Iterable[str], readable: Mapping[str, list[str]], in_vpc: Sequence[str] = (), queues: Sequence[str] = ()
) -> dict[str, Any]:
    """What the functions need: to write logs, to read a password or do without, to be in a VPC, and to use queues.

    `readable` has the ARNs for each action that reads or connects; `in_vpc` are ARNs of functions; `queues` are those
    of the queue and its dead letters.
    """
    allowed: dict[tuple[str, ...], list[str]] = {
        ("logs:CreateLogStream", "logs:PutLogEvents"): [f"{group}:*" for group in log_groups],
        **{(action,): arns for action, arns in readable.items()},
    }
    if queues:
        allowed["sqs:SendMessage",] = list(queues)
        # Lambda itself needs these, to receive.
        allowed["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"] = [queues[0]]
    if in_vpc:
        # Lambda itself needs these, and EC2 accepts no narrower resource; the functions' code is denied them below.
        allowed[NETWORK_ACTIONS] = ["*"]
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": actions, "Resource": resources} for actions, resources in allowed.items()
    ]
    if in_vpc:
        own = {"ArnLike": {"lambda:SourceFunctionArn": list(in_vpc)}}
        statements.append({"Effect": "Deny", "Action": NETWORK_ACTIONS, "Resource": ["*"], "Condition": own})
    return {"Version": "2012-10-17", "Statement": statements}


def as_text(document: object) -> str:
    """A policy or other document as canonical JSON."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))
