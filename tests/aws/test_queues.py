"""The queue where events wait while Redis cannot take them, as deploy makes, keeps and removes it."""

from __future__ import annotations

import json

import pytest
from botocore.stub import Stubber

from gimel.ops.aws.client import Aws
from gimel.ops.aws.errors import NameTaken, StepFailed
from gimel.ops.aws.plan.steps import Step

from .account import FUNCTIONS, ID, apply, descriptions
from .test_drift import disabled_mapping, queue_url
from .test_role import VPC
from .test_settings import entry

pytestmark = pytest.mark.slow

QUEUE = f"arn:aws:sqs:eu-west-1:{ID}:gimel-queue"
DEAD_LETTERS = f"arn:aws:sqs:eu-west-1:{ID}:gimel-dead-letters"
URL = f"https://sqs.eu-west-1.amazonaws.com/{ID}/gimel-queue"


def environment(account, function: str = "gimel-track") -> dict[str, str]:
    return account.state()["functions"][function]["configuration"]["Environment"]["Variables"]


def send(account, name: str, count: int) -> None:
    disabled_mapping(account)  # moto would deliver them, and take each delivery for a success
    for _ in range(count):
        account.client("sqs").send_message(QueueUrl=queue_url(account, name), MessageBody="{}")


def allowed(account) -> str:
    return json.dumps(account.role("gimel")["policies"]["gimel-eu-west-1"])


def test_both_queues_are_encrypted_tagged_and_keep_messages_as_long_as_sqs_can(account, gimel_at):
    apply(gimel_at(tags={"team": "web"}))
    queues = account.state()["queues"]
    assert set(queues) == {"gimel-queue", "gimel-dead-letters"}
    for queue in queues.values():
        assert queue["SqsManagedSseEnabled"] == "true"
        assert queue["MessageRetentionPeriod"] == str(14 * 24 * 3600)
        assert queue["tags"] == {"team": "web", "gimel:deployment": "gimel"}


def test_an_outage_of_a_day_sends_no_good_event_to_the_dead_letters(account, gimel_at):
    apply(gimel_at(timeout_s=28))
    queue = account.state()["queues"]["gimel-queue"]
    redrive, visibility_s = json.loads(queue["RedrivePolicy"]), int(queue["VisibilityTimeout"])
    assert redrive["deadLetterTargetArn"] == DEAD_LETTERS
    assert visibility_s * int(redrive["maxReceiveCount"]) > 24 * 3600
    # AWS' advice; and Lambda refuses a mapping where the function may run longer than this.
    assert visibility_s >= 6 * 28


def test_the_queue_is_mapped_to_the_live_alias_once_with_bounded_concurrency(account, gimel_at):
    apply(gimel_at())
    (mapping,) = account.state()["mappings"].values()
    assert mapping["EventSourceArn"] == QUEUE
    assert mapping["FunctionArn"] == f"arn:aws:lambda:eu-west-1:{ID}:function:gimel-track:live"
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert 2 <= mapping["ScalingConfig"]["MaximumConcurrency"] <= 10


def test_only_functions_that_track_know_the_queues(account, gimel_at):
    apply(gimel_at({"extra_wiring": [entry(name="cart")]}))
    dead_letters = URL.replace("gimel-queue", "gimel-dead-letters")
    for name in ("gimel-track", "cart"):
        known = environment(account, name)
        assert (known["GIMEL_QUEUE_URL"], known["GIMEL_DEAD_LETTERS_URL"]) == (URL, dead_letters)
    assert not [key for key in environment(account, "gimel-experiment") if "QUEUE" in key or "LETTERS" in key]


def test_the_queues_exist_before_a_function_could_use_them_and_are_mapped_when_it_can(account, gimel_at):
    calls = [step.call for step in gimel_at().plan().steps]
    assert calls.index("create_queue") < calls.index("put_role_policy") < calls.index("create_function")
    assert calls.index("create_alias") < calls.index("create_event_source_mapping")


def test_in_a_vpc_nothing_is_queued_unless_asked_for_and_a_note_says_so(account, gimel_at):
    plan = gimel_at(**VPC).plan()
    assert any("with aws.vpc durable tracking is off" in note for note in plan.notes)
    apply(gimel_at(**VPC), plan)
    assert (account.state()["queues"], "sqs:" in allowed(account)) == ({}, False)
    assert not any("durable" in note for note in gimel_at(durable=False, **VPC).plan().notes)
    apply(gimel_at(durable=True, **VPC))
    assert len(account.state()["queues"]) == 2
    assert descriptions(gimel_at(durable=True, **VPC).plan()) == []


