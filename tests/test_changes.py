"""PUT /experiment, and what reports say of settings and statuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

import gimel
from gimel import config, connection, histories

from .calls import EVENT, make_rest_event, read

NAME = EVENT["experiment"]
MOMENT = 29_000_000


@pytest.fixture(autouse=True)
def at(monkeypatch):
    """Sets the clock, to minutes after MOMENT."""

    def at(minutes: int) -> None:
        monkeypatch.setattr(histories, "now", lambda: MOMENT + minutes)
        monkeypatch.setattr("gimel.reports.now", lambda: MOMENT + minutes)

    at(0)
    return at


def put(expected: int = 200, version: int | None = None, name: str = NAME, **changes: Any) -> dict[str, Any]:
    content = {"experiment": name, "changes": changes, **({} if version is None else {"version": version})}
    answer = gimel.experiment(make_rest_event("PUT", body=json.dumps(content)))
    assert answer["statusCode"] == expected, answer
    return read(answer)


def reports(**params: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    meta, *items = gimel.all(params)
    return meta["meta"], {item["experiment"]: item for item in items}


def count(**changed: str) -> None:
    gimel.track({**EVENT, **changed})


def use_config(fake, **own: Any) -> None:
    settings = config.check(config.ConfigFile(None, {"experiments": {NAME: own}}), {})
    connection.use(settings, connection.client())


def test_an_experiment_without_settings_tells_that(fake):
    count()
    _, found = reports()
    assert found[NAME]["settings"] == {
        "version": 0,
        "status": "running",
        "dates": {},
        "hypothesis": "",
        "owner": "",
        "link": "",
        "decision": None,
        "note": "",
        **dict.fromkeys(("baseline", "goal", "goals", "guardrails", "per_visitor", "planned_visitors"), None),
        **dict.fromkeys(("smallest_change", "variants", "weights"), None),
        "in_config": [],
        "can_start": False,
    }


def test_a_draft_is_listed_and_runs_with_its_first_participant(fake):
    made = put(hypothesis="Red sells", weights={"red": 1, "blue": 1})
    assert made["settings"]["status"] == "draft"
    assert (made["experiment"], made["namespace"]) == (NAME, "alephbet")
    meta, found = reports()
    assert meta["namespaces"] == ["alephbet"]
    assert found[NAME]["settings"] == made["settings"]
    assert (found[NAME]["goals"], found[NAME]["participants"]) == ([], [])
    assert made["settings"]["can_start"]
    count()
    _, found = reports()
    own = found[NAME]["settings"]
    assert (own["status"], own["variants"], own["version"]) == ("running", ["blue", "red"], 1)
    assert not own["can_start"]


def test_a_report_is_made_with_the_settings(fake):
    for variant in "blue", "red", "green":
        for number in range(10):
            count(variant=variant, uuid=f"u{number}")
    count(event="buy")
    put(baseline="red", variants=["red", "blue"], goal="buy", planned_visitors=10, smallest_change=0.3)
    _, found = reports()
    item = found[NAME]
    assert (item["control"], item["smallest_change"], item["plan"]["missing"]) == ("red", 0.3, 0)
    assert item["goals"][0]["role"] == "primary"
    assert [one["label"] for one in item["participants"] if one["unexpected"]] == ["green"]
    assert item["plan"]["ended"]


def test_config_json_wins_and_says_so(fake):
    put(baseline="red", owner="Ann")
    use_config(fake, baseline="blue", precision=16)
    count()
    _, found = reports()
    assert found[NAME]["settings"]["baseline"] == "blue"
    assert found[NAME]["settings"]["in_config"] == ["baseline"]
    refused = put(400, baseline="green", precision=1)
    assert refused["problems"][0].startswith("precision: unknown key")
    assert refused["problems"][1:] == ["baseline: is set in config.json; change it there"]


def test_a_contradiction_with_config_json_is_noted(fake):
    put(variants=["green", "red"])
    use_config(fake, baseline="blue")
    count()
    _, found = reports()
    assert found[NAME]["settings"]["variants"] is None
    assert found[NAME]["notes"][-1] == (
        "only config.json counts, because the other settings contradict it: variants: must include the baseline, blue"
    )


def test_the_headline_stays_that_of_the_decision(fake):
    count()
    count(event="buy")
    _, found = reports()
    then = found[NAME]["headline"]
    decided = put(status="decided", decision="red", note="at last")["settings"]
    assert (decided["status"], decided["decision"], decided["note"]) == ("decided", "red", "at last")
    count(variant="blue")
    _, found = reports()
    assert found[NAME]["headline"] == then
    assert len(found[NAME]["participants"]) == 2
    put(status="stopped")
    _, found = reports()
    assert found[NAME]["headline"] == then
    put(status="running")
    _, found = reports()
    assert found[NAME]["headline"] != then


@pytest.mark.parametrize("between", [{"status": "stopped"}, {"status": "decided", "decision": "red"}], ids=str)
def test_what_runs_again_has_been_running_since_its_first_event(fake, at, between):
    gimel.snapshot({})
    at(120)
    count()
    gimel.snapshot({})
    put(**between)
    at(9_000)
    again = put(status="running")["settings"]
    assert again["dates"] == {"running": histories.as_text(MOMENT + 100)}, "the hour of its first event"


def test_an_archived_experiment_is_named_apart_and_reported_if_asked_for(fake):
    count()
    count(event="buy")
    count(experiment="other")
    put(status="stopped")
    archived = put(status="archived")["settings"]
    assert archived["status"] == "archived"
    meta, found = reports()
    assert (meta["archived"], list(found)) == ([NAME], ["other"])
    meta, found = reports(scope=f"{NAME},other")
    assert list(found) == [NAME, "other"]
    assert found[NAME]["goals"][0]["results"][0]["successes"] == 1
    back = put(status="stopped")["settings"]
    assert (back["status"], back["can_start"]) == ("stopped", False)
    meta, found = reports()
    assert (meta["archived"], list(found)) == ([], [NAME, "other"])


def test_who_is_later_is_told_what_has_changed_and_what_it_is_now(fake):
    put(goal="buy", owner="Ann")
    put(version=1, goal="view")
    refused = put(409, version=1, goal="click")
    assert refused["changed"] == {"goal": {"was": "buy", "is": "view"}}
    assert refused["settings"]["version"] == 2
    assert refused["error"] == "somebody else has changed goal"
    assert put(version=1, owner="Bob")["settings"]["goal"] == "view"


def test_a_change_needs_an_experiment_and_changes(fake):
    answer = gimel.experiment(
        make_rest_event("PUT", body='{"namespace": "a:b", "version": "1", "changes": [], "x": 1}')
    )
    assert answer["statusCode"] == 400
    assert read(answer)["problems"] == [
        "experiment is missing",
        "namespace contains a colon",
        "version must be a whole number from 0",
        "changes must be an object that is not empty",
        "x is unknown",
    ]


@pytest.mark.parametrize("changes", [{}, {"//x": 1, "// note": None}])
def test_who_changes_nothing_is_told_so_and_makes_no_draft(fake, changes):
    assert put(400, **changes)["problems"] == ["changes must be an object that is not empty"]
    assert fake.keys() == []
    assert put(owner="Ann", **changes)["settings"]["owner"] == "Ann"


@pytest.mark.parametrize("value", [[], {}, 7, {"a": 10**400}, True, "over", [[]], "\ud800"])
@pytest.mark.parametrize("key", ["status", "goal", "weights", "variants", "planned_visitors", "owner", "decision"])
def test_whatever_is_sent_is_an_answer(fake, key, value):
    body = json.dumps({"experiment": NAME, "changes": {key: value}})
    assert gimel.experiment(make_rest_event("PUT", body=body))["statusCode"] in (200, 400)


@pytest.mark.parametrize(("key", "value"), [("variants", {}), ("weights", []), ("goals", ""), ("planned_visitors", "")])
def test_what_is_empty_resets_a_key_of_its_own_kind_alone(fake, key, value):
    assert put(400, **{key: value})["problems"][0].startswith(f"{key}: must be ")


def test_a_deleted_experiment_is_gone_with_its_settings(fake):
    put(owner="Ann")
    gimel.delete({"experiment": NAME})
    assert fake.keys() == []


@pytest.mark.parametrize("has_settings", [False, True])
def test_who_edits_an_experiment_while_it_is_deleted_is_told_so(fake, has_settings):
    count()
    version = put(owner="Ann")["settings"]["version"] if has_settings else 0
    gimel.delete({"experiment": NAME})
    refused = put(409, version=version, owner="Bob")
    assert refused["error"] == "the experiment was deleted"
    assert (refused["changed"], refused["settings"]["version"]) == ({"owner": {"was": None, "is": None}}, 0)
    assert fake.keys() == []
    assert put(version=0, status="draft", owner="Bob")["settings"]["version"] == 1  # as a new one


def test_of_an_experiment_that_was_deleted_and_counts_again_the_settings_are_new(fake):
    count()
    gimel.delete({"experiment": NAME})
    count()
    assert put(version=0, owner="Bob")["settings"]["version"] == 1


def test_a_change_of_the_settings_of_an_experiment_takes_few_round_trips(single, round_trips):
    count()
    connection.client().ping()
    round_trips()
    put(owner="Ann")
    assert round_trips() == 6  # to read, to write, to list, to look again, and two for the answer
