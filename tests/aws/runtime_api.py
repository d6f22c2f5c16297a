"""Lambda's Runtime API, for the runtime client that AWS itself uses: events in, responses out."""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.parts import DEADLINE_S, Process, wait_for


def _client(folder: Path) -> Path:
    """A folder with the runtime client and its dependencies, and no other package."""
    if not folder.is_dir():
        folder.mkdir()
        for name in ("awslambdaric", "runtime_client", "simplejson", "snapshot_restore_py"):
            spec = importlib.util.find_spec(name)
            assert spec
            assert spec.origin
            origin = Path(spec.origin)
            found = origin.parent if origin.name == "__init__.py" else origin
            (folder / found.name).symlink_to(found)
    return folder


class Lambda:
    """A container: awslambdaric on an unzipped bundle. Use it as a context manager."""

    def __init__(self, folder: Path, handler: str, **environ: str) -> None:
        self.events: queue.Queue[Any] = queue.Queue()
        self.answers: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.folder = folder
        self.handler = handler
        self.environ = environ

    def __enter__(self) -> Lambda:
        outer = self

        class Api(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = json.dumps(outer.events.get()).encode()
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", "1")
                self.send_header("Lambda-Runtime-Deadline-Ms", "99999999999999")
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:1:function:gimel")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length")
                body = self.rfile.read(int(length)) if length else self._chunks()
                kind = "init" if "/init/" in self.path else self.path.rpartition("/")[2]
                outer.answers.put((kind, json.loads(body)))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def _chunks(self) -> bytes:
                whole = b""
                while size := int(self.rfile.readline(), 16):
                    whole += self.rfile.read(size)
                    self.rfile.readline()
                return whole

            def log_message(self, *ignored: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
        self.server.daemon_threads = True
        # The client is killed while it waits for an event.
        self.server.handle_error = lambda *ignored: None
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        # -S hides installed packages, which could replace something missing from the bundle.
        program = "import sys; sys.argv[1:] = [%r]; from awslambdaric.__main__ import main; main(sys.argv)"
        self.process = Process(
            *(sys.executable, "-S", "-c", program % self.handler),
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.server.server_port}",
                "AWS_LAMBDA_FUNCTION_NAME": "gimel-track",
                "AWS_LAMBDA_FUNCTION_VERSION": "1",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
                "AWS_LAMBDA_LOG_GROUP_NAME": "g",
                "AWS_LAMBDA_LOG_STREAM_NAME": "s",
                "AWS_REGION": "eu-west-1",
                "LAMBDA_TASK_ROOT": str(self.folder),
                "PYTHONPATH": f"{self.folder}{os.pathsep}{_client(self.folder.parent / 'client')}",
                "PYTHONDONTWRITEBYTECODE": "1",
                "_HANDLER": self.handler,
                **self.environ,
            },
        )
        return self

    def __call__(self, event: object) -> tuple[str, Any]:
        """Send an event, and return `response` or `error`, and its content."""
        self.events.put(event)
        wait_for(lambda: not self.answers.empty() or self.process.poll() is not None, "an answer")
        return self.answers.get(timeout=DEADLINE_S if self.process.poll() is None else 1)

    def __exit__(self, *ignored: object) -> None:
        self.process.kill_all()
        self.server.shutdown()
        self.server.server_close()
