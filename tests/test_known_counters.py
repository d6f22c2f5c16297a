"""Events of counters that a process has listed already: whatever others do meanwhile, each is counted and listed."""

import threading
import time
from dataclasses import replace

import pytest
import redis

from gimel import connection, counters, keyspace, outages, round_trip
from gimel.errors import StoreUnavailable
from gimel.events import Event
from gimel.hyperloglog import EXACT

from .test_limits import SMALL

PRECISIONS = [1, 16, "bitmap", EXACT]
ONE_PACKET = 1_400
"""Redis reads a message of this many bytes at once."""

WAIT_S = 20


def events(count=1, goal="participate", experiment="e", first=0) -> list[Event]:
    return [Event("n", experiment, goal, "red", f"u{number}") for number in range(first, first + count)]


def record(found: list[Event], precision=1, limits=None) -> list[Event]:
    return [one for one, _ in counters.record(connection.client(), found, lambda _: precision, limits)]


def another() -> redis.Redis:
    """The client of another process, which knows nothing of what this one has listed."""
    return connection.connect(connection.settings().redis)


def total(goal="participate", experiment="e") -> int:
    found = counters.count(another(), "n", [experiment])[experiment]
    return found[goal]["red"].value if goal in found else 0


def assert_listed(real: redis.Redis) -> None:
    """Every key that counts is found by a report, and every list holds nothing but what exists."""
    bitmaps = [key[len("n:bitmap:{") : -1].split(":") for key in real.scan_iter("n:bitmap:*")]
    keys = {key for key in real.scan_iter("n:*") if key.split(":")[1] in keyspace.KINDS}
    keys |= {":".join(("n", "complete-bitmap", *names[2:])) for names in bitmaps}
    experiments = real.smembers("n:experiments")
    assert {key.split(":")[2] for key in keys} == experiments
    assert set().union(*(real.smembers(f"n:{name}:counter_keys") for name in experiments), set()) == keys
    assert bool(experiments) == real.sismember("gimel-namespaces", "n")
    counted = {f"n:counters:{':'.join(key.split(':')[2:5])}" for key in keys}
    assert real.smembers("n:counter_keys") == counted


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_event_after_a_delete_by_another_process_is_listed_and_counted(real, precision):
    record(events(), precision)
    counters.forget(another(), "n", "e")
    record(events(3), precision)
    assert total() == 3
    assert_listed(real)


def test_a_known_counter_costs_one_command_that_asks_and_one_that_counts(single):
    record(events())
    single.config_resetstat()
    record(events(first=1))
    found = {name: one["calls"] for name, one in single.info("commandstats").items() if "config" not in name}
    assert found == {"cmdstat_exists": 1, "cmdstat_pfadd": 1}


@pytest.mark.parametrize(("name", "transactions"), [("e" * 80, 0), ("\N{GRINNING FACE}" * 200, 1)])
def test_a_message_that_redis_may_read_in_parts_is_a_transaction(single, name, transactions):
    record(events(experiment=name))
    single.config_resetstat()
    record(events(first=1, experiment=name))
    assert single.info("commandstats").get("cmdstat_exec", {"calls": 0})["calls"] == transactions


def test_a_user_who_may_not_count_known_counters_is_not_healthy(single):
    single.acl_setuser("few", enabled=True, passwords=["+p"], categories=["+@all"], keys=["*"], commands=["-exists"])
    try:
        few = replace(connection.settings().redis, username="few", password="p")
        with pytest.raises(StoreUnavailable, match="denies"):
            counters.check_writable(connection.connect(few))
    finally:
        single.acl_deluser("few")


def test_a_shard_that_is_new_is_listed_though_its_counter_is_known(real):
    record(events(), 16)
    record(events(100, first=1), 16)
    assert real.scard("n:e:counter_keys") == 16
    assert_listed(real)


def test_a_shard_whose_maker_did_not_list_it_is_listed_by_others_that_know_its_counter(real):
    record(events(), 16)
    later = events(100, first=1)
    counters.record(another(), later, lambda _: 16)
    made = real.smembers("n:e:counter_keys")
    real.srem("n:e:counter_keys", *sorted(made)[1:])  # as if the other process had ended too early
    record(later, 16)
    assert real.smembers("n:e:counter_keys") == made
    assert_listed(real)


def test_a_counter_is_listed_again_after_a_while(real, monkeypatch):
    record(events())
    real.delete("n:e:counter_keys", "n:counter_keys", "n:experiments")  # as a failover may lose them
    record(events(first=1))
    now = time.monotonic() + counters.KNOWN_S
    monkeypatch.setattr(counters.time, "monotonic", lambda: now)
    record(events(first=2))
    assert total() == 3
    assert_listed(real)


def test_a_counter_that_another_process_made_and_undid_is_listed_anew(real):
    record(events(), limits=SMALL)
    counters.forget(another(), "n", "e")
    for number in range(SMALL.experiments):
        counters.record(another(), events(experiment=f"e{number}"), lambda _: 1, SMALL)
    assert counters.record(another(), events(), lambda _: 1, SMALL)
    assert record(events(), limits=SMALL)
    assert_listed(real)
    counters.forget(another(), "n", "e0")
    assert not record(events(), limits=SMALL)
    assert total() == 1
    assert_listed(real)


