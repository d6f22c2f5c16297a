import json
from math import inf, log, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from gimel.analysis.proportions import Proportion, difference_interval
from gimel.analysis.sequential import (
    always_valid_interval,
    always_valid_p_value,
    boundary,
    counting_share,
    information,
    visitors_needed,
    visitors_per_variant,
)
from gimel.hyperloglog import Count
from tests import counts

GBSTATS = json.loads((Path(__file__).parent / "reference" / "gbstats.json").read_text())


def seen(successes, trials, error=0.0):
    return Proportion(Count(successes, error), Count(trials, error))


def counted(successes, trials, shards=1):
    """The reading of HyperLogLogs."""
    return Proportion(counts.counted(successes, shards), counts.counted(trials, shards))


def sequential_cases():
    return [
        pytest.param(case["baseline"][1] + variation["variation"][1], variation["sequential_relative"], id=case["name"])
        for case in GBSTATS["cases"]
        for variation in case["variations"]
        if "ci" in variation["sequential_relative"]
    ]


class TestBoundary:
    @pytest.mark.parametrize(("visitors", "theirs"), sequential_cases())
    def test_it_is_gbstats_where_the_clock_counts_visitors(self, visitors, theirs):
        """gbstats ticks by visitors and is tuned for 5,000 of them; ours ticks by information, the formula is
        the same.
        """
        tuned_for_5000 = sqrt((-2 * log(0.05) + log(-2 * log(0.05) + 1)) / 5000)
        low, high = theirs["ci"]
        reach = (high - low) / 2 / theirs["stddev"]
        assert boundary(visitors, 0.05, tuned_for_5000) == pytest.approx(reach, rel=1e-6)

    def test_it_stays_above_the_z_of_a_single_look(self):
        assert min(boundary(clock) for clock in range(1, 100_000, 7)) > 3

    def test_nothing_is_known_at_the_start(self):
        assert boundary(0) == inf

    @pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1])
    def test_an_impossible_alpha_is_refused(self, alpha):
        with pytest.raises(ValueError, match="alpha"):
            boundary(100, alpha)


