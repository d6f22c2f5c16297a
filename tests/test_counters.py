"""The store, on a real Redis."""

from concurrent.futures import ThreadPoolExecutor

import pytest

import gimel
from gimel import config, connection, counters, keyspace, lives
from gimel.errors import StoreUnavailable
from gimel.events import Event
from gimel.hyperloglog import EXACT, Count, hyperloglog_error

from .calls import EVENT, participants, taking_part

ODD_NAMES = [
    "a:b",
    ":",
    "100%",
    "%3A",
    "%25",
    "%%3A:",
    "%253A",
    " a b ",
    "🎯",
    "名前",
    "a+b&c=d",
    "x" * 200,
    "<b>",
    "%2%3A",
    "counter_keys",
    "counter%5Fkeys",
]


def events(count: int, experiment: str = "e", variant: str = "red", goal: str = "participate") -> list[Event]:
    return [Event("alephbet", experiment, goal, variant, f"u{number}") for number in range(count)]


def record(found: list[Event], precision=1) -> None:
    counters.record(connection.client(), found, lambda experiment: precision)


def count(*names: str, namespace: str = "alephbet") -> dict[str, dict[str, dict[str, int]]]:
    """The counts' values alone."""
    found = counters.count(connection.client(), namespace, names or ["e"])
    return {
        name: {goal: {variant: one.value for variant, one in variants.items()} for goal, variants in goals.items()}
        for name, goals in found.items()
    }


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_escaped_name_holds_no_colon_and_is_read_back(name):
    assert ":" not in keyspace.escape(name)
    assert keyspace.unescape(keyspace.escape(name)) == name


@pytest.mark.parametrize("name", ["red", "100%", "5% off", "größer", "a b"])
def test_usual_names_stay_as_gimel_wrote_them(name):
    assert keyspace.escape(name) == name


@pytest.mark.parametrize("precision", [1, 16, EXACT])
def test_odd_names_come_back_as_they_went_in(real, precision):
    record([Event("n", name, name, name, uuid) for name in ODD_NAMES for uuid in ("u1", "u2", "u3")], precision)
    assert counters.overview(connection.client(), "n")[0] == sorted(ODD_NAMES)
    assert count(*ODD_NAMES, namespace="n") == {name: {name: {name: 3}} for name in ODD_NAMES}


def test_a_name_that_is_not_utf_8_does_not_hide_the_others(real):
    record(events(1))
    real.sadd("alephbet:experiments", b"caf\xe9")
    assert counters.overview(connection.client(), "alephbet")[0] == ["caf\N{REPLACEMENT CHARACTER}", "e"]
    key = b"alephbet:counters:e:participate:caf\xe9"
    real.sadd("alephbet:e:counter_keys", key)
    real.pfadd(key, "u1", "u2")
    assert count() == {"e": {"participate": {"red": 1, "caf\N{REPLACEMENT CHARACTER}": 2}}}


def test_goal_and_variant_are_read_from_the_right_as_gimel_1_did(real):
    key = "alephbet:counters:e:shop:buy:red"
    real.sadd("alephbet:e:counter_keys", key)
    real.pfadd(key, "u1")
    assert count() == {"e": {"buy": {"red": 1}}}


def test_what_gimel_1_wrote_is_read(real):
    key = "alephbet:counters:shop: colors:buy:red"
    real.sadd("alephbet:experiments", "shop: colors")
    real.sadd("alephbet:counter_keys", key, key.replace("buy", "participate"))
    real.sadd("alephbet:shop: colors:counter_keys", key, key.replace("buy", "participate"))
    real.pfadd(key, "u1", "u2")
    real.pfadd(key.replace("buy", "participate"), "u1", "u2", "u3")
    (found,) = gimel.experiment({"experiment": "shop: colors"})
    (result,) = found["results"]
    assert (found["goal"], result["label"], result["successes"], result["trials"]) == ("buy", "red", 2, 3)


def test_gimel_1_reads_what_is_written(real):
    gimel.track({**EVENT, "event": "buy"})
    key = "alephbet:counters:button color:buy:red"
    assert real.smembers("alephbet:experiments") == {"button color"}
    assert real.smembers("alephbet:counter_keys") == {key}
    assert real.smembers("alephbet:button color:counter_keys") == {key}
    assert real.pfcount(key) == 1
    assert sorted(real.scan_iter()) == sorted(
        ["alephbet:experiments", "alephbet:counter_keys", "alephbet:button color:counter_keys", key, "gimel-namespaces"]
    )


