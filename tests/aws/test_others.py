"""A large account: all pages are read, and nothing of others is changed."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.stub import Stubber

from gimel.errors import ConfigError
from gimel.ops.aws import observe
from gimel.ops.aws.client import Aws
from gimel.ops.aws.deployment import Deployment
from gimel.ops.aws.errors import AmbiguousApi, NameTaken
from gimel.ops.aws.plan import steps

from .account import ID, Account, apply, descriptions

pytestmark = pytest.mark.slow

MANY = 500


def test_500_other_apis_keys_and_functions_are_not_changed(account, gimel_at):
    gateway, role = account.client("apigateway"), account.make_role("theirs")
    theirs = set()
    for number in range(MANY):
        theirs.add(gateway.create_rest_api(name=f"gimel-{number}")["id"])
        theirs.add(gateway.create_api_key(name=f"gimel-{number}", enabled=True)["id"])
        theirs.add(f"gimel-{number}")
        account.make_function(f"gimel-{number}", Role=role)
    apply(gimel_at())
    assert descriptions(gimel_at().plan()) == []
    apply(gimel_at(), gimel_at().plan_removal())
    assert len(account.writes) > 70
    assert theirs.isdisjoint(_texts([params for _, _, params in account.writes]))
    assert len(gateway.get_rest_apis(limit=MANY)["items"]) == MANY
    assert len(account.client("lambda").list_functions()["Functions"]) == MANY


PAGES: list[tuple[str, str, dict[str, Any], list[dict[str, Any]], str]] = [
    ("apigateway", "get_rest_apis", {}, [{"items": [{"id": "1"}], "position": "p"}, {"items": [{"id": "2"}]}], "items"),
    ("apigateway", "get_api_keys", {}, [{"items": [{"id": "1"}], "position": "p"}, {"items": [{"id": "2"}]}], "items"),
    ("apigateway", "get_usage_plans", {}, [{"items": [{"id": "1"}], "position": "p"}, {"items": []}], "items"),
    (
        "lambda",
        "list_functions",
        {},
        [{"Functions": [{"FunctionName": "a"}], "NextMarker": "m"}, {"Functions": [{"FunctionName": "b"}]}],
        "Functions",
    ),
    (
        "lambda",
        "list_versions_by_function",
        {"FunctionName": "f"},
        [{"Versions": [{"Version": "1"}], "NextMarker": "m"}, {"Versions": [{"Version": "2"}]}],
        "Versions",
    ),
    (
        "logs",
        "describe_log_groups",
        {"logGroupNamePrefix": "g"},
        [{"logGroups": [{"logGroupName": "g1"}], "nextToken": "t"}, {"logGroups": [{"logGroupName": "g2"}]}],
        "logGroups",
    ),
]


@pytest.mark.parametrize(("service", "call", "params", "pages", "key"), PAGES, ids=lambda value: str(value)[:30])
def test_all_pages_are_read(service, call, params, pages, key):
    client = Aws().client(service)
    with Stubber(client) as stub:
        for page in pages:
            stub.add_response(call, page)
        found = list(observe._pages(client, call, key, **params))
        stub.assert_no_pending_responses()
    assert found == [item for page in pages for item in page[key]]


def test_a_function_of_another_deployment_is_an_error(account, gimel_at):
    account.make_function("gimel-track", Description="Gimel deployment shop, 2.0, release 1")
    with pytest.raises(NameTaken, match="function gimel-track belongs to Gimel deployment shop"):
        gimel_at().plan()


def test_a_role_that_gimel_did_not_create_is_an_error(account, gimel_at):
    account.make_role("gimel")
    with pytest.raises(NameTaken, match="role gimel already exists and was not created by Gimel"):
        gimel_at().plan()


def test_two_apis_that_could_be_ours_are_an_error(account, gimel_at):
    gateway = account.client("apigateway")
    for _ in range(2):
        api = gateway.create_rest_api(name="gimel")["id"]
        root = gateway.get_resources(restApiId=api)["items"][0]["id"]
        found = gateway.create_resource(restApiId=api, parentId=root, pathPart="track")["id"]
        gateway.put_method(restApiId=api, resourceId=found, httpMethod="GET", authorizationType="NONE")
        gateway.put_integration(restApiId=api, resourceId=found, httpMethod="GET", type="MOCK")
        gateway.create_deployment(restApiId=api, stageName="prod")
    with pytest.raises(AmbiguousApi, match="2 APIs named gimel") as caught:
        gimel_at().plan()
    assert 'set the description of yours to "Gimel deployment gimel"' in caught.value.hint


@pytest.mark.parametrize(
    ("region", "partition", "suffix"),
    [
        ("us-east-1", "aws", "amazonaws.com"),
        ("cn-north-1", "aws-cn", "amazonaws.com.cn"),
        ("us-gov-west-1", "aws-us-gov", "amazonaws.com"),
    ],
)
def test_arns_and_urls_follow_the_session(account, gimel_at, region, partition, suffix):
    loaded = gimel_at()
    deployment = Deployment(loaded.config, loaded.settings, loaded.content, Aws(Account(region).session))
    assert deployment.aws.api_url("abc") == f"https://abc.execute-api.{region}.{suffix}/prod"
    assert deployment.aws.http_api_url("abc") == f"https://abc.execute-api.{region}.{suffix}"
    arns = [text for text in _texts(steps.dry_run(deployment.plan())) if text.startswith("arn:")]
    assert len(arns) > 15
    assert {arn.split(":")[1] for arn in arns} == {partition}
    assert {arn.split(":")[3] for arn in arns} <= {region, ""}
    names = deployment.names
    assert names.queue_url(names.queue) == f"https://sqs.{region}.{suffix}/{ID}/gimel-queue"
    assert names.role_arn == f"arn:{partition}:iam::{ID}:role/gimel"


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    return [text for item in value for text in _texts(item)] if isinstance(value, (list, tuple)) else []


def extra(name: str) -> dict[str, Any]:
    """An entry of extra_wiring."""
    path = {"pathPart": "cart", "method": {"httpMethod": "GET", "apiKeyRequired": False}}
    return {"lambda": {"FunctionName": name, "Handler": "gimel.track"}, "api_gateway": path}


def test_a_function_that_gimel_did_not_create_is_an_error(account, gimel_at):
    account.make_function("cart", Role=account.make_role("theirs"))
    wiring = [extra("cart")]
    with pytest.raises(NameTaken, match="function cart already exists and was not created by Gimel"):
        gimel_at({"extra_wiring": wiring}).plan()


def test_a_key_with_our_name_but_without_an_api_is_left_unchanged(account, gimel_at):
    theirs = account.client("apigateway").create_api_key(name="gimel", description="partner, blocked", enabled=False)
    apply(gimel_at())
    assert account.client("apigateway").get_api_key(apiKey=theirs["id"])["enabled"] is False
    apply(gimel_at(), gimel_at().plan_removal())
    assert account.client("apigateway").get_api_key(apiKey=theirs["id"])["description"] == "partner, blocked"


def test_a_name_too_long_for_lambda_is_an_error(account, gimel_at):
    with pytest.raises(ConfigError, match="longer than 64 characters"):
        gimel_at({"extra_wiring": [extra("f" * 40)]}, name="n" * 24).plan()
