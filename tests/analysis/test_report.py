import json
from math import hypot

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gimel.analysis.proportions import Proportion, uplift_interval
from gimel.analysis.report import experiment_report
from gimel.analysis.verdicts import STATES
from gimel.hyperloglog import Count, hyperloglog_error
from gimel.settings import ExperimentSettings
from tests.counts import counted

FIGURES = [
    "rate",
    "rate_interval",
    "difference",
    "difference_interval",
    "uplift",
    "uplift_interval",
    "p_value",
    "unadjusted_p_value",
    "chance_to_beat_control",
    "always_valid_interval",
    "always_valid_p_value",
    "planned_interval",
    "planned_p_value",
    "expected_loss",
    "visitors_needed",
    "visitors_needed_smallest",
    "visitors_needed_equal",
    "counting_error",
]


def report(
    trials, shards=0, baseline=None, weights=None, per_visitor=(), control=None, variants=None, settings=None, **goals
):
    """The report of {variant: visitors} and a {variant: successes} for each goal; shards = 0 are exact counters, and
    `settings` further settings of the experiment.
    """

    def read(values):
        return {label: counted(value, shards) for label, value in values.items()}

    counts = {goal: read(values) for goal, values in goals.items()}
    every = {"participate": read(trials), **counts}
    own = ExperimentSettings(baseline, weights, per_visitor=frozenset(per_visitor), variants=variants, **settings or {})
    answer = experiment_report(every, own, control)
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

    def test_participating_is_not_a_goal(self):
        assert report({"red": 10, "blue": 9})["goals"] == []

    def test_participants_are_there_before_any_goal(self):
        assert report({"red": 10, "blue": 9})["participants"] == [
            {"label": "blue", "trials": 9, "counting_error": 0.0, "unexpected": False},
            {"label": "red", "trials": 10, "counting_error": 0.0, "unexpected": False},
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
            "the configured baseline green has not been seen; variants are compared with blue instead"
        ]

    def test_one_that_is_requested_takes_the_place_of_the_configured_one(self):
        answer = report({"red": 10, "blue": 9, "green": 8}, baseline="red", control="green")
        assert (answer["control"], answer["notes"]) == ("green", [])

    def test_one_that_is_requested_and_unknown_is_noted(self):
        answer = report({"red": 10, "blue": 9}, baseline="red", control="grene")
        assert answer["control"] == "red"
        assert answer["notes"] == [
            "the requested control grene has not been seen; variants are compared with red instead"
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
        variant, control = (Proportion(Count(reached), Count(1000)) for reached in (80, 50))
        uplift = uplift_interval(variant, control, 0.05 / 3)
        assert of_three["uplift_interval"] == {"low": uplift.low, "high": uplift.high}

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
            "always_valid_p_value": 1.0,
            "expected": [
                {"label": "blue", "share": 0.5, "trials": 5000},
                {"label": "red", "share": 0.5, "trials": 5000},
            ],
            "text": "the visitors are split as expected",
            "reason": "",
            "since": None,
        }

    def test_an_uneven_split_is_not_to_be_trusted_whatever_else(self):
        answer = report({"red": 4760, "blue": 5240}, buy={"red": 900, "blue": 100}, view={"red": 99_999})
        text = "the split 5,240 / 4,760 should be 50 / 50"
        assert answer["sample_ratio"]["state"] == "mismatch"
        assert answer["sample_ratio"]["text"] == text
        assert (answer["verdict"]["state"], answer["verdict"]["text"]) == ("do_not_trust", text)
        for item in answer["goals"]:
            for words in (item["verdict"], *(result["verdict"] for result in item["results"])):
                assert words["state"] == "do_not_trust"

    def test_the_alarm_is_stored_once(self):
        answer = json.dumps(report({"red": 4760, "blue": 5240}, buy={"red": 900, "blue": 100}, view={"red": 99}))
        assert answer.count("5,240 / 4,760") == 3  # in the split, in the experiment's verdict, and in the headline

    def test_the_configured_weights_are_expected(self):
        assert report({"a": 9000, "b": 1000}, weights={"a": 9, "b": 1})["sample_ratio"]["p_value"] == 1.0

    @pytest.mark.parametrize("weights", [{"a": 1e308, "b": 1e308}, {"a": 1e308, "b": 1e-300}])
    def test_no_weight_is_too_large_or_too_small(self, weights):
        answer = report(
            {"a": 9000, "b": 9000}, weights=weights, buy={"a": 90, "b": 95}, settings={"planned_visitors": 5}
        )
        assert answer["sample_ratio"]["state"] == ("as_expected" if weights["b"] > 1 else "mismatch")

    def test_a_configured_variant_that_was_never_seen_is_a_mismatch(self):
        answer = report({"a": 900}, weights={"a": 0.5, "b": 0.5}, buy={"a": 5})
        assert answer["sample_ratio"]["text"] == "the split 900 / 0 should be 50 / 50"
        assert [result["label"] for result in answer["goals"][0]["results"]] == ["a"]

    def test_counting_error_is_not_a_mismatch(self):
        assert report({"a": 10**6, "b": 1_012_000}, shards=1)["sample_ratio"]["state"] == "as_expected"
        assert report({"a": 10**6, "b": 1_012_000})["sample_ratio"]["state"] == "mismatch"

    @pytest.mark.parametrize("trials", [{}, {"a": 0, "b": 0}, {"a": 7}])
    def test_without_two_variants_there_is_nothing_to_check(self, trials):
        sample_ratio = report(trials)["sample_ratio"]
        assert (sample_ratio["state"], sample_ratio["p_value"]) == ("not_tested", None)
        assert sample_ratio["always_valid_p_value"] is None
        assert sample_ratio["text"] == "there is no split of visitors to check yet"

    def test_four_variants_are_all_listed(self):
        trials = {"a": 1000, "b": 1000, "c": 1000, "d": 1300}
        assert report(trials)["sample_ratio"]["text"] == (
            "the split 1,000 / 1,000 / 1,000 / 1,300 should be 25 / 25 / 25 / 25"
        )

    def test_the_worst_lacks_the_most_for_its_size(self):
        """15 of 100 is further off, by Pearson's (seen - expected)^2 / expected, than 180 of 100 or 9,990 of 10,000."""
        weights = {"a": 10_000, "b": 285, "c": 100, "d": 100, "e": 100}
        trials = {"a": 9_990, "b": 300, "c": 100, "d": 180, "e": 15}
        assert sum(trials.values()) == sum(weights.values())
        text = report(trials, weights=weights)["sample_ratio"]["text"]
        assert text == "e has 15 visitors and should have about 100"

    def test_of_many_variants_the_worst_is_named(self):
        trials = {f"v{i:02}": 1000 for i in range(12)} | {"v05": 1300}
        assert report(trials)["sample_ratio"]["text"] == ("v05 has 1,300 visitors and should have about 1,025")

    @pytest.mark.parametrize(
        ("weights", "cure"),
        [
            (
                None,
                "find the cause. If the split is intended, or one of these is no variant (removed, misspelled, made"
                " up), set weights in the settings",
            ),
            ({"a": 1, "b": 1}, "find the cause, or correct the weights in the settings"),
        ],
    )
    def test_the_cure_fits_what_is_configured(self, weights, cure):
        assert report({"a": 5240, "b": 4760}, weights=weights)["sample_ratio"]["reason"].endswith(cure)

    def test_a_configured_variant_with_very_few_visitors_is_a_variant(self):
        trials = {"a": 5000, "b": 5010, "c": 1}
        reason = report(trials, weights=dict.fromkeys(trials, 1))["sample_ratio"]["reason"]
        assert reason.endswith("find the cause, or correct the weights in the settings")


