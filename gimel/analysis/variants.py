"""Which labels are an experiment's variants, which one is the control, and what does not fit together.

`/track` is open to everyone, so any label may turn up among the counts. A label that is not a variant is unexpected: it
is shown, noted, and left out. The list in the settings says which labels are variants; without one, the visitors do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, isinf

from gimel.events import PARTICIPATE
from gimel.hyperloglog import NOTHING, Count
from gimel.plans import Ended
from gimel.settings import NO_SETTINGS, ExperimentSettings

from .wording import listed, named, on_day

JUDGED_FROM = 20
"""Until the two most visited labels have this many visitors each, any label may be a variant."""

FEW = 0.1
"""From then on, a label with less than this share of the visitors of the second of the two is unexpected."""

ENOUGH = 100
"""With this many visitors a label is a variant, ..."""

VERY_FEW = 0.01
"""... but not with less than this share."""

SMALLEST_SHARE = 1e-100
"""A smaller share is taken for this one, which can be divided by."""


@dataclass(frozen=True, slots=True)
class Variants:
    """All labels with their visitors; those that are variants, in order; the control; the usable weights; and the names
    that the settings list, with weights or without.

    If nothing has been counted there is no label, and the control is "".
    """

    trials: Mapping[str, Count]
    real: Sequence[str]
    control: str
    weights: Mapping[str, float]
    configured: Collection[str]

    @property
    def comparisons(self) -> int:
        """How many variants are compared with the control; at least 1."""
        return max(1, sum(bool(self.trials[label].value) and label != self.control for label in self.real))

    @property
    def shares(self) -> dict[str, float]:
        """The part of the visitors that each variant should get: by the weights, or else the same.

        A variant in the settings that was never seen has its share too. Adds up to 1, or is empty.
        """
        seen = [label for label in self.real if self.trials[label].value]
        wanted = self.weights or dict.fromkeys(self.configured or seen, 1.0)
        everything = sum(wanted.values())
        if isinf(everything):
            wanted = {label: weight / len(wanted) for label, weight in wanted.items()}
            everything = sum(wanted.values())
        return {label: max(wanted[label] / everything, SMALLEST_SHARE) for label in sorted(wanted)}

    @property
    def visitors(self) -> int:
        """How many take part in any variant."""
        return sum(self.trials[label].value for label in self.real)

    @property
    def are_configured(self) -> bool:
        """Whether the settings say which labels are variants, and visitors take part in any of them."""
        return any(self.trials.get(label, NOTHING).value for label in self.configured)


def resolve_variants(
    trials: Mapping[str, Count],
    baseline: str | None = None,
    weights: Mapping[str, float] | None = None,
    configured: Collection[str] | None = None,
    requested: str | None = None,
) -> Variants:
    """The control is the variant `requested`, or else `baseline`, or else the first one that has participants.

    `configured` are the variants in the settings; the `weights` imply them. A list of which no one takes part in any
    leaves no one out.
    """
    usable = {label: weight for label, weight in (weights or {}).items() if weight > 0 and isfinite(weight)}
    found = Variants(trials, list(trials), "", usable, configured or usable)
    if found.are_configured:
        real = [label for label in trials if label in found.configured]
    else:
        few = _too_few(trials.values())
        # Whoever names the control says that it is a variant.
        real = [label for label, count in trials.items() if count.value >= few or label == baseline]
    seen = [label for label in real if trials[label].value]
    control = next((label for label in (requested, baseline) if label in real), next(iter(seen or real), ""))
    return Variants(trials, real, control or "", usable, found.configured)


def variants_of(
    counts: Mapping[str, Mapping[str, Count]], own: ExperimentSettings = NO_SETTINGS, requested: str | None = None
) -> Variants:
    """The variants among all labels of these counts of an experiment's goals, by the visitors that each has."""
    participants = counts.get(PARTICIPATE, {})
    labels = sorted({label for found in counts.values() for label in found})
    trials = {label: participants.get(label, NOTHING) for label in labels}
    return resolve_variants(trials, own.baseline, own.weights, own.variants, requested)


