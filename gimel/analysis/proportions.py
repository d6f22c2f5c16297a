"""What counts say: rates, differences and p-values, as pure functions.

Every function takes its counts as `Count`, a reading with the counter's own relative standard error: a HyperLogLog is
off by 0.8 % no matter how many visitors it has seen, and a test that takes it for exact finds differences where there
are none. The inference that holds no matter how often you check is in `sequential`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from math import exp, hypot, inf, pi, sqrt

from gimel.hyperloglog import Count

from .distributions import (
    NEGLIGIBLE,
    critical_value,
    hypergeometric_tails,
    hypergeometric_z,
    normal_tail,
    z_of_tail,
)

EXACT_BELOW = 100
"""Below this expectation in the rarest cell of a 2 x 2 table, tails are summed exactly."""

SQRT_TAU = sqrt(2 * pi)


@dataclass(frozen=True, slots=True)
class Interval:
    """From low to high, both included; infinite if there is no bound."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Proportion:
    """How many of a variant's visitors reached a goal. Raises ValueError if there are no visitors.

    A HyperLogLog may read more successes than visitors when nearly all convert: they are taken as all.
    """

    successes: Count
    trials: Count
    reached: int = field(init=False, repr=False, compare=False)
    rate: float = field(init=False, repr=False, compare=False)
    error_squared: float = field(init=False, repr=False, compare=False)
    settled_error_squared: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.trials.value == 0:
            raise ValueError("a rate needs at least one visitor")
        # Computed once, as every figure of a report uses them.
        fix = object.__setattr__
        fix(self, "reached", min(self.successes.value, self.trials.value))
        fix(self, "rate", self.reached / self.trials.value)
        fix(self, "error_squared", self.successes.error**2 + self.trials.error**2)
        fix(self, "settled_error_squared", self.successes.settled_error**2 + self.trials.settled_error**2)

    @property
    def error(self) -> float:
        """The relative standard error that the two counters alone give the rate."""
        return sqrt(self.error_squared)


def rate_interval(variant: Proportion, alpha: float = 0.05) -> Interval:
    """The rates that are compatible with what was seen, at the confidence 1 - alpha.

    Agresti & Coull (1998), The American Statistician 52, 119-126, advised by Brown, Cai & DasGupta (2001),
    Statistical Science 16, 101-133: p* ± z sqrt(p* (1 - p*) / n*), where n* = n + z^2 visitors and p* = (s +
    z^2 / 2) / n*. It contains Wilson's interval, whose coverage dips to 92.7 % at rare successes. The counters
    add p^2 e^2 to the variance, e^2 being the sum of their two relative variances (the delta method for a
    ratio; Casella & Berger 2002, example 5.5.27).
    """
    z2 = critical_value(alpha) ** 2
    p, n = variant.rate, variant.trials.value + z2
    middle = (variant.reached + z2 / 2) / n
    reach = sqrt(z2 * (middle * (1 - middle) / n + p * p * variant.error_squared))
    return Interval(max(0.0, min(p, middle - reach)), min(1.0, max(p, middle + reach)))


def difference_interval(
    variant: Proportion, control: Proportion, alpha: float = 0.05, p: float | None = None
) -> Interval:
    """Variant's rate minus control's, at the confidence 1 - alpha.

    Newcombe (1998), Statistics in Medicine 17, 873-890, method 10 (MOVER): the distances from either rate to
    the ends of its Wilson interval add up in squares. Right for small counts, and never beyond -1 and 1.
    With `p`, their `p_value`, it excludes 0 exactly when that is below alpha. Where Newcombe's does not, the end next
    to 0 is the test-based one (Miettinen 1976, American Journal of Epidemiology 103, 226-235): the difference times
    1 - z / z_p, of the critical value z and the z_p that has this p-value.
    """
    z = critical_value(alpha)
    p1, p0 = variant.rate, control.rate
    l1, u1 = _wilson(p1, variant.trials.value, variant.error_squared, z)
    l0, u0 = _wilson(p0, control.trials.value, control.error_squared, z)
    down, up = hypot(p1 - l1, u0 - p0), hypot(u1 - p1, p0 - l0)
    return _agreeing(max(-1.0, p1 - p0 - down), min(1.0, p1 - p0 + up), p1 - p0, p, alpha)


def uplift_interval(variant: Proportion, control: Proportion, alpha: float = 0.05, p: float | None = None) -> Interval:
    """Variant's rate relative to the control's, minus 1, at the confidence 1 - alpha.

    Donner & Zou (2012), Statistical Methods in Medical Research 21, 347-359 (MOVER for a ratio):
    the ratios q for which the interval of p1 - q p0, built as in `difference_interval`, contains 0. So it
    excludes 0 exactly when the interval of the difference with the same `p` does. The high end is infinite if the
    control's rate may be 0.
    """
    z = critical_value(alpha)
    p1, p0 = variant.rate, control.rate
    l1, u1 = _wilson(p1, variant.trials.value, variant.error_squared, z)
    l0, u0 = _wilson(p0, control.trials.value, control.error_squared, z)
    cross = p1 * p0
    low = high = 0.0
    if (above_zero := l1 * (2 * p1 - l1)) > 0:
        low = above_zero / (cross + sqrt(max(0.0, cross * cross - u0 * (2 * p0 - u0) * above_zero)))
    if (bounded := l0 * (2 * p0 - l0)) > 0:
        high = (cross + sqrt(max(0.0, cross * cross - u1 * (2 * p1 - u1) * bounded))) / bounded
    high = high - 1 if bounded > 0 else inf
    return _agreeing(low - 1, high, (p1 - p0) / (p0 or p1 or 1.0), p, alpha)


