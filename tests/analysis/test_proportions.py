import json
from itertools import product
from math import ceil, hypot, inf, isclose, pi, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from scipy.integrate import trapezoid
from scipy.optimize import brentq
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from gimel.analysis.proportions import (
    EXACT_BELOW,
    Proportion,
    bonferroni,
    chance_to_beat_control,
    difference_interval,
    expected_losses,
    p_value,
    rate_interval,
    uplift_interval,
)
from gimel.hyperloglog import Count

REFERENCE = Path(__file__).parent / "reference"
ABBA = json.loads((REFERENCE / "abba.json").read_text())
GBSTATS = json.loads((REFERENCE / "gbstats.json").read_text())


def seen(successes, trials, error=0.0):
    return Proportion(Count(successes, error), Count(trials, error))


def comparisons(reference, rarest=0, reached=0):
    """The reference's cases, or those which expect so many in the rarest cell and have so many in either
    variant.
    """
    cases = [
        pytest.param(seen(*variation["variation"]), seen(*case["baseline"]), variation, id=case["name"])
        for case in reference["cases"]
        for variation in case["variations"]
    ]
    return [
        case
        for case in cases
        if rarest_cell(*case.values[:2]) >= rarest and min(of.reached for of in case.values[:2]) >= reached
    ]


def rarest_cell(variant, control):
    total = variant.trials.value + control.trials.value
    reached = variant.reached + control.reached
    return min(reached, total - reached) * min(variant.trials.value, control.trials.value) / total


def fisher_mid_p(variant, control):
    """Twice the smaller tail, of which what was seen counts half; by scipy."""
    s1, n1, s0, n0 = variant.reached, variant.trials.value, control.reached, control.trials.value
    table = [[s1, n1 - s1], [s0, n0 - s0]]
    tail = min(scipy_stats.fisher_exact(table, side).pvalue for side in ("less", "greater"))
    return min(1.0, 2 * tail - scipy_stats.hypergeom(n1 + n0, n1, s1 + s0).pmf(s1))


class TestProportion:
    def test_a_rate_needs_visitors(self):
        with pytest.raises(ValueError, match="visitor"):
            seen(1, 0)

    def test_more_successes_than_visitors_are_all(self):
        assert seen(1004, 1000).rate == 1.0


class TestRateInterval:
    @pytest.mark.parametrize(("variant", "control", "theirs"), comparisons(ABBA))
    def test_it_is_abbas_within_zero_and_one(self, variant, control, theirs):
        low, high = theirs["rate"]
        ours = rate_interval(variant)
        assert ours.low == pytest.approx(max(0, low), abs=1e-9)
        assert ours.high == pytest.approx(min(1, high), abs=1e-9)

    @pytest.mark.parametrize(("successes", "trials"), [(0, 7), (3, 100), (50, 100), (100, 100), (12, 40_000)])
    def test_it_is_statsmodels_agresti_coull(self, successes, trials):
        ours = rate_interval(seen(successes, trials))
        theirs = proportion_confint(successes, trials, method="agresti_coull")
        assert (ours.low, ours.high) == pytest.approx(theirs, abs=1e-9)

    def test_the_counters_error_widens_it(self):
        exact, counted = (
            rate_interval(seen(50_000, 1_000_000)),
            rate_interval(seen(50_000, 1_000_000, 0.00813)),
        )
        assert counted.low < exact.low
        assert counted.high > exact.high
        assert (counted.high - counted.low) / 2 == pytest.approx(1.96 * 0.05 * 0.00813 * sqrt(2), rel=0.1)

    def test_it_covers_where_five_successes_are_expected(self):
        for trials, rate in product((100, 300, 1000), (0.05, 0.06, 0.1, 0.2, 0.5)):
            possible = range(trials + 1)
            covered = [
                rate_interval(seen(s, trials)).low <= rate <= rate_interval(seen(s, trials)).high for s in possible
            ]
            assert scipy_stats.binom.pmf(possible, trials, rate) @ covered > 0.935


