"""python -m tests.validation [--quick]: simulate everything and write docs/evidence.md and its plots."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from . import page, plan, plots, real_redis


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.validation", description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="a twentieth of the experiments, for a first look")
    arguments.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    arguments.add_argument("--output", type=Path, default=Path("docs"), help="folder to write to (default: docs)")
    options = arguments.parse_args()
    started = time.monotonic()
    results = simulate(options.quick, options.workers)
    with real_redis.running() as server:
        for precision in (1, 16, "bitmap"):
            results["real redis", precision] = real_redis.compare(
                server, [plan.SEED], 10 if options.quick else 100, 3000, 0.05, precision
            )
    options.output.mkdir(parents=True, exist_ok=True)
    plots.draw(results, options.output)
    text, failures = page.write(results, plan.tasks(options.quick), allowance=3.5 if options.quick else 0.0)
    (options.output / "evidence.md").write_text(text, encoding="utf-8")
    print(f"wrote {options.output / 'evidence.md'} after {time.monotonic() - started:,.0f} s", file=sys.stderr)
    for failure in failures:
        print(f"BAR MISSED: {failure}", file=sys.stderr)
    return 1 if failures else 0


def simulate(quick: bool, workers: int) -> dict[Any, Any]:
    """All cells, whatever the order in which they finish: each has a seed of its own."""
    numbered = sorted(enumerate(plan.tasks(quick)), key=lambda pair: -pair[1].cost)
    results: dict[Any, Any] = {}
    with ProcessPoolExecutor(workers) as pool:
        running = [pool.submit(task.run, number) for number, task in numbered]
        for done, future in enumerate(as_completed(running), 1):
            key, numbers = future.result()
            results[key] = numbers
            if done % 20 == 0 or done == len(running):
                print(f"{done} of {len(running)} cells", file=sys.stderr, flush=True)
    return results


if __name__ == "__main__":
    sys.exit(main())
