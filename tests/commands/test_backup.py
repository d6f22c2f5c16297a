"""`gimel export` and `gimel import` between real servers: what comes back is what was there, or nothing is changed."""

from __future__ import annotations

import base64
import json
import os
import signal
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
import redis

import gimel
from gimel import config, connection, counters, histories, keyspace, lives, namespaces, plans, snapshots
from gimel import reports as gimel_reports
from gimel.errors import BadRequest, StoreUnavailable
from gimel.events import MAX_EVENTS, Event
from gimel.histories import DAY, History
from gimel.hyperloglog import Count, Precision, hyperloglog_error
from gimel.ops import backup, backup_file
from gimel.ops.backup import TargetDiffers
from gimel.ops.backup_file import BackupError, DamagedFile
from gimel.ops.server import redis_process
from gimel.plans import Ended
from gimel.settings import ExperimentSettings
from tests.parts import ROOT, RedisServer, free_port, missing, wait_for
from tests.test_counters import ODD_NAMES

from .test_main import fail, run

pytestmark = pytest.mark.slow

PRECISIONS = {"exact": "exact", "fine": 16, "finer": "bitmap"}
SETTINGS = {
    name: ExperimentSettings(precision=precision, planned_visitors=2_000) for name, precision in PRECISIONS.items()
}


START = 20_000 * DAY
"""When the source's only snapshot was taken: in 2024."""

HYPERLOGLOG = {
    "namespace": "n",
    "experiment": "e",
    "key": "counters:e:buy:red",
    "hyperloglog": base64.b64encode(b"HYLL" + bytes(12)).decode(),
}


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., RedisServer]]:
    """Starts empty servers of the test's own."""
    started: list[RedisServer] = []

    def start_one(binary: str | None = None, *options: str) -> RedisServer:
        folder = tmp_path / f"server{len(started)}"
        folder.mkdir()
        server = RedisServer(folder, *options)
        server.binary = binary or server.binary
        started.append(server)
        return server.start()

    yield start_one
    for server in started:
        server.stop()


@pytest.fixture
def source(start) -> RedisServer:
    """A server with counters of every kind and size, odd names and two namespaces."""
    server = start()
    fill(server)
    return server


def fill(server: RedisServer) -> None:
    use(server)
    events = [
        Event("alephbet", name, goal, variant, f"{variant} {number}")
        for name in ("button color", *PRECISIONS)
        for variant, goal, size in [("red", "participate", 9_000), ("red", "buy", 90), ("blue", "participate", 2_500)]
        for number in range(size)
    ]
    events += [Event("odd", name, name, name, f"u{number}") for name in ODD_NAMES for number in range(3)]
    record(events)
    client = server.client()
    client.sadd("odd:experiments", b"caf\xe9", "listed without counters")
    for key in (b"odd:counter_keys", b"odd:caf\xe9:counter_keys"):
        client.sadd(key, b"odd:counters:caf\xe9:buy:red")
    client.pfadd(b"odd:counters:caf\xe9:buy:red", "u1")
    for key in ("alephbet:counter_keys", "alephbet:button color:counter_keys"):
        client.sadd(key, "alephbet:counters:button color:listed:but not there")
    client.set("of another program", "stays")
    reports(server, "alephbet")  # records the end of the two planned experiments
    snapshots.take(START)
    record([Event("alephbet", name, "participate", "red", f"u{number}") for name in LIVES for number in range(9)])
    change("decided", status="decided", decision="red", hypothesis="Réd wins", baseline="red")
    change("stopped", status="stopped")
    for status in "stopped", "archived":
        change("archived", status=status, note="the end")
    change("draft", variants=["red", "blue"], weights={"red": 9, "blue": 1})


LIVES = ("decided", "stopped", "archived")


def change(name: str, **changes: object) -> None:
    lives.change(connection.client(), "alephbet", name, changes)


def record(events: list[Event]) -> None:
    for first in range(0, len(events), MAX_EVENTS):
        found = events[first : first + MAX_EVENTS]
        counters.record(connection.client(), found, connection.settings().precision_of)


