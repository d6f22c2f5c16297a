"""A run that fails anywhere can simply be rerun."""

from __future__ import annotations

from dataclasses import replace

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    ProxyConnectionError,
    SSLError,
    SSOTokenLoadError,
)
from botocore.stub import Stubber

from gimel.ops.aws.client import Aws, failure
from gimel.ops.aws.errors import AwsError, StepFailed
from gimel.ops.aws.plan import deploy, steps
from gimel.ops.aws.plan.steps import Plan, Step, Target

from . import gimel15
from .account import apply
from .test_domain import CERTIFICATE, DOMAIN
from .test_drift import comparable
from .test_upgrade import named

pytestmark = pytest.mark.slow


class Breaking(Exception):
    """The network failed after the call and before its response."""


def apply_until(deployment, last: int, plan: Plan | None = None) -> None:
    """Perform the plan, which is by default that of a deploy, and break after this step."""

    def perform(number, step, params):
        answer = deployment.aws.perform(number, step, params)
        if number == last:
            raise Breaking
        return answer

    with pytest.raises(Breaking):
        steps.execute(plan or deployment.plan(), perform)


EVERYTHING = {"track_api": "http", "domain": DOMAIN, "certificate_arn": CERTIFICATE}


@pytest.mark.parametrize(
    # What a new deployment has by default is all in the plan of everything.
    ("beginning", "options"),
    [("nothing", EVERYTHING), ("gimel 1.5", {}), ("gimel 1.5", EVERYTHING)],
    ids=["everything", "gimel 1.5", "gimel 1.5, everything"],
)
def test_a_deploy_interrupted_after_any_step_resumes_with_the_next(account, gimel_at, beginning, options):
    if beginning == "gimel 1.5":
        gimel15.lay_out(account)
    whole = calls(gimel_at(**options).plan())
    for done in range(len(whole)):
        resumed = gimel_at(**options)
        plan = resumed.plan()
        assert calls(plan) == whole[done:], f"after step {done}"
        apply_until(resumed, 1, plan)
    assert calls(gimel_at(**options).plan()) == []
    broken = named(account.state())
    apply(gimel_at(**options), gimel_at(**options).plan_removal())
    assert not any(account.state().values())
    # An upgraded deployment keeps its REST API for events.
    apply(gimel_at(**{**({"track_api": "rest"} if beginning == "gimel 1.5" else {}), **options}))
    assert broken == named(account.state())


def calls(plan: Plan) -> list[tuple[str, str]]:
    return [(step.service, step.call) for step in plan.steps]


def test_an_interrupted_change_that_is_rerun_has_the_same_result(account, gimel_at):
    apply(gimel_at())
    small = comparable(account.state())
    for last in range(1, 14):
        apply_until(gimel_at(memory_mb=512 + last, throttle={"rate": 9, "burst": 9}), last)
        apply(gimel_at())
        assert comparable(account.state()) == small, f"after step {last}"


def test_a_failed_step_says_which_why_and_what_to_do(account, gimel_at):
    params = {"RoleName": "x", "AssumeRolePolicyDocument": "{}"}
    step = Step(description="create role x", service="iam", call="create_role", params=params)
    aws = gimel_at().aws
    with Stubber(aws.client("iam")) as stub:
        stub.add_client_error("create_role", "AccessDenied", "you may not")
        with pytest.raises(StepFailed) as caught:
            aws.perform(7, step, step.params)
    assert (caught.value.number, caught.value.description) == (7, "create role x")
    assert "step 7 failed: create role x" in str(caught.value)
    assert "you may not" in str(caught.value)
    assert "gimel permissions" in caught.value.hint
    assert "then rerun; it resumes where it stopped" in caught.value.hint


def stubbed(slept: list[float]) -> Aws:
    return Aws(sleep=slept.append)


CREATE = Step(
    description="create function f",
    service="lambda",
    call="create_function",
    params={"FunctionName": "f", "Role": "r", "Code": {"ZipFile": b""}},
)


