import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from gimel.analysis.distributions import (
    binomial_tails,
    chi_square_tail,
    critical_value,
    hypergeometric_tails,
    normal_tail,
    z_of_tail,
)


@pytest.mark.parametrize("z", [-3.0, 0.0, 0.5, 1.96, 8.0, 30.0])
def test_the_normal_tail_is_scipys(z):
    assert normal_tail(z) == pytest.approx(scipy_stats.norm.sf(z), rel=1e-12)


@pytest.mark.parametrize("probability", [1e-280, 1e-20, 0.001, 0.025, 0.3])
def test_a_tail_leads_back_to_its_z(probability):
    assert normal_tail(z_of_tail(probability)) == pytest.approx(probability, rel=1e-9)


def test_a_tail_that_underflowed_is_very_far_out():
    assert z_of_tail(0.0) > 37


def test_no_tail_at_all_is_the_middle():
    assert z_of_tail(0.5) == z_of_tail(0.9) == 0.0


def test_five_percent_on_both_sides_is_1_96():
    assert critical_value(0.05) == pytest.approx(1.959963985)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, float("nan")])
def test_an_impossible_alpha_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        critical_value(alpha)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 11, 40])
@pytest.mark.parametrize("x", [0.0, 0.1, 3.84, 20.0, 200.0])
def test_the_chi_square_tail_is_scipys(x, degrees):
    assert chi_square_tail(x, degrees) == pytest.approx(scipy_stats.chi2.sf(x, degrees), rel=1e-10)


def test_a_chi_square_needs_a_degree_of_freedom():
    with pytest.raises(ValueError, match="degree"):
        chi_square_tail(1.0, 0)


@given(st.integers(1, 400), st.integers(0, 400), st.data())
def test_hypergeometric_tails_are_scipys(marked, unmarked, data):
    drawn = data.draw(st.integers(0, marked + unmarked))
    seen = data.draw(st.integers(max(0, drawn - unmarked), min(marked, drawn)))
    theirs = scipy_stats.hypergeom(marked + unmarked, marked, drawn)
    ours = hypergeometric_tails(seen, marked, unmarked, drawn)
    assert ours.at == pytest.approx(theirs.pmf(seen), rel=1e-7, abs=1e-13)
    assert ours.below == pytest.approx(theirs.cdf(seen - 1), rel=1e-6, abs=1e-10)
    assert ours.above == pytest.approx(theirs.sf(seen), rel=1e-6, abs=1e-10)


def test_a_far_tail_keeps_its_digits():
    theirs = scipy_stats.hypergeom(20_000, 10_000, 60)
    assert hypergeometric_tails(58, 10_000, 10_000, 60).above == pytest.approx(theirs.sf(58), rel=1e-8)


@given(st.integers(1, 300), st.floats(0.01, 0.99), st.data())
def test_binomial_tails_are_scipys(trials, rate, data):
    seen = data.draw(st.integers(0, trials))
    ours, theirs = binomial_tails(seen, trials, rate), scipy_stats.binom(trials, rate)
    assert ours.at == pytest.approx(theirs.pmf(seen), rel=1e-7, abs=1e-13)
    assert ours.below == pytest.approx(theirs.cdf(seen - 1), rel=1e-6, abs=1e-10)
    assert ours.above == pytest.approx(theirs.sf(seen), rel=1e-6, abs=1e-10)


@pytest.mark.parametrize("impossible", [(5, 4, 10, 8), (-1, 4, 4, 2), (0, 4, 2, 3)])
def test_an_impossible_draw_is_refused(impossible):
    with pytest.raises(ValueError, match="is impossible"):
        hypergeometric_tails(*impossible)


@pytest.mark.parametrize("impossible", [(5, 4, 0.5), (1, 4, 0.0), (1, 4, 1.0)])
def test_an_impossible_binomial_is_refused(impossible):
    with pytest.raises(ValueError, match="is impossible"):
        binomial_tails(*impossible)