def use(server: RedisServer) -> None:
    redis_settings = config.RedisSettings(url=server.url)
    connection.use(config.Config(redis_settings=redis_settings, experiments=SETTINGS))


def reports(server: RedisServer, *namespaces: str) -> list[str]:
    """What is reported of all experiments, without the names of the other namespaces."""
    use(server)
    asked = [{"httpMethod": "GET", "queryStringParameters": {"namespace": name}} for name in namespaces]
    asked.append({"httpMethod": "GET", "queryStringParameters": {"scope": "archived"}})
    return [gimel.all(event)["body"].partition('"next":')[2] for event in asked]


def everything(server: RedisServer) -> dict[bytes, object]:
    """All keys that are exported and what they hold, HyperLogLogs without the count that Redis caches in them."""
    client = redis.Redis(port=server.port)
    found: dict[bytes, object] = {}
    for key in set(client.scan_iter()) - {keyspace.LAST_SNAPSHOT_KEY.encode()}:
        if client.type(key) == b"set":
            found[key] = client.smembers(key)
        elif client.type(key) == b"hash":
            found[key] = client.hgetall(key)
        else:
            value = client.get(key)
            found[key] = backup_file.registers(value) if value.startswith(b"HYLL") else value
    return found


def export(server: RedisServer, path: Path, *namespaces: str) -> backup.Summary:
    use(server)
    return backup.export(connection.client(), namespaces or ["alephbet", "odd"], path, connection.settings())


def load(server: RedisServer, path: Path, into: str | None = None, merge: bool = False) -> backup.Summary:
    use(server)
    return backup.load(connection.client(), path, connection.settings(), into, merge)


@pytest.mark.parametrize("name", ["counts.jsonl", "counts.jsonl.gz"])
def test_reports_of_an_import_into_an_empty_redis_are_byte_identical(source, start, tmp_path, name):
    target = start()
    exported = export(source, tmp_path / name)
    imported = load(target, tmp_path / name)
    assert reports(target, "alephbet", "odd") == reports(source, "alephbet", "odd")
    own = everything(source)
    del own[b"of another program"]
    assert everything(target) == own
    assert b"alephbet:history:exact:counts" in own
    assert (exported.experiments, exported.counters) == (imported.experiments, imported.counters)
    assert own.keys() >= {b"alephbet:settings:draft:versions", b"alephbet:frozen:archived:counts"}
    assert own[b"alephbet:stopped"] == {b"stopped", b"archived"}
    assert b"archived" not in own[b"alephbet:experiments"]
    assert exported.experiments == 4 + len(ODD_NAMES) + 2 + len(LIVES) + 1


def test_the_end_of_a_plan_is_imported_with_its_counts_and_stands(source, start, tmp_path):
    record([Event("alephbet", "exact", "buy", "blue", f"later {number}") for number in range(300)])
    export(source, tmp_path / "f", "alephbet")
    target = start()
    use(target)
    earlier = Ended(4_000, "2001-01-01T10:00:00Z", {"participate": {"red": Count(2_000), "blue": Count(2_000)}})
    target.client().set("alephbet:ended:fine:counts", earlier.as_json())
    load(target, tmp_path / "f")
    found = plans.read(connection.client(), "alephbet", ["exact", "fine", "button color"])
    assert set(found) == {"exact", "fine"}
    assert (found["exact"].planned, "blue" in found["exact"].counts["buy"]) == (4_000, False)
    assert found["fine"] == earlier
    load(target, tmp_path / "f", into="copy")
    assert plans.read(connection.client(), "copy", ["exact"]) == {"exact": found["exact"]}


def span(experiment: str = "fine", namespace: str = "alephbet") -> tuple[int, ...]:
    """The moments of a history in the Redis that is used."""
    (record,) = counters.ask_each(connection.client(), [("GET", keyspace.history_key(namespace, experiment))])
    found = History.decode(record)
    return tuple(moment - START for moment in found.moments) if found else ()


def visit(*uuids: str) -> None:
    record([Event("alephbet", "fine", "participate", "red", uuid) for uuid in uuids])