class TestUnexpected:
    """Labels beside those of config.json; without a list, labels with far too few visitors."""

    LISTS = (
        pytest.param({"weights": {"blue": 1, "red": 1}}, id="beside weights"),
        pytest.param({"variants": {"blue", "red"}}, id="beside a list"),
        pytest.param({}, id="with few visitors"),
    )

    @pytest.mark.parametrize("settings", LISTS)
    def test_they_are_marked_noted_and_left_out_of_everything(self, settings):
        without = report({"blue": 5000, "red": 5010}, buy={"blue": 500, "red": 700}, **settings)
        assert without["verdict"]["state"] == "winner"
        answer = report(
            {"!evil": 1, "blue": 5000, "red": 5010, "zzz": 3}, buy={"!evil": 9, "blue": 500, "red": 700}, **settings
        )
        assert [one["label"] for one in answer["participants"] if one["unexpected"]] == ["!evil", "zzz"]
        why = "are not among the variants in the settings" if settings else "have far too few visitors for a variant"
        (note,) = answer["notes"]
        assert note.startswith(f"!evil and zzz {why}, so they are neither compared nor part of the split")
        for key in ("control", "comparisons", "sample_ratio", "verdict"):
            assert answer[key] == without[key]
        (of_goal,), (expected,) = answer["goals"], without["goals"]
        assert (of_goal["kind"], of_goal["verdict"]) == ("proportion", expected["verdict"])
        assert [row(of_goal, label) for label in ("blue", "red")] == expected["results"]

    def test_without_a_list_the_note_names_the_cure(self):
        assert report({"blue": 900, "red": 910, "x": 4})["notes"] == [
            "x has far too few visitors for a variant, so it is neither compared nor part of the split. To decide this"
            " yourself, name the experiment's variants in the settings, with variants or weights"
        ]

    def test_a_single_one_beside_a_list_is_noted_in_the_singular(self):
        assert report({"blue": 900, "red": 910, "x": 4}, variants={"blue", "red"})["notes"] == [
            "x is not among the variants in the settings, so it is neither compared nor part of the split"
        ]

    @pytest.mark.parametrize("settings", LISTS)
    def test_their_counts_are_shown_and_nothing_is_compared(self, settings):
        stray = row(goal({"blue": 900, "red": 910, "x": 4}, {"x": 1, "red": 5}, **settings), "x")
        assert (stray["successes"], stray["trials"], stray["rate"]) == (1, 4, 0.25)
        assert stray["difference"] is stray["p_value"] is stray["visitors_needed"] is None
        why = "is not among the variants in the settings" if settings else "has far too few visitors for a variant"
        assert stray["verdict"] == {"state": "not_compared", "text": "not compared", "reason": f"x {why}"}

    @pytest.mark.parametrize("settings", LISTS)
    def test_they_do_not_make_a_goal_one_per_visitor(self, settings):
        trials, successes = {"blue": 900, "red": 910, "x": 1}, {"blue": 40, "red": 50, "x": 99}
        assert goal(trials, successes, **settings)["kind"] == "proportion"

    @pytest.mark.parametrize("settings", LISTS)
    def test_of_a_goal_per_visitor_they_are_left_out_too(self, settings):
        trials, views = {"blue": 900, "red": 910, "x": 1}, {"blue": 1400, "red": 1500, "x": 99}
        of_goal = goal(trials, views, **settings)
        assert of_goal["verdict"]["text"] == "1.56 times in blue and 1.65 times in red"
        assert row(of_goal, "x")["verdict"]["state"] == "not_compared"
        assert row(of_goal, "x")["difference"] is None

    @pytest.mark.parametrize("settings", LISTS)
    def test_one_that_is_asked_for_as_control_is_noted_and_not_compared_with(self, settings):
        answer = report({"blue": 900, "red": 910, "x": 40}, buy={"blue": 50}, control="x", baseline="red", **settings)
        assert (answer["control"], answer["comparisons"]) == ("red", 1)
        assert answer["notes"][0] == "the requested control x is not a variant; variants are compared with red instead"

    def test_one_of_a_split_that_is_wrong_says_why_it_is_not_compared(self):
        of_goal = goal({"blue": 5000, "red": 6000, "x": 4}, {"red": 5})
        assert row(of_goal, "red")["verdict"]["state"] == "do_not_trust"
        assert row(of_goal, "x")["verdict"]["state"] == "not_compared"

    @pytest.mark.parametrize("settings", [{"weights": {"Blue": 1, "Red": 1}}, {"variants": {"Blue", "Red"}}])
    def test_a_list_that_fits_no_variant_leaves_none_out(self, settings):
        answer = report({"blue": 900, "red": 910}, buy={"blue": 50}, **settings)
        assert answer["notes"] == [
            "no one takes part in Blue and Red, the variants in the settings, so the split is not checked: use the"
            " names that the page sends"
        ]
        assert answer["sample_ratio"]["state"] == "not_tested"
        assert row(answer["goals"][0], "red")["p_value"] is not None

    def test_a_listed_variant_that_no_one_sees_has_its_share(self):
        answer = report({"a": 900}, variants={"a", "b"}, buy={"a": 5})
        assert answer["sample_ratio"]["text"] == "the split 900 / 0 should be 50 / 50"

    @pytest.mark.parametrize("settings", [{"variants": {"a", "b", "c"}}, {"weights": {"a": 1, "b": 1, "c": 1}}])
    def test_a_listed_variant_with_next_to_no_visitors_is_one(self, settings):
        answer = report({"a": 5000, "b": 5010, "c": 1}, **settings)
        assert not any(one["unexpected"] for one in answer["participants"])
        assert answer["verdict"]["state"] == "do_not_trust"


