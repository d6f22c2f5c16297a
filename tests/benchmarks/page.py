"""docs/benchmark.md: what was measured, as tables of medians and ratios, and the bars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from .rounds import middle, ratios

INTRODUCTION = Path(__file__).with_name("introduction.md")

NAMES = {
    "socket": "a raw socket: `PFADD`",
    "pfadd": "redis-py: one `pfadd`",
    "pipeline": "redis-py: four commands in one pipeline",
    "gimel rest": "**Gimel 2**, event of a REST API",
    "gimel flat": "**Gimel 2**, flat event",
    "gimel 16": "**Gimel 2**, event of a REST API, precision 16",
    "gimel 1.5": "Gimel 1.5.0",
    "lamed": "Lamed 0.4.3",
    "gimel": "**Gimel 2**",
    "bare": "a handler that does nothing",
    "answer": "the same HTTP server, a bare answer",
    "counts": "**Gimel 2**, precision 1, the reads without the statistics",
    "unchanged": "**Gimel 2**, precision 1, if no count has changed since the last report",
}

SECTIONS = {
    "a": ("Tracking an event", "pfadd", "Columns: what the network adds to each round trip, password, TLS."),
    "b": (
        "Cold start",
        "bare",
        "The real bundle under AWS' runtime client (awslambdaric), from the start of the process to its first answer.",
    ),
    "c": (
        "Reporting all experiments",
        "gimel 1.5",
        "`all`, with 12 counters an experiment (4 events × 3 variants), with the statistics of each made anew where"
        " nothing else is said. More than 200,000 keys were left out (–).",
    ),
    "d": (
        "Lists of events",
        "gimel 1.5",
        "By the CPU time of the process that takes them; Gimel 1.5 takes one a call.",
    ),
    "e": ("`gimel serve`", "pfadd", "`wrk` with as many connections as the column says. The floors use uvicorn, too."),
    "f": (
        "What a million events take of Redis",
        "gimel 1.5",
        "CPU of redis-server for a million events. Its memory is what it held at the end: after 10,500 events one by"
        " one, and after a million in lists.",
    ),
    "g": (
        "Three nodes against one",
        "one node",
        "The masters of a cluster against one plain Redis, at precision 1 where nothing else is said. Two cores cannot"
        " keep three nodes busy. So each redis-server is stopped (SIGSTOP) most of the time: it gets about 1 % of a"
        " core, in turns of 50 ms, one node after the other, as on machines that are so much slower. Two processes"
        " of 4 threads each send lists of 200 events. The last column has no such limit: there, the generator is the"
        " limit, not Redis. *Events a second of the busiest node's CPU* is what Redis could take if each node had a"
        " core of its own, and the generator were no limit.",
    ),
}

UNITS = {
    "seconds": ("µs", 1e6),
    "seconds of CPU": ("ms of CPU", 1e3),
    "50 %, seconds": ("p50, ms", 1e3),
    "99 %, seconds": ("p99, ms", 1e3),
    "bytes": ("KB of Redis", 1 / 1024),
}
BY_SECTION = {("b", "seconds"): ("ms", 1e3), ("c", "seconds"): ("ms", 1e3), ("f", "seconds of CPU"): ("s of CPU", 1)}

# Section, condition, figure, subject, the other, how the bar is meant, its value.
BARS = (
    ("a", "direct", "seconds", "gimel rest", "pfadd", "at most", 1.6, "`track` warm against a bare `pfadd`"),
    ("a", "direct", "seconds", "gimel 1.5", "gimel rest", "at least", 2, "`track` warm, faster than Gimel 1.5"),
    ("a", "direct", "seconds", "gimel 1.5", "gimel flat", "at least", 2, "the same with the flat event that 1.5 takes"),
    ("a", "direct", "seconds", "lamed", "gimel rest", "at least", 6, "`track` warm, faster than Lamed"),
    ("a", "direct", "seconds", "lamed", "gimel flat", "at least", 6, "the same with the flat event that Lamed takes"),
    (
        *("a", "password, + 1 ms", "seconds", "gimel 1.5", "gimel rest", "at least", 2.5),
        "`track`, 1 ms away with a password, faster than Gimel 1.5",
    ),
    (
        *("d", "all", "events a second", "500 a list", "gimel 1.5", "at least", 20),
        "lists of 500, events per second and core against Gimel 1.5",
    ),
    (
        *("c", "200 experiments, + 0 ms", "seconds", "gimel 1.5", "precision 1", "at least", 6),
        "`all` of 200 × 12, faster than Gimel 1.5",
    ),
    (
        *("c", "200 experiments, + 0 ms", "seconds", "gimel 1.5", "unchanged", "at least", 6),
        "the same if no count has changed since the last report",
    ),
    (
        *("c", "200 experiments, + 1 ms", "seconds", "gimel 1.5", "precision 1", "at least", 20),
        "`all` of 200 × 12, 1 ms away, faster than Gimel 1.5",
    ),
    (
        *("c", "200 experiments, + 1 ms", "seconds", "gimel 1.5", "unchanged", "at least", 20),
        "the same if no count has changed since the last report",
    ),
    (
        *("g", "20 experiments", "events a second", "three nodes", "one node", "at least", 2),
        "three nodes, events per second against one",
    ),
    (
        *("g", "20 experiments", "events a second of the busiest node's CPU", "three nodes", "one node", "at least", 2),
        "three nodes, events per second of the busiest node's CPU against one",
    ),
)


WHY = """\
What keeps Gimel from the bars that it misses:

