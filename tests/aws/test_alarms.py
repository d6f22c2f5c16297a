"""Alarms, and the topic that sends them: made, changed, repaired and removed."""

from __future__ import annotations

import json

import pytest

from gimel.metrics import EVENTS
from gimel.ops.aws.errors import NameTaken
from gimel.ops.aws.names import ALARMS
from gimel.ops.aws.plan import steps

from .account import FUNCTIONS, ID, apply, descriptions
from .test_failures import apply_until, calls
from .test_queues import environment, send

pytestmark = pytest.mark.slow

TOPIC = f"arn:aws:sns:eu-west-1:{ID}:gimel-alarms"
OPS = {"email": "ops@example.com"}
ERRORS = [f"errors-{name.removeprefix('gimel-')}" for name in FUNCTIONS]
OF_HTTP = {"http-5xx", "http-traffic"}
NAMES = {f"gimel-{name}" for name in (*ALARMS, *ERRORS) if name not in OF_HTTP}


@pytest.fixture
def confirmed(account) -> set[str]:
    """The confirmed addresses. As on AWS, others have no ARN yet; moto's are confirmed at once."""
    known: set[str] = set()

    def hide(parsed: dict, **ignored: object) -> None:
        for one in parsed["Subscriptions"]:
            if one["Endpoint"] not in known:
                one["SubscriptionArn"] = "PendingConfirmation"

    account.session.events.register("after-call.sns.ListSubscriptionsByTopic", hide)
    return known


def wanted(account) -> set[str]:
    """The names of all alarms, without those of an HTTP API if there is none."""
    return NAMES | {f"gimel-{name}" for name in OF_HTTP if account.state()["http_apis"]}


def alarm(account, name: str) -> dict:
    return account.state()["alarms"][f"gimel-{name}"]


def addresses(account) -> list[str]:
    return [endpoint for _, endpoint in account.only("topics")["subscriptions"]]


def test_without_the_setting_there_are_none_and_nothing_is_measured(account, gimel_at):
    apply(gimel_at())
    assert (account.state()["topics"], account.state()["alarms"]) == ({}, {})
    assert "GIMEL_METRICS" not in environment(account)


def test_every_alarm_tells_the_topic_when_it_begins_and_ends(account, gimel_at):
    apply(gimel_at(alarms=OPS, tags={"team": "web"}))
    assert account.state()["topics"] == {
        TOPIC: {"subscriptions": [("email", "ops@example.com")], "tags": {"team": "web", "gimel:deployment": "gimel"}}
    }
    assert set(account.state()["alarms"]) == wanted(account)
    for found in account.state()["alarms"].values():
        assert (found["AlarmActions"], found["OKActions"]) == ([TOPIC], [TOPIC])
        assert found["TreatMissingData"] == "notBreaching"
        assert found["tags"] == {"team": "web", "gimel:deployment": "gimel"}
        assert "`gimel status`" in found["AlarmDescription"]
        assert len(found["AlarmDescription"]) <= 1024
    assert environment(account)["GIMEL_METRICS"] == "gimel"
    assert "GIMEL_METRICS" not in environment(account, "gimel-experiment")
    assert gimel_at(alarms=OPS, tags={"team": "web"}).plan().steps == ()


