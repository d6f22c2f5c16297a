"""Which requests no visitor made: those of known bots, and pages that a browser loads before anyone wants them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

RULE = Path(__file__).with_name("bots.json")
"""In a deployment: the arguments of `Rule`, made from a list of known bots when the zip is."""

HEAD = 3
"""How many letters of a word are looked up first."""

EARLY = ("prefetch", "prerender", "preview")
"""Values of these headers: current browsers send Sec-Purpose; older Chrome, Firefox and Safari the others."""
EARLY_HEADERS = ("sec-purpose", "purpose", "x-moz", "x-purpose")

MAX_LENGTH = 1_000
"""Of a User-Agent, so that an odd one costs no time; the longest known bot's has 285 characters."""

MAX_AGENTS = 1_000
"""How many User-Agents are remembered."""


class Rule:
    """Finds each User-Agent with one of these words, of at least HEAD letters, or a match of this regular expression.

    One expression for everything would do the same, and take a tenth of a cold start to compile.
    """

    def __init__(self, words: Iterable[str], pattern: str) -> None:
        self._words: dict[str, list[str]] = {}
        for word in words:
            self._words.setdefault(word[:HEAD], []).append(word)
        self._pattern = re.compile(pattern)
        self.matches = lru_cache(MAX_AGENTS)(self._matches)  # most visitors have one of a few browsers
        """Whether this is the User-Agent of a known bot."""

    def _matches(self, agent: str) -> bool:
        heads = self._words.keys() & {agent[start : start + HEAD] for start in range(len(agent))}
        return any(word in agent for head in heads for word in self._words[head]) or bool(self._pattern.search(agent))


_known_bots = Rule(**json.loads(RULE.read_bytes())) if RULE.is_file() else None


def use(rule: Rule) -> None:
    """Take this rule, where there is no file with one."""
    global _known_bots
    _known_bots = rule


def reason_to_ignore(headers: Mapping[str, str]) -> str | None:
    """`prefetch` or `bot` if no visitor made the request with these headers, whose names are in lowercase."""
    for name in EARLY_HEADERS & headers.keys():
        if any(early in headers[name].lower() for early in EARLY):
            return "prefetch"
    if _known_bots and _known_bots.matches(headers.get("user-agent", "")[:MAX_LENGTH]):
        return "bot"
    return None
