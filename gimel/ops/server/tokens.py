"""The secrets that a page needs to use `gimel dashboard`."""

from __future__ import annotations

import hmac
import secrets
from threading import Lock


class SessionTokens:
    """A token that is valid until the server stops, and a ticket that can be exchanged for it once.

    The browser is started with the ticket in its address, which other users can read in the process list: it must be
    worthless once the page has loaded.
    """

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe()
        self.ticket = secrets.token_urlsafe()
        self._ticket_use = Lock()  # the first use acquires it for good

    def is_valid(self, token: str) -> bool:
        """Whether this is the token."""
        return _equal(token, self.token)

    def exchange(self, secret: str) -> str | None:
        """The token in exchange for itself or, the first time, for the ticket; None for anything else."""
        if self.is_valid(secret) or (_equal(secret, self.ticket) and self._ticket_use.acquire(blocking=False)):
            return self.token
        return None


def _equal(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode("latin-1", "replace"), secret.encode())
