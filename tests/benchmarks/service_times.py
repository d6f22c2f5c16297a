"""The processor time that a real Redis takes for what Gimel sends.

A busy node finds many requests waiting each time it looks. So Redis is held while 200 connections each send a message,
and let go: its own processor time for all of them, divided by their number, is the service time of one. Unlike a
duration, it leaves out what else the machine does meanwhile.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import ssl
import statistics
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import redis
from redis.connection import Connection

import gimel
from gimel import config, connection, counters
from gimel.events import Event
from gimel.hyperloglog import Precision
from gimel.round_trip import Client, Command
from tests.calls import post
from tests.parts import RedisServer, free_port

CONNECTIONS, ROUNDS, BURSTS = 200, 7, 8
VISITORS = 20_000
"""Enough for a counter to have its full size."""

EXPERIMENT, VARIANTS = "button color", ("blue", "red")
GOALS = ("participate", "participate", "participate", "clicked")
"""Every fourth event is a goal's: each visitor takes part, and one in three clicks."""

KNOWN, FIRST = "an event", "the first event of a counter in a process and minute"

Messages = Mapping[str, Callable[[], Sequence[Command]]]
"""What makes the commands of a message anew, by what it is."""


class Nodes:
    """Stands for a cluster where nothing is sent."""

    options: Mapping[str, Any] = {}


def sent(client: Client, events: Sequence[Event], precision: Precision) -> tuple[list[Command], list[Command]]:
    """What `counters.record` sends for these events: the first time in a process, and again."""
    passes: list[list[Command]] = []

    def send(
        client: Client,
        commands: Sequence[Command],
        atomic: bool = False,
        once: bool = False,
        spare: Sequence[Command] = (),
    ) -> list[Any]:
        commands = [*commands, *spare]
        if not commands:
            return []  # nothing is sent
        is_transaction = atomic and isinstance(client, redis.Redis)
        passes.append([("MULTI",), *commands, ("EXEC",)] if is_transaction else commands)
        return [[] if command[0] == "SMEMBERS" else int(command[0] == "EXISTS") for command in commands]

    with patch.object(counters, "send", send):
        counters.record(client, events, lambda _: precision)
        counters.record(client, events, lambda _: precision)
    first, again = passes
    return first, again


def events_of(size: int) -> list[Event]:
    """Events of one experiment, each of a new visitor."""
    return [
        Event("alephbet", EXPERIMENT, random.choice(GOALS), random.choice(VARIANTS), str(uuid.uuid4()))
        for _ in range(size)
    ]


def messages_of_one_event() -> Messages:
    """An event, and what it would be without Gimel."""
    return {
        "a bare PFADD": lambda: [("PFADD", *sent(redis.Redis(), events_of(1), 1)[1][1][1:])],
        KNOWN: lambda: sent(redis.Redis(), events_of(1), 1)[1],
        FIRST: lambda: sent(redis.Redis(), events_of(1), 1)[0],
    }


def messages_of_lists() -> Messages:
    """Lists of events of one experiment that has been counted before, for a single node."""
    return {
        f"a list of {size} events, precision {precision}": lambda size=size, precision=precision: sent(
            redis.Redis(), events_of(size), precision
        )[1]
        for precision in (1, 16)
        for size in (20, 500)
    }


