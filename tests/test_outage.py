"""Outages: how long a request may take, how Redis is left alone and found again, and what a failover needs."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import redis

import gimel
from gimel import config, connection, counters, deadline, replies
from gimel.breaker import PAUSE_S, Breaker
from gimel.errors import StoreUnavailable
from gimel.events import Event

from .calls import EVENT, make_rest_event, participants
from .parts import DEADLINE_S, RedisServer, wait_for

IN_TIME_S = 5
"""The promise for the first request of an outage is 1.2 s, and `make faults` measures it. Here the machine may be busy;
without the time limit, each of these would take 10 s or more."""


def use(**settings: object) -> None:
    connection.use(config.Config(redis_settings=config.RedisSettings(**settings)))


def track(uuid: str = "u") -> int:
    return gimel.track(make_rest_event(query={**EVENT, "uuid": uuid}))["statusCode"]


def timed(work: Callable[[], object]) -> tuple[object, float]:
    start = time.monotonic()
    return work(), time.monotonic() - start


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on a port of its own, which does this with each connection in a thread."""
    with closing(socket.create_server(("127.0.0.1", 0))) as door:

        def accept() -> None:
            while True:
                try:
                    link, _ = door.accept()
                except OSError:
                    return
                threading.Thread(target=attend, args=(link,), daemon=True).start()

        def attend(link: socket.socket) -> None:
            with link, suppress(OSError):
                serve(link)

        threading.Thread(target=accept, daemon=True).start()
        yield door.getsockname()[1]
        door.shutdown(socket.SHUT_RDWR)


def drip(text: bytes, pause_s: float = 0.1) -> Callable[[socket.socket], None]:
    """Answers with these bytes for ever, one at a time, without ever leaving the client without one for long."""

    def serve(link: socket.socket) -> None:
        link.recv(65536)
        while True:
            for number in range(len(text)):
                link.sendall(text[number : number + 1])
                time.sleep(pause_s)

    return serve


class TestDeadline:
    def test_a_server_that_never_answers(self):
        with listening(lambda link: time.sleep(10)) as port:
            use(url=f"redis://127.0.0.1:{port}")
            status, taken_s = timed(track)
        assert status == 503
        assert taken_s < IN_TIME_S

    def test_a_server_that_never_accepts(self):
        with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as door:
            waiting = [socket.socket() for _ in range(4)]
            for link in waiting:
                link.setblocking(False)
                link.connect_ex(door.getsockname())
            use(url=f"redis://127.0.0.1:{door.getsockname()[1]}")
            status, taken_s = timed(track)
            for link in waiting:
                link.close()
        assert status == 503
        assert taken_s < IN_TIME_S

    @pytest.mark.parametrize("text", [b"+OK\r\n+QUEUED\r\n+QUEUED\r\n", b"$100000\r\nxxxxxxxx", b"*1000000\r\n:1\r\n"])
    def test_a_server_that_drips(self, text):
        with listening(drip(text)) as port:
            use(url=f"redis://127.0.0.1:{port}")
            status, taken_s = timed(track)
        assert status == 503
        assert taken_s < IN_TIME_S

    def test_a_server_that_drips_its_answer_to_the_password(self):
        with listening(drip(b"+O")) as port:
            use(url=f"redis://:secret@127.0.0.1:{port}/3")
            status, taken_s = timed(track)
        assert status == 503
        assert taken_s < IN_TIME_S

    def test_a_tls_handshake_that_drips(self):
        # The header of a handshake record of 16 KB, whose content never ends.
        with listening(drip(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + bytes(16_000))) as port:
            use(url=f"rediss://127.0.0.1:{port}", tls_verify=False)
            status, taken_s = timed(track)
        assert status == 503
        assert taken_s < IN_TIME_S

    def test_a_silent_name_server(self, monkeypatch, caplog):
        silent = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args: silent.wait(20))
        use(host="redis.example.com")
        status, taken_s = timed(track)
        silent.set()
        assert status == 503
        assert taken_s < IN_TIME_S
        assert "looking up the name failed" in caplog.text

    def test_silent_name_servers_hold_a_limited_number_of_threads(self, monkeypatch):
        silent = threading.Event()
        before = threading.active_count()
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args: silent.wait(20))
        monkeypatch.setattr("gimel.breaker.PAUSE_S", 0)
        use(host="redis.example.com", timeout_s=0.01)
        for _ in range(deadline.MAX_THREADS * 3):
            connection.use(connection.settings())  # a breaker that knows nothing yet
            assert track() == 503
        assert threading.active_count() <= before + deadline.MAX_THREADS
        silent.set()
        wait_for(lambda: threading.active_count() <= before, "the threads to end")

    def test_a_dead_address_leaves_time_for_the_next(self, redis_server, monkeypatch):
        with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as dead:
            waiting = [socket.socket() for _ in range(4)]
            for link in waiting:
                link.setblocking(False)
                link.connect_ex(dead.getsockname())
            addresses = [dead.getsockname(), ("127.0.0.1", redis_server.port)]
            found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in addresses]
            monkeypatch.setattr(socket, "getaddrinfo", lambda *args: found)
            use(host="redis.example.com")
            assert track() == 200
            for link in waiting:
                link.close()

    def test_a_server_that_reads_slowly(self):
        def read_slowly(link: socket.socket) -> None:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            while link.recv(64):
                time.sleep(0.05)

        events = [{**EVENT, "uuid": "u" * 200, "event": f"{number} {'x' * 180}"} for number in range(500)] * 12
        with listening(read_slowly) as port:
            use(url=f"redis://127.0.0.1:{port}")
            request = gimel.gateway.Request(items=events, is_list=True)
            with pytest.raises(StoreUnavailable):
                gimel.track.handle(request)
            _, taken_s = timed(track)
        assert taken_s < IN_TIME_S

    @pytest.mark.parametrize(("delay_s", "status"), [(0.2, 200), (1.0, 503)])
    def test_a_report_may_take_longer_than_an_event_but_no_silence_may(self, redis_server, delay_s, status):
        with listening(lambda link: forward(link, redis_server.port, delay_s)) as port:
            use(url=f"redis://127.0.0.1:{port}", timeout_s=0.6)
            redis_server.client().sadd("alephbet:experiments", "e")
            redis_server.client().sadd("alephbet:e:counter_keys", "alephbet:counters:e:participate:a")
            answer, taken_s = timed(lambda: gimel.all(make_rest_event()))
        assert answer["statusCode"] == status
        assert taken_s > 0.6


