"""How long a new container takes to its first answer, under AWS' own runtime client."""

from __future__ import annotations

import io
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from gimel.ops.aws import bundle
from tests.aws.runtime_api import Lambda
from tests.calls import EVENT, make_rest_event
from tests.parts import DEADLINE_S, RedisServer

from .rounds import Figures, interleave
from .worker import CACHE, HEADERS

ROUNDS = 15
BARE = 'def handle(event, context):\n    return {"statusCode": 200, "body": "null"}\n'


def measure(folder: Path, quick: bool) -> Figures:
    """Seconds of a cold start, and seconds of CPU that the container has used by then."""
    folders = {name: folder / name / "task" for name in ("bare", "gimel", "gimel 1.5")}
    for each in (*folders.values(), folder / "redis"):
        each.mkdir(parents=True)
    (folders["bare"] / "bare.py").write_text(BARE)
    server = RedisServer(folder / "redis", "--appendonly", "no").start()
    try:
        settings = {"redis": {"host": "127.0.0.1", "port": server.port}}
        built = bundle.build(settings, f"python{sys.version_info.major}.{sys.version_info.minor}")
        ZipFile(io.BytesIO(built.data)).extractall(folders["gimel"])
        _unpack_old(folders["gimel 1.5"], settings)
        subjects: dict[str, tuple[str, Any]] = {
            "bare": ("bare.handle", make_rest_event(query=EVENT, headers=HEADERS)),
            "gimel": ("gimel.track", make_rest_event(query=EVENT, headers=HEADERS)),
            "gimel 1.5": ("gimel.track", EVENT),
        }
        ways = {name: lambda name=name: _start(folders[name], *subjects[name]) for name in subjects}
        return interleave(ways, 1 if quick else ROUNDS)
    finally:
        server.stop()


def _unpack_old(folder: Path, settings: dict[str, object]) -> None:
    """What Gimel 1.5's deploy zips; its redis-py is compiled, as pip has left it."""
    source = CACHE / "gimel-1.5.0" / "gimel"
    for name in ("gimel.py", "config.py", "logger.py"):
        shutil.copy(source / name, folder)
    shutil.copytree(source / "vendor", folder / "vendor")
    (folder / "config.json").write_text(json.dumps(settings))


def _start(folder: Path, handler: str, event: object) -> dict[str, float]:
    began = time.perf_counter()
    with Lambda(folder, handler) as container:
        container.events.put(event)
        kind, answer = container.answers.get(timeout=DEADLINE_S)
        taken = time.perf_counter() - began
        assert (kind, answer and answer["body"]) in {("response", None), ("response", "null")}, answer
        threads = Path(f"/proc/{container.process.pid}/task").glob("*/schedstat")
        return {"seconds": taken, "seconds of CPU": sum(int(each.read_text().split()[0]) for each in threads) / 1e9}
