"""Gimel: an A/B testing backend on AWS Lambda, API Gateway and Redis.

The four functions here are the Lambda entry points: the handler strings are `gimel.track`, `gimel.experiment`,
`gimel.all` and `gimel.delete`.
"""

from .handlers import all, delete, experiment, track

__version__ = "2.0.0.dev0"
__all__ = ["all", "delete", "experiment", "track"]
