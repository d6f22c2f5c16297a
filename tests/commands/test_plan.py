"""`gimel plan` as typed in a terminal."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from gimel.errors import BadRequest
from gimel.ops import plan_formats, resources, text_plot
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
    file.write_text("{}")
    hidden = run("plan", "--rate", "20%", "--change", "1%", "--per-day", "400").stdout
    assert "counting error of precision 1 hides this change" in " ".join(hidden.split())


def test_wrong_options_are_all_named():
    error = fail(BadRequest, "plan", "--rate", "5", "--change", "0", "--per-day", "x")
    assert all(f"{name} must be" in error for name in ("rate", "change", "per_day"))


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