- **Against Gimel 1.5 and Lamed without distance.** Both open a connection for each event, which costs little on one
  machine and much over a network. What is left of Gimel 2's time is Python: sending and receiving, reading the event,
  and finding its counter. An event of a REST API adds its envelope and its answer, about a sixth of the processor time.
- **Reports.** Gimel 1.5 computes no statistics, which are most of a report made anew. They are kept as long as no count
  of the experiment changes. What then remains is reading the counters, in four round trips, and most of that is
  redis-py, which parses reply by reply. Gimel 1.5 takes a few round trips for each experiment, not one for a counter.
- **Three nodes.** A limited node is stopped by a clock, and the single one overshoots its share of CPU by more than the
  three do. The row for the busiest node's CPU does not depend on that."""


def write(results: Mapping[str, Any]) -> str:
    """The page, or a part of it if not every section was measured."""
    run = results.get("run", {})
    parts = [Template(INTRODUCTION.read_text(encoding="utf-8")).safe_substitute(run).strip()] if run else []
    parts += [_bars(results), *(_section(name, results[name]) for name in SECTIONS if name in results)]
    return "\n\n".join(parts) + "\n"


def missed(results: Mapping[str, Any]) -> list[str]:
    """The bars that were measured and missed."""
    return [f"{title}: {text}" for title, text, is_met in _checked(results) if not is_met]


def _checked(results: Mapping[str, Any]) -> Iterable[tuple[str, str, bool]]:
    for section, condition, figure, one, other, kind, bar, title in BARS:
        if condition not in results.get(section, {}):
            continue
        blocks = results[section][condition][figure]
        median = ratios(blocks[one], blocks[other])[0]
        met = median <= bar if kind == "at most" else median >= bar
        yield f"{title}: {kind} {bar:g} ×", _ratio(blocks[one], blocks[other]), met


def _bars(results: Mapping[str, Any]) -> str:
    rows = [
        [title, text if is_met else f"**{text}**", "met" if is_met else "**missed**"]
        for title, text, is_met in _checked(results)
    ]
    return "## The bars\n\n" + _table(["bar", "measured ratio", ""], rows) + f"\n\n{WHY}"


def _section(name: str, found: Mapping[str, Any]) -> str:
    title, base, text = SECTIONS[name]
    parts = [f"## {title}", text]
    for figure in dict.fromkeys(figure for figures in found.values() for figure in figures):
        unit, factor = BY_SECTION.get((name, figure)) or UNITS.get(figure, (figure, 1))
        columns = {condition: figures[figure] for condition, figures in found.items() if figure in figures}
        subjects = dict.fromkeys(subject for blocks in columns.values() for subject in blocks)
        values, times = [], []
        for subject in subjects:
            label = NAMES.get(subject, f"**Gimel 2**, {subject}" if name in "cdf" else subject)
            values.append(
                [
                    label,
                    *(_number(factor * middle(one[subject])) if subject in one else "–" for one in columns.values()),
                ]
            )
            times.append(
                [
                    label,
                    *(
                        _ratio(one[subject], one[base]) if {subject, base} <= one.keys() else "–"
                        for one in columns.values()
                    ),
                ]
            )
        parts += [f"Medians: {unit}.", _table(["", *columns], values)]
        if any(base in one for one in columns.values()):
            parts += [f"As multiples of *{NAMES.get(base, base)}*:", _table(["", *columns], times)]
    return "\n\n".join(parts)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ratio(some: Sequence[float], others: Sequence[float]) -> str:
    median, low, high = ratios(some, others)
    return f"{median:.2f} ({low:.2f}–{high:.2f})"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))
