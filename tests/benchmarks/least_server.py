"""The least that an HTTP server can do for an event: `python least_server.py answer|pfadd REDIS_PORT` prints its URL.

The server and its settings are those of `gimel serve`.
"""

from __future__ import annotations

import socket
import sys
from typing import Any
from urllib.parse import parse_qsl

import redis.asyncio
import uvicorn

HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"4")]


def main() -> None:
    kind, port = sys.argv[1:]
    # As many connections as `gimel serve` has threads.
    client = redis.asyncio.Redis(
        connection_pool=redis.asyncio.BlockingConnectionPool(port=int(port), max_connections=32)
    )

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if kind == "pfadd":
            event = dict(parse_qsl(scope["query_string"].decode()))
            await client.pfadd("alephbet:counters:{experiment}:{event}:{variant}".format(**event), event["uuid"])
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": b"null"})

    # asyncio sends without delay only where the socket names its protocol.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    settings = uvicorn.Config(
        app, http="httptools", ws="none", loop="asyncio", interface="asgi3", lifespan="off", log_config=None
    )
    settings.access_log = False
    uvicorn.Server(settings).run([listener])


if __name__ == "__main__":
    main()