class TestLostParticipants:
    def test_a_variant_of_which_no_participant_was_counted_is_noted(self):
        answer = report({"blue": 5000}, buy={"blue": 100, "red": 90})
        assert answer["notes"] == [
            "goals were reached in red, but no participant of it was counted: either those events were lost, or it"
            " is not a variant of this experiment"
        ]

    def test_several_are_named_once(self):
        answer = report({"b": 90, "c": 91}, buy={"x": 1, "y": 2}, view={"x": 1})
        (note,) = answer["notes"]
        assert note == (
            "goals were reached in x and y, but no participant of them was counted: either those events were lost, or"
            " they are not variants of this experiment"
        )
        assert [one["unexpected"] for one in answer["participants"]] == [False, False, True, True]

    def test_of_a_configured_variant_the_events_were_lost(self):
        (note,) = report({"b": 90, "c": 91}, buy={"d": 1, "x": 2}, variants={"b", "c", "d"})["notes"][1:]
        assert note == "goals were reached in d, but no participant of it was counted: those events were lost"

    def test_they_are_not_counted_as_compared(self):
        assert report({"b": 90, "c": 91}, buy={"x": 1})["comparisons"] == 1

    def test_a_variant_without_anything_is_not_noted(self):
        assert report({"b": 90, "c": 0}, buy={"b": 1, "c": 0})["notes"] == []


