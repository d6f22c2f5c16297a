"""Inference that holds no matter how often you check, and how many visitors it still takes.

A p-value is right for one look. Whoever looks every day and stops at the first p < 0.05 is wrong far more often than 1
time in 20. A confidence sequence is an interval for every moment, and all of them hold together at the stated
confidence: whenever you stop, and for whatever reason, the last one is right.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, exp, hypot, inf, isinf, log, sqrt

from .distributions import brownian_tail, critical_value, z_of_tail
from .proportions import Interval, Proportion, difference_interval

TYPICAL_CHANGE = 0.2
"""The standard deviation of the log odds ratios (at low rates: relative changes) that the mixture is tuned for.

The confidence sequence is valid for any value. A smaller one detects small changes in large experiments a little
sooner, and large changes in small ones much later. At a rate of 20 % this is GrowthBook's default, which is
tuned for 5,000 visitors.
"""

BOUNDARY_MINIMUM = 200
"""The clock at which the boundary is lowest: a higher multiple of the counters' error gains nothing."""

POWER = 0.8
EQUAL = (0.5, 0.5)

HIDDEN = 0.9
"""The counters' part in the variance of a difference from which on more visitors are no way to a verdict."""

STEPS = 20
"""At most; 1 to 3 are enough."""

TOLERANCE = 0.01
"""Of the last step; what is left is less than 0.1 %."""


