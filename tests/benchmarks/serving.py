"""How many requests `gimel serve` answers, and how fast, against the least that the same HTTP server can do."""

from __future__ import annotations

import itertools
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

from tests.calls import EVENT
from tests.parts import GimelServer, Process, RedisServer, missing, wait_for

from .rounds import Figures, interleave

CLIENTS = 1, 8, 64, 1_000
ROUNDS, ROUND_S = 3, 2
UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}

SCRIPT = """
local number = 0
request = function()
  number = number + 1
  return wrk.format("GET", wrk.path .. number)
end
"""
"""Every request is from a new visitor."""


def measure(folder: Path, quick: bool) -> dict[str, Figures]:
    """By the number of clients, each of which has a connection and sends its next request after an answer."""
    wrk = shutil.which("wrk") or missing("no wrk: install the Debian package wrk")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    script = folder / "visitors.lua"
    script.write_text(SCRIPT)
    runs = itertools.count()

    def load(url: str, clients: int) -> dict[str, float]:
        query = urlencode({key: value for key, value in EVENT.items() if key != "uuid"})
        address = f"{url}/track?{query}&uuid={next(runs)}-"
        seconds = 1 if quick else ROUND_S
        command = [wrk, "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "10s", "--latency", "-s", script, address]
        return _read(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)

    found = {}
    with servers(folder) as urls:
        for clients in CLIENTS[:2] if quick else CLIENTS:
            ways = {name: partial(load, url, clients) for name, url in urls.items()}
            found[f"{clients:,}"] = interleave(ways, 1 if quick else ROUNDS)
    return found


@contextmanager
def servers(folder: Path) -> Iterator[dict[str, str]]:
    """The URLs of Gimel and of the floors, all with one Redis."""
    (folder / "redis").mkdir()
    with ExitStack() as stack:
        redis = RedisServer(folder / "redis", "--appendonly", "no").start()
        stack.callback(redis.stop)
        gimel = GimelServer(home=folder, environ={"GIMEL_REDIS_URL": redis.url})
        stack.callback(gimel.stop)
        urls = {"gimel": gimel.url}
        for name in ("answer", "pfadd"):
            process = Process(sys.executable, Path(__file__).with_name("least_server.py"), name, str(redis.port))
            stack.callback(process.kill_all)
            wait_for(lambda process=process: process.lines, f"the server that does {name}")
            urls[name] = process.lines[0]
        yield urls


def _read(shown: str) -> dict[str, float]:
    problems = re.findall(r"(?:Non-2xx|Socket errors).*", shown)
    assert not problems, shown
    found = {"requests a second": float(re.findall(r"Requests/sec:\s+([\d.]+)", shown)[0])}
    for share in ("50", "99"):
        number, unit = re.findall(rf"^\s+{share}%\s+([\d.]+)(\w+)\s*$", shown, re.MULTILINE)[0]
        found[f"{share} %, seconds"] = float(number) * UNITS_S[unit]
    return found
