"""The headline of a report, in every state."""

import pytest

from gimel.analysis.headline import headline
from gimel.analysis.report import experiment_report
from gimel.plans import Ended
from gimel.settings import ExperimentSettings
from tests.counts import counted

NOW = 29_000_000  # 19 February 2025
SINCE = {"verdict_since": {"at": "2025-02-03T14:00:00Z", "before": "collecting"}}
VISITORS = {"blue": 50_000, "red": 50_000}
BETTER, WORSE, SAME = ({"blue": 2500, "red": red} for red in (2960, 2000, 2500))


def counts(**goals):
    return {name: {label: counted(value, 0) for label, value in found.items()} for name, found in goals.items()}


def told(goals, own=None, ended=None, trials=VISITORS, control=None, **more):
    """The headline of a report with these goals: `days` old (a month), decided on 3 February."""
    made = experiment_report(counts(participate=trials, **goals), ExperimentSettings(**own or {}), control, ended)
    goals_now = [{**goal, **SINCE, "days_left": more.get("days_left")} for goal in made["goals"]]
    report = {**made, "days": more.get("days", 30.0), "goals": goals_now}
    return headline(report, more.get("now", NOW))


def test_a_winner_of_a_week_can_be_shipped_and_a_younger_one_waits_for_whole_weeks():
    won = "Red wins on buy: +0.5 to +1.4 points, since 3 February."
    assert told({"buy": BETTER}) == f"{won} You can ship it."
    assert told({"buy": BETTER}, days=7.0) == f"{won} You can ship it."
    assert told({"buy": BETTER}, days=6.9) == f"{won} Let it run for whole weeks before you ship it."
    assert told({"buy": BETTER}, days=None) == f"{won} You can ship it if it has run for whole weeks."


def test_a_history_of_a_week_shows_that_an_older_experiment_is_no_younger():
    made = experiment_report(counts(participate=VISITORS, buy=BETTER))
    days = [{"day": "2025-02-01", "visitors": 1}] * 8
    assert headline({**made, "visitors_by_day": days}).endswith("You can ship it.")
    assert headline({**made, "visitors_by_day": days[1:]}).endswith("if it has run for whole weeks.")


def test_a_day_of_another_year_is_told_with_it():
    assert ", since 3 February 2025. " in told({"buy": BETTER}, now=NOW + 366 * 24 * 60)
    assert ", since 3 February 2025. " in told({"buy": BETTER}, now=None)


def test_several_winners_are_not_tested_against_each_other():
    assert told({"buy": {"a": 2500, "b": 3100, "c": 3200}}, trials=dict.fromkeys("abc", 50_000)) == (
        "B and c win on buy. C has the highest rate, but is not tested against the other winners. You can ship c."
    )


def test_a_winner_waits_for_the_guardrails_that_are_open():
    own = {"goal": "buy", "guardrails": {"ticket": 0.02, "refund": 0.5}}
    kept = {"blue": 2500, "red": 2500}
    assert told({"buy": BETTER, "refund": kept}, own).endswith("since 3 February. You can ship it.")
    assert told({"buy": BETTER, "refund": kept, "ticket": kept}, own) == (
        "Red wins on buy: +0.5 to +1.4 points, since 3 February. Whether ticket got worse is not known yet: wait, or"
        " take the risk."
    )


def test_a_winner_whose_guardrail_cannot_be_tested_is_a_risk():
    own = {"goal": "buy", "guardrails": {"crash": 0.02}, "per_visitor": ("crash",)}
    risk = "Whether crash got worse is not known: ship it only if you take that risk."
    assert told({"buy": BETTER, "crash": BETTER}, own).endswith(f"since 3 February. {risk}")
    end = Ended(100_000, "2024-11-30T23:59:00Z", counts(participate=VISITORS, buy=BETTER, crash=SAME))
    own = {"goal": "buy", "guardrails": {"crash": 0.02}, "planned_visitors": 50_000}
    assert told({"buy": BETTER, "crash": SAME}, own, end).endswith(f"30 November 2024. {risk}")


def test_a_loser_leaves_the_control():
    lost = "Red loses on buy: \N{MINUS SIGN}1.4 to \N{MINUS SIGN}0.6 points, since 3 February."
    assert told({"buy": WORSE}) == f"{lost} Keep blue."
    assert told({"buy": WORSE}, days=3) == f"{lost} Let it run for whole weeks before you decide."
    three = told({"buy": {"a": 1000, "b": 700, "c": 1010}}, trials=dict.fromkeys("abc", 20_000))
    assert three.endswith("Keep a, unless c should win: that is still open.")
    both = told({"buy": {"a": 2500, "b": 1900, "c": 2000}}, trials=dict.fromkeys("abc", 50_000))
    assert both == "B and c lose on buy. Keep a."


def test_a_broken_guardrail_and_a_mixed_verdict_come_first():
    own = {"goal": "buy", "guardrails": {"ticket": 0.02}}
    assert told({"buy": SAME, "ticket": BETTER}, own) == (
        "Red is worse on ticket: +0.5 to +1.4 points, since 3 February. Do not ship it without a reason."
    )
    assert told({"buy": BETTER, "ticket": BETTER}, own) == (
        "Red wins buy but is worse on ticket. Decide which goal matters more before you ship anything."
    )