def test_a_call_is_retried_until_a_new_role_can_be_assumed():
    slept: list[float] = []
    aws = stubbed(slept)
    with Stubber(aws.client("lambda")) as stub:
        message = "The role defined for the function cannot be assumed by Lambda."
        for _ in range(3):
            stub.add_client_error("create_function", "InvalidParameterValueException", message)
        stub.add_response("create_function", {"FunctionArn": "arn"}, CREATE.params)
        assert aws.perform(1, CREATE, CREATE.params)["FunctionArn"] == "arn"
        stub.assert_no_pending_responses()
    assert len(slept) == 3


def test_another_invalid_parameter_is_not_retried():
    slept: list[float] = []
    aws = stubbed(slept)
    with Stubber(aws.client("lambda")) as stub:
        stub.add_client_error("create_function", "InvalidParameterValueException", "Unsupported runtime")
        with pytest.raises(StepFailed, match="Unsupported runtime"):
            aws.perform(1, CREATE, CREATE.params)
    assert slept == []


def test_retrying_ends():
    slept: list[float] = []
    aws = stubbed(slept)
    with Stubber(aws.client("lambda")) as stub:
        for _ in range(100):
            stub.add_client_error("create_function", "InvalidParameterValueException", "cannot be assumed")
        with pytest.raises(StepFailed, match="assumed"):
            aws.perform(1, CREATE, CREATE.params)
    assert 60 <= sum(slept) <= 120


def test_a_call_during_another_update_is_retried():
    slept: list[float] = []
    aws = stubbed(slept)
    params = {"FunctionName": "f", "MemorySize": 128}
    step = Step(description="update f", service="lambda", call="update_function_configuration", params=params)
    with Stubber(aws.client("lambda")) as stub:
        message = "The operation cannot be performed at this time. An update is in progress for resource: f"
        stub.add_client_error("update_function_configuration", "ResourceConflictException", message)
        stub.add_response("update_function_configuration", {"MemorySize": 128}, params)
        aws.perform(1, step, params)
    assert len(slept) == 1


def with_latest(deployment, **state) -> Plan:
    """The plan for a gimel-track in this state."""
    existing = deployment.observe()
    track = existing.functions["gimel-track"]
    changed = replace(track, latest={**track.latest, **state})
    return deploy.deploy(
        deployment.desired, replace(existing, functions={**existing.functions, "gimel-track": changed})
    )


def test_a_function_that_never_became_active_is_recreated(account, gimel_at):
    deployment = gimel_at()
    first = next(number for number, step in enumerate(deployment.plan().steps, 1) if step.call == "create_function")
    apply_until(deployment, first)
    broken = with_latest(deployment, State="Failed", StateReason="no such subnet")
    assert broken.steps[0].description == "delete function gimel-track, which failed to become active"
    assert (broken.steps[1].call, broken.steps[1].params["FunctionName"]) == ("create_function", "gimel-track")
    apply(deployment, broken)
    assert calls(gimel_at().plan()) == []


def test_a_function_that_worked_once_is_never_recreated(account, gimel_at):
    apply(gimel_at())
    assert calls(with_latest(gimel_at(), State="Failed")) == []


def test_a_failed_update_is_retried_by_the_next_deploy(account, gimel_at):
    apply(gimel_at())
    (again,) = with_latest(gimel_at(), LastUpdateStatus="Failed").steps
    assert again.call == "update_function_configuration"
    assert again.description == "update gimel-track: retry the failed update"


def state(**found: str) -> dict[str, object]:
    return {"Configuration": {"FunctionName": "f", **found}}


@pytest.mark.parametrize(
    ("waiter", "call", "answer"),
    [
        ("function_active_v2", "get_function", state(State="Failed", StateReason="no such subnet")),
        (
            "function_updated_v2",
            "get_function",
            state(LastUpdateStatus="Failed", LastUpdateStatusReason="no such subnet"),
        ),
        (
            "published_version_active",
            "get_function_configuration",
            {"State": "Failed", "StateReason": "no such subnet"},
        ),
    ],
)
def test_a_function_that_fails_is_reported_with_lambdas_reason(waiter, call, answer):
    aws = stubbed([])
    name = {"FunctionName": "f"}
    change = {"description": "change f", "service": "lambda", "call": "publish_version", "params": name}
    step = Step(**change, waiter=waiter, waiter_params=name)
    with Stubber(aws.client("lambda")) as stub:
        stub.add_response("publish_version", {"Version": "1"})
        stub.add_response(call, answer)
        with pytest.raises(StepFailed, match=r"step 1 failed: change f: .*no such subnet"):
            aws.perform(1, step, name)


