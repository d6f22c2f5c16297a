"""Who may do what: a `read` key is for reports, a `write` key for these and for changes and deletions."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .errors import ConfigError, Forbidden

READ, WRITE = "read", "write"

VARIABLE = "GIMEL_API_KEYS"
"""The environment variable with the keys of a function: a JSON list of objects with `kind`, `sha256` and, for a key
that was replaced, `until`, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key: its kind, its SHA-256 in hexadecimal, and the second since 1970 from which it is invalid, if any."""

    kind: str
    sha256: str
    until: int | None = None

    @classmethod
    def of(cls, kind: str, value: str, until: int | None = None) -> Key:
        """The key with this value."""
        return cls(kind, hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest(), until)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        expiry = {} if self.until is None else {"until": self.until}
        return {"kind": self.kind, "sha256": self.sha256, **expiry}


_keys: Sequence[Key] | None = None


def use(keys: Sequence[Key] | None) -> None:
    """Make every handler check these keys; None: those of the environment."""
    global _keys
    _keys = keys


def has_keys() -> bool:
    """Whether the handlers check keys at all."""
    return _known() is not None


def kind_of(value: str) -> str | None:
    """The kind of this key, as a header has it; None if it is no valid one."""
    if not value:
        return None  # also if one of the keys is the hash of nothing, as of a shell's variable that was not set
    given = hashlib.sha256(value.encode("latin-1", "backslashreplace")).hexdigest()
    kinds = {
        key.kind
        for key in _known() or ()
        if hmac.compare_digest(given, key.sha256) and (key.until is None or time.time() < key.until)
    }
    return WRITE if WRITE in kinds else READ if READ in kinds else None


def kind_from(headers: Mapping[str, str]) -> str:
    """What a request may do. Without any keys here, whoever comes through the gateway may do everything."""
    return WRITE if _known() is None else kind_of(headers.get("x-api-key", "")) or ""


def require(kind: str | None, headers: Mapping[str, str]) -> None:
    """Raises Forbidden unless these headers have a key of this kind, or none is needed."""
    if kind is None:
        return
    found = kind_from(headers)
    if not found:
        raise Forbidden("API key missing or invalid", "send it in the x-api-key header")
    if kind == WRITE and found != WRITE:
        raise Forbidden("this API key can only read", "send the write key")


def _known() -> Sequence[Key] | None:
    return _from_text(os.environ.get(VARIABLE, "")) if _keys is None else _keys


@lru_cache(1)
def _from_text(text: str) -> Sequence[Key] | None:
    if not text:
        return None
    try:
        return tuple(Key(str(one["kind"]), str(one["sha256"]), one.get("until")) for one in json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ConfigError(f"{VARIABLE} is not a JSON list of keys", "run `gimel deploy`") from None
