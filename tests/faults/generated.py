"""Generated inputs: every shape of event, and raw HTTP, each compared with a model of what should count.

The model is written from docs/http-api.md and docs/redis.md alone. After each input, Redis holds exactly what the model
says, and the answer says so too. Of inputs that were damaged at random the model knows nothing, but whatever is
answered `null` and not marked as ignored has been counted, and whatever is refused has not.
"""

from __future__ import annotations

import argparse
import base64
import json
import logging
import random
import re
import socket
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import redis

import gimel
from gimel import bots, config, connection
from gimel.errors import BadRequest
from gimel.ops import known_bots
from tests.parts import GimelServer, RedisServer, kill_processes

SEED = 20261125
COUNT = 100_000
PATIENCE_S = 10
HTTP_SHARE = 5
"""One in so many inputs goes over HTTP."""

PLANTED = "planted"
"""Is in every id of a visitor, in the API key and in Redis' password: never in a log or an answer."""
API_KEY, PASSWORD = f"{PLANTED}-key", f"{PLANTED}-password"

NAMES = [
    "red",
    "blue",
    "buy",
    "a b",
    "größer",
    "🎯",
    "100%",
    "%3A",
    "a:b",
    ":",
    "counter_keys",
    "x" * 200,
    "'\"<b>&=+;",
    "0",
]
BAD_NAMES = ["", "x" * 201, "a\nb", "\x00", "\x7f", "\x85", "\ud800"]
NUMBERS = [0, 7, -1, 1.5, -0.25, 10**30]
NO_TEXT = [True, False, [], ["a"], {}, {"a": "b"}, None]
DEEP: list[Any] = []
for _ in range(3_000):
    DEEP = [DEEP]
CLOSED = "closed"
VARIANTS, GOALS = ["red", "blue"], ["buy"]
SETTINGS = {"precision": "exact", "experiments": {CLOSED: {"variants": VARIANTS, "goals": GOALS}}}

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5"
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
SENDERS: list[tuple[dict[str, str], str]] = [
    *[({"user-agent": PHONE}, "")] * 8,
    ({}, ""),
    ({"user-agent": CRAWLER}, "bot"),
    ({"user-agent": PHONE, "sec-purpose": "prefetch;prerender"}, "prefetch"),
]
"""Headers of visitors and of others, with the reason why the events of these are ignored."""

Names = tuple[str, str, str, str]
"""Namespace, experiment, goal and variant."""


@dataclass
class Expected:
    """What the model says of some items: the ids to count by names, those ignored, and the positions refused."""

    counted: dict[Names, set[str]] = field(default_factory=dict)
    accepted: int = 0
    reasons: set[str] = field(default_factory=set)
    refused: list[int] = field(default_factory=list)
    size: int = 0

    @property
    def is_null(self) -> bool:
        """Whether the answer is `null`."""
        return not self.refused

    @property
    def status(self) -> int:
        """The status of an HTTP answer."""
        return 400 if len(self.refused) == self.size else 200


def expect(items: list[Any], no_visitor: str = "") -> Expected:
    """What the documentation says of these items, or of those that were not sent by a visitor for this reason."""
    expected = Expected(size=len(items))
    for position, item in enumerate(items):
        names = meaning(item)
        if names is None:
            expected.refused.append(position)
            continue
        namespace, experiment, variant, goal, uuid = names
        if no_visitor:
            expected.reasons.add(no_visitor)
        elif experiment == CLOSED and variant not in VARIANTS:
            expected.reasons.add("variant")
        elif experiment == CLOSED and goal not in [*GOALS, "participate"]:
            expected.reasons.add("goal")
        else:
            expected.accepted += 1
            expected.counted.setdefault((namespace, experiment, goal, variant), set()).add(uuid)
    return expected


def meaning(item: Any) -> tuple[str, str, str, str, str] | None:
    """Namespace, experiment, variant, event and uuid; None for what is no event."""
    if not isinstance(item, dict):
        return None
    namespace = item.get("namespace")
    namespace = "alephbet" if namespace is None or namespace in ("", "undefined") else as_name(namespace)
    names = [as_name(item.get(name)) for name in ("experiment", "variant", "event", "uuid")]
    if namespace is None or ":" in namespace or None in names:
        return None
    return (namespace, *names)  # type: ignore[return-value]