def variants_at_end(ended: Ended, own: ExperimentSettings = NO_SETTINGS, requested: str | None = None) -> Variants:
    """The variants when the plan ended, with the shares of then, whatever the settings say by now."""
    if ended.shares:
        own = replace(own, weights=ended.shares, variants=frozenset(ended.shares))
    return variants_of(ended.counts, own, requested)


def planned_in_all(own: ExperimentSettings, variants: Variants) -> int | None:
    """How many visitors are planned in all variants together; None without a plan.

    There are at least two variants, whether both have been seen or not.
    """
    if own.planned_visitors is None or own.weights:
        return own.planned_visitors
    names = variants.configured if variants.are_configured else variants.real
    return own.planned_visitors * max(2, len(names))


def changed_plan(own: ExperimentSettings, ended: Ended) -> str | None:
    """A note if `planned_visitors` has been changed since the plan ended, which it does not undo."""
    now = planned_in_all(own, variants_at_end(ended, own))
    if own.planned_visitors is None or now is None or now == ended.planned:
        return None
    was = ended.planned * own.planned_visitors // now
    return (
        f"planned_visitors was {was:,} when the plan ended on {on_day(ended.at)}, and has been changed to"
        f" {own.planned_visitors:,} since; the decision stands"
    )


def _too_few(counts: Collection[Count]) -> float:
    """A label with fewer visitors than this is no variant.

    Measured by the second most visited label: then a variant that loses nearly all its visitors while the only other
    one keeps them is a wrong split, and no single made-up label can make the others look few.
    """
    second = sorted([0, 0, *(count.value for count in counts)])[-2]
    return min(FEW * second, max(ENOUGH, VERY_FEW * second)) if second >= JUDGED_FROM else 0


def notes(
    variants: Variants, own: ExperimentSettings, requested: str | None, goals: Mapping[str, Mapping[str, Count]]
) -> Iterator[str]:
    """What is configured or requested but was never seen, seen but not configured, or only partly counted."""
    trials, control = variants.trials, named(variants.control)
    wanted = own.baseline if requested is None else requested
    if trials and wanted is not None and wanted not in variants.real:
        origin = "configured baseline" if requested is None else "requested control"
        why = "is not a variant" if wanted in trials else "has not been seen"
        yield f"the {origin} {named(wanted)} {why}; variants are compared with {control} instead"
    if trials and variants.configured and not variants.are_configured:
        yield (
            f"no one takes part in {listed(sorted(variants.configured))}, the variants in the settings, so the split is"
            " not checked: use the names that the page sends"
        )
    lost = [
        label
        for label in (variants.real if variants.are_configured else trials)
        if not trials[label].value and any(reached.get(label, NOTHING).value for reached in goals.values())
    ]
    strays = [label for label in trials if label not in variants.real and label not in lost]
    if strays:
        yield _left_out(strays, variants.are_configured)
    if lost:
        them, is_not = ("it", "it is not a variant") if len(lost) == 1 else ("them", "they are not variants")
        cause = "those events were lost"
        if not variants.are_configured:
            cause = f"either {cause}, or {is_not} of this experiment"
        yield f"goals were reached in {listed(lost)}, but no participant of {them} was counted: {cause}"
    for setting, wanted_goals in ("per_visitor", own.per_visitor), ("guardrails", own.guardrails):
        unseen = sorted(goal for goal in wanted_goals if goal not in goals)
        if goals and unseen:
            yield f"no one has reached {listed(unseen)}, listed in {setting} in the settings"


def _left_out(labels: Sequence[str], configured: bool) -> str:
    one = len(labels) == 1
    consequence = f"so {'it is' if one else 'they are'} neither compared nor part of the split"
    if configured:
        return f"{listed(labels)} {'is' if one else 'are'} not among the variants in the settings, {consequence}"
    return (
        f"{listed(labels)} {'has' if one else 'have'} far too few visitors for a variant, {consequence}. To decide this"
        " yourself, name the experiment's variants in the settings, with variants or weights"
    )