class TestVisitorsNeeded:
    def test_they_are_known_while_collecting(self):
        assert row(goal({"a": 5000, "b": 5000}, {"a": 250, "b": 260}), "b")["visitors_needed"] > 50_000

    @pytest.mark.parametrize(
        ("reached", "state"), [(2960, "winner"), (2000, "loser"), (25_100, "no_difference"), (50_000, "no_difference")]
    )
    def test_they_are_null_once_it_is_settled(self, reached, state):
        control = 2500 if reached < 25_000 else reached
        of_variant = row(goal({"a": 50_000, "b": 50_000}, {"a": control, "b": reached}), "b")
        assert (of_variant["verdict"]["state"], of_variant["visitors_needed"]) == (state, None)

    def test_no_number_of_them_fixes_a_wrong_split(self):
        assert row(goal({"a": 5240, "b": 4760}, {"a": 250, "b": 260}), "b")["visitors_needed"] is None


class TestPerVisitor:
    def test_a_configured_goal_is_a_rate_per_visitor_whatever_its_counts(self):
        of_goal = goal({"red": 1000, "blue": 1000}, {"red": 500, "blue": 900}, per_visitor=["buy"])
        assert of_goal["kind"] == "per_visitor"
        assert of_goal["verdict"] == {
            "state": "per_visitor",
            "text": "0.900 times in blue and 0.500 times in red",
            "reason": "configured as a goal that a visitor can reach more than once; the counts do not show how much"
            " visitors differ, so no test is possible",
        }
        assert row(of_goal, "red")["p_value"] is None

    def test_the_control_is_the_control_in_such_a_goal_too(self):
        of_goal = goal({"red": 1000, "blue": 1000}, {"red": 500, "blue": 900}, per_visitor=["buy"])
        assert row(of_goal, "blue")["verdict"]["state"] == "control"
        assert row(of_goal, "red")["verdict"]["text"] == "0.500 times in red"

    @pytest.mark.parametrize(
        ("settings", "why"), [({}, "more successes than visitors"), ({"per_visitor": ["buy"]}, "configured as a goal")]
    )
    def test_each_variant_says_why_it_is_one(self, settings, why):
        of_goal = goal({"red": 1000, "blue": 1000}, {"red": 1700, "blue": 900}, **settings)
        for words in (of_goal["verdict"], row(of_goal, "red")["verdict"]):
            assert words["reason"].startswith(why)

    def test_its_counting_error_is_that_of_both_counters(self):
        of_goal = goal({"red": 10_000, "blue": 10_000}, {"red": 50_000, "blue": 900}, shards=1)
        expected = hypot(hyperloglog_error(50_000), hyperloglog_error(10_000))
        assert row(of_goal, "red")["counting_error"] == pytest.approx(expected)

    def test_a_control_that_never_reached_it_leaves_no_uplift(self):
        red = row(goal({"red": 1000, "blue": 1000}, {"red": 1700}), "red")
        assert (red["difference"], red["uplift"]) == (1.7, None)

    def test_a_variant_without_visitors_has_no_rate(self):
        of_goal = goal({"red": 1000, "x": 0}, {"red": 1700, "x": 3}, per_visitor=["buy"])
        assert row(of_goal, "x")["rate"] is None
        assert row(of_goal, "x")["verdict"]["reason"] == "3 reached the goal, but none was counted as a participant"

    def test_other_goals_stay_proportions(self):
        goals = report({"a": 100, "b": 100}, view={"a": 50}, buy={"a": 20}, per_visitor=["view"])["goals"]
        assert [(item["goal"], item["kind"]) for item in goals] == [("buy", "proportion"), ("view", "per_visitor")]

    def test_a_configured_goal_that_no_one_reached_is_noted(self):
        answer = report({"a": 100, "b": 100}, view={"a": 50}, per_visitor=["veiw", "view"])
        assert answer["notes"] == ["no one has reached veiw, listed in per_visitor in the settings"]
        assert report({"a": 100, "b": 100}, per_visitor=["view"])["notes"] == []

    @pytest.mark.parametrize("trials", [{}, {"a": 0, "b": 0}])
    def test_a_configured_goal_without_visitors_has_no_data(self, trials):
        of_goal = goal(trials, {"a": 5, "b": 2}, per_visitor=["buy"])
        assert (of_goal["verdict"]["state"], of_goal["verdict"]["text"]) == ("no_data", "no visitors yet")
        unreached = goal({**trials, "x": 0}, {"a": 0}, per_visitor=["buy"])
        assert unreached["verdict"] == {"state": "no_data", "text": "no visitors yet", "reason": ""}

    def test_a_few_more_successes_than_exact_visitors_may_be_lost_participants(self):
        """No proportion can be told from either, and the words name both."""
        of_goal = goal({"red": 1000, "blue": 1000}, {"red": 1002, "blue": 990})
        assert of_goal["kind"] == "per_visitor"
        assert of_goal["verdict"]["reason"].startswith(
            "more successes than visitors: either a visitor can reach this goal more than once, or some participants"
            " were not counted;"
        )

    def test_more_successes_than_visitors_are_no_proportion(self):
        of_goal = goal({"red": 1000, "blue": 1000}, {"red": 1700, "blue": 900})
        red = row(of_goal, "red")
        assert of_goal["kind"] == "per_visitor"
        assert of_goal["verdict"]["text"] == "0.900 times in blue and 1.70 times in red"
        assert (red["rate"], red["difference"]) == (1.7, pytest.approx(0.8))
        assert red["uplift"] == pytest.approx(1.7 / 0.9 - 1)
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

    @pytest.mark.parametrize(("reached", "kind"), [(10_340, "proportion"), (10_380, "per_visitor")])
    def test_four_standard_errors_may_be_counting_error(self, reached, kind):
        allowed = 4 * hypot(10_000 * hyperloglog_error(10_000), reached * hyperloglog_error(reached))
        assert (reached - 10_000 > allowed) == (kind == "per_visitor")
        assert goal({"red": 10_000, "blue": 10_000}, {"red": reached}, shards=1)["kind"] == kind

    def test_a_stray_success_without_visitors_decides_nothing(self):
        assert goal({"red": 1000, "blue": 1000}, {"red": 50, "stray": 3})["kind"] == "proportion"