def p_value(variant: Proportion, control: Proportion) -> float:
    """How often two equal rates would differ at least as much as these do, in a single look. Two-sided.

    Fisher's exact test with the mid-p correction, the smaller tail doubled (Lancaster 1961, JASA 56, 223-234;
    Agresti 2013, Categorical Data Analysis, 3.5.6): given all successes, the variant's are hypergeometric.
    From an expectation of EXACT_BELOW in every cell on, the pooled two-sided z (Fleiss, Levin & Paik 2003,
    3.1). Between arms of unequal size its two tails are uneven there, although they are right together: 130 of 1,000
    against 900 of 9,000 have 0.0031, and by Fisher's mid-p 0.0042. The counters add to the variance of the difference
    under the pooled rate p, p (1 - p) (1/n1 + 1/n0), p^2 times their four relative variances.
    """
    s1, n1, s0, n0 = variant.reached, variant.trials.value, control.reached, control.trials.value
    sampling, counting = _null_variances(variant, control)
    if sampling == 0:
        return 1.0
    if _rarest_cell(s1 + s0, n1, n0) < EXACT_BELOW:
        tails = hypergeometric_tails(s1, n1, n0, s1 + s0)
        tail = min(tails.below, tails.above) + tails.at / 2
        if counting == 0:
            return min(1.0, 2 * tail)
        z = with_counting(z_of_tail(tail), variant.rate - control.rate, sampling, counting)
    else:
        z = abs(variant.rate - control.rate) / sqrt(sampling + counting)
    return min(1.0, 2 * normal_tail(z))


def chance_to_beat_control(variant: Proportion, control: Proportion) -> float:
    """The probability that the variant's rate is higher, if all rates were equally likely beforehand.

    With uniform priors either rate is Beta(s + 1, n - s + 1) afterwards, and the chance that one exceeds the
    other is a hypergeometric tail (Altham 1969, JRSS B 31, 261-269): of n1 + n0 + 2 points, n0 + 1 of which
    are the control's, at least s0 + 1 of the first s1 + s0 + 1 are the control's. From EXACT_BELOW on it is
    approximated by `hypergeometric_z`, within 0.0003. The counters' error enters as in `p_value`.
    """
    s1, n1, s0, n0 = variant.reached, variant.trials.value, control.reached, control.trials.value
    sampling, counting = _null_variances(variant, control)
    if _rarest_cell(s1 + s0, n1, n0) < EXACT_BELOW:
        chance, rest, _ = _exact_posterior(s1, n1, s0, n0)
        if counting == 0:
            return chance
        z = z_of_tail(chance) if chance < 0.5 else -z_of_tail(rest)
    else:
        z = hypergeometric_z(s0 + 1, n0 + 1, n1 + 1, s1 + s0 + 1)
    return normal_tail(with_counting(z, variant.rate - control.rate, sampling, counting))


def expected_losses(variant: Proportion, control: Proportion) -> tuple[float, float]:
    """What choosing the variant, and what choosing the control, loses on average: E[max(p0 - p1, 0)] and E[max(p1 -
    p0, 0)], as differences of rates (0.0004 is 0.04 percentage points).

    The posteriors are those of `chance_to_beat_control`, so the two losses differ by the difference of their means.
    Of two Betas with the means m1 and m0, the first loss is (m0 - m1) P(p0 > p1) + h (1 / (n1 + 2) + 1 / (n0 + 2)), h
    = B(a1 + a0, b1 + b0) / (B(a1, b1) B(a0, b0)): E[p0 1(p0 > p1)] is m0 times the chance with one success more,
    which adds h / a0 (Cook 2005, Exact Calculation of Beta Inequalities; Stucchio 2015, Bayesian A/B Testing at VWO,
    for the loss). Large counts: the loss of a normal difference, sd (phi(z) - |z| Phi(-|z|)), with Edgeworth's
    term for the skewness g, -sd g z phi(z) / 6 (Hall 1992, The Bootstrap and Edgeworth Expansion, 2.3). The
    counters add their variance to the normal one.
    """
    s1, n1, s0, n0 = variant.reached, variant.trials.value, control.reached, control.trials.value
    m1, m0 = (s1 + 1) / (n1 + 2), (s0 + 1) / (n0 + 2)
    v1, v0 = m1 * (1 - m1) / (n1 + 3), m0 * (1 - m0) / (n0 + 3)
    gain, sampling = m1 - m0, v1 + v0
    counting = m1 * m1 * variant.error_squared + m0 * m0 * control.error_squared
    if _rarest_cell(s1 + s0, n1, n0) < EXACT_BELOW:
        chance, rest, h = _exact_posterior(s1, n1, s0, n0)
        loss = h * (1 / (n1 + 2) + 1 / (n0 + 2)) - abs(gain) * (rest if gain > 0 else chance)
        if counting:
            loss += _normal_loss(gain, sampling + counting) - _normal_loss(gain, sampling)
    else:
        variance = sampling + counting
        third = 2 * (v1 * v1 * (1 / m1 - 1 / (1 - m1)) - v0 * v0 * (1 / m0 - 1 / (1 - m0)))
        edgeworth = third * gain / variance**1.5 * exp(-gain * gain / variance / 2) / SQRT_TAU / 6
        loss = _normal_loss(gain, variance) - edgeworth
    loss = max(0.0, loss)
    return (loss, loss + gain) if gain > 0 else (loss - gain, loss)


