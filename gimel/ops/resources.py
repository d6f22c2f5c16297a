"""The files that stand at the top of Gimel's source, wherever it is installed; and a config.json made from one."""

from __future__ import annotations

import os
import tempfile
from importlib import metadata
from pathlib import Path

from gimel.errors import ConfigError


def shipped(name: str) -> Path:
    """A file of the source's top level: in a checkout, or where an installation put it.

    Raises ConfigError where it is in neither.
    """
    checkout = Path(__file__).parents[2]
    if (checkout / "setup.py").is_file():
        return checkout / name
    for file in metadata.files("gimel") or ():
        if file.name == name and Path(str(file.locate())).is_file():
            return Path(str(file.locate()))
    raise ConfigError(f"{name} is missing from this installation", "install Gimel again, with pip")


def write(path: Path, force: bool = False) -> None:
    """Write a config.json that only its owner can read.

    Raises ConfigError where there is a file already and `force` is not given, or none can be written.
    """
    text = shipped("config.json.template").read_bytes()
    if path.exists() and not force:
        hint = "edit it with `gimel configure --edit`, or write over it with --force"
        raise ConfigError(f"{path} exists already", hint)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder) / path.name
            made.touch(0o600)
            made.write_bytes(text)
            os.replace(made, path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror})", "choose another with --config") from None
