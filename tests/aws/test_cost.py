"""What the last 30 days cost: the arithmetic, on known metrics."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from gimel.ops.aws import cost
from tests.parts import ROOT

from .account import apply

pytestmark = pytest.mark.slow

NOW = datetime(2026, 11, 30, 12, tzinfo=timezone.utc)
REST = {"ApiName": "gimel", "Stage": "prod"}


def used(account, namespace: str, name: str, dimensions: dict[str, str], *values: float, days_ago: float = 1) -> None:
    """Have CloudWatch know these values of a metric."""
    data = {
        "MetricName": name,
        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
        "Timestamp": NOW - timedelta(days=days_ago),
    }
    for value in values:
        account.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=[{**data, "Value": value}])


def rows(deployment) -> dict[str, cost.Row]:
    client = deployment.aws.client("cloudwatch")
    return {row.what: row for row in cost.estimate(client, deployment.names, deployment.observe(), NOW)}


def test_each_item_is_what_was_used_at_its_price(account, gimel_at):
    deployment = gimel_at(memory_mb=512, functions={"gimel-experiment": {"memory_mb": 1024}})
    apply(deployment)
    used(account, "AWS/ApiGateway", "Count", REST, 1, 1, 1)
    used(account, "AWS/ApiGateway", "Count", REST, 1, days_ago=29)
    used(account, "AWS/Lambda", "Invocations", {"FunctionName": "gimel-track"}, 3_000_000)
    used(account, "AWS/Lambda", "Invocations", {"FunctionName": "gimel-experiment"}, 1_000_000)
    used(account, "AWS/Lambda", "Duration", {"FunctionName": "gimel-track"}, 40_000_000, 20_000_000)
    used(account, "AWS/Lambda", "Duration", {"FunctionName": "gimel-experiment"}, 10_000_000)
    used(account, "AWS/Logs", "IncomingBytes", {"LogGroupName": "/aws/lambda/gimel-track"}, 3e9)
    used(account, "AWS/Logs", "IncomingBytes", {"LogGroupName": "/aws/apigateway/gimel"}, 1e9)
    used(account, "AWS/SQS", "NumberOfEmptyReceives", {"QueueName": "gimel-queue"}, 648_000)
    used(account, "AWS/SQS", "NumberOfMessagesSent", {"QueueName": "gimel-dead-letters"}, 2_000)
    found = rows(deployment)
    assert {what: (row.quantity, round(row.dollars, 4)) for what, row in found.items()} == {
        "requests to the REST API": (4, 0.0),
        "runs of functions": (4_000_000, 0.80),
        "time of functions (arm64)": (60_000 * 0.5 + 10_000, 0.5333),
        "requests to the queues, at most": (650_000, 0.26),
        "logs, bytes": (4e9, 2.00),
    }


def test_requests_to_an_http_api_have_its_price(account, gimel_at):
    deployment = gimel_at(track_api="http")
    apply(deployment)
    (api,) = account.state()["http_apis"]
    used(account, "AWS/ApiGateway", "Count", {"ApiId": api}, 1, 1)
    (row,) = rows(deployment).values()
    assert (row.what, row.quantity, str(row.price)) == ("requests to the HTTP API", 2, "$1.00 per million")


def test_prices_are_those_of_the_documentation():
    text = (ROOT / "docs" / "deploying.md").read_text()
    for price, words in (
        (cost.REST_REQUESTS, "REST API $3.50 and"),
        (cost.HTTP_REQUESTS, "HTTP API $1.00 per million"),
        (cost.INVOCATIONS, "(arm64): $0.20 per million"),
        (cost.GB_SECONDS["arm64"], "$0.0000133334 per GB-s"),
        (cost.LOGS, "cloudwatch/pricing/): $0.50"),
        (cost.QUEUE_REQUESTS, "$0.40 per million"),
        (cost.ALARMS, "$0.10 for each of the"),
        (cost.CUSTOM_METRICS, "$0.30 for each of the six"),
    ):
        assert words in re.sub(r"\s+", " ", text)
        assert str(price).partition(" ")[0] in words


def test_alarms_and_embedded_metrics_cost_what_the_documentation_says(account, gimel_at):
    deployment = gimel_at(alarms={"email": "ops@example.com"})
    apply(deployment)
    for name in ("Accepted", "Failed"):
        used(account, "Gimel", name, {"Deployment": "gimel"}, 0 if name == "Failed" else 7)
    used(account, "Gimel", "Accepted", {"Deployment": "another"}, 7)
    found = rows(deployment)
    alarms = len(account.state()["alarms"])
    assert found["alarms"].quantity == alarms
    assert found["embedded metrics"].quantity == 2
    assert found["embedded metrics"].dollars == pytest.approx(0.60)
    said = re.search(r"for each of the (\d+) alarms", (ROOT / "docs" / "deploying.md").read_text())
    assert said
    assert int(said[1]) == alarms - (2 if account.state()["http_apis"] else 0)


def test_what_is_older_or_belongs_to_others_is_left_out(account, gimel_at):
    deployment = gimel_at()
    apply(deployment)
    used(account, "AWS/ApiGateway", "Count", REST, 1, days_ago=32)
    used(account, "AWS/ApiGateway", "Count", {**REST, "ApiName": "gimel-shop"}, 1)
    used(account, "AWS/Lambda", "Invocations", {"FunctionName": "other"}, 5)
    assert rows(deployment) == {}


def test_snapshots_are_counted_as_long_as_they_are_kept(account, gimel_at):
    deployment = gimel_at(memory_mb=512)
    apply(deployment)
    existing = deployment.observe()
    track = existing.functions["gimel-track"]
    kept = {**track.versions[1], "SnapStart": {"ApplyOn": "PublishedVersions"}}  # which moto forgets
    track = replace(track, versions={1: kept, 2: kept, 3: track.versions[1]})
    existing = replace(existing, functions={"gimel-track": track})
    (row,) = cost.estimate(deployment.aws.client("cloudwatch"), deployment.names, existing, NOW)
    assert row.what == "SnapStart's snapshots, as they are"
    assert row.dollars == pytest.approx(2 * 0.5 * 30 * 86400 * 0.0000015046)


def test_many_metrics_are_read_from_all_pages(account, gimel_at):
    deployment = gimel_at()
    apply(deployment)
    track = {"FunctionName": "gimel-track"}
    for day in range(1, 30):
        used(account, "AWS/Lambda", "Invocations", track, 10, days_ago=day)
    assert rows(deployment)["runs of functions"].quantity == 290


def test_the_table_has_a_total_and_says_what_is_missing():
    found = [cost.Row("requests", 2e6, cost.HTTP_REQUESTS), cost.Row("time", 100_000, cost.GB_SECONDS["arm64"])]
    text = cost.as_text(found, "eu-west-1")
    assert "those of eu-west-1 may differ" in text
    assert "may differ" not in cost.as_text(found, "us-east-1")
    assert re.search(r"^requests +2,000,000  \$1\.00 per million +2\.00$", text, re.MULTILINE)
    assert re.search(r"^time +100,000  \$0\.0000133334 per GB-s +1\.33$", text, re.MULTILINE)
    assert re.search(r"^total, US\$ +3\.33$", text, re.MULTILINE)
    assert "INIT time" in text
    assert cost.as_dict(found)["total"] == pytest.approx(3.33334)