@pytest.mark.parametrize(("first", "then", "expected"), [(-60, 0, (-60, 0)), (0, 60, (0, 60)), (60, 120, (0,))])
def test_of_two_histories_the_one_that_began_earlier_stands(source, start, tmp_path, first, then, expected):
    export(source, tmp_path / "f")
    target = start()
    use(target)
    for moment in first, then:
        visit(f"before the import {moment}")
        snapshots.take(START + moment)
    load(target, tmp_path / "f", merge=True)
    assert span() == expected
    load(target, tmp_path / "f", merge=True)
    assert span() == expected
    assert span("exact") == (0,)


def test_after_an_import_a_history_goes_on_and_nothing_is_taken_for_new(source, start, tmp_path):
    """What the file has no history of did not begin when it was imported."""
    use(source)
    source.client().delete("alephbet:history:exact:counts")
    export(source, tmp_path / "f")
    target = start()
    use(target)
    snapshots.take(START + 60)
    load(target, tmp_path / "f")
    snapshots.take(START + 120)
    visit("after the import")
    snapshots.take(START + 180)
    assert span() == (0, 120, 180)
    assert span("exact") == (120,)


def test_a_file_without_histories_is_imported_as_before(source, start, tmp_path):
    snapshots_of = [key for key in everything(source) if b":history:" in key]
    source.client().delete(*snapshots_of)
    export(source, tmp_path / "f")
    assert "history" not in (tmp_path / "f").read_text()
    target = start()
    load(target, tmp_path / "f")
    assert reports(target, "alephbet", "odd") == reports(source, "alephbet", "odd")


def test_a_history_of_another_version_is_neither_exported_nor_replaced(source, start, tmp_path, monkeypatch):
    target = start()
    with monkeypatch.context() as patch:
        patch.setattr(histories, "VERSION", 2)
        use(target)
        visit("1")
        snapshots.take(START + 60)
    own = everything(target)[b"alephbet:history:fine:counts"]
    export(target, tmp_path / "theirs", "alephbet")
    assert "history" not in (tmp_path / "theirs").read_text()
    export(source, tmp_path / "f")
    load(target, tmp_path / "f", merge=True)
    snapshots.take(START + 120)
    assert everything(target)[b"alephbet:history:fine:counts"] == own


def test_the_end_of_a_plan_stands_though_reports_are_read_while_importing(source, start, tmp_path, monkeypatch):
    """These find fewer participants, or end the plan with them."""
    export(source, tmp_path / "f")
    target = start()
    written = backup._write

    def and_report(*given):
        written(*given)
        reports(target, "alephbet")

    monkeypatch.setattr(backup, "BATCH", 3)
    with monkeypatch.context() as patch:
        patch.setattr(backup, "_write", and_report)
        load(target, tmp_path / "f")
    assert everything(target)[b"alephbet:ended:fine:counts"] == everything(source)[b"alephbet:ended:fine:counts"]


def test_settings_that_are_there_stand_with_what_was_frozen(source, start, tmp_path):
    target = start()
    export(source, tmp_path / "f")
    use(target)
    record([Event("alephbet", "stopped", "participate", "red", f"u{number}") for number in range(9)])
    change("stopped", owner="somebody")
    change("draft", owner="somebody")
    before = everything(target)
    load(target, tmp_path / "f", merge=True)
    after = everything(target)
    for key in b"alephbet:settings:draft:versions", b"alephbet:settings:stopped:versions":
        assert after[key] == before[key]
    assert after[b"alephbet:statuses"][b"stopped"] == b"running"
    assert after[b"alephbet:stopped"] == {b"archived"}
    assert b"alephbet:frozen:stopped:counts" not in after


def test_a_namespace_of_archived_experiments_alone_is_exported_with_all(source, start, tmp_path):
    use(source)
    record([Event("old", "e", "participate", "red", "u1")])
    for status in "stopped", "archived":
        lives.change(connection.client(), "old", "e", {"status": status})
    assert namespaces.find_namespaces(connection.client()) == ["alephbet", "odd", "old"]
    target = start()
    export(source, tmp_path / "f", "old")
    load(target, tmp_path / "f")
    use(target)
    ((_, report),) = [*gimel_reports.of("old", ["e"])]
    assert report.content["participants"][0]["trials"] == 1
    assert namespaces.find_namespaces(connection.client()) == ["old"]