def boundary(clock: float, alpha: float = 0.05, typical_change: float = TYPICAL_CHANGE) -> float:
    """The z beyond which a difference is real, whenever you check.

    Robbins' normal mixture as asymptotic confidence sequence: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas,
    arXiv:2103.06476 (2021; Annals of Statistics 52, 2024), theorem 2.2, in units of the standard error:
    sqrt(2 (v r^2 + 1) / (v r^2) log(sqrt(v r^2 + 1) / alpha)). Its clock v is the variance gathered so far (t
    sigma^2 there), r the `typical_change`. Infinite at clock 0. Raises ValueError unless 0 < alpha < 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha!r}")
    gathered = clock * typical_change * typical_change
    if gathered <= 0:
        return inf
    return sqrt(2 * (gathered + 1) / gathered * log(sqrt(gathered + 1) / alpha))


def information(variant: Proportion, control: Proportion) -> float:
    """The clock of a comparison: p (1 - p) n1 n0 / (n1 + n0), about half the successes of one variant.

    The variance of the score for a log odds ratio, under the pooled rate p (Jennison & Turnbull 2000, Group
    Sequential Methods, 3.4.1). A clock of visitors would start low rates with a boundary that their few
    successes do not support.
    """
    n1, n0 = variant.trials.value, control.trials.value
    pooled = (variant.reached + control.reached + 2) / (n1 + n0 + 4)
    return pooled * (1 - pooled) * n1 * n0 / (n1 + n0)


def always_valid_interval(variant: Proportion, control: Proportion, alpha: float = 0.05) -> Interval:
    """Variant's rate minus control's, at the confidence 1 - alpha for all looks together.

    `boundary` standard errors about the difference, with one success and one failure added to either variant
    (Agresti & Caffo 2000, The American Statistician 54, 280-288), so that none or all converting is not
    taken for certain. The counters' error does not average out from look to look: its variance is added whole, and
    the boundary, at 3 and more, covers the few independent values that it takes while an experiment grows. It
    is not multiplied by the boundary's height at the start, which is there for the sampling. Never narrower
    than the interval for a single look, which is safer where one rate is 0 or 1.
    """
    difference, sampling, counting = _estimate(variant, control)
    clock = information(variant, control)
    reach = hypot(
        boundary(clock, alpha) * sqrt(sampling), boundary(max(clock, BOUNDARY_MINIMUM), alpha) * sqrt(counting)
    )
    return _about(difference, reach, difference_interval(variant, control, alpha))


def always_valid_p_value(variant: Proportion, control: Proportion, alpha: float = 0.05) -> float:
    """The smallest alpha at which the confidence sequence excludes 0. Below `alpha` exactly when
    `always_valid_interval` at `alpha` does.

    No matter when you check, it falls below 0.05 in at most 1 of 20 experiments whose rates are equal.

    The mixture's likelihood ratio turned over, sqrt(v r^2 + 1) exp(-z^2 / 2 v r^2 / (v r^2 + 1)); symbols as
    in `boundary` (Johari, Koomen, Pekelis & Walsh 2022, Operations Research 70, 1806-1821: the
    mixture sequential probability ratio test). As the square of the boundary is slope (height - log alpha),
    it is solved for alpha with the counters' part, too.
    """
    difference, sampling, counting = _estimate(variant, control)
    clock = information(variant, control)
    slope, height = _mixture(clock)
    slope_counted, height_counted = _mixture(max(clock, BOUNDARY_MINIMUM))
    sampling *= slope
    counting *= slope_counted
    beyond = difference * difference - sampling * height - counting * height_counted
    p = min(1.0, exp(-beyond / (sampling + counting)))
    return _not_before_once(p, variant, control, alpha)


@lru_cache(maxsize=256)
def planned_boundary(alpha: float = 0.05) -> float:
    """The level that Brownian motion on [0, 1] exceeds, on either side, with the probability alpha: 2.2414 at 5 %.

    The boundary of O'Brien & Fleming (1979), Biometrics 35, 549-556, for any number of looks (Lan & DeMets 1983,
    Biometrika 70, 659-663; Jennison & Turnbull 2000, Group Sequential Methods, 2.3 and 7.2). `brownian_tail`, solved by
    bisection. Raises ValueError unless 0 < alpha < 1.
    """
    low, high = 0.0, critical_value(alpha) + 2
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if brownian_tail(middle) > alpha else (low, middle)
    return high


def information_fraction(
    variant: Proportion, control: Proportion, planned_variant: float, planned_control: float
) -> float:
    """How much of the planned information has come: n1 n0 / (n1 + n0), over that of the planned visitors.

    Above 1 once more have come than planned. Raises ValueError unless both planned numbers are above 0.
    """
    if not (planned_variant > 0 and planned_control > 0):
        raise ValueError(f"a plan needs visitors in both variants, not {planned_variant!r} and {planned_control!r}")
    n1, n0 = variant.trials.value, control.trials.value
    return n1 / (n1 + n0) * n0 / planned_control * (planned_variant + planned_control) / planned_variant


def planned_interval(variant: Proportion, control: Proportion, fraction: float, alpha: float = 0.05) -> Interval:
    """Variant's rate minus control's, at the confidence 1 - alpha for all looks until the planned end together.

    `fraction` is the `information_fraction` t at this look, above 0. Under no difference the difference, times the
    visitors, is Brownian motion in its own variance, and `planned_boundary` standard deviations of it at the end hold
    at every moment before: z >= c / sqrt(t). That is so for the counters' part, too: what a counter is off by, in
    visitors, grows by independent steps, so that its relative error after n visitors and after N has the correlation
    n / N (linear counting: Whang, Vander-Zanden & Taylor 1990; of HyperLogLogs measured: 0.89 at 0.9, 0.49 at 0.5,
    0.105 at 0.1). With the variances S of sampling and C of counting now, those at the end are S t and C, and the reach
    is c sqrt(S t + C) / t. A counter that will be less exact at the end, such as a bitmap that fills up, has the larger
    C of then: between `error` now and `settled_error` at twice the visitors.

    The last look may come late, with t above 1. Its boundary is then higher by as much as the variance is larger than
    planned, c sqrt(t) without counting error: at c, a last look at twice the plan would raise 5 % to 6.4 %; so it
    stays at 5.1 % (30,000 Brownian paths of 1,000 looks). The power does not suffer, as z grows with sqrt(t) as well.

    One success and one failure are added to either variant, and it is never narrower than the interval for a single
    look, as in `always_valid_interval`. Nor is S below its value under one pooled rate: the few visitors of a small
    variant may all do the same (at 1 : 19, 50 % and 300 in all, a level of 0.45 % was 0.9 %, and is 0.05 %).
    """
    difference, reach = _planned(variant, control, fraction)
    return _about(difference, planned_boundary(alpha) * reach, difference_interval(variant, control, alpha))


def planned_p_value(variant: Proportion, control: Proportion, fraction: float, alpha: float = 0.05) -> float:
    """The smallest alpha at which `planned_interval` excludes 0. Below `alpha` exactly when that at `alpha` does."""
    difference, reach = _planned(variant, control, fraction)
    p = brownian_tail(abs(difference) / reach)
    return _not_before_once(p, variant, control, alpha)


def counting_share(variant: Proportion, control: Proportion, alpha: float = 0.05) -> float:
    """The part of the square of `always_valid_interval`'s width that the counters contribute; no visitor reduces it."""
    _, sampling, counting = _estimate(variant, control)
    clock = information(variant, control)
    counting *= (boundary(max(clock, BOUNDARY_MINIMUM), alpha) / boundary(clock, alpha)) ** 2
    return counting / (sampling + counting)


