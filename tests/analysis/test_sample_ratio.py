import json
from math import inf
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from gimel.analysis.sample_ratio import sample_ratio_p_value
from gimel.hyperloglog import Count

GBSTATS = json.loads((Path(__file__).parent / "reference/gbstats.json").read_text())


class TestSampleRatio:
    @pytest.mark.parametrize("case", GBSTATS["sample_ratio"], ids=lambda case: str(case["users"]))
    def test_it_is_gbstats_chi_square(self, case):
        ours = sample_ratio_p_value([Count(users) for users in case["users"]], case["weights"])
        assert ours == pytest.approx(case["p_value"], rel=1e-6)

    def test_a_small_share_is_tested_exactly(self):
        """One in a hundred: chi-square would sound the alarm at 5 of 100, which 4 honest experiments in 1,000
        reach.
        """
        ours = sample_ratio_p_value([Count(95), Count(5)], [99, 1])
        tail = scipy_stats.binom(100, 0.01)
        assert ours == pytest.approx(2 * (tail.sf(5) + tail.pmf(5) / 2), rel=1e-6)
        assert ours > 0.001 > scipy_stats.chisquare([95, 5], [99, 1]).pvalue

    def test_counting_error_is_not_a_mismatch(self):
        visitors = [1_000_000, 1_010_000]
        assert sample_ratio_p_value([Count(n) for n in visitors], [1, 1]) < 1e-9
        assert sample_ratio_p_value([Count(n, 0.00813) for n in visitors], [1, 1]) > 0.1

    @pytest.mark.parametrize("visitors", [(1_000_000, 1_010_000), (5000, 5300)])
    def test_of_two_equal_halves_the_counters_error_joins_the_variance_of_the_difference(self, visitors):
        """(x1 - x0)^2 / (x1 + x0 + the counters' two variances) is a chi-square with one degree of freedom."""
        x1, x0 = visitors
        expected = scipy_stats.chi2.sf((x1 - x0) ** 2 / (x1 + x0 + (0.008 * x1) ** 2 + (0.004 * x0) ** 2), 1)
        assert sample_ratio_p_value([Count(x1, 0.008), Count(x0, 0.004)], [1, 1]) == pytest.approx(expected)

    def test_of_several_variants_it_is_the_fit_of_their_weights_to_the_counts(self):
        """What is left of the counts, in standard errors, by numpy's least squares."""
        x, errors, shares = np.array([8200, 1100, 900]), np.array([0.008, 0.0, 0.006]), np.array([0.8, 0.1, 0.1])
        spread = np.sqrt(x.sum() * shares + (x * errors) ** 2)
        _, (left,), *_ = np.linalg.lstsq((shares / spread)[:, None], x / spread)
        ours = sample_ratio_p_value([Count(int(n), e) for n, e in zip(x, errors)], [8, 1, 1])
        assert ours == pytest.approx(scipy_stats.chi2.sf(left, 2))

    def test_a_reversed_split_is_not_counting_error(self):
        """One in a thousand is expected, and nine in ten came: no counter errs like that."""
        visitors = [Count(1000, 0.0055), Count(9000, 0.0061)]
        assert sample_ratio_p_value(visitors, [999, 1]) < 1e-9

    def test_only_the_weights_proportions_matter(self):
        counts = [Count(8000), Count(1100), Count(1000)]
        assert sample_ratio_p_value(counts, [8, 1, 1]) == pytest.approx(sample_ratio_p_value(counts, [80, 10, 10]))

    def test_one_variant_or_no_visitors_are_as_expected(self):
        assert sample_ratio_p_value([Count(5)], [1]) == sample_ratio_p_value([Count(0), Count(0)], [1, 1]) == 1.0

    @pytest.mark.parametrize("weights", [[1], [1, 0], [1, -1], [1, inf], [1, float("nan")]])
    def test_impossible_weights_are_refused(self, weights):
        with pytest.raises(ValueError, match="weights"):
            sample_ratio_p_value([Count(1), Count(2)], weights)

    @pytest.mark.parametrize(
        ("share", "visitors"), [(0.5, 20), (0.5, 60), (0.1, 50), (0.1, 240), (0.01, 100), (0.01, 2400), (0.3, 90)]
    )
    def test_an_honest_split_is_rarely_an_alarm(self, share, visitors):
        possible = range(visitors + 1)
        alarms = [sample_ratio_p_value([Count(x), Count(visitors - x)], [share, 1 - share]) < 0.001 for x in possible]
        assert scipy_stats.binom.pmf(possible, visitors, share) @ alarms < 0.003

    @given(
        st.lists(
            st.tuples(st.integers(0, 10**9), st.floats(0, 0.1), st.floats(0.001, 1000)),
            min_size=1,
            max_size=12,
        )
    )
    def test_it_is_a_probability_for_whatever_was_counted(self, variants):
        p = sample_ratio_p_value(
            [Count(value, error) for value, error, _ in variants], [weight for *_, weight in variants]
        )
        assert 0 <= p <= 1