class TestEdges:
    def test_no_counts_at_all(self):
        assert experiment_report({})["goals"] == []
        assert experiment_report({})["control"] is None

    def test_no_participants(self):
        assert goal({}, {"red": 4, "blue": 3})["verdict"] == {
            "state": "no_data",
            "text": "no visitors yet",
            "reason": "7 reached the goal, but none was counted as a participant",
        }

    def test_one_variant(self):
        of_goal = goal({"red": 1000}, {"red": 40})
        assert of_goal["results"][0]["rate"] == 0.04
        assert of_goal["verdict"]["text"] == "nothing to compare: only red has visitors so far"
        assert of_goal["verdict"]["reason"] == "a comparison needs a second variant"

    def test_twelve_variants(self):
        trials = {f"v{i:02}": 10_000 for i in range(12)}
        of_goal = goal(trials, {label: 1000 + 5 * i for i, label in enumerate(trials)})
        assert len(of_goal["results"]) == 12
        assert of_goal["verdict"]["state"] == "collecting"

    def test_everybody_converts(self):
        red = row(goal({"red": 1000, "blue": 1003}, {"red": 1000, "blue": 1003}), "red")
        assert (red["rate"], red["p_value"]) == (1.0, 1.0)

    def test_no_one_converts(self):
        of_goal = goal({"red": 1000, "blue": 1003}, {})
        assert row(of_goal, "red")["p_value"] == 1.0
        assert of_goal["verdict"]["text"] == "no one has reached this goal yet"

    def test_a_control_without_visitors(self):
        of_goal = goal({"red": 1000}, {"red": 50, "blue": 3}, baseline="blue")
        assert of_goal["verdict"]["text"] == "blue, the control, has no visitors yet"
        assert of_goal["verdict"]["reason"] == "there is nothing to compare the other variants with"
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
        st.sets(st.sampled_from(["buy", "", "other"])),
        st.one_of(st.none(), st.text(max_size=1)),
        st.one_of(st.none(), st.sets(st.text(max_size=1))),
    )
    def test_whatever_is_counted_has_a_report(self, counts, baseline, weights, per_visitor, control, variants):
        own = ExperimentSettings(baseline, weights, per_visitor=frozenset(per_visitor), variants=variants)
        answer = json.loads(json.dumps(experiment_report(counts, own, control), allow_nan=False))
        for item in answer["goals"]:
            assert item["verdict"]["state"] in STATES
            assert {result["verdict"]["state"] for result in item["results"]} <= {*STATES}
            assert len(item["results"]) == len(answer["participants"])


def test_a_label_without_participants_is_not_the_control():
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
    (goal,) = experiment_report(counts, ExperimentSettings(weights={"a": 100, "b": 100, "c": 1}))["goals"]
    assert goal["verdict"]["reason"].startswith("c against a: so far 0 of 10 visitors")
    assert goal["verdict"]["reason"].endswith("; b is also still open")
