"""Tracks events from your own servers: for mails, for pages rendered on a server, and for goals that no page sees.

    gimel = Client("https://example.com/e")
    checkout = gimel.experiment("checkout", ["one page", "three pages"])
    variant = checkout.participate(user_id)
    checkout.complete("order placed", user_id)

It needs the standard library alone, and no other part of Gimel. Ids and variants of a user are those of Alephbet 0.27.
"""

from __future__ import annotations

import atexit
import json
import logging
import math
import os
import random
import re
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha1
from http.client import HTTPException
from itertools import islice
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener
from uuid import UUID, uuid4
from weakref import WeakSet

log = logging.getLogger("gimel.client")

PARTICIPATE = "participate"
MAX_EVENTS, MAX_NAME_LENGTH = 500, 200
"""Of one request, and of each name in it: what Gimel takes."""

FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 60.0
COMPLAIN_EVERY_S = 60

REMEMBER_S, MAX_REMEMBERED = 3600, 10_000
"""For so long, and of so many events at most, it is known that they need not be sent again."""

UserId = str | int | UUID | None
"""An id of a user. None or an empty text is a visitor without one."""

Adapter = Literal["AlephbetAdapter", "GimelAdapter", "LamedAdapter"]
"""The adapter that the pages of an experiment use. Each derives its own ids from the id of a user."""


class _NoRedirects(HTTPRedirectHandler):
    """A redirected POST would become a GET without the events."""

    def redirect_request(self, *answer: Any) -> None:
        return None


_opener = build_opener(_NoRedirects)


