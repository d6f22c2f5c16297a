"""The files that stand at the top of Gimel's source, wherever it is installed; and a config.json made from one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gimel.errors import ConfigError


def shipped(name: str) -> Path:
    """A file of the source's top level: in a checkout, or where an installation put it.

    Raises ConfigError where it is in neither.
    """
    places = (Path(__file__).parent.parent.parent / name, Path(sys.prefix) / "share" / "gimel" / name)
    for place in places:
        if place.is_file():
            return place
    raise ConfigError(f"{name} is missing from this installation", "install Gimel again")


def write(path: Path, force: bool = False) -> None:
    """Write a config.json that only its owner can read.

    Raises ConfigError where there is a file already and `force` is not given, or none can be written.
    """
    text = shipped("config.json.template").read_bytes()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if force:
            path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text)
    except FileExistsError:
        hint = "edit it with `gimel configure --edit`, or write over it with --force"
        raise ConfigError(f"{path} exists already", hint) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror})", "choose another with --config") from None
