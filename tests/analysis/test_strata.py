"""Variants whose shares of the visitors changed while the rates moved are compared within periods."""

from __future__ import annotations

from itertools import accumulate, pairwise
from math import sqrt

import numpy
import pytest

from gimel.analysis.report import experiment_report
from gimel.analysis.series import series
from gimel.analysis.strata import Strata, between
from gimel.analysis.wording import on_day
from gimel.histories import DAY, History, as_text, until
from gimel.hyperloglog import Count
from gimel.plans import Ended
from gimel.settings import ExperimentSettings
from tests.counts import counted

DAYS = 20
START = 29_401_920 // DAY * DAY
NOW = START + DAYS * DAY
STEP = [0.1] * 10 + [0.5] * 10
JUMP = [0.04] * 10 + [0.06] * 10


def experiment(shares, rates, lift=0.0, per_day=5_000, precision="exact", until_day=DAYS, random=None):
    """Its history by days, and its counts of now. Without `random`, with the expected counts."""
    daily = {"participate": {"red": [], "blue": []}, "buy": {"red": [], "blue": []}}
    for share, rate in list(zip(shares, rates))[:until_day]:
        for label, part, own in (("red", share, rate * (1 + lift)), ("blue", 1 - share, rate)):
            visitors = random.poisson(per_day * part) if random else round(per_day * part)
            daily["participate"][label].append(int(visitors))
            daily["buy"][label].append(int(random.binomial(visitors, own) if random else round(visitors * own)))
    totals = {goal: {one: (0, *accumulate(values)) for one, values in of.items()} for goal, of in daily.items()}
    counts = {goal: {one: counted(values[-1], precision) for one, values in of.items()} for goal, of in totals.items()}
    past = {goal: {one: values[:-1] for one, values in of.items()} for goal, of in totals.items()}
    return History(tuple(START + DAY * day for day in range(until_day)), past), counts


def weights(counts):
    """With which the split is what it should be, as somebody would set them after the alarm."""
    return {label: count.value for label, count in counts["participate"].items()}


def report(history, counts, now=NOW, **own):
    own = ExperimentSettings(**{"weights": weights(counts), "baseline": "blue", **own})
    return experiment_report(counts, own, None, None, history, now)


def red(answer):
    return next(row for row in answer["goals"][0]["results"] if row["label"] == "red")


def test_a_ramp_up_while_rates_move_makes_no_winner():
    history, counts = experiment(STEP, JUMP)
    alone = report(None, counts)
    assert alone["verdict"]["state"] == "winner", "as the totals have it"
    answer = report(history, counts)
    (goal,) = answer["goals"]
    assert goal["verdict"]["state"] == "collecting"
    by_day = goal["by_day"]["red"]
    assert by_day["difference"] == pytest.approx(0, abs=1e-4)
    assert red(answer)["difference"] == by_day["difference"]
    assert (red(answer)["rate"], red(answer)["successes"]) == (red(alone)["rate"], red(alone)["successes"])
    assert [
        (one["until"], one["trials"], one["control_trials"], one["rate"], one["control_rate"])
        for one in by_day["periods"]
    ] == [
        (as_text(START + 10 * DAY), 5_000, 45_000, 0.04, 0.04),
        (as_text(NOW), 20_000, 20_000, 0.06, 0.06),  # 8 of 10 days
    ]
    (note,) = [note for note in answer["notes"] if "shares" in note]
    day = on_day(as_text(START + 10 * DAY))
    assert f"the shares of visitors changed on {day}, and the rates of buy moved" in note
    assert "red is compared with the control within each of the 2 periods" in note