class TestDifferenceInterval:
    @pytest.mark.parametrize(("variant", "control", "theirs"), comparisons(GBSTATS))
    def test_it_is_statsmodels_newcombe(self, variant, control, theirs):
        ours = difference_interval(variant, control)
        low, high = confint_proportions_2indep(
            variant.reached, variant.trials.value, control.reached, control.trials.value, method="newcomb"
        )
        assert (ours.low, ours.high) == pytest.approx((low, high), abs=1e-6)

    @pytest.mark.parametrize(("variant", "control", "theirs"), comparisons(GBSTATS, rarest=50))
    def test_it_is_gbstats_where_a_normal_interval_is_right(self, variant, control, theirs):
        """Below 50 expected successes gbstats' normal interval is out of its depth, and Newcombe's the better
        reference.
        """
        ours, (low, high) = difference_interval(variant, control), theirs["two_sided_absolute"]["ci"]
        assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.02 * (high - low))

    @pytest.mark.parametrize("error", [0.0, 0.008, 0.1])
    def test_the_counters_error_is_in_the_score_interval_of_either_rate(self, error):
        """MOVER of the rates r with (p - r)^2 = z^2 (r (1 - r) / n + r^2 e^2), found by scipy."""
        z = scipy_stats.norm.isf(0.025)

        def ends(p, n):
            def beyond(r):
                return (p - r) ** 2 - z * z * (r * (1 - r) / n + 2 * r * r * error**2)

            return brentq(beyond, 0, p), brentq(beyond, p, 1)

        (l1, u1), (l0, u0) = ends(0.3, 1000), ends(0.25, 2000)
        ours = difference_interval(seen(300, 1000, error), seen(500, 2000, error))
        assert ours.low == pytest.approx(0.05 - hypot(0.3 - l1, u0 - 0.25))
        assert ours.high == pytest.approx(0.05 + hypot(u1 - 0.3, 0.25 - l0))

    def test_none_against_none_is_not_certain(self):
        interval = difference_interval(seen(0, 100), seen(0, 100))
        assert interval.low == -interval.high < -0.03

    @pytest.mark.parametrize(
        ("trials", "other", "rate"), [(100, 100, 0.05), (100, 100, 0.5), (100, 900, 0.05), (300, 300, 0.02)]
    )
    def test_it_covers_no_difference(self, trials, other, rate):
        assert rejected(lambda a, b: not _holds(difference_interval(a, b), 0), trials, other, rate) < 0.065


class TestUpliftInterval:
    @pytest.mark.parametrize(("variant", "control", "theirs"), comparisons(GBSTATS, rarest=30_000))
    def test_it_is_gbstats_where_the_delta_method_is_right(self, variant, control, theirs):
        """gbstats' relative interval is symmetric, which a ratio's is at huge counts only: else the score
        interval's turn.
        """
        ours, (low, high) = uplift_interval(variant, control), theirs["two_sided_relative"]["ci"]
        assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.02 * (high - low))

    @pytest.mark.parametrize(("variant", "control", "theirs"), comparisons(GBSTATS, rarest=10, reached=10))
    def test_it_is_the_score_interval_of_the_ratio(self, variant, control, theirs):
        ours = uplift_interval(variant, control)
        low, high = confint_proportions_2indep(
            *(variant.reached, variant.trials.value, control.reached, control.trials.value),
            compare="ratio",
            method="score",
        )
        assert (ours.low + 1, ours.high + 1) == pytest.approx((low, high), rel=0.05)

    def test_there_is_no_upper_bound_if_the_control_never_converted(self):
        interval = uplift_interval(seen(5, 100), seen(0, 100))
        assert interval.high == inf
        assert interval.low > 0

    @given(*[st.integers(0, 200)] * 2, *[st.integers(200, 5000)] * 2, st.floats(0, 0.01))
    def test_it_excludes_no_change_exactly_when_the_difference_does(self, s1, s0, n1, n0, error):
        variant, control = seen(s1, n1, error), seen(s0, n0, error)
        difference, uplift = difference_interval(variant, control), uplift_interval(variant, control)
        for of_difference, of_uplift in ((difference.low, uplift.low), (difference.high, uplift.high)):
            if abs(of_difference) > 1e-12:
                assert (of_difference > 0) == (of_uplift > 0)


