"""On a local AWS that runs the zip: alarms are made once, and functions write what they watch."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.parts import wait_for
from tests.test_metrics import check_format

from .ministack import Ministack
from .test_alarms import NAMES
from .test_alarms import OF_HTTP as KINDS
from .test_local_aws import Person, ask, url_in

pytestmark = pytest.mark.slow

OF_HTTP = {f"gimel-{kind}" for kind in KINDS}  # made only if the deployment has an HTTP API
EVENT = "experiment=e&variant=red&event=participate"


def json_lines(ministack: Ministack) -> list[dict[str, Any]]:
    """The lines of JSON in the log of gimel-track."""
    logs = ministack.client("logs")
    found = logs.filter_log_events(logGroupName="/aws/lambda/gimel-track").get("events", [])
    texts = [line for event in found for line in event["message"].splitlines()]
    return [json.loads(line) for line in texts if line.startswith("{")]


def test_from_an_alarm_to_the_line_in_the_log_and_back_to_nothing(tmp_path, ministack, redis_server):
    person = Person(tmp_path, ministack, redis_server.port)
    sns, cloudwatch = (ministack.client(name) for name in ("sns", "cloudwatch"))

    def alarms() -> set[str]:
        return {found["AlarmName"] for found in cloudwatch.describe_alarms()["MetricAlarms"]} - OF_HTTP

    person.configure(alarms={"email": "ops@example.com"}, durable=False)
    track = url_in(person.types("deploy", "--yes"))
    assert alarms() == NAMES - {"gimel-waiting", "gimel-dead-letters"}
    (topic,) = sns.list_topics()["Topics"]
    (subscription,) = sns.list_subscriptions_by_topic(TopicArn=topic["TopicArn"])["Subscriptions"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "ops@example.com")
    assert "no changes" in person.types("deploy", "--yes")

    assert ask(f"{track}?{EVENT}&uuid=1")[0] == 200
    redis_server.stop()
    assert ask(f"{track}?{EVENT}&uuid=2")[0] == 503
    wait_for(lambda: len(json_lines(ministack)) >= 2, "two lines in the log", 30)
    accepted, failed = json_lines(ministack)
    for line in (accepted, failed):
        check_format(line)
        assert line["Deployment"] == "gimel"
    assert accepted["Accepted"] == 1
    assert failed["Failed"] == 1
    assert (failed["level"], failed["status"], failed["function"]) == ("ERROR", 503, "gimel-track")
    assert failed["requestId"]
    redis_server.start()

    person.configure(durable=False)
    assert "delete topic gimel-alarms" in person.types("deploy", "--yes")
    assert (alarms(), sns.list_topics()["Topics"]) == (set(), [])
    person.configure(alarms={"email": "ops@example.com"})
    person.types("deploy", "--yes")
    assert alarms() == NAMES
    person.types("destroy", "--name", "gimel")
    assert (alarms(), sns.list_topics()["Topics"]) == (set(), [])
