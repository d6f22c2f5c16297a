"""The rule that tells bots by their User-Agent, made from the list crawler-user-agents."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from importlib import metadata

from crawleruseragents import CRAWLER_USER_AGENTS_DATA

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
    return {"gimel/bots.regex": rule().encode(), "gimel/bots.LICENSE": license_text.encode()}


def rule() -> str:
    """A regular expression that finds each User-Agent of a known bot."""
    patterns = [each["pattern"] for each in CRAWLER_USER_AGENTS_DATA if SENDERS not in each["tags"]]
    patterns = [NARROWED.get(pattern, pattern) for pattern in patterns if pattern not in PEOPLE]
    words = {re.sub(r"\\(.)", r"\1", pattern) for pattern in patterns if not SPECIAL.search(pattern)}
    return "|".join([_tree(words), *(pattern for pattern in patterns if SPECIAL.search(pattern))])


def _tree(words: Iterable[str]) -> str:
    """An expression for any of these words that looks at each letter once: a list of 1,400 would try each word."""
    tails: defaultdict[str, list[str]] = defaultdict(list)
    for word in words:
        tails[word[:1]].append(word[1:])
    if "" in tails:
        return ""  # a word ends here, so any longer one matches, too
    branches = [re.escape(letter) + _tree(rest) for letter, rest in sorted(tails.items())]
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"
