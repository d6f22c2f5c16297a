"""Who may use the dashboard of a deployed API: pages that have the token of this start, and nobody else."""

from __future__ import annotations

import hmac
import secrets
from threading import Lock


class Gate:
    """A token that is right for as long as the server runs, and a ticket that stands for it once.

    Other users can read the address that a browser is started with in the list of processes: what stands in it must
    be worthless as soon as the page has come.
    """

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe()
        self.ticket = secrets.token_urlsafe()
        self._is_used = False
        self._lock = Lock()

    def admits(self, token: str) -> bool:
        """Whether this is the token."""
        return _same(token, self.token)

    def enter(self, given: str) -> str | None:
        """The token, to those who have it, and to the first who has the ticket."""
        if self.admits(given):
            return self.token
        if not _same(given, self.ticket):
            return None
        with self._lock:
            was_used, self._is_used = self._is_used, True
        return None if was_used else self.token


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode("latin-1", "replace"), secret.encode())
