import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gimel.report import experiment_report
from gimel.stats import Count, hyperloglog_error

FIGURES = [
    "rate",
    "rate_interval",
    "counting_error",
    "difference",
    "difference_interval",
    "uplift",
    "uplift_interval",
    "p_value",
    "unadjusted_p_value",
    "chance_to_beat_control",
    "always_valid_interval",
    "always_valid_p_value",
    "visitors_needed",
]
STATES = {
    "winner",
    "loser",
    "no_difference",
    "collecting",
    "do_not_trust",
    "per_visitor",
    "control",
    "no_data",
}


def report(trials, shards=0, baseline=None, weights=None, **goals):
    """The report of {variant: visitors} and a {variant: successes} for each goal; shards = 0 are exact
    counters.
    """

    def read(variants):
        return {
            label: Count(value, hyperloglog_error(value, shards) if shards else 0.0)
            for label, value in variants.items()
        }

    counts = {goal: read(variants) for goal, variants in goals.items()}
    answer = experiment_report({"participate": read(trials), **counts}, baseline, weights)
    return json.loads(json.dumps(answer, allow_nan=False))


def goal(trials, successes, **settings):
    return report(trials, buy=successes, **settings)["goals"][0]


def row(of_goal, label):
    return next(result for result in of_goal["results"] if result["label"] == label)


class TestContract:
    def test_goals_and_variants_are_sorted_and_complete(self):
        goals = report({"red": 10, "blue": 9}, view={"red": 2}, buy={"blue": 1})["goals"]
        assert [item["goal"] for item in goals] == ["buy", "view"]
        assert [
            [(result["label"], result["successes"], result["trials"]) for result in item["results"]] for item in goals
        ] == [[("blue", 1, 9), ("red", 0, 10)], [("blue", 0, 9), ("red", 2, 10)]]

    def test_participating_is_no_goal(self):
        assert report({"red": 10, "blue": 9})["goals"] == []

    def test_participants_are_there_before_any_goal(self):
        assert report({"red": 10, "blue": 9})["participants"] == [
            {"label": "blue", "trials": 9, "counting_error": 0.0},
            {"label": "red", "trials": 10, "counting_error": 0.0},
        ]

    def test_a_variant_without_participants_has_no_trials(self):
        assert row(goal({"red": 10}, {"blue": 2}), "blue")["trials"] == 0

    def test_every_row_has_every_figure(self):
        for result in goal({"red": 10, "blue": 0}, {"red": 5})["results"]:
            assert list(result) == ["label", "successes", "trials", *FIGURES, "verdict"]


class TestControl:
    def test_it_is_the_first_label(self):
        assert report({"red": 10, "blue": 9})["control"] == "blue"

    def test_it_is_the_configured_baseline(self):
        answer = report({"red": 10, "blue": 9}, baseline="red", buy={"red": 3})
        assert answer["control"] == "red"
        assert row(answer["goals"][0], "red")["verdict"]["state"] == "control"

    def test_a_baseline_that_was_never_seen_is_replaced_and_noted(self):
        answer = report({"red": 10, "blue": 9}, baseline="green")
        assert answer["control"] == "blue"
        assert answer["notes"] == [
            "the configured baseline green has not been seen; the variants are compared with blue instead"
        ]

    def test_it_is_compared_with_nothing(self):
        control = row(goal({"red": 1000, "blue": 1000}, {"red": 50, "blue": 40}), "blue")
        assert control["rate"] == 0.04
        assert control["rate_interval"]["low"] > 0.02
        assert control["difference"] is control["p_value"] is control["always_valid_interval"] is None


class TestFigures:
    def test_a_variant_is_compared_with_the_control(self):
        red = row(goal({"red": 1000, "blue": 1000}, {"red": 65, "blue": 50}), "red")
        assert red["difference"] == pytest.approx(0.015)
        assert red["uplift"] == pytest.approx(0.3)
        assert red["p_value"] == red["unadjusted_p_value"] == pytest.approx(0.151, abs=0.001)
        assert red["chance_to_beat_control"] == pytest.approx(0.924, abs=0.001)
        assert red["difference_interval"]["low"] < 0 < red["difference_interval"]["high"]

    def test_several_variants_are_corrected_for(self):
        one = row(goal({"a": 1000, "b": 1000}, {"a": 50, "b": 80}), "b")
        of_three = row(goal({"a": 1000, "b": 1000, "c": 1000, "d": 1000}, {"a": 50, "b": 80, "c": 50, "d": 50}), "b")
        assert of_three["unadjusted_p_value"] == one["p_value"]
        assert of_three["p_value"] == pytest.approx(3 * one["p_value"])
        assert of_three["difference_interval"]["low"] < one["difference_interval"]["low"]
        assert of_three["always_valid_interval"]["low"] < one["always_valid_interval"]["low"]
        assert of_three["rate_interval"] == one["rate_interval"]

    def test_the_counters_error_is_shown_and_used(self):
        counted, exact = (goal({"a": 10**6, "b": 10**6}, {"a": 50_000, "b": 51_500}, shards=k) for k in (1, 0))
        assert row(counted, "b")["counting_error"] == pytest.approx(0.0115, abs=0.0001)
        assert row(counted, "b")["p_value"] > 0.05 > row(exact, "b")["p_value"]

    def test_an_uplift_without_bound_is_null(self):
        red = row(goal({"red": 100, "blue": 100}, {"red": 5}), "red")
        assert red["uplift"] is None
        assert red["uplift_interval"]["low"] > 0
        assert red["uplift_interval"]["high"] is None