class TestIntervalsThatAgreeWithThePValue:
    @given(
        *[st.integers(0, 300)] * 2, *[st.integers(1, 3000)] * 2, st.floats(0, 0.02), st.sampled_from([0.05, 0.2, 0.001])
    )
    def test_they_exclude_no_difference_exactly_when_it_is_below_alpha(self, s1, s0, n1, n0, error, alpha):
        variant, control = seen(s1, n1, error), seen(s0, n0, error)
        p = p_value(variant, control)
        for of in (difference_interval, uplift_interval):
            assert _holds(of(variant, control, alpha, p), 0) == (p >= alpha)
            for other in (0.9 * p, p, 1.1 * p + 1e-9):
                if 0 < other < 0.5:
                    assert _holds(of(variant, control, other, p), 0) == (p >= other)

    def test_an_end_that_does_not_agree_is_the_test_based_one(self):
        variant, control = seen(20, 100), seen(10, 100)
        p, newcombe = p_value(variant, control), difference_interval(variant, control)
        assert p == pytest.approx(0.0508, abs=0.0001)
        assert newcombe.low == pytest.approx(0.00015, abs=0.00001)
        agreeing = difference_interval(variant, control, p=p)
        assert agreeing.low == pytest.approx(0.1 * (1 - scipy_stats.norm.isf(0.025) / scipy_stats.norm.isf(p / 2)))
        assert agreeing.high == newcombe.high
        uplift = uplift_interval(variant, control, p=p)
        assert uplift.low == pytest.approx(10 * agreeing.low)
        assert uplift.high == uplift_interval(variant, control).high

    def test_ends_that_agree_are_newcombes(self):
        variant, control = seen(130, 1000), seen(100, 1000)
        p = p_value(variant, control)
        assert difference_interval(variant, control, 0.05, p) == difference_interval(variant, control, 0.05)
        assert uplift_interval(variant, control, 0.05, p) == uplift_interval(variant, control, 0.05)

    def test_without_a_conversion_of_the_control_the_uplift_agrees_too(self):
        variant, control = seen(5, 100), seen(0, 80)
        p = p_value(variant, control)
        for alpha in (0.9 * p, 1.1 * p):
            assert (uplift_interval(variant, control, alpha, p).low > 0) == (p < alpha)

    @pytest.mark.parametrize(("trials", "other", "rate"), [(100, 2000, 0.05), (60, 540, 0.1), (300, 300, 0.02)])
    @pytest.mark.parametrize("lift", [0.0, -0.3, 0.5])
    def test_they_cover_where_five_conversions_are_expected(self, trials, other, rate, lift):
        random = np.random.default_rng(8)
        covered = 0
        for s, t in zip(random.binomial(trials, rate * (1 + lift), 2000), random.binomial(other, rate, 2000)):
            variant, control = seen(int(s), trials), seen(int(t), other)
            p = p_value(variant, control)
            covered += _holds(difference_interval(variant, control, 0.05, p), rate * lift)
        assert covered / 2000 > 0.935


