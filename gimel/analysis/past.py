"""What the history of an experiment tells: since when, until when, and how fast visitors come."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from gimel.events import PARTICIPATE
from gimel.histories import DAY, HOUR, History, as_text, until
from gimel.hyperloglog import Count

Counts = Mapping[str, Mapping[str, Count]]

RATE_DAYS = 7
"""Visitors per day are the average of so many full days (UTC), or of those that there are."""

SHOWN_DAYS = 28


@dataclass(frozen=True, slots=True)
class Past:
    """What the history tells of one experiment; None and empty where it does not.

    `first_seen` and `last_seen` are the moments of the first and the last event, to the hour. `by_day` has the visitors
    of each variant on the last SHOWN_DAYS days (UTC), by the day's first moment; the last of them is today, so far.
    """

    first_seen: int | None = None
    last_seen: int | None = None
    now: int = 0
    by_day: Mapping[int, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, history: History | None, counts: Counts, now: int | None, labels: Collection[str]) -> Past:
        """What this history tells, with the counts of now, of the variants with these labels."""
        if now is None:
            return cls()
        history = until(history or History(), counts, now)
        visitors = history.counts.get(PARTICIPATE, {})
        every = [values for variants in history.counts.values() for values in variants.values()]
        at_each = [sum(values) for values in zip(*every)]
        began = bool(at_each) and at_each[0] == 0 and any(at_each)
        first = next(position for position, value in enumerate(at_each) if value) if began else None
        changed = [one for one in range(1, len(at_each)) if at_each[one] != at_each[one - 1]]
        today = now // DAY * DAY
        days = [today - DAY * back for back in range(SHOWN_DAYS - 1, -1, -1)]
        days = [day for day in days if history.moments and day + DAY > history.moments[0]]
        by_day = {
            day: {
                label: value_at(history.moments, visitors[label], min(day + DAY, now))
                - value_at(history.moments, visitors[label], day)
                for label in labels
                if label in visitors
            }
            for day in days
        }
        return cls(
            history.moments[first] // HOUR * HOUR if first is not None else None,
            history.moments[changed[-1]] // HOUR * HOUR if changed else None,
            now,
            by_day,
        )

    @property
    def days(self) -> float | None:
        """How many days ago the first event came."""
        return None if self.first_seen is None else (self.now - self.first_seen) / DAY

    @property
    def visitors_per_day(self) -> dict[str, float]:
        """The average of the last RATE_DAYS full days, by variant; empty before there is one."""
        began = self.first_seen if self.first_seen is not None else min(self.by_day, default=0)
        full = [found for day, found in self.by_day.items() if day >= began and day + DAY <= self.now][-RATE_DAYS:]
        return {label: sum(found[label] for found in full) / len(full) for label in full[0]} if full else {}

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "first_seen": None if self.first_seen is None else as_text(self.first_seen),
            "last_seen": None if self.last_seen is None else as_text(self.last_seen),
            "days": self.days,
            "visitors_per_day": self.visitors_per_day,
            "visitors_by_day": [
                {"day": as_text(day)[:10], "visitors": round(sum(found.values()))} for day, found in self.by_day.items()
            ],
        }


def value_at(moments: tuple[int, ...], values: tuple[int, ...], moment: int) -> float:
    """What a counter read at a moment, as if it had grown evenly between those of the history."""
    after = bisect_left(moments, moment)
    if after == len(moments):
        return values[-1]
    if moments[after] == moment or after == 0:
        return values[after]
    share = (moment - moments[after - 1]) / (moments[after] - moments[after - 1])
    return values[after - 1] + share * (values[after] - values[after - 1])
