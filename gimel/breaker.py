"""A circuit breaker: what is down is not asked at all, except now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .errors import StoreUnavailable

PAUSE_S = 0.8
"""How long requests fail at once after a failure, before one tries again. With a hung try of 1 s, Redis is found again
within 2 s."""


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
