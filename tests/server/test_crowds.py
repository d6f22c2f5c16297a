"""`gimel serve` in a crowd: many open connections, slow ones, and requests that wait for Redis."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import ExitStack, suppress
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import urlencode

import pytest

from gimel.ops.server import wsgi
from gimel.ops.server.app import App, HttpError
from tests.calls import EVENT, participants
from tests.parts import DEADLINE_S, wait_for
from tests.server.test_app import ask

HEADER = b"POST /track HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"


@pytest.fixture
def server(serve, redis_server):
    return serve(GIMEL_REDIS_URL=redis_server.url)


def connect(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), DEADLINE_S)


def answer_on(link: socket.socket) -> tuple[int, bytes]:
    """Status and body of the answer that comes on this connection."""
    answer = HTTPResponse(link)
    answer.begin()
    return answer.status, answer.read()


def is_closed(link: socket.socket) -> bool:
    """Whether the server has closed this connection."""
    link.setblocking(False)
    try:
        return link.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@pytest.fixture
def in_process(monkeypatch):
    """Runs an application, and returns the server."""
    with ExitStack() as stack:

        def start(answer, **options) -> wsgi.Server:
            server = wsgi.Server(App(answer, **options), "127.0.0.1", 0)
            server._thread.start()
            stack.callback(server.close)
            stack.callback(server._wait)
            stack.callback(setattr, server._server, "should_exit", True)
            return server

        yield start


def ok(environ):
    return 200, {"Content-Type": "text/plain"}, b"ok"


def test_idle_and_trickling_connections_keep_no_visitor_out(server):
    with ExitStack() as stack:
        idle, slow = ([stack.enter_context(connect(server.url)) for _ in range(number)] for number in (300, 200))
        for number, link in enumerate(slow):
            link.sendall(HEADER[: len(HEADER) // (1 + number % 2)])  # half of them have sent the whole header
        for turn in range(3):
            for link in slow:
                link.sendall(b"x")
            assert ask(f"{server.url}/track?{urlencode({**EVENT, 'uuid': turn})}")[0] == 200
        assert ask(f"{server.url}/health")[0] == 200
        assert not any(map(is_closed, idle))


def test_a_request_that_does_not_arrive_in_time_ends_its_connection(in_process, monkeypatch):
    monkeypatch.setattr(wsgi, "REQUEST_S", 0.2)
    url = in_process(ok).url
    with ExitStack() as stack:
        answered = stack.enter_context(connect(url))
        answered.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")  # at once, or it may be too late already
        assert answer_on(answered) == (200, b"ok")
        answered.sendall(b"\r\n")  # not yet a request
        links = [answered, *(stack.enter_context(connect(url)) for _ in range(3))]
        for link, begun in zip(links[2:], (HEADER[:20], HEADER)):
            with suppress(ConnectionError):
                link.sendall(begun)
        wait_for(lambda: all(map(is_closed, links)), "the end of all connections")


def test_a_slow_reader_is_cut_off(in_process, monkeypatch):
    monkeypatch.setattr(wsgi, "SEND_S", 0.2)
    server = in_process(lambda environ: (200, {"Content-Type": "text/plain"}, b"x" * 32_000_000))
    with connect(server.url) as link:
        link.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert link.recv(1)
        wait_for(lambda: not server._server.server_state.connections, "the end of the connection")


def test_a_header_has_a_size_limit(in_process):
    url = in_process(ok).url
    with connect(url) as link:
        link.sendall(b"GET / HTTP/1.1\r\nA: " + b"a" * wsgi.MAX_HEADER_BYTES)
        assert answer_on(link)[0] == 400


def test_connections_beyond_the_limit_are_closed_at_once(in_process, monkeypatch):
    monkeypatch.setattr(wsgi, "_raise_limits", lambda: 2)
    url = in_process(ok).url
    with ExitStack() as stack:
        links = [stack.enter_context(connect(url)) for _ in range(2)]
        third = stack.enter_context(connect(url))
        wait_for(lambda: is_closed(third), "the end of the third connection")
        assert not any(map(is_closed, links))
        links[0].close()
        wait_for(lambda: answers(url), "an answer")


def answers(url: str) -> bool:
    try:
        return ask(url)[0] == 200
    except OSError:
        return False


def test_a_request_refused_at_once_is_not_read(in_process):
    def refuse(environ):
        raise HttpError(403, "no")

    url = in_process(lambda environ: 1 / 0, admit=refuse).url
    with connect(url) as link:
        link.sendall(HEADER)
        assert answer_on(link)[0] == 403
        # A client that looks only once it has sent everything sees the answer too, and may go on.
        link.sendall(b"x" * 1000 + HEADER)
        assert answer_on(link)[0] == 403


def test_bodies_that_wait_have_a_size_limit_together(in_process, monkeypatch):
    monkeypatch.setattr(wsgi, "MAX_WAITING_BYTES", 100_000)
    url = in_process(ok).url
    with connect(url) as link:
        link.sendall(HEADER.replace(b"1000", b"90000") + b"x" * 80_000)
        wait_for(lambda: ask(url, "POST", b"x" * 60_000)[0] == 503, "a refusal")
        assert ask(url, "POST", b"x" * 1000)[0] == 200
        link.sendall(b"x" * 10_000)
        assert answer_on(link) == (200, b"ok")
    assert ask(url, "POST", b"x" * 60_000)[0] == 200


def test_a_header_with_an_underscore_is_not_one_with_a_hyphen(in_process):
    url = in_process(
        lambda environ: (200, {"Content-Type": "text/plain"}, str("HTTP_X_API_KEY" in environ).encode())
    ).url
    assert ask(url, **{"x-api-key": "k"})[2] == "True"
    with connect(url) as link:
        link.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX_API_KEY: k\r\n\r\n")
        assert answer_on(link) == (200, b"False")


def test_routes_that_need_no_redis_do_not_wait_for_those_that_do(in_process):
    let_go = threading.Event()

    def answer(environ):
        if environ["PATH_INFO"] in wsgi.LANES:
            let_go.wait(DEADLINE_S)
        return 200, {"Content-Type": "text/plain"}, b"ok"

    url = in_process(answer).url
    with ExitStack() as stack:
        stack.callback(let_go.set)
        blocked = []
        for path in wsgi.LANES:
            for _ in range(3 * wsgi.THREADS):
                link = HTTPConnection(url.removeprefix("http://"), timeout=DEADLINE_S)
                link.request("GET", path)
                blocked.append(link)
        assert ask(f"{url}/")[2] == "ok"
        let_go.set()
        assert {link.getresponse().read() for link in blocked} == {b"ok"}
        for link in blocked:
            link.close()


def test_a_frozen_redis_blocks_no_page_and_no_visitor(server, redis_server):
    os.kill(redis_server.process.pid, signal.SIGSTOP)
    try:
        links = []
        for number in range(100):
            link = HTTPConnection(server.url.removeprefix("http://"), timeout=DEADLINE_S)
            link.request("GET", f"/track?{urlencode({**EVENT, 'uuid': number})}")
            links.append(link)
        start = time.monotonic()
        assert [ask(f"{server.url}{path}")[0] for path in ("/", "/?about=1", "/example")] == [200] * 3
        assert time.monotonic() - start < 5
        assert ask(f"{server.url}/health")[0] == 503
        assert {link.getresponse().status for link in links} == {200}
        for link in links:
            link.close()
    finally:
        os.kill(redis_server.process.pid, signal.SIGCONT)
    wait_for(lambda: b'"waiting":0' in ask(f"{server.url}/health")[2].encode(), "an empty spool")
    assert participants(redis_server.client()) == pytest.approx(100, abs=2)


@pytest.mark.slow
def test_the_server_stops_in_spite_of_open_connections(server):
    with ExitStack() as stack:
        links = [stack.enter_context(connect(server.url)) for _ in range(100)]
        for link in links[:50]:
            link.sendall(HEADER[:30])
        assert ask(f"{server.url}/health")[0] == 200
        assert server.process.stop() == 0
        assert server.lines[-1] == "Stopped."
