"""One round trip to Redis: all commands at once, each to the node that holds its key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import redis
from redis.connection import ConnectionPool
from redis.exceptions import AskError, MovedError

from . import deadline
from .breaker import Breaker
from .errors import StoreUnavailable
from .replies import FAILURES, is_outage, may_succeed_on_a_new_connection, unavailable

DEFAULT_TIMEOUT_S = 1.0

MAX_REDIRECTIONS = 5
"""How often a command is sent on: a slot that moves may move again."""

Command = tuple[Any, ...]
"""Its name, its one key, and the other arguments."""


class Nodes(Protocol):
    """A cluster, which is `cluster.Cluster`."""

    @property
    def options(self) -> Mapping[str, Any]:
        """What redis-py's client is created with."""

    def pool_of(self, key: str | bytes, from_replica: bool = False) -> ConnectionPool:
        """Connections to the node that holds this key."""

    def redirected(self, error: AskError) -> ConnectionPool:
        """Connections to the node that this error names."""

    def breaker_of(self, pool: ConnectionPool) -> Breaker:
        """That of the node of these connections."""

    def failed(self, pool: ConnectionPool) -> None:
        """This node failed."""

    def refresh(self) -> None:
        """Find the nodes anew."""


Client = redis.Redis | Nodes


def send(
    client: Client,
    commands: Sequence[Command],
    atomic: bool = False,
    from_replicas: bool = False,
    once: bool = False,
    spare: Sequence[Command] = (),
) -> list[Any]:
    """The replies to these commands, in their order, as numbers, bytes or lists of these.

    Then those to the `spare` ones, which may fail: None.

    On one node, `atomic` commands are one transaction. A cluster has none: there, each command is for itself, and the
    nodes run theirs at the same time. If the configuration allows it, `from_replicas` reads what may be a moment old.
    A node of a cluster that gives no answer, but may have done its work, is asked `once` or twice.
    Raises redis.RedisError, for the first command that failed, and StoreUnavailable if its node is down.
    """
    if not commands:
        return []
    needed = len(commands)
    if spare:
        commands = [*commands, *spare]
    if not isinstance(client, redis.Redis):
        replies = _send_to_nodes(client, commands, from_replicas, once, needed)
    elif not atomic:
        replies = _exchange(client.connection_pool, commands)
    else:
        replies = _exchange(client.connection_pool, [("MULTI",), *commands, ("EXEC",)])
        # A command that was refused while it was queued has said why; after that, EXEC says only that there was one.
        replies = _raise_first(replies)[-1]
    if not spare:
        return _raise_first(replies)
    return _raise_first(replies[:needed]) + [None if isinstance(one, Exception) else one for one in replies[needed:]]


def as_hash(reply: Any) -> dict[bytes, bytes]:
    """The fields in a reply to HGETALL, which Redis gives as a list and fakeredis as a dictionary."""
    return dict(reply if isinstance(reply, dict) else zip(reply[::2], reply[1::2]))


def rehearse(client: Client, commands: Sequence[Command]) -> None:
    """Have these commands checked as if to execute them; on a cluster, one by each node that holds one of their keys.

    Raises redis.RedisError and StoreUnavailable.
    """
    if isinstance(client, redis.Redis):
        pools = [client.connection_pool]
        found = [_exchange(client.connection_pool, [("MULTI",), *commands, ("DISCARD",)])]
    else:
        by_pool = {client.pool_of(command[1]): [("MULTI",), command, ("DISCARD",)] for command in commands}
        pools, found = list(by_pool), [*map(_plain, _exchange_with_all(client, by_pool).values())]
        # A node that sends on to another one works, too.
        found = [[reply for reply in replies if not isinstance(reply, AskError)] for replies in found]
    try:
        for replies in found:
            _raise_first(replies)
    except redis.ResponseError:
        for pool in pools:
            pool.disconnect(inuse_connections=False)  # DISCARD may not be permitted
        raise


def reconnect(client: Client) -> None:
    """Use new connections from now on; of a cluster, to the nodes that it has now."""
    if isinstance(client, redis.Redis):
        client.connection_pool.disconnect(inuse_connections=False)
    else:
        client.refresh()


def timeout_s(client: Client) -> float:
    """How long to wait for Redis, in seconds."""
    options = client.connection_pool.connection_kwargs if isinstance(client, redis.Redis) else client.options
    return float(options.get("socket_timeout") or DEFAULT_TIMEOUT_S)