def test_counts_move_between_all_versions_of_redis_and_valkey(start, tmp_path):
    binaries = redis_process.find_servers()
    if len({redis_process._version(binary)[:1] for binary in binaries}) < 3:
        missing(f"Redis 6.2, 7.0 and Valkey are not all here: {binaries}")
    servers = [start(binary) for binary in binaries]
    for number, server in enumerate(servers):
        fill(server)
        export(server, tmp_path / f"{number}.gz")
        expected = reports(server, "alephbet", "odd")
        for target in servers:
            if target is not server:
                target.client().flushall()
                load(target, tmp_path / f"{number}.gz")
                assert reports(target, "alephbet", "odd") == expected
        server.client().flushall()


def test_an_imported_counter_goes_on_counting_as_the_old_one_would(source, start, tmp_path):
    target = start()
    export(source, tmp_path / "f")
    load(target, tmp_path / "f")
    more = [
        Event("alephbet", name, "participate", "red", f"red {n}") for name in SETTINGS for n in range(8_000, 12_000)
    ]
    for server in (source, target):
        use(server)
        record(more)
    assert reports(target, "alephbet") == reports(source, "alephbet")


def test_an_import_can_be_run_again_and_changes_nothing(source, start, tmp_path):
    target = start()
    export(source, tmp_path / "f")
    load(target, tmp_path / "f")
    reports(target, "alephbet", "odd")  # makes Redis cache counts in the HyperLogLogs
    before = everything(target)
    assert load(target, tmp_path / "f").counters == load(source, tmp_path / "f").counters
    assert everything(target) == before


@pytest.mark.parametrize("after", [1, 2, 3])
def test_an_interrupted_import_is_completed_by_another(source, start, tmp_path, monkeypatch, after):
    target = start()
    export(source, tmp_path / "f")
    written = backup._write
    calls = iter(range(after))

    def interrupted(*given):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        written(*given)

    monkeypatch.setattr(backup, "BATCH", 20)
    with monkeypatch.context() as patch:
        patch.setattr(backup, "_write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load(target, tmp_path / "f")
    partly = everything(target)
    assert 0 < len(partly) < len(everything(source)) - 1
    load(target, tmp_path / "f")
    assert reports(target, "alephbet", "odd") == reports(source, "alephbet", "odd")


def test_a_redis_that_dies_during_an_import_loses_nothing_that_another_does_not_restore(source, start, tmp_path):
    target = start()
    export(source, tmp_path / "f")
    written = backup._write

    def and_stop(*given):
        written(*given)
        target.stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backup, "BATCH", 20)
        patch.setattr(backup, "_write", and_stop)
        with pytest.raises(StoreUnavailable):
            load(target, tmp_path / "f")
    target.start()
    load(target, tmp_path / "f")
    assert reports(target, "alephbet", "odd") == reports(source, "alephbet", "odd")


