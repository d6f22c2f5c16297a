"""On a local AWS that runs the zip: what visitors send while Redis is down waits in the queue, and is counted once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.parts import RedisServer, wait_for

from .ministack import Ministack
from .test_local_aws import Person, ask, base_in, url_in

pytestmark = pytest.mark.slow

EVENT = "experiment=e&variant=red&event=participate"


class Deployed:
    """A deployment of one person, whose messages are tried again soon rather than after minutes."""

    def __init__(self, person: Person, ministack: Ministack) -> None:
        self.person = person
        output = person.types("deploy", "--yes")
        self.track, self.base = url_in(output), base_in(output)
        self.sqs, self.functions = (ministack.client(name) for name in ("sqs", "lambda"))
        self.queue, self.dead_letters = (
            self.sqs.get_queue_url(QueueName=f"gimel-{name}")["QueueUrl"] for name in ("queue", "dead-letters")
        )
        # Longer than any run, or what is being counted would be delivered again.
        self.sqs.set_queue_attributes(QueueUrl=self.queue, Attributes={"VisibilityTimeout": "10"})
        self.key = person.types("api-key").strip()

    def send(self, uuid: object) -> tuple[int, str]:
        status, _, body = ask(f"{self.track}?{EVENT}&uuid={uuid}")
        return status, body

    def put(self, url: str, body: object) -> None:
        self.sqs.send_message(QueueUrl=url, MessageBody=body if isinstance(body, str) else json.dumps(body))

    def purge(self) -> None:
        for url in (self.queue, self.dead_letters):
            self.sqs.purge_queue(QueueUrl=url)

    def counted(self) -> dict[str, int]:
        """Participants of each variant, as the API reports them. A new function may need more than one try."""
        url = f"{self.base}/experiments?scope=e"
        body = str(wait_for(lambda: (found := ask(url, self.key))[0] == 200 and found[2], "a report"))
        return {one["label"]: one["trials"] for one in json.loads(body)[1]["participants"]}

    def messages(self) -> tuple[int, int]:
        """How many messages are in the queue, and how many dead letters, as `gimel queue` shows them."""
        waiting, in_flight, dead = map(int, re.findall(r"^ +(\d+)  (?:waiting|in flight|dead)", self.shown(), re.M))
        return waiting + in_flight, dead

    def left(self) -> tuple[int, int]:
        """The same as SQS says it, which takes less time than the command."""
        both = (
            self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
            for url in (self.queue, self.dead_letters)
        )
        kinds = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"
        waiting, dead = (sum(int(one["Attributes"][kind]) for kind in kinds) for one in both)
        return waiting, dead

    def was_tried_in_vain(self) -> bool:
        (mapping,) = self.functions.list_event_source_mappings()["EventSourceMappings"]
        return "partial failures" in mapping["LastProcessingResult"]

    def shown(self) -> str:
        return self.person.types("queue")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[RedisServer]:
    started = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def once(tmp_path_factory, ministack, server) -> Iterator[Deployed]:
    person = Person(tmp_path_factory.mktemp("person"), ministack, server.port)
    person.other = {"precision": "exact"}
    person.configure()
    yield Deployed(person, ministack)
    person.types("destroy", "--name", "gimel")


@pytest.fixture
def deployed(once, server) -> Deployed:
    """One deployment for all tests, with an empty Redis and empty queues."""
    # What a test starts ends with it.
    if server.process is None or server.process.poll() is not None:
        server.start()
    server.flush()
    once.purge()
    return once


def event(uuid: object, **changed: Any) -> dict[str, Any]:
    return {"experiment": "e", "variant": "red", "event": "participate", "uuid": str(uuid), **changed}


def test_events_of_an_outage_are_answered_200_and_counted_exactly_once_when_redis_is_back(deployed, server):
    assert deployed.send("before") == (200, "null")
    server.stop()
    for uuid in [*range(20), *range(5)]:  # some visitors send twice
        assert deployed.send(uuid) == (200, "null")
    wait_for(deployed.was_tried_in_vain, "a delivery while Redis is down", 60)
    assert deployed.messages() == (25, 0)
    server.start()
    wait_for(lambda: deployed.counted() == {"red": 21}, "the queue to drain", 60)
    wait_for(lambda: deployed.left() == (0, 0), "an empty queue", 60)
    assert deployed.messages() == (0, 0)


def test_what_cannot_be_counted_becomes_a_dead_letter_with_the_reason(deployed):
    deployed.put(deployed.queue, event("good"))
    deployed.put(deployed.queue, event("bad", variant=""))
    deployed.put(deployed.queue, "no JSON")
    wait_for(lambda: deployed.left() == (0, 2), "two dead letters", 60)
    assert deployed.counted() == {"red": 1}
    shown = deployed.shown()
    assert "variant" in shown
    assert "neither JSON nor a form" in shown
    done = deployed.person.types("queue", "redrive", "--yes")
    assert done.startswith("2 dead letters were sent back")
    wait_for(lambda: deployed.left() == (0, 2), "the same dead letters", 60)
    assert deployed.messages() == (0, 2)


def test_redrive_has_dead_letters_counted_that_were_tried_too_often(deployed):
    # As SQS moves them; what is wrong with them has been fixed.
    for uuid in range(12):
        deployed.put(deployed.dead_letters, event(uuid))
    assert "12  dead letters" in deployed.shown()
    assert deployed.person.types("queue", "redrive", "--yes").startswith("12 dead letters were sent back")
    wait_for(lambda: deployed.counted() == {"red": 12}, "their counts", 60)
    assert deployed.messages() == (0, 0)
