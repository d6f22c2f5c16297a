"""What a function on Lambda writes about its requests: embedded metrics, and a line for each that failed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest

import gimel
from gimel import config, connection
from gimel.errors import StoreUnavailable
from gimel.metrics import MAX_VALUES, PERIOD_S, reasons

from .calls import EVENT, make_queue_event, make_rest_event, post
from .parts import free_port
from .test_gateway import Broken
from .test_outage import Clock

CONTEXT = SimpleNamespace(aws_request_id="request 1")
NAME = {"type": "string", "minLength": 1}
METRIC = {
    "type": "object",
    "required": ["Name"],
    "properties": {
        "Name": {**NAME, "maxLength": 1024},
        "Unit": {"enum": ["Count", "Milliseconds"]},
        "StorageResolution": {"enum": [1, 60]},
    },
    "additionalProperties": False,
}
DIRECTIVE = {
    "type": "object",
    "required": ["Namespace", "Dimensions", "Metrics"],
    "properties": {
        "Namespace": {**NAME, "maxLength": 1024},
        "Dimensions": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "array", "maxItems": 30, "items": {**NAME, "maxLength": 250}},
        },
        "Metrics": {"type": "array", "minItems": 1, "maxItems": 100, "items": METRIC},
    },
    "additionalProperties": False,
}
ROOT = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "properties": {
                "Timestamp": {"type": "integer"},
                "CloudWatchMetrics": {"type": "array", "minItems": 1, "items": DIRECTIVE},
            },
        },
    },
}
"""Written from "Specification: Embedded metric format" in the documentation of CloudWatch."""


def check_format(line: dict[str, Any]) -> None:
    """Fail unless CloudWatch would take all metrics out of this line."""
    jsonschema.validate(line, ROOT)
    for directive in line["_aws"]["CloudWatchMetrics"]:
        for dimensions in directive["Dimensions"]:
            assert all(isinstance(line[name], str) and 1 <= len(line[name]) <= 1024 for name in dimensions)
        for metric in directive["Metrics"]:
            value = line[metric["Name"]]
            values = value if isinstance(value, list) else [value]
            assert 1 <= len(values) <= 100
            assert all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in values)


@pytest.fixture
def on_lambda(monkeypatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "gimel-shop-track")


@pytest.fixture
def with_metrics(on_lambda, monkeypatch) -> None:
    monkeypatch.setenv("GIMEL_METRICS", "shop")


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("gimel.metrics.time", SimpleNamespace(time=made))
    return made


@pytest.fixture
def lines(capsys) -> Callable[[], list[dict[str, Any]]]:
    """The lines since the last call."""
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def values(line: dict[str, Any]) -> dict[str, Any]:
    """The metrics of a line, without how long Redis took."""
    check_format(line)
    names = [metric["Name"] for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]]
    return {name: line[name] for name in names if name != "RedisLatency"}


def track(**changed: str) -> int:
    return gimel.track(make_rest_event(query={**EVENT, **changed}), CONTEXT)["statusCode"]


def test_events_are_written_by_what_became_of_them(with_metrics, clock, fake, lines):
    clock.now = 1_700_000_000
    connection.use(config.Config(allowed_experiments=(EVENT["experiment"],)), connection.client())
    mixed = [EVENT, {**EVENT, "uuid": "u2"}, {**EVENT, "experiment": "other"}, {**EVENT, "variant": ""}]
    gimel.track(post(mixed), CONTEXT)
    (line,) = lines()
    assert values(line) == {"Accepted": 2, "Ignored": 1, "Refused": 1}
    assert (line["Deployment"], line["_aws"]["Timestamp"]) == ("shop", 1_700_000_000_000)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("Gimel", [["Deployment"]])
    assert len(line["RedisLatency"]) == 1


def test_a_busy_container_writes_once_in_a_while(with_metrics, clock, fake, lines):
    connection.use(config.Config(), connection.client())
    for second in range(3 * PERIOD_S):
        clock.now = second
        track()
    assert [values(line) for line in lines()] == [{"Accepted": 1}, {"Accepted": PERIOD_S}, {"Accepted": PERIOD_S}]


def test_no_line_has_more_values_than_the_format_allows(with_metrics, clock, fake, lines):
    connection.use(config.Config(), connection.client())
    for _ in range(2 * MAX_VALUES + 1):
        track()
    written = lines()
    assert [values(line)["Accepted"] for line in written] == [1, MAX_VALUES, MAX_VALUES]
    assert [len(line["RedisLatency"]) for line in written] == [1, MAX_VALUES, MAX_VALUES]


def test_a_failure_is_written_at_once_and_in_one_line_with_the_metrics(with_metrics, clock, fake, lines):
    connection.use(config.Config(), connection.client())
    track()
    track()
    lines()
    settings = config.RedisSettings(url=f"redis://127.0.0.1:{free_port()}")
    connection.use(config.Config(redis_settings=settings))
    gimel.track(post([EVENT, {**EVENT, "uuid": "u2"}]), CONTEXT)
    (line,) = lines()
    assert values(line) == {"Failed": 2}
    assert (line["level"], line["error"], line["status"]) == ("ERROR", "Redis does not answer", 503)
    assert (line["function"], line["requestId"]) == ("gimel-shop-track", "request 1")
    assert "Connection refused" in line["cause"]


class Letters:
    """A queue that takes everything, or nothing."""

    def __init__(self, works: bool = True) -> None:
        self.works = works

    def keep(self, events: object) -> None:
        if not self.works:
            raise StoreUnavailable("SQS did not take the events", "check the queue")


def down(overflow: Letters | None = None) -> None:
    settings = config.RedisSettings(url=f"redis://127.0.0.1:{free_port()}")
    connection.use(config.Config(redis_settings=settings), new_overflow=overflow)


def test_kept_events_are_accepted_and_not_failed_and_not_told_again_by_the_queue(with_metrics, fake, lines):
    client = connection.client()
    down(Letters())
    assert track() == 200
    assert [values(line) for line in lines()] == [{"Accepted": 1, "Kept": 1}]
    gimel.track(make_queue_event(json.dumps(EVENT)), CONTEXT)
    (line,) = lines()
    assert "_aws" not in line
    connection.use(config.Config(), client)
    gimel.track(make_queue_event(json.dumps(EVENT)), CONTEXT)
    assert [values(line) for line in lines()] == [{}]


def test_each_failed_request_has_a_line_without_metrics_too(on_lambda, lines, caplog):
    down()
    for _ in range(3):
        assert track() == 503
    assert gimel.all(make_rest_event(), CONTEXT)["statusCode"] == 503
    with pytest.raises(StoreUnavailable):
        gimel.track(EVENT, CONTEXT)
    failed = lines()
    assert [line.get("status") for line in failed] == [503] * 4 + [None]
    assert {line["error"] for line in failed} == {"Redis does not answer"}
    assert not [line for line in failed if "_aws" in line]
    assert caplog.messages == []  # it is not told twice


def test_a_bug_is_told_by_its_place_and_without_its_text(on_lambda, fake, lines, caplog):
    connection.use(config.Config(), Broken())
    assert track() == 500
    with pytest.raises(ZeroDivisionError):
        gimel.track(EVENT, CONTEXT)
    http, flat = lines()
    assert (http["error"], http["status"]) == ("internal error", 500)
    assert http["cause"].startswith("ZeroDivisionError at gateway.py:")
    assert "counters.py:" in http["cause"]
    assert flat["cause"].startswith("ZeroDivisionError")
    assert "secret" not in json.dumps([http, flat]) + caplog.text


def test_a_batch_of_the_queue_that_failed_has_one_line(on_lambda, lines):
    down()
    gimel.track(make_queue_event(*[json.dumps(EVENT)] * 3), CONTEXT)
    (line,) = lines()
    assert line["error"] == "no message of this batch was counted"
    assert line["cause"].startswith("Redis does not answer")
    assert line["requestId"] == "request 1"


def test_a_message_that_can_never_be_counted_has_a_line(on_lambda, fake, lines, caplog):
    gimel.track(make_queue_event("no JSON", json.dumps(EVENT)), CONTEXT)
    (line,) = lines()
    assert line["error"].startswith("message m0 cannot be counted, and stays in its queue: ")
    assert "cause" not in line
    assert caplog.messages == []


def test_a_mistake_of_the_caller_is_no_failure(on_lambda, fake, lines):
    gimel.track(make_rest_event(query={}), CONTEXT)
    gimel.experiment(make_rest_event(query={}), CONTEXT)
    for handler in (gimel.track, gimel.experiment):
        with pytest.raises(gimel.errors.BadRequest):
            handler({}, CONTEXT)
    assert lines() == []


def test_a_broken_configuration_says_what_is_wrong(with_metrics, tmp_path, monkeypatch, lines):
    path = tmp_path / "config.json"
    path.write_text('{"redis": {"port": "x"}}')
    monkeypatch.setenv("GIMEL_CONFIG", str(path))
    connection.use(None)
    assert track() == 500
    (line,) = lines()
    assert "redis.port" in line["cause"]
    assert values(line) == {"Failed": 1}


def test_outages_with_a_queue_are_told_once_a_minute(on_lambda, lines, caplog):
    down(Letters())
    for _ in range(5):
        assert track() == 200
    assert lines() == []
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_events_that_neither_redis_nor_the_queue_takes_are_failed(with_metrics, lines):
    down(Letters(works=False))
    assert track() == 503
    (line,) = lines()
    assert values(line) == {"Failed": 1}
    assert line["error"] == "SQS did not take the events"
    assert "Redis does not answer" in line["cause"]


def test_elsewhere_than_on_lambda_nothing_is_written(monkeypatch, fake, capsys):
    monkeypatch.setenv("GIMEL_METRICS", "shop")
    connection.use(config.Config(), connection.client())
    track()
    down()
    assert track() == 503
    assert capsys.readouterr().out == ""


def test_without_the_variable_no_metrics_are_written(on_lambda, fake, capsys):
    connection.use(config.Config(), connection.client())
    track()
    assert capsys.readouterr().out == ""


def raise_a_cause_again() -> None:
    cause = StoreUnavailable("Redis does not answer", "retry later")
    try:
        raise RuntimeError("no node answers") from cause
    except RuntimeError:
        raise cause from None  # now each leads to the other


def test_a_cause_that_was_raised_again_is_told_once():
    with pytest.raises(StoreUnavailable) as caught:
        raise_a_cause_again()
    assert reasons(caught.value) == "Redis does not answer: retry later"
