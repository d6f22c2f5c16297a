"""The small plots of a report in the terminal: characters lie where the series' numbers say."""

from __future__ import annotations

import time

import pytest

from gimel.analysis.series import series
from gimel.histories import DAY, History
from gimel.ops import text_plot
from tests.counts import counted

NOW = 29_400_000
RATES = {"blue": 0.05, "red": 0.062}


def made(days: int = 40, everyone: int = 8000) -> dict:
    """The series of an experiment that had `everyone` in each variant after so many days."""
    moments = tuple(NOW - DAY * back for back in range(days, 0, -1))
    came = [everyone * step // days for step in range(days + 1)]
    counts = {
        "participate": dict.fromkeys(RATES, came),
        "buy": {label: [int(visitors * rate) for visitors in came] for label, rate in RATES.items()},
    }
    past = {goal: {label: tuple(values[:-1]) for label, values in found.items()} for goal, found in counts.items()}
    now = {goal: {label: counted(values[-1]) for label, values in found.items()} for goal, found in counts.items()}
    return {"experiment": "x", **series(History(moments, past), now, now=NOW)}


def test_each_line_shows_the_intervals_of_its_moment():
    found = made()
    title, axis, *lines, legend = text_plot.over_time(found, "buy", 80)
    assert title == "red - blue over time, percentage points"
    assert legend == text_plot.LEGEND
    assert [line[:3].strip() for line in lines].count("now") == 1
    one = found["goals"][0]["differences"]["red"]
    low, high = (float(text) / 100 for text in axis.split())
    room = text_plot.LONGEST
    last = lines[-1][text_plot.DAY_WIDTH :]
    ends = {"-": ("low", "high"), "=": ("once_low", "once_high"), "o": ("difference", "difference")}
    for mark, names in ends.items():
        places = [(room - 1) * (one[name][-1] - low) / (high - low) for name in names]
        assert (last.index(mark), last.rindex(mark)) == pytest.approx(places, abs=2)  # the axis is rounded
    assert last.index("|") == pytest.approx((room - 1) * -low / (high - low), abs=2)
    # One sees the interval shrink.
    widths = [len(line[text_plot.DAY_WIDTH :].strip()) for line in lines]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > widths[-1]


@pytest.mark.parametrize("width", [120, 80, 50, 33, 20])
def test_lines_fit_the_terminal_in_ascii(width):
    lines = text_plot.over_time(made(), "buy", width)
    assert all(len(line) <= width and line.isascii() for line in lines if "over time" not in line)
    assert bool(lines) == (width >= text_plot.DAY_WIDTH + text_plot.SHORTEST)


def test_there_is_no_plot_without_a_history():
    assert text_plot.over_time(made(days=1), "buy", 80) == []
    assert text_plot.over_time(made(), "another", 80) == []


def test_an_interval_beyond_the_plot_ends_in_an_arrow():
    assert text_plot._line([-0.5, -0.1, 0.1, 0.2, 0.9], -0.2, 0.8, 11) == "<=|o=----->"
    assert text_plot._line([None, None, 0.1, None, 0.3], -0.2, 0.8, 11) == "<-|o--     "
    assert text_plot._line([None, None, 0.1, None, None], -0.2, 0.8, 11) == "  |o       "


def test_the_ends_of_the_axis_are_plain_numbers():
    axis = text_plot.over_time(made(everyone=40), "buy", 80)[1]
    assert axis.split() == ["-100", "+100"]


def test_days_are_those_of_utc_wherever_the_terminal_is(monkeypatch):
    here = text_plot.over_time(made(), "buy", 80)
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")  # where it is the next day from 10:00 UTC on
    time.tzset()
    try:
        there = text_plot.over_time(made(), "buy", 80)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert there == here
