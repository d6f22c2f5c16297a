"""What the history of an experiment tells: since when, until when and how fast visitors come, and what changed."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from math import log, sqrt
from operator import attrgetter, gt
from typing import Any

from gimel.events import PARTICIPATE
from gimel.histories import DAY, HOUR, SPLIT, Change, History, as_moment, as_text, until
from gimel.hyperloglog import NOTHING, Count
from gimel.plans import Ended

from .wording import named, on_date

Counts = Mapping[str, Mapping[str, Count]]

RATE_DAYS = 7
"""Visitors per day are the average of so many full days (UTC), or of those that there are."""

SHOWN_DAYS = 28

WEEK = 7
"""In days."""

SILENT = re.compile("no events for [0-9]+ days?")
"""The note that tells it. Others may begin like this: with the name of a variant, which anybody can make up."""

MISSED = 10
"""No events for a day are worth a note if at least so many were to be expected in that time."""

QUIET_DAYS = 3
"""So many days without any event are worth a note wherever there have been MISSED events at all."""

FALL = 0.5
"""Visitors per day have fallen if so large a share of them, or less, is left, ..."""

FALL_OF_USUAL = 0.65
"""... of the same weekday, and so large a share of an average day, which weekends lower, ..."""

BEYOND_CHANCE = 4.0
"""... and by so many standard errors."""

OWN_NOISE, FEW_DAYS = 0.2, 2
"""A day's visitors differ by so large a share from the usual ones, as long as there are few days to tell it from; this
counts for so many of them."""

DECIDED = ("winner", "loser", "no_difference", "worse", "mixed")
"""The states of verdicts that a whole week should confirm."""

WEEKEND = 2
"""In days. Before the same weekday of an earlier week is known, a fall is one if it lasts longer than this."""

CHANGED = 3.0
"""An experiment is said to have been right before a moment if that is e ** CHANGED times as likely as that it never
was."""


@dataclass(frozen=True, slots=True)
class Past:
    """What the history tells of one experiment; None and empty where it does not.

    `first_seen` and `last_seen` are the moments of the first and the last event, to the hour. `by_day` has the visitors
    of each variant on the last SHOWN_DAYS days (UTC) and the two weeks before, by the day's first moment; the last of
    them is today, so far. `silent_for` are the full days without any event, 0 if that is nothing worth a note; `noise`
    is the variance of a day's visitors for each of them. `history` ends with the counts of `now`.
    """

    first_seen: int | None = None
    last_seen: int | None = None
    now: int = 0
    by_day: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    silent_for: int = 0
    noise: float = 1.0
    history: History = field(default_factory=History)

    @classmethod
    def of(cls, history: History | None, counts: Counts, now: int | None, labels: Collection[str]) -> Past:
        """What this history tells, with the counts of now, of the variants with these labels."""
        if now is None:
            return cls()
        history = until(history or History(), counts, now)
        moments, every = history.moments, [one for found in history.counts.values() for one in found.values()]
        at_each = list(zip(*every))
        first = next((one for one, found in enumerate(at_each) if any(found)), 0)
        last = next((one for one in range(len(at_each) - 1, 0, -1) if any(map(gt, at_each[one], at_each[one - 1]))), 0)
        quiet = now - moments[last]
        start = max(moments[last] - WEEK * DAY, moments[max(0, first - 1)])
        came = sum(values[last] - value_at(moments, values, start) for values in every)
        missed = came / (moments[last] - start) * quiet if last else 0.0
        had_some = bool(at_each) and sum(at_each[last]) >= MISSED
        is_silent = had_some and (missed >= MISSED or quiet >= QUIET_DAYS * DAY)
        visitors = {label: values for label, values in history.counts.get(PARTICIPATE, {}).items() if label in labels}
        errors = [counts.get(PARTICIPATE, {}).get(label, NOTHING) for label in visitors]
        in_all = sum(count.value for count in errors)
        return cls(
            moments[first] // HOUR * HOUR if first else None,
            moments[last] // HOUR * HOUR if last else None,
            now,
            _by_day(moments, visitors, now),
            quiet // DAY if is_silent else 0,
            # The error of a counter grows with its square, so that of what it grew by with twice its value.
            1 + 2 * sum((count.value * count.error) ** 2 for count in errors) / in_all if in_all else 1.0,
            history,
        )

    @property
    def days(self) -> float | None:
        """How many days ago the first event came, to the hour."""
        return None if self.first_seen is None else (self.now // HOUR * HOUR - self.first_seen) / DAY

    @property
    def full_days(self) -> dict[int, Mapping[str, float]]:
        """Those of `by_day` that the history has from their first moment to their last."""
        began = self.history.moments[0] if self.first_seen is None and self.history.moments else self.first_seen or 0
        return {day: found for day, found in self.by_day.items() if day >= began and day + DAY <= self.now}

    @property
    def visitors_per_day(self) -> dict[str, float]:
        """The average of the last RATE_DAYS full days, by variant; empty before there is one."""
        full = list(self.full_days.values())[-RATE_DAYS:]
        return {label: sum(found[label] for found in full) / len(full) for label in full[0]} if full else {}

    @property
    def moments(self) -> set[int]:
        """Those of the history, before now, from which `visitors_per_day` and `last_seen` are known."""
        moments, days = self.history.moments, [*self.full_days][-RATE_DAYS:]
        places = {bisect_left(moments, bound) for bound in (days[0], days[-1] + DAY)} if days else set()
        last = {moment for moment in moments[:-1] if moment // HOUR * HOUR == self.last_seen}
        return last | {moments[place - back] for place in places for back in (0, 1)}

    @property
    def per_day(self) -> float:
        """Visitors per day in all; 0 if that is unknown, or if no one comes any more."""
        return 0.0 if self.silent_for else sum(self.visitors_per_day.values())

    def days_left(self, visitors: int | None) -> float | None:
        """How many days it takes until so many more have come; None if that is unknown."""
        return visitors / per_day if visitors and (per_day := self.per_day) else None

    def verdict_since(self, goal: str | None, state: str) -> dict[str, Any] | None:
        """Since when, to the hour, the verdict on a goal has been this state, and the state that it had before.

        None without recorded verdicts, and of one that is older than the history. One that differs from the last that
        was recorded has changed since then.
        """
        at, before = self._since(goal, state)
        is_older = before is None and self.first_seen is None and self.history.moments[:1] == (at,) != (self.now,)
        return {"at": as_text(at // HOUR * HOUR), "before": before} if self.history.changes and not is_older else None

    def split_since(self, shares: Mapping[str, float]) -> int | None:
        """Since when the visitors have not been split by these shares, to the hour, or where the history has but one
        point a day to the day: that is, its first moment. None if it is older than the history.

        It is the moment from which on shares of their own fit the visitors best (maximum likelihood), with those of
        `shares` before it; `first_seen` unless that is e ** CHANGED times as likely. What a snapshot recorded of it
        stands, as that still knew the hour.
        """
        moments, nobody = self.history.moments, (0,) * len(self.history.moments)
        if len(moments) < 2:
            return self.first_seen
        found = self.history.counts.get(PARTICIPATE, {})
        likelihood, after = [0.0] * len(moments), [0] * len(moments)
        for label, share in shares.items():
            values, of_share = found.get(label, nobody), log(share)
            for one, value in enumerate(values):
                likelihood[one] += value * of_share
                if (came := values[-1] - value) > 0:
                    after[one] += came
                    likelihood[one] += came * log(came)
        likelihood = [known - (came * log(came) if came else 0.0) for known, came in zip(likelihood, after)]
        everyone = [found.get(label, nobody)[-1] for label in shares]
        always = sum(one * log(one / sum(everyone)) for one in everyone if one)
        best = max(range(len(moments)), key=lambda one: likelihood[one])
        is_old = likelihood[best] < always + CHANGED
        if is_old and self.first_seen is None:
            return None
        if (recorded := self._changes(SPLIT)) and recorded[-1].state == "mismatch":
            return min(recorded[-1].at, self.now) // HOUR * HOUR
        if is_old:
            return self.first_seen
        if moments[best + 1] - moments[best] <= 2 * HOUR:
            return moments[best] // HOUR * HOUR
        one = max((one for one in (best - 1, best) if one >= 0), key=partial(self._breaks, shares))
        return (moments[one] + moments[one + 1]) // 2 // DAY * DAY

    def _breaks(self, shares: Mapping[str, float], one: int) -> float:
        """How likely it is that the split was right until halfway between a point of the history and the next
        (log-likelihood)."""
        found, nobody = self.history.counts.get(PARTICIPATE, {}), (0,) * len(self.history.moments)
        values = [found.get(label, nobody) for label in shares]
        after = [max(0.5, each[-1] - each[one]) for each in values]
        return sum(
            each[one] * log(share)
            + (each[one + 1] - each[one]) * log((share + own / sum(after)) / 2)
            + (each[-1] - each[one + 1]) * log(own / sum(after))
            for each, share, own in zip(values, shares.values(), after)
        )

    def fall(self) -> tuple[int, float] | None:
        """The day on which visitors per day last fell to FALL of what they were, or less, and the share that is left.

        Only a fall beyond chance (that of visitors and of counters) from which they have not recovered since. It is one
        against the seven days before and against the same weekday of the week before, so that a weekend is none; as
        long as there is no such weekday, a fall must last longer than a weekend. None if there is none.

        Of 2,700 simulated series of 60 days (30 to 3,000 visitors a day, 5 to 100 % of them on weekends, up to 20 % of
        noise beyond chance) 11 had a false one on any day; of 900 with 30 % of noise 67. A true fall by 60 % from 1,000
        visitors a day is found the next day, with 20 % of noise mostly on the second or third.
        """
        full = self.full_days
        days, values = list(full), [sum(found.values()) for found in full.values()]
        start, found = 0, None
        for one in range(max(WEEKEND + 1, len(values) - SHOWN_DAYS - WEEK + 1), len(values)):
            is_known = one >= start + WEEK
            if one - start <= WEEKEND or (is_known and values[one] > FALL * values[one - WEEK]):
                continue
            before = values[max(start, one - WEEK) : one]
            usual = sum(before) / len(before)
            refs = before if is_known else [usual] * WEEK
            since, latest = values[one : one + WEEK], values[max(one, len(values) - WEEKEND) :]
            if values[one] > FALL_OF_USUAL * usual:
                continue
            if not is_known and (len(since) <= WEEKEND or max(since[: WEEKEND + 1]) > FALL * usual):
                continue
            expected = sum(refs[: len(since)])
            of_latest = sum(refs[(place - one) % WEEK] for place in range(len(values) - len(latest), len(values)))
            if sum(since) > FALL * expected or sum(latest) > FALL * of_latest:
                continue
            own = self._own_noise(values[start:one])
            variance = self.noise * (sum(since) + expected) + own / 2 * sum((a + b) ** 2 for a, b in zip(since, refs))
            if expected - sum(since) > BEYOND_CHANCE * sqrt(variance):
                start, found = one, (days[one], sum(since) / expected)
        return found if found and found[0] > self.now - (SHOWN_DAYS + 1) * DAY else None

    def notes(self, states: Mapping[str | None, str], split_since: int | None, ended: Ended | None) -> Iterator[str]:
        """Sentences about what the history shows, given the states of the verdicts on each goal and, by None, on the
        experiment, since when the split has been wrong, and how the plan ended."""
        if split_since is not None:
            from_start = self.first_seen is not None and split_since <= self.first_seen
            when = "from the beginning" if from_start else f"since {on_date(split_since, self.now)}"
            yield f"the split has been wrong {when}"
        if early := self._early(states, ended):
            yield early
        if ended:
            return  # no more visitors are needed, so that an end of them is none to look into
        if self.silent_for:
            yield f"no events for {self.silent_for} day{'s' * (self.silent_for > 1)}"
        elif fall := self.fall():
            day, left = fall
            yield f"visitors per day fell by {round(100 * (1 - left))} % on {on_date(day, self.now)}"

    def _early(self, states: Mapping[str | None, str], ended: Ended | None) -> str | None:
        """A note if a verdict was decided before a whole week was counted, and has not been confirmed by one since."""
        decided = [goal for goal in (None, *states) if states[goal] in DECIDED]
        end = as_moment(ended.at) if ended else self.now
        if self.first_seen is None or not decided or end - self.first_seen >= WEEK * DAY:
            return None
        at = end if ended else self._since(decided[0], states[decided[0]])[0]
        day = (max(at, self.first_seen) - self.first_seen) // DAY + 1
        what = f"{named(decided[0])}: " if decided[0] is not None else ""
        advice = "plan for whole weeks" if ended else "let it run for whole weeks"
        return f"{what}decided on day {day}: weekdays and weekends may differ, so {advice}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "first_seen": None if self.first_seen is None else as_text(self.first_seen),
            "last_seen": None if self.last_seen is None else as_text(self.last_seen),
            "days": self.days,
            "visitors_per_day": self.visitors_per_day,
            "visitors_by_day": [
                {"day": as_text(day)[:10], "visitors": round(sum(found.values()))}
                for day, found in [*self.by_day.items()][-SHOWN_DAYS:]
            ],
        }

    def _own_noise(self, values: Sequence[float]) -> float:
        """The square of how much a day's visitors differ from the usual ones of its weekday, beyond counting them: as
        these values do, and, as far as there are few of them, as OWN_NOISE."""
        pairs = list(zip(values, values[WEEK:]))
        squares = sum((a + b) ** 2 for a, b in pairs)
        beyond = 2 * sum((a - b) ** 2 - self.noise * (a + b) for a, b in pairs)
        found = max(0.0, beyond / squares) if squares else 0.0
        return (FEW_DAYS * OWN_NOISE**2 + len(pairs) * found) / (FEW_DAYS + len(pairs))

    def _since(self, goal: str | None, state: str) -> tuple[int, str | None]:
        found = [*self._changes(goal), Change(self.now, goal, state)]
        if len(found) > 1 and found[-2].state == state:
            del found[-1]
        return min(found[-1].at, self.now), found[-2].state if len(found) > 1 else None

    def _changes(self, goal: str | None) -> list[Change]:
        """Of the verdict on this goal: the first of those to the same state in a row."""
        own = (change for change in self.history.changes if change.goal == goal)
        return [next(same) for _, same in groupby(own, attrgetter("state"))]


def value_at(moments: Sequence[int], values: Sequence[int], moment: int) -> float:
    """What a counter read at a moment, as if it had grown evenly between those of the history."""
    after = bisect_left(moments, moment)
    if after == 0 or after == len(moments):
        return values[min(after, len(moments) - 1)]
    share = (moment - moments[after - 1]) / (moments[after] - moments[after - 1])
    return values[after - 1] + share * (values[after] - values[after - 1])


def _by_day(moments: Sequence[int], visitors: Mapping[str, Sequence[int]], now: int) -> dict[int, dict[str, float]]:
    """A counter that reads less than before, as after a failover, has had no visitors in that time."""
    today = now // DAY * DAY
    days = [day for day in range(today - (SHOWN_DAYS + 2 * WEEK - 1) * DAY, today + 1, DAY) if day + DAY > moments[0]]
    found: dict[int, dict[str, float]] = {day: {} for day in days}
    for label, values in visitors.items():
        at = [*(value_at(moments, values, day) for day in days), values[-1]]
        for day, before, after in zip(days, at, at[1:]):
            found[day][label] = max(0.0, after - before)
    return found
