"""A fast version of `python -m tests.validation`: the same code, fewer experiments, fixed seeds.

A bar is held with room for Monte Carlo error; the full run, written to docs/evidence.md, holds it as it
stands.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from gimel.analysis.sequential import always_valid_interval
from gimel.settings import ExperimentSettings

from . import experiments, measure, page, plan, plots, real_redis
from .measure import EXACT, standard_error

REFERENCE = json.loads(
    (Path(__file__).parents[1] / "analysis" / "reference" / "gbstats.json").read_text(encoding="utf-8")
)

pytestmark = pytest.mark.slow

ROOM = 3.3
"""Standard errors of room: one cell in a thousand would miss its bar by chance, and the seeds are fixed."""


def at_most(bar, share, experiments):
    return share <= bar + ROOM * standard_error(bar, experiments)


@pytest.mark.parametrize("precision", [1, 16, "bitmap", EXACT])
@pytest.mark.parametrize(
    ("visitors", "rate"),
    [(100, 0.01), (100, 0.5), (1000, 0.05), (100_000, 0.2), (1_000_000, 0.05), (10_000_000, 0.5)],
)
def test_equal_variants_rarely_differ(visitors, rate, precision):
    found = measure.inference([1, visitors], 1500, visitors, rate, precision)
    assert at_most(0.06, found["p_value"], 1500)
    if visitors * rate >= 30:
        assert found["p_value"] >= 0.015
    if visitors * rate >= 5:
        assert found["rate"] >= 0.935 - ROOM * standard_error(0.065, 1500)
        assert found["difference"] >= 0.935 - ROOM * standard_error(0.065, 1500)


def test_the_naive_z_finds_differences_where_there_are_none():
    """46 % at a million visitors and 5 %: what this report is there to end."""
    assert 0.42 < measure.inference([2], 1500, 1_000_000, 0.05, 1)["naive"] < 0.52


@pytest.mark.parametrize("precision", [1, 16, "bitmap", EXACT])
def test_intervals_hold_a_true_difference(precision):
    found = measure.inference([3], 1500, 100_000, 0.05, precision, lift=0.2)
    assert min(found[name] for name in measure.INTERVALS) >= 0.935 - ROOM * standard_error(0.065, 1500)


@pytest.mark.parametrize("items", [1_000, 100_000, 3_000_000, 10_000_000])
@pytest.mark.parametrize("kind", ["bitmap", "bitmap-768"])
def test_a_bitmap_errs_as_much_as_the_report_states(kind, items):
    found = measure.counting([11], 5000, items, kind)
    assert found["error"] == pytest.approx(experiments.reading(items, kind).error, rel=0.1)
    assert abs(found["bias"]) < 0.1 * found["error"] + 0.5 / items  # it reads whole numbers


def test_a_full_bitmap_leaves_the_counting_to_its_hyperloglog():
    found = measure.counting([12], 500, 30_000_000, "bitmap")
    assert found["error"] == pytest.approx(0.0081, rel=0.15)
    assert experiments.reading(30_000_000, "bitmap").error == pytest.approx(0.0081, rel=0.01)


@pytest.mark.parametrize("kind", ["bitmap", "bitmap-768"])
def test_a_growing_bitmap_has_set_as_many_bits_as_real_ones(kind):
    random = np.random.default_rng(1)
    bits = experiments.BITMAPS[kind]
    grown = experiments.grow(random, np.full((400, 5, 1), 100_000), kind)[:, -1, 0]
    real = np.zeros((100, bits), dtype=bool)
    for one in real:
        one[random.integers(0, bits, 500_000)] = True
    read = -bits * np.log1p(-real.sum(axis=1) / bits)
    assert grown.mean() == pytest.approx(read.mean(), rel=4 * read.std() / read.mean() / 10)
    assert grown.std() == pytest.approx(read.std(), rel=0.35)


def test_a_growing_hyperloglog_reads_what_one_filled_at_once_does():
    random = np.random.default_rng(14)
    grown = experiments.grow(random, np.full((300, 4, 2), 5_000), 4)[:, -1].ravel()
    at_once = experiments.count(random, np.full(600, 20_000), 4)
    assert grown.mean() == pytest.approx(at_once.mean(), rel=0.001)
    assert grown.std() == pytest.approx(at_once.std(), rel=0.15)


def test_bitmap_768_has_the_always_valid_power_of_exact_counts():
    found = {
        kind: measure.inference([4], 1500, 1_000_000, 0.2, kind, lift=0.015)["always_valid"]
        for kind in ("bitmap-768", EXACT)
    }
    assert found["bitmap-768"] >= found[EXACT] - 0.03 - ROOM * standard_error(0.1, 1500)


def test_precision_16_has_the_power_of_exact_counts():
    found = {k: measure.inference([4], 1500, 1_000_000, 0.05, k, lift=0.03)["p_value"] for k in (1, 16, EXACT)}
    assert found[16] >= found[EXACT] - 0.03 - ROOM * standard_error(0.02, 1500)
    assert found[1] < 0.6


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("visitors", "rate", "precision", "weights", "times"),
    [
        (20_000, 0.05, EXACT, (1, 1), 1000),
        (40_000, 0.005, EXACT, (1, 19), 500),
        (100_000, 0.5, "bitmap", (19, 1), 1000),
        (20_000, 0.2, 1, (1, 1), 150),
        (20_000, 0.5, 16, (1, 4), 100),
    ],
)
def test_a_hundred_looks_rarely_find_a_false_winner(visitors, rate, precision, weights, times, late):
    ever = measure.looking([5], times, visitors, rate, precision, weights, late=late, single=True)
    assert at_most(0.055, ever["planned"][-1], times)
    assert at_most(0.055, ever["always_valid"][-1], times)
    assert ever["p_value"][-1] > 0.15


@pytest.mark.parametrize("precision", [1, "bitmap", EXACT])
def test_a_hundred_intervals_hold_a_true_difference(precision):
    ever = measure.looking([15], 300, 40_000, 0.05, precision, lift=0.2)
    assert at_most(0.065, ever["planned"][-1], 300)
    assert at_most(0.065, ever["always_valid"][-1], 300)


@pytest.mark.parametrize(("rate", "share"), [(0.05, 0.5), (0.001, 0.5), (0.002, 0.05), (0.002, 0.95)])
@pytest.mark.parametrize("precision", [1, EXACT])
def test_no_interval_is_missed_where_it_is_not_computed(precision, rate, share):
    """The looks are screened by a cheap normal approximation; the project's own functions must not fire elsewhere."""
    random = np.random.default_rng(16)
    looks = list(range(2000, 40_001, 2000))
    readings = experiments.simulate_looks(random, 100, looks, (rate, rate), precision, share)
    planned = (40_000 * share, 40_000 * (1 - share))
    for (n0, s0, n1, s1), standing in zip(readings, readings.standing().ravel()):
        variant = experiments.proportion(s1, n1, precision)
        control = experiments.proportion(s0, n0, precision)
        if standing <= 1.7:
            assert measure.p_value(variant, control) >= 0.05
            assert not measure.misses(0, measure.planned_for(variant, control, planned))
        if standing <= 2.7:
            assert not measure.misses(0, always_valid_interval(variant, control))


