"""`gimel plan` as typed in a terminal."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

import gimel
from gimel import histories
from gimel.errors import BadRequest
from gimel.histories import History
from gimel.keyspace import history_key
from gimel.ops import plan_formats, resources, text_plot
from tests.calls import EVENT
from tests.commands.test_main import fail, run

ASKED = ("plan", "--rate", "5%", "--change", "10%", "--per-day", "400")


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """No configuration of this machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))


def found(*more: str) -> dict:
    return json.loads(run(*ASKED, *more, "--format", "json").stdout)


def test_the_table_has_the_numbers_of_the_json():
    ways, shown = found()["ways"], run(*ASKED).stdout
    for way in (*ways.values(), ways["always_valid"]["typical"]):
        assert f"{way['visitors']:,}" in shown
    shown = " ".join(shown.split())
    assert f"planned_visitors={ways['planned']['visitors'] // 2} smallest_change=0.1 (of each variant)" in shown


def test_the_precision_is_that_of_the_configuration(tmp_path):
    assert found()["precision"] == resources.PRECISION
    file = tmp_path / "config.json"
    file.write_text('{"precision": "exact"}')
    assert found()["ways"]["planned"]["visitors"] == 75_642
    assert found("--weights", "9,1")["shares"] == [0.9, 0.1]
    file.write_text('{"precision": 64, "experiments": {"small": {"precision": "exact"}}}')
    assert [found("--experiment", name)["precision"] for name in ("small", "other")] == ["exact", 64]
    file.write_text("{}")
    hidden = run("plan", "--rate", "20%", "--change", "1%", "--per-day", "400").stdout
    assert "counting error of precision 1 hides this change" in " ".join(hidden.split())


def test_wrong_options_are_all_named():
    error = fail(BadRequest, "plan", "--rate", "5", "--change", "0", "--per-day", "x")
    assert all(f"{name} must be" in error for name in ("rate", "change", "per_day"))


def reported(goals: dict[str, tuple[int, str]], per_day: float) -> dict[str, Any]:
    """An experiment whose control, of 400 visitors, has so many successes of goals of this kind."""
    rows = {goal: [{"label": "a", "trials": 400, "rate": n / 400, "successes": n}] for goal, (n, _) in goals.items()}
    found = [{"goal": goal, "kind": kind, "results": rows[goal]} for goal, (_, kind) in goals.items()]
    return {
        "experiment": "old one",
        "control": "a",
        "goals": found,
        "visitors_per_day": {"a": per_day / 2, "b": per_day / 2},
    }


@pytest.fixture
def like(monkeypatch):
    """Plans by what an API reports of an experiment."""

    def planned(item: dict[str, Any]) -> tuple[str, ...]:
        monkeypatch.setattr("gimel.ops.commands.experiment.fetch_report", lambda url, key, params: [item])
        return ("plan", "--change", "10%", "--url", "https://x.example", "--like", "old one")

    return planned


def test_the_figures_of_another_experiment_are_taken_unless_given(like):
    """With three digits, as on the page: 12.25 % is 12.3 %, and 240.5 is 241."""
    asked = like(reported({"buy": (49, "proportion"), "view": (300, "per_visitor"), "all": (400, "proportion")}, 240.5))
    shown = run(*asked, "--format", "json")
    assert [json.loads(shown.stdout)[key] for key in ("rate", "per_day")] == [pytest.approx(0.123), 241]
    assert shown.stderr == (
        "As in 'old one': 49 of 400 visitors of its control 'a' reached 'buy'; "
        "240 visitors per day came over its last 7 full days.\n"
    )
    assert run(*asked, "--rate", "5%").stdout.startswith(
        "As in 'old one': 240 visitors per day came over its last 7 full days.\n"
        "To detect a rise of 10 % from a rate of 5 % with a chance of 80 %, at 241 visitors per day\n"
    )
    assert run(*asked, "--rate", "5%", "--per-day", "400").stdout == run(*ASKED).stdout


def test_figures_are_taken_from_redis(redis_server, monkeypatch):
    monkeypatch.setenv("GIMEL_REDIS_URL", redis_server.url)
    for event, visitors in (("participate", 20), ("buy", 5)):
        for number in range(visitors):
            gimel.track({**EVENT, "namespace": "shop", "event": event, "uuid": number})
    today = histories.now() // histories.DAY * histories.DAY
    counts = {"participate": {"red": (0, 12, 20)}, "buy": {"red": (0, 2, 5)}}
    history = History((today - 2 * histories.DAY, today - histories.DAY, today), counts)
    redis_server.client().set(history_key("shop", EVENT["experiment"]), history.encode())
    asked = ("plan", "--change", "10%", "--namespace", "shop", "--like")
    shown = json.loads(run(*asked, EVENT["experiment"], "--format", "json").stdout)
    assert (shown["rate"], shown["per_day"]) == (0.25, 8)
    told = run(*asked, "buton color", code=1).stderr
    assert told == "No experiment 'buton color' in namespace 'shop'. Did you mean 'button color'?\n"


@pytest.mark.parametrize(
    ("goals", "per_day", "options", "error"),
    [
        ({"buy": 9, "sign up": 9}, 5, (), "several goals: --goal must be one of 'buy', 'sign up'"),
        ({"buy": 9, "sign up": 9}, 5, ("--goal", "by"), "no conversion rate for 'by': --goal must be one of 'buy', 's"),
        ({"buy": 0}, 5, (), "no goal of 'old one' has a conversion rate above 0 % and below 100 % yet: give --rate"),
        ({"buy": 9}, 0, (), "'old one' has no full day of visitors yet: give --per-day"),
        ({"buy": 0}, 0, (), "give --rate; 'old one' has no full day of visitors yet"),
    ],
)
def test_what_another_experiment_has_no_figures_for_is_told(like, goals, per_day, options, error):
    item = reported({goal: (count, "proportion") for goal, count in goals.items()}, per_day)
    assert error in fail(BadRequest, *like(item), *options)


@pytest.mark.parametrize(
    "options", [("--rate", "5%"), ("--per-day", "5"), (*ASKED[3:], "--rate", "5%", "--goal", "buy")]
)
def test_without_another_experiment_all_figures_are_given(options):
    assert "--like EXPERIMENT" in run("plan", "--change", "10%", *options, code=2).stderr


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_of_tables_and_plot_is_wider_than_the_terminal(width):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(plan_formats.as_text(found(), width))
    assert max(map(len, console.export_text().splitlines())) <= width
    title, *_, hint = run(*ASKED).stdout.splitlines()  # in one piece, however narrow
    assert title.endswith("at 400 visitors per day")
    assert hint.startswith("To decide by the planned size: gimel experiment set NAME planned_visitors=")


def test_the_marks_of_the_plot_stand_at_the_days():
    """The longest way ends at the right edge, and in every line a single look is before the planned size."""
    head, *lines, legend = text_plot.of_plan(found(), 80)
    assert (head.split()[-2:], legend) == (
        [str(found()["ways"]["always_valid"]["days"]), "days"],
        text_plot.PLAN_LEGEND,
    )
    assert len(lines) in range(10, 16)
    assert all(line.find("s") < line.find("p") for line in lines if "s" in line and "p" in line)
    places = [line.find("p") for line in lines if "p" in line]
    assert places == sorted(places)
    assert text_plot.of_plan(found(), 20) == []