class TestAlwaysValidInterval:
    def test_it_is_wider_than_that_of_a_single_look(self):
        single, always = (f(seen(65, 1000), seen(50, 1000)) for f in (difference_interval, always_valid_interval))
        assert always.low < single.low
        assert single.high < always.high

    def test_ten_against_none_is_too_early_and_forty_is_not(self):
        assert always_valid_interval(seen(10, 1000), seen(0, 1000)).low < 0
        assert always_valid_interval(seen(40, 1000), seen(0, 1000)).low > 0

    def test_the_counters_error_is_added_and_never_averages_out(self):
        """Sixteen times the visitors would make the sampling error 4 times smaller; that of the counters
        stays.
        """
        reach = [always_valid_interval(counted(n // 5, n), counted(n // 5, n)).high for n in (10**7, 16 * 10**7)]
        assert reach[1] > 0.2 * 0.00813 * 2 * 3
        assert reach[1] > 0.9 * reach[0]

    @given(
        *[st.integers(0, 10**6)] * 2,
        *[st.integers(1, 10**6)] * 2,
        st.floats(0, 0.05),
        st.sampled_from([0.05 / comparisons for comparisons in (1, 2, 11, 19)]),
    )
    def test_it_excludes_zero_exactly_when_its_p_value_is_small(self, s1, s0, n1, n0, error, alpha):
        variant, control = seen(s1, n1, error), seen(s0, n0, error)
        interval, p = always_valid_interval(variant, control, alpha), always_valid_p_value(variant, control, alpha)
        assert 0 <= p <= 1
        if abs(p / alpha - 1) > 1e-9:
            assert (p < alpha) == (interval.low > 0 or interval.high < 0)

    @given(*[st.integers(0, 10**12)] * 2, *[st.integers(1, 10**12)] * 2, st.floats(0, 2), st.floats(1e-9, 0.5))
    def test_it_is_an_interval_of_differences_for_whatever_was_counted(self, s1, s0, n1, n0, error, alpha):
        interval = always_valid_interval(seen(s1, n1, error), seen(s0, n0, error), alpha)
        assert -1 <= interval.low <= interval.high <= 1

    @given(
        *[st.integers(0, 10**6)] * 2,
        *[st.integers(1, 10**6)] * 2,
        st.floats(0, 0.05),
        st.sampled_from([0.05, 0.05 / 11]),
    )
    def test_it_is_never_narrower_than_that_of_a_single_look(self, s1, s0, n1, n0, error, alpha):
        variant, control = seen(s1, n1, error), seen(s0, n0, error)
        single, always = (f(variant, control, alpha) for f in (difference_interval, always_valid_interval))
        assert always.low <= single.low <= single.high <= always.high

    def test_a_winner_needs_a_single_look_to_show_it_too(self):
        """None of 1,456 against 0.54 % of very many: the smaller variant's variance is underrated, as it is made
        of no success.
        """
        variant, control, alpha = seen(0, 1456), seen(4672, 858_683), 0.05 / 11
        assert difference_interval(variant, control, alpha).high > 0
        assert always_valid_interval(variant, control, alpha).high > 0
        assert always_valid_p_value(variant, control, alpha) == pytest.approx(alpha)
        assert always_valid_p_value(variant, control, alpha) >= alpha

    def test_all_converting_is_not_stretched_by_the_counters_at_the_start(self):
        """If no one fails, the clock hardly moves, and the boundary stays at 50: the counters err as ever."""
        interval = always_valid_interval(counted(10**6, 10**6), counted(10**6, 10**6))
        assert boundary(information(seen(10**6, 10**6), seen(10**6, 10**6))) > 10
        assert interval.high < 1.1 * boundary(200) * 0.00813 * 2

    def test_the_clock_is_about_half_of_one_variants_successes(self):
        assert information(seen(500, 10_000), seen(500, 10_000)) == pytest.approx(250 * 0.95, rel=0.01)


class TestAlwaysValidPValue:
    @pytest.mark.parametrize("error", [0.0, 0.008])
    @pytest.mark.parametrize(("reached", "visitors"), [(150, 1000), (1130, 10_000), (108_500, 1_000_000)])
    def test_at_that_alpha_the_interval_ends_at_zero(self, reached, visitors, error):
        variant, control = seen(reached, visitors, error), seen(visitors // 10, visitors, error)
        p = always_valid_p_value(variant, control)
        assert p < 0.5
        assert always_valid_interval(variant, control, p).low == pytest.approx(0, abs=1e-12)


class TestCountingShare:
    @pytest.mark.parametrize("visitors", [2000, 4_000_000])
    @pytest.mark.parametrize("alpha", [0.05, 0.05 / 11])
    def test_it_is_what_exact_counters_would_take_off_the_square_of_the_width(self, visitors, alpha):
        """Below the clock's 200 the counters have a lower boundary than the sampling."""

        def width(error):
            interval = always_valid_interval(*[seen(visitors // 10, visitors, error)] * 2, alpha)
            return interval.high - interval.low

        share = counting_share(*[seen(visitors // 10, visitors, 0.008)] * 2, alpha)
        assert share == pytest.approx(1 - (width(0) / width(0.008)) ** 2)


class TestVisitors:
    @pytest.mark.parametrize("case", GBSTATS["sample_size"], ids=lambda case: f"{case['p']} + {case['d']}")
    def test_a_single_look_takes_as_many_as_evan_miller_says(self, case):
        ours = visitors_per_variant(case["p"], case["d"], alpha=case["alpha"], power=case["power"])
        assert ours == pytest.approx(case["n_per_arm"], rel=1e-9)

    def test_the_counters_error_takes_more(self):
        exact, counters = (
            visitors_per_variant(0.05, 0.005, counting_variance=c * 0.05**2) for c in (0, 4 * 0.00813**2)
        )
        assert counters > 1.2 * exact

    def test_no_number_shows_what_the_counters_hide(self):
        assert visitors_per_variant(0.05, 0.0005, counting_variance=0.05**2 * 4 * 0.00813**2) == inf

    @pytest.mark.parametrize(("rate", "change"), [(0.5, 0.0), (0.5, 0.6), (0.5, -0.6), (1.1, -0.2)])
    def test_an_impossible_change_is_refused(self, rate, change):
        with pytest.raises(ValueError, match="is not a change of a rate"):
            visitors_per_variant(rate, change)

    @pytest.mark.parametrize(("rate", "change"), [(0.0, 0.1), (0.5, -0.5), (0.5, 0.5), (1.0, -0.1)])
    def test_either_rate_may_be_0_or_1(self, rate, change):
        """Fleiss, Levin & Paik, 4.2, with scipy's quantiles."""
        changed = rate + change
        spread = norm.isf(0.025) * sqrt(2 * rate * (1 - rate))
        spread += norm.isf(0.2) * sqrt(rate * (1 - rate) + changed * (1 - changed))
        assert visitors_per_variant(rate, change) == pytest.approx((spread / change) ** 2)

    @pytest.mark.parametrize("error", [0.0, 0.004])
    @pytest.mark.parametrize("alpha", [0.05, 0.05 / 11])
    def test_the_plan_is_made_for_the_boundary_at_its_end(self, alpha, error):
        start, rate, changed = seen(50, 1000, error), 0.05, 0.055
        planned = 1000 + visitors_needed(start, start, 0.1, alpha)
        clock = planned * (rate * (1 - rate) + changed * (1 - changed)) / 4
        critical, counting = boundary(clock, alpha), 4 * (rate * error) ** 2
        expected = visitors_per_variant(rate, changed - rate, critical=critical, counting_variance=counting)
        assert planned == pytest.approx(expected, rel=0.005)

    def test_all_converting_is_planned_as_one_failure_among_two_more(self):
        everyone, nearly = seen(100, 100), seen(101, 102)
        planned = 100 + visitors_needed(everyone, everyone, 0.1)
        assert planned == pytest.approx(102 + visitors_needed(nearly, nearly, 0.1), abs=1)

    def test_what_has_come_is_not_needed_any_more(self):
        early = visitors_needed(seen(50, 1000), seen(50, 1000), 0.1)
        later = visitors_needed(seen(550, 11_000), seen(550, 11_000), 0.1)
        assert early - later == pytest.approx(10_000, abs=2)
        assert visitors_needed(seen(50_000, 1_000_000), seen(50_000, 1_000_000), 0.1) == 0

    @pytest.mark.parametrize("rate", [0.02, 0.3, 0.7, 0.95])
    def test_with_that_many_four_of_five_experiments_see_the_change(self, rate):
        """At 95 % the change that it plans for is a decrease, as there is no room for an increase."""
        start = seen(round(100 * rate), 100)
        needed = 100 + visitors_needed(start, start, 0.1)
        lift = 1.1 if rate < 0.9 else 0.9
        random = np.random.default_rng(7)
        variants, controls = random.binomial(needed, rate * lift, 2000), random.binomial(needed, rate, 2000)
        found = [
            always_valid_p_value(seen(s1, needed), seen(s0, needed)) < 0.05
            for s1, s0 in zip(variants.tolist(), controls.tolist())
        ]
        assert 0.7 < sum(found) / 2000 < 0.85

    def test_a_small_variant_beside_a_large_one_needs_no_more_than_it_lacks(self):
        """The harmonic mean of 1,000 + x and 9,000 + x visitors is what two equal variants would need."""
        needed = visitors_needed(seen(50, 1000), seen(450, 9000), 0.1)
        equal = 1000 + visitors_needed(seen(50, 1000), seen(50, 1000), 0.1)
        assert 2 / (1 / (1000 + needed) + 1 / (9000 + needed)) == pytest.approx(equal, abs=2)

    def test_a_small_counter_knows_the_error_it_will_have(self):
        """A HyperLogLog of 1,000 errs by 0.55 %, one of a million by 0.81 %: the plan reckons with the
        latter.
        """
        small = visitors_needed(counted(50, 1000), counted(50, 1000), 0.1) + 1000
        large = visitors_needed(counted(2000, 40_000), counted(2000, 40_000), 0.1) + 40_000
        assert small == pytest.approx(large, rel=0.03)

    def test_twelve_kilobytes_never_show_three_percent(self):
        assert visitors_needed(counted(50_000, 1_000_000), counted(50_000, 1_000_000), 0.03) is None
        assert visitors_needed(counted(50_000, 1_000_000, 16), counted(50_000, 1_000_000, 16), 0.03) is not None

    def test_no_plan_without_a_single_success(self):
        assert visitors_needed(seen(0, 100), seen(0, 100), 0.1) is None

    def test_a_rate_near_one_plans_with_a_decrease(self):
        assert visitors_needed(seen(99, 100), seen(98, 100), 0.1) > 0

    @given(
        *[st.integers(0, 10**9)] * 2,
        *[st.integers(1, 10**9)] * 2,
        st.floats(0, 2),
        st.floats(0.001, 1),
        st.integers(1, 50),
    )
    def test_it_is_a_number_of_people_for_whatever_was_counted(self, s1, s0, n1, n0, error, change, comparisons):
        needed = visitors_needed(seen(s1, n1, error), seen(s0, n0, error), change, 0.05 / comparisons)
        assert needed is None or needed >= 0
