"""A network between a client and Redis: `python network.py PORT SECONDS` prints the port that leads to that one.

Everything takes half of these seconds each way, and a new connection takes them before anything else: the handshake of
TCP, which this machine does at once.
"""

from __future__ import annotations

import ctypes
import heapq
import select
import socket
import sys
import time
from contextlib import suppress
from itertools import count

PR_SET_TIMERSLACK = 29


def serve(port: int, round_trip_s: float) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    other: dict[socket.socket, socket.socket] = {}
    opened: dict[socket.socket, float] = {}
    # In a thread-free loop of its own, because asyncio takes several times as long for a message.
    underway: list[tuple[float, int, socket.socket, bytes]] = []
    numbers = count()
    while True:
        wait_s = max(0.0, underway[0][0] - time.monotonic()) if underway else None
        for link in select.select([listener, *other], [], [], wait_s)[0]:
            now = time.monotonic()
            if link is listener:
                client, _ = listener.accept()
                upstream = socket.create_connection(("127.0.0.1", port))
                for one, another in ((client, upstream), (upstream, client)):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    other[one] = another
                opened[client] = now + round_trip_s
                continue
            data = b""
            with suppress(OSError):
                data = link.recv(1 << 20)
            due = max(now, opened.get(link, 0)) + round_trip_s / 2
            heapq.heappush(underway, (due, next(numbers), other[link], data))
            if not data:
                del other[link]
                opened.pop(link, None)
        while underway and underway[0][0] <= time.monotonic():
            *_, sink, data = heapq.heappop(underway)
            with suppress(OSError):
                sink.sendall(data) if data else sink.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)  # by default, the kernel adds 50 µs to each wait
    serve(int(sys.argv[1]), float(sys.argv[2]))
