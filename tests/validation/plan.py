"""Which cells are simulated, how often, and the bars that they must clear."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import measure
from .experiments import EXACT

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
RATES = (0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5)
PRECISIONS = (1, 16, EXACT)
SEED = 20261123

POWER_CASES = (
    (10_000, 0.1, 0.2),
    (100_000, 0.05, 0.1),
    (1_000_000, 0.05, 0.03),
    (1_000_000, 0.2, 0.015),
    (1_000_000, 0.2, 0.01),
)
POWER_PRECISIONS = (1, 4, 16, 64, 256, EXACT)
POWER_SIZES = (10_000, 30_000, 100_000, 200_000, 300_000, 500_000, 1_000_000, 2_000_000)
LOOKS = (
    (10_000, 0.05, EXACT),
    (10_000, 0.005, EXACT),
    (1_000_000, 0.05, EXACT),
    (1_000_000, 0.2, EXACT),
    (10_000, 0.05, 1),
    (100_000, 0.05, 1),
    (1_000_000, 0.05, 1),
    (1_000_000, 0.2, 1),
    (10_000_000, 0.2, 1),
    (100_000, 0.05, 16),
    (1_000_000, 0.2, 16),
)
WEIGHTS: tuple[tuple[float, ...], ...] = ((1, 1), (9, 1), (99, 1), (1, 1, 1), (1,) * 12)
ONE_UUID = ((10_000, 0.05), (100_000, 0.05), (100_000, 0.5), (1_000_000, 0.2))
VARIANTS = (3, 12)

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Task:
    """One cell: `key` names it, `function` of `measure` computes it."""

    key: Key
    function: str
    arguments: Mapping[str, Any]
    cost: float
    """About how many seconds it takes; the longest start first."""

    def run(self, number: int) -> tuple[Key, Any]:
        function: Callable[..., Any] = getattr(measure, self.function)
        return self.key, function([SEED, number], **self.arguments)


def tasks(quick: bool = False) -> list[Task]:
    """Every cell, in a fixed order, so that each has its own seed."""
    share = 0.05 if quick else 1.0

    def times(experiments: int) -> int:
        return max(40, round(experiments * share))

    cells = [
        Task(
            ("false positives", visitors, rate, precision),
            "inference",
            {
                "experiments": times(20_000 if visitors <= 1000 else 10_000),
                "visitors": visitors,
                "rate": rate,
                "precision": precision,
            },
            6 if precision == 16 else 2,
        )
        for visitors in SIZES
        for rate in RATES
        for precision in PRECISIONS
    ]
    cells += [
        Task(
            ("coverage", visitors, rate, precision),
            "inference",
            {
                "experiments": times(10_000 if visitors <= 1000 else 6000),
                "visitors": visitors,
                "rate": rate,
                "precision": precision,
                "lift": 0.2,
            },
            3,
        )
        for visitors in SIZES
        for rate in (0.01, 0.05, 0.2, 0.5)
        for precision in PRECISIONS
    ]
    cells += [
        Task(
            ("power", visitors, rate, lift, precision),
            "inference",
            {
                "experiments": times(4000),
                "visitors": visitors,
                "rate": rate,
                "precision": precision,
                "lift": lift,
            },
            1 + precision / 8,
        )
        for visitors, rate, lift in POWER_CASES
        for precision in POWER_PRECISIONS
    ]
    cells += [
        Task(
            ("power curve", visitors, precision),
            "inference",
            {
                "experiments": times(2000),
                "visitors": visitors,
                "rate": 0.05,
                "precision": precision,
                "lift": 0.03,
            },
            1 + precision / 16,
        )
        for visitors in POWER_SIZES
        for precision in PRECISIONS
    ]
    cells += [
        Task(
            ("looks", visitors, rate, precision),
            "looking",
            {
                "experiments": times(_looking_experiments(visitors, precision)),
                "visitors": visitors,
                "rate": rate,
                "precision": precision,
            },
            100,
        )
        for visitors, rate, precision in LOOKS
        if not (quick and visitors * max(1, precision) > 1_000_000)
    ]
    cells += [
        Task(
            ("split", visitors, weights, precision),
            "split",
            {
                "experiments": times(30_000),
                "visitors": visitors * len(weights),
                "weights": weights,
                "precision": precision,
            },
            1 + len(weights) * max(1, precision) / 8,
        )
        for weights in WEIGHTS
        for visitors in (100, 10_000, 1_000_000, 10_000_000)
        for precision in PRECISIONS
        if not (precision == 16 and len(weights) > 3)
    ]
    cells += [
        Task(
            ("wrong split", visitors, precision),
            "split",
            {
                "experiments": times(10_000),
                "visitors": visitors,
                "weights": (1, 1),
                "precision": precision,
                "actual": (52, 48),
            },
            2,
        )
        for visitors in (10_000, 30_000, 100_000, 1_000_000)
        for precision in PRECISIONS
    ]
    cells += [
        Task(
            ("one uuid", visitors, rate, precision),
            "inference",
            {
                "experiments": times(1000 if visitors <= 100_000 else 400),
                "visitors": visitors,
                "rate": rate,
                "precision": precision,
                "one_uuid": True,
            },
            20,
        )
        for visitors, rate in ONE_UUID
        for precision in (1, 16)
    ]
    cells += [
        Task(
            ("several variants", variants, precision),
            "many_variants",
            {
                "experiments": times(4000),
                "visitors": 20_000,
                "rate": 0.05,
                "precision": precision,
                "variants": variants,
            },
            5,
        )
        for variants in VARIANTS
        for precision in (1, EXACT)
    ]
    cells += [
        Task(
            ("counting", visitors, precision),
            "counting",
            {"experiments": times(20_000), "visitors": visitors, "precision": precision},
            2,
        )
        for visitors in (100, 1_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 10_000_000)
        for precision in (1, 16)
    ]
    return cells


def _looking_experiments(visitors: int, precision: int) -> int:
    if precision == EXACT:
        return 4000
    if precision == 16:
        return 500 if visitors > 100_000 else 600
    return 2000 if visitors <= 100_000 else 1000 if visitors <= 1_000_000 else 400
