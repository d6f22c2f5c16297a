from math import ceil

import pytest

from gimel.analysis.proportions import Interval, Proportion
from gimel.analysis.sequential import visitors_needed
from gimel.analysis.verdicts import Needed, Pair, Terms, _visitors
from gimel.analysis.wording import about, decimals, listed, named, per_visitor, percent, points, rounded_up
from gimel.hyperloglog import Count

from .test_report import goal, report, row


def verdict_of(trials, successes, label=None, **settings):
    of_goal = goal(trials, successes, **settings)
    words = row(of_goal, label)["verdict"] if label else of_goal["verdict"]
    return words["state"], words["text"], words["reason"]


def test_a_winner():
    assert verdict_of({"red": 50_000, "blue": 50_000}, {"red": 2960, "blue": 2500}) == (
        "winner",
        "red beats blue",
        "5.92 % against 5.00 %: 0.5 to 1.4 percentage points higher, no matter how often you check",
    )


def test_a_loser():
    assert verdict_of({"red": 50_000, "blue": 50_000}, {"red": 2000, "blue": 2500}) == (
        "loser",
        "blue, the control, beats red",
        "4.00 % against 5.00 %: 0.6 to 1.4 percentage points lower, no matter how often you check",
    )
    assert verdict_of({"red": 50_000, "blue": 50_000}, {"red": 2000, "blue": 2500}, "red")[1] == "red loses to blue"


def test_collecting_says_how_many_more():
    assert verdict_of({"red": 5_000, "blue": 5_000}, {"red": 1_550, "blue": 1_500}) == (
        "collecting",
        "about 1,500 more visitors per variant to detect a 10 % change",
        "31.0 % against 30.0 % so far; the difference may be anything from −1.8 to +3.8 percentage points",
    )


def test_a_start_has_too_few_to_tell():
    assert verdict_of({"red": 11, "blue": 9}, {"red": 2}, "red") == (
        "collecting",
        "about 30,000 more visitors per variant to detect a 10 % change",
        "so far 2 of 11 visitors against 0 of 9: too few to tell",
    )


def test_an_interval_that_holds_every_difference_tells_nothing():
    reason = verdict_of({"red": 5, "blue": 1}, {"red": 2, "blue": 1}, "red")[2]
    assert reason == "so far 2 of 5 visitors against 1 of 1: too few to tell"


def test_enough_for_ten_percent_looks_for_five():
    state, text, _ = verdict_of({"red": 70_000, "blue": 70_000}, {"red": 3_600, "blue": 3_500})
    assert state == "collecting"
    assert text.endswith("more visitors per variant to detect a 5 % change")


def test_no_difference_names_the_largest_plausible_one():
    assert verdict_of({"red": 10**6, "blue": 10**6}, {"red": 200_100, "blue": 200_000}) == (
        "no_difference",
        "a difference of more than 1.2 % is implausible",
        "20.01 % against 20.00 %; the difference lies between −0.20 and +0.22 percentage points, no matter"
        " how often you check",
    )


def test_what_the_counters_hide_is_said():
    settings = {"smallest_change": 0.01}
    trials = {"red": 10**8, "blue": 10**8}
    state, text, reason = verdict_of(trials, {"red": 501 * 10**4, "blue": 5 * 10**6}, shards=1, settings=settings)
    assert (state, text) == ("inconclusive", "counting error hides a change of 1 %")
    assert reason.endswith("; more visitors will not reveal it, but a new experiment with a higher precision may")


def test_a_change_beyond_what_the_counters_hide_is_still_looked_for():
    settings = {"smallest_change": 0.01}
    trials = {"red": 10**4, "blue": 10**4}
    state, text, _ = verdict_of(trials, {"red": 501, "blue": 500}, shards=1, settings=settings)
    assert state == "collecting"
    assert text.endswith("to detect a 10 % change")