def test_alarms_watch_what_this_deployment_has(account, gimel_at):
    apply(gimel_at(name="shop", alarms=OPS, timeout_s=20, throttle={"rate": 100, "burst": 200}))
    alarms = {name.removeprefix("gimel-shop-"): found for name, found in account.state()["alarms"].items()}
    watched = {
        name: (
            found["Namespace"],
            found["MetricName"],
            {one["Name"]: one["Value"] for one in found["Dimensions"]},
            found.get("Statistic") or found["ExtendedStatistic"],
            found["Threshold"],
        )
        for name, found in alarms.items()
        if name not in OF_HTTP
    }
    api, track = {"ApiName": "gimel-shop", "Stage": "prod"}, {"FunctionName": "gimel-shop-track"}

    def function(name: str) -> dict[str, str]:
        return {"FunctionName": f"gimel-shop-{name}"}

    assert watched == {
        "5xx": ("AWS/ApiGateway", "5XXError", api, "Sum", 0),
        "failed": ("Gimel", "Failed", {"Deployment": "shop"}, "Sum", 0),
        **{name: ("AWS/Lambda", "Errors", function(name.removeprefix("errors-")), "Sum", 0) for name in ERRORS},
        "slow": ("AWS/Lambda", "Duration", track, "p99", 16_000),
        "throttled": ("AWS/Lambda", "Throttles", track, "Sum", 0),
        "traffic": ("AWS/ApiGateway", "Count", api, "SampleCount", 4_800),
        "waiting": ("AWS/SQS", "ApproximateAgeOfOldestMessage", {"QueueName": "gimel-shop-queue"}, "Maximum", 240),
        "dead-letters": (
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            {"QueueName": "gimel-shop-dead-letters"},
            "Maximum",
            0,
        ),
    }
    assert "Failed" in EVENTS


def test_an_http_api_is_watched_too_by_its_id(account, gimel_at):
    settings = {"alarms": OPS, "track_api": "http"}
    apply(gimel_at(**settings))
    (api,) = account.state()["http_apis"]
    assert set(account.state()["alarms"]) == NAMES | {f"gimel-{name}" for name in OF_HTTP}
    for name, metric in (("http-5xx", "5xx"), ("http-traffic", "Count")):
        found = alarm(account, name)
        assert (found["MetricName"], found["Dimensions"]) == (metric, [{"Name": "ApiId", "Value": api}])
    assert gimel_at(**settings).plan().steps == ()
    account.client("apigatewayv2").delete_api(ApiId=api)
    apply(gimel_at(**settings))
    (another,) = account.state()["http_apis"]
    assert alarm(account, "http-5xx")["Dimensions"] == [{"Name": "ApiId", "Value": another}]


def test_one_failed_request_wakes_nobody_and_five_minutes_of_outage_do(account, gimel_at):
    apply(gimel_at(alarms=OPS))
    for name in ("5xx", "failed", "errors-track", "slow", "throttled", "traffic"):
        found = alarm(account, name)
        assert (found["Period"], found["DatapointsToAlarm"], found["EvaluationPeriods"]) == (60, 3, 5), name
    hourly = alarm(account, "errors-snapshot")
    assert (hourly["Period"], hourly["DatapointsToAlarm"], hourly["EvaluationPeriods"]) == (3600, 3, 3)
    waiting, visibility_s = alarm(account, "waiting"), account.state()["queues"]["gimel-queue"]["VisibilityTimeout"]
    # What failed once is tried again after this time; SQS leaves out what failed three times.
    assert int(visibility_s) < waiting["Threshold"] < 2 * int(visibility_s)
    assert waiting["Threshold"] + waiting["Period"] <= 300


def test_without_the_queue_its_alarms_go_once_it_is_empty(account, gimel_at):
    apply(gimel_at(alarms=OPS))
    send(account, "gimel-dead-letters", 1)
    apply(gimel_at(alarms=OPS, durable=False))
    assert "gimel-dead-letters" in account.state()["alarms"]
    url = account.client("sqs").get_queue_url(QueueName="gimel-dead-letters")["QueueUrl"]
    account.client("sqs").purge_queue(QueueUrl=url)
    plan = gimel_at(alarms=OPS, durable=False).plan()
    assert "delete alarms gimel-dead-letters, gimel-waiting" in descriptions(plan)
    apply(gimel_at(alarms=OPS, durable=False), plan)
    assert set(account.state()["alarms"]) == wanted(account) - {"gimel-waiting", "gimel-dead-letters"}