class TestOtherCounts:
    @pytest.fixture
    def target(self, source, start, tmp_path) -> RedisServer:
        server = start()
        export(source, tmp_path / "f")
        load(server, tmp_path / "f")
        use(server)
        return server

    @pytest.mark.parametrize(
        ("event", "named"),
        [
            (Event("alephbet", "button color", "participate", "red", "new"), "button color:participate:red"),
            (Event("alephbet", "exact", "participate", "red", "new"), "exact:participate:red"),
            (Event("alephbet", "button color", "buy", "green", "new"), "button color:buy:green is not in the file"),
            (Event("alephbet", "another", "buy", "red", "new"), "another is not in the file"),
        ],
    )
    def test_are_never_overwritten_or_mixed(self, target, tmp_path, event, named):
        record([event])
        before = everything(target)
        with pytest.raises(TargetDiffers, match=f"{named}.*--merge.*--into"):
            load(target, tmp_path / "f")
        assert everything(target) == before

    def test_that_are_fewer_than_those_in_the_file_are_noticed_too(self, target, tmp_path):
        target.client().flushall()
        record([Event("alephbet", "exact", "participate", "red", "new")])
        with pytest.raises(TargetDiffers, match="exact:participate:red has another count than in the file"):
            load(target, tmp_path / "f")

    def test_are_added_up_on_request(self, target, source, tmp_path):
        events = [Event("alephbet", name, "participate", "red", f"n{n}") for name in SETTINGS for n in range(500)]
        record(events)
        load(target, tmp_path / "f", merge=True)
        use(source)
        record(events)
        assert reports(target, "alephbet", "odd") == reports(source, "alephbet", "odd")

    def test_in_another_namespace_do_not_matter(self, target, source, tmp_path):
        record([Event("alephbet", "exact", "participate", "red", "new")])
        export(source, tmp_path / "one", "alephbet")
        load(target, tmp_path / "one", into="restored")
        assert reports(target, "restored") == reports(source, "alephbet")

    def test_that_arrive_while_importing_are_not_overwritten(self, target, tmp_path, monkeypatch):
        target.client().flushall()
        event = Event("alephbet", "button color", "participate", "red", "new")
        monkeypatch.setattr(backup._Comparison, "finish", lambda self: record([event]))
        with pytest.raises(TargetDiffers, match="was counted while importing"):
            load(target, tmp_path / "f")
        assert reports(target, "alephbet") != reports(target, "odd")
        assert target.client().pfcount("alephbet:counters:button color:participate:red") == 1


def test_a_file_of_several_namespaces_goes_into_no_single_one(source, start, tmp_path):
    target = start()
    export(source, tmp_path / "f")
    with pytest.raises(BackupError, match="several namespaces"):
        load(target, tmp_path / "f", into="restored")
    assert everything(target) == {}


def test_a_cluster_takes_an_import_and_a_merge(source, start, tmp_path):
    use(source)
    braces = ("{a}b", "a}b{c}", "{}", "{", "{a}{b}")
    record([Event("alephbet", name, "buy", name, f"u{n}") for name in braces for n in range(3)])
    export(source, tmp_path / "f")
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    target = start(None, *options)
    cluster = target.client()
    cluster.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    wait_for(lambda: "cluster_state:ok" in str(cluster.execute_command("CLUSTER", "INFO")), "the cluster")
    load(target, tmp_path / "f")
    assert reports(target, "alephbet", "odd") == reports(source, "alephbet", "odd")
    events = [Event("alephbet", name, "buy", name, f"v{n}") for name in braces for n in range(3)]
    for event in events:
        cluster.pfadd(keyspace.counter_key("alephbet", event.experiment, event.goal, event.variant), event.uuid)
    load(target, tmp_path / "f", merge=True)
    use(source)
    record(events)
    assert reports(target, "alephbet") == reports(source, "alephbet")
    assert not [key for key in everything(target) if key.endswith(b":importing")]


