"""Inference that holds no matter how often you check, and how many visitors it still takes.

A p-value is right for one look. Whoever looks every day and stops at the first p < 0.05 is wrong far more often than 1
time in 20. A confidence sequence is an interval for every moment, and all of them hold together at the stated
confidence: whenever you stop, and for whatever reason, the last one is right.
"""

from __future__ import annotations

from math import ceil, exp, hypot, inf, isinf, log, sqrt

from .distributions import critical_value
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
    once = difference_interval(variant, control, alpha)
    return Interval(min(once.low, max(-1.0, difference - reach)), max(once.high, min(1.0, difference + reach)))


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
    if p < alpha:
        once = difference_interval(variant, control, alpha)
        if once.low <= 0 <= once.high:
            return alpha * (1 + 1e-12)  # so that, times the number of comparisons, it does not round to less than 0.05
    return p


def counting_share(variant: Proportion, control: Proportion, alpha: float = 0.05) -> float:
    """The part of the square of `always_valid_interval`'s width that the counters contribute; no visitor reduces it."""
    _, sampling, counting = _estimate(variant, control)
    clock = information(variant, control)
    counting *= (boundary(max(clock, BOUNDARY_MINIMUM), alpha) / boundary(clock, alpha)) ** 2
    return counting / (sampling + counting)


def visitors_per_variant(
    rate: float,
    change: float,
    *,
    alpha: float = 0.05,
    power: float = POWER,
    counting_variance: float = 0.0,
    critical: float | None = None,
) -> float:
    """The visitors per variant with which a test detects a change of `rate` with this probability.

    Fleiss, Levin & Paik (2003), 4.2, without continuity correction: (z_a sqrt(2 p q) + z_b sqrt(p q + p1
    q1))^2 / d^2, where d is the change, p1 = p + d, q = 1 - p. The counters' error is a floor, c =
    `counting_variance` (of the difference, in units of rate squared), that no visitor reduces: d^2 becomes d^2
    - (z_a + z_b)^2 c, and the answer is infinite if nothing is left. `critical`, the z of a test whose
    variance is not pooled, is used in place of z_a: then p q + p1 q1 stands in both places.
    Raises ValueError unless both rates lie in [0, 1] and change is not 0.
    """
    changed = rate + change
    if change == 0 or not (0 <= rate <= 1 and 0 <= changed <= 1):
        raise ValueError(f"{rate!r} to {changed!r} is not a change of a rate")
    z_a = critical_value(alpha) if critical is None else critical
    z_b = critical_value(2 * (1 - power))
    apart = sqrt(rate * (1 - rate) + changed * (1 - changed))
    spread = z_a * (sqrt(2 * rate * (1 - rate)) if critical is None else apart) + z_b * apart
    left = change * change - (z_a + z_b) ** 2 * counting_variance
    return spread * spread / left if left > 0 else inf


def visitors_needed(
    variant: Proportion, control: Proportion, relative_change: float, alpha: float = 0.05
) -> int | None:
    """How many more visitors each of the two needs until the always-valid interval detects such a change at 80
    % power.

    `visitors_per_variant` with the `boundary` at the moment when that many have come. For variants with n1 and
    n0 visitors, their harmonic mean counts. 0 once they have come; None if no number is enough because the
    counters' own error hides the change, or if no one has converted yet.
    """
    rate = control.rate or (variant.reached + control.reached) / (variant.trials.value + control.trials.value)
    rate = min(rate, 1 - 1 / (control.trials.value + 2))  # all converting is not taken for certain
    change = rate * relative_change
    if change == 0:
        return None
    if rate + change > 1:
        change = -change
    floor = rate * rate * (variant.settled_error_squared + control.settled_error_squared)
    changed = rate + change
    clock = (rate * (1 - rate) + changed * (1 - changed)) / 4  # per visitor of either variant
    critical = boundary(100, alpha)
    for _ in range(3):
        needed = visitors_per_variant(rate, change, critical=critical, counting_variance=floor)
        if isinf(needed):
            return None
        critical = boundary(clock * needed, alpha)
    n1, n0 = variant.trials.value, control.trials.value
    return max(0, ceil((needed - n1 - n0 + hypot(needed, n1 - n0)) / 2))


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
