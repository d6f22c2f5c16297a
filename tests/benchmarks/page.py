"""docs/benchmark.md: what was measured, as tables of medians and ratios."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .rounds import Blocks, middle, ratios

NAMES = {
    "socket": "a raw socket: `PFADD`",
    "pfadd": "redis-py: one `pfadd`",
    "pipeline": "redis-py: four commands in one pipeline",
    "gimel rest": "**Gimel 2**, event of a REST API",
    "gimel flat": "**Gimel 2**, flat event",
    "gimel 16": "**Gimel 2**, event of a REST API, precision 16",
    "gimel 1.5": "Gimel 1.5.0, flat event",
    "lamed": "Lamed 0.4.3, flat event",
}


def write(results: Mapping[str, Any]) -> str:
    """The page."""
    return "\n\n".join(SECTIONS[section](found) for section, found in results.items()) + "\n"


def tracking(found: Mapping[str, Blocks]) -> str:
    rows = [
        [name, *(f"{1e6 * middle(blocks[subject]):,.0f}" for blocks in found.values())]
        for subject, name in NAMES.items()
    ]
    times = [
        [name, *(_ratio(blocks[subject], blocks["pfadd"]) for blocks in found.values())]
        for subject, name in NAMES.items()
    ]
    return "\n\n".join(
        [
            "## Tracking an event",
            "Microseconds of an event, median:",
            _table(["", *found], rows),
            "As multiples of one bare `pfadd`, with the 10th and 90th percentile of the rounds:",
            _table(["", *found], times),
        ]
    )


def _ratio(some: Sequence[float], others: Sequence[float]) -> str:
    median, low, high = ratios(some, others)
    return f"{median:.2f} ({low:.2f}–{high:.2f})"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))


SECTIONS = {"a": tracking}
