import json
from math import inf
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from gimel.analysis.report import experiment_report
from gimel.analysis.sample_ratio import SPLIT_ALPHA, always_valid_split_p_value, sample_ratio_p_value
from gimel.hyperloglog import Count
from tests.counts import counted

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


KOHAVI = (821_588, 815_482)
"""Of a split that should be 50/50: Kohavi, Tang & Xu 2020, Trustworthy Online Controlled Experiments, chapter 3."""


class TestAlwaysValid:
    @pytest.mark.parametrize(("visitors", "weights"), [((40, 60), (1, 1)), ((3, 7), (99, 1)), ((80, 5, 15), (8, 1, 1))])
    def test_of_exact_counts_it_is_one_over_the_bayes_factor_of_scipys_distributions(self, visitors, weights):
        shares, n = np.array(weights) / sum(weights), sum(visitors)
        prior = scipy_stats.dirichlet_multinomial(1000 * shares, n)
        factor = prior.pmf(visitors) / scipy_stats.multinomial(n, shares).pmf(visitors)
        ours = always_valid_split_p_value([Count(x) for x in visitors], weights)
        assert ours == pytest.approx(min(1.0, 1 / factor), rel=1e-6)

    def test_kohavis_example_is_an_alarm(self):
        counts = dict(zip("ab", map(Count, KOHAVI)))
        answer = experiment_report({"participate": counts})["sample_ratio"]
        assert answer["p_value"] == pytest.approx(1.8e-6, rel=0.02)
        assert answer["always_valid_p_value"] == pytest.approx(4.6e-4, rel=0.02)
        assert answer["state"] == "mismatch"

    @pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001])
    def test_an_honest_split_is_hardly_ever_an_alarm_from_the_first_visitor_on(self, share):
        """Looked at after every 10th of 2,000 visitors, with the chances of all outcomes added up."""
        alive, alarmed = np.ones(1), 0.0
        for visitors in range(1, 2001):
            alive = np.append(alive, 0) * (1 - share) + np.append(0, alive) * share
            for x in np.flatnonzero(alive > 1e-7) if visitors % 10 == 0 else ():
                if always_valid_split_p_value([Count(int(x)), Count(visitors - int(x))], [share, 1 - share]) < 0.05:
                    alarmed += alive[x]
                    alive[x] = 0
        assert 0.001 < alarmed < 0.05

    @pytest.mark.parametrize("precision", ["exact", 16, 1, "bitmap"])
    @pytest.mark.parametrize("shares", [(0.5, 0.5), (0.99, 0.01), (0.25,) * 4])
    def test_an_honest_split_is_hardly_ever_an_alarm_at_one_of_a_hundred_looks(self, precision, shares):
        """Of 100 experiments at most 1 falls below 0.01 at any look on the way to a million visitors."""
        assert sum(alarms(shares, shares, 1_000_000, precision, 100, 0.01)) <= 1

    @pytest.mark.parametrize("precision", ["exact", 16, 1, "bitmap"])
    def test_a_split_of_52_to_48_is_found_before_100_000_visitors(self, precision):
        assert all(alarms((0.5, 0.5), (0.52, 0.48), 100_000, precision, 60, SPLIT_ALPHA))

    def test_what_is_a_mismatch_at_a_single_look_may_be_none_at_many(self):
        counts = [Count(5180), Count(4820)]
        assert sample_ratio_p_value(counts, [1, 1]) < SPLIT_ALPHA < always_valid_split_p_value(counts, [1, 1])
        answer = experiment_report({"participate": dict(zip("ab", counts))})["sample_ratio"]
        assert answer["p_value"] < SPLIT_ALPHA < answer["always_valid_p_value"]
        assert answer["state"] == "as_expected"

    def test_counting_error_is_not_a_mismatch(self):
        visitors = [1_000_000, 1_010_000]
        assert always_valid_split_p_value([Count(n) for n in visitors], [1, 1]) < 1e-7
        assert always_valid_split_p_value([counted(n) for n in visitors], [1, 1]) == 1.0

    def test_counters_that_hardly_err_are_as_exact_ones(self):
        exact, counted_well = ([Count(5150, error), Count(4850, error)] for error in (0.0, 1e-7))
        ours = always_valid_split_p_value(counted_well, [1, 1])
        assert ours == pytest.approx(always_valid_split_p_value(exact, [1, 1]), rel=1e-6)

    def test_counts_beyond_the_digits_of_a_float_are_no_exception(self):
        for x in range(2**62, 2**63, 2**57):
            assert 0 <= always_valid_split_p_value([Count(x)] * 3, [1, 1, 1]) <= 1

    def test_a_reversed_split_is_not_counting_error(self):
        assert always_valid_split_p_value([counted(1000), counted(9000)], [999, 1]) < 1e-9

    def test_one_variant_or_no_visitors_are_as_expected(self):
        assert always_valid_split_p_value([Count(5)], [1]) == pytest.approx(1.0)
        assert always_valid_split_p_value([Count(0), Count(0)], [1, 1]) == 1.0

    def test_impossible_weights_are_refused(self):
        with pytest.raises(ValueError, match="weights"):
            always_valid_split_p_value([Count(1), Count(2)], [1, 0])

    @given(
        st.lists(st.tuples(st.integers(0, 2**63), st.floats(0, 0.1), st.floats(1e-300, 1e300)), min_size=1, max_size=12)
    )
    def test_it_is_a_probability_for_whatever_was_counted(self, variants):
        counts = [Count(value, error) for value, error, _ in variants]
        assert 0 <= always_valid_split_p_value(counts, [weight for *_, weight in variants]) <= 1


def test_a_stray_visitor_does_not_silence_a_report_without_weights():
    trials = {"a": Count(5000), "b": Count(5000), "zzz": Count(1)}
    answer = experiment_report({"participate": trials, "buy": {"a": Count(500), "b": Count(700)}})
    assert answer["sample_ratio"]["state"] == "as_expected"
    assert answer["verdict"]["text"] == "b beats a"


def alarms(weights, true, visitors, precision, looks, alpha, experiments=100):
    """Which of these experiments fall below alpha at one of so many looks; a count's error grows with it."""
    chance = np.random.default_rng(20261130)
    found = []
    for _ in range(experiments):
        totals = chance.multinomial(visitors // looks, true, size=looks).cumsum(axis=0)
        variances = np.array([[(x * counted(int(x), precision).error) ** 2 for x in row] for row in totals])
        steps = np.sqrt(np.maximum(0, np.diff(variances, axis=0, prepend=0)))
        readings = np.rint(totals + (steps * chance.standard_normal(steps.shape)).cumsum(axis=0)).astype(int)
        found.append(
            any(
                always_valid_split_p_value([counted(max(0, int(x)), precision) for x in row], weights) < alpha
                for row in readings
            )
        )
    return found
