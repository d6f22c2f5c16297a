"""What a history tells: each figure and note when the history says so, and not before."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import accumulate
from math import exp, sqrt

import pytest

from gimel.analysis.past import Past, value_at
from gimel.analysis.report import experiment_report
from gimel.analysis.wording import about, in_days, on_date
from gimel.histories import DAY, HOUR, Change, History, append, as_moment, as_text, until
from gimel.hyperloglog import Count
from gimel.plans import Ended
from gimel.settings import ExperimentSettings
from tests.counts import counted

MONDAY = as_moment("2026-03-02T00:00:00Z")


class Story:
    """Visitors by the hour, and the histories that snapshots make of them, every so many hours."""

    def __init__(self, hours, began=MONDAY, changes=(), every=1):
        """`hours` are {goal: {variant: visitors}} of each hour, from the one on at which the experiment began."""
        names = {(goal, label) for hour in hours for goal in hour for label in hour[goal]}
        self.began, self.changes, self.step = began, changes, HOUR * every
        self.hours = range(began, began + HOUR * len(hours) + 1, HOUR)
        self.series = {goal: {} for goal, _ in sorted(names)}
        for goal, label in sorted(names):
            self.series[goal][label] = [0, *accumulate(hour.get(goal, {}).get(label, 0) for hour in hours)]
        self.made = [None]
        for now in self.hours[every::every]:
            self.made.append(append(self.made[-1], self.counts(now), now, now - self.step))

    def counts(self, now):
        return {
            goal: {label: Count(int(value_at(self.hours, values, now))) for label, values in found.items()}
            for goal, found in self.series.items()
        }

    def at(self, now):
        """The counts at this moment, and the history that the last snapshot before it left."""
        history = self.made[min((now - 1 - self.began) // self.step, len(self.made) - 1)] or History()
        changes = tuple(change for change in self.changes if change.at <= now)
        return self.counts(now), replace(history, changes=changes)

    def past(self, now):
        counts, history = self.at(now)
        return Past.of(history, counts, now, list(counts["participate"]))

    def report(self, now, ended=None, control=None, **settings):
        counts, history = self.at(now)
        return experiment_report(counts, ExperimentSettings(**settings), control, ended, history, now)

    def notes(self, now, **settings):
        return self.report(now, **settings)["notes"]


def steady(days, per_hour=10, labels="ab"):
    return [{"participate": dict.fromkeys(labels, per_hour)} for _ in range(24 * days)]


def daily(values, labels="ab"):
    """Hours that have so many visitors a day, the same number in each variant."""
    shares = [[(value * (hour + 1)) // 24 - (value * hour) // 24 for hour in range(24)] for value in values]
    return [{"participate": dict.fromkeys(labels, part)} for day in shares for part in day]


class TestSince:
    def test_without_a_history_nothing_is_known(self):
        found = Past.of(None, {"participate": {"a": Count(5)}}, None, ["a"]).as_dict()
        assert found == {
            "first_seen": None,
            "last_seen": None,
            "days": None,
            "visitors_per_day": {},
            "visitors_by_day": [],
        }

    def test_the_counts_of_now_alone_tell_of_no_time(self):
        found = Past.of(None, {"participate": {"a": Count(5)}}, MONDAY, ["a"]).as_dict()
        assert (found["first_seen"], found["last_seen"], found["visitors_per_day"]) == (None, None, {})

    def test_first_and_last_event_to_the_hour(self):
        past = Story([*steady(1)[:5], *[{}] * 30]).past(MONDAY + 20 * HOUR + 30)
        assert (as_text(past.first_seen), as_text(past.last_seen)) == ("2026-03-02T01:00:00Z", "2026-03-02T05:00:00Z")
        assert past.days == pytest.approx(19 * HOUR / DAY)

    def test_an_experiment_older_than_its_history_has_no_first_event(self):
        history = History((MONDAY, MONDAY + HOUR), {"participate": {"a": (70, 75)}})
        past = Past.of(history, {"participate": {"a": Count(75)}}, MONDAY + DAY, ["a"])
        assert (past.first_seen, past.days) == (None, None)
        assert as_text(past.last_seen) == "2026-03-02T01:00:00Z"

    def test_a_counter_that_reads_less_is_no_event(self):
        history = History((MONDAY, MONDAY + HOUR, MONDAY + 2 * HOUR), {"participate": {"a": (0, 75, 74)}})
        past = Past.of(history, {"participate": {"a": Count(73)}}, MONDAY + 2 * DAY, ["a"])
        assert as_text(past.last_seen) == "2026-03-02T01:00:00Z"
        assert all(value >= 0 for found in past.by_day.values() for value in found.values())

    def test_points_later_than_now_are_those_of_another_clock(self):
        history = History((MONDAY, MONDAY + HOUR, MONDAY + 9 * DAY), {"participate": {"a": (0, 70, 90)}})
        past = Past.of(history, {"participate": {"a": Count(80)}}, MONDAY + DAY, ["a"])
        assert past.history.moments == (MONDAY, MONDAY + HOUR, MONDAY + DAY)
        assert past.history.counts == {"participate": {"a": (0, 70, 80)}}

    def test_a_counter_that_came_later_began_at_none(self):
        found = until(History((1, 2), {"participate": {"a": (3, 4)}}), {"buy": {"a": Count(2)}}, 5)
        assert found == History((1, 2, 5), {"buy": {"a": (0, 0, 2)}, "participate": {"a": (3, 4, 4)}})

    @pytest.mark.parametrize(("moment", "value"), [(0, 0), (10, 0), (15, 10), (20, 20), (25, 25), (30, 30), (99, 30)])
    def test_between_two_points_it_grew_evenly(self, moment, value):
        assert value_at((10, 20, 30), (0, 20, 30), moment) == value


class TestVisitorsPerDay:
    def test_there_are_none_before_a_full_day(self):
        story = Story(steady(3), MONDAY + 10 * HOUR)
        assert story.past(MONDAY + 2 * DAY - 1).visitors_per_day == {}
        assert story.past(MONDAY + 2 * DAY).visitors_per_day == {"a": 240, "b": 240}

    def test_they_are_those_of_the_last_seven_full_days(self):
        story = Story(daily([48] * 10 + [96] * 7 + [960]))
        assert story.past(MONDAY + 17 * DAY + 12 * HOUR).visitors_per_day == {"a": 96, "b": 96}

    def test_a_day_that_the_history_has_in_part_does_not_count(self):
        history = History((MONDAY + 20 * HOUR, MONDAY + DAY, MONDAY + 2 * DAY), {"participate": {"a": (500, 510, 610)}})
        past = Past.of(history, {"participate": {"a": Count(610)}}, MONDAY + 2 * DAY + 1, ["a"])
        assert past.visitors_per_day == {"a": 100}

    def test_the_last_28_days_are_shown(self):
        days = Story(steady(51), every=6).past(MONDAY + 50 * DAY + 12 * HOUR).as_dict()["visitors_by_day"]
        assert [days[0], days[-2], days[-1]] == [
            {"day": "2026-03-25", "visitors": 480},
            {"day": "2026-04-20", "visitors": 480},
            {"day": "2026-04-21", "visitors": 240},
        ]
        assert len(days) == 28

    def test_a_gap_is_filled_evenly(self):
        history = History((MONDAY, MONDAY + 4 * DAY), {"participate": {"a": (0, 400)}})
        past = Past.of(history, {"participate": {"a": Count(400)}}, MONDAY + 4 * DAY, ["a"])
        assert [one["visitors"] for one in past.as_dict()["visitors_by_day"]] == [100, 100, 100, 100, 0]


class TestDaysLeft:
    def of(self, per_day, goal=(600, 660), **settings):
        """The report of 10 days of so many visitors a day in each of two variants."""
        a, b = (value / (10 * 24) for value in goal)
        hours = daily([per_day] * 10)
        ends = [[int(rate * (hour + 1)) - int(rate * hour) for hour in range(240)] for rate in (a, b)]
        for hour, came in enumerate(zip(*ends)):
            hours[hour]["buy"] = dict(zip("ab", came))
        return Story(hours).report(MONDAY + 10 * DAY, **settings)

    def test_it_is_what_the_text_says(self):
        answer = self.of(1000)
        goal = answer["goals"][0]
        assert goal["verdict"]["text"] == (
            "about 36,000 more visitors per variant, about 36 days at the present rate, to detect a 10 % change"
        )
        assert 35_000 < goal["days_left"] * 1000 <= 36_000
        assert sum(answer["visitors_per_day"].values()) == 2000
        assert answer["verdict"]["text"] == goal["verdict"]["text"]

    def test_of_unequal_variants_the_text_says_it_last(self):
        text = self.of(1000, weights={"a": 1, "b": 1.0001})["goals"][0]["verdict"]["text"]
        assert text.endswith("in all), about 36 days at the present rate, to detect a 10 % change")
        assert text.startswith("about 72,000 more visitors in all, 36,000 of them in a")

    def test_of_several_variants_it_is_that_of_the_one_that_decides(self):
        hours = [{**one, "buy": {"a": 3, "b": 3, "c": 3}} for one in daily([1000] * 10, "abc")]
        goal = Story(hours).report(MONDAY + 10 * DAY)["goals"][0]
        most = max(result["visitors_needed"] or 0 for result in goal["results"])
        assert goal["verdict"]["text"].startswith(f"about {about(most / 3)} more visitors per variant, about")
        assert goal["days_left"] == most / 3000

    def test_of_a_plan_it_is_its_end(self):
        goal = self.of(1000, planned_visitors=14_000)["goals"][0]
        assert goal["verdict"]["text"] == (
            "about 8,000 more visitors in all, about 4 days at the present rate, until the plan ends"
        )
        assert goal["days_left"] == pytest.approx(4, rel=0.01)

    def test_a_decided_goal_has_none(self):
        goal = self.of(1000, (600, 1200))["goals"][0]
        assert (goal["verdict"]["state"], goal["days_left"]) == ("winner", None)

    def test_one_that_leans_says_what_it_takes(self):
        goal = self.of(10_000, (6000, 6180), smallest_change=0.2)["goals"][0]
        assert goal["verdict"]["state"] == "leaning"
        assert "at the present rate, to decide" in goal["verdict"]["reason"]
        assert goal["days_left"] > 0

    def test_a_guardrail_has_some_while_it_is_open(self):
        goal = self.of(1000, guardrails={"buy": 0.05})["goals"][0]
        assert goal["verdict"]["state"] == "not_yet_known"
        assert "at the present rate, to detect a 5 % change" in goal["verdict"]["reason"]
        assert goal["days_left"] > 0

    def test_without_a_history_there_is_none_and_the_text_is_as_before(self):
        counts = {"participate": {"a": Count(10_000), "b": Count(10_000)}, "buy": {"a": Count(600), "b": Count(660)}}
        goal = experiment_report(counts)["goals"][0]
        assert goal["verdict"]["text"] == "about 36,000 more visitors per variant to detect a 10 % change"
        assert goal["days_left"] is None

    def test_if_no_one_comes_any_more_there_is_none(self):
        hours = [{**one, "buy": {"a": 1, "b": 1}} for one in steady(8)]
        story = Story([*hours, *[{}] * 240])
        assert story.report(MONDAY + 8 * DAY)["goals"][0]["days_left"] > 0
        assert story.report(MONDAY + 10 * DAY)["goals"][0]["days_left"] is None

    @pytest.mark.parametrize(
        ("days", "words"),
        [
            (0.1, "less than a day"),
            (1.2, "about a day"),
            (1.6, "about 2 days"),
            (9.2, "about 9 days"),
            (99.7, "about 100 days"),
            (123.4, "about 120 days"),
            (365, "about 360 days"),
            (366, "more than a year"),
        ],
    )
    def test_the_words_for_a_time(self, days, words):
        assert in_days(days) == words


class TestVerdictSince:
    CHANGES = (
        Change(MONDAY + HOUR, None, "collecting"),
        Change(MONDAY + HOUR, "buy", "collecting"),
        Change(MONDAY + 2 * DAY + 5, "buy", "winner"),
        Change(MONDAY + 3 * DAY, "buy", "collecting"),
        Change(MONDAY + 4 * DAY + 61, "buy", "winner"),
        Change(MONDAY + 5 * DAY, "buy", "winner"),
    )

    def past(self, now=MONDAY + 9 * DAY + 70, changes=CHANGES):
        return Past.of(History(changes=changes), {}, now, [])

    def test_it_is_when_the_state_last_began(self):
        assert self.past().verdict_since("buy", "winner") == {"at": "2026-03-06T01:00:00Z", "before": "collecting"}

    def test_what_has_changed_since_the_last_snapshot_has_changed_now(self):
        assert self.past().verdict_since("buy", "loser") == {"at": "2026-03-11T01:00:00Z", "before": "winner"}

    def test_a_goal_that_came_since_then_has_had_none_before(self):
        assert self.past().verdict_since("view", "collecting") == {"at": "2026-03-11T01:00:00Z", "before": None}

    def test_the_first_state_has_none_before_it(self):
        assert self.past().verdict_since(None, "collecting") == {"at": "2026-03-02T01:00:00Z", "before": None}

    def test_a_change_later_than_now_is_of_another_clock(self):
        past = self.past(MONDAY, (Change(MONDAY + DAY, "buy", "winner"),))
        assert past.verdict_since("buy", "winner") == {"at": "2026-03-02T00:00:00Z", "before": None}

    def test_of_a_verdict_that_is_older_than_the_history_it_is_unknown(self):
        counts = {"participate": {"a": (10, 20), "b": (10, 20)}}
        history = History((MONDAY, MONDAY + DAY), counts, (Change(MONDAY, "buy", "winner"),))
        past = Past.of(history, {}, MONDAY + 2 * DAY, ["a", "b"])
        assert past.verdict_since("buy", "winner") is None
        assert past.verdict_since("buy", "collecting") == {"at": "2026-03-04T00:00:00Z", "before": "winner"}

    def test_without_recorded_verdicts_it_is_unknown(self):
        assert self.past(changes=()).verdict_since("buy", "winner") is None

    def test_a_report_has_it_beside_its_verdicts(self):
        story = Story([{**one, "buy": {"a": 1, "b": 1}} for one in steady(3)], changes=self.CHANGES[:2])
        answer = story.report(MONDAY + 2 * DAY)
        since = {"at": "2026-03-02T01:00:00Z", "before": None}
        assert (answer["verdict_since"], answer["goals"][0]["verdict_since"]) == (since, since)

    def test_against_another_control_the_verdicts_are_others_and_have_no_history(self):
        story = Story([{**one, "buy": {"a": 1, "b": 1}} for one in steady(3)], changes=self.CHANGES[:2])
        assert story.report(MONDAY + 2 * DAY, control="b")["verdict_since"] is None
        assert story.report(MONDAY + 2 * DAY, control="a")["verdict_since"] is not None


class TestSplit:
    BROKE = MONDAY + 15 * DAY + 14 * HOUR
    """A Tuesday, 14:00."""

    def broken(self, seed=1, share=0.5, days=19, broke=BROKE):
        """300 visitors an hour, split evenly until it broke, and then by this share of a."""
        draw = random.Random(seed)
        hours = []
        for hour in range(24 * days):
            of_a = 0.5 if MONDAY + hour * HOUR < broke else share
            came = round(draw.gauss(300, sqrt(300)))
            a = round(draw.gauss(came * of_a, sqrt(came * of_a * (1 - of_a))))
            hours.append({"participate": {"a": a, "b": came - a}})
        return Story(hours)

    def first_alarm(self, story):
        return next(now for now in range(self.BROKE - HOUR, MONDAY + 19 * DAY, HOUR) if self.alarm(story, now))

    def alarm(self, story, now):
        ratio = story.report(now)["sample_ratio"]
        return ratio if ratio["state"] == "mismatch" else None

    def test_a_split_that_is_right_has_no_beginning(self):
        story = self.broken()
        for day in range(1, 20):
            answer = story.report(MONDAY + day * DAY)
            assert answer["sample_ratio"]["since"] is None
            assert answer["notes"] == []

    @pytest.mark.parametrize(("share", "within"), [(0.4, 2), (0.45, 12)])
    def test_the_first_alarm_knows_within_hours_when_it_broke(self, share, within):
        for seed in range(5):
            story = self.broken(seed, share)
            now = self.first_alarm(story)
            since = as_moment(self.alarm(story, now)["since"])
            assert abs(since - self.BROKE) <= within * HOUR
            assert f"the split has been wrong since {on_date(since, now)}" in story.notes(now)

    def test_later_it_knows_the_day(self):
        story = self.broken(share=0.45, days=30)
        now = MONDAY + 30 * DAY
        assert self.alarm(story, now)["since"] == "2026-03-17T00:00:00Z"
        assert "the split has been wrong since 17 March" in story.notes(now)

    def test_what_was_recorded_stands(self):
        story = self.broken(share=0.45, days=30)
        story.changes = (Change(MONDAY, "", "ok"), Change(self.BROKE, "", "mismatch"))
        now = MONDAY + 30 * DAY
        assert self.alarm(story, now)["since"] == as_text(self.BROKE)
        assert "the split has been wrong since 17 March, 14:00 UTC" in story.notes(now)
        story.changes += (Change(MONDAY + 20 * DAY, "", "ok"),)
        assert self.alarm(story, now)["since"] == "2026-03-17T00:00:00Z"

    def test_none_is_later_than_now(self):
        now = MONDAY + 30 * DAY
        counts, history = self.broken(share=0.45, days=30).at(now)
        history = replace(history, changes=(Change(now + 10 * DAY, "", "mismatch"),))  # by a clock that was ahead
        assert experiment_report(counts, history=history, now=now)["sample_ratio"]["since"] == as_text(now)

    def test_one_that_never_was_right_has_been_wrong_from_the_beginning(self):
        for seed in range(5):
            story = self.broken(seed, 0.45, days=5, broke=MONDAY)
            now = MONDAY + 5 * DAY
            assert self.alarm(story, now)["since"] == "2026-03-02T01:00:00Z"
            assert "the split has been wrong from the beginning" in story.notes(now)

    def test_one_that_is_older_than_its_history_has_no_known_beginning(self):
        known = History((MONDAY, MONDAY + HOUR), {"participate": {"a": (9000, 9009), "b": (9900, 9910)}})
        counts = {"participate": {"a": Count(9090), "b": Count(10_000)}}
        noticed = (Change(MONDAY + HOUR, "", "mismatch"),)  # which a snapshot records all the same
        for history in (known, replace(known, changes=noticed)):
            answer = experiment_report(counts, history=history, now=MONDAY + 2 * HOUR)
            assert (answer["sample_ratio"]["state"], answer["sample_ratio"]["since"]) == ("mismatch", None)
            assert answer["notes"] == []


class TestSilence:
    def test_a_day_without_the_events_that_were_to_be_expected(self):
        story = Story([*steady(5, 1), *[{}] * 240])
        silent = MONDAY + 5 * DAY
        assert story.notes(silent + DAY - 1) == []
        assert story.notes(silent + DAY) == ["no events for 1 day"]
        assert story.notes(silent + 2 * DAY) == ["no events for 2 days"]
        assert story.notes(silent + 9 * DAY) == ["no events for 9 days"]

    def test_of_little_traffic_three_days(self):
        few = [{"participate": {"a": int(hour % 12 == 0)}} for hour in range(24 * 8)]
        story = Story([*few, *[{}] * 240])
        last = MONDAY + 8 * DAY - 11 * HOUR
        assert story.notes(last + 3 * DAY - 1) == []
        assert story.notes(last + 3 * DAY) == ["no events for 3 days"]

    def test_of_next_to_none_never(self):
        assert Story([*steady(1, 1, "a")[:5], *[{}] * 240]).notes(MONDAY + 9 * DAY) == []

    def test_it_ends_with_the_next_event(self):
        story = Story([*steady(5), *[{}] * 72, *steady(3)])
        assert story.notes(MONDAY + 8 * DAY) == ["no events for 3 days"]
        assert "no events for 3 days" not in story.notes(MONDAY + 8 * DAY + HOUR)
        assert story.notes(MONDAY + 10 * DAY) == []

    def test_an_experiment_older_than_its_history_can_be_silent_too(self):
        history = History((MONDAY,), {"participate": {"a": (500,), "b": (510,)}})
        counts = {"participate": {"a": Count(500), "b": Count(510)}}
        assert experiment_report(counts, history=history, now=MONDAY + 3 * DAY - 1)["notes"] == []
        assert experiment_report(counts, history=history, now=MONDAY + 3 * DAY)["notes"] == ["no events for 3 days"]

    def test_after_the_end_of_a_plan_no_one_needs_to_come(self):
        story = Story([*steady(8), *[{}] * 240])
        now = MONDAY + 12 * DAY
        ended = Ended(3000, as_text(MONDAY + 8 * DAY), story.at(now)[0], {"a": 0.5, "b": 0.5})
        assert story.notes(now, planned_visitors=1500, ended=ended) == []
        assert story.notes(now) == ["no events for 4 days"]


class TestFall:
    def steps(self, values):
        """The notes at the end of each of these days, from one on, by the day."""
        story = Story(daily(values), every=6)
        return {day: story.notes(MONDAY + day * DAY) for day in range(1, len(values) + 1)}

    WEEK = (300, 300, 300, 300, 300, 90, 90)

    def test_a_fall_is_told_of_once_its_day_is_over(self):
        notes = self.steps(
            [*self.WEEK, *self.WEEK, *self.WEEK[:2], *(value * 2 // 5 for value in (*self.WEEK[2:], *self.WEEK))]
        )
        assert [day for day in notes if notes[day]] == list(range(17, 29))
        assert {note for found in notes.values() for note in found} == {"visitors per day fell by 60 % on 18 March"}

    def test_a_fall_on_a_weekend_is_one_against_other_weekends(self):
        notes = self.steps([*self.WEEK, *self.WEEK, *self.WEEK[:5], 30, 30, *[100] * 5])
        assert notes[19] == []
        assert notes[21] == ["visitors per day fell by 67 % on 21 March"]

    def test_weekends_are_none(self):
        for first in range(7):
            week = self.WEEK[first:] + self.WEEK[:first]
            assert not any(self.steps(list(week) * 5).values())

    def test_in_its_first_week_it_must_last_longer_than_a_weekend(self):
        notes = self.steps([300, 300, 300, 300, 90, 90, 90, 90])
        assert [day for day in notes if notes[day]] == [7, 8]
        assert notes[7] == ["visitors per day fell by 70 % on 6 March"]

    def test_what_has_recovered_is_none(self):
        notes = self.steps([300] * 14 + [60] + [300] * 10)
        assert [day for day in notes if notes[day]] == [15]

    def test_the_last_one_is_told_of(self):
        notes = self.steps([1000] * 14 + [400] * 10 + [100] * 4)
        assert notes[24] == ["visitors per day fell by 60 % on 16 March"]
        assert notes[28] == ["visitors per day fell by 75 % on 26 March"]

    def test_after_28_days_it_is_what_is_usual(self):
        notes = self.steps([300] * 14 + [100] * 40)
        assert [day for day in notes if notes[day]] == list(range(15, 43))
        assert notes[15] == notes[42]

    def test_a_usual_day_a_week_after_a_busy_one_is_none(self):
        assert not any(self.steps([300] * 5 + [900] + [300] * 10).values())

    def test_in_its_first_week_a_slow_day_after_a_weekend_is_none(self):
        assert not any(self.steps([300, 300, 300, 300, 60, 60, 200]).values())

    def test_a_smaller_fall_is_none(self):
        assert not any(self.steps([300] * 14 + [160] * 10).values())

    def test_what_may_be_chance_is_none(self):
        assert not any(self.steps([3] * 14 + [1] * 2).values())

    def test_what_the_counters_may_have_made_up_is_none(self):
        def fall(precision):
            before, after = 1_000_000, 400
            history = {"participate": {"a": (0, *(before + 1000 * day for day in range(15)))}}
            moments = (MONDAY - 100 * DAY, *(MONDAY + DAY * day for day in range(15)))
            counts = {"participate": {"a": counted(before + 14_000 + after, precision)}}
            return Past.of(History(moments, history), counts, MONDAY + 15 * DAY, ["a"]).fall()

        assert fall("exact") is not None
        assert fall(1) is None

    def test_chance_hardly_ever_makes_one(self):
        """60 days each: how many of 60 series have a note on any of them."""
        draw = random.Random(3)
        for noise, allowed in ((0.0, 0), (0.1, 0), (0.2, 2)):
            found = 0
            for start in range(60):
                usual = [300 * (1, 0.3)[(day + start) % 7 >= 5 and start % 2] for day in range(60)]
                values = [one * exp(draw.gauss(0, noise)) for one in usual]
                values = [max(0.0, round(draw.gauss(one, sqrt(one)))) for one in values]
                days = [
                    {MONDAY + day * DAY: {"a": values[day]} for day in range(max(0, end - 42), end)}
                    for end in range(8, 61)
                ]
                found += any(
                    Past(MONDAY, None, MONDAY + end * DAY, by_day).fall() for end, by_day in enumerate(days, 8)
                )
            assert found <= allowed


class TestWholeWeeks:
    def story(self, changes=()):
        return Story([{**one, "buy": {"a": 1, "b": 3}} for one in steady(20)], changes=changes)

    def test_a_verdict_before_the_seventh_day_is_over_says_so(self):
        note = "decided on day {}: weekdays and weekends may differ, so let it run for whole weeks"
        story, began = self.story(), MONDAY + HOUR
        states = {day: story.report(began + day * DAY)["verdict"]["state"] for day in range(1, 10)}
        decided = next(day for day in states if states[day] == "winner")
        assert story.notes(began + (decided - 1) * DAY) == []
        assert story.notes(began + 6 * DAY) == [note.format(7)]
        assert story.notes(began + 7 * DAY - 1) == [note.format(7)]
        assert story.notes(began + 7 * DAY) == []

    def test_it_names_the_day_on_which_the_verdict_was_made(self):
        changes = (Change(MONDAY + DAY, None, "collecting"), Change(MONDAY + 2 * DAY + 90, None, "winner"))
        assert self.story(changes).notes(MONDAY + 6 * DAY) == [
            "decided on day 3: weekdays and weekends may differ, so let it run for whole weeks"
        ]

    def test_it_names_a_goal_if_it_is_not_the_one_that_decides(self):
        assert self.story().notes(MONDAY + 6 * DAY, goal="pay")[-1] == (
            "buy: decided on day 6: weekdays and weekends may differ, so let it run for whole weeks"
        )

    def test_of_a_plan_the_verdict_stays_so_and_so_does_the_note(self):
        story = self.story()
        ended = Ended(1000, as_text(MONDAY + 3 * DAY), story.at(MONDAY + 3 * DAY)[0], {"a": 0.5, "b": 0.5})
        assert story.notes(MONDAY + 19 * DAY, planned_visitors=500, ended=ended) == [
            "decided on day 3: weekdays and weekends may differ, so plan for whole weeks"
        ]

    def test_of_an_unknown_age_nothing_is_said(self):
        history = History((MONDAY,), {"participate": {"a": (4000,), "b": (4000,)}, "buy": {"a": (0,), "b": (0,)}})
        counts = {"participate": {"a": Count(5000), "b": Count(5000)}, "buy": {"a": Count(500), "b": Count(900)}}
        answer = experiment_report(counts, history=history, now=MONDAY + DAY)
        assert (answer["verdict"]["state"], answer["notes"]) == ("winner", [])


def test_a_date_has_its_hour_unless_it_is_a_day_and_its_year_if_that_has_passed():
    assert on_date(MONDAY + 14 * HOUR, MONDAY) == "2 March, 14:00 UTC"
    assert on_date(MONDAY, MONDAY) == "2 March"
    assert on_date(MONDAY, MONDAY + 365 * DAY) == "2 March 2026"
