"""One round trip to Redis: all commands at once, each to the node that holds its key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import redis
from redis.connection import ConnectionPool
from redis.exceptions import AskError, MovedError

MAX_REDIRECTIONS = 5
"""How often a command is sent on: a slot that moves may move again."""

Command = tuple[Any, ...]
"""Its name, its one key, and the other arguments."""


class Nodes(Protocol):
    """A cluster, which is `cluster.Cluster`."""

    @property
    def options(self) -> Mapping[str, Any]:
        """What redis-py's client is created with."""

    def pool_of(self, key: str | bytes) -> ConnectionPool:
        """Connections to the node that holds this key."""

    def redirected(self, error: AskError) -> ConnectionPool:
        """Connections to the node that this error names."""

    def refresh(self) -> None:
        """Find the nodes anew."""


Client = redis.Redis | Nodes


def send(client: Client, commands: Sequence[Command], atomic: bool = False) -> list[Any]:
    """The replies to these commands, in their order, as numbers, bytes or lists of these.

    On one node, `atomic` commands are one transaction. A cluster has none: there, each command is for itself, and the
    nodes run theirs at the same time. Raises redis.RedisError, for the first command that failed.
    """
    if not commands:
        return []
    if not isinstance(client, redis.Redis):
        return _raise_first(_send_to_nodes(client, commands))
    if not atomic:
        return _raise_first(_exchange({client.connection_pool: commands})[0])
    replies = _exchange({client.connection_pool: [("MULTI",), *commands, ("EXEC",)]})[0]
    # A command that was refused while it was queued has said why; after that, EXEC says only that there was one.
    return _raise_first(_raise_first(replies)[-1])


def rehearse(client: Client, commands: Sequence[Command]) -> None:
    """Have these commands checked as if to execute them. Raises redis.RedisError, for the first that would fail."""
    requests: defaultdict[ConnectionPool, list[Command]] = defaultdict(lambda: [("MULTI",)])
    for command in commands:
        requests[_pool(client, command)].append(command)
    for asked in requests.values():
        asked.append(("DISCARD",))
    try:
        for replies in _exchange(requests):
            _raise_first(replies)
    except redis.ResponseError:
        for pool in requests:
            pool.disconnect(inuse_connections=False)  # DISCARD may not be permitted
        raise


def reconnect(client: Client) -> None:
    """Use new connections from now on; of a cluster, to the nodes that it has now."""
    if isinstance(client, redis.Redis):
        client.connection_pool.disconnect(inuse_connections=False)
    else:
        client.refresh()


def timeout_s(client: Client) -> float | None:
    """How long to wait for Redis, in seconds; None if nothing says so."""
    options = client.connection_pool.connection_kwargs if isinstance(client, redis.Redis) else client.options
    found: float | None = options.get("socket_timeout")
    return found


def _pool(client: Client, command: Command) -> ConnectionPool:
    return client.connection_pool if isinstance(client, redis.Redis) else client.pool_of(command[1])


def _send_to_nodes(client: Nodes, commands: Sequence[Command]) -> list[Any]:
    """The replies to these commands, error replies among them. A slot that moves is followed."""
    replies: list[Any] = [None] * len(commands)
    places = {position: client.pool_of(command[1]) for position, command in enumerate(commands)}
    for _ in range(MAX_REDIRECTIONS):
        requests: defaultdict[ConnectionPool, list[Command]] = defaultdict(list)
        order: defaultdict[ConnectionPool, list[int]] = defaultdict(list)
        for position, pool in places.items():
            if isinstance(replies[position], AskError) and not isinstance(replies[position], MovedError):
                requests[pool].append(("ASKING",))  # the slot is on its way; this lets the next command in
                order[pool].append(-1)
            requests[pool].append(commands[position])
            order[pool].append(position)
        for positions, found in zip(order.values(), _exchange(requests)):
            for position, reply in zip(positions, found):
                if position >= 0:
                    replies[position] = reply
        places = {
            position: client.redirected(replies[position])
            for position in places
            if isinstance(replies[position], AskError)
        }
        if not places:
            break
    return replies


def _exchange(requests: Mapping[ConnectionPool, Sequence[Command]]) -> list[list[Any]]:
    """The replies to the commands for each pool, error replies among them: all are sent before any is read."""
    links: list[Any] = []
    try:
        for pool in requests:
            links.append(pool.get_connection())
        for link, commands in zip(links, requests.values()):
            link.send_packed_command([_packed(commands)])
        return [[_reply(link) for _ in commands] for link, commands in zip(links, requests.values())]
    except BaseException:
        for link in links:
            link.disconnect()  # an answer that nobody has read would be that to the next question
        raise
    finally:
        for pool, link in zip(requests, links):
            pool.release(link)


def _packed(commands: Sequence[Command]) -> bytes:
    """These commands in Redis' protocol. redis-py does the same in four times as long."""
    parts = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for one in command:
            text = one if isinstance(one, bytes) else str(one).encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(text), text))
    return b"".join(parts)


def _reply(link: Any) -> Any:
    try:
        return link.read_response()
    except redis.ResponseError as error:
        return error


def _raise_first(replies: list[Any]) -> list[Any]:
    """These replies. Raises the first error among them."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies
