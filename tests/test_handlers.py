from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

import gimel
from gimel import config, connection, handlers, reports
from gimel.analysis import report
from gimel.errors import StoreUnavailable
from gimel.events import Event
from gimel.gateway import Request
from gimel.histories import History, as_text
from gimel.keyspace import history_key
from gimel.settings import ExperimentSettings

from .calls import EVENT, make_rest_event, plain, read, taking_part


def test_all_names_the_scope_and_reports_only_it(real):
    for name in ("a", "b", "c"):
        gimel.track({**EVENT, "experiment": name})
    found = gimel.all({"scope": "c,a"})
    meta = {"scope": "c,a", "ignored": {}, "namespaces": ["alephbet"], "next": None, "turned_away": [], "archived": []}
    meta["access"] = "write"
    assert found[0] == {"meta": meta}
    assert [item["experiment"] for item in found[1:]] == ["a", "c"]
    assert [item["experiment"] for item in gimel.all({"scope": ",a,"})[1:]] == ["a"]


def test_an_experiment_with_a_comma_in_its_name_can_be_asked_for(real):
    for name in ("a", "b", "c", "a,b"):
        gimel.track({**EVENT, "experiment": name})
    assert [item["experiment"] for item in gimel.all({"scope": "a,b"})[1:]] == ["a", "a,b", "b"]


def test_a_report_comes_in_pages(real):
    for name in ("a", "b", "c", "d", "e"):
        gimel.track({**EVENT, "experiment": name})

    def page(**params):
        meta, *items = gimel.all(params)
        return [item["experiment"] for item in items], meta["meta"]["next"]

    assert page() == (["a", "b", "c", "d", "e"], None)
    assert page(limit="2") == (["a", "b"], "b")
    assert page(limit="2", after="b") == (["c", "d"], "d")
    assert page(limit="2", after="d") == (["e"], None)
    assert page(limit="1", after="d") == (["e"], None)
    assert page(after="d") == (["e"], None)
    assert page(limit=3, after="bb") == (["c", "d", "e"], None)
    assert page(limit="2", after="e") == ([], None)
    assert page(limit="1", scope="e,b") == (["b"], "b")
    assert page(limit="1", scope="e,b", after="b") == (["e"], None)
    assert page(limit=None, after="") == page()


@pytest.mark.parametrize("limit", ["", "0", "-1", "many", "1.5", "1e3", " 3", "\u0663", "9" * 7, True, [3]])
def test_a_limit_that_is_no_number_is_refused(real, limit):
    answer = gimel.all(make_rest_event(query={"limit": limit}))
    assert answer["statusCode"] == 400
    assert read(answer) == {
        "error": "limit must be a whole number from 1 to 999999",
        "problems": ["limit must be a whole number from 1 to 999999"],
        "hint": "send limit=NUMBER, and then after=NAME with the name in meta.next",
    }


@pytest.mark.parametrize("after", ["\ud800", ["a"]])
def test_a_page_after_what_is_no_name_is_refused(real, after):
    assert gimel.all(make_rest_event(query={"after": after}))["statusCode"] == 400


@pytest.mark.parametrize("bound", ["PAGE_BYTES", "PAGE_S"])
def test_a_page_ends_early_when_it_gets_large_or_slow(real, monkeypatch, bound):
    for name in ("a", "b", "c"):
        gimel.track({**EVENT, "experiment": name})
    monkeypatch.setattr(handlers, bound, 0)
    meta, *items = gimel.all({"limit": "3", "after": "a"})
    assert ([item["experiment"] for item in items], meta["meta"]["next"]) == (["b"], "b")
    assert len(gimel.all({})) == 4


def test_a_report_that_is_too_large_to_build_says_how_to_ask_for_less(real, monkeypatch):
    gimel.track(EVENT)
    monkeypatch.setattr(reports, "MAX_REPORT_BYTES", 100)
    answer = gimel.all(make_rest_event())
    assert answer["statusCode"] == 413
    assert "limit=NUMBER" in read(answer)["hint"]
    assert gimel.all(make_rest_event(query={"limit": "1"}))["statusCode"] == 200


def test_an_unknown_experiment_is_an_empty_list(real):
    assert gimel.experiment({"experiment": "nobody's"}) == []
    (item,) = gimel.all({"scope": "nobody's"})[1:]
    assert (item["experiment"], item["participants"], item["goals"]) == ("nobody's", [], [])


def test_namespaces_are_kept_apart(real):
    gimel.track(EVENT)
    gimel.track({**EVENT, "namespace": "staging"})
    gimel.delete({**EVENT, "namespace": "staging"})
    assert gimel.all({"namespace": "staging"})[1:] == []
    assert taking_part(gimel.all({})[1]) == {"red": 1}


def test_a_report_without_an_experiment_is_refused(real):
    answer = gimel.experiment(make_rest_event())
    assert answer["statusCode"] == 400
    assert read(answer)["hint"] == "send experiment=NAME, and optionally namespace=NAME"


