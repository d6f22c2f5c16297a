"""The schedule that has snapshots taken, and the function that takes them: made, changed, repaired and removed."""

from __future__ import annotations

import pytest
from botocore.stub import Stubber

from gimel.ops.aws import settings
from gimel.ops.aws.client import Aws
from gimel.ops.aws.errors import AwsError, NameTaken, StepFailed
from gimel.ops.aws.names import SNAPSHOT
from gimel.ops.aws.plan import schedule
from gimel.ops.aws.plan.steps import Step

from .account import ID, Account, apply, descriptions
from .test_queues import environment

pytestmark = pytest.mark.slow

RULE = f"arn:aws:events:eu-west-1:{ID}:rule/gimel-snapshot"
LIVE = f"arn:aws:lambda:eu-west-1:{ID}:function:gimel-snapshot:live"


def rule(account: Account) -> dict:
    return account.state()["schedules"]["gimel-snapshot"]


def put(account: Account, **changed: str) -> None:
    account.client("events").put_rule(Name="gimel-snapshot", **{"ScheduleExpression": "rate(1 day)", **changed})


def aim(account: Account, **changed: object) -> None:
    target = {"Id": "live", "Arn": LIVE, "RetryPolicy": {"MaximumRetryAttempts": 0}, **changed}
    account.client("events").put_targets(Rule="gimel-snapshot", Targets=[target])


def removed_schedule(account: Account) -> None:
    removed_target(account)
    account.client("events").delete_rule(Name="gimel-snapshot")


def rarer_schedule(account: Account) -> None:
    put(account, Description="Gimel deployment gimel")


def disabled_schedule(account: Account) -> None:
    account.client("events").disable_rule(Name="gimel-snapshot")


def untagged_schedule(account: Account) -> None:
    account.client("events").tag_resource(ResourceARN=RULE, Tags=[{"Key": "team", "Value": "other"}])


def removed_target(account: Account) -> None:
    account.client("events").remove_targets(Rule="gimel-snapshot", Ids=["live"])


def other_target(account: Account) -> None:
    aim(account, Arn=LIVE.removesuffix(":live"))