class TestSampleRatio:
    def test_an_even_split_is_as_expected(self):
        assert report({"red": 5020, "blue": 4980})["sample_ratio"] == {
            "state": "as_expected",
            "p_value": pytest.approx(0.689, abs=0.001),
            "expected": [
                {"label": "blue", "share": 0.5, "trials": 5000},
                {"label": "red", "share": 0.5, "trials": 5000},
            ],
            "text": "the visitors are split as they should be",
        }

    def test_an_uneven_split_is_not_to_be_trusted_whatever_else(self):
        answer = report({"red": 4790, "blue": 5210}, buy={"red": 900, "blue": 100}, view={"red": 99_999})
        text = "do not trust: the split 5,210 / 4,790 should be 50 / 50"
        assert answer["sample_ratio"]["state"] == "mismatch"
        assert answer["sample_ratio"]["text"] == text
        for item in answer["goals"]:
            for words in (item["verdict"], *(result["verdict"] for result in item["results"])):
                assert (words["state"], words["text"]) == ("do_not_trust", text)

    def test_the_configured_weights_are_expected(self):
        assert report({"a": 9000, "b": 1000}, weights={"a": 9, "b": 1})["sample_ratio"]["p_value"] == 1.0

    def test_a_configured_variant_that_nobody_saw_is_a_mismatch(self):
        answer = report({"a": 900}, weights={"a": 0.5, "b": 0.5}, buy={"a": 5})
        assert answer["sample_ratio"]["text"] == "do not trust: the split 900 / 0 should be 50 / 50"
        assert [result["label"] for result in answer["goals"][0]["results"]] == ["a"]

    def test_a_variant_without_a_weight_is_left_out_and_noted(self):
        answer = report({"a": 900, "b": 910, "x": 3}, weights={"a": 1, "b": 1, "off": 0})
        assert answer["sample_ratio"]["state"] == "as_expected"
        assert answer["notes"] == ["no weight is configured for x: the split is checked without it"]

    def test_the_counters_error_is_no_mismatch(self):
        assert report({"a": 10**6, "b": 1_012_000}, shards=1)["sample_ratio"]["state"] == "as_expected"
        assert report({"a": 10**6, "b": 1_012_000})["sample_ratio"]["state"] == "mismatch"

    @pytest.mark.parametrize("trials", [{}, {"a": 0, "b": 0}, {"a": 7}])
    def test_without_two_variants_there_is_nothing_to_check(self, trials):
        sample_ratio = report(trials)["sample_ratio"]
        assert (sample_ratio["state"], sample_ratio["p_value"]) == ("not_tested", None)

    def test_of_many_variants_the_worst_is_named(self):
        trials = {f"v{i:02}": 1000 for i in range(12)} | {"v05": 1300}
        assert report(trials)["sample_ratio"]["text"] == (
            "do not trust: v05 has 1,300 visitors and should have about 1,025"
        )


class TestPerVisitor:
    def test_more_successes_than_visitors_are_no_proportion(self):
        of_goal = goal({"red": 1000, "blue": 1000}, {"red": 1700, "blue": 900})
        red = row(of_goal, "red")
        assert of_goal["kind"] == "per_visitor"
        assert of_goal["verdict"]["text"] == "per visitor: blue 0.900 and red 1.70"
        assert (red["rate"], red["difference"]) == (1.7, pytest.approx(0.8))
        assert red["verdict"]["state"] == "per_visitor"
        for figure in (
            "rate_interval",
            "difference_interval",
            "uplift_interval",
            "p_value",
            "chance_to_beat_control",
        ):
            assert red[figure] is None

    def test_within_the_counters_error_everybody_converts(self):
        of_goal = goal({"red": 10_000, "blue": 10_000}, {"red": 10_150, "blue": 9_950}, shards=1)
        assert of_goal["kind"] == "proportion"
        assert row(of_goal, "red")["successes"] == 10_150
        assert row(of_goal, "red")["rate"] == 1.0

    def test_a_stray_success_without_visitors_decides_nothing(self):
        assert goal({"red": 1000, "blue": 1000}, {"red": 50, "stray": 3})["kind"] == "proportion"


