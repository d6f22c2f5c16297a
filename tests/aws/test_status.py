"""`gimel status` and `gimel logs`, on moto."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime, timedelta, timezone

import pytest

from gimel.ops.aws import logs, status
from gimel.ops.aws.findings import Finding, Level
from tests.parts import free_port

from .account import FUNCTIONS

pytestmark = pytest.mark.slow

GOOD, BAD = Finding(Level.GOOD, "Redis answers"), Finding(Level.ERROR, "GET /health answered 503", "wait")
TRACEBACK = "[ERROR] ValueError: no\rTraceback (most recent call last):\r  File x\r"


@pytest.fixture
def write(account):
    """Write lines into the log of a function, each some seconds ago."""

    def write(function: str, *lines: str, ago_s: float = 10) -> None:
        client, group = account.client("logs"), f"/aws/lambda/{function}"
        stream = f"{len(client.describe_log_streams(logGroupName=group)['logStreams'])}"
        client.create_log_stream(logGroupName=group, logStreamName=stream)
        events = [
            {"timestamp": int(1000 * (time.time() - ago_s)) + number, "message": line}
            for number, line in enumerate(lines)
        ]
        client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)

    return write


@pytest.fixture
def deployed(run):
    run("deploy", "--yes")
    return run


def test_a_redis_that_only_functions_may_use_is_no_fault_of_theirs(gimel_at):
    iam = {"user": "gimel", "cache": "counts", "service": "elasticache"}
    redis = {"host": "127.0.0.1", "port": free_port(), "tls": True, "iam": iam}
    found = status._redis(gimel_at({"redis": redis}), None)
    assert found["address"] == f"rediss://gimel@127.0.0.1:{redis['port']}/0"
    assert "cannot be asked from here: Error 111" in found["problem"]
    assert found["problem"].endswith("; the functions sign in with their own role")


def test_before_a_deploy_there_is_no_status(run):
    done = run("status")
    assert (done.exit_code, "run `gimel deploy`" in done.stderr) == (1, True)


def test_status_shows_what_runs_and_where(deployed, account):
    done = deployed("status")
    (rest,), (http,) = account.state()["apis"], account.state()["http_apis"]
    assert done.exit_code == 0
    assert f"Track URL:   https://{http}.execute-api.eu-west-1.amazonaws.com/e\n" in done.stdout
    assert f"Report URL:  https://{rest}.execute-api.eu-west-1.amazonaws.com/prod/experiments\n" in done.stdout
    assert "gimel-health             version 1, python3." in done.stdout
    assert "redis://redis.example.com:6379/0: cannot be asked from here" in done.stdout
    for line in (
        *("Before it:   none", "Queue:       0 waiting, 0 in flight, 0 dead letters", "Snapshots:   every hour"),
        "Alarms:      none",
    ):
        assert line in done.stdout
    assert "open sesame" not in done.output


def test_status_shows_a_rollback_alarms_dead_letters_and_drift_which_are_not_unhealthy(deployed, gimel_at, account):
    gimel_at(memory_mb=512, alarms={"email": "ops@example.com"})
    deployed("deploy", "--yes")
    deployed("rollback", "--yes")
    account.client("cloudwatch").set_alarm_state(AlarmName="gimel-5xx", StateValue="ALARM", StateReason="test")
    queue = next(url for url in account.client("sqs").list_queues()["QueueUrls"] if url.endswith("dead-letters"))
    account.client("sqs").send_message(QueueUrl=queue, MessageBody="{}")
    done = deployed("status")
    assert done.exit_code == 0
    assert "(rolled back from " in done.stdout
    assert "1 dead letters" in done.stdout
    assert "gimel-5xx ALARM" in done.stdout
    assert f"{len(FUNCTIONS)} steps, which `gimel deploy` would apply" in done.stdout
    assert "point alias live of gimel-track to version 2" in done.stdout


def test_status_is_unhealthy_if_the_self_test_fails(deployed, monkeypatch):
    monkeypatch.setattr("gimel.ops.aws.selftest.check", lambda *ignored: iter([GOOD, BAD]))
    done = deployed("status")
    assert (done.exit_code, "x  GET /health answered 503 -> wait" in done.stdout) == (1, True)
    shown = deployed("status", "--format", "json")
    found = json.loads(shown.stdout)
    assert (shown.exit_code, found["healthy"]) == (1, False)
    assert found["checks"][1] == {"level": "error", "message": "GET /health answered 503", "hint": "wait"}
    assert found["drift"] == []


def test_status_estimates_the_cost_if_asked(deployed, account):
    data = {"MetricName": "Invocations", "Dimensions": [{"Name": "FunctionName", "Value": "gimel-track"}]}
    data |= {"Value": 5_000_000, "Timestamp": datetime.now(timezone.utc) - timedelta(days=1)}
    account.client("cloudwatch").put_metric_data(Namespace="AWS/Lambda", MetricData=[data])
    done = deployed("status", "--cost")
    assert re.search(r"^runs of functions +5,000,000  \$0\.20 per million +1\.00$", done.stdout, re.MULTILINE)
    assert re.search(r"^total, US\$ +1\.00$", done.stdout, re.MULTILINE)
    assert "those of eu-west-1 may differ" in done.stdout
    found = json.loads(deployed("status", "--cost", "--format", "json").stdout)["cost"]
    assert (found["total"], [row["what"] for row in found["rows"]]) == (1, ["runs of functions"])
    assert "cost" not in json.loads(deployed("status", "--format", "json").stdout)


def test_status_reads_the_deployment_once(deployed, account):
    account.calls.clear()
    deployed("status", "--cost")
    assert [call for _, call, _ in account.calls].count("ListFunctions") == 1


def test_status_needs_no_redis_in_the_configuration(deployed, account, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    done = deployed("status")
    assert done.exit_code == 0
    assert "Redis:       redis://redis.example.com:6379/0: no Redis is configured" in done.stdout


def test_status_changes_nothing(deployed, account):
    account.calls.clear()
    deployed("status", "--cost")
    deployed("logs")
    assert account.writes == []


def test_a_first_deploy_that_does_not_count_has_nothing_to_roll_back_to(run, monkeypatch):
    monkeypatch.setattr("gimel.ops.aws.selftest.check", lambda *ignored: iter([BAD]))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    done = run("deploy", answer="y\ny\n")
    assert (done.exit_code, "Roll back" in done.stderr) == (1, False)
    assert "events are not counted: fix the cause above and deploy again" in done.stderr


def test_a_deploy_that_changed_nothing_offers_no_rollback(deployed, monkeypatch):
    monkeypatch.setattr("gimel.ops.aws.selftest.check", lambda *ignored: iter([BAD]))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    done = deployed("deploy", answer="y\n")
    assert (done.exit_code, "Roll back" in done.stderr) == (1, False)


def test_a_dry_run_asks_no_url(run, monkeypatch):
    monkeypatch.setattr("gimel.ops.aws.selftest.check", lambda *ignored: iter([BAD]))
    assert run("deploy", "--dry-run").exit_code == 0


def test_logs_shows_failures_in_order_with_time_and_function(deployed, write):
    write("gimel-track", "START RequestId: 1 Version: 1", "[WARNING]\t2026-11-30T03:00:00.000Z\tr-1\tlimit reached")
    write("gimel-health", TRACEBACK, ago_s=60)
    write("gimel-experiment", '{"level": "ERROR", "error": "Redis does not answer", "status": 503}', ago_s=5)
    shown = deployed("logs").stdout.splitlines()
    assert [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", "UTC ", line) for line in shown] == [
        "UTC gimel-health  [ERROR] ValueError: no",
        "Traceback (most recent call last):",
        "  File x",
        "UTC gimel-track  [WARNING] limit reached",
        'UTC gimel-experiment  {"level": "ERROR", "error": "Redis does not answer", "status": 503}',
    ]


def test_logs_can_be_limited_to_a_function_and_a_period(deployed, write):
    write("gimel-track", "[ERROR] track failed")
    write("gimel-health", "[ERROR] health failed")
    write("gimel-health", "[ERROR] that was long ago", ago_s=7200)
    for name in ("health", "gimel-health"):
        shown = deployed("logs", "--function", name).stdout
        assert ("health failed" in shown, "track failed" in shown, "long ago" in shown) == (True, False, False)
    assert "long ago" in deployed("logs", "--since", "3h").stdout
    unknown = deployed("logs", "--function", "healthy")
    assert unknown.exit_code == 1
    assert "there is no function healthy: use one of all-experiments, dashboard, delete-experiment," in unknown.stderr
    assert deployed("logs", "--since", "soon").exit_code == 2


def test_logs_says_so_if_there_is_no_failure(deployed, write):
    write("gimel-track", "START RequestId: 1 Version: 1", "REPORT RequestId: 1 Duration: 2 ms")
    done = deployed("logs", "--function", "track")
    assert (done.stdout, done.stderr) == ("", "No failures in the last 1h in the log of gimel-track.\n")
    assert "REPORT RequestId: 1 Duration: 2 ms" in deployed("logs", "--all").stdout


def test_before_a_deploy_the_logs_are_empty(run):
    assert "No failures in the last 1h" in run("logs").stderr


def test_cloudwatch_is_asked_for_failures_only(deployed, account):
    account.calls.clear()
    deployed("logs", "--function", "track")
    (asked,) = [params for _, call, params in account.calls if call == "FilterLogEvents"]
    assert asked["logGroupName"] == "/aws/lambda/gimel-track"
    assert asked["filterPattern"].startswith('?"ERROR" ?"WARNING" ?"CRITICAL" ?"Task timed out" ?"Runtime."')


@pytest.mark.parametrize(
    "text",
    [
        "[ERROR]\t2026-11-30T03:00:00.000Z\tr-1\tRedis does not answer",
        TRACEBACK,
        "2026-11-30T03:00:00.000Z 1234 Task timed out after 10.01 seconds",
        "[ERROR] Runtime.ImportModuleError: Unable to import module 'gimel'",
        "RequestId: 1234 Error: Runtime exited with error: signal: killed",
        "REPORT RequestId: 1234\tDuration: 10000.00 ms\tStatus: timeout",
        "INIT_REPORT Init Duration: 100 ms\tPhase: init\tStatus: error\tError Type: Runtime.ExitError",
        '{"level": "ERROR", "message": "no"}',
        '{"error": "Redis does not answer", "status": 503}',
        "Redis does not answer (requests since the last line: 1 failed)",  # on an emulator
    ],
)
def test_these_records_tell_of_failures(text):
    assert logs.is_failure(text)


@pytest.mark.parametrize(
    "text",
    [
        "INIT_START Runtime Version: python:3.13.v1",
        "START RequestId: 1234 Version: 1",
        "END RequestId: 1234",
        "REPORT RequestId: 1234\tDuration: 1.00 ms\tBilled Duration: 2 ms",
        '{"_aws": {"Timestamp": 1}, "LimitReached": 1}',
        '{"level": "INFO", "message": "yes"}',
    ],
)
def test_these_do_not(text):
    assert not logs.is_failure(text)
