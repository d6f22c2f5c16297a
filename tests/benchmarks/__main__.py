"""python -m tests.benchmarks [--only a,d] [--quick]: measure against peers and floors, and write docs/benchmark.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import capacity, cluster, cold_starts, lists, page, plot, reports, serving, subjects, tracking

SECTIONS: dict[str, Any] = {
    "a": tracking.measure,
    "b": cold_starts.measure,
    "c": reports.measure,
    "d": lambda folder, quick: {"all": lists.measure(folder, quick)},
    "e": serving.measure,
    "f": capacity.measure,
    "g": cluster.measure,
}


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    arguments.add_argument("--only", default=",".join(SECTIONS), metavar="a,b", help="some sections, only printed")
    arguments.add_argument(
        "--quick", action="store_true", help="a few rounds, to see that everything runs; only printed"
    )
    arguments.add_argument("--output", type=Path, default=Path("docs"), help="folder of the page (default: docs)")
    options = arguments.parse_args()
    wanted = options.only.split(",")
    unknown = set(wanted) - set(SECTIONS)
    if unknown:
        arguments.error(f"unknown: {', '.join(unknown)}; choose from {', '.join(SECTIONS)}")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that all is cleaned up
    results = measure(wanted, options.quick)
    if results.keys() == SECTIONS.keys() and not options.quick:
        write({"run": describe(), **results}, options.output)
    else:
        print(page.write(results))
    for each in page.missed(results):
        print(f"BAR MISSED: {each}", file=sys.stderr)
    return 0


def measure(sections: Sequence[str], quick: bool) -> dict[str, Any]:
    """What these sections measure."""
    subjects.install_peers()
    started, results = time.monotonic(), {}
    for section in sections:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            found = SECTIONS[section](Path(folder), quick)
        results[section] = {"cold start": found} if section == "b" else found
        print(f"{section} done after {time.monotonic() - started:,.0f} s", file=sys.stderr, flush=True)
    return results


def write(results: dict[str, Any], folder: Path) -> None:
    """The page, its plot, and what both are made from."""
    (folder / "benchmark.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (folder / "benchmark.md").write_text(page.write(results), encoding="utf-8")
    plot.draw(results["a"], folder / "benchmark.png")
    print(f"wrote {folder / 'benchmark.md'}")


def describe() -> dict[str, str]:
    """The machine, the versions, the date and the command."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    server = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout
    redis_version = re.search(r"v=(\S+)", server)
    return {
        "date": date.today().isoformat(),
        "command": "make benchmark",
        "machine": f"{os.cpu_count()} cores ({model[1] if model else platform.machine()}), Linux {platform.release()}",
        "versions": f"Python {platform.python_version()}, Redis {redis_version[1] if redis_version else '?'},"
        f" redis-py {version('redis')}, uvicorn {version('uvicorn')}",
    }


if __name__ == "__main__":
    sys.exit(main())
