"""Signals stop a command that serves: at any moment, with the right exit code, and after its cleanup."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from gimel.errors import ConfigError
from gimel.ops.commands import console, serve
from gimel.ops.commands.main import main
from gimel.ops.server import redis_process, wsgi
from gimel.ops.server.app import App
from tests.parts import DEADLINE_S, ROOT, Process

TRACED = "/gimel/ops/", "/contextlib.py"
LAST_WORD = "Stopped."


@pytest.fixture(autouse=True)
def _no_signal_is_ignored():
    """As it would be in a background job, or under nohup. tests/conftest.py restores the handlers."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Command:
    """`gimel demo` in this process, up to its wait for a signal; its Redis is a cleanup that is noted."""

    def __init__(self, monkeypatch) -> None:
        self.said, self.cleaned, self.has_waited, self.is_interrupted = [], False, False, False
        monkeypatch.setattr(console.out, "print", lambda text, **ignored: self.said.append(text))
        monkeypatch.setattr(serve, "use_samples", lambda stack: stack.callback(self.clean))
        self.real_wait = wsgi.Server._wait
        monkeypatch.setattr(wsgi.Server, "_wait", lambda server: self.wait(server))

    def clean(self) -> None:
        self.cleaned = True

    def wait(self, server: wsgi.Server) -> None:
        if not self.is_interrupted:
            self.has_waited = True
            self.interrupt()
        self.real_wait(server)

    def interrupt(self) -> None:
        self.is_interrupted = True
        signal.raise_signal(signal.SIGINT)

    def run(self) -> None:
        serve.demo.callback(port=0, browser=False)


@contextmanager
def on_each_line(do):
    """Call this at each line of ours and of contextlib, in this thread."""

    def trace(frame, kind, argument):
        code = frame.f_code
        if code.co_name == "stop" or not any(part in code.co_filename for part in TRACED):
            return None  # also in the handler itself
        if kind == "line":
            do()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def interrupt_at(target: int, command: Command) -> None:
    """Run it, with Ctrl-C at this line after the announcement, counted from 1, or else when it waits."""
    passed = 0

    def count():
        nonlocal passed
        passed += "Press Ctrl-C to stop." in command.said
        if passed == target and not command.is_interrupted:
            command.interrupt()

    with on_each_line(count):
        command.run()


def test_ctrl_c_at_any_line_between_the_announcement_and_the_first_wait_ends_cleanly(monkeypatch):
    for target in range(1, 1000):
        with monkeypatch.context() as patch:
            command = Command(patch)
            interrupt_at(target, command)
        assert command.said[-1] == LAST_WORD
        assert command.cleaned
        if command.has_waited:
            break
    assert 2 < target < 999


def test_more_signals_do_not_interrupt_the_cleanup(monkeypatch):
    command = Command(monkeypatch)
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP] * 1000

    def again():
        if command.has_waited and LAST_WORD not in command.said:
            signal.raise_signal(numbers.pop())

    with on_each_line(again):
        command.run()
    assert len(numbers) < 2990
    assert command.said[-1] == LAST_WORD
    assert command.cleaned


def test_a_signal_is_heeded_again_where_the_cleanup_takes_too_long(monkeypatch):
    monkeypatch.setattr(wsgi, "CLEANUP_S", 0)
    wsgi.stop_on_signals()
    for _ in range(2):
        with pytest.raises(wsgi.Stopped):
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_the_start_is_told_in_a_word_and_by_the_exit_code(monkeypatch, number):
    cleaned = []

    def interrupted(stack):
        stack.callback(lambda: cleaned.append(True))
        signal.raise_signal(number)

    monkeypatch.setattr(serve, "use_samples", interrupted)
    done = CliRunner().invoke(main, ["demo", "--no-browser"])
    assert (done.exit_code, done.stderr, done.stdout) == (128 + number, "Interrupted.\n", "")
    assert cleaned


def test_requests_in_progress_are_completed(monkeypatch):
    answers = []

    def stop_then_answer(environ):
        os.kill(os.getpid(), signal.SIGINT)
        stopping.wait(DEADLINE_S)
        return 200, {"Content-Type": "text/plain"}, b"completed"

    wsgi.stop_on_signals()
    server = wsgi.Server(App(stop_then_answer), "127.0.0.1", 0)
    stopping, shutdown = threading.Event(), server._server.shutdown

    async def shut_down(sockets):
        stopping.set()
        await shutdown(sockets)

    monkeypatch.setattr(server._server, "shutdown", shut_down)
    client = threading.Thread(target=lambda: answers.append(urlopen(server.url, timeout=DEADLINE_S).read()))
    server.run(client.start)
    client.join(DEADLINE_S)
    assert answers == [b"completed"]


def test_a_signal_that_the_system_gives_to_another_thread_ends_the_server(serve):
    process = serve().process
    other = next(thread for thread in map(int, os.listdir(f"/proc/{process.pid}/task")) if thread != process.pid)
    os.kill(other, signal.SIGTERM)
    assert (process.wait(), process.lines[-1]) == (0, LAST_WORD)


def test_what_nohup_started_outlives_its_terminal():
    program = "import signal; from gimel.ops.server import wsgi; wsgi.stop_on_signals()\n"
    program += "signal.raise_signal(signal.SIGHUP); print('alive')"
    child = Process("nohup", sys.executable, "-c", program, cwd=ROOT)
    assert (child.wait(), child.lines[-1]) == (0, "alive")


@pytest.mark.slow
def test_ctrl_c_as_soon_as_it_is_announced_leaves_no_redis_behind(serve, tmp_path):
    for _ in range(3):
        server = serve("--data", str(tmp_path / "data"))
        assert server.process.stop(signal.SIGINT) == 0
        assert server.lines[-1] == LAST_WORD
        assert not redis_process.is_running(tmp_path / "data")


def no_answer(environ):
    raise AssertionError("never called")


def test_a_port_in_use_has_an_error_of_its_own():
    server = wsgi.Server(App(no_answer), "127.0.0.1", 0)
    port = int(server.url.rpartition(":")[2])
    message = f"port {port} is already in use: choose another port with --port"
    with pytest.raises(wsgi.PortTaken, match=message):
        wsgi.Server(App(no_answer), "127.0.0.1", port)
    server.close()
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:0") as caught:
        wsgi.Server(App(no_answer), "192.0.2.1", 0)
    assert not isinstance(caught.value, wsgi.PortTaken)