@pytest.mark.parametrize("precision", [1, 16, EXACT])
@pytest.mark.parametrize("number", [1, 500])
def test_recording_is_one_round_trip_whatever_the_number_of_events(real, round_trips, number, precision):
    record(events(1), precision)
    round_trips()
    record([*events(number), *events(number, "other", "blue", "buy")], precision)
    assert round_trips() == 1


@pytest.mark.parametrize(("count", "precision"), [(0, 1), (1, 1), (50, 16), (50, EXACT)])
def test_a_report_is_four_round_trips_whatever_the_number_of_experiments(real, round_trips, count, precision):
    for number in range(count):
        record(events(2, f"e{number}"), precision)
    connection.client().ping()
    round_trips()
    assert len(gimel.all({})) == count + 1
    assert round_trips() == (4 if count else 1)
    gimel.experiment({"experiment": "e0"})
    assert round_trips() <= 2


@pytest.mark.parametrize("name", ODD_NAMES)
def test_the_settings_of_an_experiment_of_any_name_are_read_back(real, name):
    """Here, as the other tests of settings need no cluster."""
    versions = [lives.change(connection.client(), "alephbet", name, {"note": note}).version for note in "123456"]
    assert versions == [1, 2, 3, 4, 5, 6]
    found = lives.read(connection.client(), "alephbet", [name, "other"])
    assert (found[name].note, found["other"].version) == ("6", 0)
    assert sorted(real.hkeys(f"alephbet:settings:{name}:versions")) == ["2", "3", "4", "5", "6"]


def test_counters_are_read_in_batches_of_bounded_size(real, monkeypatch):
    for name, variants in {"a": 2, "b": 3, "c": 9, "d": 1, "e": 4, "f": 1}.items():
        for variant in range(variants):
            record(events(1, name, str(variant)), 1)
    monkeypatch.setattr(counters, "KEYS_AT_ONCE", 5)
    found = list(counters.batches(connection.client(), "alephbet", ["a", "b", "c", "d", "e", "f", "unknown"]))
    assert found == [["a", "b"], ["c"], ["d", "e"], ["f", "unknown"]]
    assert [len(item["participants"]) for item in gimel.all({})[1:]] == [2, 3, 9, 1, 4, 1]
    assert list(counters.batches(connection.client(), "alephbet", [])) == []


@pytest.mark.parametrize("precision", [1, 4, 16, 64, 256])
def test_a_count_is_within_its_own_error(single, precision):
    for size in (500, 1_000, 4_500, 34_000):
        record([Event("n", "e", "participate", "red", f"{size} {number}") for number in range(size)], precision)
        found = counters.count(connection.client(), "n", ["e"])["e"]["participate"]["red"]
        seen = {500: 500, 1_000: 1_500, 4_500: 6_000, 34_000: 40_000}[size]
        assert abs(found.value / seen - 1) < 3 * found.error
    assert found.error == pytest.approx(hyperloglog_error(seen, precision), rel=0.03)


def test_an_exact_count_is_exact(real):
    for _ in range(2):
        record(events(5_000), EXACT)
    assert counters.count(connection.client(), "alephbet", ["e"])["e"]["participate"]["red"] == Count(5_000, 0.0)


def test_precision_one_has_gimels_own_keys_and_sixteen_adds_its_shards(real):
    record(events(200))
    before = set(real.scan_iter())
    record(events(200), 16)
    shards = set(real.scan_iter()) - before
    assert shards == {f"alephbet:shards:e:participate:red:{number}" for number in range(1, 16)}
    assert real.scard("alephbet:e:counter_keys") == 16


def test_a_uuid_stays_in_its_shard_in_every_process_and_version(real):
    record(
        [Event("n", "e", "buy", "red", uuid) for uuid in ("u1", "u2", "9e6682a8bed119f9149c0b4f5d6b88298f0cd1bd")], 256
    )
    assert {key.rpartition(":")[2] for key in real.scan_iter("n:shards:*")} == {"100", "174", "213"}


def test_raising_the_precision_loses_no_count(real):
    record(events(100))
    record([Event("alephbet", "e", "participate", "red", f"later {number}") for number in range(100)], 16)
    record([Event("alephbet", "e", "participate", "red", f"last {number}") for number in range(100)], EXACT)
    assert count()["e"]["participate"]["red"] == pytest.approx(300, abs=3)


