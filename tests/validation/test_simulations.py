"""A fast version of `python -m tests.validation`: the same code, fewer experiments, fixed seeds.

A bar is held with room for Monte Carlo error; the full run, written to docs/evidence.md, holds it as it
stands.
"""

import pytest

from . import measure, page, plan, plots, real_redis
from .measure import EXACT, standard_error

pytestmark = pytest.mark.slow

ROOM = 3.3
"""Standard errors of room: one cell in a thousand would miss its bar by chance, and the seeds are fixed."""


def at_most(bar, share, experiments):
    return share <= bar + ROOM * standard_error(bar, experiments)


@pytest.mark.parametrize("precision", [1, 16, EXACT])
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


@pytest.mark.parametrize("precision", [1, 16, EXACT])
def test_intervals_hold_a_true_difference(precision):
    found = measure.inference([3], 1500, 100_000, 0.05, precision, lift=0.2)
    assert min(found["rate"], found["difference"], found["uplift"]) >= 0.935 - ROOM * standard_error(0.065, 1500)


def test_precision_16_has_the_power_of_exact_counts():
    found = {k: measure.inference([4], 1500, 1_000_000, 0.05, k, lift=0.03)["p_value"] for k in (1, 16, EXACT)}
    assert found[16] >= found[EXACT] - 0.03 - ROOM * standard_error(0.02, 1500)
    assert found[1] < 0.6


@pytest.mark.parametrize(
    ("visitors", "rate", "precision", "experiments"), [(10_000, 0.05, EXACT, 500), (20_000, 0.2, 1, 150)]
)
def test_a_hundred_looks_rarely_find_a_false_winner(visitors, rate, precision, experiments):
    ever = measure.looking([5], experiments, visitors, rate, precision)
    assert at_most(0.055, ever["always_valid"][-1], experiments)
    assert ever["verdict"][-1] <= ever["always_valid"][-1]
    assert ever["p_value"][-1] > 0.2


@pytest.mark.parametrize("precision", [1, 16, EXACT])
@pytest.mark.parametrize("weights", [(1, 1), (99, 1), (1, 1, 1)])
@pytest.mark.parametrize("visitors", [100, 1_000_000])
def test_an_honest_split_is_rarely_an_alarm(visitors, weights, precision):
    found = measure.split([6], 3000, visitors * len(weights), weights, precision)
    assert at_most(0.003, found["alarms"], 3000)


@pytest.mark.parametrize("precision", [1, 16, EXACT])
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


@pytest.mark.parametrize("precision", [1, 16])
def test_a_real_redis_behind_the_real_handlers_counts_the_same(precision):
    with real_redis.running() as server:
        assert real_redis.compare(server, [10], 3, 2000, 0.05, precision)["equal"] == 3


def test_every_cell_of_the_full_run_has_a_name_of_its_own():
    for tasks in (plan.tasks(), plan.tasks(quick=True)):
        assert len({task.key for task in tasks}) == len(tasks)


def test_the_page_names_every_bar_that_is_missed(tmp_path):
    shares = dict.fromkeys(
        ("naive", "p_value", "always_valid", "rate", "difference", "uplift", "alarms", "error"), 0.05
    )
    shares |= dict.fromkeys(("unadjusted_p_value", "always_valid_p_value"), 0.05)
    tasks = plan.tasks(quick=True)
    results = {task.key: dict(shares) for task in tasks}
    for task in tasks:
        if task.function == "looking":
            results[task.key] = {name: [0.01] * 100 for name in ("naive", "p_value", "always_valid", "split")}
    for precision in (1, 16):
        results["real redis", precision] = {"experiments": 10, "equal": 9, "false_positives": 0}
    text, failures = page.write(results, tasks)
    assert failures[-1] == "the simulation's HyperLogLog differs from Redis' at precision 16"
    assert "('coverage', 1000, 0.05, 16) rate: 5.00 %" in " ".join(failures)
    assert "**5.00**" in text
    assert text.startswith("# The evidence\n")
    assert "- [Looking a hundred times](#looking-a-hundred-times)" in text
    plots.draw(results, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"false-positives.png", "power.png", "looking.png"}
