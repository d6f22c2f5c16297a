"""Visitors as Alephbet makes them: each keeps a queue, and sends all of it with every new event."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlencode

from gimel.events import PARTICIPATE, Event

from .proxy import LOOPBACK

EXPERIMENT = "button color"
VARIANTS = "blue", "red"
GOALS = PARTICIPATE, "clicked", "bought"

TIMEOUT_S = 30
PAUSE_S = 0.4, 1.2
"""Between two events of a visitor."""

TOOK = "x-took"
"""In this header, a Lambda container says how long the function took. A visitor may have waited for a container, too;
AWS would have started another."""

STATED = re.compile(rf"\n{TOOK}: ([0-9.]+)".encode())

HEADERS = (
    "Host: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\nAccept: */*\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
)


class Attempt(NamedTuple):
    """An event sent once: when, as time.monotonic() says, how long that took, and the status of the answer, if any.

    `is_final`: the answer is 200 and `null`, after which a client forgets the event.
    """

    uuid: str
    at: float
    took_s: float
    status: int | None
    is_final: bool


@dataclass(frozen=True)
class Crowd:
    """The visitors of one process: they send so many events to the servers, which are named by namespace.

    Every other visitor has one event, sends it once and leaves. The others come back, at times between `next_page_s`,
    until all is sent, for `patience_s` at most.
    """

    name: str
    events: int
    ports: Mapping[str, int]
    starts_at: float
    lasts_s: float
    next_page_s: tuple[float, float]
    patience_s: float


@dataclass(frozen=True)
class Story:
    """What a crowd did."""

    events: list[Event]
    leavers: set[str]
    attempts: list[Attempt]


def play(crowd: Crowd) -> Story:
    """Be these visitors, from the first to the last request."""
    return asyncio.run(_Play(crowd).play())


class _Play:
    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.chance = random.Random(crowd.name)
        self.story = Story([], set(), [])
        self.browsers = {namespace: _Browser(port) for namespace, port in crowd.ports.items()}
        self.ends_at = crowd.starts_at + crowd.lasts_s + crowd.patience_s

    async def play(self) -> Story:
        visitors = []
        while len(self.story.events) < self.crowd.events:
            namespace = list(self.crowd.ports)[len(visitors) // 2 % len(self.crowd.ports)]
            leaves = len(visitors) % 2 == 1
            wanted = 1 if leaves else 2 if len(visitors) % 4 else 3
            events = self._events(namespace, min(wanted, self.crowd.events - len(self.story.events)))
            self.story.events.extend(events)
            if leaves:
                self.story.leavers.add(events[0].uuid)
            starts_at = self.crowd.starts_at + self.chance.uniform(0, self.crowd.lasts_s)
            visitors.append(self._leave(starts_at, events[0]) if leaves else self._stay(starts_at, events))
        await asyncio.gather(*visitors)
        return self.story

    def _events(self, namespace: str, number: int) -> list[Event]:
        variant = self.chance.choice(VARIANTS)
        ids = [str(uuid.UUID(int=self.chance.getrandbits(128), version=4)) for _ in range(number)]
        return [Event(namespace, EXPERIMENT, goal, variant, each) for goal, each in zip(GOALS, ids)]

    async def _leave(self, starts_at: float, event: Event) -> None:
        """Send one event as the page closes, as navigator.sendBeacon does."""
        await asyncio.sleep(starts_at - time.monotonic())
        body = json.dumps(event.as_item())
        head = f"POST /track HTTP/1.1\r\n{HEADERS}Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
        await self._send(event, f"{head}{body}")

    async def _stay(self, starts_at: float, events: list[Event]) -> None:
        await asyncio.sleep(starts_at - time.monotonic())
        queue: dict[str, Event] = {}
        sending = []
        for event in events:
            queue[event.uuid] = event
            sending += [asyncio.ensure_future(self._try(queue, each)) for each in list(queue.values())]
            await asyncio.sleep(self.chance.uniform(*PAUSE_S))
        await asyncio.gather(*sending)
        while queue and time.monotonic() < self.ends_at:
            await asyncio.sleep(self.chance.uniform(*self.crowd.next_page_s))
            await asyncio.gather(*(self._try(queue, each) for each in list(queue.values())))

    async def _try(self, queue: dict[str, Event], event: Event) -> None:
        # Of Alephbet's GimelAdapter: the namespace last, and a space as `+`.
        item = event.as_item()
        query = urlencode({name: item[name] for name in ("experiment", "uuid", "variant", "event", "namespace")})
        if await self._send(event, f"GET /track?{query} HTTP/1.1\r\n{HEADERS}\r\n"):
            queue.pop(event.uuid, None)

    async def _send(self, event: Event, request: str) -> bool:
        at = time.monotonic()
        status, is_final, head = None, False, b""
        try:
            asked = self.browsers[event.namespace].ask(request.encode())
            status, head, body = await asyncio.wait_for(asked, TIMEOUT_S)
            is_final = status == 200 and body == b"null" and b"\r\nx-gimel-ignored:" not in head
        except (OSError, EOFError, asyncio.TimeoutError):
            pass
        took_s = float(stated[1]) if (stated := STATED.search(head)) else time.monotonic() - at
        self.story.attempts.append(Attempt(event.uuid, at, took_s, status, is_final))
        return is_final


class _Browser:
    """Asks one server, over connections that are kept."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, request: bytes) -> tuple[int, bytes, bytes]:
        """Status, head in lowercase and body of the answer. Raises OSError or EOFError if there is none."""
        while True:
            is_kept = bool(self.idle)
            reader, writer = self.idle.pop() if is_kept else await asyncio.open_connection(LOOPBACK, self.port)
            try:
                writer.write(request)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].split()[0])
                body = await reader.readexactly(length)
            except BaseException as error:
                writer.close()
                # The server may have closed a kept connection meanwhile: then browsers try again.
                if is_kept and isinstance(error, (OSError, EOFError)):
                    continue
                raise
            if b"\r\nconnection: close" in head or head.startswith(b"http/1.0"):
                writer.close()
            else:
                self.idle.append((reader, writer))
            return int(head.split()[1]), head, body
