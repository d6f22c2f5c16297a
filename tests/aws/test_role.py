"""The role always has the permissions of what is running, and no others for longer than needed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gimel.ops.aws.deployment import Deployment
from gimel.ops.aws.plan import steps

from . import gimel15
from .account import FUNCTIONS, ID, Account, apply, descriptions
from .test_drift import trust_in

pytestmark = pytest.mark.slow

VPC = {"vpc": {"subnet_ids": ["subnet-1"], "security_group_ids": ["sg-1"]}}
NETWORK = "ec2:CreateNetworkInterface"


def referring(gimel_at: Any, parameter: str) -> Deployment:
    return gimel_at({"redis": {"host": "redis.example.com", "password": f"ssm:/{parameter}"}})


def policy_of(account: Account) -> str:
    return json.dumps(account.role("gimel")["policies"]["gimel-eu-west-1"])


def test_a_password_can_be_read_before_a_version_needs_it_and_for_as_long_as_one_is_kept(account, gimel_at):
    apply(referring(gimel_at, "old"))
    seen = []

    def perform(number: int, step: steps.Step, params: Any) -> Any:
        answer = deployment.aws.perform(number, step, params)
        seen.append(("parameter/old" in policy_of(account), "parameter/new" in policy_of(account)))
        return answer

    for parameter in ("new", "newer", "newest", "latest"):
        deployment = referring(gimel_at, parameter)
        steps.execute(deployment.plan(), perform)
        assert descriptions(referring(gimel_at, parameter).plan()) == []
    assert set(seen) == {(True, True)}
    deployment = referring(gimel_at, "last")
    apply(deployment)
    assert "parameter/old" not in policy_of(account)
    assert "parameter/new" in policy_of(account)
    assert descriptions(referring(gimel_at, "last").plan()) == []


def test_after_an_interruption_the_next_run_removes_unneeded_permissions(account, gimel_at):
    apply(referring(gimel_at, "old"))
    deployment = referring(gimel_at, "new")
    plan = deployment.plan()
    widened = next(number for number, step in enumerate(plan.steps, 1) if step.call == "put_role_policy")
    apply(deployment, type(plan)(plan.steps[:widened], plan.values))
    apply(referring(gimel_at, "old"))
    assert "parameter/new" not in policy_of(account)


def by_iam(host: str, cache: str = "counts") -> dict[str, Any]:
    return {"host": host, "tls": True, "cluster": True, "iam": {"user": "gimel", "cache": cache}}


SERVERLESS = "counts-x2e9hv.public.serverless.euw1.cache.amazonaws.com"


@pytest.mark.parametrize(
    ("host", "action", "resources"),
    [
        (SERVERLESS, "elasticache:Connect", ("serverlesscache:counts", "user:gimel")),
        (
            "clustercfg.counts.x2e9hv.euw1.cache.amazonaws.com",
            "elasticache:Connect",
            ("replicationgroup:counts", "user:gimel"),
        ),
        (
            "clustercfg.counts.x2e9hv.memorydb.eu-west-1.amazonaws.com",
            "memorydb:Connect",
            ("cluster/counts", "user/gimel"),
        ),
    ],
)
def test_functions_may_connect_to_their_cache_as_their_user_alone(account, gimel_at, host, action, resources):
    desired = gimel_at({"redis": by_iam(host)}).desired
    statements = json.loads(desired.role_policy(in_vpc=False, with_queues=True))["Statement"]
    (found,) = [each for each in statements if "Connect" in str(each)]
    service = action.partition(":")[0]
    arns = [f"arn:aws:{service}:eu-west-1:{ID}:{resource}" for resource in resources]
    assert found == {"Effect": "Allow", "Action": [action], "Resource": arns}
    variables = [function.configuration["Environment"]["Variables"] for function in desired.functions]
    assert {each["GIMEL_REDIS_ADDRESS"] for each in variables} == {f"rediss://gimel@{host}:6379/0"}


def test_functions_may_connect_to_the_caches_of_all_versions_that_are_kept(account, gimel_at):
    apply(gimel_at({"redis": {"host": SERVERLESS, "tls": True, "username": "gimel", "password": "open sesame"}}))
    assert "Connect" not in policy_of(account)
    for cache in ("counts", "more"):
        deployment = gimel_at({"redis": by_iam(SERVERLESS, cache)})
        calls = [step.call for step in deployment.plan().steps]
        assert calls.index("put_role_policy") < calls.index("update_function_configuration")
        apply(deployment)
    policy = policy_of(account)
    assert [policy.count(name) for name in (":serverlesscache:counts", ":serverlesscache:more", ":user:gimel")] == [
        1
    ] * 3


def recreate_nothing_but_delete(account: Account) -> None:
    client = account.client("iam")
    client.delete_role_policy(RoleName="gimel", PolicyName="gimel-eu-west-1")
    client.delete_role(RoleName="gimel")


def live_environments(account: Account) -> list[dict[str, str]]:
    client, names = account.client("lambda"), sorted(account.state()["functions"])
    return [
        client.get_function_configuration(FunctionName=name, Qualifier="live")["Environment"]["Variables"]
        for name in names
    ]


def role_id(account: Account) -> str:
    return str(account.client("iam").get_role(RoleName="gimel")["Role"]["RoleId"])


def test_a_role_that_was_deleted_is_recreated_and_every_function_published_anew(account, gimel_at):
    apply(gimel_at())
    before, first = live_environments(account), role_id(account)
    assert {one["GIMEL_ROLE_ID"] for one in before} == {first}
    recreate_nothing_but_delete(account)
    whole = gimel_at().plan()
    for done in range(len(whole.steps)):
        plan = gimel_at().plan()
        assert [step.call for step in plan.steps] == [step.call for step in whole.steps[done:]], f"after step {done}"
        # The environment is emptied first, so that Lambda has to encrypt it, and to be granted the right to, anew.
        apply(gimel_at(), type(plan)(plan.steps[:1], plan.values))
    second = role_id(account)
    assert second != first
    assert live_environments(account) == [{**one, "GIMEL_ROLE_ID": second} for one in before]
    calls = [step.call for step in whole.steps]
    assert calls.count("update_function_configuration") == 2 * len(FUNCTIONS)
    assert calls.count("publish_version") == len(FUNCTIONS)
    assert descriptions(gimel_at().plan()) == []


def test_a_role_recreated_by_hand_counts_as_another(account, gimel_at):
    apply(gimel_at())
    recreate_nothing_but_delete(account)
    account.client("iam").create_role(
        RoleName="gimel",
        AssumeRolePolicyDocument=trust_in("lambda.amazonaws.com"),
        Tags=[{"Key": "gimel:deployment", "Value": "gimel"}],
    )
    apply(gimel_at())
    assert {one["GIMEL_ROLE_ID"] for one in live_environments(account)} == {role_id(account)}


def test_permissions_are_removed_last(account, gimel_at):
    """Moving a stage takes API Gateway some time, and functions run until they are deleted."""
    gimel15.lay_out(account, times=7)
    account.make_function(
        "gimel-old", Description="Gimel deployment gimel, 2.0, release 1", Role=account.make_role("gimel")
    )
    plan = gimel_at().plan()
    calls = [step.call for step in plan.steps]
    narrowing = calls.index("delete_role_policy")
    assert {"update_stage", "delete_function", "create_usage_plan_key"} <= set(calls[:narrowing])
    assert {step.service for step in plan.steps[narrowing:]} == {"iam"}


def test_lambda_may_assume_the_role_before_a_function_is_changed(account, gimel_at):
    apply(gimel_at())
    account.client("iam").update_assume_role_policy(RoleName="gimel", PolicyDocument=trust_in("ec2.amazonaws.com"))
    plan = descriptions(gimel_at(memory_mb=512).plan())
    assert plan[0] == "allow Lambda to assume role gimel"
    assert plan[-1] == "allow only Lambda to assume role gimel"


def test_network_permissions_stay_as_long_as_a_version_in_the_vpc_is_kept(account, gimel_at):
    apply(gimel_at(**VPC))
    assert NETWORK in policy_of(account)
    apply(gimel_at(memory_mb=300))
    assert NETWORK in policy_of(account)
    assert descriptions(gimel_at(memory_mb=300).plan()) == []
    for memory in range(301, 307):
        apply(gimel_at(memory_mb=memory))
    assert NETWORK not in policy_of(account)


def test_the_role_of_functions_in_a_vpc_is_deleted_by_the_next_removal(account, gimel_at):
    apply(gimel_at(**VPC))
    plan = gimel_at(**VPC).plan_removal()
    assert any("Lambda needs it to remove the functions' network interfaces" in note for note in plan.notes)
    apply(gimel_at(**VPC), plan)
    state = account.state()
    assert (list(state.pop("roles")), any(state.values())) == (["gimel"], False)
    apply(gimel_at(**VPC), gimel_at(**VPC).plan_removal())
    assert not any(account.state().values())


def test_the_role_in_a_vpc_has_network_permissions_and_denies_them_to_the_code(account, gimel_at):
    apply(gimel_at(**VPC))
    *_, allowed, denied = json.loads(json.dumps(account.role("gimel")["policies"]["gimel-eu-west-1"]["Statement"]))
    assert allowed["Effect"] == "Allow"
    assert denied["Effect"] == "Deny"
    # AWS' managed policy AWSLambdaVPCAccessExecutionRole, version 3
    listed = {
        "ec2:CreateNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:DeleteNetworkInterface",
        "ec2:AssignPrivateIpAddresses",
        "ec2:UnassignPrivateIpAddresses",
    }
    assert set(allowed["Action"]) == set(denied["Action"]) == listed
    functions = denied["Condition"]["ArnLike"]["lambda:SourceFunctionArn"]
    assert f"arn:aws:lambda:eu-west-1:{ID}:function:gimel-track" in functions
