"""The plots of docs/evidence.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from .experiments import EXACT, Kind
from .plan import POWER_SIZES, SIZES

NAIVE, SINGLE, SIXTEEN, TRUE, BITS = "#c0392b", "#2471a3", "#27ae60", "#555555", "#e67e22"
STYLE: dict[Kind, tuple[str, str, str]] = {
    1: (SINGLE, "o", "precision 1"),
    16: (SIXTEEN, "s", "precision 16"),
    "bitmap": (BITS, "d", "bitmap"),
    EXACT: (TRUE, "^", "exact counters"),
}


def draw(results: Mapping[Any, Any], folder: Path) -> None:
    false_positives(results, folder / "false-positives.png")
    power(results, folder / "power.png")
    looking(results, folder / "looking.png")
    until(results, folder / "until-a-verdict.png")


def false_positives(results: Mapping[Any, Any], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    for axis, rate in zip(axes, (0.05, 0.2)):
        naive = [100 * results["false positives", n, rate, 1]["naive"] for n in SIZES]
        axis.plot(SIZES, naive, color=NAIVE, marker="x", label="Gimel 1.x: counts taken as exact")
        for precision, (color, marker, label) in STYLE.items():
            ours = [100 * results["false positives", n, rate, precision]["p_value"] for n in SIZES]
            axis.plot(SIZES, ours, color=color, marker=marker, label=f"this report, {label}")
        axis.axhline(5, color="black", linewidth=0.8, linestyle=":")
        axis.set(
            xscale="log", title=f"conversion rate {100 * rate:.0f} %", xlabel="visitors per variant", ylim=(0, 100)
        )
    axes[0].set_ylabel("A/A tests with p < 0.05 (%)")
    axes[0].legend(fontsize=7.5, loc="upper left")
    _save(figure, path)


def power(results: Mapping[Any, Any], path: Path) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True)
    for axis, rule, title in zip(
        axes,
        ("p_value", "planned", "always_valid"),
        ("one look: p-value", "planned for this many", "any look: always-valid verdict"),
    ):
        for precision, (color, marker, label) in STYLE.items():
            found = [100 * results["power curve", n, precision][rule] for n in POWER_SIZES]
            axis.plot(POWER_SIZES, found, color=color, marker=marker, label=label)
        axis.set(xscale="log", title=title, xlabel="visitors per variant", ylim=(0, 103))
    axes[0].set_ylabel("5 % against 5.15 % found (%)")
    axes[0].legend(fontsize=8, loc="upper left")
    _save(figure, path)


def looking(results: Mapping[Any, Any], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    cases = (
        ((10_000, 0.05, EXACT), "exact counters, 10,000 at 5 %"),
        ((100_000, 0.05, 1), "precision 1, 100,000 at 5 %"),
    )
    for axis, (case, title) in zip(axes, cases):
        visitors, rate, precision = case
        ever = results["looks", visitors, rate, precision]
        for rule, color, label in (
            ("naive", NAIVE, "Gimel 1.x: p < 0.05 at some look"),
            ("p_value", SINGLE, "this report's p-value < 0.05 at some look"),
            ("planned", BITS, "planned verdict at some look"),
            ("always_valid", SIXTEEN, "always-valid verdict at some look"),
        ):
            axis.plot(range(1, len(ever[rule]) + 1), [100 * share for share in ever[rule]], color=color, label=label)
        axis.axhline(5, color="black", linewidth=0.8, linestyle=":")
        axis.set(title=title, xlabel="looks so far", ylim=(0, 60))
    axes[0].set_ylabel("A/A tests with a false winner (%)")
    axes[0].legend(fontsize=7.5, loc="upper left")
    _save(figure, path)


def until(results: Mapping[Any, Any], path: Path) -> None:
    found = results["until", EXACT]
    multiples, end = found["multiples"], found["planned_end"]
    in_plan = [multiple for multiple in multiples if multiple <= end + 1e-9]
    figure, axis = plt.subplots(figsize=(7, 3.8))
    once = [0.0, 0.0, 100 * found["single"], 100 * found["single"]]
    axis.plot([0, 1, 1, multiples[-1]], once, color=SINGLE, label="one look at the fixed size")
    planned = [100 * share for share in found["planned"][: len(in_plan)]]
    axis.plot(in_plan, planned, color=BITS, label="planned verdict, until its end")
    axis.plot(in_plan[-1:], planned[-1:], color=BITS, marker="o")
    for rule, color, label in (
        ("always_valid", SIXTEEN, "always-valid verdict"),
        ("growthbook", NAIVE, "GrowthBook's sequential test, tuned for 5,000"),
    ):
        axis.plot(multiples, [100 * share for share in found[rule]], color=color, label=label)
    axis.axhline(80, color="black", linewidth=0.8, linestyle=":")
    axis.set(
        xlabel=f"visitors, as multiples of the fixed size ({found['visitors']:,.0f} per variant)",
        ylabel="5 % against 5.5 %: decided (%)",
        xlim=(0, 3),
        ylim=(0, 103),
    )
    axis.legend(fontsize=8, loc="lower right")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=85, metadata={"Software": None})
    plt.close(figure)
