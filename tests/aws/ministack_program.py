"""ministack, corrected where it differs from AWS or is too slow for a test. It runs in ministack's own environment."""

from __future__ import annotations

import inspect
import queue
from typing import Any

from ministack.app import main
from ministack.core import lambda_runtime
from ministack.core.lambda_runtime import Worker
from ministack.services import apigateway, eventbridge, lambda_svc

# Where an HTTP API has no CORS configuration, AWS sends OPTIONS to its route like any other method.
PREFLIGHT = 'if method == "OPTIONS":'
SERVE = inspect.getsource(apigateway._handle_execute_in_scope)
exec(SERVE.replace(PREFLIGHT, 'if method == "OPTIONS" and cors_cfg:'), vars(apigateway))

# A rule of `rate(1 minute)` fires every second, so that a test need not wait for it.
eventbridge._SCHEDULER_TICK_INTERVAL = 1
eventbridge._parse_rate_seconds = lambda text: 1 if text == "rate(1 minute)" else None

# Functions are ready only after half a second, as on AWS. It is enough that the deployment named shop waits for them.
become_ready = lambda_svc._schedule_state_transition
lambda_svc._schedule_state_transition = lambda name, delay: become_ready(name, delay if "-shop-" in name else 0)

# What a function has logged is complete when it has answered, however busy the machine: a line that tells of the end
# follows it. ministack itself waits 50 ms for a first line, and gives a later one to the next invocation.
END = "-- end of this invocation's log --"
ANSWER = "        _real_stdout.flush()\n\nrun()"
SCRIPT = lambda_runtime._PYTHON_WORKER_SCRIPT
assert ANSWER in SCRIPT
lambda_runtime._PYTHON_WORKER_SCRIPT = SCRIPT.replace(ANSWER, f"        print({END!r}, flush=True)\n{ANSWER}")


def read_stderr(worker: Any) -> None:
    lines = worker._stderr_queue  # a restarted function has another one
    for line in worker._proc.stderr:
        lines.put(line.rstrip("\n"))
    lines.put(END)


def drain_stderr(worker: Any) -> str:
    lines: list[str] = []
    try:
        while (line := worker._stderr_queue.get(timeout=10)) != END:
            lines.append(line)
    except queue.Empty:
        pass
    return "\n".join(lines)


Worker._read_stderr = read_stderr
Worker._drain_stderr = Worker._drain_stderr_bounded = drain_stderr

main()