def planned_size(
    rate: float,
    change: float,
    *,
    alpha: float = 0.05,
    power: float = POWER,
    shares: tuple[float, float] = EQUAL,
    counting_variance: float = 0.0,
) -> float:
    """The visitors in all to plan for, so that the planned verdict detects a change of `rate` with this probability.

    (c + z)^2 (p1 q1 / w1 + p q / w0) / d^2 (Fleiss, Levin & Paik 2003, 4.2, with a variance that is not pooled and
    without continuity correction), where d is the change, p1 = p + d, q = 1 - p, z the normal quantile of the power, c
    `planned_boundary` and w1 and w0 the `shares`, the parts of all visitors that go to the variant and to the control.
    At 5 % and 80 % that is ((2.24 + 0.84) / (1.96 + 0.84))^2 = 1.21 times the visitors of a single look. It is the
    power at the end alone: who reads often also finds what was beyond the boundary before, 84 % instead of 80 %.

    The counters' error is a floor, `counting_variance` (of the difference, in units of rate squared), that no visitor
    reduces: d^2 becomes d^2 - (c + z)^2 times it, and the answer is infinite if nothing is left. Raises ValueError
    unless both rates lie in [0, 1] and change is not 0.
    """
    return _size_at_end(rate, change, planned_boundary(alpha), power, shares, counting_variance)


def single_look_size(
    rate: float,
    change: float,
    *,
    alpha: float = 0.05,
    power: float = POWER,
    shares: tuple[float, float] = EQUAL,
    counting_variance: float = 0.0,
) -> float:
    """The visitors in all after which a test that is read once, and not before, detects a change of `rate` with this
    probability.

    As `planned_size`, with `critical_value` for its boundary. Whoever looks earlier as well is wrong more often than
    alpha.
    """
    return _size_at_end(rate, change, critical_value(alpha), power, shares, counting_variance)


@lru_cache(maxsize=64)
def always_valid_size(
    rate: float,
    change: float,
    *,
    alpha: float = 0.05,
    power: float = POWER,
    shares: tuple[float, float] = EQUAL,
    counting_variance: float = 0.0,
) -> float:
    """The visitors in all until the always-valid verdict, read often, has detected a change of `rate` with this
    probability. Arguments and errors are those of `planned_size`; infinite if the counters hide the change.

    Then the expected difference lies `boundary` + m standard deviations from 0. If only the end counted, m would be
    the normal quantile z of the power. The probability of having crossed the boundary b at any time is Phi(m) + phi(m)
    / (b + m) (the tangent to the boundary: Siegmund 1985, Sequential Analysis, 4.3; Phi and phi are the normal
    distribution and density), so m is about z - 1/b, and z - 0.95/b for a hundred looks; early, where b sqrt(clock) is
    flat, half of that. The counters' error after n and
    after 2 n visitors has the correlation 1/2 only, so that it is drawn a few times while the experiment grows: where
    it is the part q of the variance, m is lower by 0.65 q - log(1 - q)/4 (fitted to simulated experiments of 100 looks:
    80 % is 78 to 84 % for counters of every kind, q up to 0.8, any split; 50 % is 49 to 52 % with exact counters and
    50 looks). From q = HIDDEN on, where it takes ten times what exact counters need, more visitors are no way to a
    verdict.
    """
    changed, apart = rate + change, _spread(rate, change, shares)
    gain = z_of_tail(1 - power)
    counting = counting_variance

    def lacking(log_visitors: float) -> float:
        """The logarithm of the expected distance from 0 that is needed, over the one that there is."""
        visitors = exp(log_visitors)
        n1, n0 = visitors * shares[0], visitors * shares[1]
        p1, p0 = (n1 * changed + 1) / (n1 + 2), (n0 * rate + 1) / (n0 + 2)
        sampling = p1 * (1 - p1) / (n1 + 2) + p0 * (1 - p0) / (n0 + 2)
        pooled = (n1 * p1 + n0 * p0) / (n1 + n0)
        clock = pooled * (1 - pooled) * n1 * n0 / (n1 + n0)
        share = counting / (sampling + counting)
        gathered = clock * TYPICAL_CHANGE * TYPICAL_CHANGE
        early = 0.95 * (gathered + 1) / (gathered + 2)
        critical = boundary(clock, alpha)
        if clock < BOUNDARY_MINIMUM:
            critical = hypot(critical * sqrt(1 - share), boundary(BOUNDARY_MINIMUM, alpha) * sqrt(share))
        needed = critical + gain - early / critical - 0.65 * share + log(1 - share) / 4
        return log(needed) + log(sampling + counting) / 2 - log(max((p1 - p0) / change, 0.1) * abs(change))

    most = log(max(apart / counting / (1 / HIDDEN - 1), 1)) if counting else inf
    before = min(most - 0.5, log(16 * max(apart / change / change, 1)))
    lacked = lacking(before)
    found = min(most, before + 2 * lacked)
    for _ in range(STEPS):  # the secant method
        lacks = lacking(found)
        if found == most and lacks > 0:
            return inf
        if lacks == lacked:
            break
        step = lacks * (found - before) / (lacks - lacked)
        before, lacked, found = found, lacks, min(most, found - step)
        if abs(step) < TOLERANCE:
            break
    return exp(found)


