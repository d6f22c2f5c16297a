"""The real parts that tests run against: what is missing skips a test, or fails it where GIMEL_TEST_STRICT=1 is set."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, NoReturn, cast

import pytest
import redis

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
DEADLINE_S = 30


def missing(reason: str) -> NoReturn:
    """Skip the test for this reason, or fail it in strict mode."""
    if os.environ.get("GIMEL_TEST_STRICT") == "1":
        pytest.fail(f"missing in strict mode: {reason}")
    pytest.skip(reason)


def wait_for(condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> object:
    """Poll until `condition` gives something true, and give that."""
    pause = threading.Event()
    end = time.monotonic() + deadline_s
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < end, f"waited {deadline_s} s in vain for {what}"
        pause.wait(0.02)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """A redis-server of the test's own on 127.0.0.1, which can be stopped and started again with its data."""

    def __init__(self, folder: Path, *options: str) -> None:
        from gimel.ops.server.redis_process import find_server

        self.binary = find_server() or missing("no redis-server: install the Debian package redis-server")
        self.folder = folder
        self.options = options
        self.port = free_port()
        self.tls_port: int | None = None
        self.url = f"redis://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> RedisServer:
        base = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        keep = ["--save", "", "--appendonly", "yes", "--logfile", str(self.folder / "redis.log")]
        self.process = subprocess.Popen([self.binary, *base, *keep, *self.options], stdout=subprocess.DEVNULL)
        wait_for(self._answers, "redis-server")
        return self

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.folder / "redis.log").read_text()
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as link:
                link.sendall(b"PING\r\n")
                # A password may be wanted: then PING is refused, but answered.
                return link.recv(16)[:1] in (b"+", b"-")
        except OSError:
            return False

    def client(self, **options: object) -> redis.Redis:
        return redis.Redis(port=self.port, decode_responses=True, **options)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process = None


class GimelServer:
    """`gimel serve` as its user starts it: a process, known by what it prints."""

    def __init__(self, *options: str, home: Path, environ: dict[str, str] | None = None) -> None:
        quiet = {name: value for name, value in os.environ.items() if not name.startswith("GIMEL_")}
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gimel.ops.commands.main", "serve", "--port", "0", *options],
            cwd=home,
            env={**quiet, "HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(environ or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        wait_for(lambda: "Press Ctrl-C to stop." in self.lines or self.process.poll() is not None, "gimel serve")
        assert self.process.poll() is None, self.output
        self.url = next(line.split()[4] for line in self.lines if line.startswith("Gimel is running at "))

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def stop(self) -> int:
        self.process.terminate()
        code = self.process.wait(DEADLINE_S)
        self._reader.join()
        return code


def alephbet_file() -> Path:
    """alephbet.min.js of the npm package alephbet 0.27.0."""
    return npm_file("alephbet", "0.27.0", "dist/alephbet.min.js")


def npm_file(name: str, version: str, path: str) -> Path:
    """A file of an npm package, fetched once into the cache."""
    file = CACHE / f"{name}-{version}" / path
    if not file.is_file():
        npm = shutil.which("npm") or missing("no npm: install the Debian package npm")
        CACHE.mkdir(exist_ok=True)
        command = [npm, "pack", "--silent", "--pack-destination", str(CACHE), f"{name}@{version}"]
        packed = subprocess.run(command, capture_output=True, text=True)
        archive = CACHE / f"{name}-{version}.tgz"
        if packed.returncode or not archive.is_file():
            missing(f"npm cannot fetch {name} {version}: {packed.stderr.strip()}")
        with tarfile.open(archive) as tar, cast("IO[bytes]", tar.extractfile(f"package/{path}")) as packed_file:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.with_suffix(".partial").write_bytes(packed_file.read())
        file.with_suffix(".partial").rename(file)
    return file


def chromium_path() -> str:
    """A Chromium that Playwright can drive."""
    return shutil.which("chromium") or missing("no chromium: install the Debian package chromium")
