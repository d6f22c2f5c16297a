"""docs/reliability.md: an introduction, and what the harness measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isinf
from pathlib import Path
from string import Template

from .faults import FAULTS, Fault
from .flood import MOST_MB, Flood
from .trial import FIRST_S, MEDIAN_S, PROCESSES, RECOVERY_S, Outcome
from .world import CONTAINERS, LAMBDA, QUEUED, SERVE

INTRODUCTION = Path(__file__).with_name("introduction.md")
NAMES = {SERVE: "`gimel serve`", LAMBDA: "Lambda", QUEUED: "Lambda with a queue"}

Results = dict[str, list[Outcome] | str]
"""By fault: an outcome for each target, or why it could not be tried."""

HEADER = (
    *("sent to", "events", "answered 200", "of these lost", "doubled", "visitors who left", "of them lost"),
    *("first answer", "median after it", "recovery", "lines logged"),
)


def write(results: Results, flooded: Flood, events: int) -> str:
    """The page."""
    outcomes = [one for found in results.values() if not isinstance(found, str) for one in found]
    text = Template(INTRODUCTION.read_text(encoding="utf-8")).substitute(
        events=f"{events:,}",
        processes=PROCESSES,
        containers=CONTAINERS,
        first=f"{FIRST_S:g}",
        median=f"{1000 * MEDIAN_S:g}",
        recovery=f"{RECOVERY_S:g}",
        faults=len(results),
        **_summary(outcomes),
    )
    sections = [_section(FAULTS[name], found) for name, found in results.items()]
    return "\n\n".join([text.strip(), *sections, _flood(flooded)]) + "\n"


def missed(results: Results) -> list[str]:
    """Every bar that was missed."""
    return [
        each
        for name, found in results.items()
        if not isinstance(found, str)
        for one in found
        for each in one.losses(FAULTS[name]) + one.delays(FAULTS[name])
    ]


def progress(fault: Fault, found: Sequence[Outcome] | str) -> str:
    """What happened, for a terminal."""
    if isinstance(found, str):
        return f"{fault.name}: skipped: {found}"
    return "\n".join([fault.name, *(f"  {'  '.join(_cells(one))}" for one in found)])


def _summary(outcomes: Sequence[Outcome]) -> Mapping[str, str]:
    total = {
        name: sum(getattr(one, name) for one in outcomes)
        for name in ("answered", "lost", "doubled", "lost_by_redis", "events")
    }
    return {f"all_{name}": f"{number:,}" for name, number in total.items()}


def _section(fault: Fault, found: Sequence[Outcome] | str) -> str:
    heading = f"### {fault.title}"
    if isinstance(found, str):
        return f"{heading}\n\nNot tried: {found}."
    parts = [heading, _table(found)]
    misses = [
        each.replace(f"{fault.name}, {one.target}", NAMES[one.target])
        for one in found
        for each in one.losses(fault) + one.delays(fault)
    ]
    if misses:
        parts.append(f"**Bars missed**: {'; '.join(misses)}.")
    by_redis = sum(one.lost_by_redis for one in found)
    if fault.redis_loses_s:
        last_s = f"{fault.redis_loses_s:g}"
        woken = ", or as the old master resumed and did not know yet that it had been replaced" if fault.wakes else ""
        before = f"that it had taken in the last {last_s} s before{woken}"
        parts.append(f"Redis itself lost {by_redis:,} of the events {before}.")
    return "\n\n".join(parts)


def _flood(flooded: Flood) -> str:
    before, after = flooded.before, flooded.after
    closed = after.report == before.report
    opened = before.open_counts.items() <= after.open_counts.items()
    return f"""## A million invented names

A stranger with a script sent {flooded.names:,} events, each with another namespace, experiment, variant or goal, to a
Redis with two real experiments and the default [limits](configuration.md). Redis grew from {before.megabytes:.1f} to
{after.megabytes:.1f} MB (bar: by {MOST_MB} MB).

- The report of the experiment with allowlists of variants and goals {_change(closed)}. It took {after.report_ms:.1f}
  ms, before {before.report_ms:.1f} ms.
- In the experiment without such lists, the counts of the real variants and goals {_change(opened)}. Its report has
  {len(after.open_counts) - len(before.open_counts):,} more rows, of invented names."""


def _change(is_same: bool) -> str:
    return "did not change" if is_same else "**changed**"


def _table(found: Sequence[Outcome]) -> str:
    rows = [HEADER, ["---"] * len(HEADER), *map(_cells, found)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cells(one: Outcome) -> list[str]:
    counts = one.events, one.answered, one.lost, one.doubled, one.leavers, one.leavers_lost
    times = one.first_s, one.median_s, one.recovery_s
    return [NAMES[one.target], *(f"{count:,}" for count in counts), *map(_time, times), f"{one.log_lines:,}"]


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if isinf(seconds):
        return "never"
    if seconds < 0.0005:
        return "< 1 ms"
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
