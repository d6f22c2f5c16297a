"""The order of releases, kept in the description of each alias `live`: one call moves the alias and records it."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_RELEASES = 10
"""More than there are versions kept, and few enough for the 256 characters that Lambda allows."""

UNKNOWN = "unknown"


@dataclass(frozen=True)
class History:
    """The releases that were live, the live one first; and the release that a rollback left, if one is in effect."""

    releases: tuple[str, ...] = ()
    rolled_back_from: str | None = None

    @classmethod
    def parse(cls, text: str) -> History:
        """The history that an alias' description records; an empty one if it records none."""
        found = re.fullmatch(r"releases, newest first: (\w+(?: \w+)*)(?:; rolled back from (\w+))?", text)
        return cls(tuple(found[1].split()), found[2]) if found else cls()

    def __str__(self) -> str:
        mark = f"; rolled back from {self.rolled_back_from}" if self.rolled_back_from else ""
        return f"releases, newest first: {' '.join(self.releases)}{mark}"

    def deployed(self, release: str) -> History:
        """After a deploy, which ends a rollback."""
        before = self.releases[1:] if self.releases[:1] == (release,) else self.releases
        return History((release, *before)[:MAX_RELEASES])

    def rolled_back_to(self, release: str) -> History:
        """After a rollback, which forgets what came after that release. Back at what it left, none is in effect."""
        left = self.rolled_back_from or next(iter(self.releases), UNKNOWN)
        known = release in self.releases
        releases = self.releases[self.releases.index(release) :] if known else (release, *self.releases)
        return History(releases[:MAX_RELEASES], None if release == left else left)
