"""What a report says of the counters' own error."""

import re

import pytest

from gimel.analysis.counting import share_of_variance
from gimel.analysis.proportions import Proportion, rate_interval
from gimel.analysis.report import experiment_report
from gimel.hyperloglog import BITMAPS, Count, bitmap_error
from tests.counts import counted

from .test_report import report

TRIALS = {"blue": 10**6, "red": 10**6}
BUY = {"blue": 200_000, "red": 200_500}


def percents(note):
    return [float(found) for found in re.findall(r"([0-9.]+) %", note)]


def test_exact_counts_need_no_note():
    assert report(TRIALS, buy=BUY)["counting_note"] is None


def test_a_small_part_of_the_uncertainty_needs_no_note():
    assert report({"blue": 1000, "red": 1000}, buy={"blue": 50, "red": 55}, shards=1)["counting_note"] is None


def test_a_large_part_says_how_much_and_what_a_higher_precision_would_change():
    note = report(TRIALS, buy=BUY, shards=1)["counting_note"]
    assert note.startswith("Visitors are counted to within about 0.81 % (standard error), and more visitors will not")
    assert "An experiment that starts with precision bitmap in config.json" in note
    _, share, narrower = percents(note)
    sampling = 0.2 * 0.8 / 10**6
    counting = 0.2**2 * 2 * (0.0081**2)
    assert abs(share - 100 * counting / (counting + sampling)) < 1.5
    left = 2 * (0.2 * bitmap_error(BITMAPS["bitmap"], BITMAPS["bitmap"])) ** 2
    assert abs(narrower - 100 * (1 - ((sampling + left) / (sampling + counting)) ** 0.5)) < 1.5


@pytest.mark.parametrize("visitors", [2_000, 20_000, 1_000_000])
def test_the_share_is_that_of_the_counters_in_the_variance_of_the_rate(visitors):
    """p^2 e^2 of p^2 e^2 + p (1 - p) / n."""
    rate = Proportion(Count(visitors // 5, 0.006), Count(visitors, 0.008))
    counting, sampling = 0.2**2 * (0.006**2 + 0.008**2), 0.2 * 0.8 / visitors
    share = share_of_variance(rate, rate_interval(rate, 0.05), 0.05)
    assert share == pytest.approx(counting / (counting + sampling), rel=0.01)


@pytest.mark.parametrize(
    ("shards", "visitors", "following"),
    [
        (1, 10**6, "bitmap"),
        (16, 10**6, "bitmap"),
        (64, 2 * 10**6, "bitmap"),
        (16, 2 * 10**7, "bitmap-768"),
        (256, 10**7, "bitmap-768"),
        ("bitmap", 10**7, "bitmap-768"),
        ("bitmap-768", 6 * 10**7, "exact"),
        (16, 10**9, "exact"),
    ],
)
def test_the_smallest_kind_that_is_clearly_better_is_named(shards, visitors, following):
    note = report(dict.fromkeys(TRIALS, visitors), buy=dict.fromkeys(TRIALS, visitors // 2), shards=shards)
    assert f"starts with precision {following} in config.json" in note["counting_note"]


def test_a_bitmap_that_has_filled_up_is_noted():
    counts = {
        goal: dict.fromkeys(TRIALS, Count(value, 0.0081, is_full=True))
        for goal, value in (("participate", 2 * 10**7), ("buy", 10**7))
    }
    note = experiment_report(counts)["counting_note"]
    assert note.startswith("A bitmap is full")
    assert "starts with precision bitmap-768" in note


def test_visitors_counted_exactly_beside_estimated_goals_have_a_note_too():
    counts = {
        "participate": {label: counted(10**8, 0) for label in TRIALS},
        "buy": {label: counted(10**7) for label in TRIALS},
    }
    assert "precision exact" in experiment_report(counts)["counting_note"]


def test_a_variant_that_is_not_compared_needs_no_note():
    trials, bought = {"blue": 3000, "red": 3000, "made up": 600}, {"blue": 300, "red": 480, "made up": 600}
    assert report(trials, buy=bought, shards=16)["counting_note"]
    assert report(trials, buy=bought, shards=16, variants=["blue", "red"])["counting_note"] is None
