"""From figures to words: what a person who decides should read, and why.

A winner is declared by an interval that holds no matter how often it is read, because people check every day: the
always-valid one, or that of the experiment's plan. The states are those of `STATES`, in the order in which they deserve
attention; the last two are only those of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import NamedTuple

from .plan import Plan
from .proportions import Interval, Proportion
from .sequential import counting_share
from .wording import USUAL, Digits, about, in_days, listed, named, on_day, per_visitor, percent, points, rounded_up

UNWON = ("no_difference", "inconclusive", "collecting", "leaning", "not_worse", "not_yet_known", "worse")
"""The states of variants without a winner or loser: the last that one of them has is that of the goal."""

STATES = (
    *("do_not_trust", "mixed", "worse", "winner", "loser", "no_difference", "leaning", "inconclusive", "collecting"),
    *("not_yet_known", "not_worse", "per_visitor", "no_data", "not_compared", "control"),
)

FINER = 0.5
COARSER = (2, 5, 10)
"""What to look for when the smallest change that matters has been looked for, or cannot be found: multiples of it."""

ONE_SIDED = 0.75
"""An interval with this much of it on one side of 0 leans towards it."""

MOSTLY = 0.5
"""From this part of an interval's square on, it is the counting error that hides a change."""

ALWAYS = "no matter how often you check"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`state` is for machines; `text` and `reason` are sentences for people; `missing` are the further visitors in all
    that it takes, where they name or imply a number."""

    state: str
    text: str
    reason: str = ""
    missing: int | None = None

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return {"state": self.state, "text": self.text, "reason": self.reason}


class Needed(NamedTuple):
    """How many more visitors a verdict takes: in all as they are split now, of these in the variant with the smallest
    share, and in all if the split were equal."""

    in_all: int
    smallest: int
    equal: int


@dataclass(frozen=True, slots=True)
class Terms:
    """What the verdicts on a goal are judged by.

    `smallest_change` is the relative change that matters, `alpha` the level before the correction for several variants,
    `shares` the part of the visitors that each variant should get. `allowed` is the largest relative change of a
    guardrail; None for any other goal. `per_day` are the present visitors per day in all; 0 if that is unknown.
    """

    smallest_change: float
    alpha: float
    shares: Mapping[str, float]
    plan: Plan | None = None
    allowed: float | None = None
    per_day: float = 0.0


@dataclass(frozen=True, slots=True)
class Pair:
    """A variant and the control, with the counts that the verdict is made from.

    `interval` is the deciding one of the difference and `once` that of a single look, `needed` tells how many visitors
    it takes to detect a relative change, None if no number is enough. `since` is the always-valid interval of all
    counts, after the plan has ended. `digits` are those of the goal.
    """

    label: str
    variant: Proportion
    control_label: str
    control: Proportion
    interval: Interval
    once: Interval
    needed: Callable[[float], Needed | None]
    since: Interval | None = None
    digits: Digits = USUAL


@dataclass(frozen=True, slots=True)
class Comparison:
    """The verdict on a pair; `needed` are the visitors for the smallest change that matters, None if moot."""

    pair: Pair
    verdict: Verdict
    needed: Needed | None = None


CONTROL = Verdict("control", "the control", "the other variants are compared with it")
WRONG_SPLIT = Verdict(
    "do_not_trust", "the visitors are not split as expected", "see the sample ratio mismatch of the experiment"
)


def compare(pair: Pair, terms: Terms) -> Comparison:
    """The verdict on one variant."""
    if terms.allowed is not None:
        return _guard(pair, terms.allowed, terms)
    red, blue = named(pair.label), named(pair.control_label)
    interval, plan, change = pair.interval, terms.plan, terms.smallest_change
    if interval.low > 0:
        return Comparison(pair, Verdict("winner", f"{red} beats {blue}", _gap(pair, plan)))
    if interval.high < 0:
        return Comparison(pair, Verdict("loser", f"{red} loses to {blue}", _gap(pair, plan)))
    largest = _largest_change(pair)
    is_small = largest is not None and largest <= change
    side = _leans(pair)
    if is_small and not side:
        text = f"a difference of more than {rounded_up(largest or 0.0)} is implausible"
        return Comparison(pair, Verdict("no_difference", text, _settled(pair, plan)))
    towards = f"leaning towards {red if side > 0 else blue}"
    if plan and plan.is_over:
        reason = _so_far(pair) + _since(pair, plan, "the plan ended")
        if side:
            reason += "; it takes a new experiment to decide"
            return Comparison(pair, Verdict("leaning", towards, reason))
        return Comparison(pair, Verdict("inconclusive", "the plan has ended without a verdict", reason))
    if is_small and not plan:
        return Comparison(pair, _leaning(towards, pair, terms))
    needed = pair.needed(change)
    so_far = _so_far(pair)
    if pair.variant.reached + pair.control.reached == 0:
        visitors = plan.missing if plan else None
        return Comparison(pair, Verdict("collecting", "no one has reached this goal yet", so_far, visitors))
    if plan:
        noun = "visitor" if plan.missing == 1 else "visitors"
        text = f"about {about(plan.missing)} more {noun} in all{_days(plan.missing, terms, ',')} until the plan ends"
        return Comparison(pair, Verdict("collecting", text, so_far, plan.missing), needed)
    looked_for, missing = change, needed
    if needed is None:
        steps = ((one * change, pair.needed(one * change)) for one in COARSER)
        looked_for, missing = next(((one, found) for one, found in steps if found), (change, None))
    elif not needed.in_all:
        if side:
            return Comparison(pair, _leaning(towards, pair, terms), needed)
        looked_for, missing = FINER * change, pair.needed(FINER * change)
    if missing and missing.in_all:
        text = _to_detect(missing, looked_for, pair, terms)
        return Comparison(pair, Verdict("collecting", text, so_far, missing.in_all), needed)
    if largest is None:
        return Comparison(pair, Verdict("collecting", f"no one has reached this goal in {blue} yet", so_far), needed)
    if needed is None and counting_share(pair.variant, pair.control, terms.alpha) > MOSTLY:
        text = f"counting error hides a change of {_size(change)}"
        reason = f"{so_far}; more visitors will not reveal it, but a new experiment with a higher precision may"
        return Comparison(pair, Verdict("inconclusive", text, reason))
    text = f"too few visitors to rule out a {_size(change)} change"
    return Comparison(pair, Verdict("collecting", text, so_far), needed)


def _guard(pair: Pair, allowed: float, terms: Terms) -> Comparison:
    """Whether a guardrail is kept: the change must not go beyond `allowed`, in its direction."""
    low, high = (pair.interval.low, pair.interval.high) if allowed > 0 else (-pair.interval.high, -pair.interval.low)
    bound, size = abs(allowed) * pair.control.rate, _size(abs(allowed))
    allows = f"a {'rise' if allowed > 0 else 'fall'} of up to {size} is allowed"
    if high < bound:
        reason = _settled(pair, terms.plan)
        if low > 0:
            reason = f"{_gap(pair, terms.plan)}; {allows}"
        return Comparison(pair, Verdict("not_worse", f"not worse by more than {size}", reason))
    if low > 0:
        text = f"{named(pair.label)} is worse than {named(pair.control_label)}"
        return Comparison(pair, Verdict("worse", text, f"{_gap(pair, terms.plan)}; {allows}"))
    needed = None if terms.plan and terms.plan.is_over else pair.needed(abs(allowed))
    reason = _so_far(pair) + _since(pair, terms.plan, "the plan ended")
    missing = terms.plan.missing if terms.plan else needed.in_all if needed else None
    if needed and needed.in_all:
        reason += f"; {_to_detect(needed, abs(allowed), pair, replace(terms, per_day=0.0) if terms.plan else terms)}"
    text = f"not yet known whether it is worse by more than {size}"
    return Comparison(pair, Verdict("not_yet_known", text, reason, missing), needed)


def of_goal(comparisons: Sequence[Comparison]) -> Verdict:
    """One verdict on a goal, from those on its variants: a winner first, then a loser, then what is open."""
    comparisons = [one for one in comparisons if one.verdict.state != "no_data"] or comparisons[:1]
    if len(comparisons) == 1 and comparisons[0].verdict.state != "loser":
        return comparisons[0].verdict
    blue = named(comparisons[0].pair.control_label)
    winners = sorted(_in_state(comparisons, "winner"), key=lambda one: -one.pair.variant.rate)
    losers = _in_state(comparisons, "loser")
    still_open = [one for one in comparisons if one.verdict.state in ("leaning", "collecting")]
    if winners:
        text = f"{_labels(winners)} {'beats' if len(winners) == 1 else 'beat'} {blue}"
        if len(winners) == 1:
            return Verdict("winner", text, winners[0].verdict.reason)
        best = named(winners[0].pair.label)
        reason = f"{best} has the highest rate; whether it beats the other winners is not tested"
        return Verdict("winner", text, reason)
    if losers:
        reason = losers[0].verdict.reason
        if len(losers) > 1:
            reason = f"each of them is worse, {ALWAYS if losers[0].pair.since is None else 'when the plan ended'}"
        if still_open:
            reason += f"; {_labels(still_open)} {'is' if len(still_open) == 1 else 'are'} still open"
        return Verdict("loser", f"{blue}, the control, beats {_labels(losers)}", reason)

    def weight(one: Comparison) -> tuple[float, ...]:
        needed = one.needed.in_all if one.needed else 0
        return UNWON.index(one.verdict.state), needed, _largest_change(one.pair) or 0.0

    decisive = max(comparisons, key=weight)
    text, worse = decisive.verdict.text, _in_state(comparisons, "worse")
    if len(worse) > 1:
        text = f"{_labels(worse)} are worse than {blue}"
    reason = f"{named(decisive.pair.label)} against {blue}: {decisive.verdict.reason}"
    others = [one for one in still_open if one is not decisive]
    if others:
        reason += f"; {_labels(others)} {'is' if len(others) == 1 else 'are'} also still open"
    return Verdict(decisive.verdict.state, text, reason, decisive.verdict.missing)


def of_experiment(
    goals: Mapping[str, Verdict],
    variants: Mapping[str, Mapping[str, str]],
    primary: str | None = None,
    guardrails: Collection[str] = (),
) -> tuple[str | None, Verdict]:
    """What to read first of an experiment: the goal it is about (None: all of them), and the verdict.

    `goals` has each goal's verdict; `variants` the state of each goal by variant. A variant that wins one goal and
    loses another, or breaks a guardrail, makes it `mixed`: whoever reads of the one must read of the other. Otherwise
    a broken guardrail comes first, and then the `primary` goal, if there is one.
    """
    if not goals:
        return None, Verdict("no_data", "no goal has been reached yet")
    split = []
    for label, states in variants.items():
        won, lost, worse = ([goal for goal in states if states[goal] == end] for end in ("winner", "loser", "worse"))
        but = [f"loses {listed(lost)}"] * bool(lost) + [f"is worse on {listed(worse)}"] * bool(worse)
        if won and but:
            split.append(f"{named(label)} wins {listed(won)} but {' and '.join(but)}")
    if split:
        return None, Verdict("mixed", "; ".join(split), "decide which goal matters more")
    judged = {goal: verdict for goal, verdict in goals.items() if goal not in guardrails or verdict.state == "worse"}
    broken = [goal for goal, verdict in judged.items() if verdict.state == "worse"]
    if primary is not None and not broken:
        missing = Verdict("no_data", f"no one has reached the primary goal, {named(primary)}, yet")
        return primary, goals.get(primary, missing)
    if not judged:
        return None, Verdict("no_data", "only guardrails have been reached so far")
    first = min(judged, key=lambda goal: STATES.index(judged[goal].state))
    return first, judged[first]


def not_compared(label: str, configured: bool) -> Verdict:
    """The verdict on an unexpected label."""
    why = "is not among the variants in the settings" if configured else "has far too few visitors for a variant"
    return Verdict("not_compared", "not compared", f"{named(label)} {why}")


def no_control(label: str) -> Verdict:
    """The verdict if the control has no visitors."""
    return Verdict(
        "no_data",
        f"{named(label)}, the control, has no visitors yet",
        "there is nothing to compare the other variants with",
    )


def repeated(rates: Mapping[str, float], configured: bool) -> Verdict:
    """The verdict on a goal that a visitor can reach more than once. `rates` are per visitor, by variant."""
    shown = listed([f"{per_visitor(rate)} times in {named(label)}" for label, rate in rates.items()])
    why = (
        "configured as a goal that a visitor can reach more than once"
        if configured
        else "more successes than visitors: either a visitor can reach this goal more than once, or some participants"
        " were not counted"
    )
    reason = f"{why}; the counts do not show how much visitors differ, so no test is possible"
    return Verdict("per_visitor", shown, reason)


def _leans(pair: Pair) -> int:
    """1 if the difference looks more like one above 0, -1 if like one below, 0 if neither."""
    low, high = pair.interval.low, pair.interval.high
    if pair.once.low > 0 or high > ONE_SIDED * (high - low):
        return 1
    return -1 if pair.once.high < 0 or -low > ONE_SIDED * (high - low) else 0


def _leaning(towards: str, pair: Pair, terms: Terms) -> Verdict:
    """With what it would take to decide a difference of the size that it seems to have."""
    seen = abs(pair.variant.rate / pair.control.rate - 1) if pair.control.rate else 0.0
    needed = pair.needed(seen) if seen else None
    if not needed or not needed.in_all:
        return Verdict("leaning", towards, f"{_so_far(pair)}; not decided yet")
    reason = f"{_so_far(pair)}; if that is the true difference, it takes {_visitors(needed, pair, terms)} to decide"
    return Verdict("leaning", towards, reason, needed.in_all)


def _to_detect(needed: Needed, change: float, pair: Pair, terms: Terms) -> str:
    return f"{_visitors(needed, pair, terms)} to detect a {_size(change)} change"


def _visitors(needed: Needed, pair: Pair, terms: Terms) -> str:
    """Equal variants are told what each needs; of others, how many in all, and in the smallest."""
    digits = 2 if pair.control.reached >= 10 else 1
    if len(set(terms.shares.values())) <= 1:
        each = ceil(needed.in_all / max(1, len(terms.shares)))
        count = about(each, digits)
        noun = "visitor" if count == "1" else "visitors"
        return f"about {count} more {noun} per variant{_days(needed.in_all, terms, ',')}"
    smallest = min(terms.shares, key=lambda label: terms.shares[label])
    return (
        f"about {about(needed.in_all, digits)} more visitors in all, {about(needed.smallest, digits)} of them in"
        f" {named(smallest)} (with an equal split {about(needed.equal, digits)} in all),"
        f"{_days(needed.in_all, terms)}"
    )


def _days(visitors: int, terms: Terms, comma: str = "") -> str:
    return f"{comma} {in_days(visitors / terms.per_day)} at the present rate," if terms.per_day and visitors else ""


def _size(change: float) -> str:
    return f"{100 * change:.3g} %"


def _largest_change(pair: Pair) -> float | None:
    return max(-pair.interval.low, pair.interval.high) / pair.control.rate if pair.control.rate else None


def _gap(pair: Pair, plan: Plan | None) -> str:
    interval = pair.interval
    near, far = (points(end, pair.digits.points) for end in sorted((abs(interval.low), abs(interval.high))))
    return f"{_rates(pair)}: {near} to {far} percentage points {'higher' if interval.low > 0 else 'lower'}" + (
        _since(pair, plan) or f", {ALWAYS}"
    )


def _settled(pair: Pair, plan: Plan | None) -> str:
    ends = "; the difference lies between {} and {} percentage points"
    return _with_ends(pair, ends) + (_since(pair, plan) or f", {ALWAYS}")


def _so_far(pair: Pair) -> str:
    now = " so far" if pair.since is None else ""
    return _with_ends(pair, now + "; the difference may be anything from {} to {} percentage points")


def _with_ends(pair: Pair, phrase: str) -> str:
    variant, control, interval = pair.variant, pair.control, pair.interval
    if interval.high - interval.low >= 2 * max(variant.rate, control.rate):
        return (
            f"{'so far ' if pair.since is None else ''}{variant.successes.value:,} of {variant.trials.value:,} visitors"
            f" against {control.successes.value:,} of {control.trials.value:,}: too few to tell"
        )
    return f"{_rates(pair)}{_ends(interval, pair.digits, phrase)}"


def _rates(pair: Pair) -> str:
    return " against ".join(percent(one.rate, pair.digits.rate) for one in (pair.variant, pair.control))


def _ends(interval: Interval, digits: Digits, phrase: str) -> str:
    return phrase.format(*(points(end, digits.points, signed=True) for end in (interval.low, interval.high)))


def _since(pair: Pair, plan: Plan | None, what: str = "decided") -> str:
    """When the plan ended, and what all counts say since; empty as long as it has not."""
    if pair.since is None or plan is None or plan.ended is None:
        return ""
    when = f"; {what} at {plan.ended_at:,} visitors on {on_day(plan.ended.at)}"
    if plan.came == plan.ended_at:
        return when
    ends = _ends(pair.since, pair.digits, "from {} to {}")
    return f"{when}; since then, at {plan.came:,}, {ends} percentage points, {ALWAYS}"


def _in_state(comparisons: Sequence[Comparison], state: str) -> list[Comparison]:
    return [one for one in comparisons if one.verdict.state == state]


def _labels(comparisons: Sequence[Comparison]) -> str:
    return listed([one.pair.label for one in comparisons])
