"""Which labels are an experiment's variants, which one is the control, and what does not fit together.

`/track` is open to everyone, so any label may turn up among the counts. If weights are configured, labels without one
are shown, noted, and left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from gimel.hyperloglog import NOTHING, Count

from .wording import listed, named


@dataclass(frozen=True, slots=True)
class Variants:
    """All labels with their visitors; those that are `compared`, including the control; and the usable weights.

    If nothing has been counted there is no label, and the control is "".
    """

    trials: Mapping[str, Count]
    compared: Collection[str]
    control: str
    weights: Mapping[str, float]

    @property
    def comparisons(self) -> int:
        """How many variants are compared with the control; at least 1."""
        return max(1, sum(bool(self.trials[label].value) and label != self.control for label in self.compared))

    @property
    def unweighted(self) -> Sequence[str]:
        """The labels without a weight, if others have one."""
        return [label for label in self.trials if self.weights and label not in self.weights]


def resolve_variants(
    trials: Mapping[str, Count], baseline: str | None, weights: Mapping[str, float] | None
) -> Variants:
    """The control is `baseline`, or else the first variant that has participants.

    If no variant with a weight has participants, the weights fit no one, and leave no one out.
    """
    usable = {label: weight for label, weight in (weights or {}).items() if weight > 0 and isfinite(weight)}
    compared = list(trials)
    if any(trials[label].value for label in trials if label in usable):
        compared = [label for label in trials if label in usable]
    seen = [label for label in compared if trials[label].value]
    control = baseline if baseline is not None and baseline in trials else next(iter(seen or compared), "")
    if control in trials and control not in compared:
        compared.append(control)
    return Variants(trials, compared, control, usable)


def notes(
    variants: Variants,
    baseline: str | None,
    requested: str | None,
    per_visitor: Collection[str],
    goals: Mapping[str, Mapping[str, Count]],
) -> Iterator[str]:
    """What is configured or requested but was never seen, seen but not configured, or only partly counted."""
    trials, unweighted, control = variants.trials, variants.unweighted, named(variants.control)
    unknown = baseline if requested is None else requested
    if trials and unknown is not None and unknown not in trials:
        origin = "configured baseline" if requested is None else "requested control"
        yield f"the {origin} {named(unknown)} has not been seen; variants are compared with {control} instead"
    left_out = [label for label in unweighted if label not in variants.compared]
    if left_out:
        verbs = (
            "has no weight in config.json, so it is"
            if len(left_out) == 1
            else "have no weight in config.json, so they are"
        )
        yield f"{listed(left_out)} {verbs} neither compared nor part of the split"
    if unweighted and not any(trials[label].value for label in trials if label in variants.weights):
        yield (
            f"no one takes part in {listed(sorted(variants.weights))}, the variants with weights in config.json, so the"
            " split is not checked: use the names that the page sends"
        )
    elif variants.control in unweighted:
        yield f"{control}, the control, has no weight in config.json, so the split is checked without it"
    lost = [
        label
        for label in sorted(variants.compared)
        if not trials[label].value and any(reached.get(label, NOTHING).value for reached in goals.values())
    ]
    if lost:
        them, is_not = ("it", "it is not a variant") if len(lost) == 1 else ("them", "they are not variants")
        yield (
            f"goals were reached in {listed(lost)}, but no participant of {them} was counted: either those events were"
            f" lost, or {is_not} of this experiment"
        )
    unseen = sorted(goal for goal in per_visitor if goal not in goals)
    if goals and unseen:
        yield f"no one has reached {listed(unseen)}, listed in per_visitor in config.json"