def test_a_repeat_after_the_precision_was_raised_counts_twice_at_most(real):
    record(events(160))
    record(events(160), 16)
    # One in sixteen is in the shard that is Gimel's own key.
    assert 160 < count()["e"]["participate"]["red"] < 320


def test_precision_makes_no_two_counters_share_a_key(real):
    record([Event("n", "a", "b", "c", f"{number}") for number in range(500)], 16)
    record([Event("n", "a:b", "c", "3", "1")])
    record([Event("n", "a:b", "c", "set", "1"), Event("n", "counters:a", "b", "c", "1")])
    found = count("a", "a:b", "counters:a", namespace="n")
    assert found["a"]["b"]["c"] == pytest.approx(500, rel=0.01)
    assert found["a:b"] == {"c": {"3": 1, "set": 1}}
    counters.forget(connection.client(), "n", "a")
    assert count("a", "a:b", namespace="n") == {"a": {}, "a:b": {"c": {"3": 1, "set": 1}}}


@pytest.mark.parametrize("precision", [16, EXACT])
def test_deleting_takes_every_shard(real, precision):
    record(events(300), precision)
    counters.forget(connection.client(), "alephbet", "e")
    assert list(real.scan_iter()) == []


def test_the_same_event_from_many_threads_counts_once(real):
    with ThreadPoolExecutor(20) as threads:
        list(threads.map(lambda _: gimel.track(EVENT), range(200)))
    assert participants(real) == 1
    assert taking_part(gimel.all({})[1]) == {"red": 1}


def test_deleting_takes_one_experiment_and_nothing_else(real):
    for experiment in ("a", "a:b", "b"):
        record(events(3, experiment))
    real.set("somebody's", "own")
    before = {key: real.type(key) for key in real.scan_iter()}
    counters.forget(connection.client(), "alephbet", "a")
    gone = {"alephbet:counters:a:participate:red", "alephbet:a:counter_keys"}
    assert {key: real.type(key) for key in real.scan_iter()} == {
        key: kind for key, kind in before.items() if key not in gone
    }
    assert real.smembers("alephbet:experiments") == {"a:b", "b"}
    assert real.scard("alephbet:counter_keys") == 2
    counters.forget(connection.client(), "alephbet", "never there")
    assert real.smembers("alephbet:experiments") == {"a:b", "b"}


def test_a_full_redis_can_be_relieved_by_deleting(redis_server):
    connection.use(config.Config(redis_settings=config.RedisSettings(url=redis_server.url)))
    for number in range(40):
        record(events(3_000, variant=f"v{number}"))
    client = redis_server.client()
    client.config_set("maxmemory", client.info("memory")["used_memory"] - 200_000)
    with pytest.raises(StoreUnavailable):
        record(events(1))
    counters.forget(connection.client(), "alephbet", "e")
    assert list(client.scan_iter()) == []
    record(events(1))


def test_a_key_of_another_type_is_an_error_and_never_overwritten(real):
    real.set("alephbet:counter_keys", "not a set")
    with pytest.raises(StoreUnavailable):
        record(events(1))
    assert real.get("alephbet:counter_keys") == "not a set"


def test_one_node_records_an_event_in_one_transaction(single):
    single.config_resetstat()
    record(events(1))
    assert single.info("commandstats")["cmdstat_exec"]["calls"] == 1


def test_other_keys_in_an_experiments_set_are_neither_reported_nor_deleted(real):
    record(events(1))
    record(events(2, "other"))
    foreign = {
        "foreign",
        "a:b",
        "alephbet:counters:e:x",
        "alephbet:shards:e:x:1",
        "alephbet:counters:other:participate:red",
    }
    real.set("foreign", "own")
    real.sadd("alephbet:e:counter_keys", *foreign)
    assert count("e", "other") == {"e": {"participate": {"red": 1}}, "other": {"participate": {"red": 2}}}
    counters.forget(connection.client(), "alephbet", "e")
    assert real.get("foreign") == "own"
    assert count("e", "other") == {"e": {}, "other": {"participate": {"red": 2}}}
    assert real.smembers("alephbet:counter_keys") == {"alephbet:counters:other:participate:red"}


def test_a_counter_and_a_set_never_share_a_key(real):
    record([Event("n", "e", "g", "counter_keys", "u1"), Event("n", "counters:e:g", "participate", "red", "u1")])
    assert count("e", "counters:e:g", namespace="n") == {
        "e": {"g": {"counter_keys": 1}},
        "counters:e:g": {"participate": {"red": 1}},
    }
