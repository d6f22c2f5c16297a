"""Cold starts under AWS' own runtime client: `python -m tests.benchmarks.bench_cold_start`.

From the start of the process to its first answer: a handler that does nothing, and `track` on a real Redis. They take
turns, so that a slower moment of the machine is everybody's.
"""

from __future__ import annotations

import io
import statistics
import sys
import tempfile
import time
from pathlib import Path
from zipfile import ZipFile

from gimel.ops.aws import bundle
from tests.aws.runtime_api import Lambda
from tests.calls import EVENT, make_rest_event
from tests.parts import RedisServer

STARTS = int(sys.argv[1]) if len(sys.argv) > 1 else 21
BARE = 'def handle(event, context):\n    return {"statusCode": 200, "body": "null"}\n'


def start(folder: Path, handler: str) -> tuple[float, float]:
    """Seconds until the first answer, and seconds of CPU that the process has used by then."""
    began = time.perf_counter()
    with Lambda(folder, handler) as container:
        kind, answer = container(make_rest_event(query=EVENT))
        taken = time.perf_counter() - began
        assert (kind, answer["statusCode"], answer["body"]) == ("response", 200, "null"), answer
        threads = Path(f"/proc/{container.process.pid}/task").glob("*/schedstat")
        return taken, sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folders = {"a handler that does nothing": root / "bare" / "task", "gimel.track": root / "gimel" / "task"}
        for folder in (*folders.values(), root / "redis"):
            folder.mkdir(parents=True)
        server = RedisServer(root / "redis").start()
        try:
            (root / "bare" / "task" / "bare.py").write_text(BARE)
            runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
            built = bundle.build({"redis": {"host": "127.0.0.1", "port": server.port}}, runtime)
            ZipFile(io.BytesIO(built.data)).extractall(root / "gimel" / "task")
            taken: dict[str, list[tuple[float, float]]] = {name: [] for name in folders}
            for _ in range(STARTS):
                for name, handler in zip(folders, ("bare.handle", "gimel.track")):
                    taken[name].append(start(folders[name], handler))
        finally:
            server.stop()
    print(f"medians of {STARTS} cold starts each, in ms")
    bare = [statistics.median(each) for each in zip(*taken["a handler that does nothing"])]
    for name, starts in taken.items():
        wall, cpu = (statistics.median(each) for each in zip(*starts))
        print(
            f"{name:28}{wall * 1e3:6.0f} {wall / bare[0]:6.2f} times   CPU {cpu * 1e3:6.0f} {cpu / bare[1]:6.2f} times"
        )


if __name__ == "__main__":
    main()
