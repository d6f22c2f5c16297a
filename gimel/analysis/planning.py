"""How long an experiment takes, before it starts: for each way of deciding, and what it shows by when."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import ceil, exp, isinf, log
from typing import Any

from gimel.errors import BadRequest
from gimel.hyperloglog import BITMAPS, EXACT, Precision, bitmap_error, settled_error

from .sequential import POWER, always_valid_size, planned_size, single_look_size

ALPHA = 0.05
TYPICAL = 0.5

WAYS: Mapping[str, Callable[..., float]] = {
    "planned": planned_size,
    "always_valid": always_valid_size,
    "single_look": single_look_size,
}
"""How an experiment can be decided, each with the function that gives its visitors in all."""

WEEKS = (1, 2, 4, 8)

MOST_VARIANTS = 100
MOST_PER_DAY = 1e12

TINY = 1e-9
"""No rate, change or number of visitors per day is smaller."""

SMALLEST_SEARCHED = 1e-6
"""The relative change from which on the smallest visible one is searched for."""

CLOSE = 1e-4
"""The relative precision of what is found by repetition."""

POINTS = 40
"""Of the curve."""

HINT = "such as rate 5%, change 10%, per_day 400, and optionally variants 2, or weights 9,1 with the control's first"


@dataclass(frozen=True, slots=True)
class Question:
    """What is planned: the control's conversion rate, the smallest relative change of it that matters, and visitors per
    day in all. `shares` are the parts of the visitors that each variant gets, the control first; they are equal unless
    `has_weights`. `precision` is that of the counters.
    """

    rate: float
    change: float
    per_day: float
    shares: tuple[float, ...] = (0.5, 0.5)
    has_weights: bool = False
    precision: Precision = EXACT

    @classmethod
    def read(cls, params: Mapping[str, object], precision: Precision) -> Question:
        """From the parameters of a request, as text; shares may be percentages, such as `5%`. Raises BadRequest, which
        lists all that is wrong."""
        problems: list[str] = []

        def number(name: str, low: float, high: float, wanted: str, default: str = "") -> float:
            text = str(params.get(name) or default).strip()
            value = _number(text)
            if not text:
                problems.append(f"{name} is missing")
            elif value is None or not low <= value <= high or (name == "variants" and value != int(value)):
                problems.append(f"{name} must be {wanted}, not {text[:40]!r}")
            else:
                return value
            return high

        rate = number("rate", TINY, 1 - TINY, "above 0 and below 1, such as 0.05 or 5%")
        change = number("change", TINY, 1, "a relative change above 0 and at most 1, such as 0.1 or 10%")
        per_day = number("per_day", TINY, MOST_PER_DAY, "a number of visitors above 0, such as 400")
        written = str(params.get("weights") or "")
        weights = [_number(weight.strip()) or 0.0 for weight in written.split(",")] if written else []
        counted = f"a whole number from 2 to {MOST_VARIANTS}"
        variants = int(number("variants", 2, MOST_VARIANTS, counted, str(max(2, len(weights)))))
        if not all(TINY <= weight <= MOST_PER_DAY for weight in weights):
            problems.append(f"weights must be numbers above 0, separated by commas, such as 9,1, not {written[:40]!r}")
        if weights and len(weights) != variants:
            problems.append(f"weights must be as many as variants: {variants}, not {len(weights)}")
        if problems:
            raise BadRequest(problems, HINT)
        weights = weights or [1.0] * variants
        return cls(rate, change, per_day, tuple(one / sum(weights) for one in weights), bool(written), precision)

    @property
    def direction(self) -> int:
        """1 to plan for a rise; -1 for a fall, where the rate has no room to rise so much."""
        return 1 if self.rate * (1 + self.change) <= 1 else -1

    @property
    def largest_change(self) -> float:
        """The largest relative change in this direction: a doubling at most, as in the settings."""
        return min(1.0, 1 / self.rate - 1) if self.direction > 0 else 1.0

    def visitors(self, way: str, change: float, power: float = POWER) -> float:
        """The visitors in all for a relative change of this size; infinite if the counting error hides it.

        Each variant is compared with the control at alpha / k, for k comparisons, as Holm's correction asks of the
        first one (see `comparisons`). The variant with the smallest share has this power, the others have more.
        The counting error is that of large counters, as in `visitors_needed`; that of a bitmap grows with the visitors.
        """
        control, *others = self.shares
        shares = min(others), control
        # Of a change that is all there is room for, rounding may leave a rate beyond 0 or 1.
        changed = min(1.0, max(0.0, self.rate * (1 + self.direction * change)))
        size = partial(WAYS[way], self.rate, changed - self.rate, power=power, shares=shares)
        found = 0.0
        while True:
            before, found = found, size(alpha=ALPHA / len(others), counting_variance=self._counting(found, shares))
            if isinf(found) or found <= before * (1 + CLOSE):
                return found

    def smallest_visible(self, way: str, visitors: float) -> float | None:
        """The smallest relative change that so many visitors in all detect with a power of 80 %; None if not even the
        largest possible one. By bisection: a smaller change always takes more visitors."""
        low, high = SMALLEST_SEARCHED, self.largest_change
        if self.visitors(way, high) > visitors:
            return None
        while high > low * (1 + CLOSE):
            middle = exp((log(low) + log(high)) / 2)
            low, high = (low, middle) if self.visitors(way, middle) <= visitors else (middle, high)
        return high

    def _counting(self, in_all: float, shares: tuple[float, float]) -> float:
        """The variance of the difference that the counters will contribute: two counters of each variant."""
        trials = [share * in_all for share in shares]
        return self.rate**2 * sum(
            _error(self.precision, n) ** 2 + _error(self.precision, n * self.rate) ** 2 for n in trials
        )


def answer(asked: Question) -> dict[str, Any]:
    """For JSON: what `GET /plan` answers. None stands for a number that is infinite.

    `ways` has the visitors in all and the whole days for each way of deciding; `typical` is when half of such
    experiments have their always-valid verdict. `visible` has the smallest relative change visible after some weeks,
    and `curve` the visitors in all for changes of many sizes. `settings` are what to store with the experiment.
    """

    def duration(visitors: float) -> dict[str, int | None]:
        if isinf(visitors):
            return {"visitors": None, "days": None}
        # Equal shares are planned by the visitors of each variant.
        parts = 1 if asked.has_weights else len(asked.shares)
        in_all = ceil(visitors / parts) * parts
        return {"visitors": in_all, "days": ceil(in_all / asked.per_day)}

    ways: dict[str, Any] = {way: duration(asked.visitors(way, asked.change)) for way in WAYS}
    ways["always_valid"]["typical"] = duration(asked.visitors("always_valid", asked.change, TYPICAL))
    planned = ways["planned"]["visitors"]
    return {
        "rate": asked.rate,
        "change": asked.change * asked.direction,
        "per_day": asked.per_day,
        "shares": list(asked.shares),
        "precision": asked.precision,
        "power": POWER,
        "alpha": ALPHA,
        "ways": ways,
        "visible": [
            {
                "weeks": weeks,
                "visitors": round(7 * weeks * asked.per_day),
                **{way: asked.smallest_visible(way, 7 * weeks * asked.per_day) for way in WAYS},
            }
            for weeks in WEEKS
        ],
        "curve": _curve(asked, max([7 * WEEKS[-1], *(each["days"] for each in ways.values() if each["days"])])),
        "settings": {
            "smallest_change": asked.change,
            "planned_visitors": planned and (planned if asked.has_weights else planned // len(asked.shares)),
        },
    }


def _curve(asked: Question, days: float) -> list[dict[str, float | None]]:
    """From the smallest change that a single look finds within so many days, to one that every way soon finds."""
    smallest = asked.smallest_visible("single_look", days * asked.per_day)
    if smallest is None:
        return []
    largest = asked.smallest_visible("always_valid", days * asked.per_day / POINTS) or asked.largest_change
    changes = [smallest * (largest / smallest) ** (index / (POINTS - 1)) for index in range(POINTS)]
    sizes = ((change, {way: asked.visitors(way, change) for way in WAYS}) for change in changes)
    return [
        {"change": change, **{way: None if isinf(size) else ceil(size) for way, size in found.items()}}
        for change, found in sizes
    ]


def _number(text: str) -> float | None:
    """The number that this text is, or the share that is this many per cent; None if it is neither."""
    if not re.fullmatch(r"([0-9]{1,15}\.?[0-9]{0,20}|\.[0-9]{1,20})(e-?[0-9]{1,2})?\s*%?", text):
        return None
    return float(text.rstrip("% ")) / (100 if text.endswith("%") else 1)


def _error(precision: Precision, count: float) -> float:
    """The `settled_error` of a counter of this kind, once it has counted so many."""
    if precision == EXACT:
        return 0.0
    if isinstance(precision, int):
        return settled_error(precision)
    bits = BITMAPS[precision]
    return min(bitmap_error(max(bits, 2 * count), bits), settled_error())