class TestPValue:
    @given(*[st.integers(0, 80)] * 4)
    def test_small_counts_have_fishers_mid_p(self, s1, s0, f1, f0):
        if s1 + f1 and s0 + f0:
            variant, control = seen(s1, s1 + f1), seen(s0, s0 + f0)
            assert p_value(variant, control) == pytest.approx(fisher_mid_p(variant, control), abs=1e-8)

    @pytest.mark.parametrize(
        "table", [(9, 10, 5, 10), (3, 20, 9, 20), (1, 50, 8, 50), (90, 100, 100, 100), (5, 100, 0, 100)]
    )
    def test_small_counts_agree_with_the_unconditional_tests(self, table):
        """Within 0.015 of Boschloo's or Barnard's p-value, which also differ from each other by that."""
        s1, n1, s0, n0 = table
        columns = [[s1, s0], [n1 - s1, n0 - s0]]
        theirs = [scipy_stats.boschloo_exact(columns).pvalue, scipy_stats.barnard_exact(columns).pvalue]
        assert min(abs(p_value(seen(s1, n1), seen(s0, n0)) - p) for p in theirs) < 0.015

    @pytest.mark.parametrize(("variant", "control", "theirs"), comparisons(GBSTATS, rarest=10))
    def test_it_is_the_pooled_z_and_gbstats_on_the_difference(self, variant, control, theirs):
        """Below ten expected successes a z is out of its depth, and Fisher's mid-p the better reference."""
        ours = p_value(variant, control)
        assert ours == pytest.approx(theirs["pooled_z"], abs=0.01)
        assert ours == pytest.approx(theirs["two_sided_absolute"]["p_value"], abs=0.01)

    @pytest.mark.parametrize(("variant", "control", "theirs"), comparisons(ABBA))
    def test_it_is_fishers_mid_p_where_abba_mixes_corrections(self, variant, control, theirs):
        """Abba's binomial test takes the pooled rate for known, so it is off by up to 0.04 where p is large
        anyway.
        """
        ours = p_value(variant, control)
        assert ours == pytest.approx(fisher_mid_p(variant, control), abs=0.002)
        if theirs["p_value"] < 0.05:
            assert ours == pytest.approx(theirs["p_value"], abs=0.01)

    def test_a_low_rate_is_seen_where_the_relative_t_test_is_blind(self):
        """12 against 29 in 40,000: gbstats' relative test says 0.088, Fisher's exact 0.0115, its mid-p
        0.0079.
        """
        assert p_value(seen(29, 40_000), seen(12, 40_000)) == pytest.approx(0.0079, abs=0.0001)

    def test_exact_and_normal_meet_where_one_takes_over(self):
        variant, control = seen(EXACT_BELOW + 13, 4000), seen(EXACT_BELOW - 15, 4000)
        assert rarest_cell(variant, control) < EXACT_BELOW
        assert p_value(variant, control) == pytest.approx(
            2 * scipy_stats.norm.sf(_pooled_z(variant, control)), rel=0.02
        )

    @pytest.mark.parametrize(("trials", "other"), [(100, 100), (50, 150), (100, 900), (300, 300)])
    @pytest.mark.parametrize("rate", [0.01, 0.05, 0.2, 0.5])
    def test_equal_rates_differ_as_rarely_as_it_says(self, trials, other, rate):
        assert rejected(lambda a, b: p_value(a, b) < 0.05, trials, other, rate) < 0.057

    def test_counting_error_is_not_evidence(self):
        """3 % apart at a million visitors: far beyond sampling noise, and within that of 12 KB counters."""
        assert p_value(seen(51_500, 1_000_000), seen(50_000, 1_000_000)) < 1e-5
        assert p_value(seen(51_500, 1_000_000, 0.00813), seen(50_000, 1_000_000, 0.00813)) > 0.05

    def test_far_in_a_long_tail_counting_error_explains_nothing(self):
        """91 % of 4,680 against all of 273,479: the difference is 5.5 times the standard error of the counters."""
        variant, control = seen(4252, 4680, 0.0058), seen(273_479, 273_479, 0.0081)
        expected = 2 * scipy_stats.norm.sf((1 - 4252 / 4680) / hypot(0.0058, 0.0058, 0.0081, 0.0081))
        assert p_value(variant, control) < 2 * expected
        assert chance_to_beat_control(variant, control) < expected
        assert chance_to_beat_control(control, variant) > 1 - expected

    @pytest.mark.parametrize(("trials", "other", "rate"), [(200, 20_000, 0.02), (200, 20_000, 0.98), (400, 400, 0.99)])
    def test_equal_rates_rarely_differ_where_counters_err_in_an_exact_tail(self, trials, other, rate):
        random = np.random.default_rng(6)
        found = [
            p_value(
                seen(max(0, round(s * (1 + 0.006 * e1))), max(1, round(trials * (1 + 0.006 * e2))), 0.006),
                seen(max(0, round(t * (1 + 0.006 * e3))), max(1, round(other * (1 + 0.006 * e4))), 0.006),
            )
            < 0.05
            for s, t, (e1, e2, e3, e4) in zip(
                random.binomial(trials, rate, 4000), random.binomial(other, rate, 4000), random.normal(size=(4000, 4))
            )
        ]
        assert sum(found) / 4000 < 0.06

    def test_no_one_or_everyone_converting_is_not_evidence(self):
        assert p_value(seen(0, 10), seen(0, 1000)) == p_value(seen(10, 10), seen(1000, 1000, 0.01)) == 1.0

    @given(*[st.integers(0, 10**7)] * 2, *[st.integers(1, 10**7)] * 2, *[st.floats(0, 0.5)] * 2)
    def test_more_counting_error_never_makes_it_smaller(self, s1, s0, n1, n0, error, more):
        less_sure, sure = (p_value(seen(s1, n1, error + extra), seen(s0, n0, error + extra)) for extra in (more, 0.0))
        assert 0 <= sure <= less_sure + 1e-9 <= 1 + 1e-9

    @given(*[st.integers(0, 10**6)] * 2, *[st.integers(1, 10**6)] * 2, st.floats(0, 0.1))
    def test_it_does_not_matter_which_is_the_control(self, s1, s0, n1, n0, error):
        a, b = seen(s1, n1, error), seen(s0, n0, error)
        assert isclose(p_value(a, b), p_value(b, a), rel_tol=1e-6, abs_tol=1e-12)