def target_that_is_tried_for_a_day(account: Account) -> None:
    aim(account, RetryPolicy={"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 86_400})


def removed_permission(account: Account) -> None:
    client = account.client("lambda")
    client.remove_permission(FunctionName="gimel-snapshot", StatementId="gimel-schedule", Qualifier="live")


def permission_for_any_rule(account: Account) -> None:
    removed_permission(account)
    where = {"FunctionName": "gimel-snapshot", "Qualifier": "live", "StatementId": "gimel-schedule"}
    account.client("lambda").add_permission(**where, **schedule.INVOCATION, SourceArn=f"{RULE}-2")


AIM = "have schedule gimel-snapshot invoke alias live of gimel-snapshot"
ALLOW = "add permission: the schedule may invoke gimel-snapshot"
DRIFTS = [
    ([removed_schedule], ["create schedule gimel-snapshot, once an hour", AIM]),
    ([removed_target, removed_permission], [ALLOW, AIM]),
    (
        [rarer_schedule, untagged_schedule, other_target],
        ["update schedule gimel-snapshot: ScheduleExpression", "tag schedule gimel-snapshot", AIM],
    ),
    (
        [disabled_schedule, target_that_is_tried_for_a_day, permission_for_any_rule],
        [
            "remove permission gimel-schedule of gimel-snapshot",
            ALLOW,
            "update schedule gimel-snapshot: State",
            AIM,
        ],
    ),
]


def test_the_live_alias_is_invoked_at_every_full_hour_and_not_again_if_lambda_is_busy(account, gimel_at):
    apply(gimel_at(tags={"team": "web"}))
    found = rule(account)
    assert (found["ScheduleExpression"], found["State"]) == ("cron(0 * * * ? *)", "ENABLED")
    assert found["tags"] == {"team": "web", "gimel:deployment": "gimel"}
    assert found["targets"] == [{"Id": "live", "Arn": LIVE, "RetryPolicy": {"MaximumRetryAttempts": 0}}]
    function = account.state()["functions"]["gimel-snapshot"]
    assert function["policy"] == {"gimel-schedule": {"ArnLike": {"AWS:SourceArn": RULE}}}
    assert function["configuration"]["Handler"] == "gimel.snapshot"


def test_a_snapshot_has_minutes_and_no_queue(account, gimel_at):
    apply(gimel_at(timeout_s=5, memory_mb=128, reserved_concurrency=3))
    function = account.state()["functions"]["gimel-snapshot"]
    assert (function["configuration"]["Timeout"], function["configuration"]["MemorySize"]) == (300, 256)
    assert function["reserved"] == 3
    known, others = environment(account, "gimel-snapshot"), environment(account, "gimel-health")
    assert known == others
    assert not [key for key in known if "QUEUE" in key or "LETTERS" in key]


@pytest.mark.parametrize(
    ("aws", "memory_mb", "timeout_s"),
    [
        ({}, 256, 300),
        ({"memory_mb": 1024}, 1024, 300),
        ({"functions": {SNAPSHOT: {"memory_mb": 128}}}, 128, 300),
        ({"functions": {SNAPSHOT: {"timeout_s": 900}}, "memory_mb": 512}, 512, 900),
    ],
)
def test_its_size_is_configured_like_that_of_other_functions(aws, memory_mb, timeout_s):
    problems: list[str] = []
    own = settings.read(aws, problems).functions[SNAPSHOT]
    assert (own.memory_mb, own.timeout_s, problems) == (memory_mb, timeout_s, [])


def test_only_a_snapshot_may_run_longer_than_api_gateway_waits():
    problems: list[str] = []
    settings.read({"functions": {SNAPSHOT: {"timeout_s": 901}, "gimel-track": {"timeout_s": 29}}}, problems)
    assert problems == [
        "aws.functions.gimel-snapshot.timeout_s: must be whole seconds from 1 to 900 (the most that Lambda allows), "
        "not 901",
        "aws.functions.gimel-track.timeout_s: must be whole seconds from 1 to 28 (API Gateway times out after 29), "
        "not 29",
    ]


def test_nobody_pays_for_a_fast_start_of_snapshots(account, gimel_at):
    apply(gimel_at(runtime="python3.13", snap_start=True))
    starts = {
        params["FunctionName"]: params.get("SnapStart") for _, call, params in account.calls if call == "CreateFunction"
    }
    assert {name for name, start in starts.items() if not start} == {"gimel-snapshot"}


def test_what_was_changed_by_hand_is_repaired_and_nothing_else_is_touched(account, gimel_at):
    options = {"tags": {"team": "web"}}
    apply(gimel_at(**options))
    before = account.state()
    for drifts, repairs in DRIFTS:
        for drift in drifts:
            drift(account)
        plan = gimel_at(**options).plan()
        assert descriptions(plan) == repairs
        apply(gimel_at(**options), plan)
    assert account.state() == before
    assert descriptions(gimel_at(**options).plan()) == []


def test_targets_that_others_added_stay_until_the_schedule_goes(account, gimel_at):
    apply(gimel_at())
    aim(account, Id="theirs")
    assert descriptions(gimel_at().plan()) == []
    apply(gimel_at(), gimel_at().plan_removal())
    assert not any(account.state().values())


def test_a_rule_of_somebody_else_stops_the_deploy(account, gimel_at):
    put(account)
    with pytest.raises(NameTaken, match="EventBridge rule gimel-snapshot already exists"):
        gimel_at().plan()
    apply(gimel_at(name="shop"))
    assert set(account.state()["schedules"]) == {"gimel-snapshot", "gimel-shop-snapshot"}


def test_an_earlier_deployment_gets_it_in_plain_steps(account, gimel_at):
    apply(gimel_at())
    removed_schedule(account)
    account.client("lambda").delete_function(FunctionName="gimel-snapshot")
    account.client("logs").delete_log_group(logGroupName="/aws/lambda/gimel-snapshot")
    assert descriptions(gimel_at().plan()) == [
        "create log group /aws/lambda/gimel-snapshot",
        "set retention of log group /aws/lambda/gimel-snapshot to 30 days",
        "create function gimel-snapshot (python3.13, arm64, 256 MB, 300 s)",
        "publish a new version of gimel-snapshot",
        "create alias live of gimel-snapshot, pointing to the new version",
        "add permission: the schedule may invoke gimel-snapshot",
        "create schedule gimel-snapshot, once an hour",
        "have schedule gimel-snapshot invoke alias live of gimel-snapshot",
    ]
    apply(gimel_at())
    assert descriptions(gimel_at().plan()) == []


def test_without_the_rights_to_it_a_deploy_says_so_before_it_changes_anything(account, gimel_at):
    deployment = gimel_at()
    reason = f"User: arn:aws:iam::{ID}:user/ci is not authorized to perform: events:DescribeRule on resource: {RULE}"
    with Stubber(deployment.aws.client("events")) as stub:
        stub.add_client_error("describe_rule", "AccessDeniedException", reason)
        with pytest.raises(AwsError) as caught:
            deployment.plan()
    assert reason in str(caught.value)
    assert "the permissions that `gimel permissions` prints" in caught.value.hint
    assert account.writes == []


PUT = Step(
    description="aim",
    service="events",
    call="put_targets",
    params={"Rule": "r", "Targets": [{"Id": "live", "Arn": LIVE}]},
)


@pytest.mark.parametrize(
    ("code", "passes"), [("ConcurrentModificationException", True), ("ResourceNotFoundException", False)]
)
def test_a_target_that_was_not_accepted_is_a_failed_step(code, passes):
    aws = Aws(sleep=lambda seconds: None)
    failed = {"TargetId": "live", "ErrorCode": code, "ErrorMessage": "no"}
    with Stubber(aws.client("events")) as stub:
        stub.add_response("put_targets", {"FailedEntryCount": 1, "FailedEntries": [failed]})
        if passes:
            stub.add_response("put_targets", {"FailedEntryCount": 0, "FailedEntries": []})
            aws.perform(1, PUT, PUT.params)
        else:
            with pytest.raises(StepFailed, match=code):
                aws.perform(1, PUT, PUT.params)
        stub.assert_no_pending_responses()
