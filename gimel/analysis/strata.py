"""Comparing variants within periods, where their shares of the visitors changed while the rates moved.

Whoever sends 10 % of the visitors to a variant, and 50 % later, has most of its visitors from later, and most of the
control's from before. If the rates were different then, the totals differ without any difference between the variants
(Simpson 1951, JRSS B 13, 238-241).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from math import sqrt
from typing import Any

from gimel.events import PARTICIPATE
from gimel.histories import DAY, HOUR, History, as_text
from gimel.hyperloglog import NOTHING, Count

from .distributions import chi_square_tail, critical_value
from .proportions import Proportion
from .wording import listed, on_day

Counts = Mapping[str, Mapping[str, Count]]

SHARES_ALPHA = 1e-6
"""Shares of two periods differ if chance alone makes them so different less often. So low because every day of an
experiment may begin a period, and because a change that is missed at this level moves no difference by much."""

MOVED_ALPHA = 0.05
"""Rates moved if chance alone makes those of the periods so different less often. So high because comparing within
periods is right in any case, and costs little."""

EXPECTED = 25
"""So many visitors, at least, must be expected in a variant, and in the others, before and after a change of shares."""

WASH_IN = 2 * DAY
"""What comes in so many minutes after a change is left out. Some of it was reached by visitors from before, who were
split otherwise; of visitors who take a day on average, e^-2 of that remains."""

BLURRED = 0.2
"""A period in which a counter's relative error is larger than this is left out: its rates would be too noisy."""


