"""Steps for alarms, and the topic that sends them by e-mail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gimel import metrics
from gimel.ops.aws.desired import Desired
from gimel.ops.aws.existing import Existing
from gimel.ops.aws.names import SNAPSHOT, STAGE, TRACK, Names

from . import http_api, queues
from .steps import Ref, Step, Target

OFTEN = {"Period": 60, "EvaluationPeriods": 5, "DatapointsToAlarm": 3}
"""In three of the last five minutes: a single failed request wakes nobody."""
ONCE = {"Period": 60, "EvaluationPeriods": 10, "DatapointsToAlarm": 1}
"""In one minute, and for ten minutes after the last one."""
HOURLY = {"Period": 3600, "EvaluationPeriods": 3, "DatapointsToAlarm": 3}
"""In each of the last three hours."""
LASTING = {"Period": 300, "EvaluationPeriods": 3, "DatapointsToAlarm": 3}
"""For fifteen minutes."""

NEAR_LIMIT = 0.8
MAX_AGE_S = 240
"""Longer than two attempts to count a message: it is older only if Redis failed for minutes. SQS leaves a message that
was received three times out of its age, so a larger value might never be reached."""

CLOUDWATCH = Target("cloudwatch")


def alarms(desired: Desired, existing: Existing) -> Iterator[Step]:
    """The topic, its subscription and the alarms as desired; or none of them."""
    names, email = desired.names, desired.settings.alarms_email
    if not email:
        yield from delete(names, existing)
        return
    topic, arn = existing.topic, names.topic_arn
    tags = [{"Key": key, "Value": value} for key, value in desired.tags.items()]
    if not topic:
        yield Target("sns").step("create_topic", f"create topic {names.topic}", {"Name": names.topic, "Tags": tags})
    elif not desired.is_tagged(topic.tags):
        tagged = Target("sns", {"ResourceArn": arn})
        yield tagged.step("tag_resource", f"tag topic {names.topic}", {"Tags": tags})
    if not topic or email not in topic.addresses:
        params = {"Protocol": "email", "Endpoint": email}
        yield Target("sns", {"TopicArn": arn}).step("subscribe", f"subscribe {email} to topic {names.topic}", params)
    wanted = _alarms(desired, existing)
    for name, params in wanted.items():
        found = existing.alarms.get(name)
        if not found:
            yield CLOUDWATCH.step("put_metric_alarm", f"create alarm {name}", {**params, "Tags": tags})
            continue
        changed = [key for key, value in params.items() if not _is(found.configuration.get(key), value)]
        if changed:
            yield CLOUDWATCH.step("put_metric_alarm", f"update alarm {name}: {', '.join(changed)}", params)
        if not desired.is_tagged(found.tags):
            tagged = Target("cloudwatch", {"ResourceARN": names.alarm_arn(name)})
            yield tagged.step("tag_resource", f"tag alarm {name}", {"Tags": tags})
    yield from _delete_alarms(existing.alarms.keys() - wanted.keys())
    if topic:
        others = {address: one for address, one in topic.addresses.items() if address != email}
        yield from _unsubscribe(names, others)


def delete(names: Names, existing: Existing) -> Iterator[Step]:
    """Delete the alarms, then the topic. A subscription would remain without it."""
    yield from _delete_alarms(set(existing.alarms))
    if existing.topic:
        yield from _unsubscribe(names, existing.topic.addresses)
        topic = Target("sns", {"TopicArn": names.topic_arn})
        yield topic.remove("delete_topic", f"delete topic {names.topic}")


def notes(desired: Desired, existing: Existing) -> Iterator[str]:
    """Which addresses have to be confirmed."""
    email = desired.settings.alarms_email
    if not email:
        return
    addresses = existing.topic.addresses if existing.topic else {}
    if not addresses.get(email):
        yield f"alarms reach {email} only once somebody has opened the link in the e-mail that AWS sends there"
    for address, subscription in sorted(addresses.items()):
        if address != email and not subscription:
            yield f"the subscription of {address} was never confirmed, so AWS deletes it itself after 48 hours"


def _delete_alarms(names: set[str]) -> Iterator[Step]:
    if names:
        listed = sorted(names)
        description = f"delete alarms {', '.join(listed)}" if len(names) > 1 else f"delete alarm {listed[0]}"
        yield CLOUDWATCH.remove("delete_alarms", description, {"AlarmNames": listed})


def _unsubscribe(names: Names, addresses: Mapping[str, str | None]) -> Iterator[Step]:
    for address, subscription in sorted(addresses.items()):
        if subscription:
            target = Target("sns", {"SubscriptionArn": subscription})
            yield target.remove("unsubscribe", f"unsubscribe {address} from topic {names.topic}")


def _alarms(desired: Desired, existing: Existing) -> dict[str, dict[str, Any]]:
    """The parameters of each alarm, by its name."""
    names, throttle = desired.names, desired.settings.throttle
    track = {"FunctionName": names.function(TRACK)}
    timeout_s = next(one.configuration["Timeout"] for one in desired.functions if one.name == track["FunctionName"])
    found = {
        "failed": {
            **_metric(metrics.NAMESPACE, "Failed", {metrics.DIMENSION: desired.settings.name}, "Sum"),
            "AlarmDescription": "Events were neither counted nor kept in 3 of the last 5 minutes. Browsers send them "
            "again, but visitors who left are missing. Redis is probably down.",
        },
        "slow": {
            **_metric("AWS/Lambda", "Duration", track, "p99", NEAR_LIMIT * timeout_s * 1000),
            "AlarmDescription": f"In 3 of the last 5 minutes, tracking took almost as long as its timeout of "
            f"{timeout_s} s allows. Redis or the network is slow; or raise aws.timeout_s.",
        },
        "throttled": {
            **_metric("AWS/Lambda", "Throttles", track, "Sum"),
            "AlarmDescription": "Lambda refused requests in 3 of the last 5 minutes, because too many ran at once. "
            "Request a higher limit of concurrent executions from AWS, or raise aws.reserved_concurrency.",
        },
    }
    for kind, api, errors in _apis(desired, existing):
        found[f"{kind}5xx"] = {
            **_metric("AWS/ApiGateway", errors, api, "Sum"),
            "AlarmDescription": "The API answered requests with errors (5xx) in 3 of the last 5 minutes.",
        }
        found[f"{kind}traffic"] = {
            **_metric("AWS/ApiGateway", "Count", api, "SampleCount", NEAR_LIMIT * throttle.rate * 60),
            "AlarmDescription": f"In 3 of the last 5 minutes, the API got more than {NEAR_LIMIT:.0%} of the requests "
            f"that aws.throttle allows ({throttle.rate:g} per second). It answers the rest with 429. If these are "
            "visitors, raise aws.throttle; if it is a flood, see docs/deploying.md.",
        }
    for function in desired.functions:
        pace, when = OFTEN, "in 3 of the last 5 minutes"
        if function.name == names.function(SNAPSHOT):
            pace, when = HOURLY, "in each of the last 3 hours, so the history of all experiments has a gap"
        found[names.errors_of(function.name)] = {
            **_metric("AWS/Lambda", "Errors", {"FunctionName": function.name}, "Sum", pace=pace),
            "AlarmDescription": f"Function {function.name} crashed or timed out {when}.",
        }
    if queues.keeps_queues(desired, existing):
        found["waiting"] = {
            **_metric(
                "AWS/SQS", "ApproximateAgeOfOldestMessage", {"QueueName": names.queue}, "Maximum", MAX_AGE_S, ONCE
            ),
            "AlarmDescription": f"Events have been waiting in the queue for more than {MAX_AGE_S // 60} minutes, so "
            "Redis cannot take them. Nothing is lost for 14 days. `gimel queue` shows how many wait.",
        }
        found["dead-letters"] = {
            **_metric(
                "AWS/SQS",
                "ApproximateNumberOfMessagesVisible",
                {"QueueName": names.dead_letters},
                "Maximum",
                0,
                LASTING,
            ),
            "AlarmDescription": "Events could not be counted and are kept as dead letters for 14 days. `gimel queue` "
            "says why; once that is fixed, `gimel queue redrive` has them counted.",
        }
    return {names.alarm(name): _params(desired, names.alarm(name), own) for name, own in found.items()}


def _apis(desired: Desired, existing: Existing) -> Iterator[tuple[str, dict[str, str | Ref], str]]:
    """For each API: what the names of its alarms begin with, its dimensions, and its metric of errors."""
    yield "", {"ApiName": desired.names.base, "Stage": STAGE}, "5XXError"
    if http_api.is_wanted(desired, existing):
        known = existing.http_api
        yield "http-", {"ApiId": known.id if known else http_api.HTTP_API}, "5xx"


def _params(desired: Desired, name: str, own: Mapping[str, Any]) -> dict[str, Any]:
    topic = [desired.names.topic_arn]
    return {
        "AlarmName": name,
        "ActionsEnabled": True,
        "AlarmActions": topic,
        "OKActions": topic,
        "InsufficientDataActions": [],
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        **own,
        "AlarmDescription": f"{own['AlarmDescription']} See `gimel status` and `gimel logs`.",
    }


def _metric(
    namespace: str,
    name: str,
    dimensions: Mapping[str, str | Ref],
    statistic: str,
    threshold: float = 0,
    pace: Mapping[str, int] = OFTEN,
) -> dict[str, Any]:
    key = "ExtendedStatistic" if statistic.startswith("p") else "Statistic"
    return {
        "Namespace": namespace,
        "MetricName": name,
        "Dimensions": _dimensions(dimensions),
        key: statistic,
        "Threshold": float(threshold),
        **pace,
    }


def _dimensions(values: Mapping[str, str | Ref]) -> list[dict[str, str | Ref]]:
    return [{"Name": name, "Value": value} for name, value in values.items()]


def _is(found: Any, wanted: Any) -> bool:
    """Whether a parameter is as wanted, in any order, and apart from what CloudWatch itself fills in."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(_is(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        found, wanted = (sorted(items or (), key=_name) for items in (found, wanted))
        return len(found) == len(wanted) and all(map(_is, found, wanted))
    return bool(found == wanted)


def _name(item: Any) -> str:
    return str(item["Name"]) if isinstance(item, Mapping) else str(item)
