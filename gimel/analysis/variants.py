"""Which labels are an experiment's variants, which is the control, and what does not fit together.

`/track` is open to everybody, so any label may turn up among the counts. With weights configured, those
without one are strangers: shown, noted, and left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from gimel.hyperloglog import NOTHING, Count

from .wording import listed, name


@dataclass(frozen=True, slots=True)
class Variants:
    """All labels with their visitors; those that are `compared`, the control among them; the usable weights.

    Where nothing has been counted there is no label, and the control is "".
    """

    trials: Mapping[str, Count]
    compared: Collection[str]
    control: str
    weights: Mapping[str, float]

    @property
    def comparisons(self) -> int:
        rivals = [label for label in self.compared if self.trials[label].value and label != self.control]
        return max(1, len(rivals))

    @property
    def strangers(self) -> Sequence[str]:
        return [label for label in self.trials if self.weights and label not in self.weights]


def arranged(trials: Mapping[str, Count], baseline: str | None, weights: Mapping[str, float] | None) -> Variants:
    """The control is the configured `baseline`, else the first variant that somebody was seen to take part in.

    Where nobody was seen in a variant with a weight, the weights fit nobody, and leave nobody out.
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
    variants: Variants, baseline: str | None, per_visitor: Collection[str], goals: Mapping[str, Mapping[str, Count]]
) -> Iterator[str]:
    """What has been configured and not seen, seen and not configured, or counted in part only."""
    trials, strangers = variants.trials, variants.strangers
    if trials and baseline is not None and baseline not in trials:
        yield (
            f"the configured baseline {name(baseline)} has not been seen; the variants are compared with"
            f" {name(variants.control)} instead"
        )
    left_out = [label for label in strangers if label not in variants.compared]
    if left_out:
        has, is_ = ("has", "is") if len(left_out) == 1 else ("have", "are")
        yield f"{_named(left_out)} {has} no weight in config.json, and {is_} neither compared nor part of the split"
    if strangers and not any(trials[label].value for label in trials if label in variants.weights):
        yield (
            f"nobody takes part as {_named(sorted(variants.weights))}, which config.json gives weights to, so the"
            " split is not checked: write the names as the page does"
        )
    elif variants.control in strangers:
        yield f"{name(variants.control)}, the control, has no weight in config.json: the split is checked without it"
    lost = [
        label
        for label in sorted(variants.compared)
        if not trials[label].value and any(reached.get(label, NOTHING).value for reached in goals.values())
    ]
    if lost:
        them, they_are = ("it", "it is no variant") if len(lost) == 1 else ("them", "they are no variants")
        yield (
            f"goals were reached through {_named(lost)}, but no participant of {them} was counted: the"
            f" participations are lost, or {they_are} of this experiment"
        )
    unseen = sorted(goal for goal in per_visitor if goal not in goals)
    if goals and unseen:
        yield f"nobody has reached {_named(unseen)}, which config.json names in per_visitor"


def _named(labels: Sequence[str]) -> str:
    return listed([name(label) for label in labels])
