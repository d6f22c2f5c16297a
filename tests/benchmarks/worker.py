"""One program under test, in a process of its own: `python worker.py SUBJECT`, in a folder with its config.json.

Each peer brings a redis-py of its own: it comes first on the path, and none may be imported before. A line of JSON on
stdin is a block of calls; a line of JSON on what was stdout has the seconds of each call, and those of CPU of them all.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "peers"
PATHS = {
    "gimel-1.5.0": [CACHE / "gimel-1.5.0" / "gimel" / "vendor", CACHE / "gimel-1.5.0"],
    "lamed-0.4.3": [CACHE / "lamed-0.4.3" / "lamed" / "vendor", CACHE / "lamed-0.4.3"],
}

HEADERS = {
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-US,en;q=0.5",
    "CloudFront-Forwarded-Proto": "https",
    "CloudFront-Is-Desktop-Viewer": "true",
    "CloudFront-Is-Mobile-Viewer": "false",
    "CloudFront-Is-SmartTV-Viewer": "false",
    "CloudFront-Is-Tablet-Viewer": "false",
    "CloudFront-Viewer-ASN": "64500",
    "CloudFront-Viewer-Country": "NL",
    "Host": "abcdefghij.execute-api.eu-west-1.amazonaws.com",
    "Origin": "https://www.example.com",
    "Referer": "https://www.example.com/",
    "Sec-Fetch-Dest": "empty",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "cross-site",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Via": "2.0 0123456789abcdef0123456789abcdef.cloudfront.net (CloudFront)",
    "X-Amz-Cf-Id": "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghij",
    "X-Amzn-Trace-Id": "Root=1-692bb1e5-0123456789abcdef01234567",
    "X-Forwarded-For": "192.0.2.1, 198.51.100.1",
    "X-Forwarded-Port": "443",
    "X-Forwarded-Proto": "https",
}
"""What a browser and AWS' edge send with an event of another site."""

Call = Callable[..., object]
Block = tuple[Call, list[tuple[Any, ...]]]
"""A function, and the arguments of each call."""