def bonferroni(p: float, comparisons: int) -> float:
    """A p-value as one of several: the chance that any of this many comparisons comes out like this by luck.

    Dunn (1961), JASA 56, 52-64. The interval that goes with it is that of alpha / comparisons.
    """
    return min(1.0, p * max(1, comparisons))


def _agreeing(low: float, high: float, estimate: float, p: float | None, alpha: float) -> Interval:
    """The interval, with its end next to 0 moved if it does not exclude 0 exactly when p is below alpha."""
    if p is not None and (p < alpha) != (low > 0 or high < 0):
        left = 1 - critical_value(alpha) / max(z_of_tail(p / 2), NEGLIGIBLE)
        end = estimate * (max(left, NEGLIGIBLE) if p < alpha else min(left, 0.0))
        if estimate > 0:
            low = max(-1.0, end)
        else:
            high = min(1.0, end)
    return Interval(low, high)


def _exact_posterior(s1: int, n1: int, s0: int, n0: int) -> tuple[float, float, float]:
    """Of two rates with the posteriors Beta(s + 1, n - s + 1): P(p1 > p0), P(p0 > p1), and the h of `expected_losses`.

    From the tails of `p_value`, so that they are summed but once. P(X < s1) is the chance that Beta(s1, n1 - s1 + 1)
    exceeds Beta(s0 + 1, n0 - s0) (Altham 1969), and one more success or failure adds h / a or h / b (Cook 2005).
    """
    reached, everyone = s1 + s0, n1 + n0
    tails = hypergeometric_tails(s1, n1, n0, reached)
    more = (n1 + 1) * (reached + 1) / ((everyone + 1) * (everyone + 2))
    part = (n0 - s0) / (everyone + 1) + more
    h = tails.at * more * (n0 + 1) * (everyone - reached + 1) / (everyone + 3)
    return tails.below + tails.at * part, tails.above + tails.at * (1 - part), h


def _normal_loss(mean: float, variance: float) -> float:
    """E[max(-x, 0)] of a normal x with this mean above 0 (below 0: E[max(x, 0)])."""
    sd = sqrt(variance)
    z = abs(mean) / sd
    return sd * (exp(-z * z / 2) / SQRT_TAU - z * normal_tail(z))


@lru_cache(maxsize=256)
def _wilson(p: float, n: int, counting: float, z: float) -> tuple[float, float]:
    """All rates r with (p - r)^2 <= z^2 (r (1 - r) / n + r^2 e^2): Wilson (1927), JASA 22, 209-212.

    p is the observed rate, n the visitors, e^2 the counters' relative variance. Either end solves the quadratic.
    """
    z2 = z * z
    middle = p + z2 / (2 * n)
    root = z * sqrt(p * (1 - p) / n + z2 / (4 * n * n) + p * p * counting)
    leading = 1 + z2 / n - z2 * counting
    high = (middle + root) / leading if leading > 0 else 1.0
    return min(p, p * p / (middle + root)), max(p, min(1.0, high))


def _null_variances(variant: Proportion, control: Proportion) -> tuple[float, float]:
    """The variances of the difference that sampling and counting contribute, if both have the pooled rate."""
    n1, n0 = variant.trials.value, control.trials.value
    pooled = (variant.reached + control.reached) / (n1 + n0)
    sampling = pooled * (1 - pooled) * (1 / n1 + 1 / n0)
    return sampling, pooled * pooled * (variant.error_squared + control.error_squared)


def with_counting(z: float, difference: float, sampling: float, counting: float) -> float:
    """The z of a difference whose exact tail is that of z, once the counters add their variance.

    In a tail that is longer than the normal one, the z is less than difference / sqrt(sampling): the sampling
    variance is then that which explains it, (difference / z)^2.
    """
    if z == 0:
        return 0.0
    explained = max(sampling, (difference / z) ** 2)
    return z * sqrt(explained / (explained + counting))


def _rarest_cell(successes: int, n1: int, n0: int) -> float:
    total = n1 + n0
    return min(successes, total - successes) * min(n1, n0) / total
