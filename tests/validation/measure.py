"""What is measured: each function simulates one cell of one table through the project's own report, and
returns its numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np

from gimel.analysis.distributions import normal_tail
from gimel.analysis.proportions import p_value
from gimel.analysis.report import experiment_report
from gimel.analysis.sample_ratio import sample_ratio_p_value
from gimel.analysis.sequential import always_valid_p_value
from gimel.events import PARTICIPATE
from gimel.hyperloglog import Count
from tests.counts import counted

from .experiments import (
    CONTROL,
    EXACT,
    VARIANT,
    compared,
    count,
    proportion,
    report,
    simulate,
    simulate_looks,
    simulate_one_uuid,
)

ALPHA = 0.05
SPLIT_ALPHA = 0.001


def naive_p_value(n0: int, s0: int, n1: int, s1: int) -> float:
    """Gimel 1.x's way: the pooled two-sided z, which takes HyperLogLog counts for exact."""
    pooled = min(1.0, (s0 + s1) / (n0 + n1)) if n0 + n1 else 0.0
    variance = pooled * (1 - pooled) * (1 / max(n0, 1) + 1 / max(n1, 1))
    return 2 * normal_tail(abs(s1 / max(n1, 1) - s0 / max(n0, 1)) / sqrt(variance)) if variance > 0 else 1.0


def inference(
    seed: Sequence[int],
    experiments: int,
    visitors: int,
    rate: float,
    precision: int,
    lift: float = 0.0,
    one_uuid: bool = False,
) -> dict[str, float]:
    """How often each rule finds a difference, and how often each interval holds the truth."""
    random = np.random.default_rng(seed)
    changed = rate * (1 + lift)
    if one_uuid:
        readings = simulate_one_uuid(random, experiments, visitors, rate, precision)
    else:
        readings = simulate(random, experiments, visitors, rate, lift, precision)
    hits = dict.fromkeys(("naive", "p_value", "always_valid", "rate", "difference", "uplift", "always_difference"), 0)
    for (n0, s0, n1, s1), answer in zip(readings, readings.reports()):
        row = compared(answer)
        hits["naive"] += naive_p_value(n0, s0, n1, s1) < ALPHA
        if row["p_value"] is None:  # more successes than visitors, beyond the counters' error: cannot happen here
            raise AssertionError(row)
        hits["p_value"] += row["p_value"] < ALPHA
        hits["always_valid"] += row["always_valid_p_value"] < ALPHA
        hits["rate"] += holds(row["rate_interval"], changed)
        hits["difference"] += holds(row["difference_interval"], changed - rate)
        hits["uplift"] += holds(row["uplift_interval"], lift)
        hits["always_difference"] += holds(row["always_valid_interval"], changed - rate)
    return {name: value / experiments for name, value in hits.items()}


def looking(
    seed: Sequence[int], experiments: int, visitors: int, rate: float, precision: int, looks: int = 100
) -> dict[str, Any]:
    """A/A experiments read at so many moments: the share in which each rule has fired at least once, by the
    look.
    """
    random = np.random.default_rng(seed)
    fired = {name: np.zeros(looks) for name in ("naive", "p_value", "always_valid", "verdict", "split")}
    for _ in range(experiments):
        first = dict.fromkeys(fired, looks)
        for look, (n0, s0, n1, s1) in enumerate(simulate_looks(random, visitors, rate, precision, looks)):
            if not (n0 and n1):
                continue
            variant, control = proportion(s1, n1, precision), proportion(s0, n0, precision)
            always_valid = always_valid_p_value(variant, control) < ALPHA
            rules = {
                "naive": naive_p_value(n0, s0, n1, s1) < ALPHA,
                "p_value": p_value(variant, control) < ALPHA,
                "always_valid": always_valid,
                "verdict": always_valid
                and compared(report(n0, s0, n1, s1, precision))["verdict"]["state"] in ("winner", "loser"),
                "split": sample_ratio_p_value([variant.trials, control.trials], [1, 1]) < SPLIT_ALPHA,
            }
            for name, fires in rules.items():
                if fires:
                    first[name] = min(first[name], look)
        for name, look in first.items():
            fired[name][look:] += 1
    return {name: (hits / experiments).tolist() for name, hits in fired.items()}


def split(
    seed: Sequence[int],
    experiments: int,
    visitors: int,
    weights: Sequence[float],
    precision: int,
    actual: Sequence[float] | None = None,
) -> dict[str, float]:
    """Alarms of the sample-ratio check over this many visitors in all, sent by `actual` and expected by the
    weights.
    """
    random = np.random.default_rng(seed)
    sent = np.array(actual or weights, dtype=float)
    everybody = random.multinomial(visitors, sent / sent.sum(), size=experiments)
    alarms = naive = 0
    for row in count(random, everybody, precision).tolist():
        alarms += sample_ratio_p_value([counted(value, precision) for value in row], weights) < SPLIT_ALPHA
        naive += sample_ratio_p_value([Count(value, 0.0) for value in row], weights) < SPLIT_ALPHA
    return {"alarms": alarms / experiments, "naive": naive / experiments}


def many_variants(
    seed: Sequence[int], experiments: int, visitors: int, rate: float, precision: int, variants: int
) -> dict[str, float]:
    """A/A/.../A experiments: how often any variant at all differs from the control."""
    random = np.random.default_rng(seed)
    labels = [f"{i:02}" for i in range(variants)]
    shape = (experiments, variants)
    trials = count(random, np.full(shape, visitors), precision).tolist()
    successes = count(random, random.binomial(visitors, rate, shape), precision).tolist()
    hits = dict.fromkeys(("unadjusted_p_value", "p_value", "always_valid_p_value"), 0)
    for visited, reached in zip(trials, successes):
        counts: Mapping[str, Mapping[str, Count]] = {
            PARTICIPATE: {label: counted(n, precision) for label, n in zip(labels, visited)},
            "buy": {label: counted(s, precision) for label, s in zip(labels, reached)},
        }
        rows = experiment_report(counts)["goals"][0]["results"][1:]
        for name in hits:
            hits[name] += min(row[name] for row in rows) < ALPHA
    return {name: value / experiments for name, value in hits.items()}


def counting(seed: Sequence[int], experiments: int, visitors: int, precision: int) -> dict[str, float]:
    """The relative standard error that counters of this precision have."""
    values = count(np.random.default_rng(seed), np.full(experiments, visitors), precision)
    return {"bias": float(values.mean() / visitors - 1), "error": float(values.std() / visitors)}


def holds(interval: Mapping[str, float | None], value: float) -> bool:
    low, high = interval["low"], interval["high"]
    return (low is None or low <= value) and (high is None or value <= high)


def standard_error(share: float, experiments: int) -> float:
    """Of a share that was measured in so many simulated experiments; never 0, however rare the event."""
    smoothed = (share * experiments + 1) / (experiments + 2)
    return sqrt(smoothed * (1 - smoothed) / experiments)


__all__ = [
    "CONTROL",
    "EXACT",
    "VARIANT",
    "counting",
    "inference",
    "looking",
    "many_variants",
    "split",
    "standard_error",
]
