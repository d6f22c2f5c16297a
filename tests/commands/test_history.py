"""`gimel history`: the series of an experiment in the terminal or as a file."""

import csv
import io
import json

import pytest

import gimel
from gimel import connection
from gimel.histories import DAY, History, as_text
from gimel.keyspace import history_key
from gimel.ops import history_formats
from tests.calls import EVENT
from tests.commands.test_main import run, tracked  # noqa: F401

NOW = 29_401_920 // DAY * DAY + 600
NAME = "new header"
MOMENTS = (NOW - 600 - 2 * DAY, NOW - 600 - DAY, NOW - 600, NOW - 300)


@pytest.fixture
def grown(tracked, monkeypatch):  # noqa: F811
    """An experiment with a history of two days and a half."""
    monkeypatch.setattr("gimel.reports.now", lambda: NOW)
    for number in range(40):
        gimel.track({**EVENT, "experiment": NAME, "variant": ("blue", "red")[number % 2], "uuid": number})
    for number in (1, 3, 5, 4):
        gimel.track(
            {**EVENT, "experiment": NAME, "variant": ("blue", "red")[number % 2], "uuid": number, "event": "=buy"}
        )
    past = History(
        MOMENTS,
        {"participate": {"blue": (0, 8, 16, 18), "red": (0, 8, 15, 19)}, "=buy": {"red": (0, 1, 2, 2)}},
    )
    connection.client().set(history_key("alephbet", NAME), past.encode())


def test_the_csv_has_the_figures_of_the_json(grown):
    answer = json.loads(run("history", NAME, "--format", "json").stdout)
    text = run("history", NAME, "--format", "csv").stdout
    assert text.splitlines()[0] == (
        "experiment,at,goal,variant,participants,successes,rate,difference,low,high,once_low,once_high"
    )
    read = [*csv.DictReader(io.StringIO(text))]
    assert [row["at"] for row in read[::2]] == [as_text(moment) for moment in (*MOMENTS, NOW)]
    assert {row["goal"] for row in read} == {"'=buy"}
    expected = [*history_formats.rows(answer)]
    assert len(read) == len(expected) == 10
    for row, values in zip(read, expected):
        for name, value in values.items():
            if isinstance(value, str):
                assert row[name].lstrip("'") == value
            else:
                assert (row[name] == "") == (value is None)
                assert value is None or float(row[name]) == value
    last = {row["variant"]: row for row in read[-2:]}
    assert [last["red"][name] for name in ("participants", "successes", "rate")] == ["20", "3", "0.15"]
    assert last["blue"]["difference"] == ""


def test_the_table_has_a_line_for_each_day(grown):
    shown = run("history", NAME, "--control", "red").stdout
    days = [as_text(moment)[:10] for moment in (NOW - 2 * DAY, NOW - DAY, NOW)]
    assert [line.split()[0] for line in shown.splitlines() if line.startswith("20")] == days
    assert "=buy" in shown
    (last,) = [line for line in shown.partition("=buy")[2].splitlines() if line.startswith(days[-1])][:1]
    assert "15.00 %" in last
    assert "\N{MINUS SIGN}10 (\N{MINUS SIGN}100 to +100)" in last


def test_an_unknown_experiment_is_an_error_with_a_suggestion(grown):
    result = run("history", "new haeder", code=1)
    assert "No experiment 'new haeder' in namespace 'alephbet'. Did you mean 'new header'?" in result.stderr


def test_a_history_over_http_is_the_same(grown, serve, redis_server):
    server = serve("--api-key", "k", GIMEL_REDIS_URL=redis_server.url)
    here = run("history", NAME, "--format", "csv").stdout.splitlines()
    there = run("history", NAME, "--format", "csv", "--url", server.url, "--api-key", "k").stdout.splitlines()
    assert there[0] == here[0]
    assert [line.partition("Z,")[2] for line in there[-2:]] == [line.partition("Z,")[2] for line in here[-2:]]
