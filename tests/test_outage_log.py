"""What the log says about an outage: enough, once, and nothing that identifies a visitor."""

import logging

import pytest
import redis

import gimel
from gimel import config, connection
from gimel.errors import StoreUnavailable
from gimel.outage_log import PERIOD_S, OutageLog

from .calls import EVENT, make_queue_event, make_rest_event
from .parts import free_port, wait_for
from .test_outage import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outage(clock) -> OutageLog:
    return OutageLog(clock)


def failure() -> StoreUnavailable:
    error = StoreUnavailable("Redis does not answer", "retry later")
    error.__cause__ = redis.ConnectionError("refused")
    return error


def test_a_line_a_minute_and_one_when_it_is_over(outage, clock, caplog):
    for second in range(150):
        clock.now = second
        for _ in range(10):
            outage.failed(failure())
        outage.kept(failure())
    outage.counted()
    outage.counted()
    reason = "Redis does not answer: retry later: refused"
    assert caplog.messages == [
        f"{reason} (requests since the last line: 1 failed)",
        f"{reason} (requests since the last line: 600 failed, 60 kept for later)",
        f"{reason} (requests since the last line: 600 failed, 60 kept for later)",
        "events are counted again, after 149 s (requests since the last line: 299 failed, 30 kept for later)",
    ]


def test_what_comes_and_goes_is_told_once_a_minute_too(outage, clock, caplog):
    for second in range(2 * PERIOD_S):
        clock.now = second
        outage.failed(failure())
        outage.counted()
    assert len(caplog.messages) == 4


def test_the_end_of_a_second_outage_is_told_later_with_its_own_length(outage, clock, caplog):
    outage.failed(failure())
    outage.counted()
    clock.now = 10
    outage.failed(failure())
    clock.now = 13
    outage.counted()
    clock.now = PERIOD_S
    outage.counted()
    assert caplog.messages[-1] == "events are counted again, after 3 s (requests since the last line: 1 failed)"


def test_counting_without_an_outage_is_not_told(outage, caplog):
    outage.counted()
    assert caplog.messages == []


def test_an_outage_of_both_redis_and_the_queue_is_told(outage, caplog):
    try:
        try:
            raise failure()
        except StoreUnavailable:
            raise StoreUnavailable("SQS did not take the events", "check the queue") from OSError("unreachable")
    except StoreUnavailable as error:
        outage.failed(error)
    assert caplog.messages[0].startswith("SQS did not take the events: check the queue: unreachable")


def test_requests_of_an_outage_leave_one_line_without_visitors(caplog, redis_server):
    connection.use(config.Config(redis_settings=config.RedisSettings(url=redis_server.url)))
    redis_server.client().config_set("maxmemory", "1")
    for number in range(20):
        event = {**EVENT, "uuid": f"visitor {number}"}
        assert gimel.track(make_rest_event(query=event))["statusCode"] == 503
        assert gimel.track(make_queue_event(f'{{"experiment": "e", "variant": "v", "event": "x", "uuid": "{number}"}}'))
        with pytest.raises(StoreUnavailable):
            gimel.track(event)
    assert len(caplog.messages) == 1
    assert "visitor" not in caplog.text
    assert "Traceback" not in caplog.text
    redis_server.client().config_set("maxmemory", "0")
    gimel.track(EVENT)
    (end,) = caplog.messages[1:]
    assert end.startswith("events are counted again, after ")
    assert end.endswith(" (requests since the last line: 59 failed)")


def test_the_end_is_told_when_redis_is_back(redis_server, caplog):
    connection.use(config.Config(redis_settings=config.RedisSettings(url=redis_server.url)))
    redis_server.stop()
    assert gimel.track(make_rest_event(query=EVENT))["statusCode"] == 503
    redis_server.start()
    wait_for(lambda: gimel.track(make_rest_event(query=EVENT))["statusCode"] == 200, "Redis to be found")
    assert len(caplog.messages) == 2
    assert caplog.messages[1].startswith("events are counted again, after ")


def test_reports_tell_an_outage_too(caplog):
    port = free_port()
    connection.use(config.Config(redis_settings=config.RedisSettings(url=f"redis://127.0.0.1:{port}")))
    for _ in range(3):
        assert gimel.all(make_rest_event())["statusCode"] == 503
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