def test_many_counters_that_were_deleted_and_are_beyond_the_limits_now_leave_nothing(real, monkeypatch):
    monkeypatch.setattr(counters, "MANY", 2)
    many = [one for goal in ("participate", "a", "b") for one in events(goal=goal)]
    record(many, limits=SMALL)
    counters.forget(another(), "n", "e")
    for number in range(SMALL.experiments):
        counters.record(another(), events(experiment=f"e{number}"), lambda _: 1, SMALL)
    assert record(many, limits=SMALL) == many
    assert_listed(real)


@pytest.mark.parametrize("may_repeat", [True, False])
def test_an_event_that_is_cut_off_after_a_delete_is_listed_when_it_is_sent_again(real, monkeypatch, may_repeat):
    """The connection breaks after the key was made, and before it is listed."""
    record(events())
    counters.forget(another(), "n", "e")
    send = round_trip.send
    failures = [redis.ConnectionError() if may_repeat else redis.TimeoutError()]

    def cut_off(client, commands, *arguments, **options):
        if ("SADD", "n:experiments", "e") in commands and failures:
            raise failures.pop()
        return send(client, commands, *arguments, **options)

    monkeypatch.setattr(counters, "send", cut_off)
    if may_repeat:
        record(events())
    else:
        with pytest.raises(StoreUnavailable):
            record(events())
        outages._breakers.clear()  # in a second it would ask again
        record(events())
    assert total() == 1
    assert_listed(real)


@pytest.mark.parametrize("number", [1, 20])
def test_an_event_after_a_delete_is_listed_though_the_answer_to_it_is_lost(real, monkeypatch, number):
    """Redis has made the key, and is asked again whether it exists."""
    record(events(number), 16)
    counters.forget(another(), "n", "e")
    reply, failures = round_trip._reply, [redis.ConnectionError("cut")]

    def lose(link):
        found = reply(link)
        if failures:
            raise failures.pop()
        return found

    monkeypatch.setattr(round_trip, "_reply", lose)
    record(events(number), 16)
    assert not failures
    assert total() == number
    assert_listed(real)


def test_a_process_remembers_so_many_counters_and_no_more(real, monkeypatch):
    monkeypatch.setattr(counters, "MAX_KNOWN", 3)
    for number in range(10):
        record(events(goal=f"g{number}"))
        assert len(counters._told[connection.client()][0]) <= 5


class Steps:
    """Lets a call go on by one step at a time, while another waits: a step is what Redis does at once."""

    def __init__(self, monkeypatch) -> None:
        self._send = round_trip.send
        self._before: dict[int, object] = {}
        monkeypatch.setattr(counters, "send", self._steps)

    def before_each(self, wait) -> None:
        """Call this before each step of this thread."""
        self._before[threading.get_ident()] = wait

    def _steps(self, client, commands, atomic=False, **options):
        wait = self._before.get(threading.get_ident(), lambda: None)
        is_small = len(round_trip._packed(commands)) < ONE_PACKET
        at_once = atomic or (is_small and commands[:1] and commands[0][0] == "EXISTS")
        replies: list[object] = []
        for part in [commands] if at_once else [[one] for one in commands]:
            wait()
            replies += self._send(client, part, atomic=atomic, **options)
        return replies


def run_with(steps: Steps, places: tuple[int, ...], call, rival) -> int:
    """Run `call`, and before its steps of these numbers a step each of `rival`. Returns how many steps `call` took."""
    may_go, has_gone = threading.Semaphore(0), threading.Semaphore(0)
    taken = [0]

    def wait() -> None:
        has_gone.release()  # all before this step is done
        assert may_go.acquire(timeout=WAIT_S)

    def work() -> None:
        steps.before_each(wait)
        try:
            rival()
        finally:
            has_gone.release()

    thread = threading.Thread(target=work)
    thread.start()
    assert has_gone.acquire(timeout=WAIT_S)

    def go() -> None:
        if thread.is_alive():
            may_go.release()
            assert has_gone.acquire(timeout=WAIT_S)

    def before() -> None:
        for place in places:
            if place == taken[0]:
                go()
        taken[0] += 1

    steps.before_each(before)
    call()
    for _ in range(50):
        may_go.release()
    thread.join(WAIT_S)
    assert not thread.is_alive()
    return taken[0]


@pytest.mark.parametrize("goal", ["participate", "a new one"])
@pytest.mark.parametrize("is_deleted", [False, True])
@pytest.mark.parametrize(("number", "precision"), [(1, EXACT), (100, EXACT), (1, "bitmap")])
def test_a_delete_and_an_event_may_meet_at_any_step(single, monkeypatch, number, precision, is_deleted, goal):
    """The experiment is deleted as a whole, or what is there afterwards is listed and complete."""
    steps = Steps(monkeypatch)
    end, first = 1, 0
    while first <= end:
        second = first
        while second <= end:
            single.flushall()
            record(events(number), precision)
            if is_deleted:
                counters.forget(another(), "n", "e")
            deleted: list[None] = []

            def delete(deleted=deleted) -> None:
                counters.forget(another(), "n", "e")
                deleted.append(None)

            end = run_with(
                steps, (first, second), delete, lambda: record(events(number, goal, first=number), precision)
            )
            assert deleted
            assert_listed(single)
            assert total(goal) in (0, number), (first, second)
            second += 1
        first += 1
    assert end > 3
