"""One time limit for everything that a request needs from Redis, however many steps that takes."""

from __future__ import annotations

import concurrent.futures
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

MAX_THREADS = 32
"""How many calls of `within` may hang at the same time."""


class _Thread(threading.local):
    end = math.inf


_here = _Thread()
_free_threads = threading.BoundedSemaphore(MAX_THREADS)


class limit:
    """What this thread does inside ends within this many seconds, or with an outer limit that ends earlier."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._outer = _here.end
        _here.end = min(self._outer, time.monotonic() + self._seconds)

    def __exit__(self, *error: object) -> None:
        _here.end = self._outer


@contextmanager
def apart(seconds: float) -> Iterator[None]:
    """What this thread does inside has this many seconds of its own, and does not count outside."""
    outer, start = _here.end, time.monotonic()
    _here.end = start + seconds
    try:
        yield
    finally:
        _here.end = outer + time.monotonic() - start


def seconds_left() -> float:
    """How much of the limit is left, infinity without one. Raises TimeoutError if nothing is."""
    left = _here.end - time.monotonic()
    if left <= 0:
        raise TimeoutError("time limit exceeded")
    return left


def is_over() -> bool:
    """Whether nothing of the limit is left."""
    return time.monotonic() >= _here.end


def within(seconds: float, work: Callable[[], T]) -> T:
    """What `work` returns or raises. It cannot be interrupted, so a thread that takes longer is left behind.

    Raises TimeoutError, at once if too many threads have been left behind.
    """
    if not _free_threads.acquire(blocking=False):
        raise TimeoutError(f"{MAX_THREADS} threads hang already")
    result: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)
        finally:
            _free_threads.release()

    try:
        threading.Thread(target=run, daemon=True).start()
    except RuntimeError as error:  # the system has no thread left
        _free_threads.release()
        raise TimeoutError(str(error)) from None
    try:
        return result.result(seconds)
    except concurrent.futures.TimeoutError as error:  # before Python 3.11 not the built-in class
        raise TimeoutError(f"no answer within {seconds:.1f} s") from error
