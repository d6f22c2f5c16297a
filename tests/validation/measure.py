"""What is measured: each function simulates one cell of one table through the project's own report, and
returns its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf, isfinite, log, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from gimel.analysis.distributions import critical_value, normal_tail
from gimel.analysis.proportions import (
    Interval,
    Proportion,
    difference_interval,
    p_value,
    rate_interval,
    uplift_interval,
)
from gimel.analysis.report import experiment_report
from gimel.analysis.sample_ratio import always_valid_split_p_value, sample_ratio_p_value
from gimel.analysis.sequential import (
    always_valid_interval,
    information_fraction,
    planned_interval,
    planned_size,
    visitors_needed,
)
from gimel.events import PARTICIPATE
from gimel.hyperloglog import Count
from gimel.settings import NO_SETTINGS, ExperimentSettings

from .experiments import (
    CONTROL,
    EXACT,
    VARIANT,
    Floats,
    Ints,
    Kind,
    Readings,
    compared,
    count,
    grow,
    proportion,
    reading,
    report,
    simulate,
    simulate_looks,
    simulate_one_uuid,
)

ALPHA = 0.05
SPLIT_ALPHA = 0.001
POWER = 0.8
REPORTED = 100
"""Of so many experiments one goes through the whole report, which must say the same as the functions called here."""

INTERVALS = ("rate", "difference", "uplift", "planned_difference", "always_valid_difference")


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
    precision: Kind,
    lift: float = 0.0,
    one_uuid: bool = False,
) -> dict[str, float]:
    """How often each rule finds a difference, and how often each interval holds the truth."""
    random = np.random.default_rng(seed)
    changed = rate * (1 + lift)
    truths = dict.fromkeys(INTERVALS, changed - rate) | {"rate": changed, "uplift": lift}
    if one_uuid:
        readings = simulate_one_uuid(random, experiments, visitors, rate, precision)
    else:
        readings = simulate(random, experiments, visitors, rate, lift, precision)
    hits = dict.fromkeys(("naive", "p_value", "planned", "always_valid", *INTERVALS), 0)
    for number, (n0, s0, n1, s1) in enumerate(readings):
        variant, control = proportion(s1, n1, precision), proportion(s0, n0, precision)
        p = p_value(variant, control)
        intervals = {
            "rate": rate_interval(variant),
            "difference": difference_interval(variant, control, ALPHA, p),
            "uplift": uplift_interval(variant, control, ALPHA, p),
            "planned": planned_for(variant, control, (visitors, visitors)),
            "always_valid": always_valid_interval(variant, control),
        }
        if number % REPORTED == 0:
            own = ExperimentSettings(planned_visitors=visitors)
            row = compared(report(n0, s0, n1, s1, precision, own))
            assert row["unadjusted_p_value"] == p, row
            for name, interval in intervals.items():
                assert row[f"{name}_interval"] == for_json(interval), (name, row)
        hits["naive"] += naive_p_value(n0, s0, n1, s1) < ALPHA
        hits["p_value"] += p < ALPHA
        hits["planned"] += misses(0, intervals["planned"])
        hits["always_valid"] += misses(0, intervals["always_valid"])
        for name, truth in truths.items():
            hits[name] += not misses(truth, intervals[name.removesuffix("_difference")])
    return {name: value / experiments for name, value in hits.items()}


def looking(
    seed: Sequence[int],
    experiments: int,
    visitors: int,
    rate: float,
    precision: Kind,
    weights: tuple[float, float] = (1, 1),
    lift: float = 0.0,
    looks: int = 100,
    late: bool = False,
    single: bool = False,
) -> dict[str, Any]:
    """Experiments that grow to `visitors` in all, as many as planned, read at so many moments: the share in which each
    rule has been wrong at least once, by the look.

    `weights` are the control's and the variant's. Without a lift, an interval is wrong when it announces a difference;
    with one, when it does not contain the true difference. `late`: the last
    look comes after 1.25 times the plan. `single`: also the p-values for a single look.
    """
    random = np.random.default_rng(seed)
    moments = np.linspace(0, visitors, looks + 1)[1:].round().astype(int)
    if late:
        moments[-1] = round(1.25 * visitors)
    share = weights[1] / sum(weights)
    planned = (visitors * share, visitors * (1 - share))
    readings = simulate_looks(random, experiments, moments.tolist(), (rate, rate * (1 + lift)), precision, share)
    difference = rate * lift
    rules: dict[str, tuple[float, Callable[[Proportion, Proportion], bool]]] = {
        "planned": (1.7, lambda variant, control: misses(difference, planned_for(variant, control, planned))),
        "always_valid": (1.7, lambda variant, control: misses(difference, always_valid_interval(variant, control))),
    }
    if single:
        rules["p_value"] = (1.7, lambda variant, control: p_value(variant, control) < ALPHA)
    fired = first(readings, readings.standing(difference), rules)
    if single:
        naive = [naive_p_value(*counts) < ALPHA for counts in readings]
        fired["naive"] = first_of(np.array(naive).reshape(readings.trials.shape))
    return {name: by_look(when, looks) for name, when in fired.items()}


def splits_over(readings: Readings, weights: tuple[float, float]) -> dict[str, list[float]]:
    """The share of experiments in which a split alarm has been raised at least once, by the look."""
    n0, n1 = readings.control_trials, readings.trials
    expected = (n0 + n1) * weights[1] / sum(weights)
    chi = (n1 - expected) ** 2 / np.maximum(expected * (1 - weights[1] / sum(weights)), 1e-9)
    few = np.minimum(expected, n0 + n1 - expected) < 50
    rules = {
        "split": lambda counts: sample_ratio_p_value(counts, weights) < SPLIT_ALPHA,
        "always_valid_split": lambda counts: always_valid_split_p_value(counts, weights) < SPLIT_ALPHA,
    }
    looks = n0.shape[1]
    fired = {name: np.full(len(n0), looks) for name in rules}
    for row, look in np.argwhere((chi > 6) | (few & (n0 + n1 > 0))).tolist():
        counts = [reading(int(n0[row, look]), readings.precision), reading(int(n1[row, look]), readings.precision)]
        for name, alarms in rules.items():
            if fired[name][row] == looks and alarms(counts):
                fired[name][row] = look
    return {name: by_look(when, looks) for name, when in fired.items()}


def split_looks(
    seed: Sequence[int], experiments: int, visitors: int, precision: Kind, share: float = 0.5, looks: int = 100
) -> dict[str, list[float]]:
    """The same of experiments of which nothing but the participants is simulated; `share` of them go to the variant."""
    random = np.random.default_rng(seed)
    batches = np.broadcast_to(np.diff(np.linspace(0, visitors, looks + 1).astype(int)), (experiments, looks))
    variant = random.binomial(batches, share)
    trials = grow(random, np.stack([batches - variant, variant], axis=-1), precision)
    none = np.zeros_like(variant)
    return splits_over(Readings(precision, trials[..., 0], none, trials[..., 1], none), (1, 1))


def first(
    readings: Readings, standing: Floats, rules: Mapping[str, tuple[float, Callable[[Proportion, Proportion], bool]]]
) -> dict[str, Ints]:
    """The first look at which each rule fires, by the experiment; the number of looks if it never does.

    A rule is given with the `standing` below which it cannot fire, so that it need not be asked.
    """
    looks = readings.trials.shape[1]
    fired = {name: np.full(len(readings.trials), looks) for name in rules}
    for row in range(len(readings.trials)):
        open_rules = dict(rules)
        columns = np.flatnonzero(standing[row] > min(least for least, _ in rules.values())).tolist()
        for look in columns:
            n0, s0, n1, s1 = (int(array[row, look]) for array in readings.arrays)
            variant, control = proportion(s1, n1, readings.precision), proportion(s0, n0, readings.precision)
            for name, (least, fires) in list(open_rules.items()):
                if standing[row, look] > least and fires(variant, control):
                    fired[name][row] = look
                    del open_rules[name]
            if not open_rules:
                break
    return fired


def first_of(fires: npt.NDArray[np.bool_]) -> Ints:
    """The first look that is true in each row; the number of looks if none is."""
    return np.where(fires.any(axis=1), fires.argmax(axis=1), fires.shape[1])


def by_look(when: Ints, looks: int) -> list[float]:
    """The share of experiments in which it has happened by each look."""
    share: list[float] = (np.bincount(when, minlength=looks + 1)[:looks].cumsum() / len(when)).tolist()
    return share


def planned_for(
    variant: Proportion, control: Proportion, planned: tuple[float, float], alpha: float = ALPHA
) -> Interval:
    """The interval of an experiment that ends when so many visitors have come to the variant and to the control."""
    return planned_interval(variant, control, information_fraction(variant, control, *planned), alpha)


def misses(difference: float, interval: Interval) -> bool:
    return not interval.low <= difference <= interval.high


def until(
    seed: Sequence[int], experiments: int, rate: float, lift: float, precision: Kind, longest: float = 4.0
) -> dict[str, Any]:
    """The share of experiments with this true lift that have found a winner, by the number of visitors, for each rule.

    `multiples` are the moments, 1 % apart, as multiples of the size of a fixed-size test, which is `visitors` per
    variant; `single` is the share that such a test finds; the plan is for `planned_end` times as many.
    """
    random = np.random.default_rng(seed)
    visitors = fixed_size(rate, rate * (1 + lift))
    planned = planned_size(rate, rate * lift, alpha=ALPHA, power=POWER) / 2
    end = planned / visitors
    multiples = np.unique([*np.arange(1, round(100 * longest) + 1) / 100, 1.0, end])
    moments = np.ceil(2 * visitors * multiples).astype(int)
    readings = simulate_looks(random, experiments, moments.tolist(), (rate, rate * (1 + lift)), precision)
    higher = readings.successes * readings.control_trials > readings.control_successes * readings.trials
    standing = np.where(higher, readings.standing(), 0.0)
    in_time = np.where(multiples <= end + 1e-9, standing, 0.0)
    fired = first(
        readings,
        in_time,
        {"planned": (1.9, lambda variant, control: planned_for(variant, control, (planned, planned)).low > 0)},
    )
    fired |= first(
        readings,
        standing,
        {"always_valid": (2.8, lambda variant, control: always_valid_interval(variant, control).low > 0)},
    )
    uplift = readings.successes / readings.trials / np.maximum(readings.control_successes, 0.5)
    uplift = uplift * readings.control_trials - 1
    fired["growthbook"] = first_of(higher & (uplift > growthbook_width(readings)))
    at_end = int(np.flatnonzero(multiples == 1.0)[0])
    once = Readings(precision, *(array[:, at_end] for array in readings.arrays))
    single = [p_value(proportion(s1, n1, precision), proportion(s0, n0, precision)) < ALPHA for n0, s0, n1, s1 in once]
    shares = {name: by_look(when, multiples.size) for name, when in fired.items()}
    return {
        "multiples": multiples.tolist(),
        "visitors": visitors,
        "planned_end": end,
        "single": sum(single) / experiments,
        **shares,
        **{
            f"{name}_mean": mean_until(multiples, shares[name], end if name == "planned" else longest)
            for name in shares
        },
    }


def fixed_size(rate: float, changed: float) -> float:
    """The visitors per variant of a test that is read once: Fleiss, Levin & Paik (2003), 4.14, the pooled z test."""
    middle = (rate + changed) / 2
    apart = rate * (1 - rate) + changed * (1 - changed)
    spread = critical_value(ALPHA) * sqrt(2 * middle * (1 - middle)) + critical_value(2 * (1 - POWER)) * sqrt(apart)
    return (spread / (changed - rate)) ** 2


def mean_until(multiples: Floats, decided: Sequence[float], end: float) -> float:
    """The mean duration of an experiment that runs until it is decided, but no longer than to its `end`."""
    before = multiples < end - 1e-9
    newly = np.diff(decided, prepend=0.0)[before]
    return float(np.sum(newly * multiples[before]) + (1 - newly.sum()) * end)


def quantile_until(multiples: Sequence[float], decided: Sequence[float], share: float = POWER) -> float:
    """The duration after which this share of the experiments is decided; infinite if that many never are."""
    return next((multiple for multiple, found in zip(multiples, decided) if found >= share), inf)


def growthbook_width(readings: Readings, tuning: float = 5000) -> Floats:
    """Half the width of the interval of the uplift by GrowthBook's sequential test, which takes counts as exact.

    The asymptotic confidence sequence of Waudby-Smith et al. (arXiv:2103.06476v7, eq. 9), with a clock of visitors and
    rho by its eq. 161 for this many, on the relative difference and its delta-method variance.
    """
    n0, s0, n1, s1 = (array.astype(float) for array in readings.arrays)
    p1, p0 = s1 / n1, np.maximum(s0, 0.5) / n0
    variance = p1 * (1 - p1) / n1 / p0**2 + p0 * (1 - p0) / n0 * p1**2 / p0**4
    rho_squared = (-2 * log(ALPHA) + log(-2 * log(ALPHA) + 1)) / tuning
    clock = (n0 + n1) * rho_squared
    return np.sqrt(variance * 2 * (clock + 1) / clock * np.log(np.sqrt(clock + 1) / ALPHA))


def needed(
    seed: Sequence[int],
    experiments: int,
    start: int,
    rate: float,
    lift: float,
    precision: Kind,
    weights: tuple[float, float],
    looks: int = 100,
) -> dict[str, float]:
    """How often a true lift has its verdict after as many more visitors as `visitors_needed` says, to experiments that
    have had `start` visitors in all.
    """
    random = np.random.default_rng(seed)
    share = weights[1] / sum(weights)
    variant = proportion(round(start * share * rate), round(start * share), precision)
    control = proportion(round(start * (1 - share) * rate), round(start * (1 - share)), precision)
    more = visitors_needed(variant, control, lift, ALPHA, (share, 1 - share))
    if more is None:
        return {"more": inf, "by_then": 0.0, "then": 0.0}
    moments = np.linspace(start, start + more, looks).round().astype(int)
    readings = simulate_looks(random, experiments, moments.tolist(), (rate, rate * (1 + lift)), precision, share)
    standing = readings.standing()
    rules = {"found": (2.7, lambda variant, control: always_valid_interval(variant, control).low > 0)}
    by_then = first(readings, standing, rules)["found"] < looks
    only_last = np.where(np.arange(looks) == looks - 1, standing, 0.0)
    then = first(readings, only_last, rules)["found"] < looks
    return {"more": float(more), "by_then": float(by_then.mean()), "then": float(then.mean())}


def said(
    seed: Sequence[int],
    experiments: int,
    visitors: int,
    rate: float,
    lift: float,
    precision: Kind,
    state: str,
    own: ExperimentSettings = NO_SETTINGS,
    looks: int = 100,
) -> dict[str, float]:
    """How often a report of the variant has said this state at some look, of experiments that grow to `visitors` in
    all.
    """
    random = np.random.default_rng(seed)
    moments = np.linspace(0, visitors, looks + 1)[1:].round().astype(int)
    readings = simulate_looks(random, experiments, moments.tolist(), (rate, rate * (1 + lift)), precision)
    states = np.array([compared(answer)["verdict"]["state"] for answer in readings.reports(own)])
    return {"said": float((states.reshape(experiments, looks) == state).any(axis=1).mean())}


def many_goals(
    seed: Sequence[int],
    experiments: int,
    visitors: int,
    rate: float,
    precision: Kind,
    goals: int = 10,
    looks: int = 100,
) -> dict[str, float]:
    """A/A experiments with independent goals, read at so many moments: how often some goal is given a winner or a
    loser at some look, if each has 5 %, and if the first has 5 % and the others share 5 %.
    """
    random = np.random.default_rng(seed)
    moments = np.linspace(0, visitors, looks + 1)[1:].round().astype(int)
    ever: dict[str, list[npt.NDArray[np.bool_]]] = {"each": [], "shared": []}
    batches = np.broadcast_to(np.diff(moments, prepend=0), (experiments, looks))
    variant = random.binomial(batches, 0.5)
    trials = grow(random, np.stack([batches - variant, variant], axis=-1), precision)
    for _ in range(goals):
        reached = [random.binomial(batches - variant, rate), random.binomial(variant, rate)]
        successes = grow(random, np.stack(reached, axis=-1), precision)
        readings = Readings(precision, trials[..., 0], successes[..., 0], trials[..., 1], successes[..., 1])
        alphas = {"each": ALPHA, "shared": ALPHA / (goals - 1)}
        rules = {
            name: (2.7, lambda variant, control, alpha=alpha: misses(0, always_valid_interval(variant, control, alpha)))
            for name, alpha in alphas.items()
        }
        for name, when in first(readings, readings.standing(), rules).items():
            ever[name].append(when < looks)
    each, shared = (np.array(ever[name]) for name in ("each", "shared"))
    return {
        "uncorrected": float(each.any(axis=0).mean()),
        "primary": float(each[0].mean()),
        "secondary": float(shared[1:].any(axis=0).mean()),
        "any": float((each[0] | shared[1:].any(axis=0)).mean()),
    }


def split(
    seed: Sequence[int],
    experiments: int,
    visitors: int,
    weights: Sequence[float],
    precision: Kind,
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
        alarms += sample_ratio_p_value([reading(value, precision) for value in row], weights) < SPLIT_ALPHA
        naive += sample_ratio_p_value([Count(value, 0.0) for value in row], weights) < SPLIT_ALPHA
    return {"alarms": alarms / experiments, "naive": naive / experiments}


def many_variants(
    seed: Sequence[int], experiments: int, visitors: int, rate: float, precision: Kind, variants: int
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
            PARTICIPATE: {label: reading(n, precision) for label, n in zip(labels, visited)},
            "buy": {label: reading(s, precision) for label, s in zip(labels, reached)},
        }
        rows = experiment_report(counts)["goals"][0]["results"][1:]
        for name in hits:
            hits[name] += min(row[name] for row in rows) < ALPHA
    return {name: value / experiments for name, value in hits.items()}


def counting(seed: Sequence[int], experiments: int, visitors: int, precision: Kind) -> dict[str, float]:
    """The relative standard error that counters of this precision have."""
    values = count(np.random.default_rng(seed), np.full(experiments, visitors), precision)
    return {"bias": float(values.mean() / visitors - 1), "error": float(values.std() / visitors)}


def for_json(interval: Interval) -> dict[str, float | None]:
    return {name: end if isfinite(end) else None for name, end in (("low", interval.low), ("high", interval.high))}


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
