"""Connections to Redis that keep the deadline: looking up the name, connecting, TLS, and every byte sent or received.

The timeouts of redis-py begin anew with each of these, even with each byte, and do not include the name.
"""

from __future__ import annotations

import math
import socket
from contextlib import suppress
from typing import Any

from redis.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection

from . import deadline


class TimedSocket:
    """A socket whose every operation ends with the deadline, or after its own timeout if that is earlier."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._timeout = link.gettimeout()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    def settimeout(self, seconds: float | None) -> None:
        self._timeout = seconds

    def recv(self, size: int) -> bytes:
        self._start()
        return self._link.recv(size)

    def recv_into(self, *where: Any) -> int:
        self._start()
        return self._link.recv_into(*where)

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self._start()
            rest = rest[self._link.send(rest) :]

    def _start(self) -> None:
        # A timeout of 0 asks whether there is something to read, and never waits.
        self._link.settimeout(0 if self._timeout == 0 else _step_s(self._timeout))


class _Tcp(Connection):
    """Looks the name up within the deadline, and tries all its addresses within `socket_connect_timeout`."""

    def _connect(self) -> Any:
        limit_s = math.inf if self.socket_connect_timeout is None else self.socket_connect_timeout
        with deadline.limit(limit_s):
            link = self._connect_to_any(self._addresses())
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.socket_keepalive:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in self.socket_keepalive_options.items():
                link.setsockopt(socket.IPPROTO_TCP, option, value)
        link.settimeout(_step_s(self.socket_timeout))  # of a TLS handshake as a whole
        return link

    def _addresses(self) -> list[tuple[Any, ...]]:
        def look_up() -> list[tuple[Any, ...]]:
            return [*socket.getaddrinfo(self.host, self.port, self.socket_type, socket.SOCK_STREAM)]

        try:
            return deadline.within(deadline.seconds_left(), look_up)
        except TimeoutError as error:
            raise OSError(f"looking up the name failed: {error};") from None

    def _connect_to_any(self, addresses: list[tuple[Any, ...]]) -> socket.socket:
        failure = OSError("the name has no address")
        for position, (family, kind, protocol, _, address) in enumerate(addresses):
            link = socket.socket(family, kind, protocol)
            try:
                # An equal share for each address, so that a dead one leaves time for the others.
                link.settimeout(_step_s(deadline.seconds_left() / (len(addresses) - position)))
                link.connect(address)
                return link
            except OSError as error:
                link.close()
                failure = error
        raise failure


class _Timed:
    def _connect(self) -> Any:
        return TimedSocket(super()._connect())  # type: ignore[misc]


class TimedConnection(_Timed, _Tcp):
    """Over TCP."""


class TimedSSLConnection(_Timed, SSLConnection, _Tcp):
    """Over TLS: redis-py's class makes the handshake on the socket of `_Tcp`."""


class TimedUnixConnection(_Timed, UnixDomainSocketConnection):
    """Over a Unix socket."""


class Pool(ConnectionPool):
    """Hands out an idle connection as it is. redis-py's own looks each time whether it is closed, and counts it in its
    metrics, which is a third of the time that an event takes.

    A connection that was closed meanwhile fails when it is used, and `outages.ask` asks again on a new one.
    """

    def reset(self) -> None:
        """Forget all connections: at first, and in a child process."""
        self._idle: list[Any] = []
        super().reset()

    def get_connection(self, command_name: str | None = None, *keys: Any, **options: Any) -> Any:
        """A connection, to be released later."""
        self._checkpid()
        try:
            return self._idle.pop()
        except IndexError:
            return super().get_connection()

    def release(self, connection: Any) -> None:
        """Take a connection back."""
        if connection.should_reconnect() or connection.pid != self.pid:
            super().release(connection)
        else:
            self._idle.append(connection)

    def update_active_connections_for_reconnect(self, *addresses: Any, **options: Any) -> None:
        """Nothing. redis-py would close the connection by which it has found the nodes of a cluster."""

    def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the idle connections, and by default those in use, too."""
        with suppress(IndexError):  # other threads take some at the same time
            while True:
                super().release(self._idle.pop())
        super().disconnect(inuse_connections)


TIMED: dict[type[Any], type[Any]] = {
    Connection: TimedConnection,
    SSLConnection: TimedSSLConnection,
    UnixDomainSocketConnection: TimedUnixConnection,
}
"""The class to use instead of each of redis-py's."""


def _step_s(timeout: float | None) -> float | None:
    """The time limit of one step: its own, or what is left of the deadline. Raises TimeoutError if nothing is."""
    left = deadline.seconds_left()
    if timeout is not None and timeout < left:
        return timeout
    return None if left == math.inf else left