def forward(link: socket.socket, port: int, delay_s: float) -> None:
    """A proxy to Redis that sends every answer in three parts, with a silence before each."""
    with socket.create_connection(("127.0.0.1", port)) as server:
        while data := link.recv(65536):
            server.sendall(data)
            answer = server.recv(65536)
            for part in (answer[:1], answer[1:2], answer[2:]):
                time.sleep(delay_s)
                link.sendall(part)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class TestBreaker:
    FAILURE = StoreUnavailable("Redis does not answer", "retry later")

    def opened(self, clock: Clock) -> Breaker:
        """A breaker after a failure of this moment."""
        breaker = Breaker(clock)
        breaker.failed(self.FAILURE, breaker.enter(1))
        return breaker

    def test_after_a_failure_requests_fail_at_once_until_one_may_try(self):
        clock = Clock()
        breaker = self.opened(clock)
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="does not answer: retry later"):
                breaker.enter(1)
        clock.now += PAUSE_S
        breaker.enter(1)
        with pytest.raises(StoreUnavailable):
            breaker.enter(1)

    def test_an_answer_lets_all_through(self):
        clock = Clock()
        breaker = self.opened(clock)
        clock.now += PAUSE_S
        breaker.enter(1)
        breaker.answered()
        for _ in range(3):
            breaker.enter(1)

    def test_a_try_that_never_ends_is_followed_by_another(self):
        clock = Clock()
        breaker = self.opened(clock)
        clock.now += PAUSE_S
        breaker.enter(1)
        clock.now += 1
        breaker.enter(1)

    def test_a_request_that_fails_where_others_are_answered_is_no_outage(self):
        clock = Clock()
        breaker = Breaker(clock)
        start = breaker.enter(1)
        clock.now += 0.9
        breaker.answered()
        clock.now += 0.1
        breaker.failed(self.FAILURE, start)
        breaker.enter(1)

    def test_one_of_many_threads_tries(self):
        clock = Clock()
        breaker = self.opened(clock)
        clock.now += PAUSE_S
        together = threading.Barrier(8)

        def may_try(_: int) -> bool:
            together.wait(DEADLINE_S)
            try:
                breaker.enter(1)
            except StoreUnavailable:
                return False
            return True

        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(may_try, range(8))) == 1

    def test_redis_is_left_alone_until_it_is_found_again(self, redis_server):
        use(url=redis_server.url)
        assert track() == 200
        os.kill(redis_server.process.pid, signal.SIGSTOP)
        try:
            status, taken_s = timed(track)
            assert status == 503
            assert taken_s < IN_TIME_S
            taken = sorted(timed(track)[1] for _ in range(100))
            assert taken[50] < 0.5, "most requests do not wait for Redis"
        finally:
            os.kill(redis_server.process.pid, signal.SIGCONT)
        wait_for(lambda: track() == 200, "Redis to be found")

    @pytest.mark.parametrize("key", ["alephbet:experiments", "alephbet:counters:button color:participate:red"])
    def test_an_error_of_one_key_is_no_outage(self, redis_server, key):
        use(url=redis_server.url)
        redis_server.client().set(key, "not Gimel's")
        assert [track(), track()] == [503, 503]
        redis_server.client().delete(key)
        assert track() == 200

    def test_full_memory_does_not_stop_reports(self, redis_server):
        use(url=redis_server.url)
        assert track() == 200
        redis_server.client().config_set("maxmemory", "1")
        assert track() == 503
        assert gimel.all(make_rest_event())["statusCode"] == 200
        redis_server.client().config_set("maxmemory", "0")
        assert track("u2") == 200


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    """A primary and its replica."""
    servers = []
    for name in ("primary", "replica"):
        (tmp_path / name).mkdir()
        servers.append(RedisServer(tmp_path / name, "--repl-diskless-sync-delay", "0").start())
    primary, replica = servers
    replica.client().replicaof("127.0.0.1", primary.port)
    wait_for(lambda: replica.client().info("replication")["master_link_status"] == "up", "the replica to follow")
    yield primary, replica
    for server in servers:
        server.process.stop(signal.SIGKILL)  # one that still waits for the other takes its time


