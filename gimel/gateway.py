"""The only module that knows how events reach a Lambda function, and what shape its answer must have.

Shapes taken: REST API proxy events (payload 1.0), HTTP API and function URL events (payload 2.0), SQS batches, and the
flat events that the API Gateway mapping templates of Gimel 1.x build.
"""

from __future__ import annotations

import base64
import functools
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from . import access, connection
from .errors import BadRequest, ConfigError, Forbidden, StoreUnavailable, TooLarge
from .events import HINT, MAX_EVENTS
from .metrics import INTERNAL_ERROR
from .packing import pack

log = logging.getLogger("gimel")

RETRY_AFTER_S = 5
PREFLIGHT_MAX_AGE_S = 86400
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Request:
    """What a handler sees: `params` for reports, `items` (events as sent, not yet validated) for tracking, `content`
    (the JSON object sent) for changes.

    `headers` have lowercase names, and are empty if the request did not come over HTTP. `from_queue`: these events
    have waited in a queue, which delivers them again unless they are counted. `stage` are the variables of API
    Gateway's stage, for GET. `unreadable` says why there are no items in what was posted.
    """

    params: Mapping[str, object] = field(default_factory=dict)
    items: list[object] = field(default_factory=list)
    is_list: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    from_queue: bool = False
    method: str = "GET"
    content: Mapping[str, Any] = field(default_factory=dict)
    stage: Mapping[str, str] = field(default_factory=dict)
    unreadable: BadRequest | None = None


@dataclass(frozen=True)
class Answer:
    """What a handler returns: a JSON value, and for HTTP a status and headers. `refused`: problems by item.

    `text` is a body that is sent as it is, with the Content-Type that the headers name.
    """

    value: object = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[int, Sequence[str]] = field(default_factory=dict)
    text: str | None = None


Handle = Callable[[Request], Answer]


class Entry:
    """A Lambda entry point: call it with an event and a context. `kinds` has the kind of API key for each method."""

    def __init__(self, handle: Handle, kinds: Mapping[str, str | None]) -> None:
        functools.update_wrapper(self, handle)
        self.handle = handle
        self.kinds = kinds

    @property
    def methods(self) -> tuple[str, ...]:
        """The HTTP methods it answers, besides OPTIONS."""
        return tuple(self.kinds)

    def __call__(self, event: Any, context: object = None) -> Any:
        answer = self._answer(event, context)
        connection.function_log().answered()
        return answer

    def _answer(self, event: Any, context: object) -> Any:
        if isinstance(event, Mapping):
            if isinstance(event.get("Records"), list):
                return _answer_queue(self.handle, event["Records"], context)
            if "httpMethod" in event or _has_http_context(event):
                return self._answer_http(event, context)
        return _answer_flat(self.handle, event, context)

    def _answer_http(self, event: Mapping[str, Any], context: object) -> dict[str, object]:
        try:
            call = _read_envelope(event)
        except BadRequest as error:
            return _respond(_Call("", dict, {}, bytes), _bad_request(error))
        if call.method == "OPTIONS":
            return _respond(call, Answer(status=204, headers=self._preflight()))
        if call.method not in self.methods:
            allowed = ", ".join(self.methods)
            refusal = {"error": f"method {call.method} is not allowed", "hint": f"use {allowed}"}
            return _respond(call, Answer(refusal, 405, {"Allow": f"{allowed}, OPTIONS"}))
        return _respond(call, _attempt(self, call, context))

    def _preflight(self) -> dict[str, str]:
        return {
            "Access-Control-Allow-Methods": ", ".join((*self.methods, "OPTIONS")),
            "Access-Control-Allow-Headers": "content-type, x-api-key",
            "Access-Control-Max-Age": str(PREFLIGHT_MAX_AGE_S),
        }


def endpoint(**kinds: str | None) -> Callable[[Handle], Entry]:
    """Make a handler a Lambda entry point that answers these HTTP methods, each for an API key of this kind."""
    return lambda handle: Entry(handle, kinds)


@dataclass(frozen=True)
class _Call:
    """An HTTP request, whichever gateway sent it."""

    method: str
    params: Callable[[], Mapping[str, object]]
    headers: Mapping[str, str]
    body: Callable[[], bytes]
    stage: Mapping[str, str] = field(default_factory=dict)


def _has_http_context(event: Mapping[str, Any]) -> bool:
    """Whether its requestContext is that of payload 2.0, or nothing that a gateway sends. A flat event has none."""
    context = event.get("requestContext") or {}
    return not isinstance(context, Mapping) or "http" in context