def visitors_needed(
    variant: Proportion,
    control: Proportion,
    relative_change: float,
    alpha: float = 0.05,
    shares: tuple[float, float] = EQUAL,
) -> int | None:
    """How many more visitors the experiment needs in all until the always-valid verdict has detected such a change with
    a chance of 80 %, if it is read often.

    `shares` are the parts of all visitors that go to the variant and to the control; less than 1 together where there
    are more variants. The x more visitors for which p1 q1 / (n1 + w1 x) + p0 q0 / (n0 + w0 x) is the variance of
    `always_valid_size`. 0 once they have come; None if the counters' own error hides the change, so that ten times what
    exact counters need is not enough, if no one has converted yet, or if no rate can change so much.
    """
    rate = control.rate or (variant.reached + control.reached) / (variant.trials.value + control.trials.value)
    rate = min(rate, 1 - 1 / (control.trials.value + 2))  # all converting is not taken for certain
    change = rate * relative_change
    if change == 0:
        return None
    if rate + change > 1:
        change = -change
    if rate + change < 0:
        return None
    floor = rate * rate * (variant.settled_error_squared + control.settled_error_squared)
    in_all = always_valid_size(rate, change, alpha=alpha, shares=shares, counting_variance=floor)
    if isinf(in_all):
        return None
    n1, n0, (w1, w0) = variant.trials.value, control.trials.value, shares
    changed, variance = rate + change, _spread(rate, change, shares) / in_all
    v1, v0 = changed * (1 - changed) / variance, rate * (1 - rate) / variance
    # w1 w0 x^2 + half x + rest = 0
    half = n1 * w0 + n0 * w1 - v1 * w0 - v0 * w1
    rest = n1 * n0 - v1 * n0 - v0 * n1
    return max(0, ceil((sqrt(max(0.0, half * half - 4 * w1 * w0 * rest)) - half) / (2 * w1 * w0)))


def _size_at_end(
    rate: float, change: float, boundary_at_end: float, power: float, shares: tuple[float, float], counting: float
) -> float:
    """`planned_size` for any boundary."""
    apart, drift = _spread(rate, change, shares), boundary_at_end + z_of_tail(1 - power)
    left = change * change - drift * drift * counting
    return drift * drift * apart / left if left > 0 else inf


def _spread(rate: float, change: float, shares: tuple[float, float]) -> float:
    """The variance of the difference, times the visitors in all."""
    changed = rate + change
    if change == 0 or not (0 <= rate <= 1 and 0 <= changed <= 1):
        raise ValueError(f"{rate!r} to {changed!r} is not a change of a rate")
    return changed * (1 - changed) / shares[0] + rate * (1 - rate) / shares[1]


def _mixture(clock: float) -> tuple[float, float]:
    """The square of the boundary is slope (height - log alpha)."""
    gathered = clock * TYPICAL_CHANGE * TYPICAL_CHANGE
    return 2 * (gathered + 1) / gathered, log(gathered + 1) / 2


def _estimate(variant: Proportion, control: Proportion) -> tuple[float, float, float]:
    """The difference with one success and one failure added to either, and the variances that sampling and counting
    contribute.
    """
    m1, m0 = variant.trials.value + 2, control.trials.value + 2
    p1, p0 = (variant.reached + 1) / m1, (control.reached + 1) / m0
    sampling = p1 * (1 - p1) / m1 + p0 * (1 - p0) / m0
    counting = variant.rate**2 * variant.error_squared + control.rate**2 * control.error_squared
    return p1 - p0, sampling, counting


def _planned(variant: Proportion, control: Proportion, fraction: float) -> tuple[float, float]:
    """The difference, and how far from 0 it must lie, in units of `planned_boundary`."""
    difference, sampling, counting = _estimate(variant, control)
    m1, m0 = variant.trials.value + 2, control.trials.value + 2
    pooled = (variant.reached + control.reached + 2) / (m1 + m0)
    sampling = max(sampling, pooled * (1 - pooled) * (1 / m1 + 1 / m0))
    at_end = counting
    if counting and fraction < 1:
        settled = variant.rate**2 * variant.settled_error_squared + control.rate**2 * control.settled_error_squared
        at_end *= (settled / counting) ** min(1, 1 / fraction - 1)
    planned = sqrt((sampling + at_end / fraction) / fraction)
    return difference, max(planned, (sampling + counting) / planned)


def _about(difference: float, reach: float, once: Interval) -> Interval:
    return Interval(min(once.low, max(-1.0, difference - reach)), max(once.high, min(1.0, difference + reach)))


def _not_before_once(p: float, variant: Proportion, control: Proportion, alpha: float) -> float:
    """The p-value of an interval that is never narrower than the one for a single look."""
    if p < alpha:
        once = difference_interval(variant, control, alpha)
        if once.low <= 0 <= once.high:
            return alpha * (1 + 1e-12)  # so that, times the number of comparisons, it does not round to less than 0.05
    return p