def test_a_concurrent_change_of_the_api_is_retried():
    slept: list[float] = []
    aws = stubbed(slept)
    params = {"restApiId": "a", "resourceId": "r", "httpMethod": "GET", "authorizationType": "NONE"}
    step = Step(description="create method GET /track", service="apigateway", call="put_method", params=params)
    with Stubber(aws.client("apigateway")) as stub:
        message = "Unable to complete operation due to concurrent modification. Please try again later."
        stub.add_client_error("put_method", "ConflictException", message, http_status_code=409)
        stub.add_response("put_method", {"httpMethod": "GET"}, params)
        aws.perform(1, step, params)
    assert len(slept) == 1


def test_a_conflict_with_something_that_exists_is_not_retried():
    slept: list[float] = []
    aws = stubbed(slept)
    params = {"restApiId": "a", "parentId": "r", "pathPart": "track"}
    step = Step(description="create path /track", service="apigateway", call="create_resource", params=params)
    with Stubber(aws.client("apigateway")) as stub:
        message = "Another resource with the same parent already has this name: track"
        stub.add_client_error("create_resource", "ConflictException", message, http_status_code=409)
        with pytest.raises(StepFailed, match="already has this name"):
            aws.perform(1, step, params)
    assert slept == []


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (SSOTokenLoadError(profile_name="me", error_msg="no token"), "sign in again with `aws sso login`"),
        (EndpointConnectionError(endpoint_url="https://sts.eu-wst.amazonaws.com"), "the name of the region"),
        (SSLError(endpoint_url="https://sts", error="certificate verify failed"), "AWS_CA_BUNDLE"),
        (ProxyConnectionError(proxy_url="http://proxy"), "check HTTPS_PROXY"),
    ],
)
def test_signing_in_and_network_failures_have_their_hints(error, hint):
    assert hint in failure("could not verify AWS credentials", error).hint


def test_deleting_what_no_longer_exists_succeeds():
    aws = stubbed([])
    step = Target("lambda", {"FunctionName": "f"}).step("delete_function", "delete f", tolerates=steps.MISSING)
    with Stubber(aws.client("lambda")) as stub:
        stub.add_client_error("delete_function", "ResourceNotFoundException", "no such function")
        assert aws.perform(1, step, step.params) == {}


def test_every_update_of_a_function_completes_before_the_next_call(account, gimel_at):
    apply(gimel_at())
    account.calls.clear()
    apply(gimel_at(architecture="x86_64", memory_mb=512))
    order = [call for service, call, params in account.calls if params.get("FunctionName") == "gimel-track"]
    start = order.index("UpdateFunctionConfiguration")
    assert order[start : start + 6] == [
        "UpdateFunctionConfiguration",
        "GetFunction",
        "UpdateFunctionCode",
        "GetFunction",
        "PublishVersion",
        "GetFunctionConfiguration",
    ]
    assert order[start + 6] == "UpdateAlias"
    for _, call, params in account.calls:
        assert "Publish" not in params, call


def test_every_alias_moves_only_after_every_version_is_published(account, gimel_at):
    calls = [step.call for step in gimel_at().plan().steps]
    assert max(i for i, call in enumerate(calls) if call == "publish_version") < calls.index("create_alias")


def test_a_failure_to_read_the_deployment_is_explained(gimel_at, account):
    deployment = gimel_at()
    deployment.aws.account  # noqa: B018 - asked before the stub is in the way
    with Stubber(deployment.aws.client("lambda")) as stub:
        stub.add_client_error("list_functions", "AccessDeniedException", "no")
        with pytest.raises(AwsError, match="could not read the current deployment"):
            deployment.plan()


def test_only_not_found_errors_mean_that_something_is_missing(gimel_at, account):
    deployment = gimel_at()
    deployment.aws.account  # noqa: B018 - asked before the stub is in the way
    with Stubber(deployment.aws.client("iam")) as stub:
        stub.add_client_error("get_role", "ServiceFailure", "down", http_status_code=400)
        with pytest.raises(AwsError, match="down") as caught:
            deployment.plan()
    assert isinstance(caught.value.__cause__, ClientError)
