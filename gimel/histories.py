"""The history of an experiment: its counts at moments of the past, and how its verdicts changed."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from itertools import accumulate, pairwise
from operator import sub

from .counters import Counts
from .events import PARTICIPATE
from .hyperloglog import NOTHING, Count
from .plans import BEGAN_AGAIN, LARGEST, TIME, UNREADABLE, pack, participants, unpack

VERSION = 1
"""Of the record. One of another version is neither used nor replaced."""

HOUR, DAY = 60, 24 * 60
"""In minutes."""

LATEST = 2**31
"""Moments are earlier than this one, which is in the year 6053."""

MOMENT_DIGITS = 10
"""A moment of this millennium has fewer: whatever else is in the key of the last snapshot is none."""

HOURLY_FOR = 2 * DAY
"""For so long the first point of each hour is kept, and then the first of each day (UTC)."""

MAX_POINTS, MAX_RECORD_BYTES, MAX_CHANGES = 5_000, 256 * 1024, 500
"""Of one history. The bytes are those of its record, compressed."""

FINAL_CHANGES, DAILY_FOR = 50, 42 * DAY
"""MAX_CHANGES of a history that has ended, and for how long before its end it has a point a day, if there is room: the
days that a report shows and compares."""

SPLIT = ""
"""The goal of a Change that is about the split of the visitors. No goal has this name."""


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

    @property
    def participants(self) -> int:
        """How many took part, in all variants, at the last moment."""
        return sum(values[-1] for values in self.counts.get(PARTICIPATE, {}).values() if values)

    def at(self, position: int, like: Mapping[str, Mapping[str, Count]]) -> Counts:
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
        return pack(record)

    @classmethod
    def decode(cls, record: bytes | None) -> History | None:
        """The history that `encode` wrote; None for anything else."""
        try:
            found = unpack(record)
            moments = tuple(accumulate(found["moments"]))
            counts = {
                goal: {variant: tuple(accumulate(steps)) for variant, steps in variants.items()}
                for goal, variants in found["counts"].items()
            }
            every = [moments, *(values for variants in counts.values() for values in variants.values())]
            is_possible = (
                found["version"] == VERSION
                and 0 < len(moments) <= MAX_POINTS
                and all(len(values) == len(moments) for values in every)
                and all(type(one) is int and 0 <= one <= LARGEST for values in every for one in values)
                and all(step > 0 for step in found["moments"][1:])
                and moments[-1] < LATEST
                and all(
                    type(at) is int and 0 <= at < LATEST and (goal is None or type(goal) is str)
                    for at, goal, _ in found["changes"]
                )
            )
            changes = tuple(Change(at, goal, str(state)) for at, goal, state in found["changes"])
            return cls(moments, counts, changes) if is_possible else None
        except UNREADABLE:
            return None


def until(history: History, counts: Mapping[str, Mapping[str, Count]], now: int) -> History:
    """The history with the counts of now as its last ones."""
    kept = sum(moment < now for moment in history.moments)
    names = {(goal, label) for each in (history.counts, counts) for goal, found in each.items() for label in found}
    merged: dict[str, dict[str, tuple[int, ...]]] = {}
    for goal, label in sorted(names):
        before = history.counts.get(goal, {}).get(label, (0,) * kept)[:kept]
        found = counts.get(goal, {}).get(label)
        merged.setdefault(goal, {})[label] = (*before, found.value if found else before[-1] if before else 0)
    return History((*history.moments[:kept], now), merged, history.changes)


def append(history: History | None, counts: Counts, now: int, last_run: int | None = None) -> History:
    """The history with the counts of now, if one of them has changed, and without the points that are old enough to go.

    `last_run` is the moment of the last snapshot of all experiments. What it did not add to has had the same counts
    until then, and what has no history has begun since then. An experiment with far fewer participants than before was
    deleted, as by Gimel 1.x, and has begun again.
    """
    if last_run is not None and last_run >= now:
        last_run = None
    if history is None or participants(counts) < BEGAN_AGAIN * history.participants:
        return until(History(() if last_run is None else (last_run,)), counts, now)
    found = until(history, counts, now)
    every = [values for variants in found.counts.values() for values in variants.values()]
    if len(found.moments) == 1:
        return found
    if all(values[-1] == values[-2] for values in every):
        return history
    last = found.moments[-2]
    unchanged: list[int] = []
    if last_run is not None and last_run > last:
        # The ends of days, too, so that each keeps what was counted on it once it has but one point.
        ends = {(last // DAY + 1) * DAY, last_run // DAY * DAY, last_run}
        unchanged = sorted(one for one in ends if last < one <= last_run)
    # Those before the last one again, where nothing has changed.
    places = [*range(len(found.moments) - 1), *[len(found.moments) - 2] * len(unchanged), len(found.moments) - 1]
    found = replace(_points(found, places), moments=(*found.moments[:-1], *unchanged, now))
    found = _points(found, _kept(found.moments, now))
    while len(found.moments) > MAX_POINTS:
        found = _halved(found, HOURLY_FOR, found.moments[-1:])
    return found


def changed(history: History, found: Iterable[Change], most: int = MAX_CHANGES) -> History:
    """The history with those changes whose state is another than the last one of their goal.

    If there are more than `most`, the last one of each goal is kept, and of the others the newest.
    """
    last: dict[str | None, str] = {SPLIT: "ok"}
    last |= {change.goal: change.state for change in history.changes}
    changes = [*history.changes, *(change for change in found if last.get(change.goal) != change.state)]
    if len(changes) > most:
        needed = set({change.goal: place for place, change in enumerate(changes)}.values())
        others = [place for place in range(len(changes)) if place not in needed]
        needed.update(others[max(0, len(changes) - most) :])
        changes = [changes[place] for place in sorted(needed)]
    return replace(history, changes=tuple(changes))


def record(history: History) -> bytes | None:
    """The record of this history, with fewer points if it is too large; None if that is not enough."""
    found = _of_size(history, MAX_RECORD_BYTES, HOURLY_FOR, history.moments[-1:])
    return found if len(found) <= MAX_RECORD_BYTES else None


def final_record(history: History, most_bytes: int, needed: Collection[int] = ()) -> bytes:
    """The record of a history that has ended: with one point a day, and fewer while it has more bytes than these, but
    with those of the `needed` moments. Not even the last one is needed: the frozen counts are its."""
    moments = history.moments
    # Those at either end of a day: visitors are counted by the day, and of the last two days there were hours.
    kept = {*_kept(moments, moments[-1] + HOURLY_FOR + DAY)}
    kept |= {place for place, (one, after) in enumerate(pairwise(moments)) if one // DAY != after // DAY}
    places = [place for place, moment in enumerate(moments) if place in kept or moment in needed]
    return _of_size(changed(_points(history, places), (), FINAL_CHANGES), most_bytes, DAILY_FOR, needed)


def _of_size(history: History, most_bytes: int, whole_for: int, needed: Collection[int]) -> bytes:
    """The record; with fewer points if it is too large, first of those older than these minutes, and at least two."""
    while len(found := history.encode()) > most_bytes and len(history.moments) > 2:
        fewer = _halved(history, whole_for, needed)
        if fewer.moments == history.moments:
            break
        history = fewer
    return found


def last_run(found: bytes | None) -> int | None:
    """The moment of the last snapshot of all experiments, as Redis has it."""
    return int(found) if found and found.isdigit() and len(found) < MOMENT_DIGITS else None


def now() -> int:
    """The present moment."""
    return int(time.time()) // 60


def as_text(moment: int) -> str:
    """A moment as 2026-11-30T10:00:00Z."""
    return f"{datetime.fromtimestamp(60 * moment, timezone.utc):{TIME}}"


def as_moment(text: str) -> int:
    """The moment that `as_text` wrote."""
    return int(datetime.strptime(text, TIME).replace(tzinfo=timezone.utc).timestamp()) // 60


def _kept(moments: Sequence[int], now: int) -> list[int]:
    """Which points are kept: those that begin a day or, of late, an hour, and the last ones before days without any.

    So are the first two, as the experiment may have begun between them, and the newest.
    """
    periods = [one // HOUR * HOUR if one >= now - HOURLY_FOR else one // DAY * DAY for one in moments]
    newest = len(moments) - 1
    return [
        place
        for place, moment in enumerate(moments)
        if place < 2
        or place == newest
        or periods[place] != periods[place - 1]
        or moments[place + 1] >= (moment // DAY + 2) * DAY
    ]


def _halved(history: History, whole_for: int, needed: Collection[int]) -> History:
    """Without every second point of those older than so many minutes or, if there are none, of all."""
    moments = history.moments
    loose = [place for place in range(2, len(moments)) if moments[place] not in needed]
    old = [place for place in loose if moments[place] < moments[-1] - whole_for]
    dropped = {*(old if len(old) > 1 else loose)[::2]}
    return _points(history, [place for place in range(len(moments)) if place not in dropped])


def _points(history: History, places: Sequence[int]) -> History:
    """The history at these of its points."""

    def pick(values: Sequence[int]) -> tuple[int, ...]:
        return tuple(map(values.__getitem__, places))

    counts = {
        goal: {variant: pick(values) for variant, values in found.items()} for goal, found in history.counts.items()
    }
    return History(pick(history.moments), counts, history.changes)


def _errors(count: Count) -> tuple[float, float]:
    return count.error, count.settled_error


def _steps(values: tuple[int, ...]) -> list[int]:
    return [*values[:1], *map(sub, values[1:], values)]
