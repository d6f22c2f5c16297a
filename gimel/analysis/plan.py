"""A planned experiment: how far it is, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gimel.plans import Ended


@dataclass(frozen=True, slots=True)
class Plan:
    """The planned visitors as configured, in all, and of each variant, and how many have come in all.

    `ended` has the counts from which the verdicts are made once it has ended, `ended_at` their visitors in all.
    """

    visitors: int
    in_all: int
    sizes: Mapping[str, float]
    came: int
    ended: Ended | None = None
    ended_at: int = 0

    @property
    def is_over(self) -> bool:
        """Whether the planned visitors have come."""
        return self.ended is not None or self.came >= self.in_all

    @property
    def missing(self) -> int:
        """How many are still to come; 0 once the plan has ended."""
        return 0 if self.ended else max(0, self.in_all - self.came)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        ended = {"at": self.ended.at, "visitors": self.ended_at} if self.ended else None
        size = {"visitors": self.visitors, "in_all": self.in_all}
        return {**size, "reached": self.came / self.in_all, "missing": self.missing, "ended": ended}