def _read_envelope(event: Mapping[str, Any]) -> _Call:
    """The HTTP request in a gateway's event. Raises BadRequest, which names all that has the wrong type."""
    problems: list[str] = []

    def take(found: Mapping[str, Any], name: str, kind: type | tuple[type, ...], wanted: str, default: Any) -> Any:
        value = found.get(name)  # gateways send null for what is missing
        if value is None:
            return default
        if isinstance(value, kind):
            return value
        problems.append(f"{name} must be {wanted}")
        return default

    headers = take(event, "headers", Mapping, "an object", {})
    if not all(isinstance(value, str) for value in headers.values()):
        problems.append("the values of headers must be text")
    is_base64 = take(event, "isBase64Encoded", bool, "true or false", False)
    # An object or a list may come from a test event of the AWS console.
    body = take(event, "body", (str, Mapping, list), "text", "")
    if "httpMethod" in event:
        method = take(event, "httpMethod", str, "text", "")
        # A REST API has already decoded the query string.
        query = take(event, "queryStringParameters", Mapping, "an object", {})
    else:
        context = take(event, "requestContext", Mapping, "an object", {})
        method = take(take(context, "http", Mapping, "an object", {}), "method", str, "text", "GET")
        # Payload 2.0 also has decoded parameters, but joins repeated ones with commas; the raw text is unambiguous.
        query = take(event, "rawQueryString", str, "text", "")
    stage = take(event, "stageVariables", Mapping, "an object", {})
    if not method.isascii():
        problems.append("the method must be ASCII")
    if problems:
        raise BadRequest(problems, "send an event as API Gateway does")
    return _Call(
        method,
        lambda: _form(query) if isinstance(query, str) else query,
        {str(name).lower(): value for name, value in headers.items()},
        lambda: _body(body, is_base64),
        stage,
    )


def _body(body: object, is_base64: bool) -> bytes:
    try:
        text = body if isinstance(body, str) else json.dumps(body)
        return base64.b64decode(text, validate=True) if is_base64 else text.encode("utf-8", "surrogatepass")
    except (TypeError, RecursionError):
        raise BadRequest(["the body is not JSON"], HINT) from None
    except ValueError:
        raise BadRequest(["the body is not valid base64"], HINT) from None


def _form(text: str) -> dict[str, object]:
    """Names and values of a query string or form; for a repeated name, the last one."""
    try:
        return dict(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100))
    except UnicodeDecodeError:
        raise BadRequest(["a value is not valid UTF-8"], HINT) from None
    except ValueError:
        raise BadRequest(["more than 100 parameters"], HINT) from None


def _read(call: _Call) -> Request:
    if call.method == "PUT":
        return Request(call.params(), headers=call.headers, method=call.method, content=_read_object(call.body()))
    try:
        return _read_events(call)
    except BadRequest as error:
        if call.method != "POST":
            raise
        return Request(headers=call.headers, method=call.method, unreadable=error)


def _read_events(call: _Call) -> Request:
    params = call.params()
    body = call.body() if call.method == "POST" else b""
    # navigator.sendBeacon(url) posts an empty body, with the event in the query string.
    if not body.strip():
        return Request(params, [params], headers=call.headers, method=call.method, stage=call.stage)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise BadRequest(["the body is not valid UTF-8"], HINT) from None
    kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    # `curl -d` labels JSON as a form, too.
    if kind == FORM and not text.lstrip().startswith(("{", "[")):
        return Request(params, [_form(text)], headers=call.headers, method=call.method)
    items, is_list = _read_json(text)
    return Request(params, items, is_list, call.headers, method=call.method)


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadRequest(["the body is not a JSON object"], "send an object as application/json")
    return found