class Client:
    """Sends events in the background, several at a time, and again and again until they are counted.

    `track_url` is where pages send events, as in the snippet; `origin` is needed if Gimel has `require_origin`. A
    request is sent `linger_s` seconds after an event, or once there are 500. While they cannot be delivered, at most
    `max_waiting` events wait, and `dropped` is how many found no place or were refused. Raises ValueError for what is
    no web address. Nothing else here raises anything: what goes wrong is in the log `gimel.client`.

    One client is enough for a process and all its threads, and one made before a fork works after it.
    """

    _is_closed: bool

    def __init__(
        self,
        track_url: str,
        namespace: str = "alephbet",
        adapter: Adapter = "AlephbetAdapter",
        *,
        origin: str | None = None,
        max_waiting: int = 10_000,
        linger_s: float = 1.0,
        timeout_s: float = 10.0,
    ) -> None:
        parts = urlsplit(track_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError(f"{track_url!r} is not a web address; use the track URL, such as https://example.com/e")
        self.dropped = 0
        self._url, self._namespace, self._adapter = track_url, namespace, adapter
        self._headers = {"Content-Type": "application/json", "User-Agent": "gimel-client"}
        if origin:
            self._headers["Origin"] = origin
        self._max_waiting, self._linger_s, self._timeout_s = max_waiting, linger_s, timeout_s
        self._complained_s: dict[str, float] = {}
        self._reset()
        _clients.add(self)
        atexit.register(self.close)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def experiment(self, name: str, variants: Sequence[str] | Mapping[str, int]) -> Experiment:
        """An experiment with these variants or, as in {"current": 9, "semantic": 1}, with weights. Raises ValueError.

        Their order counts: keep that of the page.
        """
        weights = dict(variants) if isinstance(variants, Mapping) else None
        names = [*variants]
        if isinstance(variants, str) or not names or len(set(names)) < len(names):
            raise ValueError(f"the variants of {name!r} must be different names in a list")
        if weights and not all(type(weight) is int and weight > 0 for weight in weights.values()):
            # With others, Alephbet would choose some variants too often and others never.
            raise ValueError(f"the weights of {name!r} must be whole numbers above 0")
        return Experiment(self, name, tuple(sorted(names, key=_place_in_object)), weights)

    def track(self, experiment: str, variant: str, event: str, user_id: UserId = None, unique: bool = True) -> None:
        """Count `participate` or a goal: once for each user or, without a `user_id` or if not `unique`, every time."""
        try:
            self._add(experiment, variant, event, user_id, unique)
        except Exception:
            log.exception("an event could not be kept")

    @property
    def waiting(self) -> int:
        """How many events are not delivered yet."""
        return len(self._waiting)

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Send now what is waiting, and wait for that. Returns whether all of it was delivered within this time."""
        with self._changed:
            target, self._is_urgent = self._added, bool(self._waiting)
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._settled >= target, timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Flush, and take no more events. The end of the process does the same."""
        is_flushed = self.flush(timeout_s)
        with self._changed:
            if not self._is_closed and not is_flushed:
                self.dropped += len(self._waiting)
                log.error("%d events are lost, as they could not be delivered", len(self._waiting))
            self._is_closed = True
            self._changed.notify_all()
        atexit.unregister(self.close)

    def _reset(self) -> None:
        """Begin with nothing. After a fork, the events of before are the parent's."""
        self._changed = threading.Condition()
        self._waiting: deque[dict[str, str]] = deque()
        self._added = self._settled = self._failures = 0
        self._is_urgent = self._is_closed = False
        self._thread: threading.Thread | None = None
        self._known: set[tuple[str, ...]] = set()
        self._known_since_s = time.monotonic()

    def _add(self, experiment: str, variant: str, event: str, user_id: UserId, unique: bool) -> None:
        names = {"experiment": experiment, "variant": variant, "event": event, "namespace": self._namespace}
        is_repeatable = unique and user_id not in (None, "")
        uuid = self._uuid(experiment, event, user_id) if is_repeatable else str(uuid4())
        if not all(0 < len(name) <= MAX_NAME_LENGTH for name in names.values()):
            return self._drop(1, f"names must have 1 to {MAX_NAME_LENGTH} characters, unlike in {names}")
        with self._changed:
            if is_repeatable and self._is_known((*names.values(), uuid)):
                return None
            if self._is_closed:
                return self._drop(1, "the client is closed")
            if len(self._waiting) >= self._max_waiting:
                return self._drop(1, f"{self._max_waiting} events are waiting, which is the most that may")
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="gimel-client", daemon=True)
                thread.start()
                self._thread = thread
            self._waiting.append({**names, "uuid": uuid})
            self._added += 1
            if is_repeatable:
                self._known.add((*names.values(), uuid))
            self._changed.notify_all()
        return None

    def _uuid(self, experiment: str, event: str, user_id: UserId) -> str:
        names = (experiment,) if self._adapter == "GimelAdapter" else (experiment, event)
        return _sha1(".".join((self._namespace, *names, str(user_id))))

    def _is_known(self, event: tuple[str, ...]) -> bool:
        now_s = time.monotonic()
        if now_s - self._known_since_s > REMEMBER_S or len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
            self._known_since_s = now_s
        return event in self._known

    def _run(self) -> None:
        pause_s = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                # What is new waits for more to come; what has failed, for its time or for somebody who calls `flush`.
                self._changed.wait_for(self._is_due, pause_s if self._failures else self._linger_s)
                if self._is_closed:
                    return
                batch = list(islice(self._waiting, MAX_EVENTS))
            try:
                pause_s = self._send(batch)
            except Exception:
                log.exception("events could not be sent")
                pause_s = FIRST_RETRY_S
            with self._changed:
                if self._is_closed:
                    return
                if pause_s:
                    longest_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(self._failures, 10))
                    pause_s = max(pause_s, random.uniform(longest_s / 2, longest_s))
                    self._failures += 1
                else:
                    if self._failures:
                        log.warning("events are delivered again")
                    self._failures = 0
                    for _ in batch:
                        self._waiting.popleft()
                    self._settled += len(batch)
                self._is_urgent = self._is_urgent and not self._failures and bool(self._waiting)
                self._changed.notify_all()

    def _is_due(self) -> bool:
        is_full = len(self._waiting) >= MAX_EVENTS and not self._failures
        return is_full or self._is_urgent or self._is_closed

    def _send(self, batch: list[dict[str, str]]) -> float:
        """Send these events once. Returns 0 if that is done, or else after how many seconds to try again."""
        request = Request(self._url, json.dumps(batch).encode(), self._headers)
        reason, retry_s = "", FIRST_RETRY_S
        try:
            with _opener.open(request, timeout=self._timeout_s) as answer:
                found = json.loads(answer.read())
                if reasons := answer.headers.get("X-Gimel-Ignored"):
                    self._complain(f"some events are ignored ({reasons}); see Gimel's docs/http-api.md")
            if found is None:
                return 0
            refused = found["refused"]
            self._drop(len(refused), f"Gimel refuses them: {'; '.join(refused[0]['problems'])}")
            return 0
        except HTTPError as error:
            with error:
                if error.code in (400, 413):  # the same again would be refused again
                    self._drop(len(batch), f"Gimel refuses them: {error.read(1000).decode('utf-8', 'replace')}")
                    return 0
                after = error.headers.get("Retry-After") or ""
                retry_s = min(float(after), LONGEST_RETRY_S) if after.isdecimal() else FIRST_RETRY_S
                reason = f"{error.code} {error.reason}"
        except (OSError, HTTPException) as error:
            reason = str(getattr(error, "reason", error))
        except (ValueError, TypeError, KeyError, IndexError):
            reason = "it answers something else than Gimel does"
        self._complain(f"events cannot be delivered to {self._url} and wait: {reason}")
        return max(retry_s, FIRST_RETRY_S)

    def _drop(self, number: int, reason: str) -> None:
        with self._changed:
            self.dropped += number
        self._complain(f"events are dropped: {reason}")

    def _complain(self, text: str) -> None:
        now_s = time.monotonic()
        if now_s - self._complained_s.get(text, -math.inf) >= COMPLAIN_EVERY_S:
            if len(self._complained_s) >= MAX_EVENTS:
                self._complained_s.clear()
            self._complained_s[text] = now_s
            log.warning("%s", text)


