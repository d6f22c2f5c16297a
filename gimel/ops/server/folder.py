"""The data folder: private to its user, and used by one server at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from typing import IO

from gimel.errors import ConfigError

OWN_FILES = "lock", "redis.*", "spool.sqlite*", "appendonly.aof*", "appendonlydir", "appendonlydir/*"
CHOOSE = "choose another folder with --data"


class FolderInUse(ConfigError):
    """Another server is using the data folder."""


def claim(folder: Path) -> IO[str]:
    """Create this folder if needed, make it and Gimel's files in it private, and hold it until the result is closed.

    Raises FolderInUse, or ConfigError for a folder that cannot be used.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_mode & stat.S_ISVTX:
            raise ConfigError(f"data folder {folder} is shared by all users", CHOOSE)
        if _is_of_others(folder):
            raise ConfigError(f"{folder} has other files, and would become private to you", CHOOSE)
        folder.chmod(0o700)
        lock = open_private(folder / "lock")
    except OSError as error:
        hint = "choose a writable folder of your own with --data"
        raise ConfigError(f"cannot use data folder {folder} ({error.strerror})", hint) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in (path for pattern in OWN_FILES for path in folder.glob(pattern)):
            path.chmod(0o700 if path.is_dir() or path.is_socket() else 0o600)
    except BlockingIOError:
        lock.close()
        hint = f"stop that server, or {CHOOSE}"
        raise FolderInUse(f"data folder {folder} is in use by another server", hint) from None
    except OSError as error:
        lock.close()
        raise ConfigError(f"cannot make {folder} private ({error.strerror})", CHOOSE) from None
    return lock


def _is_of_others(folder: Path) -> bool:
    """Whether other users may read this folder, and it has files, but none of Gimel's."""
    is_open = bool(stat.S_IMODE(folder.stat().st_mode) & 0o077)
    has_files = any(path.name != "lost+found" for path in folder.iterdir())  # which a new volume has
    return is_open and has_files and not any(path for name in OWN_FILES for path in folder.glob(name))


def open_private(path: Path) -> IO[str]:
    """Open a file for appending that only its owner may read."""
    return open(path, "a", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600))
