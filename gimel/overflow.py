"""Where events wait while Redis cannot take them."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from . import deadline
from .breaker import Breaker
from .errors import StoreUnavailable
from .events import MAX_EVENTS, Event

MAX_BYTES = 256 * 1024
"""Of one message: what every SQS queue takes. New ones take 1 MiB."""

LIMIT_S = 6
"""For sending. The first time in a process this also imports boto3, which takes seconds on a small function; a function
has 10 in all, unless aws.timeout_s says otherwise."""

CONNECT_S, READ_S, ATTEMPTS = 1, 2, 2

MAX_REASON = 1000


class Overflow(Protocol):
    """Keeps events durably, and has them counted once Redis is back."""

    def keep(self, events: Sequence[Event]) -> None:
        """Return once these events are safe. Raises StoreUnavailable if they cannot be kept."""


class SqsQueue:
    """An SQS queue to send to; an `Overflow` if it delivers to `track`.

    While it does not answer, sending fails at once, except for a try now and then.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._breaker = Breaker()
        self._lock = threading.Lock()
        self._client: Any = None

    def send(self, bodies: Iterable[str], reason: str | None = None) -> None:
        """Return once these messages are in the queue. Raises StoreUnavailable."""
        start = self._breaker.enter(LIMIT_S)
        try:
            deadline.within(LIMIT_S, lambda: self._send(bodies, reason))
        except Exception as error:  # botocore's own classes, which are imported only when needed
            failure = StoreUnavailable("SQS did not take the events", "check the queue and the function's permissions")
            self._breaker.failed(failure, start)
            raise failure from error
        self._breaker.answered()

    def keep(self, events: Sequence[Event]) -> None:
        """Return once these events are in the queue, in one message if they fit. Raises StoreUnavailable."""
        self.send(_bodies(events))

    def _send(self, bodies: Iterable[str], reason: str | None) -> None:
        with self._lock:
            client = self._client = self._client or _connect()
        told = {"reason": {"DataType": "String", "StringValue": reason[:MAX_REASON]}} if reason else {}
        for body in bodies:
            client.send_message(QueueUrl=self.url, MessageBody=body, MessageAttributes=told)


def _bodies(events: Sequence[Event]) -> Iterator[str]:
    """JSON lists of these events. In ASCII, because SQS refuses some characters."""
    batch: list[str] = []
    size = 0
    for event in events:
        text = json.dumps(event.as_item(), separators=(",", ":"))
        if batch and (size + len(text) + 2 > MAX_BYTES or len(batch) == MAX_EVENTS):
            yield f"[{','.join(batch)}]"
            batch, size = [], 0
        batch.append(text)
        size += len(text) + 1
    yield f"[{','.join(batch)}]"


def _connect() -> Any:
    # Only here: boto3 takes long to import, and a function without outages never needs it.
    import boto3
    from botocore.config import Config

    options = Config(connect_timeout=CONNECT_S, read_timeout=READ_S, retries={"total_max_attempts": ATTEMPTS})
    return boto3.session.Session().client("sqs", os.environ.get("AWS_REGION"), config=options)
