"""Snapshots of the local server: what a schedule does on AWS."""

from __future__ import annotations

import logging
import threading

from gimel import connection, histories, snapshots
from gimel.errors import GimelError
from gimel.histories import HOUR

log = logging.getLogger("gimel")

POLL_S = 5
STOP_TIMEOUT_S = 5


class Hourly:
    """A context manager in which a thread takes a snapshot every hour: at once, if there is none of this hour yet.

    While it fails, it is tried again and again, and the log says so once.
    """

    def __init__(self) -> None:
        self._done: int | None = None
        self._is_failing = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)

    def __enter__(self) -> Hourly:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        self._thread.join(STOP_TIMEOUT_S)

    def take_if_due(self) -> None:
        """Take a snapshot, unless one of this hour is complete, whoever took it."""
        hour = histories.now() // HOUR
        if self._done == hour:
            return
        try:
            last = snapshots.last(connection.client())
            if last is None or last // HOUR != hour:
                snapshots.take()
        except Exception as error:  # whatever it is, this thread must go on
            if not self._is_failing:
                log.warning("cannot take a snapshot: %s", error, exc_info=not isinstance(error, GimelError))
            self._is_failing = True
            return
        if self._is_failing:
            log.warning("snapshots are taken again")
        self._done, self._is_failing = hour, False

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.take_if_due()
            self._stopping.wait(POLL_S)
