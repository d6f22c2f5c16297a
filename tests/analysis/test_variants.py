"""The rule for labels that have far too few visitors for a variant, where config.json lists none."""

import numpy as np
import pytest

from gimel.analysis.report import experiment_report
from gimel.analysis.variants import changed_plan, planned_in_all, resolve_variants, variants_of
from gimel.hyperloglog import Count
from gimel.plans import Ended
from gimel.settings import ExperimentSettings
from tests.counts import counted


def variants(**visitors):
    return resolve_variants({label: counted(value) for label, value in sorted(visitors.items())})


@pytest.mark.parametrize(
    ("visitors", "unexpected"),
    [
        ({"blue": 5000, "red": 5000, "zzz": 1}, "zzz"),
        ({"blue": 5000, "red": 5000, "zzz": 99}, "zzz"),
        ({"blue": 5000, "red": 5000, "new": 100}, ""),  # no accident any more
        ({"blue": 50_000, "red": 50_000, "zzz": 499}, "zzz"),
        ({"blue": 50_000, "red": 50_000, "new": 501}, ""),
        ({"blue": 300, "red": 300, "zzz": 29}, "zzz"),
        ({"blue": 300, "red": 300, "new": 31}, ""),
        ({"blue": 20, "red": 20, "zzz": 1}, "zzz"),
        ({"blue": 19, "red": 20, "new": 1}, ""),  # any label may still be a variant
        ({"blue": 17, "red": 3}, ""),
        ({"blue": 5000, "redd": 1}, ""),  # one of two has lost its visitors
        ({"blue": 9000, "red": 1000, "zzz": 1}, "zzz"),
        ({"blue": 9900, "red": 100, "zzz": 1}, "zzz"),
        ({"blue": 9900, "red": 100}, ""),
        ({"blue": 4950, "green": 4950, "red": 100}, ""),  # 1 % of the visitors
        ({"blue": 250, "flood": 1_000_000, "red": 250, "zzz": 2}, "zzz"),  # no single label makes the others few
        ({"blue": 5000, "red": 5000, "s": 1, "t": 0, "u": 40}, "stu"),
    ],
)
def test_which_labels_are_unexpected(visitors, unexpected):
    found = variants(**visitors)
    assert set(visitors) - set(found.real) == ({unexpected} if unexpected == "zzz" else set(unexpected))


def test_the_control_is_the_first_by_name_among_the_variants():
    assert variants(aaa=1, blue=5000, red=5000).control == "blue"


def test_a_configured_control_is_a_variant_whatever_its_visitors():
    trials = {"a": Count(1), "b": Count(5000), "c": Count(5000)}
    assert resolve_variants(trials, baseline="a").control == "a"
    assert resolve_variants(trials, baseline="a").real == ["a", "b", "c"]


def test_a_new_variant_is_unexpected_until_it_has_enough_visitors():
    """Each day 1,000 visitors for the two old variants, and 40 for the new one."""
    judged = []
    for day in range(1, 8):
        counts = {"blue": Count(4000 + 500 * day), "green": Count(40 * day), "red": Count(4000 + 500 * day)}
        answer = experiment_report({"participate": counts})
        judged.append((answer["participants"][1]["unexpected"], answer["sample_ratio"]["state"]))
    assert judged == [(True, "as_expected")] * 2 + [(False, "mismatch")] * 5


@pytest.mark.parametrize("shares", [(0.9, 0.1), (0.99, 0.01), (0.495, 0.495, 0.01)])
@pytest.mark.parametrize("shards", [0, 1])
def test_a_true_variant_with_a_small_share_and_no_weights_raises_the_alarm(shares, shards):
    """500 visitors a day: after two months every one of 50 experiments says so, and none has left a variant out."""
    chance = np.random.default_rng(20261125)
    for _ in range(50):
        visitors = chance.multinomial(500 * 60, shares)
        counts = {f"v{i}": counted(int(value), shards) for i, value in enumerate(visitors)}
        answer = experiment_report({"participate": counts})
        assert answer["verdict"]["state"] == "do_not_trust"
        assert "set weights in the settings" in answer["verdict"]["reason"]
        assert not any(one["unexpected"] for one in answer["participants"])


