"""The history of an experiment: its counts at moments of the past, and how its verdicts changed."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import accumulate
from operator import sub

from .counters import Counts
from .hyperloglog import NOTHING, Count

VERSION = 1
"""Of the record. One of another version is neither used nor replaced."""

HOUR, DAY = 60, 24 * 60
"""In minutes."""

MAX_BYTES = 16 * 2**20
"""A record that is larger once unpacked is none of Gimel's."""

TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class Change:
    """At which moment the verdict on a goal became this state; None: that on the whole experiment."""

    at: int
    goal: str | None
    state: str


@dataclass(frozen=True, slots=True)
class History:
    """The counts of one experiment over time.

    `moments` are minutes since 1970 (UTC), in order, each once. `counts` has how many distinct uuids each counter had
    in all at each of them, by goal and variant, with the goal `participate`; 0 before it existed. If all are 0 at the
    first moment, the experiment began after it; otherwise it is older than its history.
    """

    moments: tuple[int, ...] = ()
    counts: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()

    def at(self, position: int, like: Counts) -> Counts:
        """The counts at one of the moments, with the errors of `like`, those of now."""
        return {
            goal: {
                variant: Count(values[position], *_errors(like.get(goal, {}).get(variant, NOTHING)))
                for variant, values in variants.items()
            }
            for goal, variants in self.counts.items()
        }

    def encode(self) -> bytes:
        """`decode` reads it back: differences, which are small, as compressed JSON."""
        record = {
            "version": VERSION,
            "moments": _steps(self.moments),
            "counts": {
                goal: {variant: _steps(values) for variant, values in variants.items()}
                for goal, variants in self.counts.items()
            },
            "changes": [[change.at, change.goal, change.state] for change in self.changes],
        }
        return zlib.compress(json.dumps(record, separators=(",", ":")).encode(), 9)

    @classmethod
    def decode(cls, record: bytes | None) -> History | None:
        """The history that `encode` wrote; None for anything else."""
        try:
            unpacked = zlib.decompressobj()
            found = json.loads(unpacked.decompress(record or b"", MAX_BYTES))
            moments = tuple(accumulate(found["moments"]))
            counts = {
                goal: {variant: tuple(accumulate(steps)) for variant, steps in variants.items()}
                for goal, variants in found["counts"].items()
            }
            every = [moments, *(values for variants in counts.values() for values in variants.values())]
            is_possible = (
                found["version"] == VERSION
                and all(len(values) == len(moments) for values in every)
                and all(type(one) is int and one >= 0 for values in every for one in values)
                and all(step > 0 for step in found["moments"][1:])
            )
            changes = tuple(Change(int(at), goal, str(state)) for at, goal, state in found["changes"])
            return cls(moments, counts, changes) if is_possible else None
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, zlib.error):
            return None


def now() -> int:
    """The present moment."""
    return int(time.time()) // 60


def as_text(moment: int) -> str:
    """A moment as 2026-11-30T10:00:00Z."""
    return f"{datetime.fromtimestamp(60 * moment, timezone.utc):{TIME}}"


def _errors(count: Count) -> tuple[float, float]:
    return count.error, count.settled_error


def _steps(values: tuple[int, ...]) -> list[int]:
    return [*values[:1], *map(sub, values[1:], values)]
