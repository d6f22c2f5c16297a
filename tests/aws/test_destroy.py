"""Destroy deletes everything of ours and nothing of others."""

from __future__ import annotations

import json

import pytest

from . import gimel15
from .account import apply, descriptions

pytestmark = pytest.mark.slow


@pytest.fixture
def others(account):
    """Things that belong to somebody else, with very similar names."""
    gateway, logs = account.client("apigateway"), account.client("logs")
    for name in ("gimel-tracker", "gimel-shop-track", "unrelated"):
        account.make_function(name)
        logs.create_log_group(logGroupName=f"/aws/lambda/{name}")
    for name in ("gimel2", "gimel", "shop"):
        api = gateway.create_rest_api(name=name)["id"]
        root = gateway.get_resources(restApiId=api)["items"][0]["id"]
        gateway.put_method(restApiId=api, resourceId=root, httpMethod="GET", authorizationType="NONE")
        gateway.put_integration(restApiId=api, resourceId=root, httpMethod="GET", type="MOCK")
        gateway.create_deployment(restApiId=api, stageName="prod")
    key = gateway.create_api_key(name="gimel-partner", enabled=True)["id"]
    plan = gateway.create_usage_plan(name="gimel", apiStages=[{"apiId": api, "stage": "prod"}])["id"]
    gateway.create_usage_plan_key(usagePlanId=plan, keyId=key, keyType="API_KEY")
    return account.state()


def test_destroy_deletes_everything_of_ours_and_nothing_of_others(account, gimel_at, others):
    apply(gimel_at())
    assert account.state() != others
    apply(gimel_at(), gimel_at().plan_removal())
    assert account.state() == others
    assert descriptions(gimel_at().plan_removal()) == []


def test_deploy_changes_nothing_of_others(account, gimel_at, others):
    apply(gimel_at())
    state = account.state()
    for kind, things in others.items():
        assert {name: state[kind][name] for name in things} == things


def test_an_upgraded_gimel_1_is_removed_completely(account, gimel_at):
    gimel15.lay_out(account)
    apply(gimel_at())
    apply(gimel_at(), gimel_at().plan_removal())
    assert not any(account.state().values())


def test_a_gimel_1_that_was_never_upgraded_is_kept(account, gimel_at):
    gimel15.lay_out(account)
    before = account.state()
    plan = gimel_at().plan_removal()
    apply(gimel_at(), plan)
    assert account.state() == before
    assert any("not marked" in note for note in plan.notes)


def test_a_role_that_others_use_is_kept(account, gimel_at):
    apply(gimel_at())
    account.make_function("theirs", Role="arn:aws:iam::123456789012:role/gimel")
    plan = gimel_at().plan_removal()
    apply(gimel_at(), plan)
    assert "gimel" in account.state()["roles"]
    assert any("theirs" in note for note in plan.notes)


def test_a_role_that_another_region_uses_keeps_that_regions_policy(account, gimel_at):
    apply(gimel_at())
    allowed = {"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "arn:aws:logs:us-east-1:123456789012:x"}
    elsewhere = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    account.client("iam").put_role_policy(RoleName="gimel", PolicyName="gimel-us-east-1", PolicyDocument=elsewhere)
    assert descriptions(gimel_at().plan()) == []
    apply(gimel_at(), gimel_at().plan_removal())
    assert list(account.only("roles")["policies"]) == ["gimel-us-east-1"]


def test_a_usage_plan_that_others_share_is_kept_without_our_stage(account, gimel_at):
    apply(gimel_at())
    gateway = account.client("apigateway")
    key = gateway.create_api_key(name="partner", enabled=True)["id"]
    plan = next(iter(account.state()["plans"]))
    gateway.create_usage_plan_key(usagePlanId=plan, keyId=key, keyType="API_KEY")
    removal = gimel_at().plan_removal()
    assert removal.notes == ("usage plan gimel has other keys or stages and is kept",)
    apply(gimel_at(), removal)
    state = account.state()
    assert (list(state["plans"]), list(state["keys"])) == ([plan], [key])
    assert state["plans"][plan]["apiStages"] == []


def test_a_removal_interrupted_after_any_step_can_be_resumed(account, gimel_at, others):
    apply(gimel_at())
    count = len(gimel_at().plan_removal().steps)
    for _ in range(count + 1):
        plan = gimel_at().plan_removal()
        apply(gimel_at(), type(plan)(plan.steps[:1], plan.values))
    assert account.state() == others