def measure(messages: Messages, rounds: int = ROUNDS) -> dict[str, tuple[float, float]]:
    """Microseconds of Redis' processor for each message, and for a new connection, plain and by TLS: medians."""
    taken: dict[str, tuple[list[float], list[float]]] = {}
    with _server() as (server, context), server.client() as control:
        for precision in (1, 16):
            for command in sent(control, events_of(500), precision)[0][1:-1]:  # without MULTI and EXEC
                control.execute_command(*command)
        for key in control.scan_iter(_type="string"):  # HyperLogLogs
            control.pfadd(key, *(f"visitor {number}" for number in range(VISITORS)))
        pid = control.info("server")["process_id"]

        def cpu_us() -> float:
            used = control.info("cpu")
            return (used["used_cpu_user"] + used["used_cpu_sys"]) * 1e6

        def burst(links: Sequence[socket.socket], packed: Sequence[bytes], lines: Sequence[int]) -> None:
            os.kill(pid, signal.SIGSTOP)
            try:
                for link, message in zip(links, packed):
                    link.sendall(message)
            finally:
                os.kill(pid, signal.SIGCONT)
            for link, wanted in zip(links, lines):
                while wanted > 0:
                    wanted -= link.recv(65536).count(b"\r\n")

        for _ in range(rounds):
            for is_tls in (False, True):
                start = cpu_us()
                links = [_connect(server, context if is_tls else None) for _ in range(CONNECTIONS)]
                found = {"a new connection": (cpu_us() - start) / CONNECTIONS}
                for name, make in messages.items():
                    few = links[: CONNECTIONS // 10] if "list" in name else links
                    commands = [make() for _ in few]
                    packed = [b"".join(Connection().pack_commands(each)) for each in commands]
                    start = cpu_us()
                    for _ in range(BURSTS):
                        burst(few, packed, [_lines(each) for each in commands])
                    found[name] = (cpu_us() - start) / len(few) / BURSTS
                for link in links:
                    link.close()
                for name, value in found.items():
                    taken.setdefault(name, ([], []))[is_tls].append(value)
    return {name: (statistics.median(plain), statistics.median(tls)) for name, (plain, tls) in taken.items()}


def measure_pfcount(times: int = 200) -> tuple[float, float]:
    """Microseconds of a PFCOUNT of a full counter that has changed since the last one, and of one that has not."""
    found = []
    with _server() as (server, _), server.client() as control:
        control.pfadd("k", *(f"visitor {number}" for number in range(VISITORS)))
        for is_changed in (True, False):
            control.config_resetstat()
            for number in range(times):
                if is_changed:
                    control.pfadd("k", *(f"later visitor {number} {other}" for other in range(100)))
                control.pfcount("k")
            found.append(control.info("commandstats")["cmdstat_pfcount"]["usec_per_call"])
    return found[0], found[1]


def measure_stall(keys: int = 5000, rounds: int = 5) -> float:
    """Microseconds that another request waits at most while a report reads so many changed counters: the median."""
    longest = []
    with _server() as (server, _), redis.Redis(port=server.port) as control:
        names = [f"alephbet:shards:{EXPERIMENT}:participate:red:{number}" for number in range(keys)]
        control.pfadd(names[0], *(f"visitor {number}" for number in range(VISITORS)))
        whole = control.get(names[0])
        report = b"".join(Connection().pack_commands([("PFCOUNT", name) for name in names]))

        def read(link: socket.socket) -> None:
            link.sendall(report)
            lines = 0
            while lines < keys:
                lines += link.recv(65536).count(b"\r\n")

        for number in range(rounds):
            with control.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.set(name, whole).pfadd(name, *(f"later visitor {number} {other}" for other in range(20)))
                pipe.execute()
            with _connect(server, None) as link:
                reader = threading.Thread(target=read, args=[link])
                reader.start()
                waits = []
                while reader.is_alive():
                    start = time.perf_counter()
                    control.ping()
                    waits.append((time.perf_counter() - start) * 1e6)
                reader.join()
            longest.append(max(waits))
    return statistics.median(longest)


def measure_track(sizes: Sequence[int] = (1, 20, 500), times: int = 100) -> dict[int, float]:
    """Microseconds of this process for a request of so many events of one experiment, at precision 16: medians."""
    found = {}
    with _server() as (server, _):
        connection.use(config.Config(redis_settings=config.RedisSettings(url=server.url), precision=16))
        for size in sizes:
            taken = []
            for _ in range(times):
                items = [event.as_item() for event in events_of(size)]
                request = post(items if size > 1 else items[0])
                start = time.process_time()
                gimel.track(request)
                taken.append((time.process_time() - start) * 1e6)
            found[size] = statistics.median(taken)
        connection.use(None)
    return found


def _lines(commands: Sequence[Command]) -> int:
    """How many lines the reply has, if each command's is a number."""
    if commands[0] == ("MULTI",):
        return 2 * len(commands) - 2  # OK, QUEUED for each, and EXEC's list
    return len(commands)


@contextmanager
def _server() -> Iterator[tuple[RedisServer, ssl.SSLContext]]:
    """A Redis without persistence that also speaks TLS, and what trusts it."""
    with tempfile.TemporaryDirectory() as folder:
        certificate, key, port = Path(folder, "redis.crt"), Path(folder, "redis.key"), free_port()
        wanted = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run(["openssl", "req", *wanted, *files], check=True, capture_output=True, timeout=60)
        tls = ["--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
        server = RedisServer(Path(folder), "--appendonly", "no", *tls, "--tls-auth-clients", "no").start()
        server.tls_port = port
        try:
            yield server, ssl.create_default_context(cafile=str(certificate))
        finally:
            server.stop()


def _connect(server: RedisServer, context: ssl.SSLContext | None) -> socket.socket:
    link = socket.create_connection(("127.0.0.1", (context and server.tls_port) or server.port), 30)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(link, server_hostname="localhost") if context else link
