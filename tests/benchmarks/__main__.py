"""python -m tests.benchmarks [--only a,d] [--quick]: measure against peers and floors, and write docs/benchmark.md."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from . import page, subjects, tracking

SECTIONS = {"a": tracking.measure}


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    arguments.add_argument("--only", default=",".join(SECTIONS), metavar="a,b", help="some sections, only printed")
    arguments.add_argument("--quick", action="store_true", help="a few rounds, to see that everything runs")
    options = arguments.parse_args()
    wanted = options.only.split(",")
    unknown = set(wanted) - set(SECTIONS)
    if unknown:
        arguments.error(f"unknown: {', '.join(unknown)}; choose from {', '.join(SECTIONS)}")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that all is cleaned up
    results = measure(wanted, options.quick)
    print(page.write(results))
    return 0


def measure(sections: list[str], quick: bool) -> dict[str, Any]:
    """What these sections measure."""
    subjects.install_peers()
    started, results = time.monotonic(), {}
    for section in sections:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            results[section] = SECTIONS[section](Path(folder), quick)
        print(f"{section} done after {time.monotonic() - started:,.0f} s", file=sys.stderr, flush=True)
    return results


if __name__ == "__main__":
    sys.exit(main())