def test_a_deletion_is_answered_null(real):
    gimel.track(EVENT)
    answer = gimel.delete(make_rest_event("DELETE", {"experiment": EVENT["experiment"]}))
    assert (answer["statusCode"], answer["body"]) == (200, "null")
    assert list(real.scan_iter()) == []


def test_health_says_that_events_can_be_counted_and_leaves_nothing_behind(redis_server):
    connection.use(config.Config(redis_settings=config.RedisSettings(url=redis_server.url)))
    answer = gimel.health(make_rest_event())
    assert (answer["statusCode"], read(answer)) == (200, {"redis": "answers"})
    assert redis_server.client().dbsize() == 0


@pytest.mark.parametrize("what", ["down", "full", "replica"])
def test_health_is_an_outage_that_names_no_reason_if_redis_takes_no_events(redis_server, what):
    connection.use(config.Config(redis_settings=config.RedisSettings(url=redis_server.url)))
    if what == "down":
        redis_server.stop()
    elif what == "full":
        redis_server.client().config_set("maxmemory", 1)
    else:
        redis_server.client().replicaof("127.0.0.1", 1)
    answer = gimel.health(make_rest_event())
    hint = "retry the same request later"
    expected = {"error": "could not store or read counts", "hint": hint}
    assert (answer["statusCode"], read(answer)) == (503, expected)


def test_an_experiments_own_settings_reach_its_report(real):
    settings = ExperimentSettings(
        baseline="red", weights={"red": 3, "blue": 1}, precision="exact", per_visitor=frozenset({"view"})
    )
    connection.use(config.Config(experiments={EVENT["experiment"]: settings}), connection.client())
    for number in range(40):
        gimel.track({**EVENT, "uuid": number, "variant": "red" if number % 4 else "blue"})
    gimel.track({**EVENT, "event": "view"})
    (item,) = gimel.all({})[1:]
    assert item["control"] == "red"
    assert [one["share"] for one in item["sample_ratio"]["expected"]] == [0.25, 0.75]
    assert [one["counting_error"] for one in item["participants"]] == [0, 0]
    assert [(goal["goal"], goal["kind"]) for goal in item["goals"]] == [("view", "per_visitor")]
    (goal,) = gimel.experiment({"experiment": EVENT["experiment"]})
    assert (goal["goal"], goal["kind"], goal["control"]) == ("view", "per_visitor", "red")


def test_the_variants_in_config_json_are_those_of_the_report(real):
    for variant in ("blue", "old"):
        gimel.track({**EVENT, "variant": variant})
    own = ExperimentSettings(variants=frozenset({"blue", "red"}))
    connection.use(config.Config(experiments={EVENT["experiment"]: own}), connection.client())
    (item,) = gimel.all({})[1:]
    assert [(one["label"], one["unexpected"]) for one in item["participants"]] == [("blue", False), ("old", True)]
    assert [one["label"] for one in item["sample_ratio"]["expected"]] == ["blue", "red"]


def test_another_control_is_that_of_the_experiments_that_have_it(real):
    connection.use(config.Config(experiments={"b": ExperimentSettings(baseline="blue")}), connection.client())
    for name, variants in (("a", ("blue", "red")), ("b", ("blue", "green"))):
        for variant in variants:
            for event in ("participate", "buy"):
                gimel.track({**EVENT, "experiment": name, "variant": variant, "event": event})
    assert [item["control"] for item in gimel.all({})[1:]] == ["blue", "blue"]
    assert [item["control"] for item in gimel.all({"control": "red"})[1:]] == ["red", "blue"]
    (goal,) = gimel.experiment({"experiment": "b", "control": "green"})
    assert [row["verdict"]["state"] == "control" for row in goal["results"]] == [False, True]


def test_an_unknown_control_is_answered_with_a_note(real):
    for variant in ("blue", "red"):
        for event in ("participate", "buy"):
            gimel.track({**EVENT, "variant": variant, "event": event})
    note = "the requested control rde has not been seen; variants are compared with blue instead"
    assert gimel.all({"control": "rde"})[1]["notes"] == [note]
    (goal,) = gimel.experiment({"experiment": EVENT["experiment"], "control": "rde"})
    assert (goal["control"], goal["notes"]) == ("blue", [note])
    assert gimel.all({"control": ""})[1]["notes"] == gimel.all({"control": "red"})[1]["notes"] == []


def test_a_report_has_what_gimels_had(real):
    for number, event in enumerate(("participate", "participate", "buy")):
        gimel.track({**EVENT, "uuid": number, "event": event})
    gimel.track({**EVENT, "event": "participate", "variant": "blue"})
    expected = [
        {
            "goal": "buy",
            "results": [
                {"label": "blue", "successes": 0, "trials": 1},
                {"label": "red", "successes": 1, "trials": 2},
            ],
        }
    ]
    assert plain(gimel.experiment({"experiment": EVENT["experiment"]})) == expected
    assert plain(gimel.all({})[1]["goals"]) == expected