def test_the_plan_says_that_the_address_has_to_be_confirmed_until_it_is(account, gimel_at, confirmed):
    note = "alarms reach ops@example.com only once somebody has opened the link in the e-mail that AWS sends there"
    assert note in gimel_at(alarms=OPS).plan().notes
    apply(gimel_at(alarms=OPS))
    waiting = gimel_at(alarms=OPS).plan()
    assert (waiting.steps, note in waiting.notes) == ((), True)
    confirmed.add("ops@example.com")
    plan = gimel_at(alarms=OPS).plan()
    assert (plan.steps, note in plan.notes) == ((), False)


def test_another_address_replaces_the_first(account, gimel_at, confirmed):
    confirmed.add("ops@example.com")
    apply(gimel_at(alarms=OPS))
    changed = gimel_at(alarms={"email": "web@example.com"})
    assert descriptions(changed.plan()) == [
        "subscribe web@example.com to topic gimel-alarms",
        "unsubscribe ops@example.com from topic gimel-alarms",
    ]
    apply(changed)
    assert addresses(account) == ["web@example.com"]
    assert gimel_at(alarms={"email": "web@example.com"}).plan().steps == ()


def test_an_address_that_was_never_confirmed_is_left_to_aws(account, gimel_at, confirmed):
    apply(gimel_at(alarms=OPS))
    changed = {"email": "web@example.com"}
    apply(gimel_at(alarms=changed))
    plan = gimel_at(alarms=changed).plan()
    assert plan.steps == ()
    assert (
        "the subscription of ops@example.com was never confirmed, so AWS deletes it itself after 48 hours" in plan.notes
    )


def test_other_ways_to_be_told_stay_subscribed(account, gimel_at):
    apply(gimel_at(alarms=OPS))
    account.client("sns").subscribe(TopicArn=TOPIC, Protocol="https", Endpoint="https://pager.example.com/")
    assert gimel_at(alarms=OPS).plan().steps == ()


def deleted_topic(account) -> None:
    account.client("sns").delete_topic(TopicArn=TOPIC)


def unsubscribed(account) -> None:
    client = account.client("sns")
    for one in client.list_subscriptions_by_topic(TopicArn=TOPIC)["Subscriptions"]:
        client.unsubscribe(SubscriptionArn=one["SubscriptionArn"])


def untagged_alarm_of_tags(account) -> None:
    arn = f"arn:aws:cloudwatch:eu-west-1:{ID}:alarm:gimel-5xx"
    account.client("cloudwatch").untag_resource(ResourceARN=arn, TagKeys=["team"])


def untagged_topic_of_tags(account) -> None:
    account.client("sns").untag_resource(ResourceArn=TOPIC, TagKeys=["team"])


def deleted_alarms(account) -> None:
    account.client("cloudwatch").delete_alarms(AlarmNames=["gimel-5xx", "gimel-errors-track"])


def put(account, name: str, **changed: object) -> None:
    found = alarm(account, name)
    kept = {
        key: value
        for key, value in found.items()
        if key not in ("tags", "AlarmArn", "EvaluationState") and value not in (None, [], "")
    }
    account.client("cloudwatch").put_metric_alarm(**{**kept, **changed})


def deaf_alarm(account) -> None:
    put(account, "failed", AlarmActions=[])


def muted_alarm(account) -> None:
    put(account, "5xx", ActionsEnabled=False)


def lenient_alarm(account) -> None:
    put(account, "slow", Threshold=1e9)


def alarm_of_another_function(account) -> None:
    put(account, "throttled", Dimensions=[{"Name": "FunctionName", "Value": "other"}])


