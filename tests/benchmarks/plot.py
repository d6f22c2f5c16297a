"""The plot of docs/benchmark.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from .rounds import middle

SHOWN = {
    "pfadd": ("#555555", "one redis-py pfadd"),
    "gimel rest": ("#27ae60", "Gimel 2"),
    "gimel 1.5": ("#2471a3", "Gimel 1.5"),
    "lamed": ("#c0392b", "Lamed 0.4"),
}


def draw(tracking: Mapping[str, Any], path: Path) -> None:
    """The time of an event by the distance of Redis."""
    figure, axis = plt.subplots(figsize=(8, 3.4))
    conditions = list(tracking)
    for number, (subject, (color, label)) in enumerate(SHOWN.items()):
        times = [1e3 * middle(tracking[condition]["seconds"][subject]) for condition in conditions]
        axis.bar([place + 0.2 * number for place in range(len(conditions))], times, 0.2, color=color, label=label)
    axis.set_yscale("log")
    axis.set_ylabel("ms per event, median")
    axis.set_xticks([place + 0.3 for place in range(len(conditions))], conditions, fontsize=8)
    axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=85, metadata={"Software": None})
    plt.close(figure)
