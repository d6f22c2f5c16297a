"""Reads a JSON file and hands out checked values, noting every problem with its key and cure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from typing import Any

from .errors import ConfigError


def read_file(path: Path) -> dict[str, Any]:
    """The one object of a JSON file. Raises ConfigError."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8-sig"))  # some editors put a mark first
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})", "check its permissions") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}", "mend it, or start again with `gimel configure`") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must hold one JSON object", "see config.json.template")
    return raw


class Section:
    """An object of the file being read: hands out checked values and notes every problem."""

    def __init__(
        self, raw: Mapping[str, Any], known: set[str], prefix: str = "", problems: list[str] | None = None
    ) -> None:
        # Keys that begin with // are comments.
        self.raw = {key: value for key, value in raw.items() if not key.startswith("//")}
        self.prefix = prefix
        self.problems: list[str] = [] if problems is None else problems
        for key in sorted(self.raw.keys() - known):
            close = difflib.get_close_matches(key, known, 1)
            cure = f"did you mean {close[0]}?" if close else f"known here: {', '.join(sorted(known))}"
            self.problems.append(f"{prefix}{key}: unknown key; {cure}")

    def take(self, key: str, wanted: str, read: Callable[[Any], Any], default: Any = None, secret: bool = False) -> Any:
        """The value of `key`, or `default` where it is missing or null; `read` gives None for a wrong one.

        A wrong value is repeated to the reader unless it may hold a secret.
        """
        value = self.raw.get(key)
        if value is None:
            return default
        result = read(value)
        if result is None:
            found = "" if secret else f", not {json.dumps(value, ensure_ascii=False)[:60]}"
            self.problems.append(f"{self.prefix}{key}: must be {wanted}{found}")
            return default
        return result


def flag(value: object) -> bool | None:
    """true or false."""
    return value if isinstance(value, bool) else None


def text(value: object) -> str | None:
    """Text that is not empty."""
    return value if isinstance(value, str) and value else None


def whole(low: int, high: int) -> Callable[[object], int | None]:
    """A whole number within these bounds, perhaps written as text."""

    def read(value: object) -> int | None:
        if isinstance(value, str) and value.isdecimal() and len(value) <= len(str(high)):
            value = int(value)
        return value if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high else None

    return read


def positive(value: object) -> float | None:
    """A finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 < value < inf else None


def json_object(value: object) -> dict[str, Any] | None:
    """An object."""
    return value if isinstance(value, dict) else None


def list_of(kind: type) -> Callable[[object], list[Any] | None]:
    """A list of nothing but these."""
    return lambda value: value if isinstance(value, list) and all(isinstance(item, kind) for item in value) else None