@pytest.mark.parametrize(
    "drift",
    [
        *(deleted_topic, unsubscribed, untagged_alarm_of_tags, untagged_topic_of_tags, deleted_alarms, deaf_alarm),
        *(muted_alarm, lenient_alarm, alarm_of_another_function),
    ],
)
def test_what_was_changed_by_hand_is_repaired(account, gimel_at, drift):
    settings = {"alarms": OPS, "tags": {"team": "web"}}
    apply(gimel_at(**settings))
    before = account.state()
    drift(account)
    broken = account.state()
    assert broken != before
    apply(gimel_at(**settings))
    after = account.state()
    assert {**after, "alarms": plain(after)} == {**before, "alarms": plain(before)}
    assert gimel_at(**settings).plan().steps == ()


def plain(state: dict) -> dict:
    """Alarms without what moto adds when they are put again."""
    return {name: {key: value for key, value in one.items() if value} for name, one in state["alarms"].items()}


def test_without_the_setting_all_of_it_is_removed(account, gimel_at):
    apply(gimel_at(alarms=OPS))
    plan = gimel_at().plan()
    made = descriptions(plan)
    ends = [made.index(one) for one in made if "alarm" in one]
    assert [made[position].partition(" gimel")[0] for position in ends] == [
        "delete alarms",
        "unsubscribe ops@example.com from topic",
        "delete topic",
    ]
    apply(gimel_at(), plan)
    assert (account.state()["topics"], account.state()["alarms"]) == ({}, {})
    assert "GIMEL_METRICS" not in environment(account)
    assert gimel_at().plan().steps == ()


def test_destroy_removes_all_of_it_even_if_the_setting_is_gone(account, gimel_at):
    apply(gimel_at(alarms=OPS))
    apply(gimel_at(), gimel_at().plan_removal())
    assert not any(account.state().values())
    assert account.client("sns").list_subscriptions()["Subscriptions"] == []


def test_a_deploy_and_a_removal_interrupted_after_any_step_resume_with_the_next(account, gimel_at):
    apply(gimel_at())
    for settings in ({"alarms": OPS}, {}):
        whole = calls(gimel_at(**settings).plan())
        for done in range(len(whole)):
            resumed = gimel_at(**settings)
            plan = resumed.plan()
            assert calls(plan) == whole[done:], f"after step {done}"
            apply_until(resumed, 1, plan)
        assert calls(gimel_at(**settings).plan()) == []


def test_a_dry_run_shows_the_calls_that_are_made(account, gimel_at):
    apply(gimel_at())  # or the id of an HTTP API is not known yet
    rows = [row for row in steps.dry_run(gimel_at(alarms=OPS).plan()) if row["service"] in ("sns", "cloudwatch")]
    account.calls.clear()
    apply(gimel_at(alarms=OPS))
    made = [params for service, _, params in account.writes if service in ("sns", "cloudwatch")]
    assert [row["params"] for row in rows] == made
    assert json.dumps(rows)


@pytest.mark.parametrize("kind", ["topic", "alarm"])
def test_those_of_somebody_else_are_neither_used_nor_deleted(account, gimel_at, kind):
    if kind == "topic":
        account.client("sns").create_topic(Name="gimel-alarms")
    else:
        options = {"MetricName": "m", "Namespace": "n", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1}
        options |= {"Statistic": "Sum", "ComparisonOperator": "GreaterThanThreshold"}
        account.client("cloudwatch").put_metric_alarm(AlarmName="gimel-5xx", **options)
    with pytest.raises(NameTaken, match="gimel-alarms" if kind == "topic" else "gimel-5xx"):
        gimel_at(alarms=OPS).plan()
    apply(gimel_at())
    apply(gimel_at(), gimel_at().plan_removal())
    assert account.state()["topics" if kind == "topic" else "alarms"]


def test_two_deployments_have_alarms_of_their_own(account, gimel_at):
    apply(gimel_at(alarms=OPS))
    apply(gimel_at(name="shop", alarms=OPS))
    assert gimel_at(alarms=OPS).plan().steps == ()
    apply(gimel_at(), gimel_at().plan_removal())
    assert gimel_at(name="shop", alarms=OPS).plan().steps == ()