def test_the_figures_are_those_of_mantel_and_haenszel():
    history, counts = experiment(STEP, JUMP, lift=0.2)
    answer = red(report(history, counts))
    strata = [(5_000, 240, 45_000, 1_800), (20_000, 1_440, 20_000, 1_200)]  # the second without two of ten days
    each = [n1 * n0 / (n1 + n0) for n1, _, n0, _ in strata]
    difference = sum(w * (s1 / n1 - s0 / n0) for w, (n1, s1, n0, s0) in zip(each, strata)) / sum(each)
    variance = (
        sum(
            w * w * (s1 / n1 * (1 - s1 / n1) / n1 + s0 / n0 * (1 - s0 / n0) / n0)
            for w, (n1, s1, n0, s0) in zip(each, strata)
        )
        / sum(each) ** 2
    )
    assert answer["difference"] == pytest.approx(difference, abs=4e-5)
    width = answer["difference_interval"]["high"] - answer["difference_interval"]["low"]
    assert width == pytest.approx(2 * 1.96 * sqrt(variance), rel=0.01)
    assert answer["verdict"]["state"] == "winner", "a true difference is found"


@pytest.mark.parametrize(
    ("shares", "rates"),
    [(STEP, [0.05] * DAYS), ([0.3] * DAYS, JUMP), ([0.3] * DAYS, [0.05] * DAYS)],
    ids=["rates", "shares", "both"],
)
def test_nothing_changes_where_shares_or_rates_stay_the_same(shares, rates):
    history, counts = experiment(shares, rates)
    answer, alone = report(history, counts), report(None, counts)
    assert answer["goals"] == alone["goals"]
    assert answer["goals"][0]["by_day"] is None
    assert answer["notes"] == alone["notes"]


def test_periods_begin_where_the_shares_change():
    shares = [0.1] * 7 + [0.3] * 6 + [0.5] * 7
    history, counts = experiment(shares, JUMP)
    strata = Strata.of(until(history, counts, NOW), counts, ["red", "blue"])
    assert strata is not None
    assert strata.bounds == (-1, 7, 13, DAYS)
    assert strata.until(10).bounds == (-1, 7, 10)
    assert strata.until(5).bounds == (-1, 5)


def test_goals_that_are_reached_later_make_no_loser_after_a_change():
    """Each is reached a day later, or two: after a change, those of before come in at the shares of before."""
    history, counts = experiment(STEP, [0.05] * 7 + [0.06] * 13)
    late = {
        one: tuple(values[max(0, day - 2)] for day in range(DAYS + 1))
        for one, values in until(history, counts, NOW).counts["buy"].items()
    }
    past = {**history.counts, "buy": {one: values[:-1] for one, values in late.items()}}
    now = {**counts, "buy": {one: counted(values[-1], "exact") for one, values in late.items()}}
    answer = red(report(History(history.moments, past), now))
    assert answer["difference"] == pytest.approx(0, abs=5e-4)


def test_periods_shorter_than_the_wash_in_are_used_if_there_are_no_others():
    history, counts = experiment([0.0] * 18 + [0.5] * 2, JUMP)
    strata = Strata.of(until(history, counts, NOW), counts, ["red", "blue"])
    assert strata is not None
    assert [number for number, _, _ in strata.periods("buy", "red", "blue")] == [1]


def test_equal_shares_are_hardly_ever_taken_for_changed():
    random = numpy.random.default_rng(13)
    found = 0
    for _ in range(60):
        history, counts = experiment([0.5] * 120, [0.05] * 120, per_day=400, until_day=120, random=random)
        found += Strata.of(until(history, counts, START + 120 * DAY), counts, ["red", "blue"]) is not None
    assert found == 0


def test_an_experiment_older_than_its_history_has_one_period_before_it():
    history, counts = experiment(STEP, JUMP)
    later = History(history.moments[5:], {g: {one: v[5:] for one, v in of.items()} for g, of in history.counts.items()})
    answer = report(later, counts)
    assert answer["goals"][0]["by_day"]["red"]["difference"] == pytest.approx(0, abs=1e-4)


def test_variants_that_never_ran_at_the_same_time_are_not_compared():
    history, counts = experiment([0.0] * 10 + [1.0] * 10, JUMP)
    assert report(None, counts)["verdict"]["state"] == "winner"
    answer = report(history, counts)
    assert answer["verdict"]["state"] == "no_data"
    assert "never had visitors in the same period" in red(answer)["verdict"]["text"]
    assert red(answer)["difference"] is None


