"""The `gimel` command as typed in a terminal."""

import csv
import gzip
import io
import json
import os
import re
import stat
import subprocess
import sys
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from unittest.mock import patch
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner

import gimel
from gimel import config, histories
from gimel.errors import BadRequest, ConfigError, GimelError, StoreUnavailable
from gimel.histories import History
from gimel.keyspace import history_key
from gimel.ops import api_client, formats, text_plot
from gimel.ops.api_client import ApiError, ApiKeyRefused, ApiUnreachable, InvalidUrl
from gimel.ops.commands.console import read_key
from gimel.ops.commands.main import main
from gimel.ops.commands.serve import _use_redis
from gimel.ops.server import redis_process
from gimel.snippet import InvalidSnippet, goal_variables
from tests.calls import EVENT
from tests.parts import ROOT, missing

PLAIN = {"label": "red", "trials": 1}


def run(*arguments: str, code: int = 0):
    with patch("gimel.ops.commands.console.stop_on_signals"):
        result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, result.output
    return result


def fail(kind: type[GimelError], *arguments: str) -> str:
    """What the command prints to stderr when it ends with this error."""
    result = run(*arguments, code=1)
    assert type(result.exception.__context__) is kind
    assert "Traceback" not in result.output
    return result.stderr


@pytest.fixture
def tracked(redis_server, monkeypatch, tmp_path):
    """A Redis with two experiments, set in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIMEL_REDIS_URL", redis_server.url)
    for number in range(4):
        gimel.track({**EVENT, "uuid": number})
    gimel.track({**EVENT, "event": "buy"})
    gimel.track({**EVENT, "experiment": "=1+1", "variant": "[red]bold"})


def test_the_table_shows_counts_and_rates(tracked):
    output = run("report").stdout
    for text in ("button color", "nothing to compare", "[red]bold", "no goal reached yet"):
        assert text in output.lower()


def test_an_uplift_may_have_no_upper_end(tracked):
    arms = {"none": (300, 0), "shown": (300, 40), "never": (300, 0)}
    for variant, (everyone, buyers) in arms.items():
        for event, count in (("participate", everyone), ("buy", buyers)):
            for number in range(count):
                gimel.track({**EVENT, "experiment": "rare goal", "variant": variant, "event": event, "uuid": number})
    (item,) = json.loads(run("report", "rare goal", "--format", "json").stdout)
    bounds = {row["label"]: row["uplift_interval"] for row in item["goals"][0]["results"]}
    assert (item["control"], bounds["shown"]["high"], bounds["none"]["low"]) == ("never", None, -1)


def test_only_named_experiments_are_shown(tracked):
    result = run("report", "button color", "nobody's", code=1)
    assert "button color" in result.stdout
    assert "=1+1" not in result.stdout
    assert result.stderr == "No experiment \"nobody's\" in namespace 'alephbet'.\n"


def test_a_report_has_plots_over_time_where_there_are_histories(tracked, redis_server):
    for number in range(20):
        for variant in ("blue", "green"):
            for event in ("participate", "buy")[: 1 + (number > 9)]:
                gimel.track({**EVENT, "experiment": "grown", "variant": variant, "event": event, "uuid": number})
    assert text_plot.LEGEND not in run("report", "grown").stdout
    moments = tuple(histories.now() - histories.DAY * back for back in range(12, 0, -1))
    counts = {goal: {label: tuple(range(12)) for label in ("blue", "green")} for goal in ("participate", "buy")}
    redis_server.client().set(history_key("alephbet", "grown"), History(moments, counts).encode())
    plotted = run("report", "grown").stdout
    assert "green - blue over time, percentage points" in plotted
    assert plotted.count(text_plot.LEGEND) == 1
    page = run("report", "--format", "html").stdout
    (inside,) = re.findall('id="snapshot">(.*?)</script>', page)
    points = {each["experiment"]: len(each["at"]) for each in json.loads(inside)["histories"]}
    assert points["grown"] == 13
    assert {"button color", "=1+1"} < set(points)


@pytest.mark.parametrize("name", ["buton color", "BUTTON COLOR", "button,color", "color"])
def test_an_unknown_name_gets_a_suggestion_from_redis_or_the_api(tracked, serve, redis_server, name):
    server = serve(GIMEL_REDIS_URL=redis_server.url)
    for options in ([], ["--url", server.url]):
        result = run("report", name, "=1+1", "--format", "csv", *options, code=1)
        expected = f"No experiment '{name}' in namespace 'alephbet'. Did you mean 'button color'?\n"
        assert (result.stderr, "'=1+1" in result.stdout) == (expected, True)


def test_the_api_is_asked_for_all_names_only_if_one_is_unknown(tracked, monkeypatch):
    asked = []
    fetch = lambda url, key, params: asked.append(params) or gimel.all(params)  # noqa: E731
    monkeypatch.setattr("gimel.ops.commands.report.fetch_report", fetch)
    monkeypatch.setattr("gimel.ops.commands.report.fetch_history", lambda url, key, params: gimel.history(params))
    run("report", "button color", "--url", "https://x.example")
    run("report", "blue", "--url", "https://x.example", code=1)
    gimel.track({**EVENT, "experiment": "a,b"})
    run("experiment", "stop", "a,b")
    run("experiment", "archive", "a,b", "--yes")  # then it is not among all
    run("report", "a,b", "--url", "https://x.example")
    every = {"namespace": "alephbet", "limit": "100"}
    scopes = [asked.pop(0)["scope"] for _ in range(2)]
    assert (scopes, asked) == (["button color", "blue"], [every, {**every, "scope": "a,b"}])


@pytest.mark.parametrize("source", ["Redis", "an API"])
def test_a_report_is_read_in_pages(tracked, monkeypatch, serve, redis_server, source):
    monkeypatch.setattr("gimel.ops.commands.report.PAGE", 3)
    for number in range(8):
        gimel.track({**EVENT, "experiment": f"e{number}"})
    options = ["--url", serve(GIMEL_REDIS_URL=redis_server.url).url] if source == "an API" else []
    assert [item["experiment"] for item in json.loads(run("report", "--format", "json", *options).stdout)] == [
        *("=1+1", "button color"),
        *(f"e{number}" for number in range(8)),
    ]


def test_an_api_that_knows_no_pages_is_read_at_once(tracked, monkeypatch):
    def fetch(url, key, params):
        _, *items = gimel.all({"namespace": params["namespace"]})
        return [{"meta": {"scope": None}}, *items]

    monkeypatch.setattr("gimel.ops.commands.report.fetch_report", fetch)
    monkeypatch.setattr("gimel.ops.commands.report.PAGE", 1)
    found = json.loads(run("report", "--url", "https://x.example", "--format", "json").stdout)
    assert sorted(item["experiment"] for item in found) == ["=1+1", "button color"]


def test_an_api_that_names_the_same_page_again_is_not_read_for_ever(tracked, monkeypatch):
    page = [{"meta": {"scope": None, "next": "button color"}}, gimel.all({})[1]]
    monkeypatch.setattr("gimel.ops.commands.report.fetch_report", lambda url, key, params: page)
    assert len(json.loads(run("report", "--url", "https://x.example", "--format", "json").stdout)) == 2


def test_a_compressed_answer_is_read(tracked, serve, redis_server):
    for number in range(30):
        gimel.track({**EVENT, "experiment": "large", "event": f"goal {number}"})
    server = serve(GIMEL_REDIS_URL=redis_server.url)
    assert "goal 29" in run("report", "large", "--url", server.url).stdout
    asked = Request(f"{server.url}/experiments?scope=large", headers={"Accept": "*/*", "Accept-Encoding": "gzip"})
    with urlopen(asked, timeout=10) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert json.loads(gzip.decompress(answer.read()))[1]["experiment"] == "large"


@pytest.mark.parametrize(
    "body",
    [gzip.compress(b"[]" * 1000)[:-9], gzip.compress(b"[]")[:10] + b"\xff\xff", b"[]"],
    ids=["cut off", "broken", "plain"],
)
def test_an_answer_that_is_not_what_it_says_is_an_error(body):
    class Truncated(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *ignored):
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Truncated) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert f"cannot reach {url}" in fail(ApiUnreachable, "report", "--url", url)
        thread.join(10)


def test_drafts_are_shown_and_archived_experiments_named(tracked):
    run("experiment", "set", "next one", "owner=Ann")
    run("experiment", "stop", EVENT["experiment"])
    run("experiment", "archive", EVENT["experiment"], "--yes")
    result = run("report")
    assert "next one\n  a draft" in result.stdout
    assert "=1+1" in result.stdout
    assert "button color" not in result.stdout
    assert result.stderr == "archived, and shown if named: button color\n"
    named = run("report", EVENT["experiment"])
    assert "archived on " in named.stdout
    assert (named.stderr, "buy" in named.stdout) == ("", True)
    assert [row["experiment"] for row in csv.DictReader(io.StringIO(run("report", "--format", "csv").stdout))] == [
        "'=1+1"
    ]


def test_what_was_ignored_today_is_said_below_the_table_only(tracked, monkeypatch):
    def fetch(url, key, params):
        meta, *items = gimel.all(params)
        return [{"meta": {**meta["meta"], "ignored": {"bot": 1204, "limit": 3}}}, *items]

    monkeypatch.setattr("gimel.ops.commands.report.fetch_report", fetch)
    result = run("report", "--url", "https://x.example")
    assert result.stderr.splitlines() == [
        "1,204 requests from bots ignored today",
        "3 requests beyond a limit ignored today: delete experiments that are no longer needed, or raise limits in"
        " config.json",
    ]
    for form in ("json", "csv"):
        assert run("report", "--url", "https://x.example", "--format", form).stderr == ""
    assert '"ignored":{"bot":1204,"limit":3}' in run("report", "--url", "https://x.example", "--format", "html").stdout


def test_names_of_any_kind_are_printed_safely(tracked):
    result = run("report", "[/x]", "a[b]", "evil\x1b[31m", "--namespace", "[/y]", code=1)
    assert "No experiment '[/x]' in namespace '[/y]'" in result.stderr
    assert "'a[b]'" in result.stderr
    assert "\x1b" not in result.stderr


def test_control_characters_are_replaced(tracked, redis_server):
    name = "evil\x1b[31mRED\u202e"
    key = f"alephbet:counters:{name}:participate:a"
    client = redis_server.client()
    client.sadd("alephbet:experiments", name)
    client.sadd(f"alephbet:{name}:counter_keys", key)
    client.pfadd(key, "u1")
    output = run("report").stdout
    assert "evil\N{REPLACEMENT CHARACTER}[31mRED\N{REPLACEMENT CHARACTER}" in output
    assert "\x1b[31m" not in output


@pytest.mark.parametrize("name", ["=1", "+1", "-1", "@a"])
def test_no_name_is_a_formula_in_a_spreadsheet(name):
    (row,) = csv.DictReader(io.StringIO(formats.as_csv([{"experiment": name, "goals": [], "participants": [PLAIN]}])))
    assert row["experiment"] == f"'{name}"


def test_json_is_only_the_report(tracked):
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
    run("snapshot")  # or the server takes one meanwhile
    server = serve("--api-key", "k", GIMEL_REDIS_URL=redis_server.url)
    local = run("report", "--format", "json").stdout
    for url in (server.url, f"{server.url}/track", f"{server.url}/e", f"{server.url}/"):
        assert run("report", "--format", "json", "--url", url, "--api-key", "k").stdout == local
    assert "--api-key or GIMEL_API_KEY" in fail(ApiKeyRefused, "report", "--url", server.url)
    server.stop()
    assert f"cannot reach {server.url} (Connection refused)" in fail(ApiUnreachable, "report", "--url", server.url)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", r"gr\xf6\xdfer - - ... x +/- \U0001f3af"), ("latin-1", r"größer - - ... × ± \U0001f3af")],
)
def test_a_terminal_that_lacks_a_letter_shows_a_stand_in(tracked, encoding, shown):
    name = "größer − – … × ± 🎯"
    gimel.track({**EVENT, "experiment": name})
    environ = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    for form in ("table", "json", "csv", "html"):
        command = [sys.executable, "-m", "gimel.ops.commands.main", "report", name, "--format", form]
        done = subprocess.run(command, env=environ, capture_output=True, timeout=30)
        assert done.returncode == 0, done.stderr
        assert shown in done.stdout.decode(encoding) if form == "table" else name in done.stdout.decode()


def test_arguments_must_be_valid_utf_8(tracked, serve, redis_server):
    server = serve(GIMEL_REDIS_URL=redis_server.url)
    assert "scope is not valid UTF-8" in fail(BadRequest, "report", "a\udcff")
    assert "scope is not valid UTF-8" in fail(ApiError, "report", "a\udcff", "--url", server.url)


@pytest.mark.parametrize(
    "url", ["example.org", "http://[", "http://localhost:abc", "ftp://h", "https://h/?a=b", "https://h/a b", "http://"]
)
@pytest.mark.parametrize("command", ["report", "dashboard"])
def test_the_url_must_be_a_web_address(command, url):
    assert "is not a web address" in fail(InvalidUrl, command, "--url", url)


def test_a_key_in_any_script_is_sent_unchanged(tracked, serve, redis_server):
    server = serve("--api-key", "kľúč", GIMEL_REDIS_URL=redis_server.url)
    assert "button color" in run("report", "--url", server.url, "--api-key", "kľúč").stdout


def test_a_key_in_a_file_is_in_no_list_of_processes(tracked, serve, redis_server, tmp_path, monkeypatch):
    (tmp_path / "key").write_text("kľúč\n")
    file = "--api-key-file", str(tmp_path / "key")
    server = serve(*file, GIMEL_REDIS_URL=redis_server.url)
    monkeypatch.setenv("GIMEL_API_KEY", "another")
    assert "button color" in run("report", "--url", server.url, *file).stdout
    assert "refused the API key" in fail(ApiKeyRefused, "report", "--url", server.url)
    assert "kľúč" not in " ".join(server.process.args)


def test_a_byte_order_mark_is_no_part_of_the_key(tmp_path):
    (tmp_path / "key").write_bytes(b"\xef\xbb\xbfsecret\r\n")
    assert read_key(tmp_path / "key", "--api-key-file") == "secret"


def test_a_key_file_that_holds_no_key_is_an_error(tmp_path):
    path = tmp_path / "key"
    assert f"cannot read the API key in {path} (No such file" in fail(ConfigError, "serve", "--api-key-file", str(path))
    path.write_text("\n")
    assert "has no API key on its first line" in fail(ConfigError, "report", "--api-key-file", str(path))
    path.write_bytes(b"\xff")
    assert "not valid UTF-8" in fail(ConfigError, "dashboard", "--api-key-file", str(path))
    assert "use either" in run("report", "--api-key", "k", "--api-key-file", str(path), code=2).stderr


def test_the_data_folder_is_reported_whether_its_server_runs_or_not(serve, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if not redis_process.find_server():
        missing("no redis-server: install the Debian package redis-server")
    server = serve("--data", str(tmp_path / "data"))
    with monkeypatch.context() as without_redis:
        without_redis.setattr(redis_process, "find_server", lambda: None)
        assert "No events" in run("report", "--data", str(tmp_path / "data")).stderr
    server.stop()
    assert "No events" in run("report", "--data", str(tmp_path / "data")).stderr


def test_without_redis_the_report_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "start `gimel serve`" in run("report", "--data", str(tmp_path / "none"), code=1).stderr


def test_redis_being_down_is_an_error_without_a_stack_trace(monkeypatch):
    monkeypatch.setenv("GIMEL_REDIS_URL", "redis://127.0.0.1:1")
    error = fail(StoreUnavailable, "report")
    assert "Connection refused" in error
    assert "check that Redis is running" in error


def test_a_wrong_redis_password_is_an_error_that_hides_it(redis_server, monkeypatch):
    redis_server.client().config_set("requirepass", "right")
    monkeypatch.setenv("GIMEL_REDIS_URL", redis_server.url.replace("redis://", "redis://:wrong-secret@"))
    error = run("report", code=1).stderr
    assert "check redis.username and redis.password" in error
    assert "try again" not in error
    assert "wrong-secret" not in error


def test_an_api_in_trouble_is_an_error_with_its_own_hint(serve, redis_server):
    server = serve(GIMEL_REDIS_URL=redis_server.url)
    redis_server.stop()
    error = fail(ApiError, "report", "--url", server.url)
    assert (
        f"{server.url} answered 503 Service Unavailable: could not store or read counts: retry the same request later"
        in error
    )


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[1]"])
def test_an_answer_other_than_a_report_is_an_error(monkeypatch, body):
    monkeypatch.setattr(api_client, "request", lambda *ignored: api_client.Reply(200, {}, body))
    assert "did not answer with a report" in fail(ApiError, "report", "--url", "https://x.example")


def test_configure_creates_a_private_file_and_overwrites_only_by_force(tmp_path):
    path = tmp_path / "made" / "config.json"
    run("configure", "--config", str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("mine")
    assert "--force" in fail(ConfigError, "configure", "--config", str(path))
    assert path.read_text() == "mine"
    run("configure", "--config", str(path), "--force")
    assert "redis" in json.loads(path.read_text())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_configure_writes_the_file_named_in_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("GIMEL_CONFIG", str(tmp_path / "named.json"))
    assert "named.json" in fail(ConfigError, "report")
    run("configure")
    assert "redis.host is still" in fail(ConfigError, "report")


def test_a_failed_configure_leaves_nothing_behind(tmp_path):
    (tmp_path / "place" / "config.json").mkdir(parents=True)
    error = fail(ConfigError, "configure", "--config", str(tmp_path / "place" / "config.json"), "--force")
    assert "config.json (Is a directory)" in error
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["config.json"]


def test_configure_opens_the_editor_on_request(tmp_path, monkeypatch):
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho "{}" > "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.delenv("VISUAL", raising=False)
    run("configure", "--edit")
    assert (tmp_path / ".gimel" / "config.json").read_text() == "{}\n"


def test_without_redis_server_fakeredis_serves_with_a_warning(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(redis_process, "find_server", lambda: None)
    with ExitStack() as stack:
        assert _use_redis(config.Config(), tmp_path, 1, stack) == "in-memory fakeredis (nothing is saved)"
        gimel.track(EVENT)
        assert gimel.all({})[1]["participants"][0]["trials"] == 1
    assert "counts are lost on exit" in capsys.readouterr().err


def test_a_snippet_that_no_page_could_use_is_an_error_that_names_every_problem():
    names = ("--namespace", "a:b", "--experiment", "", "--variants", "x", "--goals", "participate,\x07,a,a")
    error = fail(InvalidSnippet, "snippet", "--url", "htp:/x", *names)
    assert error.removeprefix("Error: ").rstrip().split("; ") == [
        "'htp:/x' is not a web address",
        "experiment is empty",
        "namespace contains a colon",
        "goal contains a control character",
        "variants must be at least two different names, separated by commas",
        "goals must be at least one name, and all different",
        "participate cannot be a goal: it is the event of entering the experiment",
    ]


def test_weights_and_goals_that_no_page_could_use_are_errors():
    error = fail(InvalidSnippet, "snippet", "--weights", "0.5,0.5,1", "--goals", "", "--per-visitor", "view")
    assert error.removeprefix("Error: ").rstrip().split("; ") == [
        "goals must be at least one name, and all different",
        "per_visitor must name goals, and view is none",
        "weights must be as many as variants: 2, not 3",
        "weights must be whole numbers from 1 to 1,000,000, such as 9,1",
    ]
    assert "weights must be" in fail(InvalidSnippet, "snippet", "--weights", "1,1000001")


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("", "/track"),  # an API of any age answers it
        ("/", "/track"),
        ("/track", "/track"),
        ("/experiments", "/track"),
        ("/e", "/e"),
        ("/counts/", "/counts"),
        ("/e/experiments", "/e/track"),
        ("/other", "/other/track"),
    ],
)
def test_a_snippet_uses_the_path_of_events_that_its_url_names(given, used, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text('{"track_path": "/counts"}')
    shown = run("snippet", "--url", f"https://ab.example/prod{given}")
    assert f'AlephbetAdapter("https://ab.example/prod{used}", ' in shown.stdout
    assert ("many ad blockers block /track" in shown.stderr) == (used.endswith("/track"))


def test_whoever_has_switched_the_second_path_off_is_not_told_of_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text('{"track_path": false}')
    assert run("snippet", "--url", "https://ab.example").stderr == ""


def test_goal_variables_are_safe_and_different():
    goals = ["signed up", "signed-up", "location", "2nd visit", "רכישה", "5"]
    assert " ".join(goal_variables(goals)) == "goalSignedUp goalSignedUp_2 goalLocation goal2ndVisit goal5 goal5_6"


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_without_any_redis_a_server_says_what_to_install(monkeypatch, command):
    monkeypatch.setattr(redis_process, "find_server", lambda: None)
    monkeypatch.setitem(sys.modules, "fakeredis", None)
    assert "install the Debian package redis-server" in fail(redis_process.NoRedisServer, command)


def test_other_machines_need_an_api_key():
    assert "--api-key-file or GIMEL_API_KEY" in fail(ConfigError, "serve", "--host", "0.0.0.0")


def test_a_snapshot_by_hand_says_what_it_did(tracked):
    assert run("snapshot").stdout == "Snapshot of 2 experiments taken; 2 changed.\n"
    assert run("snapshot").stdout == "Snapshot of 2 experiments taken; 0 changed.\n"
    gimel.delete({"experiment": "=1+1"})
    gimel.track({**EVENT, "uuid": "another"})
    assert run("snapshot").stdout == "Snapshot of 1 experiment taken; 1 changed.\n"