def test_a_wrong_split_says_since_when():
    report = experiment_report(counts(participate={"blue": 5240, "red": 4760}, buy=SAME))
    said = "Do not trust these figures: the split 5,240 / 4,760 should be 50 / 50"
    assert headline(report, NOW) == f"{said}. Find the cause first."
    report["sample_ratio"]["since"] = "2025-02-04T14:00:00Z"
    assert headline(report, NOW) == f"{said}, since 4 February. Find the cause first."


def test_no_difference():
    million = dict.fromkeys(VISITORS, 10**6)
    same = {"buy": {"red": 200_100, "blue": 200_000}}
    said = "No difference that matters on buy: \N{MINUS SIGN}0.20 to +0.22 points, since 3 February."
    assert told(same, trials=million) == f"{said} Choose by other reasons, such as cost."
    assert told(same, trials=million, days=2).endswith(" Let it run for whole weeks before you decide.")


def test_what_is_not_decided_says_how_long_it_takes():
    leaning = {"buy": {"red": 15_750, "blue": 15_000}}
    trials = dict.fromkeys(VISITORS, 30_000)
    said = "Not decided on buy, but leaning towards red: "
    shards = {"participate": {one: counted(value, 1) for one, value in trials.items()}}
    made = experiment_report({**shards, "buy": {one: counted(value, 1) for one, value in leaning["buy"].items()}})
    assert headline(made, NOW).startswith(said)
    assert headline(made, NOW).endswith(" points. Wait, or take the risk.")
    made["goals"][0]["days_left"] = 8.2
    assert headline(made, NOW).endswith(
        " points. If that is the true difference, it takes about 8 days at the present rate."
    )
    start = {"buy": {"red": 160, "blue": 150}}, dict.fromkeys(VISITORS, 3000)
    assert told(start[0], trials=start[1]).startswith("Too early to tell on buy: about ")
    assert told(start[0], trials=start[1]).endswith(" more visitors per variant to detect a 10 % change.")


@pytest.mark.parametrize(
    ("red", "said"),
    [
        (1180, "Red wins on buy: +0.4 to +1.4 points, when its plan ended on 30 November 2024. You can ship it."),
        (
            1000,
            "The plan ended on 30 November 2024 without a verdict on buy: \N{MINUS SIGN}0.5 to +0.5 points. Choose by"
            " other reasons, or plan a larger experiment.",
        ),
    ],
)
def test_an_ended_plan(red, said):
    of_then = counts(participate={"blue": 20_000, "red": 20_010}, buy={"blue": 1000, "red": red})
    ended = Ended(40_000, "2024-11-30T23:59:00Z", of_then)
    own = {"planned_visitors": 20_000, "smallest_change": 0.03}
    trials = dict.fromkeys(VISITORS, 21_000)
    assert told({"buy": {"blue": 1050, "red": 1100}}, own, ended, trials) == said


def test_a_plan_of_less_than_a_week_is_no_reason_to_run_on():
    of_then = counts(participate={"blue": 20_000, "red": 20_010}, buy={"blue": 1000, "red": 1180})
    ended, own = Ended(40_000, "2025-02-18T12:00:00Z", of_then), ExperimentSettings(planned_visitors=20_000)
    made = experiment_report(of_then, own, None, ended)
    said = "Red wins on buy: +0.4 to +1.4 points, when its plan ended on 18 February. You can ship it."
    short = "The plan took less than a week: other weekdays may differ."
    assert headline({**made, "days": 4.0, "first_seen": "2025-02-15T12:00:00Z"}, NOW) == f"{said} {short}"
    assert headline({**made, "days": 40.0, "first_seen": "2025-02-15T12:00:00Z"}, NOW) == f"{said} {short}"
    assert headline({**made, "days": 9.0, "first_seen": "2025-02-10T12:00:00Z"}, NOW) == said


def test_what_leans_at_the_end_of_a_plan_needs_a_new_experiment():
    of_then = counts(participate={"blue": 20_000, "red": 20_000}, buy={"blue": 1000, "red": 1100})
    own = {"planned_visitors": 20_000, "smallest_change": 0.03}
    found = told({"buy": {"blue": 1000, "red": 1100}}, own, Ended(40_000, "2024-11-30T23:59:00Z", of_then))
    assert found.startswith("Not decided on buy, but leaning towards red: ")
    assert found.endswith(" points. It takes a new experiment to decide.")


def test_nothing_to_judge():
    assert told({}) == "No goal has been reached yet."
    assert told({"look": SAME}, {"goal": "buy"}) == "No one has reached the primary goal, buy, yet."
    assert told({"buy": {"blue": 3}}, trials={"blue": 20}) == "Nothing to compare: only blue has visitors so far."
    assert told({"view": {"blue": 130_000, "red": 125_000}}) == (
        "No verdict on view: 2.60 times in blue and 2.50 times in red."
    )


@pytest.mark.parametrize(
    ("label", "begins"),
    [("one page", "One page wins"), ("iOS 18", "iOS 18 wins"), ("Red", "Red wins"), ("כחול", "כחול wins")],
)
def test_a_name_begins_a_sentence_as_it_can(label, begins):
    said = told(
        {"buy": {"blue": 2500, label: 2960}}, {"baseline": "blue"}, trials=dict.fromkeys(("blue", label), 50_000)
    )
    assert said.startswith(begins)


def test_a_name_is_not_turned_into_another_one():
    said = told({"buy": {"B": 2500, "b": 2960}}, {"baseline": "B"}, trials=dict.fromkeys("Bb", 50_000))
    assert said.startswith("b wins on buy")
