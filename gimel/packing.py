"""Bodies of answers as gateways carry them: gzip where the client takes it, and never more than Lambda hands on."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import TooLarge

GZIP_FROM = 16 * 1024
"""Below this, compressing costs more than it saves."""

MAX_BYTES = 6_000_000
"""Lambda answers with up to 6,291,556 bytes; this leaves room for the headers."""

NARROW = "ask /experiments for a page with limit=NUMBER and after=NAME, or for some experiments with scope=NAME,NAME"


@dataclass(frozen=True)
class Body:
    """A body as Lambda hands it on. Compressed, it is base64, and `headers` say so."""

    text: str
    headers: Mapping[str, str]
    is_base64: bool = False


def pack(text: str, accept_encoding: str) -> Body:
    """This text as a body for a client that accepts these encodings. Raises TooLarge."""
    raw = text.encode()
    size = len(raw)
    if size < GZIP_FROM:
        return Body(text, {})
    vary = {"Vary": "Accept-Encoding"}
    if accepts_gzip(accept_encoding):
        import gzip  # not at the top: `track` never needs it

        packed = base64.b64encode(gzip.compress(raw, 6, mtime=0)).decode()
        if len(packed) > MAX_BYTES:
            raise TooLarge(f"the answer has {_megabytes(size)}, {_megabytes(len(packed))} as gzip and base64", NARROW)
        return Body(packed, {"Content-Encoding": "gzip", **vary}, True)
    # Lambda wraps the text in JSON once more, where quotes and characters beyond ASCII take more room.
    if size > MAX_BYTES or len(json.dumps(text)) > MAX_BYTES:
        raise TooLarge(f"the answer has {_megabytes(size)}", f"send Accept: */* and Accept-Encoding: gzip; or {NARROW}")
    return Body(text, vary)


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a client that sends this header takes gzip."""
    for one in accept_encoding.lower().split(","):
        name, _, weight = one.replace(" ", "").partition(";")
        if name in ("gzip", "*"):
            return not re.fullmatch(r"q=0(\.0*)?", weight)
    return False


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
