"""What the functions wrote to their logs, and which of it tells of failures."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import ClientError

from .client import aws_errors
from .deployment import Deployment
from .plan.steps import MISSING

LEVELS = ("ERROR", "WARNING", "CRITICAL")
PLATFORM = ("Task timed out", "Runtime.", "Status: timeout", "Status: error")
PATTERN = " ".join(f'?"{term}"' for term in (*LEVELS, *PLATFORM))
"""What CloudWatch looks for in the log of a busy function: any of these. `is_failure` has the last word."""

OF_PLATFORM = re.compile(r"(START|END|REPORT|INIT_[A-Z]+|EXTENSION|LOGS|XRAY) ")
WITH_LEVEL = re.compile(r"\[[A-Z]+\]|\{")

PREFIX = re.compile(r"^\[([A-Z]+)\]\t\S+Z\t\S*\t")
"""Level, time and request, which Lambda puts before each message of a Python function."""


@dataclass(frozen=True)
class Record:
    """What a function wrote at once, with the time in seconds since 1970."""

    time_s: float
    function: str
    text: str

    @property
    def when(self) -> str:
        """The time in UTC."""
        return f"{datetime.fromtimestamp(self.time_s, timezone.utc):%Y-%m-%d %H:%M:%S}"


def read(deployment: Deployment, functions: Iterable[str], since_s: float, every: bool = False) -> list[Record]:
    """What these functions wrote in the last `since_s` seconds about failures, or all of it; oldest first.

    Raises AwsError.
    """
    client, start_ms = deployment.aws.client("logs"), max(0, int(1000 * (time.time() - since_s)))
    # Emulators do not know patterns of alternatives.
    pattern = {"filterPattern": PATTERN} if not (deployment.aws.is_local or every) else {}
    found: list[Record] = []
    for function in functions:
        with aws_errors(f"could not read the log of {function}"):
            group = {"logGroupName": deployment.names.log_group(function), "startTime": start_ms}
            found += _records(client, function, {**group, **pattern})
    return sorted((one for one in found if every or is_failure(one.text)), key=lambda one: one.time_s)


def _records(client: Any, function: str, asked: Mapping[str, Any]) -> Iterator[Record]:
    place: tuple[str, int] = ("", 0)
    lines: list[str] = []
    try:
        for page in client.get_paginator("filter_log_events").paginate(**asked):
            for event in page["events"]:
                own, text = (event.get("logStreamName", ""), event["timestamp"]), event["message"].strip("\r\n")
                if lines and not (own == place and _goes_on(lines[0], text)):
                    yield _record(place[1], function, lines)
                    lines = []
                place = own
                lines.append(text)
    except ClientError as error:
        if error.response["Error"]["Code"] not in MISSING:
            raise
    if lines:
        yield _record(place[1], function, lines)


def _goes_on(first: str, text: str) -> bool:
    """Whether this line belongs to the record that began with the first: some emulators make an event of each line."""
    return not any(OF_PLATFORM.match(line) for line in (first, text)) and not WITH_LEVEL.match(text)


def _record(time_ms: int, function: str, lines: list[str]) -> Record:
    # Lambda ends the lines of a traceback with CR.
    text = "\n".join(lines).replace("\r\n", "\n").replace("\r", "\n").strip()
    return Record(time_ms / 1000, function, PREFIX.sub(r"[\1] ", text))


def is_failure(text: str) -> bool:
    """Whether a record tells of a failure. Besides Lambda's own lines and metrics, functions write nothing else."""
    try:
        value = json.loads(text)
    except ValueError:
        return not OF_PLATFORM.match(text) or bool(re.search(r"\bStatus: (timeout|error)\b", text))
    return not isinstance(value, dict) or "error" in value or value.get("level") in LEVELS
