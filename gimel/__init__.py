"""Gimel: an A/B testing backend on AWS Lambda, API Gateway and Redis.

The functions here are the Lambda entry points: the handler strings are `gimel.track`, `gimel.experiment`, `gimel.all`,
`gimel.history`, `gimel.plan`, `gimel.delete`, `gimel.health`, `gimel.dashboard` and, for a schedule, `gimel.snapshot`.
"""

import os
from typing import TYPE_CHECKING

if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:  # before anything imports redis
    from . import lean_redis

    lean_redis.load()

if TYPE_CHECKING:
    from .handlers import all, dashboard, delete, experiment, health, history, plan, snapshot, track

__version__ = "2.0.0.dev0"
__all__ = ["all", "dashboard", "delete", "experiment", "health", "history", "plan", "snapshot", "track"]


def __getattr__(name: str) -> object:
    """Load the entry points once one is used: `gimel.client` does without them, and without redis."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import handlers

    return getattr(handlers, name)


if os.environ.get("_HANDLER", "").startswith("gimel."):  # Lambda then names what it cannot import
    from . import handlers  # noqa: F401
