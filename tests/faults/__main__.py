"""python -m tests.faults [NAME ...]: break what Gimel depends on, and write docs/reliability.md from what happens."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.parts import kill_processes

from . import flood, page, trial
from .faults import FAULTS

EVENTS = 20_000
FLOOD = "flood"
ALL = *FAULTS, FLOOD


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    arguments.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(ALL)}")
    arguments.add_argument("--events", type=int, default=EVENTS, help=f"for each fault (default: {EVENTS:,})")
    arguments.add_argument("--output", type=Path, default=Path("docs"), help="folder of the page (default: docs)")
    options = arguments.parse_args()
    unknown = set(options.names) - set(ALL)
    if unknown:
        arguments.error(f"unknown: {', '.join(unknown)}; choose from {', '.join(ALL)}")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that all is cleaned up
    started = time.monotonic()
    results: page.Results = {}
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, trial.stage(Path(folder)) as stage:
        for name in [name for name in FAULTS if name in (options.names or FAULTS)]:
            try:
                results[name] = trial.run(FAULTS[name], options.events, Path(folder, name), stage)
            except pytest.skip.Exception as reason:
                results[name] = str(reason)
            finally:
                kill_processes([stage.ministack.process])
            print(
                f"after {time.monotonic() - started:,.0f} s: {page.progress(FAULTS[name], results[name])}", flush=True
            )
        flooded = flood.run(Path(folder, "flood")) if FLOOD in (options.names or ALL) else None
        print(f"after {time.monotonic() - started:,.0f} s: {flooded or 'done'}")
    if flooded and results.keys() == FAULTS.keys():
        file = options.output / "reliability.md"
        file.write_text(page.write(results, flooded, options.events), encoding="utf-8")
        print(f"wrote {file}")
    missed = [*page.missed(results), *(flooded.problems() if flooded else [])]
    for each in missed:
        print(f"BAR MISSED: {each}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
