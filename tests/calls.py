"""Builds what a gateway or a queue hands to a Lambda function, and reads what it answers."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlencode

EVENT = {"experiment": "button color", "uuid": "u1", "variant": "red", "event": "participate"}


def make_rest_event(
    method: str = "GET",
    query: dict[str, str] | None = None,
    body: str | None = None,
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    """A REST API proxy event, payload 1.0."""
    return {
        "resource": "/track",
        "path": "/track",
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": None,
        "queryStringParameters": query,
        "multiValueQueryStringParameters": None,
        "requestContext": {"stage": "prod", "httpMethod": method},
        "body": body,
        "isBase64Encoded": False,
    }


def make_http_event(
    method: str = "GET",
    query: dict[str, str] | None = None,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    raw_query: str | None = None,
) -> dict[str, Any]:
    """An HTTP API or function URL event, payload 2.0; bodies come as base64."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/track",
        "rawQueryString": urlencode(query or {}) if raw_query is None else raw_query,
        "headers": headers or {},
        "requestContext": {"http": {"method": method, "path": "/track"}, "stage": "$default"},
        **({} if body is None else {"body": base64.b64encode(body).decode()}),
        "isBase64Encoded": body is not None,
    }


def make_queue_event(*bodies: str) -> dict[str, Any]:
    """An SQS batch; messages are called m0, m1, …"""
    return {
        "Records": [
            {"messageId": f"m{number}", "eventSource": "aws:sqs", "body": body} for number, body in enumerate(bodies)
        ]
    }


def post(value: object, content_type: str = "application/json") -> dict[str, Any]:
    """A POST of a JSON value."""
    return make_rest_event("POST", body=json.dumps(value), headers={"content-type": content_type})


def read(answer: dict[str, Any]) -> Any:
    """The JSON value of an answer."""
    return json.loads(answer["body"])


def participants(client: Any, experiment: str = EVENT["experiment"], variant: str = EVENT["variant"]) -> int:
    """How many took part, as Redis says, at any precision of HyperLogLogs."""
    shards = client.scan_iter(f"alephbet:shards:{experiment}:participate:{variant}:*", count=1000)
    keys = [f"alephbet:counters:{experiment}:participate:{variant}", *shards]
    return sum(client.pfcount(key) for key in keys)


def plain(goals: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Goals with the keys of Gimel 1.x alone."""
    kept = ("label", "successes", "trials")
    return [
        {"goal": goal["goal"], "results": [{key: result[key] for key in kept} for result in goal["results"]]}
        for goal in goals
    ]


def taking_part(item: dict[str, Any]) -> dict[str, int]:
    """How many take part in an experiment, by variant."""
    return {one["label"]: one["trials"] for one in item["participants"]}
