"""The series of an experiment: figures at moments of its history, which are those of reports made then."""

from __future__ import annotations

import pytest

from gimel.analysis.report import experiment_report
from gimel.analysis.series import MAX_POINTS, MIN_POINTS, series
from gimel.histories import DAY, HOUR, Change, History, as_text
from gimel.plans import Ended
from gimel.settings import ExperimentSettings
from tests.counts import counted

NOW = 29_400_000
DAILY = tuple(NOW - DAY * back for back in range(20, 0, -1))
RATES = {"buy": {"blue": 0.05, "red": 0.06, "green": 0.055}, "leave": {"blue": 0.2, "red": 0.21, "green": 0.19}}


def grown(moments=DAILY, size=40_000, **rates):
    """A history in which counters grow evenly from 0, and the counts of now: one step further."""
    rates = rates or RATES
    counts = {"participate": {label: [size * step // len(moments) for step in range(len(moments) + 1)] for label in
                              next(iter(rates.values()))}}  # fmt: skip
    for goal, of_goal in rates.items():
        counts[goal] = {label: [int(n * rate) for n in counts["participate"][label]] for label, rate in of_goal.items()}
    past = {goal: {label: tuple(values[:-1]) for label, values in found.items()} for goal, found in counts.items()}
    return History(moments, past), {
        goal: {label: values[-1] for label, values in found.items()} for goal, found in counts.items()
    }


def with_errors(counts, precision):
    return {
        goal: {label: counted(value, precision) for label, value in found.items()} for goal, found in counts.items()
    }


def shown(value):
    return None if value is None else float(f"{value:.6g}")


def figures(report):
    """The figures of a report that a series has, by goal, variant and name."""
    decides = "planned_interval" if report["plan"] else "always_valid_interval"
    found = {}
    for goal in report["goals"]:
        for row in goal["results"]:
            if goal["kind"] == "proportion" and row["difference"] is not None:
                band, once = row[decides] or {}, row["difference_interval"] or {}
                bounds = [band.get("low"), band.get("high"), once.get("low"), once.get("high")]
                found[goal["goal"], row["label"]] = [shown(value) for value in (row["difference"], *bounds)]
    return found


def at_point(answer, position):
    return {
        (goal["goal"], label): [values[position] for values in lists.values()]
        for goal in answer["goals"]
        for label, lists in goal["differences"].items()
    }


SETTINGS = {
    "plain": {},
    "plan": {"planned_visitors": 100_000},
    "primary": {"goal": "buy"},
    "guardrail": {"goal": "buy", "guardrails": {"leave": 0.05}},
    "two variants": {"variants": {"blue", "red"}},
    "repeated": {"per_visitor": frozenset({"leave"})},
}


@pytest.mark.parametrize("precision", ["exact", 16])
@pytest.mark.parametrize("name", SETTINGS)
def test_each_point_has_the_figures_of_the_report_of_then(name, precision):
    own = ExperimentSettings(**SETTINGS[name])
    history, counts = grown()
    counts = with_errors(counts, precision)
    answer = series(history, counts, own, now=NOW)
    assert answer["at"] == [as_text(moment) for moment in (*DAILY, NOW)]
    for position in (4, 12):
        assert at_point(answer, position) == figures(experiment_report(history.at(position, counts), own, "blue"))
    report = experiment_report(counts, own, None, None, history, NOW)
    assert at_point(answer, -1) == figures(report)
    assert len(figures(report)) == {"two variants": 2, "repeated": 2}.get(name, 4)
    for goal in report["goals"]:
        found = next(one for one in answer["goals"] if one["goal"] == goal["goal"])
        assert (found["kind"], found["role"]) == (goal["kind"], goal["role"])
        assert {label: rates[-1] for label, rates in found["rates"].items()} == {
            row["label"]: shown(row["rate"]) for row in goal["results"] if row["label"] in answer["labels"]
        }
        assert all(rates[0] is None for rates in found["rates"].values()), "nobody had come yet"
    assert answer["visitors"] == {label: [*history.counts["participate"][label], 40_000] for label in answer["labels"]}


def test_the_band_stays_that_of_the_end_once_the_plan_has_ended():
    own = ExperimentSettings(planned_visitors=20_000)
    history, counts = grown()
    counts = with_errors(counts, 16)
    ended = Ended(60_000, as_text(DAILY[10]), history.at(10, counts), dict.fromkeys(RATES["buy"], 1 / 3))
    answer = series(history, counts, own, None, ended, NOW)
    report = figures(experiment_report(counts, own, None, ended, history, NOW))
    assert at_point(answer, -1) == report
    bands = [{key: found[1:3] for key, found in at_point(answer, position).items()} for position in (9, 10, 15, -1)]
    assert bands[1] == bands[2] == bands[3] != bands[0]
    assert at_point(answer, 15) != at_point(answer, 10), "the difference goes on"


def test_the_requested_control_comes_first_and_has_no_difference():
    history, counts = grown()
    answer = series(history, with_errors(counts, "exact"), control="green", now=NOW)
    assert (answer["control"], answer["labels"]) == ("green", ["green", "blue", "red"])
    assert list(answer["goals"][0]["differences"]) == ["blue", "red"]


def test_at_most_so_many_points_are_shown_with_the_first_the_last_and_the_hours_of_two_days():
    moments = (*range(NOW - 900 * DAY, NOW - 2 * DAY, DAY), *range(NOW - 2 * DAY + HOUR, NOW, HOUR))
    history, counts = grown(moments, buy={"blue": 0.05, "red": 0.06})
    answer = series(history, with_errors(counts, "exact"), now=NOW)
    assert len(answer["at"]) == len(set(answer["at"])) == MAX_POINTS
    assert answer["at"][0] == as_text(moments[0])
    assert answer["at"][-48:] == [as_text(moment) for moment in (*moments[-47:], NOW)]
    days = {text[:10] for text in answer["at"]}
    assert all(days & {as_text(day + DAY)[:10], as_text(day)[:10]} for day in moments[:-47]), "thinned evenly"
    assert len(answer["days"]["day"]) == MAX_POINTS


def test_many_comparisons_have_fewer_points():
    rates = {f"goal {number}": RATES["buy"] for number in range(15)}
    history, counts = grown(range(NOW - 300 * DAY, NOW, DAY), **rates)
    answer = series(history, with_errors(counts, "exact"), now=NOW)
    assert len(answer["at"]) == 100
    assert answer["at"][0] == as_text(NOW - 300 * DAY)
    assert answer["at"][-1] == as_text(NOW)


@pytest.mark.parametrize(("limit", "points"), [(1, MIN_POINTS), (120, 120), (9_999, 301)])
def test_fewer_points_may_be_asked_for(limit, points):
    history, counts = grown(range(NOW - 300 * DAY, NOW, DAY), buy=RATES["buy"])
    answer = series(history, with_errors(counts, "exact"), now=NOW, limit=limit)
    assert len(answer["at"]) == points
    assert answer["at"][-1] == as_text(NOW)


def test_days_are_those_of_utc_and_add_up_to_everything_that_the_history_saw():
    midnight = NOW // DAY * DAY
    moments = (midnight - 2 * DAY - 30, midnight - 2 * DAY + 30, midnight, midnight + 60)
    history = History(moments, {"participate": {"blue": (0, 10, 100, 130)}, "buy": {"blue": (0, 2, 4, 7)}})
    counts = with_errors({"participate": {"blue": 150}, "buy": {"blue": 9}}, "exact")
    days = series(history, counts, now=midnight + 120)["days"]
    assert days["day"] == [as_text(midnight + DAY * day)[:10] for day in (-3, -2, -1, 0)]
    assert days["visitors"]["blue"] == [5, 50, 45, 50]
    assert sum(days["visitors"]["blue"]) == 150
    assert days["reached"]["buy"]["blue"] == [1, 2, 1, 5]


def test_what_came_before_the_history_is_on_no_day():
    history = History((NOW - 60,), {"participate": {"blue": (1_000,)}})
    days = series(history, with_errors({"participate": {"blue": 1_001}}, "exact"), now=NOW)["days"]
    assert sum(days["visitors"]["blue"]) == 1


@pytest.mark.parametrize("history", [None, History()])
def test_an_unknown_experiment_has_an_empty_series(history):
    answer = series(history, {}, now=NOW)
    assert answer == {
        "control": None, "labels": [], "at": [], "visitors": {}, "goals": [], "verdicts": [],
        "days": {"day": [], "visitors": {}, "reached": {}},
    }  # fmt: skip


def test_without_a_history_there_is_the_point_of_now():
    _, counts = grown()
    answer = series(None, with_errors(counts, "exact"), now=NOW)
    assert answer["at"] == [as_text(NOW)]
    assert answer["days"]["day"] == [as_text(NOW)[:10]]
    assert at_point(answer, -1) == figures(experiment_report(with_errors(counts, "exact")))


def test_verdicts_are_those_of_the_history():
    history, counts = grown()
    changed = History(history.moments, history.counts, (Change(NOW - 90, None, "winner"), Change(NOW, "", "ok")))
    assert series(changed, with_errors(counts, "exact"), now=NOW)["verdicts"] == [
        {"at": as_text(NOW - 90), "goal": None, "state": "winner"},
        {"at": as_text(NOW), "goal": "", "state": "ok"},
    ]
