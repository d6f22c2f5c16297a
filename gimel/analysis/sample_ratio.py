"""The sample ratio check: whether the visitors are split as expected, and what to do if they are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite, lgamma, log, log1p, sqrt
from typing import Any

from gimel.hyperloglog import NOTHING, Count

from .distributions import binomial_tails, chi_square_tail, normal_tail, z_of_tail
from .proportions import EXACT_BELOW, bonferroni, with_counting
from .variants import SMALLEST_SHARE, Variants
from .verdicts import Verdict
from .wording import LONGEST_LIST, named

SPLIT_ALPHA = 0.001

EXACT_SPLIT_BELOW = 25
"""Below this many expected visitors in the smallest variant, the split is tested exactly."""

SPLIT_PRIOR = 1000.0
"""How many visitors the prior of the always-valid split check counts for.

The check is valid for any number. With this one, and two equal variants, the alarm is raised at 52.1 : 47.9 of 10,000
visitors and at 50.23 : 49.77 of a million: 4.2 and 4.6 standard errors, where a single look takes 3.3.
"""


@dataclass(frozen=True, slots=True)
class Split:
    """How visitors are split, and how they should be. The p-values are None if there is nothing to check yet."""

    p_value: float | None
    always_valid_p_value: float | None
    labels: Sequence[str]
    visitors: Sequence[Count]
    shares: Sequence[float]
    alarm: Verdict | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        everyone = sum(count.value for count in self.visitors)
        if self.alarm:
            state, text = "mismatch", self.alarm.text
        elif self.p_value is None:
            state, text = "not_tested", "there is no split of visitors to check yet"
        else:
            state, text = "as_expected", "the visitors are split as expected"
        return {
            "state": state,
            "p_value": self.p_value,
            "always_valid_p_value": self.always_valid_p_value,
            "expected": [
                {"label": label, "share": share, "trials": everyone * share}
                for label, share in zip(self.labels, self.shares)
            ],
            "text": text,
            "reason": self.alarm.reason if self.alarm else "",
        }


def check(variants: Variants) -> Split:
    """Whether the visitors are split by the variants' shares."""
    shares_of = variants.shares
    labels, shares = list(shares_of), list(shares_of.values())
    visitors = [variants.trials.get(label, NOTHING) for label in labels]
    if len(labels) < 2 or not any(count.value for count in visitors):
        return Split(None, None, labels, visitors, shares, None)
    once, always = sample_ratio_p_value(visitors, shares), always_valid_split_p_value(visitors, shares)
    alarm = _alarm(labels, visitors, shares, bool(variants.weights)) if always < SPLIT_ALPHA else None
    return Split(once, always, labels, visitors, shares, alarm)


def _alarm(labels: Sequence[str], visitors: Sequence[Count], shares: Sequence[float], configured: bool) -> Verdict:
    everyone = sum(count.value for count in visitors)
    if len(labels) <= LONGEST_LIST:
        split = " / ".join(f"{count.value:,}" for count in visitors)
        text = f"the split {split} should be {' / '.join(f'{100 * share:.3g}' for share in shares)}"
    else:
        worst = max(range(len(labels)), key=lambda i: (visitors[i].value - everyone * shares[i]) ** 2 / shares[i])
        count, expected = visitors[worst].value, everyone * shares[worst]
        text = f"{named(labels[worst])} has {count:,} visitors and should have about {expected:,.0f}"
    reason = (
        "fewer than 1 in 1,000 correct splits ever look this uneven. Visitors are lost or counted in the wrong"
        " variant, so the rates cannot be compared: find the cause"
    )
    reason += (
        ", or correct the weights in the settings"
        if configured
        else ". If the split is intended, or one of these is no variant (removed, misspelled, made up), set weights in"
        " the settings"
    )
    return Verdict("do_not_trust", text, reason)