def test_the_largest_plausible_change_may_be_a_decrease():
    trials, reached = {"red": 10**6, "blue": 10**6}, {"red": 199_000, "blue": 200_000}
    interval = row(goal(trials, reached), "red")["always_valid_interval"]
    assert -interval["low"] > interval["high"]
    bound = rounded_up(-interval["low"] / 0.2)
    assert verdict_of(trials, reached)[:2] == ("no_difference", f"a difference of more than {bound} is implausible")


@pytest.mark.parametrize(("visitors", "reached", "percents"), [(5_000, 250, 10), (90_000, 4_630, 5)])
def test_several_comparisons_need_more_visitors(visitors, reached, percents):
    of_goal = goal(dict.fromkeys("abcd", visitors), {**dict.fromkeys("bcd", reached), "a": visitors // 20})
    variant, control = (Proportion(Count(count), Count(visitors)) for count in (reached, visitors // 20))
    words, needed = row(of_goal, "b")["verdict"], row(of_goal, "b")["visitors_needed"]
    missing = visitors_needed(variant, control, percents / 100, 0.05 / 3, (0.25, 0.25))
    assert (
        words["text"] == f"about {about(ceil(missing / 4))} more visitors per variant to detect a {percents} % change"
    )
    assert needed == visitors_needed(variant, control, 0.1, 0.05 / 3, (0.25, 0.25))


def test_a_goal_that_nobody_reached_says_of_how_many():
    assert verdict_of({"red": 1000, "blue": 1003}, {}) == (
        "collecting",
        "no one has reached this goal yet",
        "so far 0 of 1,000 visitors against 0 of 1,003: too few to tell",
    )


def test_what_leans_when_the_planned_number_has_come_is_not_collecting():
    trials, reached = {"red": 30_000, "blue": 30_000}, {"red": 15_750, "blue": 15_000}
    state, text, _ = verdict_of(trials, reached, shards=1)
    assert (state, text) == ("leaning", "leaning towards red")
    assert row(goal(trials, reached, shards=1), "red")["visitors_needed"] == 0


@pytest.mark.parametrize("shards", [0, 1, 16])
@pytest.mark.parametrize("visitors", [20, 41, 150])
def test_few_visitors_are_not_blamed_on_the_counters(visitors, shards):
    """The counters' own error is a small part of what is unknown: more visitors help."""
    for reached in (visitors, visitors - 2):
        state, text, _ = verdict_of(
            {"red": visitors, "blue": visitors}, {"red": reached, "blue": visitors}, shards=shards
        )
        assert state == "collecting", text


def test_a_great_many_who_all_convert_are_no_difference():
    state, text, reason = verdict_of(dict.fromkeys("ab", 10**6), dict.fromkeys("ab", 10**6), shards=1)
    assert (state, text) == ("no_difference", "a difference of more than 5.0 % is implausible")
    assert reason.startswith("100.0 % against 100.0 %; the difference lies between −5 and +5 percentage points")


def test_a_gap_that_is_hardly_above_zero_is_not_called_zero():
    assert verdict_of({"a": 100_003, "b": 100_003}, {"a": 5043, "b": 5368}) == (
        "winner",
        "b beats a",
        "5.37 % against 5.04 %: 0.000003 to 0.6 percentage points higher, no matter how often you check",
    )


def test_a_wrong_split_leaves_no_verdict_on_a_goal():
    state, text, reason = verdict_of({"red": 4760, "blue": 5240}, {"red": 300, "blue": 100})
    assert (state, text) == ("do_not_trust", "the visitors are not split as expected")
    assert reason == "see the sample ratio mismatch of the experiment"


def test_one_winner_of_several_variants_has_its_own_reason():
    trials, reached = dict.fromkeys("abc", 50_000), {"a": 2500, "b": 3100, "c": 2550}
    assert verdict_of(trials, reached) == (
        "winner",
        "b beats a",
        "6.20 % against 5.00 %: 0.7 to 1.7 percentage points higher, no matter how often you check",
    )


def test_two_winners_are_not_tested_against_each_other():
    assert verdict_of(dict.fromkeys("abc", 50_000), {"a": 2500, "b": 3100, "c": 3200}) == (
        "winner",
        "c and b beat a",
        "c has the highest rate; whether it beats the other winners is not tested",
    )


def test_every_variant_loses():
    assert verdict_of(dict.fromkeys("abc", 50_000), {"a": 2500, "b": 1900, "c": 2000}) == (
        "loser",
        "a, the control, beats b and c",
        "each of them is worse, no matter how often you check",
    )


def test_a_lost_comparison_comes_before_an_open_one():
    state, text, reason = verdict_of(dict.fromkeys("abc", 20_000), {"a": 1000, "b": 700, "c": 1010})
    assert (state, text) == ("loser", "a, the control, beats b")
    assert reason.endswith("; c is still open")


def test_the_other_open_comparisons_are_named():
    reason = verdict_of(dict.fromkeys("abcd", 5_000), {"a": 250, "b": 260, "c": 255, "d": 240})[2]
    assert reason.endswith("; c and d are also still open")


def test_of_settled_comparisons_the_least_certain_speaks():
    reached = {"a": 200_000, "b": 200_010, "c": 200_500}
    state, _, reason = verdict_of(dict.fromkeys(reached, 10**6), reached)
    assert state == "no_difference"
    assert reason.startswith("c against a: 20.05 % against 20.00 %")


def test_what_leans_comes_before_what_is_open():
    reached = {"a": 20_000, "b": 20_010, "c": 20_520}
    state, text, reason = verdict_of(dict.fromkeys(reached, 10**5), reached, settings={"smallest_change": 0.05})
    assert (state, text) == ("leaning", "leaning towards c")
    assert reason.startswith("c against a: ")


@pytest.mark.parametrize(
    ("visitors", "words"), [(1, "1"), (87, "87"), (3_412, "3,500"), (128_752, "130,000"), (9_999, "10,000")]
)
def test_a_plan_is_rounded_up_to_two_digits(visitors, words):
    assert about(visitors) == words


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0, "0 %"),
        (0.000451, "0.046 %"),
        (0.0123, "1.3 %"),
        (0.05, "5.0 %"),
        (0.0981, "9.9 %"),
        (0.0995, "10 %"),
        (0.1001, "11 %"),
        (12.5, "1,250 %"),
    ],
)
def test_a_bound_is_rounded_up_to_two_digits(share, words):
    assert rounded_up(share) == words


def test_a_long_list_is_cut():
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c", "d"]) == "a, b, c and d"
    assert listed(list("abcdefg")) == "a, b, c and 4 more"


@pytest.mark.parametrize(
    ("rate", "words"),
    [(0, "0.00"), (0.0000123, "0.0000123"), (0.9, "0.900"), (1.7, "1.70"), (12.34, "12.3"), (1234.5, "1,234")],
)
def test_a_rate_per_visitor_has_three_digits(rate, words):
    assert per_visitor(rate) == words


@pytest.mark.parametrize(
    ("uncertainty", "digits"),
    [(0.5, 0), (0.04, 0), (0.03, 1), (0.004, 1), (0.003, 2), (0.0003, 3), (0.00003, 4), (1e-9, 4), (0, 0)],
)
def test_a_percentage_has_the_decimals_that_its_uncertainty_justifies(uncertainty, digits):
    assert decimals([uncertainty]) == digits


def test_a_column_has_the_decimals_of_its_median_and_more_where_two_figures_would_read_the_same():
    assert decimals([0.04, 0.03, 0.0003]) == 1
    assert decimals([0.03], [(0.0501, 0.0504)]) == 2
    assert decimals([0.03], [(0.05012, 0.05013)]) == 3
    assert decimals([0.03], [(0.0501, 0.0501), (0.05, 0.05 + 1e-9)]) == 1, "no number of decimals is enough"


def test_a_sign_is_shown_where_it_is_asked_for():
    assert percent(0.05, 1, signed=True) == "+5.0 %"
    assert percent(0.05, 1) == "5.0 %"
    assert percent(-0.05, 1) == "\N{MINUS SIGN}5.0 %"


def test_a_figure_never_loses_its_sign():
    assert points(-0.00087, 0, True) == "\N{MINUS SIGN}0.1"
    assert points(-0.00001, 1) == "\N{MINUS SIGN}0.001"
    assert points(0.00001, 1, True) == "+0.001"
    assert points(0, 1, True) == points(-1e-17, 1, True) == "0.0"


def test_a_figure_is_rounded_as_a_browser_does():
    assert [percent(share, 0) for share in (0.125, 0.005, 0.135)] == ["13 %", "1 %", "14 %"]
    assert percent(0.010005, 3) == "1.001 %"
    assert points(12.5, 0) == "1,250"


def test_a_variant_may_have_no_name():
    assert named(" ") == "(no name)"


def test_a_change_that_is_nearly_ruled_out_waits_for_no_more_visitors():
    """A change of 10 % is implausible already, so none needs to be detected, though the interval is still wide."""
    trials = {"red": 38_000, "blue": 38_000}
    of_goal = goal(trials, {"red": 9_500, "blue": 9_500})
    assert of_goal["verdict"]["state"] == "no_difference"
    assert row(of_goal, "red")["visitors_needed"] is None


class TestExperiment:
    """What to read first of an experiment."""

    TRIALS = {"red": 50_000, "blue": 50_000}  # noqa: RUF012

    def test_the_goal_that_needs_attention_first_is_named(self):
        verdict = report(self.TRIALS, buy={"red": 2500, "blue": 2500}, view={"red": 2960, "blue": 2500})["verdict"]
        assert (verdict["state"], verdict["text"], verdict["goal"]) == ("winner", "red beats blue", "view")

    def test_of_equal_ones_the_first_goal_is_named(self):
        of_both = {"red": 2960, "blue": 2500}
        assert report(self.TRIALS, a=of_both, b=of_both)["verdict"]["goal"] == "a"

    def test_a_winner_that_loses_another_goal_is_mixed(self):
        better, worse = {"red": 2960, "blue": 2500}, {"red": 2000, "blue": 2500}
        assert report(self.TRIALS, buy=better, view=worse, sign_up=worse)["verdict"] == {
            "state": "mixed",
            "text": "red wins buy but loses sign_up and view",
            "reason": "decide which goal matters more",
            "goal": None,
        }

    def test_a_winner_beside_a_loser_is_not_mixed(self):
        trials = dict.fromkeys(("a", "b", "c"), 50_000)
        verdict = report(trials, buy={"a": 2500, "b": 3000, "c": 2000}, view=dict.fromkeys(trials, 2500))["verdict"]
        assert (verdict["state"], verdict["goal"]) == ("winner", "buy")

    def test_each_variant_that_is_mixed_is_named(self):
        trials = dict.fromkeys(("a", "b", "c"), 50_000)
        better, worse = {"a": 2500, "b": 3000, "c": 3000}, {"a": 2500, "b": 2000, "c": 2000}
        text = report(trials, buy=better, view=worse)["verdict"]["text"]
        assert text == "b wins buy but loses view; c wins buy but loses view"

    def test_without_a_goal_there_is_nothing_to_judge(self):
        verdict = report(self.TRIALS)["verdict"]
        assert verdict == {"state": "no_data", "text": "no goal has been reached yet", "reason": "", "goal": None}

    def test_a_wrong_split_comes_before_everything(self):
        verdict = report({"red": 4760, "blue": 5240}, buy={"red": 900, "blue": 100})["verdict"]
        assert (verdict["state"], verdict["goal"]) == ("do_not_trust", None)
        assert verdict["text"] == "the split 5,240 / 4,760 should be 50 / 50"


def test_one_visitor_is_singular():
    pair = Pair(
        "b", Proportion(Count(50), Count(100)), "a", Proportion(Count(50), Count(100)), *[Interval(0, 1)] * 2, None
    )
    terms = Terms(0.1, 0.05, {"a": 0.5, "b": 0.5})
    assert _visitors(Needed(2, 1, 2), pair, terms) == "about 1 more visitor per variant"