@pytest.mark.parametrize("ended", [False, True])
def test_a_plan_is_decided_within_the_periods_too(ended):
    history, counts = experiment(STEP, JUMP)
    shares = {label: value / 100_000 for label, value in weights(counts).items()}
    own = ExperimentSettings(planned_visitors=100_000 if ended else 120_000, weights=shares, baseline="blue")
    end = Ended(100_000, as_text(NOW - 5), counts, shares) if ended else None
    assert experiment_report(counts, own, None, end)["verdict"]["state"] == "winner"
    answer = experiment_report(counts, own, None, end, history, NOW)
    assert answer["verdict"]["state"] not in ("winner", "loser")
    band = red(answer)["planned_interval"]
    assert band["low"] < 0 < band["high"]


def test_the_series_leads_to_the_report():
    history, counts = experiment(STEP, JUMP, precision=16)
    own = ExperimentSettings(weights=weights(counts), baseline="blue")
    answer = series(history, counts, own, now=NOW)["goals"][0]["differences"]["red"]
    row = red(report(history, counts))
    assert answer["difference"][-1] == pytest.approx(row["difference"], rel=1e-5)
    assert answer["low"][-1] == pytest.approx(row["always_valid_interval"]["low"], rel=1e-5)
    assert answer["once_high"][-1] == pytest.approx(row["difference_interval"]["high"], rel=1e-5)
    assert all(low is None or low <= 0 for low in answer["low"])


def test_what_a_counter_grew_by_has_the_error_of_its_independent_steps():
    like = {"participate": {"red": Count(1_000, 0.01, 0.02)}}
    history = History((0, 1, 2), {"participate": {"red": (0, 600, 1_000)}})
    steps = [between(history, like, "participate", "red", *part) for part in pairwise((-1, 1, 2))]
    assert [one.value for one in steps] == [600, 400]
    assert sum((one.value * one.error) ** 2 for one in steps) == pytest.approx((1_000 * 0.01) ** 2)
    assert between(history, like, "participate", "red", 2, 2) == Count(0)


@pytest.mark.parametrize("precision", ["exact", "bitmap", 64, 1])
def test_a_ramp_up_makes_no_verdict_at_any_daily_look(precision):
    random = numpy.random.default_rng(8)
    false = dict.fromkeys(("totals", "periods"), 0)
    for _ in range(6):
        history, counts = experiment(STEP, JUMP, precision=precision, random=random)
        whole = until(history, counts, NOW)
        for day in range(4, DAYS + 1, 4):
            like = whole.at(day, counts)
            past = History(whole.moments[:day], {
                goal: {one: values[:day] for one, values in of.items()} for goal, of in whole.counts.items()
            })  # fmt: skip
            for name, known in (("totals", None), ("periods", past)):
                answer = report(known, like, whole.moments[day])
                false[name] += red(answer)["verdict"]["state"] in ("winner", "loser")
    assert false["totals"] > 6
    assert false["periods"] == 0


@pytest.mark.parametrize("labels", [[], ["red"]])
def test_fewer_than_two_variants_have_no_periods(labels):
    history, counts = experiment(STEP, JUMP)
    few = {goal: {label: of[label] for label in labels} for goal, of in counts.items()}
    past = {goal: {label: of[label] for label in labels} for goal, of in history.counts.items()}
    answer = experiment_report(few, ExperimentSettings(), None, None, History(history.moments, past), NOW)
    assert not any(goal["by_day"] for goal in answer["goals"])


def test_a_handful_of_visitors_shows_no_change():
    totals = {"participate": {"red": (0, 3, 1_000), "blue": (0, 17, 99_000)}}
    history = History((START, START + DAY, NOW), totals)
    assert Strata.of(history, {}, ["red", "blue"]) is None
