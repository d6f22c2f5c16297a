"""What a function on Lambda writes for programs to read, as lines of JSON: failed requests and, if wanted, metrics.

Metrics are in CloudWatch's embedded metric format, which turns lines of the log into metrics without further calls.
They are written if GIMEL_METRICS names the deployment.
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections import Counter
from collections.abc import Mapping
from typing import Any

from .errors import ConfigError, StoreUnavailable
from .replies import describe

NAMESPACE = "Gimel"
DIMENSION = "Deployment"
LIMIT_REACHED = "LimitReached"
EVENTS = ("Accepted", "Kept", "Ignored", "Refused", "Failed")
LATENCY = "RedisLatency"
UNITS = {**dict.fromkeys(EVENTS, "Count"), LATENCY: "Milliseconds"}
"""What FunctionLog counts. AWS charges for each combination with a dimension's value, so there are few, and one
dimension."""

PERIOD_S = 10
MAX_VALUES = 100
"""How many values of one metric a line may have."""

INTERNAL_ERROR = "internal error"


class FunctionLog:
    """Adds up what becomes of events, and writes that at most once in PERIOD_S; writes about a failed request at once.

    What was added after the last line is lost when the container ends. A container answers one request at a time, so
    nothing here needs a lock.
    """

    def __init__(self) -> None:
        self._function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self._deployment = os.environ.get("GIMEL_METRICS") if self._function else None
        self._next_line = 0.0
        self._events: Counter[str] = Counter()
        self._latencies_ms: list[float] = []

    @property
    def is_on_lambda(self) -> bool:
        """Whether this is a Lambda function. Elsewhere nothing is written."""
        return bool(self._function)

    def add(self, **events: int) -> None:
        """Events of a request, by what became of them: the names of EVENTS in lowercase."""
        if self._deployment:
            self._events.update({name.title(): number for name, number in events.items() if number})

    def add_latency(self, seconds: float) -> None:
        """How long Redis took for an answer."""
        if self._deployment and len(self._latencies_ms) < MAX_VALUES:
            self._latencies_ms.append(round(seconds * 1000, 1))

    def answered(self) -> None:
        """A request was answered: write the metrics, if it is time."""
        if self._has_metrics and (time.time() >= self._next_line or len(self._latencies_ms) == MAX_VALUES):
            self._write({})

    def failed(self, error: Exception | None, context: object, status: int | None, about: str) -> None:
        """A request failed with this error: write a line about it, and the metrics with it.

        `context` is what Lambda passes to a handler. `about` says what failed, if the error does not.
        """
        told = {
            "level": "ERROR",
            "error": about or (error.message if isinstance(error, StoreUnavailable) else INTERNAL_ERROR),
            "status": status,
            "function": self._function,
            "requestId": getattr(context, "aws_request_id", None),
            "cause": reasons(error),
        }
        self._write({name: value for name, value in told.items() if value})

    @property
    def _has_metrics(self) -> bool:
        return bool(self._events or self._latencies_ms)

    def _write(self, line: dict[str, Any]) -> None:
        if self._has_metrics:
            values: dict[str, Any] = dict(self._events)
            if self._latencies_ms:
                values[LATENCY] = self._latencies_ms
            line |= embedded(DIMENSION, str(self._deployment), values)
            self._next_line = time.time() + PERIOD_S
            self._events, self._latencies_ms = Counter(), []
        write(line)


def embedded(dimension: str, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A line of which CloudWatch makes metrics with this dimension, from a number or a list of numbers for each."""
    metrics = [{"Name": metric, "Unit": UNITS.get(metric, "Count")} for metric in values]
    directive = {"Namespace": NAMESPACE, "Dimensions": [[dimension]], "Metrics": metrics}
    about = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
    return {"_aws": about, dimension: name, **values}


def write(line: Mapping[str, Any]) -> None:
    """Write a line of JSON to the function's log."""
    # In one call: a line that is cut in two is no JSON.
    print(json.dumps(line, separators=(",", ":")), flush=True)


def reasons(error: BaseException | None) -> str:
    """The error with its cause, and the errors that it was raised in answer to, without data.

    An unexpected error is described by its type and the lines of code that it came through.
    """
    told = []
    while error:
        if isinstance(error, ConfigError):
            told.append(str(error))
        elif isinstance(error, StoreUnavailable):
            cause = f": {describe(error.__cause__)}" if error.__cause__ else ""
            told.append(f"{describe(error)}{cause}")
        elif not told:
            lines = traceback.walk_tb(error.__traceback__)
            path = " > ".join(f"{os.path.basename(frame.f_code.co_filename)}:{line}" for frame, line in lines)
            told.append(f"{describe(error)} at {path}")
        # Not what `from None` leaves out, which may lead back to this error, and so never end.
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "; ".join(told)
