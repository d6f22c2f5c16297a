"""Reads a JSON file and returns checked values, collecting every problem with its key and how to fix it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from sys import float_info
from typing import Any

from .errors import ConfigError


def read_file(path: Path) -> dict[str, Any]:
    """The JSON object in this file. Raises ConfigError."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8-sig"))  # some editors start with a byte order mark
    except OSError as error:
        raise ConfigError(f"could not read {path} ({error.strerror})", "check its permissions") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"invalid JSON in {path}: {error}", "fix the syntax, or start again with `gimel configure --force`"
        ) from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must contain one JSON object", "see config.json.template")
    return raw


class Section:
    """An object of the file being read: returns checked values and collects every problem."""

    def __init__(
        self, raw: Mapping[str, Any], known: set[str], prefix: str = "", problems: list[str] | None = None
    ) -> None:
        # Keys that begin with // are comments.
        self.raw = {key: value for key, value in raw.items() if not key.startswith("//")}
        self.prefix = prefix
        self.problems: list[str] = [] if problems is None else problems
        for key in sorted(self.raw.keys() - known):
            import difflib  # not at the top: a cold start rarely needs it

            close = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"valid keys: {', '.join(sorted(known))}"
            self.problems.append(f"{prefix}{key}: unknown key; {hint}")

    def take(self, key: str, wanted: str, read: Callable[[Any], Any], default: Any = None, secret: bool = False) -> Any:
        """The value of `key`, or `default` if it is missing or null; `read` returns None for an invalid one.

        The message repeats an invalid value, unless it may be a secret.
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
    """Non-empty text."""
    return value if isinstance(value, str) and value else None


def whole(low: int, high: int) -> Callable[[object], int | None]:
    """A whole number within these bounds; text such as "80" is accepted."""

    def read(value: object) -> int | None:
        if isinstance(value, str) and value.isdecimal() and len(value) <= len(str(high)):
            value = int(value)
        return value if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high else None

    return read


def matching(pattern: str) -> Callable[[object], str | None]:
    """Text that matches this regular expression as a whole."""
    return lambda value: value if isinstance(value, str) and re.fullmatch(pattern, value) else None


def positive(value: object) -> float | None:
    """A finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 < value <= float_info.max else None


def json_object(value: object) -> dict[str, Any] | None:
    """An object."""
    return value if isinstance(value, dict) else None


def list_of(kind: type) -> Callable[[object], list[Any] | None]:
    """A list whose items are all of this type."""
    return lambda value: value if isinstance(value, list) and all(isinstance(item, kind) for item in value) else None
