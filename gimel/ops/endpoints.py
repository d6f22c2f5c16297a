"""The endpoints: one table, read by the local server and by deploy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import gimel
from gimel.config import TRACK
from gimel.gateway import Entry

HEALTH = "/health"
PAGE = "/"


@dataclass(frozen=True)
class Endpoint:
    """One Lambda function and the path that API Gateway serves with it, and whether it asks Redis."""

    function: str
    handler: str
    path: str
    asks_redis: bool = True

    @property
    def entry(self) -> Entry:
        """The Lambda entry point that `handler` names."""
        return cast(Entry, getattr(cast(Any, gimel), self.handler.removeprefix("gimel.")))

    @property
    def methods(self) -> tuple[str, ...]:
        """The HTTP methods it supports, besides OPTIONS."""
        return self.entry.methods

    def needs_key(self, method: str) -> bool:
        """Whether this method is for those who have an API key."""
        return bool(self.entry.kinds.get(method))


ENDPOINTS = (
    Endpoint("gimel-track", "gimel.track", TRACK),
    Endpoint("gimel-experiment", "gimel.experiment", "/experiment"),
    Endpoint("gimel-all-experiments", "gimel.all", "/experiments"),
    Endpoint("gimel-history", "gimel.history", "/history"),
    Endpoint("gimel-plan", "gimel.plan", "/plan", asks_redis=False),
    Endpoint("gimel-delete-experiment", "gimel.delete", "/delete"),
    Endpoint("gimel-health", "gimel.health", HEALTH),
    Endpoint("gimel-dashboard", "gimel.dashboard", PAGE, asks_redis=False),
)
WITHOUT_REDIS = {endpoint.handler for endpoint in ENDPOINTS if not endpoint.asks_redis}


def by_path(track_path: str) -> dict[str, Endpoint]:
    """The endpoints by their paths, with this second one of `/track`."""
    found = {endpoint.path: endpoint for endpoint in ENDPOINTS}
    return {**found, track_path: found[TRACK]}
