"""The counters' own error: whether it matters to an experiment, and what a higher precision would change."""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt

from gimel.hyperloglog import EXACT, PRECISIONS, Count, settled_error

from .distributions import critical_value
from .proportions import Interval, Proportion
from .wording import percent

MATTERS = 0.25
"""The share of counting in the variance of a rate from which on it is worth a note."""


def share_of_variance(proportion: Proportion, interval: Interval, alpha: float) -> float:
    """The part of the variance of a rate, whose interval has the confidence 1 - alpha, that the counters bring."""
    spread = (interval.high - interval.low) / 2 / critical_value(alpha)
    return min(1.0, (proportion.rate * proportion.error / spread) ** 2) if spread > 0 else 0.0


def note(counts: Iterable[Count], share: float) -> str | None:
    """What the counters' error does to an experiment, and what the next precision would change; None if it is small.

    `counts` are all its counts, `share` is the largest `share_of_variance` of its rates.
    """
    if share < MATTERS:
        return None
    errors = [(count.settled_error, count.error) for count in counts]
    shards = (settled_error() / max(settled for settled, _ in errors)) ** 2
    higher = next((one for one in PRECISIONS if one == EXACT or one > 1.5 * shards), EXACT)
    removed = 1.0 if higher == EXACT else 1 - shards / higher
    return (
        f"Visitors are counted to within about {percent(max(error for _, error in errors), 0.001)} (standard error),"
        f" and more visitors will not reduce that. It makes up as much as {percent(share, 1)} of the uncertainty here,"
        f" and every interval allows for it. With precision {higher} in config.json from its start, an experiment has"
        f" intervals that are up to {percent(1 - sqrt(1 - share * removed), 1)} narrower."
    )
