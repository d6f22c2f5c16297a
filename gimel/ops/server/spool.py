"""Events that Redis did not take: kept in a file of the data folder, and counted when Redis takes events again."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import gimel
from gimel import connection, counters, replies
from gimel.errors import ConfigError, StoreUnavailable
from gimel.events import MAX_EVENTS, Event
from gimel.gateway import Request, to_json
from gimel.outage_log import PERIOD_S

from .folder import open_private

log = logging.getLogger("gimel")

FILE = "spool.sqlite"
PAGE_BYTES = 4096
RETRY_S = 0.5
FILE_RETRY_S = 60
STOP_TIMEOUT_S = 5

ATTEMPTS = 3
"""How often an event may fail by itself, while Redis takes others, before it is set aside."""

# AUTOINCREMENT: no id is used twice. `aside` is the reason why an event cannot be counted.
TABLE = "CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT NOT NULL, aside TEXT)"
INSERT = "INSERT INTO events (item) VALUES (?)"
OLDEST = "SELECT id, item FROM events WHERE aside IS NULL ORDER BY id LIMIT ?"
DELETE = "DELETE FROM events WHERE id = ?"
SET_ASIDE = "UPDATE events SET aside = ? WHERE id = ?"
TRY_AGAIN = "UPDATE events SET aside = NULL WHERE aside IS NOT NULL"
NUMBER = "SELECT count(*) FROM events"

Row = tuple[int, str]


class Spool:
    """An `Overflow` in a SQLite file of at most `limit_mb` MB in this folder; a context manager.

    Once entered, it counts what waits, oldest first, whenever Redis takes events. The folder must be held by this
    process. Raises ConfigError for a file that cannot be used.

    `waiting`: number of events still to be counted; `set_aside`: of those that could not be counted, though Redis
    takes others, and which are tried again at the next start; `is_failing`: whether the last events were not kept.
    """

    def __init__(self, folder: Path, limit_mb: int) -> None:
        self.path = folder / FILE
        self._max_pages = limit_mb * 1024 * 1024 // PAGE_BYTES
        self._writes: list[_Write] = []
        self._writes_lock = threading.Lock()
        self._file_lock = threading.Lock()
        self._file = self._open()
        self.waiting: int = self._file.execute(NUMBER).fetchone()[0]
        self.set_aside = 0
        self.is_failing = False
        self._may_tell_at = self._may_tell_failure_at = float("-inf")
        self._tells_end = self.waiting > 0
        self._batch_size, self._failures = MAX_EVENTS, 0
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._drainer = threading.Thread(target=self._drain, name="spool", daemon=True)

    def __enter__(self) -> Spool:
        self._drainer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        self._wake.set()
        self._drainer.join(STOP_TIMEOUT_S)
        with self._file_lock:
            self._file.close()

    def keep(self, events: Sequence[Event]) -> None:
        """Return once these events are on disk. Raises StoreUnavailable if they cannot be kept."""
        write = _Write([(to_json(event.as_item()),) for event in events])
        with self._writes_lock:
            self._writes.append(write)
        # Whoever comes first writes for all who wait: many requests share one sync of the disk.
        with self._file_lock:
            if not write.is_done:
                self._write_all()
        if write.error:
            raise StoreUnavailable(f"cannot keep events in {self.path}", "retry later") from write.error
        self._wake.set()

    def _open(self) -> sqlite3.Connection:
        try:
            open_private(self.path).close()  # SQLite gives the files beside it the same permissions
            file = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            (state,) = file.execute("PRAGMA quick_check(1)").fetchone()
            if state != "ok":
                raise sqlite3.DatabaseError(state)
            for setting in ("journal_mode=WAL", "synchronous=FULL", f"max_page_count={self._max_pages}"):
                file.execute(f"PRAGMA {setting}")
            file.execute(TABLE)
            file.execute(TRY_AGAIN)
            _sync(self.path.parent)
        except (sqlite3.Error, OSError) as error:
            hint = f"`sqlite3 {self.path} .recover` shows its events; move it away to start without them"
            raise ConfigError(f"cannot read the events kept in {self.path} ({error})", hint) from None
        return file

    def _write_all(self) -> None:
        with self._writes_lock:
            writes, self._writes = self._writes, []
        rows = [row for write in writes for row in write.rows]
        error = None
        try:
            with _transaction(self._file):
                self._file.executemany(INSERT, rows)
        except sqlite3.Error as caught:
            error = caught
            if time.monotonic() >= self._may_tell_failure_at:
                self._may_tell_failure_at = time.monotonic() + PERIOD_S
                log.error("events are refused, because they cannot be kept in %s: %s", self.path, error)
        else:
            # Redis may come and go: once a minute is enough.
            if not self.waiting and time.monotonic() >= self._may_tell_at:
                self._may_tell_at, self._tells_end = time.monotonic() + PERIOD_S, True
                log.warning("events that Redis does not take wait in %s", self.path)
            self.waiting += len(rows)
        self.is_failing = error is not None
        for write in writes:
            write.is_done, write.error = True, error

    def _drain(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                with self._file_lock:
                    rows = self._file.execute(OLDEST, (self._batch_size,)).fetchall()
                if rows:
                    self._count(rows)
                else:
                    self._wake.wait()
            except Exception as error:  # whatever it is, this thread must go on
                log.error("cannot count the events kept in %s: %s", self.path, error)
                self._stopping.wait(FILE_RETRY_S)

    def _count(self, rows: list[Row]) -> None:
        """Count these events and delete them, or leave them for another attempt, perhaps in a smaller batch."""
        try:
            refused = _track(rows)
        except Exception as error:
            if not _redis_takes_events():
                self._failures = 0
                self._stopping.wait(RETRY_S)
                return
            if len(rows) > 1:
                self._batch_size = len(rows) // 2  # one of them is to blame: look for it
                return
            self._failures += 1
            if self._failures < ATTEMPTS:
                self._stopping.wait(RETRY_S)
                return
            refused = {rows[0][0]: replies.describe(error.__cause__ or error)}
        self._finish([row_id for row_id, _ in rows], refused)
        self._batch_size, self._failures = min(2 * self._batch_size, MAX_EVENTS), 0

    def _finish(self, ids: list[int], refused: dict[int, str]) -> None:
        """Delete the events with these ids, and set those aside that were refused, with the reason."""
        for row_id, reason in refused.items():
            log.error("event %d in %s cannot be counted, and is set aside: %s", row_id, self.path, reason)
        with self._file_lock:
            with _transaction(self._file):
                self._file.executemany(DELETE, [(row_id,) for row_id in ids if row_id not in refused])
                self._file.executemany(SET_ASIDE, [(reason, row_id) for row_id, reason in refused.items()])
            self.waiting -= len(ids)
            self.set_aside += len(refused)
            if not self.waiting:
                if self._tells_end:
                    self._tells_end = False
                    log.warning("no events wait in %s any more", self.path)
                with suppress(sqlite3.Error):  # the ids are gone from the disk, too
                    self._file.execute("VACUUM")
                    self._file.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@dataclass
class _Write:
    """Rows to be written, and what became of them."""

    rows: list[tuple[str]]
    is_done: bool = False
    error: sqlite3.Error | None = None


@contextmanager
def _transaction(file: sqlite3.Connection) -> Iterator[None]:
    try:
        file.execute("BEGIN IMMEDIATE")
        yield
        file.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            file.execute("ROLLBACK")
        raise


def _track(rows: list[Row]) -> dict[int, str]:
    """Count these events, and say by id why those were refused that break the rules. Raises StoreUnavailable."""
    items = [json.loads(item) for _, item in rows]
    answer = gimel.track.handle(Request(items=items, is_list=True, from_queue=True))
    refused = cast("dict[str, Any]", answer.value)["refused"] if answer.refused else []
    return {rows[each["item"]][0]: "; ".join(each["problems"]) for each in refused}


def _redis_takes_events() -> bool:
    try:
        counters.check_writable(connection.client(), connection.settings().has_bitmaps)
    except StoreUnavailable:
        return False
    return True


def _sync(folder: Path) -> None:
    """Put the names of new files on disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