def test_an_existing_deployment_gets_the_queues_and_loses_them_again(account, gimel_at):
    apply(gimel_at(durable=False))
    before = account.state()
    assert before["queues"] == before["mappings"] == {}
    assert "GIMEL_QUEUE_URL" not in environment(account)
    apply(gimel_at())
    assert "GIMEL_QUEUE_URL" in environment(account)
    plan = gimel_at(durable=False).plan()
    calls = [step.call for step in plan.steps]
    assert max(place for place, call in enumerate(calls) if call == "update_alias") < calls.index(
        "delete_event_source_mapping"
    )
    assert calls.index("delete_event_source_mapping") < calls.index("delete_queue")
    apply(gimel_at(durable=False), plan)
    state = account.state()
    assert (state["queues"], state["mappings"], "sqs:" in allowed(account)) == ({}, {}, False)
    assert descriptions(gimel_at(durable=False).plan()) == []


@pytest.mark.parametrize("name", ["gimel-queue", "gimel-dead-letters"])
def test_queues_with_messages_are_kept_working_and_a_note_says_what_to_do(account, gimel_at, name):
    apply(gimel_at())
    send(account, name, 3)
    plan = gimel_at(durable=False).plan()
    (note,) = [note for note in plan.notes if "is kept" in note]
    assert note.startswith(f"queue {name} is kept because ")
    assert "about 3 " in note
    assert ("gimel queue redrive" in note) == (name == "gimel-dead-letters")
    apply(gimel_at(durable=False), plan)
    state = account.state()
    assert (len(state["queues"]), len(state["mappings"]), "sqs:ReceiveMessage" in allowed(account)) == (2, 1, True)
    assert "GIMEL_QUEUE_URL" not in environment(account)
    assert descriptions(gimel_at(durable=False).plan()) == []
    account.client("sqs").purge_queue(QueueUrl=queue_url(account, name))
    apply(gimel_at(durable=False))
    assert (account.state()["queues"], "sqs:" in allowed(account)) == ({}, False)


def test_destroy_says_how_many_messages_go_with_the_queues(account, gimel_at):
    apply(gimel_at())
    send(account, "gimel-queue", 12)
    plan = gimel_at().plan_removal()
    assert "delete queue gimel-queue with about 12 messages that are not counted yet" in descriptions(plan)
    assert "delete queue gimel-dead-letters" in descriptions(plan)
    apply(gimel_at(), plan)
    assert not any(account.state().values())


def test_a_queue_of_somebody_else_is_neither_used_nor_deleted(account, gimel_at):
    account.client("sqs").create_queue(QueueName="gimel-queue", tags={"gimel:deployment": "shop"})
    with pytest.raises(NameTaken, match="queue gimel-queue already exists and was not created by Gimel"):
        gimel_at().plan()
    apply(gimel_at(durable=False))
    apply(gimel_at(durable=False), gimel_at(durable=False).plan_removal())
    assert set(account.state()["queues"]) == {"gimel-queue"}


def test_two_deployments_have_queues_of_their_own(account, gimel_at):
    apply(gimel_at())
    apply(gimel_at(name="shop"))
    assert {"gimel-queue", "gimel-shop-queue"} < set(account.state()["queues"])
    apply(gimel_at(name="shop"), gimel_at(name="shop").plan_removal())
    assert set(account.state()["queues"]) == {"gimel-queue", "gimel-dead-letters"}
    assert descriptions(gimel_at().plan()) == []


def test_a_rollback_to_a_release_without_a_queue_leaves_it_mapped(account, gimel_at):
    apply(gimel_at(durable=False))
    apply(gimel_at())
    plan = gimel_at().plan_rollback()
    assert len(plan.steps) == len(FUNCTIONS)
    apply(gimel_at(), plan)
    (mapping,) = account.state()["mappings"].values()
    assert mapping["FunctionArn"].endswith(":function:gimel-track:live")
    live = account.client("lambda").get_function_configuration(FunctionName="gimel-track", Qualifier="live")
    assert "GIMEL_QUEUE_URL" not in live["Environment"]["Variables"]


@pytest.mark.parametrize(
    ("service", "call", "params", "code"),
    [
        ("sqs", "create_queue", {"QueueName": "gimel-queue"}, "AWS.SimpleQueueService.QueueDeletedRecently"),
        ("lambda", "update_event_source_mapping", {"UUID": "0" * 36}, "ResourceInUseException"),
    ],
)
def test_what_is_still_being_changed_is_retried(service, call, params, code):
    slept: list[float] = []
    aws = Aws(sleep=slept.append)
    with Stubber(aws.client(service)) as stub:
        stub.add_client_error(call, code, "wait")
        stub.add_response(call, {}, params)
        aws.perform(1, Step(description="x", service=service, call=call, params=params), params)
    assert len(slept) == 1


def test_another_error_of_sqs_is_not_retried():
    slept: list[float] = []
    aws = Aws(sleep=slept.append)
    params = {"QueueName": "gimel-queue"}
    with Stubber(aws.client("sqs")) as stub:
        stub.add_client_error("create_queue", "QueueAlreadyExists", "with other attributes")
        with pytest.raises(StepFailed, match="other attributes"):
            aws.perform(1, Step(description="x", service="sqs", call="create_queue", params=params), params)
    assert slept == []
