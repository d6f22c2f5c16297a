"""The real parts that tests run against: what is missing skips a test, or fails it where GIMEL_TEST_STRICT=1 is set."""

from __future__ import annotations

import atexit
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, ClassVar, NoReturn, cast

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


def free_ports(number: int) -> list[int]:
    """So many different TCP ports of 127.0.0.1 that nobody listens on.

    They are none of those that Linux gives to whoever asks for no certain one, or a connection could take the port of a
    server that a test has stopped and will start again.
    """
    chance, ports = random.SystemRandom(), set[int]()
    with ExitStack() as stack:
        while len(ports) < number:
            with suppress(OSError):
                probe = stack.enter_context(socket.socket())
                probe.bind(("127.0.0.1", chance.randrange(10_000, 32_768)))
                ports.add(int(probe.getsockname()[1]))
    return [*ports]


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    return free_ports(1)[0]


@contextmanager
def _default_signals() -> Iterator[None]:
    """Let children have default signals, even where this process ignores some, as a background job of a shell does.

    A child inherits what is ignored, but not what is handled.
    """
    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    ignored = [number for number in numbers if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda number, frame: None)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


class Process(subprocess.Popen[str]):
    """A child in a session of its own, with default signals, whose output is collected in `lines`.

    Every wait has a limit, and the child is killed at the end of the test, unless a fixture of a wider scope started
    it: then at the end of the run.
    """

    running: ClassVar[set[Process]] = set()

    def __init__(self, *command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
        self.lines: list[str] = []
        with _default_signals():
            super().__init__(
                command,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        self.running.add(self)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.stdout
        for line in self.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def output(self) -> str:
        """Everything printed so far."""
        return "\n".join(self.lines)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended, 30 seconds at most, and its output is read; return its exit code."""
        code = super().wait(DEADLINE_S if timeout is None else timeout)
        self._reader.join(1)  # a child of its own may still hold the pipe
        return code

    def wait_for_line(self, text: str) -> None:
        """Wait until it prints this line, and fail if it ends before."""
        said = lambda: text in self.lines or self.poll() is not None  # noqa: E731
        wait_for(said, f"{text!r} from {self.args}", 3 * DEADLINE_S)  # a demo takes a while on a busy machine
        assert text in self.lines, self.output

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait until it has ended, and return its exit code."""
        try:
            self.send_signal(number)
            return self.wait()
        except subprocess.TimeoutExpired:
            children = _descendants(self.pid)
            self.send_signal(signal.SIGABRT)  # a Python of ours says where each of its threads is
            self.wait(30)
            _kill(children)  # they have lost their parent
            raise AssertionError(f"{self.args} did not end:\n{self.output}") from None
        finally:
            self.kill_all()

    def kill_all(self) -> None:
        """Kill it and its descendants, which may be in sessions of their own, as redis-server is."""
        if self.poll() is None:
            _kill([self.pid, *_descendants(self.pid)])
            self.wait(30)
        if self.stdout and not self._reader.is_alive():
            self.stdout.close()
        self.running.discard(self)


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    """All descendants of a process; on Linux alone, where /proc lists them."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The second field is the program's name in parentheses, which may contain anything; the fourth, its parent.
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found[1:]


@atexit.register
def kill_processes(spared: Iterable[Process] = ()) -> None:
    """Kill the children that are still running, except those spared."""
    for process in Process.running.difference(spared):
        process.kill_all()


class RedisServer:
    """A redis-server of the test's own on 127.0.0.1, which can be stopped and started again with its data."""

    def __init__(self, folder: Path, *options: str, port: int | None = None, binary: str | None = None) -> None:
        from gimel.ops.server.redis_process import find_server

        self.binary = (
            binary
            or shutil.which("redis-server")
            or find_server()
            or missing("no redis-server: install the Debian package redis-server")
        )
        self.folder = folder
        self.options = options
        self.port = port or free_port()
        self.tls_port: int | None = None
        self.url = f"redis://127.0.0.1:{self.port}"
        self.process: Process | None = None

    def start(self) -> RedisServer:
        self.launch()
        self.wait()
        return self

    def launch(self) -> None:
        base = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        keep = ["--save", "", "--appendonly", "yes", "--logfile", str(self.folder / "redis.log")]
        self.process = Process(self.binary, *base, *keep, *self.options)

    def wait(self) -> None:
        wait_for(self._answers, "redis-server")

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.folder / "redis.log").read_text()
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as link:
                link.sendall(b"PING\r\n")
                answer = link.recv(16)
                # A password may be wanted: then PING is refused, but answered.
                return answer[:1] in (b"+", b"-") and not answer.startswith(b"-LOADING")
        except OSError:
            return False

    def client(self, **options: object) -> redis.Redis:
        return redis.Redis(port=self.port, decode_responses=True, **options)

    def flush(self) -> None:
        self.client().flushall()

    def stop(self) -> None:
        if self.process:
            self.process.stop()
            self.process = None


def self_signed(folder: Path, *names: str) -> tuple[Path, Path]:
    """A new certificate for these names, and its key."""
    certificate, key = folder / "tls.crt", folder / "tls.key"
    openssl = shutil.which("openssl") or missing("no openssl: install the Debian package openssl")
    wanted = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    files = ["-addext", f"subjectAltName={','.join(names)}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([openssl, "req", *wanted, *files], check=True, capture_output=True, timeout=DEADLINE_S)
    return certificate, key


def encrypted_redis(folder: Path, *options: str) -> tuple[RedisServer, Path]:
    """A Redis, to be started, that also speaks TLS as `localhost` and 127.0.0.1, and its authority's certificate."""
    certificate, key = self_signed(folder, "DNS:localhost", "IP:127.0.0.1")
    port = free_port()
    tls = ["--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    server = RedisServer(folder, *tls, "--tls-auth-clients", "no", *options)
    if b"tls-auth-clients" not in Path(server.binary).read_bytes():
        missing("this redis-server was built without TLS")
    server.tls_port = port
    return server, certificate


def start_gimel(*words: str, home: Path, **environ: str) -> Process:
    """Start a `gimel` command as a user does who has no configuration but this one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIMEL_", "AWS_"))}
    own = {"HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
    command = [sys.executable, "-m", "gimel.ops.commands.main", *words]
    return Process(*command, cwd=home, env={**kept, **own, **environ})


class GimelServer:
    """`gimel serve` as its user starts it: a process, known by what it prints."""

    def __init__(self, *options: str, home: Path, environ: dict[str, str] | None = None) -> None:
        self.process = start_gimel("serve", "--port", "0", *options, home=home, **(environ or {}))
        self.process.wait_for_line("Press Ctrl-C to stop.")
        self.lines = self.process.lines
        self.url = next(line.split()[4] for line in self.lines if line.startswith("Gimel is running at "))

    @property
    def output(self) -> str:
        return self.process.output

    def stop(self) -> int:
        return self.process.stop()


def alephbet_file() -> Path:
    """alephbet.min.js of the npm package alephbet 0.27.0."""
    return npm_file("alephbet", "0.27.0", "dist/alephbet.min.js")


def npm_package(name: str, version: str) -> Path:
    """The folder of an npm package, fetched once into the cache."""
    folder = CACHE / f"{name.lstrip('@').replace('/', '-')}-{version}"
    if not folder.is_dir():
        npm = shutil.which("npm") or missing("no npm: install the Debian package npm")
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            _fetch([npm, "pack", "--silent", f"{name}@{version}"], scratch)
            (archive,) = Path(scratch).glob("*.tgz")
            subprocess.run(["tar", "xzf", archive], cwd=scratch, check=True, timeout=120)
            _keep(Path(scratch, "package"), folder)
    return folder


def pypi_package(name: str, version: str) -> Path:
    """The folder of a PyPI package without what it depends on, fetched once into the cache."""
    folder = CACHE / f"{name}-{version}"
    if not folder.is_dir():
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", f"{scratch}/package"]
            _fetch([*pip, f"{name}=={version}"], scratch)
            _keep(Path(scratch, "package"), folder)
    return folder


def debian_package(name: str) -> Path:
    """The folder with the files of a Debian package, fetched once into the cache and not installed."""
    folder = CACHE / f"debian-{name}"
    if not folder.is_dir():
        apt = shutil.which("apt-get") or missing(f"no apt-get, which fetches {name}")
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            download = [apt, "download", name]
            if subprocess.run(download, cwd=scratch, capture_output=True, timeout=120).returncode:
                _fetch([apt, "update"], scratch)  # what it knows is too old
                _fetch(download, scratch)
            (archive,) = Path(scratch).glob("*.deb")
            subprocess.run(["dpkg-deb", "-x", archive, "files"], cwd=scratch, check=True, timeout=120)
            _keep(Path(scratch, "files"), folder)
    return folder


def block_lists() -> tuple[Path, list[Path]]:
    """The public suffixes, and the lists that uBlock Origin uses by default, from its Debian package.

    Where that is installed, Debian's Chromium would load it in every test.
    """
    folder = debian_package("webext-ublock-origin-chromium") / "usr/share/chromium/extensions/ublock-origin"
    assets = json.loads((folder / "assets" / "assets.json").read_text()).values()
    used = [each["contentURL"] for each in assets if each["content"] == "filters" and not each.get("off")]
    places = [folder / place for places in used for place in places]
    suffixes = folder / "assets" / "thirdparties" / "publicsuffix.org" / "list" / "effective_tld_names.dat"
    return suffixes, [place for place in places if place.is_file()]


def _fetch(command: list[str], folder: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    if done.returncode:
        missing(f"{' '.join(command)} failed: {done.stderr.strip()}")


def _keep(fetched: Path, folder: Path) -> None:
    with suppress(OSError):  # another worker was faster
        fetched.rename(folder)


def npm_file(name: str, version: str, path: str) -> Path:
    """A file of an npm package, fetched once into the cache."""
    file = CACHE / f"{name}-{version}" / path
    if not file.is_file():
        npm = shutil.which("npm") or missing("no npm: install the Debian package npm")
        file.parent.mkdir(parents=True, exist_ok=True)
        # Another worker may fetch the same file; whoever is last replaces it with the same content.
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            command = [npm, "pack", "--silent", "--pack-destination", scratch, f"{name}@{version}"]
            packed = subprocess.run(command, capture_output=True, text=True, timeout=120)
            archive, partial = Path(scratch, f"{name}-{version}.tgz"), Path(scratch, "partial")
            if packed.returncode or not archive.is_file():
                missing(f"npm cannot fetch {name} {version}: {packed.stderr.strip()}")
            with tarfile.open(archive) as tar, cast("IO[bytes]", tar.extractfile(f"package/{path}")) as packed_file:
                partial.write_bytes(packed_file.read())
            partial.replace(file)
    return file


def chromium_path() -> str:
    """A Chromium that Playwright can drive."""
    return shutil.which("chromium") or missing("no chromium: install the Debian package chromium")
