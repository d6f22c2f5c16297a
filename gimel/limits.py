"""Which new names go beyond the limits, and the warning about them."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from math import inf

from . import metrics
from .config import Limits
from .events import PARTICIPATE
from .keyspace import CounterName, Experiment

log = logging.getLogger("gimel")

WARN_EVERY_S = 60

_warned_s = -inf


@dataclass(frozen=True)
class Created:
    """The names that a request was the first to write, each in the order of its events."""

    namespaces: Sequence[str]
    experiments: Sequence[Experiment]
    counters: Sequence[CounterName]


NOTHING = Created((), (), ())


@dataclass(frozen=True)
class Sizes:
    """What Redis holds: how many namespaces, experiments and counters by namespace, and by experiment the goal and
    variant of each counter."""

    namespaces: int
    experiments: Mapping[str, int]
    counters: Mapping[str, int]
    names: Mapping[Experiment, Set[tuple[str, str]]]

    def without(self, created: Created) -> Sizes:
        """What there is besides these."""
        experiments = Counter(namespace for namespace, _ in created.experiments)
        counters = Counter(counter.namespace for counter in created.counters)
        own: dict[Experiment, set[tuple[str, str]]] = {one: set() for one in self.names}
        for counter in created.counters:
            own[counter[:2]].add(counter[2:])
        return Sizes(
            self.namespaces - len(created.namespaces),
            {namespace: size - experiments[namespace] for namespace, size in self.experiments.items()},
            {namespace: size - counters[namespace] for namespace, size in self.counters.items()},
            {one: names - own[one] for one, names in self.names.items()},
        )


Bounded = Callable[[str, str], Collection[str]]
"""The limits that do not apply to an experiment of a namespace."""


def beyond(limits: Limits, created: Created, others: Sizes, bounded: Bounded = lambda *_: ()) -> dict[CounterName, str]:
    """The counters to refuse of those created, each with the limit that it exceeds.

    What others create at the same time is there already. So of two requests that create the last name allowed, both
    may be refused, but never both kept: when all are done, no limit is exceeded.
    """
    namespaces = set(created.namespaces[max(0, limits.namespaces - others.namespaces) :])
    experiments = set()
    places = {namespace: limits.experiments - size for namespace, size in others.experiments.items()}
    for experiment in created.experiments:
        places[experiment[0]] -= 1
        if places[experiment[0]] < 0:
            experiments.add(experiment)
    room = {namespace: limits.counters - size for namespace, size in others.counters.items()}
    variants = {one: {variant for _, variant in names} for one, names in others.names.items()}
    goals = {one: {goal for goal, _ in names} - {PARTICIPATE} for one, names in others.names.items()}
    refused = {}
    for counter in created.counters:
        own_variants = variants[counter[:2]] | {counter.variant}
        own_goals = goals[counter[:2]] | {counter.goal} - {PARTICIPATE}
        exceeded = {
            "namespaces": counter.namespace in namespaces,
            "experiments": counter[:2] in experiments,
            "variants": len(own_variants) > limits.variants,
            "goals": len(own_goals) > limits.goals,
            "counters": room[counter.namespace] < 1,
        }
        not_needed = bounded(*counter[:2])
        limit = next((name for name, is_exceeded in exceeded.items() if is_exceeded and name not in not_needed), None)
        if limit:
            refused[counter] = limit
        else:
            variants[counter[:2]], goals[counter[:2]] = own_variants, own_goals
            room[counter.namespace] -= 1
    return refused


def warn(limits: Limits, refused: Mapping[CounterName, str]) -> None:
    """Say in the log which limit is reached, at most once a minute, and on Lambda also by a metric."""
    global _warned_s
    now_s = time.monotonic()
    if now_s - _warned_s < WARN_EVERY_S:
        return
    _warned_s = now_s
    counter, limit = next(iter(refused.items()))
    log.warning(
        "the limit of %d %s is reached: new ones are ignored, as in experiment %r of namespace %r. "
        "Delete experiments that are not yours, list the names to count, or raise limits.%s in config.json",
        *(getattr(limits, limit), limit, counter.experiment, counter.namespace, limit),
    )
    function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
    if function:
        metrics.write(metrics.embedded("FunctionName", function, {metrics.LIMIT_REACHED: 1}))