class TestFailover:
    def test_a_demoted_primary_is_left_for_the_new_one(self, pair, monkeypatch):
        """As ElastiCache does it: connections stay open, the name points to the other server."""
        primary, replica = pair
        look_up = socket.getaddrinfo
        port = primary.port
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda host, *rest: look_up("127.0.0.1", port) if host == "redis.example.com" else look_up(host, *rest),
        )
        use(host="redis.example.com")
        with ThreadPoolExecutor(4) as threads:
            assert set(threads.map(track, map(str, range(40)))) == {200}
        wait_for(lambda: participants(replica.client()) == 40, "the replica to have what its primary has")
        replica.client().replicaof("NO", "ONE")
        port = replica.port
        primary.client().replicaof("127.0.0.1", replica.port)
        assert [track(f"after {number}") for number in range(10)] == [200] * 10
        assert participants(replica.client()) == 50

    def test_a_replica_is_an_outage_until_it_is_promoted(self, redis_server):
        use(url=redis_server.url)
        assert track() == 200
        redis_server.client().replicaof("127.0.0.1", 1)
        assert track() == 503
        with pytest.raises(StoreUnavailable, match=r"^Redis is a read-only replica: use the address of its primary$"):
            counters.record(connection.client(), [Event("alephbet", "e", "g", "v", "u")], lambda name: 1)
        redis_server.client().replicaof("NO", "ONE")
        wait_for(lambda: track() == 200, "the primary to be found")

    def test_a_deletion_on_a_replica_ends(self, redis_server):
        use(url=redis_server.url)
        track()
        redis_server.client().replicaof("127.0.0.1", 1)
        answer, taken_s = timed(lambda: gimel.delete(make_rest_event("DELETE", EVENT)))
        assert answer["statusCode"] == 503
        assert taken_s < 5

    def test_a_transaction_that_a_failover_aborts_says_so(self, redis_server):
        with socket.create_connection(("127.0.0.1", redis_server.port)) as link:
            link.sendall(b"MULTI\r\nPFADD k u\r\n")
            link.settimeout(DEADLINE_S)
            replies_read = b""
            while b"QUEUED" not in replies_read:
                replies_read += link.recv(100)
            redis_server.client().replicaof("127.0.0.1", 1)
            link.sendall(b"EXEC\r\n")
            answer = link.recv(1000)[1:].decode().strip()
        error = redis.connection.DefaultParser.parse_error(answer)
        assert isinstance(error, redis.exceptions.ExecAbortError)
        assert replies.code(error) == "READONLY"
        assert replies.may_succeed_on_a_new_connection(error)

    @pytest.mark.parametrize(
        "reply",
        [
            "READONLY You can't write against a read only replica.",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "LOADING Redis is loading the dataset in memory",
            "CLUSTERDOWN The cluster is down",
            "NOREPLICAS Not enough good replicas to write.",
        ],
    )
    def test_every_reply_of_a_failover_makes_a_new_connection(self, reply):
        connections = []

        def serve(link: socket.socket) -> None:
            connections.append(link)
            while link.recv(65536):
                link.sendall(f"-{reply}\r\n".encode() * 20)

        with listening(serve) as port:
            use(url=f"redis://127.0.0.1:{port}")
            assert track() == 503
        assert len(connections) == 2


