"""What a person who decides reads: plans, the goal that decides, guardrails, and what leans."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from gimel.analysis.comparisons import _corrected
from gimel.analysis.report import experiment_report
from gimel.analysis.verdicts import Terms
from gimel.hyperloglog import Count
from gimel.plans import Ended
from gimel.settings import ExperimentSettings

from .test_report import row


def counts(trials, **goals):
    return {
        goal: {label: Count(value) for label, value in found.items()}
        for goal, found in {"participate": trials, **goals}.items()
    }


def report(trials, ended=None, settings=None, **goals):
    return experiment_report(counts(trials, **goals), ExperimentSettings(**settings or {}), None, ended)


def words(of_something):
    return of_something["verdict"]["state"], of_something["verdict"]["text"]


def goal_of(answer, name):
    return next(goal for goal in answer["goals"] if goal["goal"] == name)


class TestLeaning:
    def test_a_drop_that_a_single_look_finds_is_not_called_no_difference(self):
        """A published test of 90,189 players: p = 0.0016, and an interval from -1.7 to 0.0 points."""
        answer = report({"gate 30": 44_700, "gate 40": 45_489}, retained={"gate 30": 8_502, "gate 40": 8_279})
        assert words(answer) == ("leaning", "leaning towards gate 30")
        assert answer["verdict"]["reason"].startswith(
            "18.2 % against 19.0 % so far; the difference may be anything from −1.7 to +0.04 percentage points; if that"
            " is the true difference, it takes about "
        )

    def test_three_quarters_of_the_interval_on_one_side_are_enough(self):
        answer = report({"a": 10**6, "b": 10**6}, buy={"a": 200_000, "b": 201_080})
        (of_goal,) = answer["goals"]
        interval = row(of_goal, "b")["always_valid_interval"]
        assert interval["low"] < 0 < 0.75 * (interval["high"] - interval["low"]) < interval["high"]
        assert row(of_goal, "b")["p_value"] > 0.05
        assert words(answer) == ("leaning", "leaning towards b")

    def test_an_interval_about_zero_is_no_difference(self):
        answer = report({"a": 10**6, "b": 10**6}, buy={"a": 200_000, "b": 200_300})
        assert words(answer)[0] == "no_difference"

    def test_what_leans_early_is_still_collecting(self):
        answer = report({"a": 1000, "b": 1000}, buy={"a": 100, "b": 130})
        assert row(answer["goals"][0], "b")["p_value"] < 0.05
        assert words(answer)[0] == "collecting"


class TestSmallestChange:
    def test_no_difference_is_said_only_within_it(self):
        trials, buy = {"a": 10**6, "b": 10**6}, {"a": 200_000, "b": 200_100}
        assert words(report(trials, buy=buy))[0] == "no_difference"
        assert words(report(trials, buy=buy, settings={"smallest_change": 0.012}))[0] == "no_difference"
        assert words(report(trials, buy=buy, settings={"smallest_change": 0.01}))[0] == "collecting"

    def test_the_visitors_needed_are_for_it(self):
        trials, buy = {"a": 10_000, "b": 10_000}, {"a": 500, "b": 510}
        of_ten, of_three = (report(trials, buy=buy, settings={"smallest_change": size}) for size in (0.1, 0.03))
        assert "to detect a 3 % change" in words(of_three)[1]
        needed = [row(answer["goals"][0], "b")["visitors_needed"] for answer in (of_ten, of_three)]
        assert 10 < needed[1] / needed[0] < 20
        assert of_three["smallest_change"] == 0.03


class TestSeveralVariants:
    def test_an_arm_that_clearly_loses_is_the_headline(self):
        """Published: four headlines, the last of which loses with p = 1e-7."""
        clicks = {"a": 49, "b": 20, "c": 31, "d": 9}
        answer = report({"a": 3060, "b": 2982, "c": 3112, "d": 3083}, click=clicks)
        assert words(answer) == ("loser", "a, the control, beats d")
        assert answer["verdict"]["reason"].endswith("; b and c are still open")

    def test_holm_finds_what_bonferroni_misses(self):
        """Both loud arms are found first, so the quiet one is tested at 5 %, and not at a third of it."""
        loud = row(
            report(dict.fromkeys("abcd", 20_000), buy={"a": 1000, "b": 1500, "c": 1500, "d": 1150})["goals"][0], "d"
        )
        alone = row(report(dict.fromkeys("ad", 20_000), buy={"a": 1000, "d": 1150})["goals"][0], "d")
        for figure in ("p_value", "difference_interval", "always_valid_interval"):
            assert loud[figure] == alone[figure]

    @pytest.mark.parametrize(
        "p_values", [[0.04], [0.01, 0.04], [0.04, 0.01, 0.02], [0.9, 0.02, 0.02, 0.5], [0.001, 0.012, 1.0, 0.0, 0.03]]
    )
    def test_they_are_tested_step_by_step_as_statsmodels_does(self, p_values):
        found = _corrected(range(len(p_values)), lambda which, _: p_values[which], Terms(0.1, 0.05, {}))
        assert [found[which][1] for which in range(len(p_values))] == pytest.approx(
            multipletests(p_values, method="holm")[1]
        )

    @given(
        st.lists(st.floats(0, 0.1), min_size=1, max_size=11),
        st.sampled_from([0.05, 0.01]),
        st.sampled_from([None, 0.02]),
    )
    def test_a_p_value_is_below_its_level_exactly_when_its_corrected_one_is_below_alpha(self, p_values, alpha, allowed):
        terms = Terms(0.1, alpha, {}, allowed=allowed)
        found = _corrected(range(len(p_values)), lambda which, _: p_values[which], terms)
        for which, (level, corrected) in found.items():
            assert (p_values[which] < level) == (corrected < alpha)


class TestWeights:
    SPLIT = {"weights": {"a": 9, "b": 1}, "baseline": "a"}  # noqa: RUF012

    def test_what_is_needed_is_told_in_all_and_in_the_smallest(self):
        answer = report({"a": 3600, "b": 400}, buy={"a": 180, "b": 20}, settings=self.SPLIT)
        of_b = row(answer["goals"][0], "b")
        in_all, smallest, equal = (of_b[f"visitors_needed{which}"] for which in ("", "_smallest", "_equal"))
        assert smallest == pytest.approx(in_all / 10, abs=1)
        assert 2 < in_all / equal < 3
        text = words(answer)[1]
        assert "more visitors in all" in text
        assert "of them in b" in text
        assert "with an equal split" in text

    def test_equal_variants_are_told_what_each_needs(self):
        answer = report({"a": 3600, "b": 3600}, buy={"a": 180, "b": 180})
        of_b = row(answer["goals"][0], "b")
        assert of_b["visitors_needed"] == of_b["visitors_needed_equal"]
        assert "more visitors per variant to detect a 10 % change" in words(answer)[1]


class TestPrimaryGoal:
    TRIALS = {"a": 50_000, "b": 50_000}  # noqa: RUF012

    def test_it_is_read_first(self):
        answer = report(self.TRIALS, buy={"a": 2500, "b": 2510}, view={"a": 2500, "b": 3100}, settings={"goal": "buy"})
        assert answer["verdict"]["goal"] == "buy"
        assert [goal["role"] for goal in answer["goals"]] == ["primary", "secondary"]

    def test_the_others_share_five_percent(self):
        others = {f"g{i}": {"a": 2500, "b": 2510} for i in range(4)}
        answer = report(self.TRIALS, buy={"a": 2500, "b": 2510}, **others, settings={"goal": "buy"})
        assert [goal["alpha"] for goal in answer["goals"]] == [0.05, *[0.0125] * 4]
        first, second = (row(goal, "b") for goal in answer["goals"][:2])
        assert second["difference_interval"]["high"] > first["difference_interval"]["high"]

    def test_those_in_config_json_share_before_they_are_reached(self):
        settings = {"goal": "buy", "goals": frozenset({"buy", "x", "y", "ticket"}), "guardrails": {"ticket": 0.1}}
        answer = report(self.TRIALS, buy={"a": 2500, "b": 2510}, x={"a": 2500, "b": 2510}, settings=settings)
        assert [goal["alpha"] for goal in answer["goals"]] == [0.05, 0.025]

    def test_without_one_five_goals_have_a_note(self):
        four = {f"g{i}": {"a": 2500, "b": 2510} for i in range(4)}
        assert report(self.TRIALS, **four)["notes"] == []
        (note,) = report(self.TRIALS, **four, g5={"a": 2500, "b": 2510})["notes"]
        assert note.startswith("5 goals are tested separately")

    def test_one_that_no_one_has_reached_has_no_data(self):
        answer = report(self.TRIALS, view={"a": 2500, "b": 3100}, settings={"goal": "buy"})
        assert words(answer) == ("no_data", "no one has reached the primary goal, buy, yet")


class TestGuardrails:
    TRIALS = {"a": 10**6, "b": 10**6}  # noqa: RUF012

    @pytest.mark.parametrize(
        ("allowed", "reached", "expected"),
        [
            (0.02, 250_200, ("not_worse", "not worse by more than 2 %")),
            (0.005, 250_200, ("not_yet_known", "not yet known whether it is worse by more than 0.5 %")),
            (0.02, 262_000, ("worse", "b is worse than a")),
            (0.02, 230_000, ("not_worse", "not worse by more than 2 %")),
            (-0.02, 230_000, ("worse", "b is worse than a")),
            (-0.02, 262_000, ("not_worse", "not worse by more than 2 %")),
        ],
    )
    def test_the_sign_tells_which_way_is_worse(self, allowed, reached, expected):
        answer = report(self.TRIALS, ticket={"a": 250_000, "b": reached}, settings={"guardrails": {"ticket": allowed}})
        (of_goal,) = answer["goals"]
        assert (of_goal["role"], words(of_goal)) == ("guardrail", expected)

    def test_a_little_worse_for_sure_is_kept_and_said(self):
        trials, ticket = dict.fromkeys("ab", 10**8), {"a": 25_000_000, "b": 25_200_000}
        (of_goal,) = report(trials, ticket=ticket, settings={"guardrails": {"ticket": 0.02}})["goals"]
        assert of_goal["verdict"]["state"] == "not_worse"
        assert of_goal["verdict"]["reason"].endswith("a rise of up to 2 % is allowed")
        assert "higher" in of_goal["verdict"]["reason"]

    def test_a_winner_that_breaks_one_is_mixed(self):
        answer = report(
            self.TRIALS,
            buy={"a": 50_000, "b": 53_000},
            ticket={"a": 50_000, "b": 55_000},
            settings={"goal": "buy", "guardrails": {"ticket": 0.02}},
        )
        assert words(answer) == ("mixed", "b wins buy but is worse on ticket")

    def test_a_broken_one_comes_before_an_open_goal(self):
        answer = report(
            self.TRIALS,
            buy={"a": 50_000, "b": 50_050},
            ticket={"a": 50_000, "b": 55_000},
            settings={"goal": "buy", "guardrails": {"ticket": 0.02}},
        )
        assert (answer["verdict"]["goal"], words(answer)[0]) == ("ticket", "worse")

    def test_one_that_is_kept_decides_nothing(self):
        kept = {"guardrails": {"ticket": 0.1}}
        answer = report(self.TRIALS, buy={"a": 500, "b": 505}, ticket={"a": 250_000, "b": 250_000}, settings=kept)
        assert answer["verdict"]["goal"] == "buy"
        only = report(self.TRIALS, ticket={"a": 250_000, "b": 250_000}, settings=kept)
        assert words(only) == ("no_data", "only guardrails have been reached so far")

    def test_one_that_no_one_has_reached_is_noted(self):
        answer = report(self.TRIALS, buy={"a": 500, "b": 505}, settings={"guardrails": {"ticket": 0.1}})
        assert answer["notes"] == ["no one has reached ticket, listed in guardrails in the settings"]


SHARES = {"a": 0.5, "b": 0.5}


class TestPlan:
    PLAN = {"planned_visitors": 20_000}  # noqa: RUF012
    AT = "2026-11-30T10:00:00Z"

    def end(self, **goals):
        return Ended(40_000, self.AT, counts({"a": 20_010, "b": 20_020}, **goals))

    def test_it_says_how_far_it_is(self):
        answer = report({"a": 5_000, "b": 5_020}, buy={"a": 250, "b": 255}, settings=self.PLAN)
        assert answer["plan"] == {
            "visitors": 20_000,
            "in_all": 40_000,
            "reached": pytest.approx(0.2505),
            "missing": 29_980,
            "ended": None,
        }
        assert words(answer) == ("collecting", "about 30,000 more visitors in all until the plan ends")

    def test_with_weights_it_is_in_all(self):
        settings = {**self.PLAN, "weights": {"a": 3, "b": 1}}
        answer = report({"a": 7_500, "b": 2_500}, buy={"a": 375, "b": 125}, settings=settings)
        assert (answer["plan"]["in_all"], answer["plan"]["missing"]) == (20_000, 10_000)

    def test_it_decides_sooner_than_the_always_valid_interval(self):
        trials, buy = {"a": 19_000, "b": 19_000}, {"a": 950, "b": 1_060}
        assert words(report(trials, buy=buy))[0] == "collecting"
        answer = report(trials, buy=buy, settings=self.PLAN)
        assert words(answer) == ("winner", "b beats a")
        of_b = row(answer["goals"][0], "b")
        assert of_b["planned_interval"]["low"] > 0 > of_b["always_valid_interval"]["low"]
        assert of_b["planned_p_value"] < 0.05 < of_b["always_valid_p_value"]

    def test_without_one_its_figures_are_null(self):
        answer = report({"a": 5_000, "b": 5_020}, buy={"a": 250, "b": 255})
        of_b = row(answer["goals"][0], "b")
        assert answer["plan"] is of_b["planned_interval"] is of_b["planned_p_value"] is None

    def test_once_it_has_ended_its_verdict_stays(self):
        ended = self.end(buy={"a": 1_000, "b": 1_160})
        answer = report({"a": 30_000, "b": 30_020}, ended, self.PLAN, buy={"a": 1_500, "b": 1_510})
        assert words(answer) == ("winner", "b beats a")
        reason = answer["verdict"]["reason"]
        assert "5.79 % against 5.00 %" in reason
        assert "; decided at 40,030 visitors on 30 November 2026; since then, at 60,020, from \N{MINUS SIGN}" in reason
        of_b = row(answer["goals"][0], "b")
        assert (of_b["successes"], of_b["visitors_needed"]) == (1_510, None)
        assert of_b["planned_interval"]["low"] > 0 > of_b["always_valid_interval"]["low"]
        assert answer["plan"]["ended"] == {"at": self.AT, "visitors": 40_030}

    @pytest.mark.parametrize(
        ("reached", "expected"),
        [
            (1_010, ("inconclusive", "the plan has ended without a verdict")),
            (1_090, ("leaning", "leaning towards b")),
        ],
    )
    def test_it_may_end_without_a_verdict(self, reached, expected):
        ended = self.end(buy={"a": 1_000, "b": reached})
        answer = report({"a": 30_000, "b": 30_020}, ended, self.PLAN, buy={"a": 1_500, "b": 1_900})
        assert words(answer) == expected
        assert "; the plan ended at 40,030 visitors on 30 November 2026" in answer["verdict"]["reason"]

    def test_one_visitor_is_missing(self):
        answer = report({"a": 19_999, "b": 20_000}, buy={"a": 1_000, "b": 1_020}, settings=self.PLAN)
        assert words(answer) == ("collecting", "about 1 more visitor in all until the plan ends")

    def test_what_has_ended_with_few_visitors_is_not_so_far(self):
        trials, buy = {"a": 5, "b": 5}, {"a": 1, "b": 2}
        ended = Ended(10, self.AT, counts(trials, buy=buy))
        answer = report(trials, ended, {"planned_visitors": 5}, buy=buy)
        assert answer["verdict"]["reason"].startswith("2 of 5 visitors against 1 of 5: too few to tell; the plan ended")

    def test_it_may_end_with_no_difference(self):
        ended = Ended(2 * 10**6, self.AT, counts(dict.fromkeys("ab", 10**6), buy={"a": 200_000, "b": 200_100}))
        answer = report(
            dict.fromkeys("ab", 10**6 + 7), ended, {"planned_visitors": 10**6}, buy={"a": 200_000, "b": 200_101}
        )
        assert words(answer)[0] == "no_difference"

    def test_a_changed_plan_changes_nothing_that_has_ended(self):
        ended = self.end(buy={"a": 1_000, "b": 1_160})
        trials, buy = {"a": 30_000, "b": 30_020}, {"a": 1_500, "b": 1_510}
        answer = report(trials, ended, {"planned_visitors": 50_000}, buy=buy)
        assert words(answer) == ("winner", "b beats a")
        (note,) = answer["notes"]
        assert note.startswith("planned_visitors was 20,000 when the plan ended on 30 November 2026")

    @pytest.mark.parametrize(
        "changed",
        [{"variants": frozenset("abc")}, {"weights": {"a": 1, "b": 99}, "planned_visitors": 40_000}],
        ids=["a variant more", "all visitors sent to the winner"],
    )
    def test_nor_do_variants_or_weights_that_are_changed_later(self, changed):
        ended = Ended(40_000, self.AT, counts({"a": 20_010, "b": 20_020}, buy={"a": 1_000, "b": 1_110}), SHARES)
        trials, buy = {"a": 30_000, "b": 30_020}, {"a": 1_500, "b": 1_510}
        before, after = (report(trials, ended, {**self.PLAN, **more}, buy=buy) for more in ({}, changed))
        assert words(before) == words(after) == ("winner", "b beats a")
        assert row(before["goals"][0], "b")["planned_p_value"] == row(after["goals"][0], "b")["planned_p_value"]
        assert not any("planned_visitors was" in note for note in after["notes"])

    def test_without_planned_visitors_the_end_is_not_used(self):
        ended = self.end(buy={"a": 1_000, "b": 1_160})
        trials, buy = {"a": 30_000, "b": 30_020}, {"a": 1_500, "b": 1_510}
        assert report(trials, ended, buy=buy) == report(trials, buy=buy)

    def test_the_split_is_that_of_the_plan_and_a_later_change_is_noted(self):
        """Whoever ships the winner sends everybody to it."""
        ended = self.end(buy={"a": 1_000, "b": 1_160})
        answer = report({"a": 20_500, "b": 90_000}, ended, self.PLAN, buy={"a": 1_020, "b": 5_000})
        assert words(answer) == ("winner", "b beats a")
        assert answer["sample_ratio"]["state"] == "as_expected"
        (note,) = answer["notes"]
        assert note.startswith("since the plan ended, the visitors are no longer split as expected")

    @pytest.mark.parametrize("late", ["c", "0"])
    @pytest.mark.parametrize("already", [0, 1])
    def test_a_variant_that_came_later_has_no_verdict_and_changes_no_other(self, late, already):
        ended = Ended(40_000, self.AT, counts({"a": 20_010, "b": 20_020, late: already}, buy={"a": 1_000, "b": 1_120}))
        trials, buy = dict.fromkeys(["a", "b", late], 30_000), dict.fromkeys(["a", "b", late], 1_500)
        answer = report(trials, ended, self.PLAN, buy=buy)
        assert row(answer["goals"][0], late)["verdict"]["text"] == f"{late} had no visitors when the plan ended"
        assert words(answer) == ("winner", "b beats a")
        requested = experiment_report(counts(trials, buy=buy), ExperimentSettings(**self.PLAN), late, ended)
        assert words(requested) == ("no_data", f"{late} had no visitors when the plan ended")

    def test_successes_that_came_later_make_no_goal_one_that_is_not_tested(self):
        ended = self.end(buy={"a": 1_000, "b": 1_160})
        answer = report({"a": 30_000, "b": 30_020}, ended, self.PLAN, buy={"a": 1_500, "b": 40_000})
        assert words(answer) == ("winner", "b beats a")

    @pytest.mark.parametrize(("control", "unseen"), [(None, "b"), ("c", "c")])
    def test_if_no_pair_had_visitors_there_is_no_verdict(self, control, unseen):
        """A page that began with one variant, or a requested control that came later."""
        seen = "a" if control is None else "ab"
        ended = Ended(400, self.AT, counts(dict.fromkeys(seen, 400), buy=dict.fromkeys(seen, 20)))
        own = ExperimentSettings(planned_visitors=200)
        found = counts(dict.fromkeys("abc", 30_000), buy=dict.fromkeys("abc", 1_500))
        answer = experiment_report(found, own, control, ended)
        assert words(answer) == ("no_data", f"{unseen} had no visitors when the plan ended")

    def test_a_goal_that_began_later_has_no_verdict(self):
        ended = self.end(buy={"a": 1_000, "b": 1_160})
        trials, buy = {"a": 30_000, "b": 30_020}, {"a": 1_500, "b": 1_510}
        answer = report(trials, ended, self.PLAN, buy=buy, view={"a": 3_000, "b": 4_000})
        assert words(goal_of(answer, "view"))[0] == "inconclusive"

    def test_a_goal_that_began_later_takes_no_share_from_those_that_are_decided(self):
        ended = self.end(view={"a": 1_000, "b": 1_120})
        trials, view = {"a": 30_000, "b": 30_020}, {"a": 1_500, "b": 1_700}
        answer = report(trials, ended, {**self.PLAN, "goal": "buy"}, view=view, late=view)
        assert [goal["alpha"] for goal in answer["goals"]] == [0.05, 0.05]
        assert words(goal_of(answer, "view")) == ("winner", "b beats a")

    def test_guardrails_are_judged_by_the_plan_too(self):
        settings = {**self.PLAN, "guardrails": {"ticket": 0.5}}
        ended = self.end(ticket={"a": 1_000, "b": 1_000})
        trials = {"a": 30_000, "b": 30_020}
        answer = report(trials, ended, settings, ticket={"a": 1_500, "b": 2_600})
        assert words(goal_of(answer, "ticket")) == ("not_worse", "not worse by more than 50 %")
