"""What `gimel plan` answers: the functions' numbers, and what a simulation of such experiments finds."""

from __future__ import annotations

import json
from math import ceil, inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gimel.analysis.planning import WAYS, Question, answer
from gimel.analysis.sequential import (
    always_valid_interval,
    always_valid_size,
    planned_size,
    single_look_size,
    visitors_needed,
)
from gimel.errors import BadRequest
from gimel.hyperloglog import settled_error
from tests.analysis.test_sequential import seen

ASKED = Question(0.05, 0.1, 400)


class TestReading:
    @pytest.mark.parametrize("shares", [("0.05", "0.1"), ("5%", "10 %"), (".05", "1e-1"), (0.05, 0.1)])
    def test_shares_are_numbers_or_percentages(self, shares):
        rate, change = shares
        read = Question.read({"rate": rate, "change": change, "per_day": "400"}, "exact")
        assert (read.rate, read.change, read.per_day, read.shares) == (0.05, 0.1, 400, (0.5, 0.5))

    def test_weights_are_the_shares_of_the_control_and_of_the_variants(self):
        read = Question.read({"rate": "5%", "change": "10%", "per_day": "400", "weights": "8, 1,1"}, "exact")
        assert read.shares == pytest.approx((0.8, 0.1, 0.1))
        assert read.has_weights

    def test_all_that_is_wrong_is_told_at_once(self):
        asked = {"rate": "0", "change": "150%", "per_day": "many", "variants": "2.5", "weights": "9,-1,1"}
        with pytest.raises(BadRequest) as error:
            Question.read(asked, 1)
        assert [problem.split()[0] for problem in error.value.problems[:5]] == list(asked)
        with pytest.raises(BadRequest, match="rate is missing; change is missing; per_day is missing"):
            Question.read({}, 1)
        with pytest.raises(BadRequest, match="weights must be as many as variants: 3, not 2"):
            Question.read({"rate": "5%", "change": "1%", "per_day": "1", "variants": "3", "weights": "1,1"}, 1)

    @pytest.mark.parametrize("text", ["nan", "inf", "0x5", "5%%", "%", ".", "-0.1", "1_0", "٥", "1e999", "0.05;"])
    def test_what_is_no_number_is_refused(self, text):
        with pytest.raises(BadRequest, match="rate must be"):
            Question.read({"rate": text, "change": "1%", "per_day": "1"}, 1)


