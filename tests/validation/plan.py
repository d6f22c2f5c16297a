"""Which cells are simulated, how often, and the bars that they must clear."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gimel.settings import ExperimentSettings

from . import measure
from .experiments import EXACT, Kind

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
RATES = (0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5)
PRECISIONS: tuple[Kind, ...] = (1, 16, "bitmap", EXACT)
FINEST = "bitmap-768"
SEED = 20261123

FINEST_CASES = tuple((visitors, rate) for visitors in (1_000, 100_000, 1_000_000, 10_000_000) for rate in (0.05, 0.5))

POWER_CASES = (
    (10_000, 0.1, 0.2),
    (100_000, 0.05, 0.1),
    (1_000_000, 0.05, 0.03),
    (1_000_000, 0.2, 0.015),
    (1_000_000, 0.2, 0.01),
)
POWER_PRECISIONS: tuple[Kind, ...] = (1, 4, 16, 64, 256, "bitmap", FINEST, EXACT)
POWER_SIZES = (10_000, 30_000, 100_000, 200_000, 300_000, 500_000, 1_000_000, 2_000_000)
LOOKS: tuple[tuple[int, float, Kind], ...] = (
    (10_000, 0.05, EXACT),
    (10_000, 0.005, EXACT),
    (1_000_000, 0.05, EXACT),
    (1_000_000, 0.2, EXACT),
    (10_000, 0.05, 1),
    (100_000, 0.05, 1),
    (1_000_000, 0.2, 1),
    (100_000, 0.05, 16),
    (1_000_000, 0.2, 16),
    (100_000, 0.05, "bitmap"),
    (1_000_000, 0.2, "bitmap"),
    (10_000_000, 0.2, "bitmap"),
    (10_000_000, 0.2, FINEST),
)
"""Visitors per variant, rate, counters."""
LOOKED_AT = 100_000
"""Visitors in all of the experiments that are looked at with weights; HyperLogLogs, which take longer, get fewer."""
LOOK_WEIGHTS = ((1, 1), (1, 4), (4, 1), (1, 19), (19, 1))
"""The control's weight and the variant's."""
LOOK_RATES = (0.001, 0.01, 0.05, 0.2, 0.5)
LOOK_LIFT = 0.2
NEEDED_WEIGHTS = ((1, 1), (8, 2), (9, 1))
GUARDRAIL = ExperimentSettings(guardrails={"buy": -0.1})
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
        for precision in (*PRECISIONS, FINEST)
        if precision != FINEST or (visitors, rate) in FINEST_CASES
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
            1 + (precision / 8 if isinstance(precision, int) else 0),
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
            1,
        )
        for visitors in POWER_SIZES
        for precision in PRECISIONS
    ]
    cells += [
        Task(
            ("looks", visitors, rate, precision),
            "looking",
            {
                "experiments": times(_looking_experiments(2 * visitors, precision)),
                "visitors": 2 * visitors,
                "rate": rate,
                "precision": precision,
                "single": True,
            },
            100,
        )
        for visitors, rate, precision in LOOKS
        if not (quick and visitors >= 1_000_000 and precision in (1, 16))
    ]
    cells += [
        Task(
            (kind, weights, rate, precision),
            "looking",
            {
                "experiments": times(_looking_experiments(_looked_at(precision), precision)),
                "visitors": _looked_at(precision),
                "rate": rate,
                "precision": precision,
                "weights": weights,
                "lift": lift,
                "late": late,
            },
            20,
        )
        for kind, lift, late in (("weights", 0.0, False), ("late look", 0.0, True), ("all looks", LOOK_LIFT, False))
        for weights in LOOK_WEIGHTS
        for rate in LOOK_RATES
        for precision in PRECISIONS
        if _is_looked_at(kind, weights, rate, precision)
    ]
    cells += [
        Task(
            ("honest split", precision),
            "split_looks",
            {"experiments": times(experiments), "visitors": visitors, "precision": precision},
            60,
        )
        for precision, visitors, experiments in (
            (1, 20_000, 5_000),
            (16, 20_000, 2_500),
            ("bitmap", 1_000_000, 20_000),
            (EXACT, 1_000_000, 20_000),
        )
    ]
    cells += [
        Task(
            ("wrong split, looks", precision),
            "split_looks",
            {"experiments": times(1000), "visitors": 100_000, "precision": precision, "share": 0.52},
            20,
        )
        for precision in PRECISIONS
    ]
    cells += [
        Task(
            ("until", precision),
            "until",
            {"experiments": times(10_000), "rate": 0.05, "lift": 0.1, "precision": precision},
            40,
        )
        for precision in ("bitmap", EXACT)
    ]
    cells += [
        Task(
            ("needed", weights, precision),
            "needed",
            {
                "experiments": times(experiments),
                "start": 4000,
                "rate": 0.05,
                "lift": 0.1,
                "precision": precision,
                "weights": weights,
                "looks": 100,
            },
            60 if precision in (1, 16) else 10,
        )
        for weights in NEEDED_WEIGHTS
        for precision, experiments in ((1, 1000), (16, 500), ("bitmap", 5_000), (EXACT, 5_000))
    ]
    cells += [
        Task(
            (kind, precision),
            "said",
            {
                "experiments": times(400),
                "visitors": 200_000,
                "rate": 0.05,
                "lift": lift,
                "precision": precision,
                "state": state,
                "own": own,
            },
            30,
        )
        for kind, lift, state, own in (
            ("no difference", 0.1, "no_difference", ExperimentSettings()),
            ("guardrail", -0.1, "not_worse", GUARDRAIL),
        )
        for precision in PRECISIONS
    ]
    cells += [
        Task(
            ("goals", precision),
            "many_goals",
            {"experiments": times(4000), "visitors": 100_000, "rate": 0.05, "precision": precision},
            20,
        )
        for precision in ("bitmap", EXACT)
    ]
    cells += [
        Task(
            ("split", visitors, weights, precision),
            "split",
            {
                "experiments": times(20_000),
                "visitors": visitors * len(weights),
                "weights": weights,
                "precision": precision,
            },
            1 + len(weights) * (2 if precision == 16 else 1),
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
                "experiments": times(800 if visitors <= 100_000 else 300),
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
        for visitors in (100, 1_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000, 30_000_000)
        for precision in (1, 16, "bitmap", FINEST)
    ]
    return cells


def _looked_at(precision: Kind) -> int:
    return LOOKED_AT if precision in (EXACT, "bitmap") else LOOKED_AT * 2 // 5


def _is_looked_at(kind: str, weights: tuple[int, int], rate: float, precision: Kind) -> bool:
    if precision in (EXACT, "bitmap"):
        return kind == "weights" or (weights in ((1, 1), (1, 19)) and rate in (0.001, 0.05, 0.5))
    if kind == "weights":
        return weights in ((1, 1), (1, 19), (19, 1)) and rate in ((0.001, 0.05, 0.5) if precision == 1 else (0.05, 0.5))
    return weights == (1, 1) and rate == 0.5


def _looking_experiments(visitors: int, precision: Kind) -> int:
    """As many as take a minute or so: HyperLogLogs are simulated by the visitor, the others by the look."""
    if precision in (1, 16):
        return 3000 if visitors <= 100_000 else 1000 // (1 if precision == 1 else 2) if visitors <= 200_000 else 200
    return 10_000