class Shelf:
    """An overflow that keeps events in memory."""

    def __init__(self) -> None:
        self.kept: list[Event] = []

    def keep(self, events: Sequence[Event]) -> None:
        self.kept += events


def test_events_that_redis_does_not_take_are_kept_in_the_overflow(redis_server):
    shelf = Shelf()
    connection.use(config.Config(redis_settings=config.RedisSettings(url=redis_server.url)), None, shelf)
    redis_server.stop()
    answer = gimel.track.handle(Request(items=[{"experiment": "e", "variant": "v", "event": "x", "uuid": "u"}]))
    assert (answer.status, answer.value) == (200, None)
    assert shelf.kept == [Event("alephbet", "e", "x", "v", "u")]


def test_events_from_the_overflow_do_not_go_back_to_it(redis_server):
    shelf = Shelf()
    connection.use(config.Config(redis_settings=config.RedisSettings(url=redis_server.url)), None, shelf)
    redis_server.stop()
    items = [Event("alephbet", "e", "x", "v", "u").as_item()]
    with pytest.raises(StoreUnavailable):
        gimel.track.handle(Request(items=items, is_list=True, from_queue=True))
    assert shelf.kept == []


def test_a_report_is_made_anew_when_a_count_a_setting_or_the_control_changes_and_only_then(real, monkeypatch):
    made = []
    original = report.experiment_report
    monkeypatch.setattr(report, "experiment_report", lambda *given: made.append(given) or original(*given))
    monkeypatch.setattr(reports, "_kept", {})

    def asked(expected: int, **params: str) -> list:
        made.clear()
        (item,) = gimel.all(params)[1:]
        assert len(made) == expected
        return [row["successes"] for goal in item["goals"] for row in goal["results"]]

    for variant in ("red", "blue"):
        gimel.track({**EVENT, "variant": variant})
        gimel.track({**EVENT, "variant": variant, "event": "buy"})
    assert asked(1) == asked(0) == [1, 1]
    gimel.track({**EVENT, "event": "buy", "uuid": "u2"})
    assert asked(1) == asked(0)
    assert sorted(asked(0)) == [1, 2]
    assert asked(1, control="red") == asked(0, control="red")
    settings = {EVENT["experiment"]: ExperimentSettings(baseline="red")}
    connection.use(replace(connection.settings(), experiments=settings), connection.client())
    assert asked(1) == asked(0)
    for name in "MAX_KEPT", "MAX_KEPT_BYTES":
        with monkeypatch.context() as less:
            less.setattr(reports, name, 1)
            asked(1, control=name)
            assert len(reports._kept) == 1
        asked(1, control="blue")


def test_the_history_leads_to_the_report_of_now(real, monkeypatch):
    for number in range(30):
        gimel.track({**EVENT, "variant": ("blue", "red")[number % 2], "uuid": number})
    gimel.track({**EVENT, "uuid": 1, "event": "bought"})
    moment = 29_000_000
    monkeypatch.setattr("gimel.reports.now", lambda: moment)
    past = History((moment - 90, moment - 30), {"participate": {"blue": (0, 5), "red": (0, 7)}})
    connection.client().set(history_key("alephbet", EVENT["experiment"]), past.encode())
    answer = gimel.history({"experiment": EVENT["experiment"], "control": "red"})
    assert (answer["experiment"], answer["control"], answer["labels"]) == (EVENT["experiment"], "red", ["red", "blue"])
    assert answer["at"] == [as_text(moment - 90), as_text(moment - 30), as_text(moment)]
    assert answer["visitors"] == {"red": [0, 7, 15], "blue": [0, 5, 15]}
    (goal,) = answer["goals"]
    assert goal["rates"]["red"] == [None, 0, 0.0666667]
    ((reported,),) = [gimel.all({"control": "red"})[1]["goals"]]
    row = reported["results"][0]
    assert goal["differences"]["blue"]["low"][-1] == pytest.approx(row["always_valid_interval"]["low"], rel=1e-5)


def test_the_history_of_an_unknown_experiment_is_empty(real):
    answer = gimel.history({"experiment": "nobody's"})
    assert (answer["experiment"], answer["control"], answer["at"], answer["goals"]) == ("nobody's", None, [], [])
    assert gimel.history(make_rest_event())["statusCode"] == 400


def test_a_plan_is_that_of_the_precision_of_its_experiment():
    connection.use(config.Config(precision=16, experiments={"small": ExperimentSettings(precision="bitmap")}))
    asked = {"rate": "5%", "change": "10%", "per_day": "400"}
    plans = [gimel.plan({**asked, **named}) for named in ({"experiment": "small"}, {"experiment": "other"}, {})]
    assert [plan["precision"] for plan in plans] == ["bitmap", 16, 16]
    assert plans[0]["ways"] != plans[1]["ways"]