class TestChanceToBeatControl:
    @pytest.mark.parametrize(("variant", "control", "theirs"), comparisons(GBSTATS))
    def test_it_is_that_of_two_betas(self, variant, control, theirs):
        """gbstats' own figure takes the relative effect's posterior for normal; the Betas are exact."""
        assert chance_to_beat_control(variant, control) == pytest.approx(theirs["beta_1_1"], abs=0.001)

    @given(*[st.integers(0, 10**5)] * 2, *[st.integers(1, 10**6)] * 2, st.floats(0, 0.1))
    def test_one_of_the_two_is_better(self, s1, s0, n1, n0, error):
        a, b = seen(s1, n1, error), seen(s0, n0, error)
        assert chance_to_beat_control(a, b) + chance_to_beat_control(b, a) == pytest.approx(1, abs=1e-6)

    def test_the_counters_error_brings_it_towards_one_half(self):
        exact = chance_to_beat_control(seen(51_500, 1_000_000), seen(50_000, 1_000_000))
        counted = chance_to_beat_control(seen(51_500, 1_000_000, 0.00813), seen(50_000, 1_000_000, 0.00813))
        assert exact > 0.9999 > 0.97 > counted > 0.9

    @pytest.mark.parametrize("arms", [(1000, 1000), (1000, 9000), (200, 19_800), (1000, 1_000_000), (90_000, 10_000)])
    @pytest.mark.parametrize("rate", [0.1, 0.5, 0.99])
    def test_it_is_that_of_two_betas_from_the_change_of_method_on(self, arms, rate):
        """Within 0.0004, from 100 in the rarest cell on and up to 3.5 standard errors."""
        n1, n0 = (ceil(n * max(1, 110 / (min(arms) * min(rate, 1 - rate)))) for n in arms)
        for z in np.linspace(-3.5, 3.5, 15):
            s1 = round(n1 * (rate + z * sqrt(rate * (1 - rate) / n1)))
            variant, control = seen(min(n1, s1), n1), seen(round(n0 * rate), n0)
            if rarest_cell(variant, control) > EXACT_BELOW:
                ours = chance_to_beat_control(variant, control)
                assert ours == pytest.approx(_exact_chance(variant, control), abs=0.0004)

    @pytest.mark.parametrize(
        ("variant", "control", "exact"),
        [((130, 1000), (900, 9000), 0.9982), ((75, 1000), (100_000, 1_000_000), 0.0037)],
    )
    def test_lopsided_variants_have_the_tail_of_a_skewed_posterior(self, variant, control, exact):
        assert chance_to_beat_control(seen(*variant), seen(*control)) == pytest.approx(exact, abs=0.0002)

    def test_far_from_even_it_stays_there(self):
        assert chance_to_beat_control(seen(10, 1000), seen(100_000, 1_000_000)) < 1e-20
        assert chance_to_beat_control(seen(900_000, 1_000_000), seen(100, 1000)) == 1.0


