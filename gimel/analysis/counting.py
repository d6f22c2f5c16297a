"""The counters' own error: whether it matters to an experiment, and what a higher precision would change."""

from __future__ import annotations

from collections.abc import Collection
from math import sqrt

from gimel.hyperloglog import BITMAPS, EXACT, Count, bitmap_error

from .distributions import critical_value
from .proportions import Interval, Proportion
from .wording import percent

MATTERS = 0.25
"""The share of counting in the variance of a rate from which on it is worth a note."""

BETTER = 0.8
"""Another kind of counter is worth naming if its error is less than this part of the present one."""


def share_of_variance(proportion: Proportion, interval: Interval, alpha: float) -> float:
    """The part of the variance of a rate, whose interval has the confidence 1 - alpha, that the counters bring."""
    spread = (interval.high - interval.low) / 2 / critical_value(alpha)
    return min(1.0, (proportion.rate * proportion.error / spread) ** 2) if spread > 0 else 0.0


def note(counts: Collection[Count], share: float) -> str | None:
    """What the counters' error does to an experiment, and what a better kind of counter would change; None if it is
    small.

    `counts` are all its counts, `share` is the largest `share_of_variance` of its rates.
    """
    full = "A bitmap is full: it has had too many visitors, so the HyperLogLog beside it is read instead." * any(
        count.is_full for count in counts
    )
    if share < MATTERS:
        return full or None
    error = max(count.error for count in counts)
    largest = max(count.value for count in counts)
    errors = {kind: bitmap_error(max(largest, bits), bits) for kind, bits in BITMAPS.items()}
    higher = next((kind for kind, own in errors.items() if own < BETTER * error), EXACT)
    removed = 1 - (errors.get(higher, 0.0) / error) ** 2
    shown = percent(error, 2)
    return (
        f"{full} Visitors are counted to within about {shown} (standard error), and more visitors will not reduce that."
        f" It makes up as much as {percent(share, 0)} of the uncertainty here, and every interval allows for it. An"
        f" experiment that starts with precision {higher} in config.json has intervals up to"
        f" {percent(1 - sqrt(1 - share * removed), 0)} narrower."
    ).strip()
