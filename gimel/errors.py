"""What can go wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence


class GimelError(Exception):
    """Base class of every error that Gimel raises on purpose. `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class BadRequest(GimelError):
    """The caller's mistake. `problems` lists everything that is wrong, not just the first problem."""

    def __init__(self, problems: Sequence[str], hint: str = "") -> None:
        super().__init__("; ".join(problems), hint)
        self.problems = list(problems)


class Forbidden(GimelError):
    """The caller may not do this."""


class StoreUnavailable(GimelError):
    """Redis cannot store or return counts now. The same request may succeed later."""


class TooLarge(GimelError):
    """The answer is larger than a gateway can carry."""


class ConfigError(GimelError):
    """The configuration is missing or invalid; nothing was started or changed."""