def _read_json(text: str) -> tuple[list[object], bool]:
    """One event, or a list of them. Numbers keep the exact text they were sent as."""
    try:
        value = json.loads(text, parse_int=str, parse_float=str, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadRequest(["the body is neither JSON nor a form"], f"{HINT}; or a list of such events") from None
    if not isinstance(value, list):
        return [value], False
    if not 1 <= len(value) <= MAX_EVENTS:
        raise BadRequest([f"the list has {len(value):,} events"], f"send 1 to {MAX_EVENTS} events at a time")
    return value, True


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _attempt(entry: Entry, call: _Call, context: object) -> Answer:
    try:
        access.require(entry.kinds[call.method], call.headers)
        return entry.handle(_read(call))
    except BadRequest as error:
        return _bad_request(error)
    except Forbidden as error:
        return Answer({"error": error.message, "hint": error.hint}, 403)
    except TooLarge as error:
        return _too_large(error)
    except StoreUnavailable as error:
        _log_failure(error, context, 503)
        return Answer(
            {"error": "could not store or read counts", "hint": "retry the same request later"},
            503,
            {"Retry-After": str(RETRY_AFTER_S)},
        )
    except Exception as error:
        _log_failure(error, context, 500)
        return Answer({"error": INTERNAL_ERROR, "hint": "see the log for the cause"}, 500)


def _log_failure(error: Exception | None, context: object, status: int | None = None, about: str = "") -> None:
    """Tell the log that a request failed: a line each on Lambda; elsewhere, a line a minute for a whole outage."""
    if connection.function_log().is_on_lambda:
        connection.function_log().failed(error, context, status, about)
    elif isinstance(error, StoreUnavailable):
        connection.outage_log().failed(error)
    else:
        log.error("%s", ": ".join(filter(None, (about, str(error or "")))), exc_info=error)


def _bad_request(error: BadRequest) -> Answer:
    return Answer({"error": error.message, "problems": error.problems, "hint": error.hint}, 400)


def _too_large(error: TooLarge) -> Answer:
    return Answer({"error": error.message, "hint": error.hint}, 413)


def _respond(call: _Call, answer: Answer) -> dict[str, object]:
    headers = {
        "Content-Type": "application/json",
        "Cache-Control": "no-cache, no-store, must-revalidate",
        "Pragma": "no-cache",
        "Access-Control-Expose-Headers": "Retry-After, X-Gimel-Ignored",
        **cors_origin(call.headers.get("origin", "")),
        **answer.headers,
    }
    text = "" if answer.status in (204, 304) else to_json(answer.value) if answer.text is None else answer.text
    # Without an Accept header, a REST API sends base64 as it is.
    encodings = call.headers.get("accept-encoding", "") if call.headers.get("accept") else ""
    try:
        body = pack(text, encodings)
    except TooLarge as error:
        return _respond(call, _too_large(error))
    for name, value in body.headers.items():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return {"statusCode": answer.status, "headers": headers, "body": body.text, "isBase64Encoded": body.is_base64}


def cors_origin(origin: str) -> dict[str, str]:
    """The headers that let pages of an allowed origin read an answer, including errors."""
    try:
        allowed = connection.settings().cors_origins
    except ConfigError:
        allowed = ("*",)
    if "*" in allowed:
        return {"Access-Control-Allow-Origin": "*"}
    return {"Access-Control-Allow-Origin": origin if origin in allowed else allowed[0], "Vary": "Origin"}


def sender_origin(headers: Mapping[str, str]) -> str:
    """The origin of the page that sent a request: Origin or, where the browser sends none, that of Referer."""
    return headers.get("origin") or "/".join(headers.get("referer", "").split("/")[:3])


_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def to_json(value: object) -> str:
    """Compact JSON that keeps non-Latin text readable. Raises ValueError for NaN, which JSON lacks."""
    return _encoder.encode(value)


def _answer_flat(handle: Handle, event: object, context: object) -> object:
    """Plain in, plain out, as in Gimel 1.x. A bad request or an outage fails the invocation."""
    params = event if isinstance(event, Mapping) else {}
    try:
        answer = handle(Request(params, [event]))
    except StoreUnavailable as error:
        _log_failure(error, context)
        # Lambda returns the message to the caller; the cause, which may name addresses, stays in the log.
        raise StoreUnavailable(error.message, error.hint) from None
    except (BadRequest, TooLarge):
        raise
    except Exception as error:
        if connection.function_log().is_on_lambda:
            _log_failure(error, context)
        raise
    if answer.status >= 400:
        raise BadRequest([to_json(answer.value)])
    return answer.value


def _answer_queue(handle: Handle, records: list[object], context: object) -> dict[str, object]:
    """Count a whole SQS batch at once, and report the messages that SQS must deliver again.

    A message that can never be counted as a whole goes to the dead letters at once.
    """
    messages = [_message(record) for record in records]
    items: list[object] = []
    origins: list[int] = []  # of each item: the position of its message
    problems: defaultdict[int, list[str]] = defaultdict(list)
    failed: set[int] = set()
    for position, (_, body) in enumerate(messages):
        try:
            found, _ = _read_json(body)
        except BadRequest as error:
            problems[position] += error.problems
        else:
            items += found
            origins += [position] * len(found)
    try:
        refused = handle(Request(items=items, is_list=True, from_queue=True)).refused
        for item in sorted(refused):
            problems[origins[item]] += refused[item]
    except Exception as error:
        _log_failure(error, context, about="no message of this batch was counted")
        failed.update(origins)
    failed |= {position for position, why in problems.items() if not _set_aside(*messages[position], why, context)}
    senders = dict.fromkeys(messages[position][0] for position in sorted(failed))
    return {"batchItemFailures": [{"itemIdentifier": sender} for sender in senders]}


def _set_aside(sender: str, body: str, problems: Sequence[str], context: object) -> bool:
    """Whether this message is now in the dead letters."""
    reason = "; ".join(dict.fromkeys(problems))
    letters = connection.dead_letters()
    try:
        if letters:
            letters.send([body], reason)
    except StoreUnavailable as error:
        _log_failure(error, context)
        letters = None
    place = "went to the dead letters" if letters else "stays in its queue"
    told = sender.encode("utf-8", "backslashreplace").decode()  # a made-up one may have no UTF-8
    _log_failure(None, context, about=f"message {told} cannot be counted, and {place}: {reason:.1000}")
    return letters is not None


def _message(record: object) -> tuple[str, str]:
    """Id and body of an SQS message. An empty id, reported as failed, makes SQS deliver the whole batch again."""
    found = record if isinstance(record, Mapping) else {}
    sender, body = found.get("messageId"), found.get("body")
    return sender if isinstance(sender, str) else "", body if isinstance(body, str) else ""
