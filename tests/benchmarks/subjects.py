"""Starts the programs under test, each in a process of its own that runs blocks of calls."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.parts import missing

from .worker import CACHE

PEERS = {"gimel": "1.5.0", "lamed": "0.4.3"}


@dataclass(frozen=True)
class Place:
    """Where Redis is."""

    port: int
    password: str | None = None
    authority: Path | None = None
    """Of the server's certificate: then with TLS."""

    is_cluster: bool = False


class Subject:
    """A program under test, with one Redis, until it is closed."""

    def __init__(self, name: str, place: Place, **settings: object) -> None:
        ours = name == "gimel"
        redis: dict[str, object] = {"host": "127.0.0.1", "port": place.port}
        if place.password:
            redis["password"] = place.password
        if place.is_cluster:
            redis["cluster"] = True
        if place.authority:
            redis |= {"tls" if ours else "ssl": True}
            redis |= {"tls_ca_file" if ours else "ssl_ca_certs": str(place.authority)}
        self._folder = tempfile.TemporaryDirectory(prefix="benchmark-")
        Path(self._folder.name, "config.json").write_text(json.dumps({"redis": redis, **settings}))
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("worker.py"), name],
            cwd=self._folder.name,
            env={"HOME": self._folder.name},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, call: str, seconds: float = 0.25, **order: Any) -> dict[str, Any]:
        """Make a block of these calls: the seconds of each, and those of CPU of them all. Raises RuntimeError.

        It ends early if it takes longer than `seconds`.
        """
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):
            print(json.dumps({"call": call, "seconds": seconds, **order}), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline() or '{"failure": "it ended"}')
        if "failure" in answer:
            raise RuntimeError(answer["failure"])
        return dict(answer)

    def medians(self, call: str, **order: Any) -> dict[str, float]:
        """The seconds of such a call: the median."""
        return {"seconds": statistics.median(self.run(call, **order)["times"])}

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()


def install_peers() -> None:
    """Each peer into a folder of its own, once, with the redis-py that it ships."""
    for name, version in PEERS.items():
        folder = CACHE / f"{name}-{version}"
        if folder.is_dir():
            continue
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            command += ["--no-deps", "--target", scratch, f"{name}=={version}"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            if done.returncode:
                missing(f"pip cannot install {name} {version}: {done.stderr.strip()}")
            with suppress(OSError):  # another worker was faster
                shutil.copytree(scratch, folder)


@contextmanager
def delayed(place: Place, round_trip_ms: float) -> Iterator[Place]:
    """The same Redis, this far away."""
    command = [sys.executable, Path(__file__).with_name("network.py"), str(place.port), str(round_trip_ms / 1000)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield Place(int(process.stdout.readline()), place.password, place.authority)
        finally:
            process.kill()