def as_name(value: Any) -> str | None:
    """The text of a field, if it may be one."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    text = str(value)
    fits = 1 <= len(text) <= 200 and not {unicodedata.category(letter) for letter in text} & {"Cc", "Cs"}
    return text if fits else None


def keys_of(expected: Expected) -> dict[str, int | None]:
    """Every key that Redis then has, with the size of each counter."""
    keys: dict[str, int | None] = {}
    for (namespace, experiment, goal, variant), uuids in expected.counted.items():
        keys[f"{namespace}:experiments"] = None
        keys[f"{namespace}:counter_keys"] = None
        keys[f"{namespace}:{experiment}:counter_keys"] = None
        keys[f"{namespace}:exact:{experiment}:{escaped(goal)}:{escaped(variant)}"] = len(uuids)
    return keys


def escaped(name: str) -> str:
    """As docs/redis.md says."""
    return "counter%5Fkeys" if name == "counter_keys" else re.sub("%(?=3A|25)", "%25", name).replace(":", "%3A")


@dataclass
class Input:
    """An event for the handler, or the bytes of a request. `expected` is None where the model knows nothing."""

    shape: str
    event: Any = None
    raw: bytes = b""
    expected: Expected | None = None

    def __str__(self) -> str:
        try:
            return f"{self.shape} {self.raw or self.event!r}"
        except RecursionError:
            return f"{self.shape}, deeply nested"


class Generator:
    """Makes inputs from a seed, the same ones each time."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.number = 0

    def name(self, is_text: bool = False) -> Any:
        """A name, mostly a good one. Over HTTP only text can be sent."""
        kind = self.random.random()
        if kind < 0.9:
            return self.random.choice(NAMES)
        if kind < 0.95 and not is_text:
            return self.random.choice(NUMBERS + NO_TEXT)
        return self.random.choice(BAD_NAMES[: -1 if is_text else None])

    def item(self, is_text: bool = False) -> dict[str, Any]:
        """An event, or nearly one."""
        self.number += 1
        experiment = CLOSED if self.random.random() < 0.2 else self.name(is_text)
        uuid = f"{PLANTED}-{self.random.randrange(3)}" if self.random.random() < 0.97 else self.name(is_text)
        event = "participate" if self.random.random() < 0.4 else self.name(is_text)
        item = {"experiment": experiment, "uuid": uuid, "variant": self.name(is_text), "event": event}
        if self.random.random() < 0.4:
            item["namespace"] = self.random.choice(["", "undefined", "alephbet", "staging", self.name(is_text)])
        if self.random.random() < 0.05:
            item["more"] = self.name(is_text)
        if self.random.random() < 0.05:
            del item[self.random.choice(list(item))]
        return item

    def items(self) -> Any:
        """What the body of a POST holds: an event, a list of events, or something else."""
        kind = self.random.random()
        if kind < 0.5:
            return self.item()
        if kind < 0.95:
            others = [5, None, "x", [], True]
            return [
                self.item() if self.random.random() < 0.95 else self.random.choice(others)
                for _ in range(self.random.randrange(1, 7))
            ]
        return self.random.choice([None, 5, "x", True, 0.5])

    def http(self) -> tuple[str, list[tuple[str, str]], dict[str, str], bytes, Expected]:
        """Method, query, headers and body of a request for /track, and what should come of it."""
        sender, reason = self.random.choice(SENDERS)
        headers = {"x-api-key": API_KEY, **sender}
        kind = self.random.choice(["get", "beacon", "json", "json", "json", "form"])
        if kind in ("get", "beacon"):
            query = list(self.item(is_text=True).items())
            # For a name that is repeated, the last one counts.
            query = self.random.choice([[], query[:1]]) + query
            return ("GET" if kind == "get" else "POST"), query, headers, b"", expect([dict(query)], reason)
        if kind == "form":
            item = self.item(is_text=True)
            headers["content-type"] = "application/x-www-form-urlencoded"
            return "POST", [], headers, urlencode(item).encode(), expect([item], reason)
        found = self.items()
        kinds = ["application/json", "text/plain;charset=UTF-8", "", "application/x-www-form-urlencoded"]
        headers["content-type"] = self.random.choice(kinds[: 4 if isinstance(found, (dict, list)) else 3])
        expected = expect(found if isinstance(found, list) else [found], reason)
        body = json.dumps(found, ensure_ascii=self.random.random() < 0.5)
        with suppress(UnicodeEncodeError):
            return "POST", [], headers, body.encode(), expected
        return "POST", [], headers, json.dumps(found).encode(), expected

    def event(self) -> Input:
        """An event for the handler, in any of its shapes."""
        shape = self.random.choice(["rest", "rest", "http", "http", "queue", "flat"])
        if shape == "queue":
            found = [self.items() for _ in range(self.random.randrange(1, 5))]
            records = [{"messageId": f"m{number}", "body": json.dumps(each)} for number, each in enumerate(found)]
            lists = [each if isinstance(each, list) else [each] for each in found]
            expected = expect([item for each in lists for item in each])
            failed = [f"m{number}" for number, each in enumerate(lists) if expect(each).refused]
            return Input(shape, {"Records": records, "failed": failed}, expected=expected)
        if shape == "flat":
            item = self.item()
            return Input(shape, item, expected=expect([item]))
        method, query, headers, body, expected = self.http()
        is_base64 = bool(body) and self.random.random() < 0.5
        text = base64.b64encode(body).decode() if is_base64 else body.decode()
        event: dict[str, Any] = {"headers": headers, "body": text or None, "isBase64Encoded": is_base64}
        if shape == "rest":
            event |= {"httpMethod": method, "queryStringParameters": dict(query) or None}
        else:
            context = {"http": {"method": method}}
            event |= {"version": "2.0", "rawQueryString": urlencode(query), "requestContext": context}
        return Input(shape, event, expected=expected)

    def damaged(self, event: Any, depth: int = 0) -> Any:
        """The event with something in it replaced by anything, or missing."""
        if isinstance(event, dict) and event and depth < 3 and self.random.random() < 0.95:
            name = self.random.choice(list(event))
            changed = {key: value for key, value in event.items() if key != name}
            return {**changed, name: self.damaged(event[name], depth + 1)} if self.random.random() < 0.9 else changed
        if isinstance(event, str) and event and self.random.random() < 0.7:
            start = self.random.randrange(len(event))
            letters = "".join(chr(self.random.choice([34, 37, 61, 38, 92, 123, 0xD800, 0x1F3AF])) for _ in range(2))
            return event[:start] + self.random.choice(["", letters]) + event[start + self.random.randrange(4) :]
        if isinstance(event, list) and event and self.random.random() < 0.8:
            return [*event[1:], self.damaged(event[0], depth + 1)]
        return self.random.choice([*NUMBERS, *NO_TEXT, *BAD_NAMES, 10**4000, DEEP, {"http": {"method": "GET"}}])

    def request(self) -> Input:
        """The bytes of an HTTP request, some of them damaged."""
        method, query, headers, body, expected = self.http()
        path = "/track" + (f"?{urlencode(query)}" if query else "")
        if self.random.random() < 0.5:
            path = path.replace("+", "%20")
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
        lines += [f"{name.title()}: {value}" for name, value in headers.items() if value]
        if self.random.random() < 0.1 and body:
            lines.append("Transfer-Encoding: chunked")
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:3], body[3:]) if part) + b"0\r\n\r\n"
        elif method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        raw = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
        if self.random.random() < 0.5:
            return Input("bytes", raw=raw, expected=expected)
        for _ in range(self.random.randrange(1, 4)):
            start = self.random.randrange(len(raw))
            some = bytes(self.random.randrange(256) for _ in range(self.random.randrange(3)))
            raw = raw[:start] + some + raw[start + self.random.randrange(4) :]
        return Input("bytes damaged", raw=raw)


