"""The `gimel` command, as a person at a terminal meets it."""

import csv
import io
import json
import os
import stat
import subprocess
import sys
from contextlib import ExitStack

import pytest
from click.testing import CliRunner
from rich.console import Console

import gimel
from gimel import config
from gimel.analysis.report import experiment_report
from gimel.hyperloglog import Count
from gimel.ops import formats
from gimel.ops.commands.main import main
from gimel.ops.commands.serve import _use_redis
from gimel.ops.server import redis_process
from tests.calls import EVENT
from tests.parts import ROOT, missing

PLAIN = {"label": "red", "trials": 1}


def run(*arguments: str, code: int = 0):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def tracked(redis_server, monkeypatch, tmp_path):
    """A Redis with two experiments, named by the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIMEL_REDIS_URL", redis_server.url)
    for number in range(4):
        gimel.track({**EVENT, "uuid": number})
    gimel.track({**EVENT, "event": "buy"})
    gimel.track({**EVENT, "experiment": "=1+1", "variant": "[red]bold"})


def test_the_table_shows_counts_and_rates(tracked):
    output = run("report").stdout
    assert "button color" in output
    assert "nothing to compare" in output
    assert "[red]bold" in output
    assert "no goal reached yet" in output


def test_an_uplift_without_an_upper_end_shows_its_lower_one(tracked):
    arms = {"none": (300, 0), "shown": (300, 40), "never": (300, 0)}
    for variant, (everyone, buyers) in arms.items():
        for event, count in (("participate", everyone), ("buy", buyers)):
            for number in range(count):
                gimel.track({**EVENT, "experiment": "rare goal", "variant": variant, "event": event, "uuid": number})
    (item,) = json.loads(run("report", "rare goal", "--format", "json").stdout)
    bounds = {row["label"]: row["uplift_interval"] for row in item["goals"][0]["results"]}
    assert (item["control"], bounds["shown"]["high"], bounds["none"]["low"]) == ("never", None, -1)
    lines = run("report", "rare goal").stdout.splitlines()
    shown = {line.split()[0]: line for line in lines if line.split()[:1] and line.split()[0] in arms}
    assert f"+{100 * bounds['shown']['low']:,.0f} % or more" in shown["shown"]
    assert "or more" not in shown["none"]


def test_only_named_experiments_are_shown_and_unknown_ones_told(tracked):
    result = run("report", "button color", "nobody's", code=1)
    assert "=1+1" not in result.stdout
    assert 'There is no experiment "nobody\'s"' in result.stderr


def test_names_of_any_kind_are_told_as_they_are(tracked):
    result = run("report", "[/x]", "a[b]", "evil\x1b[31m", "--namespace", "[/y]", code=1)
    assert "There is no experiment '[/x]' in namespace '[/y]'" in result.stderr
    assert "'a[b]'" in result.stderr
    assert "\x1b" not in result.stderr


def test_what_could_move_the_cursor_is_shown_as_a_sign(tracked, redis_server):
    name = "evil\x1b[31mRED\u202e"
    key = f"alephbet:counters:{name}:participate:a"
    client = redis_server.client()
    client.sadd("alephbet:experiments", name)
    client.sadd(f"alephbet:{name}:counter_keys", key)
    client.pfadd(key, "u1")
    output = run("report").stdout
    assert "evil\N{REPLACEMENT CHARACTER}[31mRED\N{REPLACEMENT CHARACTER}" in output
    assert "\x1b[31m" not in output


def test_a_wrong_split_is_explained_before_any_goal_is_reached():
    report = experiment_report({"participate": {"a": Count(5210), "b": Count(4790)}})
    console = Console(file=io.StringIO(), width=300)
    console.print(formats.as_text([{"experiment": "e", **report}]))
    assert report["sample_ratio"]["reason"] in console.file.getvalue()


@pytest.mark.parametrize("name", ["=1", "+1", "-1", "@a"])
def test_no_name_is_a_formula_in_a_spreadsheet(name):
    (row,) = csv.DictReader(io.StringIO(formats.as_csv([{"experiment": name, "goals": [], "participants": [PLAIN]}])))
    assert row["experiment"] == f"'{name}"


def test_json_is_the_report_and_nothing_else(tracked):
    (item,) = json.loads(run("report", "button color", "--format", "json").stdout)
    assert item["experiment"] == "button color"
    assert [(one["label"], one["trials"]) for one in item["participants"]] == [("red", 4)]


def test_csv_has_a_row_for_each_variant_and_no_formula(tracked):
    rows = list(csv.DictReader(io.StringIO(run("report", "--format", "csv").stdout)))
    assert [row["experiment"] for row in rows] == ["'=1+1", "button color"]
    assert rows[1]["successes"] == "1"
    assert (rows[1]["comparisons"], rows[1]["expected_share"]) == ("1", "1")
    assert float(rows[1]["participants_counting_error"]) < 0.01


def test_a_report_over_http_is_the_same(tracked, serve, redis_server):
    server = serve("--api-key", "k", GIMEL_REDIS_URL=redis_server.url)
    local = run("report", "--format", "json").stdout
    for url in (server.url, f"{server.url}/track", f"{server.url}/"):
        assert run("report", "--format", "json", "--url", url, "--api-key", "k").stdout == local
    assert "--api-key or GIMEL_API_KEY" in run("report", "--url", server.url, code=1).stderr
    server.stop()
    assert "cannot be reached" in run("report", "--url", server.url, code=1).stderr


def test_what_a_terminal_cannot_write_ends_no_report(tracked):
    name = "größer 🎯"
    gimel.track({**EVENT, "experiment": name})
    for encoding, shown in (("ascii", r"gr\xf6\xdfer \U0001f3af"), ("latin-1", r"größer \U0001f3af")):
        environ = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
        for form in ("table", "json", "csv", "html"):
            command = [sys.executable, "-m", "gimel.ops.commands.main", "report", name, "--format", form]
            done = subprocess.run(command, env=environ, capture_output=True)
            assert done.returncode == 0, done.stderr
            assert shown in done.stdout.decode(encoding) if form == "table" else name in done.stdout.decode()


def test_arguments_that_are_no_text_are_told(tracked, serve, redis_server):
    server = serve(GIMEL_REDIS_URL=redis_server.url)
    for options in ([], ["--url", server.url]):
        assert "scope is not valid UTF-8" in run("report", "a\udcff", *options, code=1).stderr


@pytest.mark.parametrize("url", ["example.org", "http://[", "http://localhost:abc", "ftp://h"])
def test_what_is_no_address_is_told(url):
    assert "is not a web address" in run("report", "--url", url, code=1).stderr


def test_a_key_of_any_script_is_sent_as_it_is(tracked, serve, redis_server):
    server = serve("--api-key", "kľúč", GIMEL_REDIS_URL=redis_server.url)
    assert "button color" in run("report", "--url", server.url, "--api-key", "kľúč").stdout


def test_the_data_of_a_stopped_server_can_be_reported(serve, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if not redis_process.find_server():
        missing("no redis-server: install the Debian package redis-server")
    data = tmp_path / "data"
    serve("--data", str(data)).stop()
    result = run("report", "--data", str(data))
    assert "Nothing has been tracked" in result.stderr


def test_without_any_redis_the_command_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "start `gimel serve`" in run("report", "--data", str(tmp_path / "none"), code=1).stderr


def test_a_redis_that_is_down_is_told_without_a_stack_trace(tmp_path, monkeypatch):
    monkeypatch.setenv("GIMEL_REDIS_URL", "redis://127.0.0.1:1")
    result = run("report", code=1)
    assert "Connection refused" in result.stderr
    assert "check that Redis is running" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_password_of_redis_is_to_be_mended_and_not_tried_again(redis_server, monkeypatch):
    redis_server.client().config_set("requirepass", "right")
    monkeypatch.setenv("GIMEL_REDIS_URL", redis_server.url.replace("redis://", "redis://:wrong-secret@"))
    told = run("report", code=1).stderr
    assert "check redis.username and redis.password" in told
    assert "try again" not in told
    assert "wrong-secret" not in told


def test_a_server_in_trouble_is_told_with_its_hint(serve, redis_server):
    server = serve(GIMEL_REDIS_URL=redis_server.url)
    redis_server.stop()
    told = run("report", "--url", server.url, code=1).stderr
    assert "answered 503: could not store or read counts: retry the same request later" in told


def test_configure_writes_a_private_file_and_never_over_another(tmp_path):
    path = tmp_path / "made" / "config.json"
    run("configure", "--config", str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("mine")
    assert "--force" in run("configure", "--config", str(path), code=1).stderr
    assert path.read_text() == "mine"
    run("configure", "--config", str(path), "--force")
    assert "redis" in json.loads(path.read_text())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_configure_writes_what_the_environment_names(tmp_path, monkeypatch):
    monkeypatch.setenv("GIMEL_CONFIG", str(tmp_path / "named.json"))
    assert "named.json" in run("report", code=1).stderr
    run("configure")
    assert "redis.host: must be" in run("report", code=1).stderr


def test_a_configuration_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "place" / "config.json").mkdir(parents=True)
    told = run("configure", "--config", str(tmp_path / "place" / "config.json"), "--force", code=1).stderr
    assert "cannot be written (Is a directory)" in told
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["config.json"]


def test_configure_opens_the_editor_on_request(tmp_path, monkeypatch):
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho "{}" > "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.delenv("VISUAL", raising=False)
    run("configure", "--edit")
    assert (tmp_path / ".gimel" / "config.json").read_text() == "{}\n"


def test_a_wrong_configuration_is_told_in_plain_words(tmp_path):
    path = tmp_path / "c.json"
    path.write_text('{"redis": {"port": "a"}}')
    result = run("report", "--config", str(path), code=1)
    assert "redis.port: must be a whole number" in result.stderr


def test_without_redis_server_an_imitation_serves_with_a_warning(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(redis_process, "find_server", lambda: None)
    with ExitStack() as stack:
        assert _use_redis(config.Config(), tmp_path, stack) == "in-memory fakeredis (nothing is saved)"
        gimel.track(EVENT)
        assert gimel.all({})[1]["participants"][0]["trials"] == 1
    assert "nothing will be kept" in capsys.readouterr().err
