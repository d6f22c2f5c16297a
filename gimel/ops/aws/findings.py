"""What a check found: shown by preflight, by the self-test after a deploy and by `gimel status`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How serious a finding is, as the mark that commands show before it."""

    GOOD = "[green]ok[/]"
    UNKNOWN = "[blue]?[/] "
    WARNING = "[yellow]![/] "
    ERROR = "[red]x[/] "


@dataclass(frozen=True)
class Finding:
    """The result of one check, and what to do about it."""

    level: Level
    message: str
    hint: str = ""
