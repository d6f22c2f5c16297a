"""Counters with a bitmap, on a real Redis: it is read only if it has every visitor that the HyperLogLog has."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations

import pytest
import redis

import gimel
from gimel import connection, counters, keyspace
from gimel.config import Config, RedisSettings
from gimel.events import Event
from gimel.hyperloglog import BITMAPS, EXACT, Count, bitmap_error, hyperloglog_error

from .calls import EVENT, taking_part

BITS = BITMAPS["bitmap"]
KINDS = [1, 16, "bitmap", "bitmap-768", EXACT]
COUNTER = "n:counters:e:participate:red"
BITMAP = "n:bitmap:{n:counters:e:participate:red}"
LISTED = "n:complete-bitmap:e:participate:red"
OWN = "n:e:counter_keys"


def events(numbers: Iterable[int], goal: str = "participate", variant: str = "red") -> list[Event]:
    return [Event("n", "e", goal, variant, f"u{number}") for number in numbers]


def record(found: list[Event], precision="bitmap", client=None) -> None:
    counters.record(client or connection.client(), found, lambda _: precision)


def another() -> redis.Redis:
    """The client of another process."""
    return connection.connect(connection.settings().redis)


def count() -> Count:
    return counters.count(connection.client(), "n", ["e"])["e"]["participate"]["red"]


def of_bitmap(found: Count) -> bool:
    return found.error == pytest.approx(bitmap_error(found.value, BITS), rel=0.01)


def of_hyperloglog(found: Count) -> bool:
    return found.error == pytest.approx(hyperloglog_error(found.value), rel=0.01)


@pytest.mark.parametrize("kind", BITMAPS)
def test_every_visitor_goes_to_gimels_own_hyperloglog_and_to_a_bitmap(real, kind):
    for _ in range(2):
        record(events(range(3_000)), kind)
    found = count()
    bits = BITMAPS[kind]
    assert found.value == pytest.approx(3_000, rel=4 * found.error)
    assert found.error == pytest.approx(bitmap_error(3_000, bits), rel=0.01)
    assert found.settled_error == pytest.approx(bitmap_error(bits, bits), rel=0.01)
    assert real.pfcount(COUNTER) == pytest.approx(3_000, rel=0.03)
    assert set(real.scan_iter()) == {
        *("n:experiments", "n:counter_keys", OWN, "gimel-namespaces", COUNTER),
        keyspace.bitmap_key(kind, "n", "e", "participate", "red"),
    }
    assert real.smembers(OWN) == {COUNTER, keyspace.listed_bitmap(kind, "n", "e", "participate", "red")}
    assert real.smembers("n:counter_keys") == {COUNTER}


def test_a_new_counter_takes_a_second_round_trip_and_a_known_one_none(real, round_trips):
    connection.client().ping()
    for numbers, expected in ([1], 2), ([2], 1), (range(3, 500), 1):
        round_trips()
        record(events(numbers))
        assert round_trips() == expected
    assert count().value == 499
    assert of_bitmap(count())
    other = another()
    other.ping()
    round_trips()
    record(events([1]), client=other)
    assert round_trips() == 1


def test_a_known_counter_costs_two_commands_that_ask_and_two_that_count(single):
    record(events([1]))
    single.config_resetstat()
    record(events([2]))
    found = {name: one["calls"] for name, one in single.info("commandstats").items() if "config" not in name}
    assert found == {"cmdstat_exists": 2, "cmdstat_pfadd": 1, "cmdstat_setbit": 1}


@pytest.mark.parametrize("kind", BITMAPS)
def test_a_bitmap_takes_no_more_memory_than_it_has_bits_from_its_first_visitor_on(single, kind):
    key = keyspace.bitmap_key(kind, "n", "e", "participate", "red")
    for numbers in [1], range(2_000):
        record(events(numbers), kind)
        assert single.strlen(key) * 8 == BITMAPS[kind] + 1
        assert single.memory_usage(key) * 8 < BITMAPS[kind] + 2_000
    assert not single.getbit(key, BITMAPS[kind])


@pytest.mark.parametrize(("before", "after"), list(permutations(KINDS, 2)))
def test_no_change_of_the_precision_loses_a_count(real, before, after):
    """The second kind counts so few that a bitmap without them would look complete."""
    record(events(range(4_000)), before)
    record(events(range(4_000, 4_100)), after, another())
    assert count().value == pytest.approx(4_100, rel=0.01)
    record(events(range(4_100, 4_200)), before, another())
    assert count().value == pytest.approx(4_200, rel=0.01)
    record(events(range(4_000)), after, another())
    assert 4_150 < count().value < 2.05 * 4_200


@pytest.mark.parametrize("before", [1, 16, "bitmap-768"])
def test_a_bitmap_that_began_after_its_hyperloglog_is_never_read(real, before):
    record(events(range(50)), before)
    for _ in range(2):
        record(events(range(50, 100)), client=another())
    assert real.exists(BITMAP)
    assert LISTED not in real.smembers(OWN)
    assert count().value == pytest.approx(100, abs=1)
    assert count().error > 2 * bitmap_error(100, BITS)


def test_a_bitmap_that_its_maker_did_not_list_is_never_read(real, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(counters, "_list_complete", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            record(events(range(100)))
    now = counters.time.monotonic() + counters.KNOWN_S
    monkeypatch.setattr(counters.time, "monotonic", lambda: now)
    for client in connection.client(), another():
        for _ in range(2):
            record(events(range(100)), client=client)
    assert real.smembers(OWN) == {COUNTER}
    assert of_hyperloglog(count())


def test_a_bitmap_is_listed_though_the_first_attempt_to_do_so_fails(real, monkeypatch):
    list_complete, failures = counters._list_complete, [redis.ConnectionError()]

    def fail_once(*given):
        if failures:
            raise failures.pop()
        list_complete(*given)

    monkeypatch.setattr(counters, "_list_complete", fail_once)
    record(events(range(100)))
    assert not failures
    assert of_bitmap(count())


@pytest.mark.parametrize("number", [1, 100])
def test_a_counter_that_another_process_deleted_has_a_complete_bitmap_again(real, number):
    record(events(range(number)))
    counters.forget(another(), "n", "e")
    assert list(real.scan_iter()) == []
    record(events(range(number)))
    assert LISTED in real.smembers(OWN)
    assert count().value == number
    assert of_bitmap(count())


@pytest.mark.parametrize("before", ["bitmap", 1])
def test_deleting_takes_bitmaps_that_are_listed_and_those_that_are_not(real, before):
    record(events(range(10)), before)
    record(events(range(10, 20)), "bitmap", another())
    record(events(range(10, 20)), "bitmap-768", another())
    assert real.exists(BITMAP)
    counters.forget(connection.client(), "n", "e")
    assert list(real.scan_iter()) == []


def test_a_bitmap_that_is_deleted_while_it_is_listed_leaves_no_list(real, monkeypatch):
    complete = counters._list_complete

    def deleted_before(*given):
        counters.forget(another(), "n", "e")
        complete(*given)

    monkeypatch.setattr(counters, "_list_complete", deleted_before)
    record(events(range(10)))
    assert list(real.scan_iter()) == []


def test_what_a_rollback_counted_without_the_bitmap_is_not_lost(real):
    record(events(range(4_000)))
    assert of_bitmap(count())
    for number in range(4_000, 4_400):
        real.pfadd(COUNTER, f"u{number}")  # as Gimel 1.x does
    assert count().value == real.pfcount(COUNTER) == pytest.approx(4_400, rel=0.02)
    assert of_hyperloglog(count())


def test_a_bitmap_without_its_hyperloglog_counts_nothing(real):
    record(events(range(10)))
    real.delete(COUNTER)
    assert count() == Count(0)
    record(events(range(10, 13)), client=another())
    assert count().value == 3


def test_a_full_bitmap_gives_way_to_the_hyperloglog(real):
    record(events(range(100)))
    real.setrange(BITMAP, 0, b"\xff" * (BITS // 8))
    found = count()
    assert (found.value, found.is_full) == (real.pfcount(COUNTER), True)
    assert of_hyperloglog(found)


def test_odd_names_are_no_other_counters(real):
    record([Event("n", "complete-bitmap:e", "participate", "red", "u1"), *events(range(3)), *events([1], "complete")])
    record([Event("n", "bitmap:e", "participate", "red", "u1")], 1)
    assert count().value == 3
    counters.forget(connection.client(), "n", "e")
    assert real.exists(*(f"n:counters:{name}:e:participate:red" for name in ("complete-bitmap",)))
    assert real.exists("n:counters:bitmap:e:participate:red")


def test_a_user_who_may_not_set_bits_is_not_healthy_if_there_are_bitmaps(single):
    single.acl_setuser("few", enabled=True, passwords=["+p"], categories=["+@all"], keys=["*"], commands=["-setbit"])
    try:
        few = RedisSettings(url=connection.settings().redis.url.replace("//", "//few:p@"))
        connection.use(Config(redis_settings=few))
        gimel.health({})
        connection.use(Config(redis_settings=few, precision="bitmap"))
        answer = gimel.health({"httpMethod": "GET"})
        assert answer["statusCode"] == 503
    finally:
        single.acl_deluser("few")


def test_a_report_shows_what_a_bitmap_counts(real):
    connection.use(Config(redis_settings=connection.settings().redis_settings, precision="bitmap"))
    for number in range(40):
        gimel.track({**EVENT, "uuid": f"u{number}"})
    assert taking_part(gimel.all({})[1]) == {"red": 40}
