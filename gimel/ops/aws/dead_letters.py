"""The dead letters: messages that could not be counted. Why, and sending them back to the queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

SAMPLE = 10  # the most that SQS gives at once
REASON = "reason"
"""The attribute in which `track` says why it moved a message here. SQS itself moves what was tried too often."""

TRIED = "could not be counted, after many attempts"
EMPTY_AFTER_S = 1  # without a wait, SQS asks only some of its servers, and may find nothing


def reasons(sqs: Any, url: str) -> Counter[str]:
    """Why some of them are here; the messages stay."""
    return Counter(_reason(message) for message in _receive(sqs, url, SAMPLE, VisibilityTimeout=0))


def redrive(sqs: Any, dead_letters: str, queue: str, limit: int) -> Iterator[None]:
    """Move up to `limit` messages to the queue, one at each step.

    Interrupted between sending and deleting, a message is in both, and counted once all the same.
    """
    while limit > 0:
        messages = _receive(sqs, dead_letters, min(SAMPLE, limit))
        if not messages:
            return
        for message in messages:
            sqs.send_message(QueueUrl=queue, MessageBody=message["Body"])
            sqs.delete_message(QueueUrl=dead_letters, ReceiptHandle=message["ReceiptHandle"])
            limit -= 1
            yield


def _receive(sqs: Any, url: str, count: int, **options: Any) -> list[dict[str, Any]]:
    options |= {"MessageAttributeNames": [REASON], "WaitTimeSeconds": EMPTY_AFTER_S}
    found: list[dict[str, Any]] = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=count, **options).get(
        "Messages", []
    )
    return found


def _reason(message: dict[str, Any]) -> str:
    attribute = (message.get("MessageAttributes") or {}).get(REASON) or {}
    return str(attribute.get("StringValue") or TRIED)
