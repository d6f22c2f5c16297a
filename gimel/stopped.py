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
    """The stopped experiments of some namespaces, as Redis named them KNOWN_S ago or a little longer.

    Threads share it: each change of a dictionary is one step. `names` has but the namespaces in which there are some.
    """

    def __init__(self) -> None:
        self.names: dict[str, frozenset[str]] = {}
        self._ask_at: dict[str, float] = {}

    def __contains__(self, experiment: Experiment) -> bool:
        return experiment[1] in self.names.get(experiment[0], ())

    def to_ask(self, namespaces: Iterable[str]) -> list[str]:
        """Of these namespaces, those that it is time to ask for."""
        now = time.monotonic()
        return [one for one in namespaces if self._ask_at.get(one, now) <= now]

    def learn(self, namespaces: Iterable[str], replies: Iterable[Iterable[bytes] | None]) -> None:
        """Take note of the replies to `questions`. None: this one was not answered, which must not hold up events."""
        if len(self._ask_at) > MAX_NAMESPACES:
            self.names.clear()
            self._ask_at.clear()
        for namespace, found in zip(namespaces, replies):
            self._ask_at[namespace] = time.monotonic() + KNOWN_S
            if found:
                self.names[namespace] = frozenset(name.decode("utf-8", "surrogateescape") for name in found)
            elif found is not None:
                self.names.pop(namespace, None)


def questions(namespaces: Iterable[str]) -> list[Command]:
    """Ask for the stopped experiments of each of these namespaces."""
    return [("SMEMBERS", stopped_key(namespace)) for namespace in namespaces]