@dataclass(frozen=True, slots=True)
class Strata:
    """The periods of an experiment, each with other shares of the visitors than the one before.

    `bounds` are positions in the `history`: a period is what came after one of them, until the next. -1 is the
    beginning, when nothing was counted. `like` are the counts whose errors those of the history have.
    """

    history: History
    like: Counts
    bounds: tuple[int, ...]

    @classmethod
    def of(cls, history: History, like: Counts, labels: Collection[str]) -> Strata | None:
        """By whole days (UTC), as far as the history has them; None if the shares never changed."""
        days = {(moment - 1) // DAY: position for position, moment in enumerate(history.moments)}  # the last of each
        ends = (-1, *days.values())
        visitors, now = history.counts.get(PARTICIPATE, {}), like.get(PARTICIPATE, {})
        arms = [label for label in labels if label in visitors]
        if len(arms) < 2:
            return None
        # Readings that fall have been corrected: what grew is then taken to have come later.
        readings = [[0, *accumulate((visitors[label][end] for end in ends[1:]), max)] for label in arms]
        errors = [now.get(label, NOTHING).error for label in arms]
        critical = critical_value(SHARES_ALPHA / max(1, len(arms)))
        found = [ends[where] for where in _changes(readings, errors, 0, len(ends) - 1, critical)]
        return cls(history, like, (-1, *found, ends[-1])) if found else None

    @property
    def moments(self) -> set[int]:
        """Those of the history between which the visitors of each period came, all of them and without the WASH_IN."""
        places = {place for part in (self.bounds[1:], *(part for _, part in self._washed_in())) for place in part}
        return {self.history.moments[place] for place in places if place >= 0}

    def until(self, position: int) -> Strata:
        """The same periods, up to this position in the history."""
        return replace(self, bounds=(*(bound for bound in self.bounds if bound < position), position))

    def compare(
        self, goal: str, label: str, control: str, plain: tuple[Proportion, Proportion]
    ) -> tuple[Proportion, Proportion] | None:
        """A variant and the control as if both had had the same visitors from each period; or the `plain` pair, that of
        all visitors, if the rates did not move; None if no period has both.

        With the increments of a period k, the difference is that of Mantel & Haenszel (1959, JNCI 22, 719-748), sum w_k
        (p1k - p0k) / sum w_k with w_k = n1k n0k / (n1k + n0k), and either rate is the average of its p_k with these
        weights. A rate's visitors are those of a sample with the variance that the weights give it, (sum w_k)^2 / sum
        (w_k^2 / n_k), so that 1/n1 + 1/n0 = 1 / sum w_k: times the rate's variance, that is the variance of the score
        for a common log odds ratio, which grows by independent parts as visitors come. So what is right for two plain
        proportions at any number of looks is right for these.

        Where counters err, w_k = 1 / (1/n1k + 1/n0k + (e1k^2 + e0k^2) p / (1 - p)), which gives little weight to a
        period in which they grew by little more than their error; p is the rate of all, e the relative error of a rate
        of the period.
        """
        periods = [(own, against) for _, own, against in self.periods(goal, label, control)]
        clear = [pair for pair in periods if all(one.trials.error <= BLURRED for one in pair)]
        if not clear:
            return None
        if not self._moved(goal, (label, control)):
            return plain
        rate = sum(one.reached for one in plain) / sum(one.trials.value for one in plain)
        odds = rate / (1 - rate) if rate < 1 else 0.0
        weights = [1 / sum(1 / one.trials.value + one.error_squared * odds for one in pair) for pair in clear]
        own, against = ([pair[arm] for pair in clear] for arm in (0, 1))
        return _standardised(own, weights, plain[0]), _standardised(against, weights, plain[1])

    def periods(self, goal: str, label: str, control: str) -> Iterator[tuple[int, Proportion, Proportion]]:
        """The rates of a variant and of the control in the periods in which both have visitors, by their number.

        Without the WASH_IN of each, unless nothing would be left.
        """
        found = [*self._rates(goal, label, control, [*self._washed_in()])]
        yield from found or self._rates(goal, label, control, [*enumerate(pairwise(self.bounds))])

    def _washed_in(self) -> Iterator[tuple[int, tuple[int, int]]]:
        moments = self.history.moments
        for number, (start, end) in enumerate(pairwise(self.bounds)):
            washed = bisect_left(moments, moments[start] + WASH_IN) if start >= 0 else start
            if washed < end:
                yield number, (washed, end)

    def _rates(
        self, goal: str, label: str, control: str, parts: Iterable[tuple[int, tuple[int, int]]]
    ) -> Iterator[tuple[int, Proportion, Proportion]]:
        for number, part in parts:
            own, against = (rate_between(self.history, self.like, goal, one, *part) for one in (label, control))
            if own and against:
                yield number, own, against

    def as_dict(self, goal: str, label: str, control: str, pair: tuple[Proportion, Proportion]) -> dict[str, Any]:
        """The figures of such a pair, and those of its periods, for JSON."""
        own, against = pair
        return {
            "rate": own.rate,
            "control_rate": against.rate,
            "difference": own.rate - against.rate,
            "periods": [
                {
                    "until": as_text(self.history.moments[self.bounds[number + 1]]),
                    "trials": one.trials.value,
                    "rate": one.rate,
                    "control_trials": other.trials.value,
                    "control_rate": other.rate,
                }
                for number, one, other in self.periods(goal, label, control)
            ],
        }

    def notes(self, goals: Mapping[str, Collection[str]]) -> Iterator[str]:
        """What to tell of goals on which these variants are compared within the periods."""
        if not goals:
            return
        days = [on_day(as_text(self.history.moments[bound] + HOUR)) for bound in self.bounds[1:-1]]
        labels = sorted({label for compared in goals.values() for label in compared})
        yield (
            f"the shares of visitors changed on {listed(days)}, and the rates of {listed(sorted(goals))} moved; so"
            f" {listed(labels)} {'is' if len(labels) == 1 else 'are'} compared with the control within each of the"
            f" {len(self.bounds) - 1} periods: these differences are not those of the rates in all"
        )

    def _moved(self, goal: str, labels: Collection[str]) -> bool:
        """Whether the rates of the periods differ by more than chance, within any of these variants."""
        statistic, freedom = 0.0, 0
        for label in labels:
            found = [rate_between(self.history, self.like, goal, label, *part) for part in pairwise(self.bounds)]
            rates = [one for one in found if one]
            visitors = sum(one.trials.value for one in rates)
            rate = sum(one.reached for one in rates) / visitors if visitors else 0.0
            if 0 < rate < 1:
                statistic += sum(
                    (one.rate - rate) ** 2 / (rate * (1 - rate) / one.trials.value + rate * rate * one.error_squared)
                    for one in rates
                )
                freedom += len(rates) - 1
        return freedom > 0 and chi_square_tail(statistic, freedom) < MOVED_ALPHA


def between(history: History, like: Counts, goal: str, label: str, start: int, end: int) -> Count:
    """By how much a counter grew after one position of the history until another, with the error of that.

    What a counter is off by, in visitors, grows by independent steps (as for `planned_interval`), so that between the
    readings m and n its variance grows by (n^2 - m^2) e^2, e being its relative error.
    """
    values = history.counts.get(goal, {}).get(label)
    before, after = (values[start] if start >= 0 else 0, values[end]) if values else (0, 0)
    grown = after - before
    if grown <= 0:
        return NOTHING
    now = like.get(goal, {}).get(label, NOTHING)
    more = sqrt((after + before) / grown)
    return Count(grown, now.error * more, now.settled_error * more)


def rate_between(history: History, like: Counts, goal: str, label: str, start: int, end: int) -> Proportion | None:
    """The rate of what was counted in between; None without visitors."""
    trials = between(history, like, PARTICIPATE, label, start, end)
    return Proportion(between(history, like, goal, label, start, end), trials) if trials.value else None


def _standardised(arm: Sequence[Proportion], weights: Sequence[float], plain: Proportion) -> Proportion:
    everything = sum(weights)
    rate = sum(w * one.rate for w, one in zip(weights, arm)) / everything
    visitors = max(1, round(everything**2 / sum(w * w / one.trials.value for w, one in zip(weights, arm))))
    counting = sum((w * one.rate) ** 2 * one.error_squared for w, one in zip(weights, arm)) / everything**2
    error = sqrt(counting) / rate if rate else 0.0
    return Proportion(Count(round(rate * visitors), error, sqrt(plain.settled_error_squared)), Count(visitors))


def _changes(
    readings: Sequence[Sequence[int]], errors: Sequence[float], first: int, last: int, critical: float
) -> Iterator[int]:
    """The positions between these at which the shares change, in order: that at which one differs most from before to
    after, if by more than chance, and then those before and after it (binary segmentation: Scott & Knott 1974,
    Biometrics 30, 507-512).

    Of each variant, `readings` are the cumulative visitors, `errors` the relative error; the shares of `between`.
    """
    visitors = [sum(each) for each in zip(*readings)]
    squares = [[(one * error) ** 2 for one in arm] for arm, error in zip(readings, errors)]
    every_square = [sum(each) for each in zip(*squares)]
    best, where = critical, None
    for middle in range(first + 1, last):
        parts = ((first, middle), (middle, last))
        before, after = (visitors[end] - visitors[start] for start, end in parts)
        for arm, own_squares in zip(readings, squares):
            share = (arm[last] - arm[first]) / max(1, before + after)
            if min(before, after) * min(share, 1 - share) < EXPECTED:
                continue
            change = (arm[last] - arm[middle]) / after - (arm[middle] - arm[first]) / before
            variance = share * (1 - share) * (1 / before + 1 / after)
            if change * change <= best * best * variance:
                continue  # counting only adds to it
            for start, end in parts:
                own, of_all = own_squares[end] - own_squares[start], every_square[end] - every_square[start]
                variance += ((1 - 2 * share) * own + share * share * of_all) / (visitors[end] - visitors[start]) ** 2
            z = abs(change) / sqrt(variance)
            if z > best:
                best, where = z, middle
    if where is not None:
        yield from _changes(readings, errors, first, where, critical)
        yield where
        yield from _changes(readings, errors, where, last, critical)