class TestEdges:
    def test_no_counts_at_all(self):
        assert experiment_report({})["goals"] == []
        assert experiment_report({})["control"] is None

    def test_nobody_participates(self):
        assert goal({}, {"red": 4, "blue": 3})["verdict"] == {
            "state": "no_data",
            "text": "no visitors yet",
            "reason": "7 reached the goal, but none was counted as a participant",
        }

    def test_one_variant(self):
        of_goal = goal({"red": 1000}, {"red": 40})
        assert of_goal["results"][0]["rate"] == 0.04
        assert of_goal["verdict"]["text"] == "nothing to compare: only red has visitors so far"

    def test_twelve_variants(self):
        trials = {f"v{i:02}": 10_000 for i in range(12)}
        of_goal = goal(trials, {label: 1000 + 5 * i for i, label in enumerate(trials)})
        assert len(of_goal["results"]) == 12
        assert of_goal["verdict"]["state"] == "collecting"

    def test_everybody_converts(self):
        red = row(goal({"red": 1000, "blue": 1003}, {"red": 1000, "blue": 1003}), "red")
        assert (red["rate"], red["p_value"]) == (1.0, 1.0)

    def test_nobody_converts(self):
        of_goal = goal({"red": 1000, "blue": 1003}, {})
        assert row(of_goal, "red")["p_value"] == 1.0
        assert of_goal["verdict"]["text"] == "collecting: nobody has reached this goal yet"

    def test_a_control_without_visitors(self):
        of_goal = goal({"red": 1000}, {"red": 50, "blue": 3}, baseline="blue")
        assert of_goal["verdict"]["text"] == "blue, the control, has no visitors yet"
        assert row(of_goal, "red")["rate"] == 0.05
        assert row(of_goal, "blue")["verdict"]["reason"] == "3 reached the goal, but none was counted as a participant"

    def test_a_name_is_plain_text(self):
        label = '<b>"Käse" & \u05d2\u05de\u05dc</b>' * 5
        assert row(goal({label: 10, "a": 10}, {label: 1}), label)["label"] == label

    @given(
        st.dictionaries(
            st.sampled_from(["participate", "buy", "", "view:all"]),
            st.dictionaries(
                st.text(max_size=3),
                st.builds(
                    Count,
                    st.one_of(st.integers(0, 30), st.integers(0, 10**12)),
                    st.sampled_from([0.0, 0.002, 0.0081, 3.0]),
                ),
                max_size=13,
            ),
        ),
        st.one_of(st.none(), st.text(max_size=1)),
        st.one_of(st.none(), st.dictionaries(st.text(max_size=1), st.floats(allow_nan=True), max_size=3)),
    )
    def test_whatever_is_counted_has_a_report(self, counts, baseline, weights):
        answer = json.loads(json.dumps(experiment_report(counts, baseline, weights), allow_nan=False))
        for item in answer["goals"]:
            assert item["verdict"]["state"] in STATES
            assert {result["verdict"]["state"] for result in item["results"]} <= STATES
            assert len(item["results"]) == len(answer["participants"])


def test_a_stray_label_that_nobody_took_part_in_is_not_the_control():
    counts = {
        "participate": {"b": Count(10_000), "c": Count(10_000)},
        "buy": {"aa": Count(1), "b": Count(500), "c": Count(700)},
    }
    assert experiment_report(counts)["control"] == "b"


def test_twenty_visitors_who_all_convert_settle_nothing():
    for visitors in (10, 20, 50, 200):
        counts = {goal: {"a": Count(visitors), "b": Count(visitors)} for goal in ("participate", "buy")}
        (goal,) = experiment_report(counts)["goals"]
        assert goal["verdict"]["state"] == "collecting", goal["verdict"]


def test_a_summary_gives_figures_only_of_the_variant_it_names():
    trials = {"a": Count(1000), "b": Count(1000), "c": Count(10)}
    counts = {"participate": trials, "buy": {"a": Count(50), "b": Count(90), "c": Count(0)}}
    (goal,) = experiment_report(counts, weights={"a": 100, "b": 100, "c": 1})["goals"]
    assert goal["verdict"]["reason"].startswith("c against a: so far 0 of 10 visitors")
    assert goal["verdict"]["reason"].endswith("; b is still open too")
