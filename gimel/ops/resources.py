"""The files at the top of Gimel's source, wherever it is installed, a config.json made from one, and writing files."""

from __future__ import annotations

import os
import tempfile
from importlib import metadata
from pathlib import Path

from gimel.errors import ConfigError
from gimel.hyperloglog import Precision

PRECISION: Precision = 64
"""Of new installations: that of the template, and of `gimel serve` without a config.json."""


def shipped(name: str) -> Path:
    """A file at the top of the source: in a checkout, or where pip installed it. Raises ConfigError if missing."""
    checkout = Path(__file__).parents[2]
    if (checkout / "setup.py").is_file():
        return checkout / name
    for file in metadata.files("gimel") or ():
        if file.name == name and Path(str(file.locate())).is_file():
            return Path(str(file.locate()))
    raise ConfigError(f"{name} is missing from this installation", "reinstall Gimel with pip")


def write(path: Path, force: bool = False) -> None:
    """Write a config.json that only its owner can read. Without `force`, an existing file is a ConfigError."""
    text = shipped("config.json.template").read_bytes()
    if path.exists() and not force:
        hint = "edit it with `gimel configure --edit`, or overwrite it with --force"
        raise ConfigError(f"{path} already exists", hint)
    save(path, text)


def save(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all. Raises ConfigError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            draft = Path(folder) / path.name
            draft.touch(0o600)
            draft.write_bytes(content)
            os.replace(draft, path)
    except OSError as error:
        raise ConfigError(f"cannot write {path} ({error.strerror})", "choose another path") from None
