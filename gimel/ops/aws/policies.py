"""What the person who deploys must be allowed to do, as an IAM policy made from the calls that Gimel makes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from .names import Account, Names

# The resource of each call: F a function, L a log group, R the role, * where IAM knows no narrower one.
CALLS: Mapping[str, Mapping[str, str]] = {
    "lambda": {
        "ListFunctions": "*",
        **dict.fromkeys(
            (
                "GetFunction",
                "GetFunctionConfiguration",
                "ListVersionsByFunction",
                "ListAliases",
                "GetPolicy",
                "CreateFunction",
                "UpdateFunctionCode",
                "UpdateFunctionConfiguration",
                "PublishVersion",
                "CreateAlias",
                "UpdateAlias",
                "AddPermission",
                "RemovePermission",
                "PutFunctionConcurrency",
                "DeleteFunctionConcurrency",
                "TagResource",
                "DeleteFunction",
            ),
            "F",
        ),
    },
    "logs": {
        "DescribeLogGroups": "*",
        **dict.fromkeys(
            ("ListTagsForResource", "CreateLogGroup", "PutRetentionPolicy", "TagResource", "DeleteLogGroup"), "L"
        ),
    },
    "iam": {
        **dict.fromkeys(
            (
                "GetRole",
                "ListRolePolicies",
                "GetRolePolicy",
                "ListAttachedRolePolicies",
                "CreateRole",
                "TagRole",
                "PutRolePolicy",
                "DeleteRolePolicy",
                "DetachRolePolicy",
                "UpdateAssumeRolePolicy",
                "DeleteRole",
            ),
            "R",
        ),
    },
}

# What AWS checks besides, without a call of its own.
IMPLIED = {"lambda": {"ListTags": "F"}}
PASS_ROLE = "iam:PassRole"
PASSED_TO = {"iam:PassedToService": "lambda.amazonaws.com"}

# IAM knows API Gateway's calls by their HTTP method and the path they go to.
GATEWAY = {
    "GET": ("/account", "/apikeys", "/apikeys/*", "/restapis", "/restapis/*", "/usageplans", "/usageplans/*/keys"),
    "POST": ("/restapis", "/restapis/*", "/apikeys", "/usageplans", "/usageplans/*/keys"),
    "PUT": ("/restapis/*", "/tags/*"),
    "PATCH": ("/restapis/*", "/apikeys/*", "/usageplans/*"),
    "DELETE": ("/restapis/*", "/apikeys/*", "/usageplans/*"),
}

VPC = ("ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs")
ACCESS_LOG = (
    "logs:CreateLogDelivery",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:PutResourcePolicy",
)
ACCESS_LOG_UPDATE = ("logs:DeleteLogDelivery", "logs:ListLogDeliveries", "logs:UpdateLogDelivery")


def policy(names: Names, in_vpc: bool = False, functions: Iterable[str] = ()) -> dict[str, Any]:
    """What deploy, rollback and destroy need for one deployment, and nothing else.

    `functions` are the names that the functions have; most fit one pattern, those of extra wiring may not.
    """
    strangers = [name for name in sorted(functions) if not name.startswith(f"{names.base}-")]
    statements = list(_statements(names, strangers))
    if in_vpc:
        statements.append(_allow("Network", list(VPC), ["*"]))
    return {"Version": "2012-10-17", "Statement": statements}


def actions(document: Mapping[str, Any]) -> list[str]:
    """All actions of a policy, sorted."""
    return sorted({action for statement in document["Statement"] for action in statement["Action"]})


def _statements(names: Names, strangers: list[str]) -> Iterator[dict[str, Any]]:
    account = names.account
    # Versions, aliases and what is in a log group stand behind a colon, which the end of the pattern covers.
    functions = [f"{names.base}-*", *(found for name in strangers for found in (name, f"{name}:*"))]
    groups = [names.access_log_group, f"{names.access_log_group}:*", *map(names.log_group, functions)]
    resources = {
        "F": ("Functions", [account.arn("lambda", f"function:{found}") for found in functions]),
        "L": ("Logs", [names.log_group_arn(group) for group in groups]),
        "R": ("Role", [names.role_arn]),
        "*": ("Look", ["*"]),
    }
    for kind, (title, arns) in resources.items():
        found = [f"{service}:{call}" for service, calls in _all_calls() for call, need in calls.items() if need == kind]
        yield _allow(title, sorted(set(found)), arns)
    passing = {"Condition": {"StringEquals": PASSED_TO}}
    yield _allow("PassRole", [PASS_ROLE], [names.role_arn]) | passing
    yield _allow("AccessLog", sorted((*ACCESS_LOG, *ACCESS_LOG_UPDATE)), ["*"])
    for method, paths in GATEWAY.items():
        arns = [account.arn("apigateway", path, owned=False) for path in paths]
        yield _allow(f"Gateway{method.title()}", [f"apigateway:{method}"], arns)


def _all_calls() -> Iterator[tuple[str, Mapping[str, str]]]:
    yield from CALLS.items()
    yield from IMPLIED.items()


def _allow(title: str, allowed: list[str], resources: list[str]) -> dict[str, Any]:
    return {"Sid": title, "Effect": "Allow", "Action": allowed, "Resource": resources}


def missing(iam: Any, arn: str, account: Account, wanted: Mapping[str, Any]) -> list[str]:
    """The actions of a policy that IAM's simulator denies this principal. Raises ClientError where it may not be asked.

    An assumed role is asked about as the role it is.
    """
    if ":assumed-role/" in arn:
        arn = _role_behind(iam, arn.split("/")[1], account)
    denied: set[str] = set()
    context = [
        {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
        for key, value in PASSED_TO.items()
    ]
    for statement in wanted["Statement"]:
        pages = iam.get_paginator("simulate_principal_policy").paginate(
            PolicySourceArn=arn,
            ActionNames=statement["Action"],
            ResourceArns=statement["Resource"],
            ContextEntries=context if "Condition" in statement else [],
        )
        results = (result for page in pages for result in page["EvaluationResults"])
        denied.update(result["EvalActionName"] for result in results if result["EvalDecision"] != "allowed")
    return sorted(denied)


def _role_behind(iam: Any, name: str, account: Account) -> str:
    """The ARN of a role whose session this is. The session's ARN lacks the role's path, which those of SSO have."""
    try:
        return str(iam.get_role(RoleName=name)["Role"]["Arn"])
    except ClientError:
        return account.arn("iam", f"role/{name}", regional=False)


TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}],
}

# Those of AWS' own policy AWSLambdaVPCAccessExecutionRole, version 3.
NETWORK_ACTIONS = [
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
]


def role_policy(
    log_groups: Iterable[str],
    parameter: str | None = None,
    secret: str | None = None,
    key: str | None = None,
    in_vpc: Sequence[str] = (),
) -> dict[str, Any]:
    """What the functions may do: write their own logs; read one parameter or secret; with `in_vpc` (function ARNs),
    have network interfaces. All arguments are ARNs.
    """
    logs = [f"{group}:*" for group in log_groups]
    statements: list[dict[str, Any]] = [_statement(["logs:CreateLogStream", "logs:PutLogEvents"], logs)]
    if parameter:
        statements.append(_statement(["ssm:GetParameter"], [parameter]))
    if secret:
        statements.append(_statement(["secretsmanager:GetSecretValue"], [secret]))
    if key:
        statements.append(_statement(["kms:Decrypt"], [key]))
    if in_vpc:
        # Lambda itself needs these, and EC2 takes no narrower resource; the code of the functions is denied them.
        statements.append(_statement(NETWORK_ACTIONS, ["*"]))
        own = {"ArnLike": {"lambda:SourceFunctionArn": list(in_vpc)}}
        statements.append({"Effect": "Deny", "Action": NETWORK_ACTIONS, "Resource": ["*"], "Condition": own})
    return {"Version": "2012-10-17", "Statement": statements}


def _statement(actions: list[str], resources: list[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def as_text(document: object) -> str:
    """A policy or other document as JSON, always the same."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))