def sample_ratio_p_value(counts: Sequence[Count], weights: Sequence[float]) -> float:
    """How often visitors who are split by these weights would be split at least this unevenly.

    Pearson's chi-square (Fleiss, Levin & Paik 2003, 9.1) in its generalised-least-squares form, so that the
    counters' error has a place: sum (x - L w)^2 / a with a = N w + (x e)^2, N = sum x, and L = sum (w x / a)
    / sum (w^2 / a), on k - 1 degrees of freedom (x the k readings, w the weights' shares, e the relative
    errors). Exact counts: Pearson's own. If a variant expects fewer than EXACT_SPLIT_BELOW visitors: each
    variant's binomial mid-p against the others, the smallest of them times k (Bonferroni) if there are more
    than two. No visitors, or one variant: 1. Raises ValueError for weights that are not positive numbers, one
    for each count.
    """
    shares = _shares(counts, weights)
    visitors = sum(count.value for count in counts)
    if len(counts) < 2 or visitors == 0:
        return 1.0
    counting = [(count.value * count.error) ** 2 for count in counts]
    if visitors * min(shares) < EXACT_SPLIT_BELOW:
        return _exact_split(counts, shares, visitors, counting)
    return chi_square_tail(_chi_square(counts, shares, visitors, counting), len(counts) - 1)


def always_valid_split_p_value(counts: Sequence[Count], weights: Sequence[float]) -> float:
    """As `sample_ratio_p_value`, but no matter how often you check: it ever falls below 0.001 in at most 1 of 1,000
    experiments whose visitors are split by these weights.

    1 / e, at most 1, of the e-value of Lindon & Malek (2022), Anytime-valid inference for multinomial count data,
    arXiv:2011.03567: B(a + x) / (B(a) prod w^x), the likelihood of the readings x under a Dirichlet prior about the
    weights' shares w, a = SPLIT_PRIOR w, over that under w; exact at any count. About exp(X t / (2 (1 + t))) /
    (1 + t)^((k - 1) / 2), X being Pearson's chi-square and t = visitors / SPLIT_PRIOR. Counters that err multiply X
    by its ratio with and without their variances: as these grow with the visitors, that is a sequential test of the
    sum of both errors. Raises ValueError as `sample_ratio_p_value`.
    """
    shares = [max(share, SMALLEST_SHARE) for share in _shares(counts, weights)]
    visitors = sum(count.value for count in counts)
    evidence = lgamma(SPLIT_PRIOR) - lgamma(SPLIT_PRIOR + visitors)
    for count, share in zip(counts, shares):
        prior = SPLIT_PRIOR * share
        evidence += lgamma(prior + count.value) - lgamma(prior) - count.value * log(share)
    counting = [(count.value * count.error) ** 2 for count in counts]
    if any(counting):
        height = (len(counts) - 1) / 2 * log1p(visitors / SPLIT_PRIOR)
        exact = _chi_square(counts, shares, visitors, [0.0] * len(counts))
        counted = _chi_square(counts, shares, visitors, counting)
        evidence = (evidence + height) * (counted / exact if exact else 1.0) - height
    return exp(-max(0.0, evidence))


def _shares(counts: Sequence[Count], weights: Sequence[float]) -> list[float]:
    if len(counts) != len(weights) or not all(weight > 0 and isfinite(weight) for weight in weights):
        raise ValueError(f"{len(counts)} counts need as many weights above 0, not {list(weights)!r}")
    everything = sum(weights)
    return [weight / everything for weight in weights]


def _chi_square(counts: Sequence[Count], shares: Sequence[float], visitors: int, counting: Sequence[float]) -> float:
    """Pearson's statistic with the variances that the counters add; the docstring of `sample_ratio_p_value` has it."""
    variances = [visitors * share + extra for share, extra in zip(shares, counting)]
    level = sum(w * count.value / v for w, count, v in zip(shares, counts, variances))
    level /= sum(w * w / v for w, v in zip(shares, variances))
    return sum((count.value - level * w) ** 2 / v for w, count, v in zip(shares, counts, variances))


def _exact_split(counts: Sequence[Count], shares: Sequence[float], visitors: int, counting: Sequence[float]) -> float:
    smallest = 1.0
    all_counting = sum(counting)
    for count, share, own in zip(counts, shares, counting):
        sampling = visitors * share * (1 - share)
        if sampling == 0:  # a weight so large that the others vanish beside it
            continue
        extra = (1 - share) ** 2 * own + share * share * (all_counting - own)
        if sampling < EXACT_BELOW:
            tails = binomial_tails(count.value, visitors, share)
            z = z_of_tail(min(tails.below, tails.above) + tails.at / 2)
        else:
            z = abs(count.value - visitors * share) / sqrt(sampling)
        smallest = min(smallest, 2 * normal_tail(with_counting(z, count.value - visitors * share, sampling, extra)))
    return bonferroni(smallest, len(counts) if len(counts) > 2 else 1)
