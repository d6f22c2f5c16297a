"""Which requests no visitor made: those of known bots, and pages that a browser loads before anyone wants them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

RULE = Path(__file__).with_name("bots.regex")
"""In a deployment: a regular expression that matches the User-Agent of known bots, made from a list when the zip is."""

EARLY = ("prefetch", "prerender", "preview")
"""Values of these headers: current browsers send Sec-Purpose; older Chrome, Firefox and Safari the others."""
EARLY_HEADERS = ("sec-purpose", "purpose", "x-moz", "x-purpose")

MAX_LENGTH = 1_000
"""Of a User-Agent, so that an odd one costs no time; the longest known bot's has 285 characters."""

# Compiled on import, which Lambda does with a full CPU before the first request, and SnapStart once for all.
_known_bots = re.compile(RULE.read_text(encoding="utf-8")) if RULE.is_file() else None


def use(rule: str) -> None:
    """Take this regular expression, where there is no file with one."""
    global _known_bots
    _known_bots = re.compile(rule)


def reason_to_ignore(headers: Mapping[str, str]) -> str | None:
    """`prefetch` or `bot` if no visitor made the request with these headers, whose names are in lowercase."""
    if any(early in headers.get(name, "").lower() for name in EARLY_HEADERS for early in EARLY):
        return "prefetch"
    if _known_bots and _known_bots.search(headers.get("user-agent", "")[:MAX_LENGTH]):
        return "bot"
    return None
