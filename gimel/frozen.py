"""What an experiment had counted when it was stopped, from which all its later reports are made."""

from __future__ import annotations

from dataclasses import dataclass

from .counters import Counts
from .histories import LATEST
from .plans import UNREADABLE, as_lists, of_lists, pack, unpack

VERSION = 1
"""Of the record. One of another version is neither used nor replaced."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """All counts of an experiment, at the moment when it was stopped, in minutes since 1970 (UTC).

    `is_final`: its counters are deleted, as it was archived, so that it cannot start again.
    """

    at: int
    counts: Counts
    is_final: bool = False

    def encode(self) -> bytes:
        """`decode` reads it back."""
        return pack({"version": VERSION, "at": self.at, "final": self.is_final, "counts": as_lists(self.counts)})

    @classmethod
    def decode(cls, record: bytes | None) -> Frozen | None:
        """What `encode` wrote; None for anything else."""
        try:
            found = unpack(record)
            at, is_final = found["at"], found["final"]
            is_possible = type(at) is int and 0 <= at < LATEST and type(is_final) is bool
            own = cls(at, of_lists(found["counts"]), is_final)
            return own if found["version"] == VERSION and is_possible else None
        except UNREADABLE:
            return None