class TestBitmaps:
    """They are merged, and read only if they are complete then, too."""

    @staticmethod
    def record(first: int, end: int, precision: Precision) -> None:
        events = [Event("n", "e", "participate", "red", f"u{number}") for number in range(first, end)]
        counters.record(connection.connect(connection.settings().redis), events, lambda _: precision)

    @pytest.mark.parametrize(
        ("exported", "present", "is_read"),
        [
            ("bitmap", None, True),
            ("bitmap", "bitmap", True),
            ("bitmap-768", "bitmap-768", True),
            ("bitmap", "bitmap-768", False),
            ("bitmap", 1, False),
            (1, "bitmap", False),
        ],
    )
    def test_stay_complete_or_are_left_unread(self, real, tmp_path, exported, present, is_read):
        client = connection.client()
        self.record(0, 4_000, exported)
        backup.export(client, ["n"], tmp_path / "f", connection.settings())
        counters.forget(client, "n", "e")
        if present:
            self.record(2_000, 4_100, present)
        expected = 4_100 if present else 4_000
        for _ in range(2):
            backup.load(client, tmp_path / "f", connection.settings(), merge=bool(present))
            found = counters.count(client, "n", ["e"])["e"]["participate"]["red"]
            assert found.value == pytest.approx(expected, rel=4 * found.error)
            assert (found.error < hyperloglog_error(expected) / 2) == is_read
        assert not [key for key in real.scan_iter() if "importing" in key]

    def test_that_are_interrupted_in_a_merge_are_left_unread(self, real, tmp_path, monkeypatch):
        client = connection.client()
        self.record(0, 4_000, "bitmap")
        backup.export(client, ["n"], tmp_path / "f", connection.settings())
        counters.forget(client, "n", "e")
        self.record(4_000, 4_100, "bitmap")
        with monkeypatch.context() as patch:
            patch.setattr(backup, "_add", lambda entry: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                backup.load(client, tmp_path / "f", connection.settings(), merge=True)
        for _ in range(2):
            found = counters.count(client, "n", ["e"])["e"]["participate"]["red"]
            assert found.value == pytest.approx(4_100, rel=0.02)
            assert found.error == pytest.approx(hyperloglog_error(4_100), rel=0.05)
            backup.load(client, tmp_path / "f", connection.settings(), merge=True)


class TestTheFile:
    @pytest.fixture
    def small(self, start, tmp_path) -> tuple[RedisServer, Path]:
        server = start()
        use(server)
        record([Event("n", name, "buy", "red", f"u{n}") for name in ("e", "exact") for n in range(3)])
        return server, tmp_path / "f"

    def test_can_be_read_by_its_owner_only(self, small):
        server, path = small
        export(server, path, "n")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_says_what_it_is_in_lines_of_json(self, small):
        server, path = small
        export(server, path, "n")
        header, first, counter, *_, end = [json.loads(line)["record"] for line in path.read_text().splitlines()]
        assert (header["gimel"], header["format"], header["version"]) == ("counts of Gimel", 1, gimel.__version__)
        assert header["namespaces"] == {"n": {"experiments": 2, "counters": 2}}
        assert first == {"namespace": "n", "experiment": "e", "settings": {}}
        assert counter["key"] == "counters:e:buy:red"
        assert end["end"] == 5

    @pytest.mark.parametrize("name", ["f", "f.gz"])
    def test_is_refused_with_the_line_whatever_byte_is_flipped_or_cut_off(self, small, name):
        server, path = small
        path = path.with_name(name)
        export(server, path, "n")
        whole = path.read_bytes()
        expected = [entry for entry, _ in backup_file.read(path)]
        for position in range(len(whole)):
            for bit in (1, 128):
                path.write_bytes(whole[:position] + bytes([whole[position] ^ bit]) + whole[position + 1 :])
                try:
                    # Some bits of gzip's own mean nothing: its time, and those after the last of the data.
                    assert [entry for entry, _ in backup_file.read(path)] == expected
                    assert name == "f.gz"
                except DamagedFile:
                    pass
            path.write_bytes(whole[:position])
            assert_refused(path)
        path.write_bytes(whole + whole)
        assert_refused(path)

    def test_is_refused_if_lines_are_swapped_lost_or_doubled(self, small):
        server, path = small
        export(server, path, "n")
        lines = path.read_bytes().splitlines(keepends=True)
        for changed in (
            [lines[0], *lines[3:5], *lines[1:3], *lines[5:]],
            [*lines[:2], *lines[3:]],
            [*lines[:3], *lines[2:]],
            lines[:-1],
        ):
            path.write_bytes(b"".join(changed))
            assert_refused(path)

    def test_that_is_damaged_at_its_end_changes_nothing(self, small):
        server, path = small
        export(server, path, "n")
        path.write_bytes(path.read_bytes()[:-2])
        server.client().flushall()
        with pytest.raises(DamagedFile, match="is damaged at line 6: use another copy"):
            load(server, path)
        assert everything(server) == {}

    @pytest.mark.parametrize(
        "record",
        [
            {"namespace": "n", "experiment": "e", "key": "experiments", "set": ["eA=="]},
            {"namespace": "n", "experiment": "e", "key": "counters:other:buy:red"},
            {"namespace": "n", "experiment": "e", "key": "counters:e:buy:red", "hyperloglog": "eA=="},
            {"namespace": "n", "experiment": "e", "key": "counters:e:buy:red", "bitmaps": {"bitmap": "eA=="}},
            {**HYPERLOGLOG, "bitmaps": {"bitmap-1": "eA=="}},
            {**HYPERLOGLOG, "bitmaps": {"bitmap": base64.b64encode(bytes(192 * 1024)).decode()}},
            {"namespace": 5, "experiment": "e"},
            {"namespace": "n", "experiment": "e", "settings": 5},
            {"namespace": "n", "experiment": "e", "ended": '{"version": 2}'},
            {"namespace": "n", "experiment": "e", "ended": 5},
            {"namespace": "n", "experiment": "e", "history": "AAAA"},
            {"namespace": "n", "experiment": "e", "history": 5},
            {"namespace": "n", "experiment": "e", "record": "{}", "version": 1},
            {"namespace": "n", "experiment": "e", "record": '{"status":"running"}', "version": 0},
            {"namespace": "n", "experiment": "e", "record": '{"status":"running"}', "version": 1, "frozen": "AAAA"},
            {"namespace": "n", "experiment": "e", "frozen": "AAAA"},
            {"experiment": "e"},
            [],
        ],
    )
    def test_with_right_checksums_and_wrong_content_is_refused(self, tmp_path, record):
        class Forged:
            def as_record(self):
                return record

        backup_file.write(tmp_path / "f", {"version": "2"}, [Forged()])
        assert_refused(tmp_path / "f")

    def test_of_a_later_format_asks_for_an_upgrade(self, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(backup_file, "FORMAT", 2)
            backup_file.write(tmp_path / "f", {"version": "3.1"}, [])
        with pytest.raises(BackupError, match=r"has format 2 of Gimel 3\.1; this Gimel reads 1: upgrade Gimel"):
            list(backup_file.read(tmp_path / "f"))

    def test_that_is_none_is_refused(self, tmp_path):
        (tmp_path / "f").write_text('{"redis": {}}')
        with pytest.raises(DamagedFile, match="is not an export of Gimel"):
            list(backup_file.read(tmp_path / "f"))

    def test_is_never_overwritten(self, small):
        server, path = small
        path.write_text("mine")
        with pytest.raises(BackupError, match="already exists"):
            export(server, path, "n")
        assert path.read_text() == "mine"

    def test_leaves_nothing_behind_if_the_export_fails(self, small, tmp_path):
        server, path = small
        server.client().set("n:counters:e:buy:blue", "no HyperLogLog")
        server.client().sadd("n:e:counter_keys", "n:counters:e:buy:blue")
        with pytest.raises(BackupError, match="n:counters:e:buy:blue is not a HyperLogLog"):
            export(server, path, "n")
        assert [each.name for each in tmp_path.iterdir() if each.is_file()] == []

    def test_does_not_look_whole_if_the_export_is_killed(self, source, tmp_path):
        program = (
            "import os, signal, sys; from pathlib import Path\n"
            "from gimel import connection; from gimel.ops import backup\n"
            "die = lambda done, total: done > 5 and os.kill(os.getpid(), signal.SIGKILL)\n"
            "found = connection.settings(), connection.client()\n"
            "backup.export(found[1], ['alephbet', 'odd'], Path(sys.argv[1]), found[0], die)"
        )
        environ = {**os.environ, "GIMEL_REDIS_URL": source.url, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", program, tmp_path / "f"], env=environ, cwd=tmp_path, timeout=60)
        assert done.returncode == -signal.SIGKILL
        assert not (tmp_path / "f").exists()
        (partial,) = tmp_path.glob("f.*.partial")
        assert_refused(partial)

    def test_takes_memory_for_names_and_not_for_visitors(self, start, tmp_path, monkeypatch):
        monkeypatch.setattr(backup, "BATCH", 10)
        server = start()
        use(server)
        client = server.client()
        record([Event("n", "exact", "buy", "red", "u")])
        peaks = []
        for size in (20_000, 160_000):
            for first in range(0, size, 20_000):
                client.sadd("n:exact:exact:buy:red", *(f"{number:08}" for number in range(first, first + 20_000)))
            path = tmp_path / f"f{size}"
            tracemalloc.start()
            export(server, path, "n")
            load(server, path)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < 1.5 * peaks[0]


def assert_refused(path: Path) -> None:
    with pytest.raises(DamagedFile, match=f"{path.name} (is damaged at line [0-9]+|is not an export of Gimel)"):
        list(backup_file.read(path))


class TestCommands:
    @pytest.fixture
    def here(self, source, monkeypatch, tmp_path) -> RedisServer:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("GIMEL_REDIS_URL", source.url)
        return source

    def test_say_what_they_did(self, here, start, monkeypatch, tmp_path):
        told = "8 experiments with 15 counters of namespace alephbet"
        assert run("export", "f.gz").stdout == f"Exported {told} to f.gz\n"
        target = start()
        monkeypatch.setenv("GIMEL_REDIS_URL", target.url)
        assert run("import", "f.gz").stdout == f"Imported {told} from f.gz\n"
        assert "of namespace copy from f.gz" in run("import", "f.gz", "--into", "copy").stdout
        assert reports(target, "copy") == reports(here, "alephbet")

    def test_all_namespaces_go_into_one_file(self, here, start, monkeypatch):
        assert "of namespace alephbet, odd to f" in run("export", "--all-namespaces", "f").stdout
        target = start()
        monkeypatch.setenv("GIMEL_REDIS_URL", target.url)
        run("import", "f")
        assert reports(target, "alephbet", "odd") == reports(here, "alephbet", "odd")

    def test_an_unknown_namespace_is_an_error_that_names_the_known_ones(self, here, tmp_path):
        error = fail(BackupError, "export", "--namespace", "nobody's", "f")
        assert "no experiments to export in nobody's: namespaces with experiments: alephbet, odd" in error
        assert not (tmp_path / "f").exists()

    def test_a_wrong_namespace_or_file_is_an_error(self, here, tmp_path):
        assert "namespace contains a colon" in fail(BadRequest, "import", "f", "--into", "a:b")
        for empty in "", "undefined":
            assert "--into needs the name of a namespace" in run("import", "f", "--into", empty, code=2).stderr
        assert "cannot read nothing (No such file or directory)" in fail(BackupError, "import", "nothing")
        assert "cannot write no/f (No such file or directory)" in fail(BackupError, "export", "no/f")

    def test_settings_that_the_target_lacks_are_shown(self, here, tmp_path):
        (tmp_path / "config.json").write_text(
            '{"experiments": {"exact": {"baseline": "red", "per_visitor": ["view"]}}}'
        )
        run("export", "f")
        assert run("import", "f").stderr == ""
        (tmp_path / "config.json").unlink()
        shown = run("import", "f").stderr
        assert "settings that this config.json lacks" in shown
        settings = {"exact": {"baseline": "red", "per_visitor": ["view"]}}
        assert json.loads(shown[shown.index("{") :]) == {"experiments": settings}

    def test_the_redis_of_gimel_serve_is_used_running_or_not(self, serve, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        server = serve("--data", str(tmp_path / "d"))
        ask = f"{server.url}/track?experiment=e&variant=v&event=participate&uuid=u"
        assert urlopen(ask, timeout=30).read() == b"null"
        run("export", "running", "--data", str(tmp_path / "d"))
        server.stop()
        run("export", "stopped", "--data", str(tmp_path / "d"))
        running, stopped = (  # the first snapshot may be taken before, between or after them
            [entry for entry, _ in backup_file.read(tmp_path / name) if not entry.history]
            for name in ("running", "stopped")
        )
        assert running == stopped
        assert "Imported 1 experiments" in run("import", "running", "--data", str(tmp_path / "d")).stdout
