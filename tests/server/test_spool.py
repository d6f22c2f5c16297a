"""Events that Redis does not take are kept by `gimel serve`, and counted once Redis takes events again."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlencode

import pytest
import redis

from gimel import connection, counters
from gimel.errors import ConfigError, StoreUnavailable
from gimel.events import Event
from gimel.ops.server import folder, redis_process, spool
from tests.calls import EVENT, participants
from tests.parts import missing, start_gimel, wait_for
from tests.server.test_app import ask

KEY = "alephbet:counters:button color:participate:red"
ONE = Event("alephbet", "button color", "participate", "red", "u0")


def events(number: int, **changes: str) -> list[Event]:
    return [ONE._replace(uuid=f"u{each}", **changes) for each in range(number)]


def send(url: str, uuid: object) -> int:
    return ask(f"{url}/track?{urlencode({**EVENT, 'uuid': uuid})}")[0]


def health(url: str) -> dict[str, object]:
    status, _, text = ask(f"{url}/health")
    return {"status": status, **json.loads(text)}


@pytest.fixture
def kept(tmp_path):
    """A spool that is not drained until it is entered."""
    with closing(folder.claim(tmp_path)):
        yield spool.Spool(tmp_path, 1)


class TestWithAConfiguredRedis:
    def test_an_outage_loses_no_visitor_who_sends_once_and_leaves(self, serve, redis_server):
        server = serve(GIMEL_REDIS_URL=redis_server.url)
        assert health(server.url) == {"status": 200, "redis": "answers", "waiting": 0, "set_aside": 0}
        redis_server.stop()
        assert {send(server.url, number) for number in range(20)} == {200}
        outage = {"status": 503, "redis": "does not answer", "new_events": "kept", "waiting": 20, "set_aside": 0}
        assert health(server.url) == outage
        redis_server.start()
        wait_for(lambda: health(server.url)["waiting"] == 0, "an empty spool")
        assert participants(redis_server.client()) == 20

    def test_what_waits_when_the_server_is_killed_is_counted_by_the_next(self, serve, redis_server):
        url = redis_server.url
        redis_server.stop()
        server = serve(GIMEL_REDIS_URL=url)
        assert {send(server.url, number) for number in range(20)} == {200}
        server.process.stop(signal.SIGKILL)
        server = serve(GIMEL_REDIS_URL=url)
        assert "20 events wait to be counted as soon as Redis takes events." in server.lines
        redis_server.start()
        wait_for(lambda: health(server.url)["waiting"] == 0, "an empty spool")
        assert participants(redis_server.client()) == 20

    def test_beyond_the_size_limit_events_are_refused_and_those_answered_are_counted(self, serve, redis_server):
        server = serve("--spool-mb", "1", GIMEL_REDIS_URL=redis_server.url)
        redis_server.stop()
        answered, status = 0, 200
        while status == 200:
            batch = [{**EVENT, "uuid": f"{answered} {'x' * 150} {number}"} for number in range(500)]
            status = ask(f"{server.url}/track", "POST", json.dumps(batch).encode())[0]
            answered += len(batch) * (status == 200)
            assert answered < 1024 * 1024 / 150
        assert status == 503
        assert health(server.url)["new_events"] == "refused"
        assert (health(server.url)["waiting"], answered > 2_000) == (answered, True)
        redis_server.start()
        wait_for(lambda: health(server.url)["waiting"] == 0, "an empty spool")
        assert participants(redis_server.client()) == pytest.approx(answered, rel=0.05)

    @pytest.mark.parametrize(
        ("broken", "mended"),
        [
            (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
            (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
        ],
        ids=["full", "replica"],
    )
    def test_a_redis_that_answers_but_takes_no_events_is_an_outage(self, serve, redis_server, broken, mended):
        server = serve(GIMEL_REDIS_URL=redis_server.url)
        redis_server.client().execute_command(*broken)
        assert (health(server.url)["status"], health(server.url)["new_events"]) == (503, "kept")
        assert {send(server.url, number) for number in range(20)} == {200}
        redis_server.client().execute_command(*mended)
        wait_for(lambda: health(server.url)["status"] == 200 and health(server.url)["waiting"] == 0, "an empty spool")
        assert (health(server.url)["set_aside"], participants(redis_server.client())) == (0, 20)

    def test_without_a_spool_the_browser_keeps_the_event(self, serve, redis_server, tmp_path):
        server = serve("--spool-mb", "0", "--data", str(tmp_path / "data"), GIMEL_REDIS_URL=redis_server.url)
        redis_server.stop()
        assert send(server.url, 1) == 503
        assert health(server.url) == {"status": 503, "redis": "does not answer", "new_events": "refused"}
        assert not (tmp_path / "data").exists()

    def test_a_server_that_stops_says_what_still_waits(self, serve, redis_server):
        server = serve(GIMEL_REDIS_URL=redis_server.url)
        redis_server.stop()
        assert send(server.url, 1) == 200
        assert server.process.stop() == 0
        assert "1 event waits to be counted at the next start." in server.lines

    def test_without_a_spool_what_waits_from_before_is_counted(self, serve, redis_server):
        url = redis_server.url
        redis_server.stop()
        server = serve(GIMEL_REDIS_URL=url)
        assert send(server.url, 1) == 200
        server.stop()
        redis_server.start()
        serve("--spool-mb", "0", GIMEL_REDIS_URL=url)
        wait_for(lambda: participants(redis_server.client()) == 1, "the event")

    def test_two_servers_do_not_share_a_spool(self, serve, redis_server, tmp_path):
        serve(GIMEL_REDIS_URL=redis_server.url)
        second = start_gimel("serve", "--port", "0", home=tmp_path, GIMEL_REDIS_URL=redis_server.url)
        assert second.wait() == 1
        assert "is in use by another server: stop that server, or choose another folder with --data" in second.output

    def test_a_damaged_file_is_an_error_that_says_what_to_do_and_it_stays_as_it_is(self, redis_server, tmp_path):
        path = tmp_path / ".gimel" / "data" / spool.FILE
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no database" * 1000)
        server = start_gimel("serve", "--port", "0", home=tmp_path, GIMEL_REDIS_URL=redis_server.url)
        assert server.wait() == 1
        assert f"Error: cannot read the events kept in {path}" in server.output
        assert "move it away to start without them" in server.output
        assert path.read_bytes() == b"no database" * 1000


def test_a_killed_embedded_redis_loses_no_event(serve, tmp_path):
    if not redis_process.find_server():
        missing("no redis-server: install the Debian package redis-server")
    data = tmp_path / "data"
    server = serve("--data", str(data))

    def client() -> redis.Redis:
        return redis.Redis(unix_socket_path=str(redis_process.socket_of(data)))

    assert send(server.url, 0) == 200
    os.kill(client().info("server")["process_id"], signal.SIGKILL)
    assert {send(server.url, number) for number in range(1, 100)} == {200}
    wait_for(lambda: health(server.url)["status"] == 200 and health(server.url)["waiting"] == 0, "an empty spool")
    assert participants(client()) == 100


def test_a_batch_that_could_not_be_deleted_is_counted_again_but_once(real, kept, monkeypatch):
    finish, failed = kept._finish, threading.Event()

    def fail_once(*arguments):
        if not failed.is_set():
            failed.set()
            raise sqlite3.OperationalError("database or disk is full")
        finish(*arguments)

    monkeypatch.setattr(kept, "_finish", fail_once)
    monkeypatch.setattr(spool, "FILE_RETRY_S", 0)
    kept.keep(events(700))
    with kept:
        wait_for(lambda: kept.waiting == 0, "an empty spool")
    assert failed.is_set()
    assert real.pfcount(KEY) == pytest.approx(700, rel=0.05)


def test_nothing_is_deleted_before_it_is_counted(real, kept, monkeypatch):
    deleted, counted, lock = [], [], threading.Lock()
    record, finish = counters.record, kept._finish

    def recorded(client, batch, *others):
        refused = record(client, batch, *others)
        counted.extend(event.uuid for event in batch)
        return refused

    def finished(ids, refused):
        with lock:
            deleted.append((len(counted), len(ids)))
        finish(ids, refused)

    monkeypatch.setattr(counters, "record", recorded)
    monkeypatch.setattr(kept, "_finish", finished)
    kept.keep(events(1200))
    with kept:
        wait_for(lambda: kept.waiting == 0, "an empty spool")
    assert counted == [event.uuid for event in events(1200)]
    assert deleted == [(500, 500), (1000, 500), (1200, 200)]


def test_many_threads_keep_at_once(kept):
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda event: kept.keep([event]), events(400)))
    assert kept.waiting == 400
    with closing(sqlite3.connect(kept.path)) as other:
        items = {json.loads(item)["uuid"] for (item,) in other.execute("SELECT item FROM events")}
    assert items == {event.uuid for event in events(400)}


def test_an_event_that_can_never_be_counted_is_set_aside_and_tried_at_the_next_start(real, kept, monkeypatch, caplog):
    monkeypatch.setattr(spool, "RETRY_S", 0.01)
    tried_alone, track = [], spool._track
    monkeypatch.setattr(
        spool, "_track", lambda rows: (tried_alone.append(len(rows) == 1 and rows[0][0]), track(rows))[1]
    )
    blocked = "alephbet:counters:button color:participate:blue"
    real.set(blocked, "no counter")
    kept.keep(events(300))
    kept.keep([ONE._replace(variant="blue", uuid="secret uuid")])
    kept.keep(events(300, variant="green"))
    with kept:
        wait_for(lambda: kept.waiting == 0, "all others")
        assert kept.set_aside == 1
    assert real.pfcount(KEY) == real.pfcount(KEY.replace("red", "green")) == pytest.approx(300, rel=0.05)
    assert "is set aside: WRONGTYPE" in caplog.text
    assert "secret uuid" not in caplog.text
    assert tried_alone.count(301) == spool.ATTEMPTS
    real.delete(blocked)
    with spool.Spool(kept.path.parent, 1) as again:
        wait_for(lambda: again.waiting == 0, "the one set aside")
        assert again.set_aside == 0
    assert real.pfcount(blocked) == 1


def test_an_event_that_breaks_a_new_rule_is_set_aside_with_the_reason(real, kept, caplog):
    kept.keep([ONE._replace(goal=""), *events(3)])
    with kept:
        wait_for(lambda: kept.waiting == 0, "the others")
        assert kept.set_aside == 1
    assert real.pfcount(KEY) == 3
    assert "is set aside: event is empty" in caplog.text


def test_events_wait_for_as_long_as_redis_takes_none(redis_server, kept, monkeypatch):
    monkeypatch.setattr(spool, "RETRY_S", 0.01)
    connection.use(None)
    monkeypatch.setenv("GIMEL_REDIS_URL", redis_server.url)
    redis_server.stop()
    tried = threading.Semaphore(0)
    track = spool._track
    monkeypatch.setattr(spool, "_track", lambda rows: (tried.release(), track(rows))[1])
    kept.keep(events(10))
    with kept:
        for _ in range(3 * spool.ATTEMPTS):
            assert tried.acquire(timeout=30)
        assert (kept.waiting, kept.set_aside) == (10, 0)
        redis_server.start()
        wait_for(lambda: kept.waiting == 0, "an empty spool")
    assert participants(redis_server.client()) == 10


def test_the_log_says_once_a_minute_that_events_wait_and_that_none_do_any_more(real, kept, caplog):
    with kept:
        for is_a_minute_later in (False, False, False, True):
            if is_a_minute_later:
                kept._may_tell_at -= 60
            kept.keep(events(3))
            wait_for(lambda: kept.waiting == 0, "an empty spool")
    told = [f"events that Redis does not take wait in {kept.path}", f"no events wait in {kept.path} any more"]
    assert [message for message in caplog.messages if str(kept.path) in message] == 2 * told


def test_no_uuid_remains_on_disk_once_it_is_counted(real, kept):
    kept._file.execute("PRAGMA secure_delete=OFF")  # Debian's SQLite has it on, others do not
    kept.keep([ONE._replace(uuid=f"unmistakable {number}") for number in range(2000)])
    files = [kept.path, kept.path.with_name(f"{spool.FILE}-wal")]
    assert any(b"unmistakable" in file.read_bytes() for file in files)
    with kept:
        wait_for(lambda: kept.waiting == 0, "an empty spool")
        with kept._file_lock:
            assert not any(b"unmistakable" in file.read_bytes() for file in files)


def test_a_file_that_cannot_be_written_is_an_outage(kept, caplog):
    kept._file.execute("PRAGMA query_only=ON")
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="cannot keep events in"):
            kept.keep([ONE])
    (line,) = caplog.messages
    assert line.startswith(f"events are refused, because they cannot be kept in {kept.path}: attempt to write")
    assert (kept.is_failing, kept.waiting) == (True, 0)
    kept._file.execute("PRAGMA query_only=OFF")
    kept.keep([ONE])
    assert (kept.is_failing, kept.waiting) == (False, 1)


def test_every_write_is_on_disk_before_it_is_answered(kept):
    assert kept._file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert kept._file.execute("PRAGMA synchronous").fetchone() == (2,)


def test_the_folder_and_its_files_are_private_even_where_they_existed(tmp_path):
    data = tmp_path / "data"
    (data / "appendonlydir").mkdir(parents=True)
    old = [data / "redis.log", data / spool.FILE, data / "appendonlydir" / "appendonly.aof.1.incr.aof"]
    theirs = data / "notes.txt"
    for file in (*old, theirs):
        file.touch(0o644)
    data.chmod(0o755)
    with closing(folder.claim(data)):
        kept = spool.Spool(data, 1)
        kept.keep([ONE])
        files = [path for path in data.rglob("*") if path.is_file() and path != theirs]
        assert {file: stat.S_IMODE(file.stat().st_mode) for file in files} == dict.fromkeys(files, 0o600)
        assert set(old) < set(files)
        assert stat.S_IMODE(data.stat().st_mode) == stat.S_IMODE((data / "appendonlydir").stat().st_mode) == 0o700
        assert stat.S_IMODE(theirs.stat().st_mode) == 0o644


def test_a_folder_of_other_files_is_not_made_private(tmp_path):
    (tmp_path / "index.html").touch()
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match="has other files, and would become private to you: choose another folder"):
        folder.claim(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_a_new_volume_is_taken(tmp_path):
    (tmp_path / "lost+found").mkdir()
    tmp_path.chmod(0o755)
    folder.claim(tmp_path).close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_folder_of_all_users_is_refused(tmp_path):
    tmp_path.chmod(0o1777)
    with pytest.raises(ConfigError, match="is shared by all users: choose another folder with --data"):
        folder.claim(tmp_path)
