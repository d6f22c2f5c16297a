"""From figures to words: what a person who decides should read, and why.

A winner is declared by the always-valid interval alone, because people check every day. The states, in the order in
which they deserve attention, are those of `STATES`; rows also have `not_compared` and `control`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt

from .proportions import Interval, Proportion
from .sequential import counting_share, visitors_needed
from .wording import about, listed, named, per_visitor, percent, points, rounded_up

STATES = (
    *("do_not_trust", "mixed", "winner", "loser", "no_difference", "collecting", "per_visitor", "no_data"),
    *("not_compared", "control"),
)

TARGET_EFFECT = 0.10
"""The relative change that an experiment is expected to detect, in `visitors_needed` and in the verdicts."""

FINER = 0.05
COARSER = (0.2, 0.5, 1.0)
ALWAYS = "no matter how often you check"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`state` is for machines; `text` and `reason` are sentences for people."""

    state: str
    text: str
    reason: str = ""

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return {"state": self.state, "text": self.text, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A variant against the control: the always-valid interval of the difference, and the verdict.

    `needed` is how many more visitors each of the two needs to detect TARGET_EFFECT; None if that is unknown or moot.
    """

    label: str
    proportion: Proportion
    interval: Interval
    needed: int | None
    verdict: Verdict


CONTROL = Verdict("control", "the control", "the other variants are compared with it")
WRONG_SPLIT = Verdict(
    "do_not_trust", "the visitors are not split as expected", "see the sample ratio mismatch of the experiment"
)


def compare(
    label: str, variant: Proportion, control_label: str, control: Proportion, interval: Interval, alpha: float
) -> Comparison:
    """The verdict on one variant. `interval` is the always-valid one of its difference to the control, at `alpha`."""
    red, blue = named(label), named(control_label)

    def conclude(state: str, text: str, reason: str, needed: int | None = None) -> Comparison:
        return Comparison(label, variant, interval, needed, Verdict(state, text, reason))

    if interval.low > 0:
        return conclude("winner", f"{red} beats {blue}", _gap(variant, control, interval))
    if interval.high < 0:
        return conclude("loser", f"{red} loses to {blue}", _gap(variant, control, interval))
    so_far = _so_far(
        variant, control, interval, " so far; the difference may be anything from {} to {} percentage points"
    )
    if variant.reached + control.reached == 0:
        return conclude("collecting", "no one has reached this goal yet", so_far)
    needed = _needed_each(variant, control, TARGET_EFFECT, alpha)
    change, missing = _next_step(variant, control, interval, needed, alpha)
    if missing:
        return conclude("collecting", _to_detect(missing, change, control), so_far, needed)
    plausible = _largest_change(interval, control)
    if plausible is None:
        return conclude("collecting", f"no one has reached this goal in {blue} yet", so_far, needed)
    if plausible > TARGET_EFFECT and not _is_hidden(variant, control, interval, alpha):
        return conclude("collecting", "too few visitors to rule out a 10 % change", so_far, needed)
    settled = _so_far(
        variant, control, interval, f"; the difference lies between {{}} and {{}} percentage points, {ALWAYS}"
    )
    if plausible > TARGET_EFFECT:
        settled += "; counting error hides smaller changes, which a higher precision would reveal"
    return conclude("no_difference", f"a difference of more than {rounded_up(plausible)} is implausible", settled)


def of_goal(comparisons: Sequence[Comparison], control_label: str, control: Proportion) -> Verdict:
    """One verdict on a goal, from those on its variants: a winner first, then what is open, then what is settled."""
    if len(comparisons) == 1 and comparisons[0].verdict.state != "loser":
        return comparisons[0].verdict
    blue = named(control_label)
    winners = sorted(_in_state(comparisons, "winner"), key=lambda one: -one.proportion.rate)
    losers = _in_state(comparisons, "loser")
    collecting = _in_state(comparisons, "collecting")
    if winners:
        text = f"{_labels(winners)} {'beats' if len(winners) == 1 else 'beat'} {blue}"
        if len(winners) == 1:
            return Verdict("winner", text, winners[0].verdict.reason)
        reason = f"{named(winners[0].label)} has the highest rate; whether it beats the other winners is not tested"
        return Verdict("winner", text, reason)
    if len(losers) == len(comparisons):
        reason = losers[0].verdict.reason if len(losers) == 1 else f"each of them is worse, {ALWAYS}"
        return Verdict("loser", f"{blue}, the control, beats {_labels(losers)}", reason)
    if collecting:
        decisive = max(collecting, key=lambda one: one.needed or 0)
    else:
        settled = _in_state(comparisons, "no_difference")
        decisive = max(settled, key=lambda one: _largest_change(one.interval, control) or 0.0)
    reason = f"{named(decisive.label)} against {blue}: {decisive.verdict.reason}"
    others = [one for one in collecting if one is not decisive]
    if others:
        reason += f"; {_labels(others)} {'is' if len(others) == 1 else 'are'} also still open"
    if losers:
        reason += f"; {_labels(losers)} {'loses' if len(losers) == 1 else 'lose'} to {blue}"
    return Verdict(decisive.verdict.state, decisive.verdict.text, reason)


def of_experiment(
    goals: Mapping[str, Verdict], variants: Mapping[str, Mapping[str, str]]
) -> tuple[str | None, Verdict]:
    """What to read first of an experiment: the goal it is about (None: all of them), and the verdict.

    `goals` has each goal's verdict; `variants` the state of each goal by variant. A variant that wins one goal and
    loses another makes it `mixed`: whoever reads of the one must read of the other.
    """
    if not goals:
        return None, Verdict("no_data", "no goal has been reached yet")
    split = []
    for label, states in variants.items():
        won, lost = ([goal for goal, state in states.items() if state == end] for end in ("winner", "loser"))
        if won and lost:
            split.append(f"{named(label)} wins {listed(won)} but loses {listed(lost)}")
    if split:
        return None, Verdict("mixed", "; ".join(split), "decide which goal matters more")
    first = min(goals, key=lambda goal: STATES.index(goals[goal].state))
    return first, goals[first]


def not_compared(label: str, configured: bool) -> Verdict:
    """The verdict on an unexpected label."""
    why = "is not among the variants in config.json" if configured else "has far too few visitors for a variant"
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


def _next_step(
    variant: Proportion, control: Proportion, interval: Interval, needed: int | None, alpha: float
) -> tuple[float, int | None]:
    """The change to look for next, and the visitors it takes; None if that is known, or cannot be known."""
    plausible = _largest_change(interval, control)
    if plausible is not None and plausible <= TARGET_EFFECT:
        return TARGET_EFFECT, None
    if needed:
        return TARGET_EFFECT, needed
    if needed == 0:
        return FINER, _needed_each(variant, control, FINER, alpha)
    for change in COARSER:
        missing = _needed_each(variant, control, change, alpha)
        if missing is not None:
            return change, missing
    return TARGET_EFFECT, None


def _needed_each(variant: Proportion, control: Proportion, change: float, alpha: float) -> int | None:
    in_all = visitors_needed(variant, control, change, alpha)
    return None if in_all is None else ceil(in_all / 2)


def _is_hidden(variant: Proportion, control: Proportion, interval: Interval, alpha: float) -> bool:
    """Whether no number of visitors can rule out TARGET_EFFECT, because the counters' own error remains."""
    share = counting_share(variant, control, alpha)
    lasting = (interval.high - interval.low) / 2 * sqrt(share)
    return share > 0.5 and abs(variant.rate - control.rate) + lasting > TARGET_EFFECT * control.rate


def _to_detect(missing: int, change: float, control: Proportion) -> str:
    visitors = about(missing, digits=2 if control.reached >= 10 else 1)
    noun = "visitor" if visitors == "1" else "visitors"
    return f"about {visitors} more {noun} per variant to detect a {100 * change:.0f} % change"


def _largest_change(interval: Interval, control: Proportion) -> float | None:
    return max(-interval.low, interval.high) / control.rate if control.rate else None


def _gap(variant: Proportion, control: Proportion, interval: Interval) -> str:
    near, far = sorted((abs(interval.low), abs(interval.high)))
    width = max(min(near, far - near), (far - near) / 30) / 2
    least = points(near, width)
    return (
        f"{percent(variant.rate, width)} against {percent(control.rate, width)}:"
        f" {f'{least} to' if least.strip('0.') else 'up to'} {points(far, width)} percentage points"
        f" {'higher' if interval.low > 0 else 'lower'}, {ALWAYS}"
    )


def _so_far(variant: Proportion, control: Proportion, interval: Interval, phrase: str) -> str:
    width = (interval.high - interval.low) / 2
    if width >= max(variant.rate, control.rate):
        return (
            f"so far {variant.successes.value:,} of {variant.trials.value:,} visitors against"
            f" {control.successes.value:,} of {control.trials.value:,}: too few to tell"
        )
    ends = phrase.format(points(interval.low, width, signed=True), points(interval.high, width, signed=True))
    return f"{percent(variant.rate, width)} against {percent(control.rate, width)}{ends}"


def _in_state(comparisons: Sequence[Comparison], state: str) -> list[Comparison]:
    return [one for one in comparisons if one.verdict.state == state]


def _labels(comparisons: Sequence[Comparison]) -> str:
    return listed([one.label for one in comparisons])
