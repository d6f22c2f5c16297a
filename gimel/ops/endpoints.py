"""The endpoints: one table, read by the local server and by deploy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import gimel
from gimel.config import TRACK
from gimel.gateway import Entry

HEALTH = "/health"


@dataclass(frozen=True)
class Endpoint:
    """One Lambda function and the path that API Gateway serves with it."""

    function: str
    handler: str
    path: str
    needs_key: bool

    @property
    def entry(self) -> Entry:
        """The Lambda entry point that `handler` names."""
        return cast(Entry, getattr(cast(Any, gimel), self.handler.removeprefix("gimel.")))

    @property
    def methods(self) -> tuple[str, ...]:
        """The HTTP methods it supports, besides OPTIONS."""
        return self.entry.methods


ENDPOINTS = (
    Endpoint("gimel-track", "gimel.track", TRACK, needs_key=False),
    Endpoint("gimel-experiment", "gimel.experiment", "/experiment", needs_key=True),
    Endpoint("gimel-all-experiments", "gimel.all", "/experiments", needs_key=True),
    Endpoint("gimel-history", "gimel.history", "/history", needs_key=True),
    Endpoint("gimel-delete-experiment", "gimel.delete", "/delete", needs_key=True),
    Endpoint("gimel-health", "gimel.health", HEALTH, needs_key=False),
)


def by_path(track_path: str) -> dict[str, Endpoint]:
    """The endpoints by their paths, with this second one of `/track`."""
    found = {endpoint.path: endpoint for endpoint in ENDPOINTS}
    return {**found, track_path: found[TRACK]}
