"""The network between Gimel and Redis, which can fail: a TCP proxy, and a name server."""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
import time
from contextlib import suppress

LOOPBACK = "127.0.0.1"
BACKLOG = 4096


class Proxy:
    """Forwards connections to a port of this machine. Its fields may be changed while connections are open.

    `delay_s` holds back each reply; with `drips`, replies arrive byte by byte, this far apart. `cuts` and `mutes` are
    the chances that a piece of data closes its connection, or that a reply is lost with all that would follow it.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.delay_s = 0.0
        self.drips = False
        self.cuts = 0.0
        self.mutes = 0.0
        self._chance = random.Random(upstream)
        self._flows = threading.Event()
        self._flows.set()
        self._open: set[socket.socket] = set()
        self._fillers: list[socket.socket] = []
        self._listener = socket.create_server((LOOPBACK, 0), backlog=BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def switch(self, upstream: int) -> None:
        """Lead new connections to another port; those that are open stay as they are."""
        self.upstream = upstream

    def cut(self) -> None:
        """Close all connections."""
        for link in list(self._open):
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def black_hole(self) -> None:
        """Forward nothing, and let nobody connect: a full queue of connections drops further requests for one."""
        self._flows.clear()
        self._listener.listen(0)
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((LOOPBACK, self.port))
            self._fillers.append(filler)

    def heal(self) -> None:
        """Forward everything at once again. Muted connections stay mute."""
        self.delay_s, self.drips, self.cuts, self.mutes = 0.0, False, 0.0, 0.0
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()
        self._listener.listen(BACKLOG)
        self._flows.set()

    def close(self) -> None:
        """Close all connections and the port."""
        self.heal()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes up accept()
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._flows.wait()
                client, _ = self._listener.accept()
                self._flows.wait()
                try:
                    server = socket.create_connection((LOOPBACK, self.upstream), 5)
                    server.settimeout(None)
                except OSError:
                    client.close()
                    continue
                for link in (client, server):
                    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._open.add(link)
                for source, sink, replies in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._forward, args=(source, sink, replies), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, replies: bool) -> None:
        muted = False
        with suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                if self._chance.random() < self.cuts:
                    break
                muted = muted or (replies and self._chance.random() < self.mutes)
                if muted:
                    continue
                if replies and self.drips:
                    for byte in data:
                        time.sleep(self.delay_s)
                        sink.sendall(bytes([byte]))
                else:
                    time.sleep(self.delay_s if replies else 0)
                    sink.sendall(data)
        for link in (source, sink):
            self._open.discard(link)
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
        if replies:  # this thread is the last to use them: it ends when either side does
            source.close()


class NameServer:
    """Resolves every name to 127.0.0.1, until it falls silent. Binding its port needs root."""

    def __init__(self) -> None:
        # An address of its own in 127.0.0.0/8: resolvers always ask port 53.
        self.address = f"127.53.{os.getpid() >> 8 & 255}.{(os.getpid() & 255) or 1}"
        self.is_silent = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self.address, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Stop answering, and free the port."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                question, client = self._socket.recvfrom(512)
                if question and not self.is_silent:
                    self._socket.sendto(_answer(question), client)


def _answer(message: bytes) -> bytes:
    """RFC 1035: the question with one A record that is valid for no time, or with none if another type is wanted."""
    end = message.index(b"\0", 12) + 5
    is_a = message[end - 4 : end - 2] == b"\0\1"
    header = message[:2] + struct.pack(">5H", 0x8180, 1, is_a, 0, 0)
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + socket.inet_aton(LOOPBACK)
    return header + message[12:end] + (record if is_a else b"")
