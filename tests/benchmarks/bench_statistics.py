"""CPU time of the statistics of a report with 200 experiments x 3 goals x 3 variants: python -m
tests.benchmarks.bench_statistics
"""

import random
import time

from gimel.analysis.report import experiment_report
from gimel.hyperloglog import Count, hyperloglog_error

EXPERIMENTS, GOALS, VARIANTS, ROUNDS = 200, 3, 3, 7


def experiments(visitors, rates, shards):
    """Experiments of about this size, as their counters would read."""
    chance = random.Random(20)

    def read(expected):
        value = max(0, round(chance.gauss(expected, expected**0.5)))
        return Count(value, hyperloglog_error(value, shards) if shards else 0.0)

    labels = [f"variant {i}" for i in range(VARIANTS)]
    return [
        {
            "participate": {label: read(visitors) for label in labels},
            **{f"goal {i}": {label: read(visitors * rates[i]) for label in labels} for i in range(GOALS)},
        }
        for _ in range(EXPERIMENTS)
    ]


def cpu_ms(counts):
    """The least of a few rounds, as other work on the machine only adds."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for experiment in counts:
            experiment_report(experiment)
        rounds.append(1000 * (time.process_time() - start))
    return min(rounds)


def main():
    comparisons = EXPERIMENTS * GOALS * (VARIANTS - 1)
    print(f"{EXPERIMENTS} experiments x {GOALS} goals x {VARIANTS} variants, {comparisons} comparisons, CPU time")
    for name, visitors, rates, shards in (
        ("small counts, exact tails", 4_000, (0.002, 0.01, 0.03), 0),
        ("around the change to the normal tail", 6_000, (0.01, 0.03, 0.05), 1),
        ("large counts", 100_000, (0.01, 0.05, 0.3), 16),
    ):
        ms = cpu_ms(experiments(visitors, rates, shards))
        print(f"  {name:40s} {ms:6.1f} ms  {1000 * ms / comparisons:5.1f} us per comparison")


if __name__ == "__main__":
    main()
