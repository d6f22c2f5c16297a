"""Errors of AWS that pass by themselves do not end a run."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import botocore.endpoint
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.stub import Stubber
from moto.core.botocore_stubber import BotocoreStubber

from gimel.ops.aws.client import Aws
from gimel.ops.aws.errors import StepFailed
from gimel.ops.aws.plan.steps import Plan, Step

from .account import READING, Account, apply

KMS = (
    "Lambda was unable to configure access to your environment variables because the KMS key is invalid for "
    "CreateGrant. Please check your KMS key settings. KMS Exception: InvalidArnException KMS Message: ARN does not "
    "refer to a valid principal"
)
EC2 = (
    "Your request has been throttled by EC2, please make sure you have enough API rate limit. EC2 Error Code: "
    "RequestLimitExceeded. EC2 Error Message: Request limit exceeded."
)
NEW_ROLE = "The provided execution role does not have permissions to call ReceiveMessage on SQS"
IN_PROGRESS = "The operation cannot be performed at this time. An update is in progress for resource: f"
CONFLICT = "ResourceConflictException"
INVALID = "InvalidParameterValueException"

FUNCTION_CALLS = ("CreateFunction", "UpdateFunctionConfiguration", "UpdateFunctionCode", "PublishVersion")


class Injected:
    """Answers the first two calls of each kind with an error, before they reach AWS."""

    def __init__(self, account: Account, service: str, code: str, message: str, only: tuple[str, ...] = ()) -> None:
        self.error = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 400}}
        self.only, self.calls, self.active = only, Counter(), False
        account.session.events.register(f"before-call.{service}.*", self._answer)

    def _answer(self, model: Any, **ignored: Any) -> tuple[Any, dict[str, Any]] | None:
        wanted = model.name in self.only if self.only else not model.name.startswith(READING)
        if not self.active or not wanted or self.calls[model.name] == 2:
            return None
        self.calls[model.name] += 1
        return AWSResponse("", 400, {}, None), self.error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("service", "code", "message", "only"),
    [
        ("lambda", INVALID, "The role defined for the function cannot be assumed by Lambda.", FUNCTION_CALLS),
        ("lambda", INVALID, NEW_ROLE, (*FUNCTION_CALLS, "CreateEventSourceMapping")),
        ("lambda", INVALID, KMS, FUNCTION_CALLS),
        ("lambda", INVALID, EC2, FUNCTION_CALLS),
        ("lambda", CONFLICT, IN_PROGRESS, ()),
        ("lambda", CONFLICT, "The function is currently in the following state: Pending", ()),
        ("lambda", CONFLICT, "The function could not be updated due to a concurrent update operation.", ()),
        ("lambda", CONFLICT, "some new words", ()),
        ("*", "TooManyRequestsException", "Rate exceeded", ()),
        ("*", "ThrottlingException", "Rate exceeded", ()),
        ("lambda", "TooManyRequestsException", "Rate exceeded", ("GetFunction", "GetFunctionConfiguration")),
        ("apigateway", "ConflictException", "Unable to complete operation due to concurrent modification.", ()),
        ("logs", "OperationAbortedException", "A conflicting operation is in progress", ()),
        ("iam", "ConcurrentModification", "Multiple requests to change this object were submitted", ()),
    ],
)
def test_no_such_error_ends_a_run(account, gimel_at, service, code, message, only):
    """A deploy, a change, a rollback and the removal, in each of which every such call fails twice at first."""
    injected = Injected(account, service, code, message, only)

    def run(plan: Plan) -> set[str]:
        injected.calls.clear()
        injected.active = True
        apply(gimel_at(), plan)
        injected.active = False
        return set(injected.calls)

    refused = run(gimel_at().plan())
    assert gimel_at().plan().steps == ()
    refused |= run(gimel_at(memory_mb=512, architecture="x86_64", throttle={"rate": 9, "burst": 9}).plan())
    refused |= run(gimel_at().plan_rollback())
    refused |= run(gimel_at().plan_removal())
    assert refused >= set(only)
    assert len(refused) >= 2
    assert not any(account.state().values())


@pytest.mark.parametrize("code", ["ConcurrentAccess", "ConcurrentModificationException"])
def test_changes_of_tags_wait_for_each_other(code):
    """Of a topic and of an alarm."""
    failures = [ClientError({"Error": {"Code": code, "Message": "Try again"}}, "TagResource")] * 2

    def tag() -> str:
        if failures:
            raise failures.pop()
        return "tagged"

    assert Aws(sleep=lambda seconds: None).with_retries(tag) == "tagged"


def test_reading_is_tried_again_too(account, gimel_at):
    reads = ("GetCallerIdentity", "ListFunctions", "GetRole", "GetRestApis", "GetApiKeys", "GetUsagePlans", "GetApiKey")
    reads += ("DescribeLogGroups", "GetQueueAttributes", "ListEventSourceMappings", "GetAccount")
    injected = Injected(account, "*", "TooManyRequestsException", "Rate exceeded", reads)
    injected.active = True
    apply(gimel_at())
    injected.calls.clear()
    assert gimel_at().key_value(gimel_at().require_live())
    assert gimel_at().plan().steps == ()
    assert gimel_at().require_queues()
    assert set(injected.calls) == {*reads} - {"GetCallerIdentity"}  # asked once and remembered


@pytest.fixture
def server(account, monkeypatch) -> list[Any]:
    """What AWS answers next, instead of what moto would: a status, a code and a message, or an exception."""
    answers: list[Any] = []
    process = BotocoreStubber.process_request

    def answer(stubber: BotocoreStubber, request: Any) -> Any:
        if not answers:
            return process(stubber, request)
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        status, code, message = found
        return status, {"x-amzn-ErrorType": code}, json.dumps({"message": message}).encode()

    monkeypatch.setattr(BotocoreStubber, "process_request", answer)
    return answers


@pytest.mark.slow
def test_throttling_is_left_to_botocore_which_waits_longer_each_time(gimel_at, server, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(botocore.endpoint.time, "sleep", waits.append)
    aws = gimel_at().aws
    params = {"FunctionName": "f", "MemorySize": 128}
    step = Step(description="update f", service="lambda", call="update_function_configuration", params=params)
    server += [(429, "TooManyRequestsException", "Rate exceeded")] * 11
    with pytest.raises(StepFailed, match="Rate exceeded") as caught:
        aws.perform(1, step, params)
    assert (server, len(waits)) == ([], 10)
    assert "wait a minute" in caught.value.hint


CREATE_ALIAS = Step(description="create alias", service="lambda", call="create_alias", params={"FunctionName": "f"})


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (CONFLICT, "Function already exist: f"),
        (CONFLICT, "Alias already exists: arn:aws:lambda:eu-west-1:123456789012:function:f:live"),
        (CONFLICT, "The statement id (gimel-track) provided already exists. Please provide a new statement id"),
        (INVALID, "Unsupported runtime"),
    ],
)
def test_an_error_that_stays_is_reported_at_once(code, message):
    slept: list[float] = []
    aws = Aws(sleep=slept.append)
    with Stubber(aws.client("lambda")) as stub:
        stub.add_client_error("create_alias", code, message)
        with pytest.raises(StepFailed, match=re.escape(message)) as caught:
            aws.perform(1, CREATE_ALIAS, {"FunctionName": "f", "Name": "live", "FunctionVersion": "1"})
    assert slept == []
    assert ("wait for any other deploy" in caught.value.hint) == (code == CONFLICT)


def test_what_exists_because_an_answer_was_lost_is_done(gimel_at, server):
    """botocore calls again when a connection breaks, although the first call may have had its effect."""
    exists = (409, CONFLICT, "Alias already exists: live")
    server += [ConnectionClosedError(endpoint_url="https://lambda"), exists, exists]
    aws = gimel_at().aws
    params = {"FunctionName": "f", "Name": "live", "FunctionVersion": "1"}
    assert aws.perform(1, CREATE_ALIAS, params) == {}
    with pytest.raises(StepFailed, match="already exists"):
        aws.perform(2, CREATE_ALIAS, params)  # at once, this time
