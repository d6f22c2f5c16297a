"""The rule that tells bots by their User-Agent, made from the list crawler-user-agents."""

from __future__ import annotations

import json
import re
from importlib import metadata

from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from gimel.bots import HEAD, Rule

SENDERS = "http-library"
"""The tag of curl, python-requests and so on: programs that send events on purpose."""

PEOPLE = {
    r"AP3A\.240617\.008": "a build of Android 15 on many phones",
    "MetaIAB Facebook": "the browser in Facebook's app",
    "Fluid": "a browser for a single site",
    r"Code\/1\.": "the browser in Visual Studio Code",
    r"Trae\/": "the browser in another editor",
}
"""Patterns of the list that match browsers of people, and are left out."""

NARROWED = {
    "Sogou": r"Sogou.*[Ss]pider",  # a browser, too
    "Sonic": r"RankSonic|[ ;]Sonic\/",  # phones: ViewSonic, Cherry Sonic
    "Butterfly": r"Butterfly\/",  # a phone: HTC Butterfly
    "Expanse": "^Expanse",  # a phone
    "Fever": r"^Fever\/",  # a tablet: Fever Plus
    "Viber": "^Viber",  # the browser in its app
    "WhatsApp": "^WhatsApp",  # likewise
    r"008\/": r"^008\/",  # a phone: TS1008
}
"""Patterns of the list that match browsers of people as well, and what they are to match instead."""

SPECIAL = re.compile(r"(?<!\\)[.*+?()\[\]{}|^$]|\\[a-zA-Z]")


def files() -> dict[str, bytes]:
    """What a deployment needs to know the bots, with the license of the list."""
    license_text = metadata.distribution("crawler-user-agents").read_text("licenses/LICENSE") or ""
    arguments = dict(zip(("words", "pattern"), _words_and_pattern()))
    return {"gimel/bots.json": json.dumps(arguments).encode(), "gimel/bots.LICENSE": license_text.encode()}


def rule() -> Rule:
    """Finds each User-Agent of a known bot."""
    return Rule(*_words_and_pattern())


def _words_and_pattern() -> tuple[list[str], str]:
    """The patterns of the list that are only words, and an expression for the rest."""
    patterns = [each["pattern"] for each in CRAWLER_USER_AGENTS_DATA if SENDERS not in each["tags"]]
    patterns = [NARROWED.get(pattern, pattern) for pattern in patterns if pattern not in PEOPLE]
    plain = {pattern: re.sub(r"\\(.)", r"\1", pattern) for pattern in patterns if not SPECIAL.search(pattern)}
    words = {pattern: word for pattern, word in plain.items() if len(word) >= HEAD}
    return sorted(words.values()), "|".join(pattern for pattern in patterns if pattern not in words)