@dataclass
class Result:
    """How many inputs of each shape there were, how many were counted, ignored and refused, and what went wrong."""

    inputs: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def check(self, is_right: bool, what: str, about: Input) -> None:
        """Note what is wrong with the answer to this input."""
        if not is_right and len(self.failures) < 20:
            self.failures.append(f"{what}: {about}"[:2000])


class Store:
    """Redis, which is read and emptied after each input."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def take(self) -> dict[str, int | None]:
        """Every key that events make, with the size of each counter; then none is left."""
        with self.client.pipeline(transaction=False) as pipe:
            keys = [key.decode() for key in pipe.keys("*").execute()[0]]
            counters = [key for key in keys if key.split(":")[1:2] == ["exact"] and not key.endswith(":counter_keys")]
            for key in counters:
                pipe.scard(key)
            *sizes, _ = pipe.flushall().execute()
        # The server takes snapshots beside.
        own = {key: None for key in keys if ":" in key and (key.split(":")[1] != "history" or key.endswith("_keys"))}
        return {**own, **dict(zip(counters, sizes))}


def check_answer(result: Result, about: Input, store: Store, status: int, value: Any, ignored: str) -> None:
    """Compare an HTTP answer, and what Redis holds now, with the model."""
    found, expected = store.take(), about.expected
    is_null = status == 200 and value is None
    result.answers["ignored" if is_null and ignored else "null" if is_null else str(status)] += 1
    result.check(status < 500, f"status {status}", about)
    if expected is None:
        result.check(not is_null or bool(ignored) or bool(found), "null, but not counted", about)
        result.check(status == 200 or not found, f"{status}, but counted", about)
        return
    result.check(found == keys_of(expected), f"Redis has {found} instead of {keys_of(expected)}", about)
    result.check(status == expected.status, f"status {status} instead of {expected.status}", about)
    result.check(is_null == expected.is_null, f"answer {value}", about)
    result.check(set(filter(None, ignored.split(", "))) == expected.reasons, f"ignored {ignored!r}", about)
    if isinstance(value, dict) and "refused" in value:
        result.check(value["counted"] == expected.accepted, f"counted {value['counted']}", about)
        result.check([each["item"] for each in value["refused"]] == expected.refused, f"refused {value}", about)


def call(result: Result, about: Input, store: Store) -> str:
    """Give an event to the handler, compare, and return the text of the answer."""
    try:
        answer = gimel.track(about.event)
    except BadRequest as error:
        # Without the fields that make it HTTP or a queue's, an event is a flat one.
        result.check(about.shape == "flat" or about.expected is None, f"BadRequest {error}", about)
        result.check(about.expected is None or not about.expected.is_null, "refused", about)
        result.check(not store.take(), "refused, but counted", about)
        result.answers["BadRequest"] += 1
        return str(error)
    except Exception as error:
        store.take()
        result.check(False, f"{type(error).__name__} {error}", about)
        return str(error)
    if isinstance(answer, dict) and "statusCode" in answer:
        value = json.loads(answer["body"]) if answer["body"] else ""
        answer["body"].encode()
        check_answer(result, about, store, answer["statusCode"], value, answer["headers"].get("X-Gimel-Ignored", ""))
    elif about.expected is None:
        store.take()
        result.answers["damaged"] += 1
    else:
        found = store.take()
        result.answers["plain"] += 1
        result.check(found == keys_of(about.expected), f"Redis has {found}", about)
        if about.shape == "queue":
            failed = [each["itemIdentifier"] for each in answer["batchItemFailures"]]
            result.check(failed == about.event["failed"], f"failed {failed}", about)
        else:
            result.check(answer is None and about.expected.is_null, f"answer {answer}", about)
    return json.dumps(answer)


def over_handlers(result: Result, count: int, generator: Generator, store: Store) -> None:
    """Give so many events to the handler in this process."""
    for _ in range(count):
        about = generator.event()
        if generator.random.random() < 0.3:
            about = Input(f"{about.shape} damaged", generator.damaged(about.event))
        result.inputs[about.shape] += 1
        text = call(result, about, store)
        result.check(PLANTED not in text, "the answer has an id", about)


def over_http(result: Result, count: int, generator: Generator, store: Store, port: int) -> None:
    """Send so many requests to a server, each over a connection of its own."""
    several: list[Input] = []
    for _ in range(count):
        about = generator.request()
        result.inputs[about.shape] += 1
        if about.expected is None and is_several(about.raw):
            several.append(about)
            continue
        text, status, value, ignored = exchange(result, about, port)
        if status:
            check_answer(result, about, store, status, value, ignored)
        else:
            result.check(about.expected is None, f"no answer: {text!r}", about)
            result.answers["no answer"] += 1
            store.take()
    # The server may still count the first of these when it has answered the next: Redis is no longer looked at.
    for about in several:
        text, status, _, _ = exchange(result, about, port)
        result.answers["several requests"] += 1
        result.check(status < 500, f"status {status}", about)


def exchange(result: Result, about: Input, port: int) -> tuple[bytes, int, Any, str]:
    """What a server answers: all of it, the status (0: nothing), the value, and why it was ignored."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as link, suppress(ConnectionError, TimeoutError):
        link.sendall(about.raw)
        if about.expected is None and not is_whole(about.raw):
            link.shutdown(socket.SHUT_WR)  # or the server waits for the rest
        while not is_whole(received) and (part := link.recv(65536)):
            received += part
    result.check(PLANTED.encode() not in received, "the answer has an id or the key", about)
    head, _, body = received.partition(b"\r\n\r\n")
    found = re.match(rb"HTTP/1\.[01] ([0-9]{3})", head)
    result.check(bool(found) or not received, f"no HTTP: {received!r}", about)
    status = int(found[1]) if found else 0
    if status in (501, 505) and about.expected is None:
        status = 400  # a damaged request may ask for something that no server has to know
    ignored = re.search(rb"(?im)^x-gimel-ignored: (.*?)\r?$", head)
    body = body[: length_of(head)]
    value = json.loads(body) if b"application/json" in head and body else body
    return received, status, value, ignored[1].decode() if ignored else ""


