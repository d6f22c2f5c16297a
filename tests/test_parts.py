"""The children that tests start: they can be interrupted, and none is left behind."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from .parts import Process, kill_processes, wait_for

WAITS = "print('ready', flush=True); import threading; threading.Event().wait()"
PARENT = f"""
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", {WAITS!r}], start_new_session=True).pid, flush=True)
{WAITS}
"""


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture
def background_job():
    """This process as a shell's background job, whose children would inherit that SIGINT is ignored."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.SIG_IGN


def test_a_child_of_a_background_job_can_be_interrupted(background_job):
    child = Process(sys.executable, "-c", WAITS)
    child.wait_for_line("ready")
    assert child.stop(signal.SIGINT) == -signal.SIGINT
    assert "KeyboardInterrupt" in child.output


def test_a_child_is_killed_with_its_own_children_in_other_sessions():
    child = Process(sys.executable, "-c", PARENT)
    wait_for(lambda: "ready" in child.lines, "the child")
    grandchild = int(child.lines[0])
    assert is_alive(grandchild)
    child.kill_all()
    wait_for(lambda: not is_alive(grandchild), "the end of its child")
    assert child.returncode == -signal.SIGKILL
    assert child not in Process.running


def test_a_child_that_ignores_a_signal_is_ended_when_time_is_up_and_shows_what_it_said(monkeypatch):
    monkeypatch.setattr("tests.parts.DEADLINE_S", 0.2)
    child = Process(sys.executable, "-c", f"import signal; signal.signal(15, signal.SIG_IGN); {WAITS}")
    wait_for(lambda: "ready" in child.lines, "the child", 30)
    with pytest.raises(AssertionError, match=r"did not end:\n(.*\n)*ready"):
        child.stop()
    assert child.returncode == -signal.SIGABRT


def test_children_that_nobody_stopped_are_killed_but_those_spared():
    before = set(Process.running)
    spared, forgotten = (Process(sys.executable, "-c", WAITS) for _ in range(2))
    kill_processes({*before, spared})
    assert spared.poll() is None
    assert forgotten.returncode == -signal.SIGKILL
