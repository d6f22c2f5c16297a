"""Asking Redis so that an outage costs as little as possible: one time limit, one retry, and a circuit breaker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

import redis

from . import deadline, replies
from .errors import StoreUnavailable
from .round_trip import Client, reconnect, timeout_s

T = TypeVar("T")

PAUSE_S = 0.8
"""How long requests fail at once after a failure, before one tries again. With a hung try of 1 s, Redis is found again
within 2 s."""

DEFAULT_TIMEOUT_S = 1.0


def ask(client: Client, question: Callable[[], T], limit_s: float | None = None) -> T:
    """What `question` returns, within the client's timeout or another limit in seconds.

    After a cut connection or a failover it is asked once more, on a new connection, so it must do no harm twice. While
    Redis is down, it is not asked at all. Raises StoreUnavailable.
    """
    try_s = timeout_s(client) or DEFAULT_TIMEOUT_S
    breaker = _breakers.get(client) or _breakers.setdefault(client, Breaker())
    start = breaker.enter(try_s)
    try:
        with deadline.limit(limit_s or try_s):
            try:
                answer = question()
            except redis.RedisError as error:
                if not replies.may_succeed_on_a_new_connection(error):
                    raise
                reconnect(client)
                answer = question()
    except replies.FAILURES as error:
        failure = replies.unavailable(error)
        if replies.is_outage(error):
            breaker.failed(failure, start)
        else:
            breaker.answered()
        raise failure from error
    breaker.answered()
    return answer


class Breaker:
    """Makes requests fail at once while Redis is down, except for one now and then, which tries."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failure: StoreUnavailable | None = None
        self._next_try = 0.0
        self._last_answer = 0.0

    def enter(self, try_s: float) -> float:
        """The time of this request. A try has `try_s` seconds for itself. Raises StoreUnavailable."""
        now = self._clock()
        if self._failure:
            with self._lock:
                if self._failure:
                    if now < self._next_try:
                        raise StoreUnavailable(self._failure.message, self._failure.hint)
                    self._next_try = now + max(try_s, PAUSE_S)
        return now

    def answered(self) -> None:
        """Redis is there."""
        self._last_answer = self._clock()
        if self._failure:
            with self._lock:
                self._failure = None

    def failed(self, failure: StoreUnavailable, start: float) -> None:
        """Redis was down for a request of this time."""
        with self._lock:
            now = self._clock()
            # Others may have found it again in the meantime.
            if self._last_answer <= (start + now) / 2:
                self._failure = StoreUnavailable(failure.message, failure.hint)
                self._next_try = now + PAUSE_S


_breakers: WeakKeyDictionary[Client, Breaker] = WeakKeyDictionary()
