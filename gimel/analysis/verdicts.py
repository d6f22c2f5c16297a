"""From figures to words: what a person who decides should read, and why.

States: `winner`, `loser`, `no_difference`, `collecting`, `do_not_trust`, `per_visitor`, `control`, `not_compared`,
`no_data`.
A winner is declared by the always-valid interval alone, because people look every day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from .proportions import Interval, Proportion
from .sequential import counting_share, visitors_needed
from .wording import about, each, listed, name, percent, points, rounded_up

SOUGHT = 0.10
"""The relative change that an experiment is asked to show, in `visitors_needed` and in the verdicts."""

FINER = 0.05
COARSER = (0.2, 0.5, 1.0)
LOOKS = "however often one looks"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`state` is for machines; `text` and `reason` are sentences for people."""

    state: str
    text: str
    reason: str

    def as_dict(self) -> dict[str, str]:
        return {"state": self.state, "text": self.text, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Rival:
    """A variant that has visitors, with what is known about it."""

    label: str
    proportion: Proportion
    interval: Interval
    needed: int | None
    verdict: Verdict


CONTROL = Verdict("control", "the control", "the other variants are compared with it")


def compare(
    label: str, variant: Proportion, control_label: str, control: Proportion, interval: Interval, alpha: float
) -> Rival:
    """The verdict on one variant. `interval` is the always-valid one of its difference to the control, at
    `alpha`.
    """
    red, blue = name(label), name(control_label)

    def because(state: str, text: str, reason: str, needed: int | None = None) -> Rival:
        return Rival(label, variant, interval, needed, Verdict(state, text, reason))

    if interval.low > 0:
        return because("winner", f"{red} beats {blue}", _gap(red, variant, blue, control, interval))
    if interval.high < 0:
        return because("loser", f"{red} loses to {blue}", _gap(red, variant, blue, control, interval))
    so_far = _so_far(
        variant, control, interval, " so far; the difference may be anything from {} to {} percentage points"
    )
    if variant.reached + control.reached == 0:
        return because("collecting", "collecting: nobody has reached this goal yet", so_far)
    needed = visitors_needed(variant, control, SOUGHT, alpha)
    change, missing = _next_step(variant, control, interval, needed, alpha)
    if missing:
        return because("collecting", _collecting(missing, change, control), so_far, needed)
    plausible = _largest_change(interval, control)
    if plausible is None:
        return because("collecting", f"collecting: nobody has reached this goal through {blue} yet", so_far, needed)
    if plausible > SOUGHT and not _hidden(variant, control, interval, alpha):
        return because("collecting", "collecting: too few visitors to rule out a 10 % change", so_far, needed)
    settled = _so_far(
        variant, control, interval, f"; the difference lies between {{}} and {{}} percentage points, {LOOKS}"
    )
    if plausible > SOUGHT:
        settled += "; the counters' own error hides smaller changes, a higher precision shows them"
    return because("no_difference", f"no difference larger than {rounded_up(plausible)} is plausible", settled)


def summary(rivals: Sequence[Rival], control_label: str, control: Proportion) -> Verdict:
    """One verdict on a goal, from those on its variants: a winner first, then what is open, then what is
    settled.
    """
    if len(rivals) == 1 and rivals[0].verdict.state != "loser":
        return rivals[0].verdict
    blue = name(control_label)
    winners = sorted(_in_state(rivals, "winner"), key=lambda rival: -rival.proportion.rate)
    losers = _in_state(rivals, "loser")
    collecting = _in_state(rivals, "collecting")
    if winners:
        text = f"{_names(winners)} {'beats' if len(winners) == 1 else 'beat'} {blue}"
        if len(winners) == 1:
            return Verdict("winner", text, winners[0].verdict.reason)
        reason = f"{name(winners[0].label)} has the highest rate; whether it beats the other winners is not tested"
        return Verdict("winner", text, reason)
    if len(losers) == len(rivals):
        reason = losers[0].verdict.reason if len(losers) == 1 else f"each of them is worse, {LOOKS}"
        return Verdict("loser", f"{blue}, the control, beats {_names(losers)}", reason)
    if collecting:
        slowest = max(collecting, key=lambda rival: rival.needed or 0)
        reason = f"{name(slowest.label)} against {blue}: {slowest.verdict.reason}"
        others = [rival for rival in collecting if rival is not slowest]
        if others:
            reason += f"; {_names(others)} {'is' if len(others) == 1 else 'are'} still open too"
        if losers:
            reason += f"; {_names(losers)} {'loses' if len(losers) == 1 else 'lose'} to {blue}"
        return Verdict("collecting", slowest.verdict.text, reason)
    open_ones = _in_state(rivals, "no_difference")
    widest = max(open_ones, key=lambda rival: _largest_change(rival.interval, control) or 0.0)
    reason = f"{name(widest.label)} against {blue}: {widest.verdict.reason}"
    if losers:
        reason += f"; {_names(losers)} {'loses' if len(losers) == 1 else 'lose'} to {blue}"
    return Verdict("no_difference", widest.verdict.text, reason)


def no_data(text: str, reason: str = "") -> Verdict:
    return Verdict("no_data", text, reason)


def not_compared(label: str) -> Verdict:
    return Verdict("not_compared", "not compared", f"{name(label)} has no weight in config.json")


def no_control(label: str) -> Verdict:
    return no_data(
        f"{name(label)}, the control, has no visitors yet",
        "there is nothing to compare the other variants with",
    )


def per_visitor(rates: Sequence[tuple[str, float]], configured: bool) -> Verdict:
    shown = listed([f"{name(label)} {each(rate)}" for label, rate in rates])
    why = (
        "configured as a goal that a visitor can reach more than once"
        if configured
        else "more successes than visitors: a visitor can reach this goal more than once, or some participants were"
        " not counted"
    )
    return Verdict(
        "per_visitor",
        f"per visitor: {shown}",
        f"{why}; the counts do not show how much visitors differ, so no test is possible",
    )


def _next_step(
    variant: Proportion, control: Proportion, interval: Interval, needed: int | None, alpha: float
) -> tuple[float, int | None]:
    """The change to look for next and the visitors it takes; None if that is known, or cannot be known."""
    plausible = _largest_change(interval, control)
    if plausible is not None and plausible <= SOUGHT:
        return SOUGHT, None
    if needed:
        return SOUGHT, needed
    if needed == 0:
        return FINER, visitors_needed(variant, control, FINER, alpha)
    for change in COARSER:
        missing = visitors_needed(variant, control, change, alpha)
        if missing is not None:
            return change, missing
    return SOUGHT, None


def _hidden(variant: Proportion, control: Proportion, interval: Interval, alpha: float) -> bool:
    """Whether no number of visitors can rule out the change sought, as the counters' own error stays."""
    share = counting_share(variant, control, alpha)
    lasting = (interval.high - interval.low) / 2 * sqrt(share)
    return share > 0.5 and abs(variant.rate - control.rate) + lasting > SOUGHT * control.rate


def _collecting(missing: int, change: float, control: Proportion) -> str:
    visitors = about(missing, digits=2 if control.reached >= 10 else 1)
    return f"collecting: about {visitors} more visitors per variant to see a {change:.0%} change".replace("%", " %")


def _largest_change(interval: Interval, control: Proportion) -> float | None:
    return max(-interval.low, interval.high) / control.rate if control.rate else None


def _gap(red: str, variant: Proportion, blue: str, control: Proportion, interval: Interval) -> str:
    near, far = sorted((abs(interval.low), abs(interval.high)))
    width = max(min(near, far - near), (far - near) / 30) / 2
    least = points(near, width)
    return (
        f"{percent(variant.rate, width)} against {percent(control.rate, width)}:"
        f" {f'{least} to' if least.strip('0.') else 'up to'} {points(far, width)} percentage points"
        f" {'more' if interval.low > 0 else 'less'}, {LOOKS}"
    )


def _so_far(variant: Proportion, control: Proportion, interval: Interval, phrase: str) -> str:
    width = (interval.high - interval.low) / 2
    if width >= max(variant.rate, control.rate):
        return (
            f"so far {variant.successes.value:,} of {variant.trials.value:,} visitors against"
            f" {control.successes.value:,} of {control.trials.value:,}: too few to tell"
        )
    ends = phrase.format(points(interval.low, width, "+"), points(interval.high, width, "+"))
    return f"{percent(variant.rate, width)} against {percent(control.rate, width)}{ends}"


def _in_state(rivals: Sequence[Rival], state: str) -> list[Rival]:
    return [rival for rival in rivals if rival.verdict.state == state]


def _names(rivals: Sequence[Rival]) -> str:
    return listed([name(rival.label) for rival in rivals])
