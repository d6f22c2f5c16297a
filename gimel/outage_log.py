"""Tells the log about an outage: one line a minute and one when it is over, not one for each request."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

from .errors import StoreUnavailable
from .metrics import reasons

log = logging.getLogger("gimel")

PERIOD_S = 60


class OutageLog:
    """Counts the requests that fail, or whose events are kept elsewhere, from one line to the next."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._tally: Counter[str] = Counter()
        self._start: float | None = None
        self._end: float | None = None
        self._may_tell = {"outage": float("-inf"), "end": float("-inf")}

    def failed(self, error: StoreUnavailable) -> None:
        """A request failed."""
        self._add("failed", error)

    def kept(self, error: StoreUnavailable) -> None:
        """The events of a request wait elsewhere."""
        self._add("kept for later", error)

    def counted(self) -> None:
        """Events were counted."""
        if self._start is None:
            return
        with self._lock:
            if self._start is None:
                return
            self._end = self._clock() if self._end is None else self._end  # its line may have to wait
            tally, lasted_s = self._next("end"), self._end - self._start
            if tally is None:
                return
            self._start = self._end = None
        log.warning("events are counted again, after %.0f s (%s)", lasted_s, tally)

    def _add(self, outcome: str, error: StoreUnavailable) -> None:
        with self._lock:
            self._tally[outcome] += 1
            self._start = self._clock() if self._start is None else self._start
            self._end = None
            tally = self._next("outage")
        if tally:
            log.error("%s (%s)", reasons(error), tally)

    def _next(self, line: str) -> str | None:
        """What the next line of this kind has to tell, or None if the last one is less than a minute old."""
        now = self._clock()
        if now < self._may_tell[line]:
            return None
        self._may_tell[line] = now + PERIOD_S
        told = ", ".join(f"{number:,} {outcome}" for outcome, number in self._tally.items())
        self._tally.clear()
        return f"requests since the last line: {told or 'none'}"
