"""Counts in, report out."""

from __future__ import annotations

from .counters import PARTICIPATE, Counts


def experiment(counts: Counts) -> dict[str, object]:
    """Participants and goals of one experiment, labels and goals sorted."""
    trials = counts.get(PARTICIPATE, {})
    labels = sorted({label for variants in counts.values() for label in variants})
    return {
        "participants": [{"label": label, "trials": trials.get(label, 0)} for label in labels],
        "goals": [
            {
                "goal": goal,
                "results": [
                    {"label": label, "successes": counts[goal].get(label, 0), "trials": trials.get(label, 0)}
                    for label in labels
                ],
            }
            for goal in sorted(counts)
            if goal != PARTICIPATE
        ],
    }
