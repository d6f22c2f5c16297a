"""Where events wait while Redis cannot take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .events import Event


class Overflow(Protocol):
    """Keeps events durably, and has them counted once Redis is back."""

    def keep(self, events: Sequence[Event]) -> None:
        """Return once these events are safe. Raises StoreUnavailable if they cannot be kept."""