class TestExpectedLosses:
    @pytest.mark.parametrize(
        ("variant", "control"),
        [
            *[((20, 100), (10, 100)), ((3, 50), (0, 20)), ((0, 10), (0, 1000)), ((100, 100), (99, 100))],
            *[((700, 7000), (690, 7000)), ((110, 1000), (900, 9000)), ((90, 1000), (900, 9000))],
            *[((100_000, 10**6), (100_300, 10**6)), ((130, 1000), (900, 9000))],
        ],
    )
    def test_they_are_the_integrals_over_two_betas(self, variant, control):
        """E[max(p0 - p1, 0)] is the integral of P(p1 < x) P(p0 > x)."""
        of1, of0 = (scipy_stats.beta(s + 1, n - s + 1) for s, n in (variant, control))
        ends = [end for of in (of1, of0) for end in of.ppf([1e-12, 1 - 1e-12])]
        x = np.linspace(min(ends), max(ends), 20_001)
        theirs = trapezoid(of1.cdf(x) * of0.sf(x), x), trapezoid(of1.sf(x) * of0.cdf(x), x)
        assert expected_losses(seen(*variant), seen(*control)) == pytest.approx(theirs, rel=0.005, abs=1e-6)

    @pytest.mark.parametrize(("trials", "error"), [(500, 0.2), (10**6, 0.008)])
    def test_the_counters_error_adds_to_the_variance(self, trials, error):
        variant, control = seen(trials // 10, trials, error), seen(trials // 10, trials, error)
        mean = (trials // 10 + 1) / (trials + 2)
        sd = sqrt(2 * (mean * (1 - mean) / trials + 2 * mean**2 * error**2))
        assert expected_losses(variant, control) == pytest.approx([sd / sqrt(2 * pi)] * 2, rel=0.01)

    @given(*[st.integers(0, 10**7)] * 2, *[st.integers(1, 10**7)] * 2, st.floats(0, 0.1))
    def test_they_differ_by_the_difference_of_the_posterior_means(self, s1, s0, n1, n0, error):
        variant, control = seen(s1, n1, error), seen(s0, n0, error)
        of_variant, of_control = expected_losses(variant, control)
        gain = (variant.reached + 1) / (n1 + 2) - (control.reached + 1) / (n0 + 2)
        assert of_control - of_variant == pytest.approx(gain, abs=1e-12)
        assert min(of_variant, of_control) >= 0
        assert expected_losses(control, variant) == pytest.approx((of_control, of_variant), rel=1e-6, abs=1e-9)


def test_several_comparisons_share_the_error():
    assert bonferroni(0.01, 3) == pytest.approx(0.03)
    assert bonferroni(0.6, 2) == 1.0
    assert bonferroni(0.6, 0) == 0.6


@given(*[st.integers(0, 10**12)] * 2, *[st.integers(1, 10**12)] * 2, st.floats(0, 2), st.floats(1e-6, 0.5))
def test_every_interval_holds_its_estimate(s1, s0, n1, n0, error, alpha):
    variant, control = seen(s1, n1, error), seen(s0, n0, error)
    rate, difference = rate_interval(variant, alpha), difference_interval(variant, control, alpha)
    uplift = uplift_interval(variant, control, alpha)
    assert 0 <= rate.low <= variant.rate <= rate.high <= 1
    assert -1 <= difference.low <= variant.rate - control.rate <= difference.high <= 1
    assert -1 <= uplift.low <= uplift.high
    if control.rate:
        assert uplift.low - 1e-9 <= variant.rate / control.rate - 1 <= uplift.high * (1 + 1e-9) + 1e-9


def rejected(rule, trials, other, rate):
    """How often equal rates fall under the rule: the sum over all outcomes, no chance involved."""
    ours = [(s, w) for s in range(trials + 1) if (w := scipy_stats.binom.pmf(s, trials, rate)) > 1e-6]
    theirs = [(s, w) for s in range(other + 1) if (w := scipy_stats.binom.pmf(s, other, rate)) > 1e-6]
    return sum(w * v for s, w in ours for t, v in theirs if w * v > 1e-8 and rule(seen(s, trials), seen(t, other)))


def _exact_chance(variant, control):
    s1, n1, s0, n0 = variant.reached, variant.trials.value, control.reached, control.trials.value
    return scipy_stats.hypergeom(n1 + n0 + 2, n0 + 1, s1 + s0 + 1).sf(s0)


def _holds(interval, value):
    return interval.low <= value <= interval.high


def _pooled_z(variant, control):
    n1, n0 = variant.trials.value, control.trials.value
    pooled = (variant.reached + control.reached) / (n1 + n0)
    return abs(variant.rate - control.rate) / sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n0))