def is_several(raw: bytes) -> bool:
    """Whether a damaged request has bytes after its end, which are another one to the server."""
    head, _, body = raw.partition(b"\r\n\r\n")
    return b"chunked" in head or len(body) > length_of(head)


def is_whole(message: bytes) -> bool:
    """Whether no more bytes are needed for a request or an answer."""
    head, end, body = message.partition(b"\r\n\r\n")
    return bool(end) and len(body) >= length_of(head)


def length_of(head: bytes) -> int:
    """The length of the body, as the head says."""
    found = re.search(rb"(?i)\r\ncontent-length: *([0-9]{1,9})", head)
    return int(found[1]) if found else 0


@contextmanager
def logged() -> Iterator[StringIO]:
    """All that is logged meanwhile, as it would be written."""
    written = StringIO()
    handler = logging.StreamHandler(written)
    logging.getLogger().addHandler(handler)
    try:
        yield written
    finally:
        logging.getLogger().removeHandler(handler)


def main(count: int = COUNT, seed: int = SEED, folder: Path | None = None) -> Result:
    """Try so many inputs."""
    result, started = Result(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="generated-") as scratch:
        home = folder or Path(scratch)
        (home / "redis").mkdir()
        server = RedisServer(home / "redis", "--requirepass", PASSWORD, "--appendonly", "no").start()
        url = server.url.replace("://", f"://:{PASSWORD}@")
        client = redis.Redis.from_url(url)
        (home / "config.json").write_text(json.dumps(SETTINGS))
        rule = bots._known_bots
        try:
            connection.use(config.load(home / "config.json", {"GIMEL_REDIS_URL": url}))
            bots.use(known_bots.rule())
            with logged() as log:
                over_handlers(result, count - count // HTTP_SHARE, Generator(seed), Store(client))
            local = GimelServer("--api-key", API_KEY, home=home, environ={"GIMEL_REDIS_URL": url})
            port = int(local.url.rpartition(":")[2])
            over_http(result, count // HTTP_SHARE, Generator(seed + 1), Store(client), port)
            local.stop()
            nothing = Input("log")
            result.check(PLANTED not in log.getvalue(), f"the log has an id: {log.getvalue()[:500]}", nothing)
            for word in (PLANTED, "Traceback"):
                lines = [line for line in local.lines if word in line]
                result.check(not lines, f"the server's log has {word}: {lines[:3]}", nothing)
        finally:
            connection.use(None)
            bots._known_bots = rule
            server.stop()
    result.seconds = time.monotonic() - started
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.faults.generated", description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    try:
        outcome = main(options.count, options.seed)
    finally:
        kill_processes()
    print(f"{sum(outcome.inputs.values()):,} inputs in {outcome.seconds:,.0f} s: {dict(outcome.inputs)}")
    print(f"answers: {dict(outcome.answers)}")
    print("\n".join(outcome.failures) or "no failure")
    sys.exit(bool(outcome.failures))
