"""Tail probabilities of the distributions that the statistics need, with the standard library alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import erfc, exp, gamma, lgamma, log, log1p, pi, sqrt
from statistics import NormalDist

NEGLIGIBLE = 1e-13
SMALLEST_TAIL = 1e-300

_quantile = NormalDist().inv_cdf


@dataclass(frozen=True, slots=True)
class Tails:
    """The probabilities of less than, exactly, and more than what was seen. They add up to 1."""

    below: float
    at: float
    above: float


def normal_tail(z: float) -> float:
    """The probability that a standard normal variable exceeds z."""
    return 0.5 * erfc(z / 1.4142135623730951)


def z_of_tail(probability: float) -> float:
    """The z >= 0 that a standard normal variable exceeds with this probability (0 for one half and more).

    A probability that underflows is treated as 1e-300, which makes z 37.
    """
    return -_quantile(max(probability, SMALLEST_TAIL)) if probability < 0.5 else 0.0


@lru_cache(maxsize=256)
def critical_value(alpha: float) -> float:
    """The z beyond which, on either side, a standard normal variable lies with the probability alpha in total.

    Raises ValueError unless 0 < alpha < 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha!r}")
    return -_quantile(alpha / 2)


def brownian_tail(level: float) -> float:
    """The probability that Brownian motion on [0, 1], from 0, ever lies beyond +-level.

    1 - 4/pi sum (-1)^k / (2k + 1) exp(-(2k + 1)^2 pi^2 / (8 level^2)), or, better at high levels, 4 sum (-1)^k
    Q((2k + 1) level) with the normal tail Q (Feller 1971, An Introduction to Probability Theory and Its Applications
    II, X.5).
    """
    if level < 1:
        term = exp(-pi * pi / (8 * max(level, 0.01) ** 2))
        return 1 - 4 / pi * (term - term**9 / 3)
    return 4 * (normal_tail(level) - normal_tail(3 * level) + normal_tail(5 * level) - normal_tail(7 * level))


def chi_square_tail(x: float, degrees: int) -> float:
    """The probability that a chi-square variable with this many degrees of freedom exceeds x.

    Abramowitz & Stegun (1964), Handbook of Mathematical Functions, 26.4.4 (odd degrees) and 26.4.5 (even).
    Raises ValueError for less than one degree of freedom.
    """
    if degrees < 1:
        raise ValueError(f"a chi-square needs one degree of freedom or more, not {degrees!r}")
    if x <= 0:
        return 1.0
    half = x / 2
    odd = degrees % 2
    total = erfc(sqrt(half)) if odd else 0.0
    term = exp(-half) * (sqrt(half) / gamma(1.5) if odd else 1.0)
    for step in range(1, degrees // 2 + 1):
        total += term
        term *= half / (step + 0.5 * odd)
    return min(1.0, total)


@lru_cache(maxsize=16)
def hypergeometric_tails(seen: int, marked: int, unmarked: int, drawn: int) -> Tails:
    """Of marked + unmarked balls, `drawn` are drawn at random, and `seen` of these are marked.

    Johnson, Kemp & Kotz (2005), Univariate Discrete Distributions, 6.1: P(x) = C(marked, x) C(unmarked, drawn
    - x) / C(marked + unmarked, drawn). The tail on `seen`'s own side of the mean is summed outwards by the
    ratio of neighbours, P(x + 1) / P(x) = (marked - x)(drawn - x) / ((x + 1)(unmarked - drawn + x + 1)); the
    other is the rest. Takes time in proportion to the standard deviation. Raises ValueError if `seen` is
    impossible.
    """
    other = drawn - seen
    if not (0 <= seen <= marked and 0 <= other <= unmarked):
        raise ValueError(f"{seen!r} marked of {drawn!r} drawn from {marked!r} + {unmarked!r} is impossible")
    total = marked + unmarked
    at = exp(_log_choose(marked, seen) + _log_choose(unmarked, other) - _log_choose(total, drawn))
    upwards = seen * total >= drawn * marked
    if upwards:  # the same tail, seen from the other color, so that one loop is enough
        a, b, c, d = float(marked - seen), float(other), float(seen), float(unmarked - other)
    else:
        a, b, c, d = float(unmarked - other), float(seen), float(other), float(marked - seen)
    tail, term = 0.0, at
    while term > NEGLIGIBLE * tail:  # 0 once a or b is; floats, as most of a small report's time is spent here
        c += 1.0
        d += 1.0
        term *= a * b / (c * d)
        tail += term
        a -= 1.0
        b -= 1.0
    return _tails(at, tail, upwards)


def hypergeometric_z(seen: int, marked: int, unmarked: int, drawn: int) -> float:
    """About the z that a standard normal variable exceeds as often as `seen` or more of the drawn balls are marked.

    The normal approximation, corrected for continuity and, with the first term of Cornish & Fisher (1938, Revue
    de l'Institut International de Statistique 5, 307-320), for the skewness g (mean, variance and g: Johnson,
    Kemp & Kotz 2005, 6.3): z - g (z^2 - 1) / 6. Beyond z = 8 the correction grows no further. The tail is right within
    0.0003 where the rarest of the four kinds of ball is expected 100 times; raises ZeroDivisionError where all or none
    are drawn or marked.
    """
    total = marked + unmarked
    kept = total - drawn
    spread = sqrt(drawn * kept / (total - 1) * marked * unmarked) / total
    z = (seen - 0.5 - drawn * marked / total) / spread
    skewness = (unmarked - marked) / total * (kept - drawn) / (total - 2) / spread
    return z - skewness / 6 * (min(z * z, 64.0) - 1)


def binomial_tails(seen: int, trials: int, rate: float) -> Tails:
    """Of this many trials, each succeeding at this rate, `seen` succeed.

    Johnson, Kemp & Kotz (2005), 3.1; summed as in `hypergeometric_tails`. Raises ValueError if `seen` is
    impossible or the rate is not strictly between 0 and 1.
    """
    if not (0 <= seen <= trials and 0 < rate < 1):
        raise ValueError(f"{seen!r} of {trials!r} at the rate {rate!r} is impossible")
    at = exp(_log_choose(trials, seen) + seen * log(rate) + (trials - seen) * log1p(-rate))
    upwards = seen >= trials * rate
    left, gone = (trials - seen, seen) if upwards else (seen, trials - seen)
    odds = rate / (1 - rate) if upwards else (1 - rate) / rate
    tail, term = 0.0, at
    while left > 0:
        gone += 1
        term *= odds * left / gone
        tail += term
        if term <= NEGLIGIBLE * tail:
            break
        left -= 1
    return _tails(at, tail, upwards)


def _tails(at: float, tail: float, upwards: bool) -> Tails:
    at, tail = min(1.0, at), min(1.0, tail)
    rest = max(0.0, 1.0 - at - tail)
    return Tails(rest, at, tail) if upwards else Tails(tail, at, rest)


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