def _exchange(pool: ConnectionPool, commands: Sequence[Command]) -> list[Any]:
    """The replies of one node, error replies among them."""
    link: Any = pool.get_connection()
    try:
        link.send_packed_command([_packed(commands)])
        return [_reply(link) for _ in commands]
    except BaseException:
        link.disconnect()  # an answer that nobody has read would be that to the next question
        raise
    finally:
        pool.release(link)


def _send_to_nodes(
    client: Nodes, commands: Sequence[Command], from_replicas: bool, once: bool, needed: int
) -> list[Any]:
    """The replies to these commands, errors among them.

    A slot that moves is followed. Whatever a node does not answer, of the first that are `needed`, is asked once more,
    after a look at which node is there in its place; or raised, if it is to be asked `once`.
    """
    replies: list[Any] = [None] * len(commands)
    places = {position: client.pool_of(command[1], from_replicas) for position, command in enumerate(commands)}
    may_refresh = True
    for _ in range(MAX_REDIRECTIONS):
        requests: defaultdict[ConnectionPool, list[Command]] = defaultdict(list)
        order: defaultdict[ConnectionPool, list[int | None]] = defaultdict(list)
        for position, pool in places.items():
            if isinstance(replies[position], AskError) and not isinstance(replies[position], MovedError):
                requests[pool].append(("ASKING",))  # the slot is on its way; this lets the next command in
                order[pool].append(None)
            requests[pool].append(commands[position])
            order[pool].append(position)
        for pool, found in _exchange_with_all(client, requests, may_refresh).items():
            for place, reply in zip(order[pool], found):
                if place is not None:
                    replies[place] = reply
        lost = [each for each in places if each < needed and may_refresh and _is_lost(replies[each], from_replicas)]
        places = {each: client.redirected(replies[each]) for each in places if isinstance(replies[each], AskError)}
        if lost and once:
            raise replies[lost[0]]
        if lost:
            client.refresh()
            may_refresh = False
            places |= {each: client.pool_of(commands[each][1]) for each in lost}
        if not places:
            break
    return _plain(replies)


def _exchange_with_all(
    client: Nodes, requests: Mapping[ConnectionPool, Sequence[Command]], is_asked_again: bool = False
) -> dict[ConnectionPool, list[Any]]:
    """The replies of each node; or, if it fails, its error as each reply. All are asked before any answer is read."""
    found: dict[ConnectionPool, list[Any]] = {}
    links: dict[ConnectionPool, Any] = {}
    starts: dict[ConnectionPool, float] = {}

    def ask(pool: ConnectionPool) -> None:
        starts[pool] = client.breaker_of(pool).enter(timeout_s(client))
        links[pool] = pool.get_connection()
        links[pool].send_packed_command([_packed(requests[pool])])

    def read(pool: ConnectionPool) -> None:
        found[pool] = [_reply(links[pool]) for _ in requests[pool]]
        client.breaker_of(pool).answered()

    failed: set[ConnectionPool] = set()
    try:
        for step in ask, read:
            for pool in requests.keys() - failed:
                has_time = not deadline.is_over()
                try:
                    step(pool)
                except (*FAILURES, StoreUnavailable) as error:
                    failed.add(pool)
                    found[pool] = [error] * len(requests[pool])
                    # Without time, this is the fault of a node before.
                    if has_time and is_outage(error):
                        client.failed(pool)
                        if not (is_asked_again and _is_lost(error)):
                            client.breaker_of(pool).failed(unavailable(error), starts[pool])
    finally:
        for pool, link in links.items():
            if pool in failed or pool not in found:
                link.disconnect()
            pool.release(link)
    return found


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


def _is_lost(reply: object, from_replica: bool = False) -> bool:
    """Whether another node may answer instead; its master does, if a replica gave none."""
    if from_replica and isinstance(reply, Exception):
        return isinstance(reply, StoreUnavailable) or is_outage(reply)
    return isinstance(reply, redis.RedisError) and may_succeed_on_a_new_connection(reply)


def _plain(replies: list[Any]) -> list[Any]:
    """These replies, with the failure of a node in plain words: it is none of the whole cluster."""
    for position, reply in enumerate(replies):
        if isinstance(reply, Exception) and is_outage(reply):
            replies[position] = unavailable(reply)
            replies[position].__cause__ = reply
    return replies


def _raise_first(replies: list[Any]) -> list[Any]:
    """These replies. Raises the first error among them."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies
