"""One Redis behind one proxy, the servers under test, and what a fault can do to them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import boto3
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from gimel.ops.server.redis_process import socket_of
from tests.aws.ministack import Ministack
from tests.clusters import Cluster
from tests.parts import RedisServer, missing, wait_for

from . import targets
from .proxy import LOOPBACK, NameServer, Proxy

PASSWORD = "open sesame"
PARAMETER = "/gimel/redis"
JUDGE = "judge"
"""A Redis user of the harness' own, whom a changed password does not concern."""

CONTAINERS = 8
SERVE, LAMBDA, QUEUED = "serve", "lambda", "lambda-queue"


class World:
    """Everything that one fault needs; a context manager. Embedded, `gimel serve` has a Redis of its own."""

    def __init__(
        self,
        folder: Path,
        ministack: Ministack,
        redis_options: Sequence[str] = (),
        password: str | None = None,
        is_embedded: bool = False,
        is_cluster: bool = False,
        by_name: bool = False,
        disk_mb: int = 0,
        containers: int = CONTAINERS,
    ) -> None:
        self.folder = folder
        self.ministack = ministack
        self.redis_options = redis_options
        self.password = password
        self.is_embedded = is_embedded
        self.is_cluster = is_cluster
        self.by_name = by_name
        self.disk_mb = disk_mb
        self.containers = containers
        self.data = folder / "data"
        self.targets: dict[str, targets.Target] = {}
        self.queue: targets.Queue | None = None
        self._stack = ExitStack()

    def __enter__(self) -> World:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        self.folder.mkdir()
        self.data.mkdir()
        if self.disk_mb:
            mount = ["mount", "-t", "tmpfs", "-o", f"size={self.disk_mb}m,mode=700", "tmpfs", str(self.data)]
            if subprocess.run(mount, capture_output=True).returncode:
                missing("a small disk needs the right to mount one")
            self._stack.callback(subprocess.run, ["umount", "--lazy", str(self.data)], check=True)
        if self.is_embedded:
            config = self._configure({"precision": "exact"})
            self.targets = {SERVE: targets.serve(config, self.data)}
            self._stack.callback(self.kill_embedded)
        elif self.is_cluster:
            self.cluster = self._stack.enter_context(Cluster(self.folder / "cluster"))
            self._judge = self._stack.enter_context(redis.RedisCluster.from_url(self.cluster.url, socket_timeout=5))
            self._share({"url": self.cluster.url, "cluster": True})
        else:
            self.redis = self.start_redis("redis")
            self.truth = self.redis
            self.proxy = Proxy(self.redis.port)
            self._stack.callback(self.proxy.close)
            wrapper = self._resolver() if self.by_name else ()
            host = "redis.test" if self.by_name else LOOPBACK
            self._share({"host": host, "port": self.proxy.port, "password": self.password}, wrapper)
        for target in self.targets.values():
            self._stack.callback(target.stop)
            target.launch()
        for target in self.targets.values():
            target.wait()
        if self.queue:
            self.queue.start(self.targets[QUEUED].port)
            self._stack.callback(self.queue.stop)

    def _share(self, store: dict[str, object], wrapper: Sequence[str] = ()) -> None:
        """Let all targets have this Redis."""
        config = self._configure({"redis": store, "precision": "exact"})
        self.queue = targets.Queue(self.ministack, self.folder.name)
        aws = {"AWS_ENDPOINT_URL": self.ministack.url, **targets.AWS}
        self.targets = {
            SERVE: targets.serve(config, self.data, wrapper, **aws),
            LAMBDA: targets.containers(config, self.containers, wrapper, **aws),
            QUEUED: targets.containers(config, self.containers, wrapper, **aws, GIMEL_QUEUE_URL=self.queue.url),
        }

    def client(self) -> redis.Redis | redis.RedisCluster:
        """A client of the Redis that has the counts."""
        if self.is_cluster:
            return self._judge
        options = {"socket_timeout": 5, "retry": Retry(NoBackoff(), 0)}
        if self.is_embedded:
            return redis.Redis(unix_socket_path=str(socket_of(self.data)), **options)
        return redis.Redis(port=self.truth.port, username=JUDGE, password=JUDGE, **options)

    def start_redis(self, name: str, *options: str) -> RedisServer:
        """Another redis-server, with the same options and these."""
        folder = self.folder / name
        folder.mkdir()
        user = "--user", JUDGE, "on", f">{JUDGE}", "~*", "&*", "+@all"
        secret = ("--requirepass", PASSWORD, "--masterauth", PASSWORD) if self.password else ()
        server = RedisServer(folder, *user, *secret, *self.redis_options, *options).start()
        self._stack.callback(server.stop)
        return server

    def start_replica(self) -> RedisServer:
        """A replica that has caught up."""
        replica = self.start_redis("replica", "--replicaof", f"{LOOPBACK} {self.redis.port}")
        link = redis.Redis(port=replica.port, username=JUDGE, password=JUDGE)
        wait_for(lambda: link.info("replication").get("master_link_status") == "up", "replication")
        return replica

    def kill_embedded(self) -> None:
        """kill -9 of the Redis in the data folder, if it runs."""
        with suppress(redis.RedisError, ProcessLookupError):
            os.kill(int(self.client().info("server")["process_id"]), signal.SIGKILL)

    def put_parameter(self, password: str) -> None:
        """Write the password to where config.json refers to."""
        ssm = boto3.client("ssm", "eu-west-1", endpoint_url=self.ministack.url, **targets.CREDENTIALS)
        ssm.put_parameter(Name=PARAMETER, Value=password, Type="SecureString", Overwrite=True)

    def fill_disk(self) -> None:
        """Leave no room in the data folder."""
        with suppress(OSError), (self.data / "ballast").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def empty_disk(self) -> None:
        """Make room again."""
        (self.data / "ballast").unlink()

    def _configure(self, content: dict[str, object]) -> Path:
        path = self.folder / "config.json"
        path.write_text(json.dumps(content))
        return path

    def _resolver(self) -> list[str]:
        """Words before a command that let it ask our name server: a mount of its own hides the machine's resolver."""
        try:
            self.names = NameServer()
        except OSError as error:
            missing(f"a name server of the test's own needs port 53 ({error.strerror})")
        self._stack.callback(self.names.close)
        resolver = self.folder / "resolv.conf"
        resolver.write_text(f"nameserver {self.names.address}\n")
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        words = ["unshare", "--mount", "sh", "-c", script, str(resolver)]
        if not shutil.which("unshare") or subprocess.run([*words, "true"], capture_output=True).returncode:
            missing("a name server of the test's own needs the right to mount (unshare --mount)")
        return words