def test_a_planned_experiment_is_decided_about_when_one_of_fixed_size_is():
    found = measure.until([17], 1000, 0.05, 0.1, EXACT)
    assert found["visitors"] == pytest.approx(31_233, abs=1)
    assert found["single"] == pytest.approx(0.8, abs=0.045)
    most = {name: measure.quantile_until(found["multiples"], found[name]) for name in ("planned", "growthbook")}
    assert most["planned"] <= min(1.25, most["growthbook"])
    assert found["planned_mean"] <= min(1.0, found["growthbook_mean"])
    assert found["planned"][-1] >= 0.8
    assert found["always_valid_mean"] < found["growthbook_mean"]


def test_growthbooks_test_is_that_of_gbstats():
    """The reference values are those of gbstats itself."""
    tried = 0
    for case in REFERENCE["cases"]:
        s0, n0 = case["baseline"]
        for one in case["variations"]:
            s1, n1 = one["variation"]
            if "ci" in one["sequential_relative"]:
                readings = experiments.Readings(EXACT, *(np.array([value]) for value in (n0, s0, n1, s1)))
                low, high = one["sequential_relative"]["ci"]
                half = measure.growthbook_width(readings)[0]
                assert half == pytest.approx((high - low) / 2, rel=2e-3), case["name"]
                tried += 1
    assert tried >= 5


@pytest.mark.parametrize(
    ("weights", "precision", "times"),
    [((1, 1), EXACT, 1500), ((9, 1), EXACT, 1500), ((8, 2), "bitmap", 1000), ((1, 1), 1, 100)],
)
def test_the_visitors_that_were_said_to_be_needed_are(weights, precision, times):
    found = measure.needed([18], times, 4000, 0.05, 0.1, precision, weights)
    room = ROOM * standard_error(0.8, times)
    assert 0.78 - room <= found["by_then"] <= 0.84 + room


@pytest.mark.parametrize("precision", [1, 16, "bitmap", EXACT])
def test_a_split_that_is_checked_a_hundred_times_is_rarely_an_alarm(precision):
    visitors, times = (20_000, 150) if precision in (1, 16) else (1_000_000, 3000)
    assert at_most(0.001, measure.split_looks([19], times, visitors, precision)["always_valid_split"][-1], times)
    caught = measure.split_looks([20], 100, 100_000, precision, share=0.52)
    assert caught["always_valid_split"][-1] >= 0.97


def test_a_primary_goal_is_tested_alone_and_the_others_share_the_error():
    found = measure.many_goals([21], 500, 100_000, 0.05, EXACT)
    assert at_most(0.055, found["primary"], 500)
    assert at_most(0.055, found["secondary"], 500)
    assert found["uncorrected"] > 0.12


