"""What the visitors' events are sent to: `gimel serve`, and Lambda containers with and without a queue."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import socket
import sys
import threading
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from tests.aws.ministack import Ministack
from tests.parts import ROOT, Process, free_port, wait_for

from .proxy import LOOPBACK

PORT = "PORT"
"""Stands in a command for the port."""

AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "eu-west-1"}
CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


class Target:
    """A program that answers /track at `port`, and can be killed and started again with its data."""

    def __init__(self, folder: Path, wrapper: Sequence[str], *command: str, **environ: str) -> None:
        self.port = free_port()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIMEL_", "AWS_"))}
        own = {"HOME": str(folder), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self._folder, self._environ = folder, {**kept, **own, **environ}
        port = str(self.port)
        self._command = [*wrapper, sys.executable, "-m", *(port if word == PORT else word for word in command)]
        self._output: list[str] = []
        self.process: Process | None = None

    def launch(self) -> None:
        """Start it."""
        self.process = Process(*self._command, cwd=self._folder, env=self._environ)

    def wait(self) -> None:
        """Wait until it listens."""
        wait_for(self._listens, f"{self._command}")

    def _listens(self) -> bool:
        assert self.process
        assert self.process.poll() is None, self.process.output
        with suppress(OSError), socket.create_connection((LOOPBACK, self.port), 1):
            return True
        return False

    def kill(self) -> None:
        """kill -9: what it started goes on."""
        self.stop(signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, if it runs."""
        if self.process:
            self.process.stop(number)
            self._output += self.process.lines
            self.process = None

    @property
    def log(self) -> list[str]:
        """All lines that it has printed."""
        return self._output + (self.process.lines if self.process else [])


def serve(config: Path, data: Path, wrapper: Sequence[str] = (), **environ: str) -> Target:
    """`gimel serve`, as its user starts it."""
    words = "gimel.ops.commands.main", "serve", "--port", PORT, "--data", str(data)
    return Target(config.parent, wrapper, *words, GIMEL_CONFIG=str(config), **environ)


def containers(config: Path, number: int, wrapper: Sequence[str] = (), **environ: str) -> Target:
    """So many Lambda containers."""
    words = "tests.faults.containers", PORT, str(number)
    return Target(config.parent, wrapper, *words, GIMEL_CONFIG=str(config), AWS_LAMBDA_FUNCTION_NAME="t", **environ)


class Queue:
    """An SQS queue with dead letters, and what an event source mapping does: it hands messages to the function."""

    VISIBILITY_S = 1
    """How long a message waits that could not be counted. On AWS longer, which only makes a test longer."""

    REPEATED = 0.05

    def __init__(self, ministack: Ministack, name: str) -> None:
        self._chance = random.Random(name)
        self._sqs = boto3.client("sqs", "eu-west-1", endpoint_url=ministack.url, **CREDENTIALS)
        name = f"{name}-{secrets.token_hex(4)}"  # what another fault left in its queue must not come here
        dead = self._sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        attributes = {
            "VisibilityTimeout": str(self.VISIBILITY_S),
            "RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 100}),
        }
        self.url: str = self._sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        self._ends = threading.Event()
        self._mapping: threading.Thread | None = None

    def start(self, port: int) -> None:
        """Hand messages to the containers at this port."""
        self._mapping = threading.Thread(target=self._map, args=(f"http://{LOOPBACK}:{port}/queue",), daemon=True)
        self._mapping.start()

    def stop(self) -> None:
        """Hand over no more."""
        self._ends.set()
        if self._mapping:
            self._mapping.join()

    def left(self) -> int:
        """How many messages wait, or are being handed over."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found: dict[str, str] = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(map(int, found.values()))

    def _map(self, url: str) -> None:
        while not self._ends.is_set():
            with suppress(BotoCoreError, ClientError):
                received = self._sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
                messages: list[dict[str, Any]] = received.get("Messages", [])
                failed = self._failed(url, messages) if messages else set()
                # SQS delivers at least once: some come again.
                failed |= {each["MessageId"] for each in messages if self._chance.random() < self.REPEATED}
                for message in messages:
                    if message["MessageId"] not in failed:
                        self._sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def _failed(self, url: str, messages: list[dict[str, Any]]) -> set[str]:
        """The messages that were not counted; all of them if the function did not answer."""
        records = [
            {"messageId": each["MessageId"], "body": each["Body"], "eventSource": "aws:sqs"} for each in messages
        ]
        request = urllib.request.Request(url, json.dumps({"Records": records}).encode(), method="POST")
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return {each["itemIdentifier"] for each in json.load(answer)["batchItemFailures"]}
        except OSError:
            return {each["MessageId"] for each in messages}
