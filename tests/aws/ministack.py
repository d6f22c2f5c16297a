"""ministack: a local AWS that really runs the zip, in a virtual environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import boto3

from tests.parts import CACHE, Process, free_port, missing, wait_for

FOLDER = CACHE / "ministack"
PROGRAM = Path(__file__).parent / "ministack_program.py"


def python() -> Path:
    """The interpreter that has ministack, installed on first use. Functions see its packages, so it has its own.

    They include boto3, as Lambda's own runtimes do.
    """
    found = FOLDER / "bin" / "python"
    if not found.is_file() or not list(FOLDER.glob("lib/*/site-packages/boto3")):
        steps = (
            [sys.executable, "-m", "venv", str(FOLDER)],
            [str(FOLDER / "bin" / "python"), "-m", "pip", "install", "--quiet", "ministack>=1.4", "boto3"],
        )
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True, timeout=240)
            if done.returncode:
                missing(f"ministack cannot be installed: {(done.stderr.strip() or done.stdout).splitlines()[-1:]}")
    return found


class Ministack:
    """A running ministack on a free port of 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
        }
        self.process = Process(python(), "-I", PROGRAM, cwd=folder, env=environ)
        wait_for(self._answers, "ministack")

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.process.output
        try:
            with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def client(self, service: str) -> Any:
        """A client of this AWS service."""
        secrets = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client(service, "eu-west-1", endpoint_url=self.url, **secrets)

    def stop(self) -> None:
        self.process.stop()