@dataclass(frozen=True)
class Experiment:
    """An experiment of a client. The variant of a user is the one that Alephbet chooses, given the same `user_id`."""

    client: Client
    name: str
    variants: tuple[str, ...]
    weights: Mapping[str, int] | None = None

    def variant(self, user_id: UserId) -> str:
        """The variant of this user, always the same. Without a user, it is the first.

        Alephbet 0.27 makes a number of 13 hexadecimal digits of SHA-1 from `experiment.variant.user`, and cuts the
        range of these numbers into a piece for each variant.
        """
        if user_id in (None, ""):
            return self.variants[0]
        share = int(_sha1(f"{self.name}.variant.{user_id}")[:13], 16) / 0xFFFFFFFFFFFFF
        if not self.weights:
            number = len(self.variants)
            return self.variants[min(int(share / (1 / number)), number - 1)]
        left = math.ceil(share * sum(self.weights.values()))
        for name in self.variants:
            left -= self.weights[name]
            if left <= 0:
                break
        return name

    def participate(self, user_id: UserId) -> str:
        """Count that this user takes part, and return their variant. Nobody is counted without a user."""
        variant = self.variant(user_id)
        if user_id not in (None, ""):
            self.client.track(self.name, variant, PARTICIPATE, user_id)
        return variant

    def complete(self, goal: str, user_id: UserId, unique: bool = True) -> None:
        """Count that this user, who takes part, reached a goal: once or, if it is not `unique`, every time."""
        if user_id not in (None, ""):
            self.client.track(self.name, self.variant(user_id), goal, user_id, unique)


def _sha1(text: str) -> str:
    return sha1(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()


def _place_in_object(name: str) -> tuple[bool, int]:
    """Where JavaScript lists this key of an object: whole numbers first and by size, the rest as written."""
    is_index = re.fullmatch("0|[1-9][0-9]{0,9}", name) and int(name) < 2**32 - 1
    return (False, int(name)) if is_index else (True, 0)


_clients: WeakSet[Client] = WeakSet()


def _after_fork() -> None:
    for client in _clients:
        client._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