def events(namespace: str, first: int, count: int, experiments: int = 3) -> Iterator[dict[str, str]]:
    """These events of a site whose experiments have two variants: from new visitors, with ids as Alephbet's."""
    for number in range(first, first + count):
        yield {
            "experiment": f"experiment {number % experiments}",
            "uuid": hashlib.sha1(str(number).encode()).hexdigest(),
            "variant": ("blue", "red")[number // experiments % 2],
            "event": ("participate", "buy")[number // (2 * experiments) % 2],
            "namespace": namespace,
        }


def key(event: dict[str, str]) -> str:
    """The counter that an event is counted in, as Gimel 1.x names it."""
    return "{namespace}:counters:{experiment}:{event}:{variant}".format(**event)


class Redis:
    """Floors: what a client of Redis does at least, with nothing around it."""

    def __init__(self) -> None:
        import redis

        settings = json.loads(Path("config.json").read_text())["redis"]
        self.client = redis.Redis(**settings)

    def pfadd(self, order: dict[str, Any]) -> Block:
        return self.client.pfadd, [(key(event), event["uuid"]) for event in events(**order)]

    def pipeline(self, order: dict[str, Any]) -> Block:
        def write(event: dict[str, str], counter: str) -> None:
            namespace, experiment = event["namespace"], event["experiment"]
            pipe = self.client.pipeline(transaction=False)
            pipe.sadd(f"{namespace}:experiments", experiment)
            pipe.sadd(f"{namespace}:counter_keys", counter)
            pipe.sadd(f"{namespace}:{experiment}:counter_keys", counter)
            pipe.pfadd(counter, event["uuid"])
            pipe.execute()

        return write, [(event, key(event)) for event in events(**order)]

    def socket(self, order: dict[str, Any]) -> Block:
        # The connection of redis-py has gone through TLS and the password; a command is a line of it from then on.
        if not hasattr(self, "link"):
            self.link = self.client.connection_pool.get_connection()._sock
        link = self.link

        def exchange(command: bytes) -> None:
            link.sendall(command)
            assert link.recv(64)[:1] == b":"

        def command(*words: bytes) -> bytes:
            return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)

        return exchange, [(command(b"PFADD", key(one).encode(), one["uuid"].encode()),) for one in events(**order)]


class Gimel:
    """This project's handlers. An order may name the form of the events."""

    def __init__(self) -> None:
        import gimel
        from tests.calls import make_rest_event

        self.gimel = gimel
        self.make_rest_event = make_rest_event

    def rest(self, order: dict[str, Any]) -> Block:
        return self._track, [(self.make_rest_event(query=event, headers=HEADERS),) for event in events(**order)]

    def flat(self, order: dict[str, Any]) -> Block:
        return self.gimel.track, [(event, None) for event in events(**order)]

    def lists(self, order: dict[str, Any]) -> Block:
        size = order["size"]
        found = list(events(**{name: value for name, value in order.items() if name != "size"}))
        return self._track, [
            (self.make_rest_event("POST", body=json.dumps(found[start : start + size]), headers=HEADERS),)
            for start in range(0, len(found), size)
        ]

    def storm(self, order: dict[str, Any]) -> dict[str, Any]:
        """Send lists from many threads at once for some seconds, and say how many events were counted."""
        threads, seconds = order.pop("threads"), order.pop("seconds")
        track, requests = self.lists(order)
        rest, sent, end = iter(requests * 1000), [], time.monotonic() + seconds

        def send() -> None:
            while time.monotonic() < end:
                track(*next(rest))
                sent.append(order["size"])

        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(send) for _ in range(threads)]:
                done.result()
        return {"events": sum(sent)}

    def report(self, order: dict[str, Any]) -> Block:
        return self.gimel.all, [(order, None)]

    def new_report(self, order: dict[str, Any]) -> Block:
        """As if each experiment had changed since the last report."""
        from gimel import reports

        def report(order: dict[str, Any]) -> None:
            reports._kept.clear()
            self.gimel.all(order, None)

        return report, [(order,)]

    def counts(self, order: dict[str, Any]) -> Block:
        """What a report reads, without its statistics."""
        from gimel import connection, counters

        def read(namespace: str) -> None:
            client = connection.client()
            names = counters.overview(client, namespace).names
            for batch in counters.batches(client, namespace, names):
                counters.count(client, namespace, batch)

        return read, [(order["namespace"],)]

    def _track(self, event: dict[str, Any]) -> None:
        answer = self.gimel.track(event, None)
        assert (answer["statusCode"], answer["body"]) == (200, "null"), answer


class Peer:
    """The handlers of Gimel 1.5 or Lamed, which take flat events alone."""

    def __init__(self, module: str) -> None:
        self.handlers = getattr(__import__(f"{module}.{module}"), module)

    def flat(self, order: dict[str, Any]) -> Block:
        return self.handlers.track, [(event, None) for event in events(**order)]

    def report(self, order: dict[str, Any]) -> Block:
        return self.handlers.all, [(order, None)]


def run(call: Call, arguments: list[tuple[Any, ...]], seconds: float) -> dict[str, Any]:
    """Make these calls, and time each; three of them at least, but no more after this many seconds."""
    clock, times = time.perf_counter, []
    cpu, end = time.process_time(), clock() + seconds
    for one in arguments:
        start = clock()
        call(*one)
        stop = clock()
        times.append(stop - start)
        if stop > end and len(times) > 2:
            break
    return {"times": times, "cpu": time.process_time() - cpu}


def main() -> None:
    (name,) = sys.argv[1:]
    # The peers print lines for each event.
    answers = os.fdopen(os.dup(1), "w")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    sys.path[0] = str(ROOT)
    sys.path[:0] = map(str, PATHS.get(name, []))
    subject: Any = None
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if subject is None:
                subject = {"redis-py": Redis, "gimel": Gimel}.get(name) or Peer(name.partition("-")[0])
                subject = subject() if isinstance(subject, type) else subject
            seconds, call = order.pop("seconds"), order.pop("call")
            if call == "storm":
                answer = subject.storm({**order, "seconds": seconds})
            else:
                answer = run(*getattr(subject, call)(order), seconds)
        except Exception:
            answer = {"failure": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
