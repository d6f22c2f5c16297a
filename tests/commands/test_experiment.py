"""`gimel experiment` as typed in a terminal."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from click.testing import CliRunner

import gimel
from gimel.ops.commands.main import main
from tests.calls import EVENT
from tests.commands.test_main import run

NAME = EVENT["experiment"]


@pytest.fixture
def store(redis_server, monkeypatch, tmp_path):
    """A Redis, set in the environment, and no configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIMEL_REDIS_URL", redis_server.url)
    return redis_server.client()


def shown(*options: str) -> dict[str, Any]:
    return json.loads(run("experiment", "show", NAME, "--format", "json", *options).stdout)


@pytest.mark.parametrize("source", ["Redis", "an API"])
def test_a_life_from_the_draft_to_the_archive_and_back(store, redis_server, serve, source):
    options: list[str] = []
    if source == "an API":
        server = serve("--api-key", "key", GIMEL_REDIS_URL=redis_server.url)
        options = ["--url", server.url, "--api-key", "key"]

    def step(name: str, *more: str, code: int = 0) -> str:
        return run("experiment", name, NAME, *more, *options, code=code).output

    wanted = "hypothesis=a=b", "weights=blue=1, red=3", "goals=clicked,page view", "smallest_change=5%", "goal=clicked"
    assert step("set", *wanted, "planned_visitors=200") == "button color: draft, version 1\n"
    settings = shown(*options)
    assert (settings["hypothesis"], settings["weights"]) == ("a=b", {"blue": 1, "red": 3})
    assert (settings["goals"], settings["smallest_change"], settings["goal"]) == (
        ["clicked", "page view"],
        0.05,
        "clicked",
    )
    assert settings["planned_visitors"] == 200
    step("set", "goal=", "variants=" + json.dumps(["blue", "red"]))
    assert shown(*options)["goal"] is None
    assert step("start") == "button color: running, version 3\n"
    gimel.track(EVENT)
    step("decide", "red", "--note", "at last")
    assert "stopped, version 5" in step("stop")
    assert "is stopped, not archived" not in step("restore")
    step("archive", "--yes")
    assert "it is archived" in step("stop", code=2)
    assert "archived can become stopped" in step("start", code=1)
    step("restore")
    found = shown(*options)
    assert (found["status"], found["decision"], found["note"], found["version"]) == ("stopped", "red", "at last", 7)


def test_what_is_shown_says_what_config_json_sets(store, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"experiments": {NAME: {"baseline": "[blue]"}}}))
    run("experiment", "set", NAME, "goal=clicked", "guardrails=ticket=2%")
    text = run("experiment", "show", NAME).stdout
    assert re.search(r"baseline +\[blue\] +set in config.json\n", text)
    assert re.search(r"guardrails +ticket=0.02 *\n", text)
    refused = run("experiment", "set", NAME, "baseline=red", "goal=7", "planned_visitors=none", code=1)
    assert "  baseline: is set in config.json; change it there\n" in refused.stderr
    assert "  planned_visitors: must be a whole number" in refused.stderr
    assert shown()["goal"] == "clicked"


def test_who_is_later_is_told_what_others_changed(store):
    run("experiment", "set", NAME, "goal=buy")
    run("experiment", "set", NAME, "goal=[/view]", "--version", "1")
    refused = run("experiment", "set", NAME, "goal=click", "--version", "1", code=1)
    assert "  goal: was buy, is [/view]\nLook at it, and repeat the command with --version 2.\n" in refused.stderr


def test_whoever_changes_what_was_deleted_is_told_so(store):
    run("experiment", "set", NAME, "goal=buy")
    gimel.delete({"experiment": NAME})
    for version in "1", "0":
        refused = run("experiment", "set", NAME, "goal=view", "--version", version, code=1)
        assert refused.stderr.startswith("Error: the experiment was deleted")


@pytest.mark.parametrize("said", ["n\n", ""])
def test_archiving_asks(store, said):
    gimel.track(EVENT)
    run("experiment", "stop", NAME)
    asked = CliRunner().invoke(main, ["experiment", "archive", NAME], input=said)
    assert (asked.exit_code, shown()["status"]) == (1, "stopped")
    assert "can never run again" in asked.output
    CliRunner().invoke(main, ["experiment", "archive", NAME], input="y\n")
    assert shown()["status"] == "archived"


def test_an_unknown_experiment_may_be_mistyped(store):
    gimel.track(EVENT)
    found = run("experiment", "show", "button colour", code=1)
    assert "No experiment 'button colour' in namespace 'alephbet'. Did you mean 'button color'?" in found.stderr
    for command in "stop", "start":
        run("experiment", command, "button colour", code=1)
    assert not store.exists("alephbet:statuses")


@pytest.mark.parametrize("setting", ["goal", "weights=a", "smallest_change=much", "goals=[1", "status=archived"])
def test_what_is_no_setting_is_a_mistake_of_usage(store, setting):
    assert "Error: Invalid value: " in run("experiment", "set", NAME, setting, code=2).stderr


def test_only_what_is_archived_is_restored(store):
    gimel.track(EVENT)
    assert "it is running, not archived" in run("experiment", "restore", NAME, code=2).stderr
    assert shown()["status"] == "running"
