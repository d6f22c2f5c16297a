"""Manual changes are found and reverted, and nothing else is changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gimel.access import READ

from .account import ID, Account, apply, descriptions

pytestmark = pytest.mark.slow


def api_of(account: Account) -> str:
    return next(iter(account.state()["apis"]))


def resource(account: Account, path: str) -> dict[str, str]:
    items = account.client("apigateway").get_resources(restApiId=api_of(account))["items"]
    return {"restApiId": api_of(account), "resourceId": next(item["id"] for item in items if item["path"] == path)}


def changed_memory(account: Account) -> None:
    account.client("lambda").update_function_configuration(FunctionName="gimel-track", MemorySize=3008)


def changed_code(account: Account) -> None:
    from .account import small_zip

    account.client("lambda").update_function_code(FunctionName="gimel-track", ZipFile=small_zip())


def changed_environment(account: Account) -> None:
    changed = {"Variables": {"GIMEL_REDIS_PASSWORD": "guess"}}
    account.client("lambda").update_function_configuration(FunctionName="gimel-experiment", Environment=changed)


def removed_function(account: Account) -> None:
    account.client("lambda").delete_function(FunctionName="gimel-track")


def removed_alias(account: Account) -> None:
    account.client("lambda").delete_alias(FunctionName="gimel-track", Name="live")


def shared_alias(account: Account) -> None:
    client = account.client("lambda")
    client.update_function_configuration(FunctionName="gimel-track", Description="an experiment by hand")
    version = client.publish_version(FunctionName="gimel-track")["Version"]
    client.update_function_configuration(
        FunctionName="gimel-track", Description=live_configuration(account)["Description"]
    )
    weights = {"AdditionalVersionWeights": {version: 0.1}}
    client.update_alias(FunctionName="gimel-track", Name="live", RoutingConfig=weights)


def live_configuration(account: Account) -> dict[str, Any]:
    return account.client("lambda").get_function_configuration(FunctionName="gimel-track", Qualifier="1")


def removed_permission(account: Account) -> None:
    account.client("lambda").remove_permission(FunctionName="gimel-track", StatementId="gimel-track", Qualifier="live")


def reserved_concurrency(account: Account) -> None:
    account.client("lambda").put_function_concurrency(FunctionName="gimel-track", ReservedConcurrentExecutions=1)


def untagged(account: Account) -> None:
    client = account.client("lambda")
    arn = client.get_function(FunctionName="gimel-track")["Configuration"]["FunctionArn"]
    client.untag_resource(Resource=arn, TagKeys=["gimel:deployment"])


def removed_route(account: Account) -> None:
    account.client("apigateway").delete_resource(**resource(account, "/experiments"))


def removed_method(account: Account) -> None:
    account.client("apigateway").delete_method(**resource(account, "/track"), httpMethod="POST")


def extra_method(account: Account) -> None:
    where = resource(account, "/track")
    account.client("apigateway").put_method(**where, httpMethod="PUT", authorizationType="NONE")
    account.client("apigateway").put_integration(**where, httpMethod="PUT", type="MOCK")


def extra_path(account: Account) -> None:
    where = resource(account, "/")
    client = account.client("apigateway")
    made = client.create_resource(restApiId=where["restApiId"], parentId=where["resourceId"], pathPart="old")
    client.create_resource(restApiId=where["restApiId"], parentId=made["id"], pathPart="older")


def method_without_key(account: Account) -> None:
    where = resource(account, "/delete")
    uri = account.only("apis")["methods"]["DELETE /delete"]["uri"]
    client = account.client("apigateway")
    client.delete_method(**where, httpMethod="DELETE")
    client.put_method(**where, httpMethod="DELETE", authorizationType="NONE", apiKeyRequired=False)
    client.put_integration(**where, httpMethod="DELETE", type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)


def integrate(account: Account, **changed: Any) -> None:
    uri = account.only("apis")["methods"]["GET /track"]["uri"]
    proxy = {"type": "AWS_PROXY", "integrationHttpMethod": "POST", "uri": uri}
    account.client("apigateway").put_integration(
        **resource(account, "/track"), httpMethod="GET", **{**proxy, **changed}
    )


def impatient_integration(account: Account) -> None:
    integrate(account, timeoutInMillis=50)


def integration_through_a_link(account: Account) -> None:
    integrate(account, connectionType="VPC_LINK", connectionId="link")


def integration_with_a_parameter(account: Account) -> None:
    integrate(account, requestParameters={"integration.request.header.x": "'y'"})


def a_method_of_its_own_throttling(account: Account) -> None:
    patch = [{"op": "replace", "path": "/~1track/GET/throttling/rateLimit", "value": "1"}]
    account.client("apigateway").update_stage(restApiId=api_of(account), stageName="prod", patchOperations=patch)


def other_deployment(account: Account) -> None:
    account.client("apigateway").create_deployment(restApiId=api_of(account), stageName="prod", description="by hand")


def removed_stage(account: Account) -> None:
    account.client("apigateway").delete_stage(restApiId=api_of(account), stageName="prod")


def no_throttling(account: Account) -> None:
    patch = [{"op": "replace", "path": "/*/*/throttling/rateLimit", "value": "9999"}]
    account.client("apigateway").update_stage(restApiId=api_of(account), stageName="prod", patchOperations=patch)


def no_access_log(account: Account) -> None:
    patch = [{"op": "remove", "path": "/accessLogSettings"}]
    account.client("apigateway").update_stage(restApiId=api_of(account), stageName="prod", patchOperations=patch)


def no_gateway_response(account: Account) -> None:
    account.client("apigateway").delete_gateway_response(restApiId=api_of(account), responseType="DEFAULT_5XX")


def removed_key(account: Account) -> None:
    account.client("apigateway").delete_api_key(apiKey=account.key())


def disabled_key(account: Account) -> None:
    patch = [{"op": "replace", "path": "/enabled", "value": "false"}]
    account.client("apigateway").update_api_key(apiKey=account.key(), patchOperations=patch)


def removed_usage_plan(account: Account) -> None:
    plan = account.only("plans")
    account.client("apigateway").delete_usage_plan(usagePlanId=plan["id"])


def key_out_of_its_plan(account: Account) -> None:
    plan = account.only("plans")
    account.client("apigateway").delete_usage_plan_key(usagePlanId=plan["id"], keyId=account.key(READ))


def plan_without_stage(account: Account) -> None:
    plan, api = account.only("plans"), api_of(account)
    patch = [{"op": "remove", "path": "/apiStages", "value": f"{api}:prod"}]
    account.client("apigateway").update_usage_plan(usagePlanId=plan["id"], patchOperations=patch)


def wider_role(account: Account) -> None:
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    client = account.client("iam")
    client.put_role_policy(RoleName="gimel", PolicyName="handy", PolicyDocument=json.dumps(everything))
    made = client.create_policy(PolicyName="handy", PolicyDocument=json.dumps(everything))["Policy"]["Arn"]
    client.attach_role_policy(RoleName="gimel", PolicyArn=made)


def trust_in(service: str) -> str:
    allowed = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}}
    return json.dumps({"Version": "2012-10-17", "Statement": [allowed]})


def wider_trust(account: Account) -> None:
    anyone = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}],
    }
    account.client("iam").update_assume_role_policy(RoleName="gimel", PolicyDocument=json.dumps(anyone))


def trust_without_lambda(account: Account) -> None:
    account.client("iam").update_assume_role_policy(RoleName="gimel", PolicyDocument=trust_in("ec2.amazonaws.com"))


def no_binary_types(account: Account) -> None:
    patch = [{"op": "remove", "path": "/binaryMediaTypes/*~1*"}]
    account.client("apigateway").update_rest_api(restApiId=api_of(account), patchOperations=patch)


def queue_url(account: Account, name: str = "gimel-queue") -> str:
    return account.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]


def removed_queue(account: Account) -> None:
    account.client("sqs").delete_queue(QueueUrl=queue_url(account))


def impatient_queue(account: Account) -> None:
    changed = {"VisibilityTimeout": "30", "MessageRetentionPeriod": "60"}
    account.client("sqs").set_queue_attributes(QueueUrl=queue_url(account), Attributes=changed)


def hasty_dead_letters(account: Account) -> None:
    redrive = {"deadLetterTargetArn": f"arn:aws:sqs:eu-west-1:{ID}:gimel-dead-letters", "maxReceiveCount": 3}
    changed = {"RedrivePolicy": json.dumps(redrive)}
    account.client("sqs").set_queue_attributes(QueueUrl=queue_url(account), Attributes=changed)


def unencrypted_dead_letters(account: Account) -> None:
    changed = {"SqsManagedSseEnabled": "false"}
    account.client("sqs").set_queue_attributes(QueueUrl=queue_url(account, "gimel-dead-letters"), Attributes=changed)


def queue_open_to_others(account: Account) -> None:
    anyone = {"Effect": "Allow", "Action": "sqs:*", "Principal": "*", "Resource": "*"}
    changed = {"Policy": json.dumps({"Version": "2012-10-17", "Statement": [anyone]})}
    account.client("sqs").set_queue_attributes(QueueUrl=queue_url(account), Attributes=changed)


def mapping_of(account: Account) -> str:
    (found,) = account.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    return str(found["UUID"])


def removed_mapping(account: Account) -> None:
    account.client("lambda").delete_event_source_mapping(UUID=mapping_of(account))


def disabled_mapping(account: Account) -> None:
    account.client("lambda").update_event_source_mapping(UUID=mapping_of(account), Enabled=False)


def mapping_that_loses_messages(account: Account) -> None:
    client = account.client("lambda")
    client.update_event_source_mapping(UUID=mapping_of(account), FunctionResponseTypes=[], BatchSize=1)


def mapping_that_filters_messages(account: Account) -> None:
    filters = {"Filters": [{"Pattern": '{"body": {"variant": ["red"]}}'}]}
    account.client("lambda").update_event_source_mapping(UUID=mapping_of(account), FilterCriteria=filters)


def mapping_to_a_second_function(account: Account) -> None:
    queue = f"arn:aws:sqs:eu-west-1:{ID}:gimel-queue"
    account.client("lambda").create_event_source_mapping(EventSourceArn=queue, FunctionName="gimel-experiment")


def duplicated_mapping(account: Account) -> None:
    queue, live = f"arn:aws:sqs:eu-west-1:{ID}:gimel-queue", f"arn:aws:lambda:eu-west-1:{ID}:function:gimel-track:live"
    account.client("lambda").create_event_source_mapping(EventSourceArn=queue, FunctionName=live)


def removed_log_group(account: Account) -> None:
    account.client("logs").delete_log_group(logGroupName="/aws/lambda/gimel-track")


def logs_kept_for_ever(account: Account) -> None:
    account.client("logs").delete_retention_policy(logGroupName="/aws/lambda/gimel-track")


HELPERS = (api_of, resource, live_configuration, integrate, trust_in, queue_url, mapping_of)
DRIFTS = [
    value for value in list(globals().values()) if getattr(value, "__module__", "") == __name__ and value not in HELPERS
]


@pytest.mark.parametrize("drift", DRIFTS, ids=lambda drift: drift.__name__)
def test_drift_is_found_and_fixed(account, gimel_at, drift):
    apply(gimel_at())
    before = account.state()
    drift(account)
    broken = account.state()
    plan = gimel_at().plan()
    assert plan.steps, "not found"
    apply(gimel_at(), plan)
    assert comparable(account.state()) == comparable(before)
    assert comparable(broken) != comparable(before)
    assert descriptions(gimel_at().plan()) == []


def comparable(state: dict[str, Any]) -> dict[str, Any]:
    """The state without the ids of the keys and the usage plan, which may have been recreated."""
    keys = sorted([key["name"], key["enabled"]] for key in state["keys"].values())
    plans = []
    for plan in state["plans"].values():
        names = [state["keys"].get(key, {}).get("name") for key in plan["keys"]]
        plans.append({**plan, "id": None, "keys": sorted(name for name in names if name)})
    return {**state, "keys": keys, "plans": plans}


def test_only_what_differs_is_changed(account, gimel_at):
    apply(gimel_at())
    changed_memory(account)
    assert descriptions(gimel_at().plan()) == ["update gimel-track: MemorySize 3008 -> 256"]


def test_another_path_of_events_replaces_the_last_one_and_changes_no_function(account, gimel_at):
    apply(gimel_at())
    plan = gimel_at({"track_path": "/counts"}).plan()
    changed = {step.service for step in plan.steps if "permission" not in step.description}
    assert changed == {"apigateway", "apigatewayv2"}
    apply(gimel_at({"track_path": "/counts"}))
    (api,) = account.state()["apis"].values()
    assert {"/counts", "/track"} < set(api["paths"])
    assert "/e" not in api["paths"]
    apply(gimel_at({"track_path": False}))
    assert "/counts" not in account.only("apis")["paths"]
    assert {name for name in account.state()["functions"]["gimel-track"]["policy"] if "track" not in name} == set()


def test_a_note_says_that_another_redis_will_count(account, gimel_at):
    apply(gimel_at())
    assert not any("Redis" in note for note in gimel_at(memory_mb=512).plan().notes)
    (note,) = [one for one in gimel_at({"redis": {"host": "new.example.com"}}).plan().notes if "Redis" in one]
    assert "in ANOTHER Redis, redis://new.example.com:6379/0; what was counted in redis://redis.example.com" in note


def test_a_note_says_that_a_new_key_has_a_new_value(account, gimel_at):
    apply(gimel_at())
    removed_key(account)
    assert any("new one has a different value" in note for note in gimel_at().plan().notes)


def test_a_usage_plan_created_by_hand_that_has_the_key_is_kept(account, gimel_at):
    apply(gimel_at())
    removed_usage_plan(account)
    client = account.client("apigateway")
    stages = [{"apiId": api_of(account), "stage": "prod"}]
    plan = client.create_usage_plan(name="partners", apiStages=stages)["id"]
    client.create_usage_plan_key(usagePlanId=plan, keyId=account.key(), keyType="API_KEY")
    own = descriptions(gimel_at().plan())
    assert own == ["create usage plan gimel", "add API key gimel-read to the usage plan"]
    client.create_usage_plan_key(usagePlanId=plan, keyId=account.key(READ), keyType="API_KEY")
    assert descriptions(gimel_at().plan()) == []
    assert any("partners" in note for note in gimel_at().plan().notes)
