"""Asking Redis so that an outage costs as little as possible: one time limit, one retry, and a circuit breaker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

import redis

from . import deadline, replies
from .breaker import Breaker
from .errors import StoreUnavailable
from .round_trip import Client, reconnect, timeout_s

T = TypeVar("T")


def ask(client: Client, question: Callable[[], T], limit_s: float | None = None) -> T:
    """What `question` returns, within the client's timeout or another limit in seconds.

    After a cut connection or a failover it is asked once more, on a new connection, so it must do no harm twice. While
    Redis is down, it is not asked at all. Raises StoreUnavailable.
    """
    try_s = timeout_s(client)
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
    except StoreUnavailable:
        breaker.answered()  # one node of a cluster is down; it has a breaker of its own
        raise
    except replies.FAILURES as error:
        failure = replies.unavailable(error)
        if replies.is_outage(error):
            breaker.failed(failure, start)
        else:
            breaker.answered()
        raise failure from error
    breaker.answered()
    return answer


_breakers: WeakKeyDictionary[Client, Breaker] = WeakKeyDictionary()
