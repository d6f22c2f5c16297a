"""Events in SQS while Redis is away, and what becomes of messages that can never be counted."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import closing

import boto3
import pytest
from moto import mock_aws

import gimel
from gimel import config, connection
from gimel.events import MAX_EVENTS, Event
from gimel.overflow import MAX_BYTES, SqsQueue

from .calls import EVENT, make_queue_event, make_rest_event, participants, post, read
from .parts import free_port, wait_for


@pytest.fixture(autouse=True)
def sqs(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    with mock_aws():
        yield boto3.client("sqs", "eu-west-1")


@pytest.fixture
def queue(sqs, monkeypatch) -> str:
    url = sqs.create_queue(QueueName="gimel")["QueueUrl"]
    monkeypatch.setenv("GIMEL_QUEUE_URL", url)
    return url


@pytest.fixture
def dead_letters(sqs, monkeypatch) -> str:
    url = sqs.create_queue(QueueName="gimel-dead-letters")["QueueUrl"]
    monkeypatch.setenv("GIMEL_DEAD_LETTERS_URL", url)
    return url


@pytest.fixture
def down() -> None:
    """The handlers with a Redis that is down."""
    connection.use(config.Config(redis_settings=config.RedisSettings(url=f"redis://127.0.0.1:{free_port()}")))


def messages(sqs, url: str) -> list[dict]:
    found: list[dict] = []
    read = {"QueueUrl": url, "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"]}
    while batch := sqs.receive_message(**read).get("Messages"):
        found += batch
    return found


class TestQueue:
    def test_an_event_waits_in_the_queue_and_is_counted_from_there(self, sqs, queue, redis_server, caplog):
        connection.use(config.Config(redis_settings=config.RedisSettings(url=redis_server.url)))
        redis_server.stop()
        answer = gimel.track(make_rest_event(query=EVENT))
        assert (answer["statusCode"], answer["body"]) == (200, "null")
        (message,) = messages(sqs, queue)
        assert json.loads(message["Body"]) == [{"namespace": "alephbet", **EVENT}]
        redis_server.start()
        event = make_queue_event(message["Body"])
        wait_for(lambda: gimel.track(event) == {"batchItemFailures": []}, "Redis to be found")
        assert participants(redis_server.client()) == 1

    def test_a_list_is_one_message(self, sqs, queue, down):
        answer = gimel.track(post([{**EVENT, "uuid": str(number)} for number in range(MAX_EVENTS)]))
        assert (answer["statusCode"], answer["body"]) == (200, "null")
        (message,) = messages(sqs, queue)
        assert [event["uuid"] for event in json.loads(message["Body"])] == [str(number) for number in range(MAX_EVENTS)]

    def test_events_too_large_for_a_message_are_several(self, sqs, queue):
        wide = "\N{GRINNING FACE}" * 200
        events = [Event(wide, wide, wide, wide, f"{number}") for number in range(100)]
        SqsQueue(queue).keep(events)
        bodies = [message["Body"] for message in messages(sqs, queue)]
        assert len(bodies) > 1
        assert max(len(body.encode()) for body in bodies) <= MAX_BYTES
        kept = sorted(int(event["uuid"]) for body in bodies for event in json.loads(body))
        assert kept == list(range(100))
        assert gimel.events.read_event(json.loads(bodies[0])[0]).experiment == wide

    def test_events_go_to_the_queue_at_once_while_redis_is_away(self, sqs, queue, monkeypatch):
        with closing(socket.create_server(("127.0.0.1", 0))) as silent:
            url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
            connection.use(config.Config(redis_settings=config.RedisSettings(url=url)))
            monkeypatch.setattr("gimel.breaker.PAUSE_S", 60)
            assert gimel.track(make_rest_event(query=EVENT))["statusCode"] == 200
            start = time.monotonic()
            for number in range(9):
                assert gimel.track(make_rest_event(query={**EVENT, "uuid": f"{number}"}))["statusCode"] == 200
            assert time.monotonic() - start < 5  # 9 s if each waited for Redis
        assert len(messages(sqs, queue)) == 10

    def test_a_queue_that_refuses_is_a_503(self, sqs, queue, down, caplog):
        sqs.delete_queue(QueueUrl=queue)
        answers = [gimel.track(make_rest_event(query=EVENT)) for _ in range(3)]
        assert [answer["statusCode"] for answer in answers] == [503] * 3
        assert read(answers[0]) == {"error": "could not store or read counts", "hint": "retry the same request later"}
        (told,) = caplog.messages
        assert told.startswith("SQS did not take the events: ")
        assert "NonExistentQueue" in told
        assert "Redis does not answer: " in told

    def test_an_unreachable_queue_is_left_alone_like_an_unreachable_redis(self, down, monkeypatch):
        with closing(socket.create_server(("127.0.0.1", 0))) as silent:
            monkeypatch.setattr("gimel.overflow.LIMIT_S", 0.5)
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
            monkeypatch.setenv("GIMEL_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/1/gimel")
            assert gimel.track(make_rest_event(query=EVENT))["statusCode"] == 503
            start = time.monotonic()
            for _ in range(10):
                assert gimel.track(make_rest_event(query=EVENT))["statusCode"] == 503
            assert time.monotonic() - start < 2.5  # 5 s if each waited for the queue

    def test_events_from_the_queue_are_delivered_again(self, sqs, queue, down, caplog):
        event = make_queue_event(json.dumps(EVENT), json.dumps([EVENT]))
        failed = [{"itemIdentifier": "m0"}, {"itemIdentifier": "m1"}]
        assert gimel.track(event) == gimel.track(event) == {"batchItemFailures": failed}
        assert messages(sqs, queue) == []
        assert len(caplog.messages) == 1

    def test_an_overflow_of_ones_own_replaces_the_queue(self, queue):
        own = SqsQueue("https://example.com")
        connection.use(config.Config(), None, own)
        assert connection.overflow() is own


class TestDeadLetters:
    def test_what_can_never_be_counted_goes_there_at_once(self, sqs, fake, dead_letters, caplog):
        mixed = json.dumps([{**EVENT, "uuid": "u2"}, {**EVENT, "variant": ""}])
        assert gimel.track(make_queue_event(json.dumps(EVENT), "not json", mixed)) == {"batchItemFailures": []}
        assert participants(fake) == 2
        found = {message["Body"]: message["MessageAttributes"]["reason"] for message in messages(sqs, dead_letters)}
        assert {body: reason["StringValue"] for body, reason in found.items()} == {
            "not json": "the body is neither JSON nor a form",
            mixed: "variant is empty",
        }
        assert caplog.messages == [
            "message m1 cannot be counted, and went to the dead letters: the body is neither JSON nor a form",
            "message m2 cannot be counted, and went to the dead letters: variant is empty",
        ]

    def test_during_an_outage_only_what_cannot_be_read_goes_there(self, sqs, down, dead_letters):
        failures = gimel.track(make_queue_event(json.dumps(EVENT), "not json", "[{}]"))["batchItemFailures"]
        assert failures == [{"itemIdentifier": "m0"}, {"itemIdentifier": "m2"}]
        assert [message["Body"] for message in messages(sqs, dead_letters)] == ["not json"]

    def test_without_them_the_message_stays_in_its_queue(self, sqs, fake, dead_letters, caplog):
        sqs.delete_queue(QueueUrl=dead_letters)
        failures = gimel.track(make_queue_event("not json", json.dumps(EVENT)))["batchItemFailures"]
        assert failures == [{"itemIdentifier": "m0"}]
        assert participants(fake) == 1
        assert caplog.messages[-1].startswith("message m0 cannot be counted, and stays in its queue: ")

    def test_ignored_events_are_done(self, sqs, fake, dead_letters):
        connection.use(config.Config(allowed_experiments={"other": None}), connection.client())
        assert gimel.track(make_queue_event(json.dumps(EVENT))) == {"batchItemFailures": []}
        assert messages(sqs, dead_letters) == []

    @pytest.mark.parametrize("record", [None, 7, "text", [], {}, {"messageId": 7, "body": {"a": 1}}, {"body": None}])
    def test_odd_records_have_the_batch_delivered_again(self, fake, record):
        event = make_queue_event(json.dumps(EVENT))
        event["Records"].append(record)
        assert gimel.track(event) == {"batchItemFailures": [{"itemIdentifier": ""}]}
        assert participants(fake) == 1


def test_boto3_is_not_loaded_before_an_outage():
    program = "import os, sys; os.environ['GIMEL_QUEUE_URL'] = 'x'; import gimel; from gimel import connection;"
    program += "connection.overflow(); print('boto3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "False"
