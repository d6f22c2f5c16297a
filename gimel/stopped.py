"""Which experiments are stopped, as far as this process knows: their events are ignored."""

from __future__ import annotations

import time
from collections.abc import Iterable

from .keyspace import Experiment, stopped_key
from .round_trip import Command

KNOWN_S = 30
"""How long a process goes by what it was told last."""

MAX_NAMESPACES = 1_000
"""How many namespaces a process remembers: strangers may invent some."""


class Stopped:
    """The stopped experiments of some namespaces, as Redis named them at most KNOWN_S ago, or a little longer."""

    def __init__(self) -> None:
        self._names: dict[str, set[bytes]] = {}
        self._ask_at: dict[str, float] = {}

    def __contains__(self, experiment: Experiment) -> bool:
        names = self._names.get(experiment[0])
        return names is not None and experiment[1].encode("utf-8", "surrogateescape") in names

    def to_ask(self, namespaces: Iterable[str]) -> list[str]:
        """Of these namespaces, those that it is time to ask for."""
        now = time.monotonic()
        return [one for one in namespaces if self._ask_at.get(one, now) <= now]

    def learn(self, namespaces: Iterable[str], replies: Iterable[Iterable[bytes] | None]) -> None:
        """Take note of the replies to `questions`. None: this one was not answered, which must not hold up events."""
        if len(self._ask_at) > MAX_NAMESPACES:
            self._names.clear()
            self._ask_at.clear()
        for namespace, found in zip(namespaces, replies):
            self._ask_at[namespace] = time.monotonic() + KNOWN_S
            if found is not None:
                self._names[namespace] = set(found)


def questions(namespaces: Iterable[str]) -> list[Command]:
    """Ask for the stopped experiments of each of these namespaces."""
    return [("SMEMBERS", stopped_key(namespace)) for namespace in namespaces]