class TestVisitors:
    def test_each_way_has_the_number_of_its_function(self):
        found = answer(ASKED)["ways"]
        for way, size in (
            ("planned", planned_size),
            ("always_valid", always_valid_size),
            ("single_look", single_look_size),
        ):
            in_all = 2 * ceil(size(0.05, 0.005) / 2)
            assert (found[way]["visitors"], found[way]["days"]) == (in_all, ceil(in_all / 400))
        assert found["always_valid"]["typical"]["visitors"] == 2 * ceil(always_valid_size(0.05, 0.005, power=0.5) / 2)

    def test_a_single_look_takes_what_textbooks_say(self):
        """Fleiss, Levin & Paik's z test with a pooled variance: 31,233 per variant."""
        assert single_look_size(0.05, 0.005) / 2 == pytest.approx(31_233, rel=0.001)

    def test_the_setting_is_of_each_variant_and_with_weights_of_all(self):
        equal, weighted = (answer(Question(0.05, 0.1, 400, (1 / 3,) * 3, one)) for one in (False, True))
        in_all = equal["ways"]["planned"]["visitors"]
        assert equal["settings"] == {"smallest_change": 0.1, "planned_visitors": in_all / 3}
        assert weighted["settings"]["planned_visitors"] == weighted["ways"]["planned"]["visitors"]

    def test_the_smallest_variant_decides_and_each_has_its_part_of_alpha(self):
        asked = Question(0.05, 0.1, 400, (0.6, 0.3, 0.1), True)
        for way, size in WAYS.items():
            assert asked.visitors(way, 0.1) == pytest.approx(size(0.05, 0.005, alpha=0.025, shares=(0.1, 0.6)))

    def test_a_rate_without_room_to_rise_is_planned_to_fall(self):
        assert answer(Question(0.95, 0.1, 400))["change"] == -0.1
        assert Question(0.95, 0.1, 400).visitors("planned", 0.1) == pytest.approx(planned_size(0.95, -0.095))

    @pytest.mark.parametrize("precision", [1, 16, "bitmap", "exact"])
    def test_a_report_at_the_start_says_the_same_of_the_always_valid_verdict(self, precision):
        """The report's counters have come to their full error there, so they are as large."""
        error = {1: settled_error(), 16: settled_error(16), "bitmap": 0.00068, "exact": 0.0}[precision]
        ours = Question(0.1, 0.1, 400, precision=precision).visitors("always_valid", 0.1)
        assert visitors_needed(seen(1, 10, error), seen(1, 10, error), 0.1) + 20 == pytest.approx(ours, rel=0.01)

    def test_what_the_counting_error_hides_takes_forever(self):
        found = answer(Question(0.2, 0.01, 400_000, precision=1))
        assert [one["visitors"] for one in found["ways"].values()] == [None] * 3
        assert found["settings"]["planned_visitors"] is None
        assert found["curve"][0]["always_valid"] is None

    def test_a_bitmap_that_fills_up_counts_less_exactly(self):
        assert Question(0.2, 0.005, 1, precision="bitmap").visitors("planned", 0.005) == inf
        more = Question(0.2, 0.01, 1, precision="bitmap").visitors("planned", 0.01)
        assert more > 1.1 * Question(0.2, 0.01, 1).visitors("planned", 0.01)

    @pytest.mark.parametrize(("rate", "change", "shares"), [(0.05, 0.1, (0.5, 0.5)), (0.3, 0.1, (0.9, 0.1))])
    def test_half_of_the_experiments_have_their_always_valid_verdict_by_the_typical_number(self, rate, change, shares):
        asked = Question(rate, change, 400, shares)
        in_all = asked.visitors("always_valid", change, 0.5)
        random = np.random.default_rng(5)
        batches = [np.full((300, 30), round(in_all * share / 30)) for share in shares[::-1]]
        looks = [
            np.cumsum(array, axis=1).ravel().tolist()
            for batch, one in zip(batches, (rate * (1 + change), rate))
            for array in (random.binomial(batch, one), batch)
        ]
        won = [always_valid_interval(seen(s1, n1), seen(s0, n0)).low > 0 for s1, n1, s0, n0 in zip(*looks)]
        assert 0.42 < np.reshape(won, (300, 30)).any(axis=1).mean() < 0.58


class TestVisible:
    @pytest.mark.parametrize("precision", [1, "exact"])
    @pytest.mark.parametrize("way", WAYS)
    def test_the_smallest_visible_change_takes_just_these_visitors(self, way, precision):
        asked = Question(0.05, 0.1, 2000, precision=precision)
        for one in answer(asked)["visible"]:
            assert asked.visitors(way, one[way]) == pytest.approx(one["visitors"], rel=0.002)
            assert one["visitors"] == 2000 * 7 * one["weeks"]

    def test_too_few_visitors_show_nothing(self):
        assert {one[way] for one in answer(Question(0.01, 0.1, 1))["visible"] for way in WAYS} == {None}

    def test_no_change_is_larger_than_there_is_room_for(self):
        assert max(one["change"] for one in answer(Question(0.8, 0.1, 10))["curve"]) == pytest.approx(0.25)

    def test_the_curve_leads_from_what_is_barely_seen_to_what_is_soon_seen(self):
        found = answer(ASKED)
        changes = [one["change"] for one in found["curve"]]
        assert changes == sorted(changes)
        assert changes[0] < 0.1 < changes[-1]
        longest = found["ways"]["always_valid"]["days"]
        assert found["curve"][0]["single_look"] == pytest.approx(400 * longest, rel=0.01)
        for way in WAYS:
            sizes = [one[way] for one in found["curve"]]
            assert sizes == sorted(sizes, reverse=True)
            assert [one[way] for one in found["curve"][:3]] == [ceil(ASKED.visitors(way, one)) for one in changes[:3]]


@settings(max_examples=60, deadline=None)
@given(
    st.floats(1e-9, 1 - 1e-9),
    st.floats(1e-9, 1),
    st.floats(1e-9, 1e12),
    st.lists(st.floats(1e-9, 1e12), min_size=2, max_size=6),
    st.sampled_from([1, 256, "exact", "bitmap", "bitmap-768"]),
)
def test_every_question_has_an_answer_in_json(rate, change, per_day, weights, precision):
    asked = {"rate": rate, "change": change, "per_day": per_day, "weights": ",".join(map(repr, weights))}
    json.dumps(answer(Question.read(asked, precision)), allow_nan=False)
