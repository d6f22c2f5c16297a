"""What can go wrong, in words that say what to do about it."""

from __future__ import annotations

from collections.abc import Sequence


class GimelError(Exception):
    """Base of every error Gimel raises on purpose. `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class BadRequest(GimelError):
    """The caller's mistake. `problems` lists all that is wrong, not just the first."""

    def __init__(self, problems: Sequence[str], hint: str = "") -> None:
        super().__init__("; ".join(problems), hint)
        self.problems = list(problems)


class StoreUnavailable(GimelError):
    """Redis cannot take or give counts now. The same request may succeed later."""


class ConfigError(GimelError):
    """The configuration is missing or wrong; nothing was started or changed."""