@pytest.mark.parametrize("precision", [1, EXACT])
def test_a_change_that_matters_is_rarely_called_no_difference(precision):
    found = measure.said([22], 40, 200_000, 0.05, 0.1, precision, "no_difference", looks=50)
    assert at_most(0.05, found["said"], 40)


@pytest.mark.parametrize("precision", [1, EXACT])
def test_a_guardrail_at_its_margin_is_rarely_called_not_worse(precision):
    own = ExperimentSettings(guardrails={"buy": -0.1})
    found = measure.said([23], 40, 200_000, 0.05, -0.1, precision, "not_worse", own, looks=50)
    assert at_most(0.05, found["said"], 40)


@pytest.mark.parametrize("precision", [1, 16, "bitmap", EXACT])
@pytest.mark.parametrize("weights", [(1, 1), (99, 1), (1, 1, 1)])
@pytest.mark.parametrize("visitors", [100, 1_000_000])
def test_an_honest_split_is_rarely_an_alarm(visitors, weights, precision):
    found = measure.split([6], 3000, visitors * len(weights), weights, precision)
    assert at_most(0.003, found["alarms"], 3000)


@pytest.mark.parametrize("precision", [1, 16, "bitmap", EXACT])
def test_a_wrong_split_is_caught(precision):
    found = measure.split([7], 1000, 100_000, (1, 1), precision, actual=(52, 48))
    assert found["alarms"] >= 0.985


def test_one_uuid_for_every_goal_is_covered():
    found = measure.inference([8], 150, 50_000, 0.2, 1, one_uuid=True)
    assert at_most(0.06, found["p_value"], 150)
    assert found["rate"] >= 0.935 - ROOM * standard_error(0.065, 150)


def test_twelve_variants_share_the_error():
    found = measure.many_variants([9], 300, 20_000, 0.05, 1, 12)
    assert at_most(0.06, found["p_value"], 300)
    assert found["unadjusted_p_value"] > 0.2


@pytest.mark.parametrize("precision", [1, 16, "bitmap"])
def test_a_real_redis_behind_the_real_handlers_counts_the_same(precision):
    with real_redis.running() as server:
        assert real_redis.compare(server, [10], 3, 2000, 0.05, precision)["equal"] == 3


def test_every_cell_of_the_full_run_has_a_name_of_its_own():
    for tasks in (plan.tasks(), plan.tasks(quick=True)):
        assert len({task.key for task in tasks}) == len(tasks)


def test_the_page_names_every_bar_that_is_missed(tmp_path):
    tasks = plan.tasks(quick=True)
    results = {task.key: canned(task) for task in tasks}
    for precision in (1, 16, "bitmap"):
        results["real redis", precision] = {"experiments": 10, "equal": 9, "false_positives": 0}
    text, failures = page.write(results, tasks)
    assert failures[-1] == "the simulation's counter differs from Redis': bitmap"
    missed = " ".join(failures)
    for one in (
        "('coverage', 1000, 0.05, 16) rate: 5.00 %",
        "('weights', (1, 19), 0.5, 'bitmap') planned: 7.00 %",
        "('late look', (1, 1), 0.05, 0) always_valid: 7.00 %",
        "('honest split', 1) always_valid_split: 7.00 %",
        "('needed', (9, 1), 16) by_then: 5.00 %",
        "('no difference', 'bitmap') said: 7.00 %",
        "('goals', 0) secondary: 7.00 %",
        "counting error, bitmap-768, 10,000: 5.000",
        "visitors until a planned verdict, exact, on average: 1.40",
        "visitors until a planned verdict, exact, for 80 %: 1.30",
    ):
        assert one in missed
    assert "**5.00**" in text
    assert text.startswith("# The evidence\n")
    assert "- [Looking a hundred times](#looking-a-hundred-times)" in text
    plots.draw(results, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "false-positives.png",
        "power.png",
        "looking.png",
        "until-a-verdict.png",
    }


def canned(task):
    """What a cell might measure; much of it misses its bar."""
    if task.function in ("looking", "split_looks"):
        names = ("naive", "p_value", "planned", "always_valid", "split", "always_valid_split")
        return {name: [0.07] * 100 for name in names}
    if task.function == "until":
        curve = [0.5, 0.79, 0.81, 0.9]
        rules = ("planned", "always_valid", "growthbook")
        until = {"multiples": [1.0, 1.2, 1.3, 4.0], "visitors": 31_233.0, "planned_end": 1.21, "single": 0.8}
        return until | dict.fromkeys(rules, curve) | {f"{rule}_mean": 1.4 for rule in rules}
    if task.function in ("many_goals", "said"):
        return dict.fromkeys(("uncorrected", "primary", "secondary", "said"), 0.07)
    names = ("naive", "p_value", "planned", "always_valid", *measure.INTERVALS, "alarms", "error", "by_then", "then")
    return dict.fromkeys((*names, "unadjusted_p_value", "always_valid_p_value", "more"), 0.05)
