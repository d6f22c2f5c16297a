"""python -m tests.faults [NAME ...]: break what Gimel depends on, and write docs/reliability.md from what happens."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.parts import kill_processes

from . import page, trial
from .faults import FAULTS

EVENTS = 20_000


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    arguments.add_argument("names", nargs="*", metavar="NAME", help=f"faults (default: all): {', '.join(FAULTS)}")
    arguments.add_argument("--events", type=int, default=EVENTS, help=f"for each fault (default: {EVENTS:,})")
    arguments.add_argument("--output", type=Path, default=Path("docs"), help="folder of the page (default: docs)")
    options = arguments.parse_args()
    unknown = set(options.names) - FAULTS.keys()
    if unknown:
        arguments.error(f"unknown: {', '.join(unknown)}; choose from {', '.join(FAULTS)}")
    started = time.monotonic()
    results: page.Results = {}
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, trial.stage(Path(folder)) as stage:
        for name in options.names or FAULTS:
            try:
                results[name] = trial.run(FAULTS[name], options.events, Path(folder, name), stage)
            except pytest.skip.Exception as reason:
                results[name] = str(reason)
            finally:
                kill_processes([stage.ministack.process])
            print(page.progress(FAULTS[name], results[name]), flush=True)
            print(f"{len(results)} faults after {time.monotonic() - started:,.0f} s", file=sys.stderr)
    if results.keys() == FAULTS.keys():
        (options.output / "reliability.md").write_text(page.write(results, options.events), encoding="utf-8")
        print(f"wrote {options.output / 'reliability.md'}", file=sys.stderr)
    missed = page.missed(results)
    for each in missed:
        print(f"BAR MISSED: {each}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