class TestWritable:
    @pytest.fixture(autouse=True)
    def _connected(self, redis_server):
        use(url=redis_server.url)

    def test_it_leaves_nothing_behind(self, redis_server, round_trips):
        connection.client().ping()
        round_trips()
        counters.check_writable(connection.client())
        assert round_trips() == 1
        assert redis_server.client().dbsize() == 0
        assert track() == 200

    def test_a_replica(self, redis_server):
        redis_server.client().replicaof("127.0.0.1", 1)
        with pytest.raises(StoreUnavailable, match=r"^Redis is a read-only replica: "):
            counters.check_writable(connection.client())

    @pytest.mark.parametrize(
        ("setting", "words"),
        [
            ({"maxmemory": 1}, "Redis is out of memory"),
            ({"min-replicas-to-write": 1}, "Redis has too few replicas to accept writes"),
        ],
    )
    def test_a_setting_that_refuses_writes(self, redis_server, setting, words):
        ((name, value),) = setting.items()
        redis_server.client().config_set(name, value)
        with pytest.raises(StoreUnavailable, match=f"^{words}: "):
            counters.check_writable(connection.client())
        redis_server.client().config_set(name, 0)
        wait_for(lambda: track() == 200, "Redis to be found")

    def test_a_snapshot_that_failed(self, redis_server):
        client = redis_server.client()
        client.set("key", "value")
        (redis_server.folder / "dump.rdb").mkdir()
        (redis_server.folder / "dump.rdb" / "in the way").touch()
        client.config_set("save", "3600 1")
        client.bgsave()
        wait_for(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "the snapshot to fail")
        with pytest.raises(StoreUnavailable, match=r"^Redis cannot save its data: "):
            counters.check_writable(connection.client())
        client.config_set("save", "")  # or it refuses to stop

    def test_a_user_without_permission(self, redis_server):
        allowed = ["+multi", "+exec", "+sadd", "+srem", "+scard", "+smembers", "+sismember", "+exists", "+pfadd"]
        redis_server.client().acl_setuser("app", enabled=True, nopass=True, keys="*", commands=allowed)
        use(url=redis_server.url.replace("//", "//app:x@"))
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"^Redis denies its user a command or a key: "):
                counters.check_writable(connection.client())
            assert track() == 200

    def test_a_redis_that_is_down(self, redis_server):
        redis_server.stop()
        with pytest.raises(StoreUnavailable, match=r"^Redis does not answer: "):
            counters.check_writable(connection.client())


def test_an_error_reply_is_told_without_names_and_ids(redis_server):
    use(url=redis_server.url)
    redis_server.client().set("alephbet:experiments", "not Gimel's")
    with pytest.raises(StoreUnavailable) as caught:
        counters.record(connection.client(), [Event("alephbet", "e", "g", "v", "u")], lambda name: 1)
    assert str(caught.value) == "Redis command failed: retry later"
    assert caught.value.__cause__
    told = replies.describe(caught.value.__cause__)
    assert told == "WRONGTYPE Operation against a key holding the wrong kind of value"
    unknown = redis.ResponseError("unknown command 'PFADD', with args beginning with: 'key' 'uuid' ")
    assert replies.describe(unknown) == "unknown command 'PFADD'"
