"""`gimel serve` under load, on a real Redis: `python -m tests.benchmarks.bench_server`.

Needs wrk (the Debian package of that name). Prints what docs/local-server.md states.
"""

from __future__ import annotations

import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.calls import EVENT
from tests.parts import GimelServer, RedisServer, missing, wait_for

CLIENTS = 1, 8, 64
ROUND_S, ROUNDS = 5, 3
OPEN, TRICKLING = 5_000, 200
REQUESTS = 200_000
SPARE = 32
"""Descriptors that threads of the server may keep: a connection to Redis each."""
PARTIAL = b"POST /track HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx"


def requests_per_s(url: str, clients: int, seconds: int = ROUND_S) -> float:
    """How many requests a second these many clients get answered, each on a connection that is kept open."""
    wrk = shutil.which("wrk") or missing("no wrk: install the Debian package wrk")
    command = [wrk, "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "10s", url]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    problems = re.findall(r"(?:Non-2xx|Socket errors).*", shown)
    if problems:
        print(f"    {clients} clients: {'; '.join(problems)}")
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", shown)[0])


def connect(url: str, stack: ExitStack, count: int) -> list[socket.socket]:
    host, port = url.removeprefix("http://").split(":")
    return [stack.enter_context(socket.create_connection((host, int(port)), 30)) for _ in range(count)]


def duration_ms(url: str) -> float:
    start = time.perf_counter()
    with urlopen(url, timeout=60) as answer:
        answer.read()
    return 1000 * (time.perf_counter() - start)


def usage(pid: int) -> tuple[float, int]:
    """Resident memory in MB, and open descriptors."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024, len(list(Path(f"/proc/{pid}/fd").iterdir()))


def measure(server: GimelServer) -> None:
    track = f"{server.url}/track?{urlencode(EVENT)}"
    requests_per_s(track, 8)
    wait_for(lambda: usage(server.process.pid)[1] < 64, "the connections to be closed", 60)
    idle = usage(server.process.pid)[1] + SPARE
    rates: dict[int, list[float]] = {clients: [] for clients in CLIENTS}
    for _ in range(ROUNDS):
        for clients, found in rates.items():
            found.append(requests_per_s(track, clients))
    medians = {clients: statistics.median(found) for clients, found in rates.items()}
    for clients, rate in medians.items():
        print(f"{clients:6,} clients: {rate:8,.0f} requests a second")
    print(f"64 clients get {medians[64] / medians[8]:.2f} times the requests of 8")

    with ExitStack() as stack:
        start = time.perf_counter()
        connect(server.url, stack, OPEN)
        print(f"{OPEN:,} connections opened in {time.perf_counter() - start:.1f} s and left idle:")
        print(f"    {requests_per_s(track, 64):,.0f} requests a second from 64 clients beside them")
        slow = connect(server.url, stack, TRICKLING)
        for link in slow:
            link.sendall(PARTIAL)
        taken = sorted(duration_ms(track) for _ in range(100))
        median, longest = taken[50], taken[-1]
        print(f"    with {TRICKLING} trickling ones as well, a visitor waits {median:.1f} ms, or {longest:.0f} at most")
        start = time.perf_counter()
        wait_for(lambda: sum(map(is_open, slow)) == 0, "the trickling ones to be cut off", 60)
        print(f"    the trickling ones were cut off within {time.perf_counter() - start:.0f} s")

    wait_for(lambda: usage(server.process.pid)[1] <= idle, "the connections to be closed", 60)
    before, done = usage(server.process.pid), 0.0
    while done < REQUESTS:
        done += 10 * requests_per_s(track, 64, 10)
    wait_for(lambda: usage(server.process.pid)[1] <= idle, "the connections to be closed", 60)
    after = usage(server.process.pid)
    print(f"{done:,.0f} requests: memory {before[0]:.0f} to {after[0]:.0f} MB, descriptors {before[1]} to {after[1]}")


def is_open(link: socket.socket) -> bool:
    """Whether the server still takes a byte on this connection."""
    try:
        link.sendall(b"x")
    except OSError:
        return False
    return True


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < 2 * OPEN:
        sys.exit(f"needs {2 * OPEN:,} descriptors; this machine allows {hard:,}")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "redis").mkdir()
        redis = RedisServer(Path(folder) / "redis").start()
        server = GimelServer(home=Path(folder), environ={"GIMEL_REDIS_URL": redis.url})
        try:
            measure(server)
        finally:
            server.stop()
            redis.stop()


if __name__ == "__main__":
    main()