@pytest.mark.parametrize("arms", [2, 3, 5, 8])
@pytest.mark.parametrize(("visitors_a_day", "days"), [(1, 400), (10, 60), (100, 20)])
def test_equal_variants_are_hardly_ever_left_out(arms, visitors_a_day, days):
    """Looked at every day, from the first visitor on: of 100,000 experiments at most 14 ever leave a variant out."""
    assert left_out(arms, visitors_a_day, days, experiments=3000) <= (2 if arms > 2 else 0)


def left_out(arms, visitors_a_day, days, experiments):
    """How many of these experiments with equal variants leave one out on any day, with counters off by 0.81 %."""
    chance = np.random.default_rng(20261125 + arms)
    totals = np.zeros((experiments, arms), dtype=int)
    wrong = np.zeros(experiments, dtype=bool)
    off = chance.standard_normal((experiments, arms))
    for _ in range(days):
        totals += chance.multinomial(visitors_a_day, [1 / arms] * arms, experiments)
        readings = np.maximum(0, np.rint(totals * (1 + 0.0081 * off))).astype(int)
        ordered = np.sort(readings, axis=1)
        for position in np.flatnonzero((ordered[:, 0] < ordered[:, -2] / 5) & ~wrong):  # others cannot be
            seen = {f"v{i}": Count(int(value)) for i, value in enumerate(readings[position]) if value}
            wrong[position] = len(resolve_variants(seen).real) < len(seen)
    return int(wrong.sum())


@pytest.mark.parametrize(
    ("own", "seen", "planned"),
    [
        ({"planned_visitors": None}, "ab", None),
        ({}, "ab", 1000),
        ({}, "abc", 1500),
        ({}, "a", 1000),  # one variant is no experiment
        ({}, "", 1000),
        ({"variants": frozenset("abc")}, "ab", 1500),  # the third is yet to come
        ({"variants": frozenset("ab")}, "abz", 1000),
        ({"variants": frozenset("xyz")}, "ab", 1000),  # names that the page does not send
        ({"weights": {"a": 9, "b": 1}}, "ab", 500),
        ({"weights": {"a": 9, "b": 1}}, "", 500),
    ],
)
def test_planned_visitors_are_those_of_each_variant_or_with_weights_of_all(own, seen, planned):
    own = ExperimentSettings(**{"planned_visitors": 500, **own})
    assert planned_in_all(own, variants_of({"participate": {label: Count(100) for label in seen}}, own)) == planned


def test_only_visitors_of_variants_count_towards_a_plan():
    found = variants_of({"participate": {"a": Count(300), "b": Count(250), "zzz": Count(1)}, "buy": {"c": Count(5)}})
    assert found.visitors == 550


@pytest.mark.parametrize(
    ("own", "note"),
    [
        ({"planned_visitors": 20_000}, None),
        ({"planned_visitors": 40_000, "weights": {"a": 1, "b": 3}}, None),
        ({}, None),
        (
            {"planned_visitors": 40_000},
            "planned_visitors was 20,000 when the plan ended on 3 November 2026, and has been changed to 40,000 since;"
            " the decision stands",
        ),
        (
            {"planned_visitors": 100, "weights": {"a": 1, "b": 3}},
            "planned_visitors was 40,000 when the plan ended on 3 November 2026, and has been changed to 100 since;"
            " the decision stands",
        ),
    ],
)
def test_a_plan_that_was_changed_after_its_end_is_noted(own, note):
    counts = {"participate": {"a": Count(20_100), "b": Count(19_950), "zzz": Count(1)}}
    assert changed_plan(ExperimentSettings(**own), Ended(40_000, "2026-11-03T10:00:00Z", counts)) == note
