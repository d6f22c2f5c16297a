"""The record of an experiment's life: what it becomes, what it refuses, and two editors at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

import gimel
from gimel import connection, counters, histories, lives, settings
from gimel.errors import BadRequest
from gimel.lives import Conflict

from .calls import EVENT

MOMENT = 29_000_000
NAME = EVENT["experiment"]
KEY = f"alephbet:settings:{NAME}:versions"


@pytest.fixture(autouse=True)
def _moment(monkeypatch):
    monkeypatch.setattr(histories, "now", lambda: MOMENT)


def change(base=None, own=None, name=NAME, headline=None, **changes):
    configured = settings.read(own or {}, "", [])
    return lives.change(connection.client(), "alephbet", name, changes, base, configured, headline)


def problems(*given, **changes):
    with pytest.raises(BadRequest) as error:
        change(*given, **changes)
    return error.value.problems


def latest(name=NAME):
    return lives.read(connection.client(), "alephbet", [name])[name]


def test_without_a_record_it_runs(fake):
    assert latest() == lives.Life(0, "running")


def test_what_is_written_is_read_back(fake):
    made = change(
        goal="buy", goals=["view", "buy"], weights={"red": 1, "blue": 3}, hypothesis=" Größer\nsells ", owner="Ann"
    )
    assert made == latest()
    assert (made.version, made.status, made.dates) == (1, "draft", {"draft": histories.as_text(MOMENT)})
    assert made.settings == {"goal": "buy", "goals": ["buy", "view"], "weights": {"red": 1, "blue": 3}}
    assert (made.hypothesis, made.owner, made.link) == ("Größer\nsells", "Ann", "")
    assert fake.hgetall("alephbet:statuses") == {NAME: "draft"}
    reset = change(goal=None, goals=[], hypothesis="")
    assert (reset.settings, reset.hypothesis) == ({"weights": {"red": 1, "blue": 3}}, "")


def test_an_experiment_that_has_counters_runs(fake):
    gimel.track(EVENT)
    assert change(owner="Ann").status == "running"


def test_a_draft_runs_once_events_come(fake):
    change(status="draft")
    gimel.track(EVENT)
    assert problems(status="draft") == ["status: running can become stopped or decided, but not draft"]
    assert change(status="stopped").status == "stopped"


def test_all_that_is_wrong_is_said_at_once(fake):
    found = problems(
        own={"baseline": "blue"},
        goal=7,
        baseline="red",
        weights={"red": 1, "green": 1},
        per_visitor=["buy"],
        guardrails={"buy": 0.02},
        hypothesis="x" * 1001,
        owner="Ann\x07",
        link="javascript:alert(1)",
        status="over",
        hypotesis="x",
        decision="red",
    )
    assert found == [
        "hypotesis: unknown key; did you mean hypothesis?",
        'status: must be one of draft, running, stopped, decided, archived, not "over"',
        f'hypothesis: must be text of at most 1,000 characters, not "{"x" * 59}',
        'owner: must be text of at most 200 characters, not "Ann\\u0007"',
        'link: must be a web address such as "https://example.com/ticket/1" of at most 500 characters, '
        'not "javascript:alert(1)"',
        "decision: needs the status decided, or an experiment that is stopped",
        "baseline: is set in config.json; change it there",
        "goal: must be the name of the goal that decides, not 7",
        "weights: must include the baseline, blue",
        "guardrails: must not be in per_visitor, whose goals are not tested: buy",
    ]
    assert not fake.exists(KEY, "alephbet:statuses")


@pytest.mark.parametrize("name", ["x" * 201, "\x07"])
def test_a_name_that_no_event_can_have_gets_no_record(fake, name):
    assert problems(name=name, owner="Ann")[0].startswith("experiment ")


def test_names_that_no_event_can_have_are_refused(fake):
    assert problems(goals=["a\0b", ""], goal="x" * 201, weights={"red": 1, "\x7f": 1}) == [
        "goals: must include what goal names: " + "x" * 201,
        "goal: " + repr("x" * 201) + " has 201 characters; at most 200 are allowed",
        "goals: '' is empty",
        "goals: 'a\\x00b' contains a control character",
        "weights: '\\x7f' contains a control character",
    ]


def test_what_is_too_long_in_all_is_refused(fake):
    assert problems(goals=["x" * 190 + str(number) for number in range(50)])[0].endswith("at most 8,000 are allowed")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["running"], "running"),
        (["running", "stopped"], "stopped"),
        (["stopped"], "stopped"),
        (["running", "decided"], "decided"),
        (["running", "decided", "stopped"], "stopped"),
        (["running", "stopped", "decided"], "stopped"),
        (["running", "stopped", "running"], "running"),
        (["running", "decided", "running"], "running"),
        (["running", "decided", "archived"], "archived"),
        (["running", "stopped", "archived", "stopped"], "stopped"),
    ],
)
def test_a_status_follows_another(fake, before, after):
    change(status="draft")
    for status in before:
        change(status=status, **({"decision": "red"} if status == "decided" else {}))
    assert latest().status == after
    assert fake.hget("alephbet:statuses", NAME) == after
    assert fake.sismember("alephbet:stopped", NAME) == (after in ("stopped", "archived"))


def test_what_is_decided_and_stopped_is_the_same_in_either_order(fake):
    change(name="a", status="draft")
    change(name="b", status="draft")
    for name, order in ("a", ("stopped", "decided")), ("b", ("decided", "stopped")):
        for status in ("running", *order):
            change(
                name=name, status=status, headline="Red wins.", **({"decision": "red"} if status == "decided" else {})
            )
    assert latest("a") == latest("b")
    assert (latest("a").decision, latest("a").headline) == ("red", "Red wins.")
    again = change(name="a", status="running")
    assert (again.decision, again.headline, list(again.dates)) == (None, None, ["running", "draft"])


def test_what_cannot_follow_is_refused(fake):
    assert problems(status="stopped") == ["experiment: no experiment has this name"]
    change(status="draft")
    assert problems(status="archived") == ["status: draft can become running or stopped, but not archived"]
    change(status="running")
    assert problems(status="decided") == ['decision: name the variant that you choose, or say "none"']
    change(status="stopped")
    change(status="archived")
    assert problems(status="running") == ["status: archived can become stopped, but not running"]
    change(status="stopped")
    assert problems(status="running") == [
        "status: it cannot run again, because its counters are gone; give the next run a new name"
    ]


def test_an_archived_experiment_keeps_the_settings_of_then(fake):
    own = {"baseline": "blue", "precision": 16}
    for changes in {"goal": "buy"}, {"status": "running"}, {"status": "stopped"}, {"status": "archived"}:
        found = change(own=own, **changes)
    assert found.settings == {"baseline": "blue", "goal": "buy"}
    assert fake.hkeys(KEY) == [str(found.version)]
    assert problems(goal="view") == ["goal: stays as it was when the experiment was archived"]
    later = settings.read({"baseline": "red"}, "", [])
    assert found.own(later)[0].baseline == "blue"
    assert found.as_dict(later, None, True)["in_config"] == []


def test_config_json_wins_key_by_key(fake):
    change(baseline="red", goal="buy")
    shown = latest().as_dict(settings.read({"baseline": "blue", "weights": {"blue": 1}}, "", []), None, False)
    assert (shown["baseline"], shown["goal"], shown["variants"]) == ("blue", "buy", ["blue"])
    assert shown["in_config"] == ["baseline", "variants", "weights"]


def test_settings_that_contradict_config_json_do_not_count(fake):
    change(variants=["red", "green"])
    configured = settings.read({"baseline": "blue"}, "", [])
    assert latest().own(configured) == (configured, ["variants: must include the baseline, blue"])


class TestTwoEditors:
    def test_changes_of_different_keys_are_merged(self, fake):
        base = change(goal="buy", owner="Ann").version
        change(base, goal="view")
        found = change(base, owner="Bob")
        assert (found.settings, found.owner, found.version) == ({"goal": "view"}, "Bob", 3)

    def test_the_later_is_told_what_the_other_one_changed(self, fake):
        base = change(goal="buy", owner="Ann").version
        change(base, goal="view", owner="Cid")
        with pytest.raises(Conflict) as error:
            change(base, goal="click", owner="Cid", note="mine")
        assert error.value.changed == {"goal": {"was": "buy", "is": "view"}}
        assert latest().note == ""

    def test_a_version_that_is_not_kept_conflicts_with_what_is_there_now(self, fake):
        base = change(owner="0").version
        for number in range(1, 7):
            change(owner=str(number))
        assert sorted(map(int, fake.hkeys(KEY))) == [3, 4, 5, 6, 7]
        with pytest.raises(Conflict) as error:
            change(base, owner="me")
        assert error.value.changed == {"owner": {"was": None, "is": "6"}}
        assert change(base, owner="6", note="same").note == "same"

    def test_of_an_experiment_that_was_deleted_meanwhile_nothing_is_left(self, fake, monkeypatch):
        change(owner="Ann")
        ask_each = lives.ask_each

        def meanwhile(client, commands, **options):
            replies = ask_each(client, commands, **options)
            if commands[0][0] == "HGETALL":
                fake.delete(KEY)
            return replies

        monkeypatch.setattr(lives, "ask_each", meanwhile)
        with pytest.raises(Conflict):
            change(1, owner="Bob")
        assert not fake.exists(KEY)

    def test_at_the_same_moment_lose_nothing(self, single):
        with ThreadPoolExecutor(4) as pool:
            done = list(
                pool.map(lambda goal: change(guardrails=None, **{goal: "x"}), ["hypothesis", "owner", "note", "goal"])
            )
        assert sorted(one.version for one in done) == [1, 2, 3, 4]
        found = latest()
        assert (found.hypothesis, found.owner, found.note, found.settings) == ("x", "x", "x", {"goal": "x"})


def meanwhile(monkeypatch, act):
    """Have this happen once, after a record is written and before the rest is done."""
    apply = lives.stopping.apply

    def later(*given):
        monkeypatch.setattr(lives.stopping, "apply", apply)
        act()
        apply(*given)

    monkeypatch.setattr(lives.stopping, "apply", later)


@pytest.mark.parametrize(("first", "second"), [("stopped", "running"), ("running", "stopped"), ("running", "archived")])
def test_of_two_statuses_at_the_same_moment_the_last_written_one_is_done(fake, monkeypatch, first, second):
    gimel.track(EVENT)
    change(status="stopped" if first == "running" else "running")
    between = ["stopped"] if second == "archived" else []
    meanwhile(monkeypatch, lambda: [change(status=status) for status in (*between, second)])
    try:
        change(status=first)
    except BadRequest:
        assert second == "archived"  # its counters are gone
    assert latest().status == second
    assert fake.hgetall("alephbet:statuses") == {NAME: second}
    assert bool(fake.exists("alephbet:stopped")) == bool(fake.exists(f"alephbet:frozen:{NAME}:counts"))
    assert bool(fake.exists("alephbet:stopped")) == (second != "running")


def test_what_was_deleted_while_it_was_stopped_stays_deleted(fake, monkeypatch):
    gimel.track(EVENT)
    change(status="running")
    meanwhile(monkeypatch, lambda: counters.forget(connection.client(), "alephbet", NAME))
    change(status="stopped")
    assert fake.keys() == []


def test_what_was_deleted_while_it_was_archived_stays_deleted(fake, monkeypatch):
    gimel.track(EVENT)
    change(status="stopped")

    def deleted_meanwhile(*given):
        stop(*given)
        counters.forget(connection.client(), "alephbet", NAME)

    stop = lives.stopping.stop
    monkeypatch.setattr(lives.stopping, "stop", deleted_meanwhile)
    change(status="archived")
    assert fake.keys() == []


def test_a_record_that_is_lost_takes_no_counters_with_it(fake, monkeypatch):
    """As in a Redis that takes over before it has the last write."""
    gimel.track(EVENT)
    before = fake.keys()
    meanwhile(monkeypatch, lambda: fake.delete(KEY))
    change(status="stopped")
    assert set(before) <= set(fake.keys())
    assert not fake.exists("alephbet:statuses", "alephbet:stopped", f"alephbet:frozen:{NAME}:counts")


def test_the_same_change_again_repairs_what_follows_from_it(fake):
    change(status="draft")
    change(status="stopped")
    fake.delete("alephbet:statuses", "alephbet:stopped")
    assert change(status="stopped").version == 2
    assert fake.hgetall("alephbet:statuses") == {NAME: "stopped"}
    assert fake.smembers("alephbet:stopped") == {NAME}


@pytest.mark.parametrize(
    "record",
    [
        *("", "[]", '"x"', '{"status":"over"}', '{"status":"draft","dates":{"draft":"x"}}', "[" * 100_000),
        *('{"status":"draft","owner":1}', '{"status":"draft","settings":[]}', '{"status":"draft","dates":[]}'),
    ],
)
def test_what_is_no_record_counts_as_an_empty_one_and_is_replaced(fake, record):
    fake.hset(KEY, "3", record)
    assert latest() == lives.Life(3)
    assert change(3, owner="Ann").version == 4


def test_a_version_written_before_a_cut_connection_is_ones_own(fake):
    life = lives.Life(1, "draft")
    fake.hset(KEY, "1", life.encode())
    assert lives._write(connection.client(), KEY.encode(), life)


def test_a_version_far_behind_is_not_written_though_one_before_it_is_there(fake):
    """Two are as late as each other, and the first has not cleared up yet."""
    fake.hset(KEY, mapping={version: lives.Life(version, "draft").encode() for version in (4, 9, 10)})
    assert not lives._write(connection.client(), KEY.encode(), lives.Life(5, "draft"))
    assert sorted(fake.hkeys(KEY)) == ["10", "4", "9"]


def test_an_experiment_runs_since_its_first_event_unless_it_was_started_before(fake):
    seen, started = "2026-11-29T10:00:00Z", "2026-11-28T10:00:00Z"
    for dates, is_counted, expected in (
        ({}, True, {"running": seen}),
        ({"running": started}, True, {"running": started}),
        ({"draft": started}, False, {"draft": started}),
    ):
        life = lives.Life(1, "running" if is_counted else "draft", dates)
        assert life.as_dict(settings.NO_SETTINGS, seen, is_counted)["dates"] == expected
