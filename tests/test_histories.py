"""Histories: how a snapshot is appended, what is thinned away, and how they are kept in a record."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gimel import histories
from gimel.histories import DAY, HOUR, Change, History
from gimel.hyperloglog import Count

START = 20_000 * DAY
"""A midnight."""


def counts(participants: int, **goals: int) -> dict[str, dict[str, Count]]:
    """Of one variant."""
    return {goal: {"red": Count(value)} for goal, value in {"participate": participants, **goals}.items()}


def taken(*points: tuple[int, int], before: History | None = None, every: int = HOUR) -> History:
    """The history of these moments and numbers of participants, with a complete snapshot at all of them."""
    found = before
    for moment, participants in points:
        found = histories.append(found, counts(participants), START + moment, START + moment - every if found else None)
    assert found
    return found


def series(found: History) -> list[tuple[int, int]]:
    """Its moments and numbers of participants."""
    return [
        (moment - START, value) for moment, value in zip(found.moments, found.counts["participate"]["red"], strict=True)
    ]


def test_a_point_is_appended_only_if_a_count_changed():
    found = taken((0, 5), (60, 5), (120, 5))
    assert series(found) == [(0, 5)]
    assert series(taken((180, 6), before=found)) == [(0, 5), (120, 5), (180, 6)]


def test_a_missed_hour_lies_between_the_points_around_it():
    found = histories.append(taken((0, 5), (60, 6)), counts(9), START + 240, last_run=START + 60)
    assert series(found) == [(0, 5), (60, 6), (240, 9)]


def test_an_experiment_that_appears_after_a_snapshot_began_since_then():
    assert series(histories.append(None, counts(7), START + 120, START + 60)) == [(60, 0), (120, 7)]
    assert series(histories.append(None, counts(7), START + 120, None)) == [(120, 7)]
    assert series(histories.append(None, counts(7), START + 120, START + 120)) == [(120, 7)]


def test_an_experiment_with_far_fewer_participants_has_begun_again():
    found = histories.changed(taken((0, 100), (60, 200)), [Change(START + 60, None, "winner")])
    assert series(histories.append(found, counts(180), START + 120, START + 60)) == [(0, 100), (60, 200), (120, 180)]
    anew = histories.append(found, counts(179), START + 120, START + 60)
    assert (series(anew), anew.changes) == ([(60, 0), (120, 179)], ())


def test_a_counter_that_comes_later_was_0_before_and_one_that_is_gone_keeps_its_count():
    found = histories.append(taken((0, 5)), counts(5, buy=2), START + 60)
    assert found.counts["buy"] == {"red": (0, 2)}
    found = histories.append(found, counts(6), START + 120)
    assert found.counts["buy"] == {"red": (0, 2, 2)}


def test_a_snapshot_by_hand_takes_nothing_from_that_of_the_hour():
    found = taken((0, 1), (60, 2), (100, 3))
    assert series(found) == [(0, 1), (60, 2), (100, 3)]
    assert series(taken((120, 4), before=found)) == [(0, 1), (60, 2), (120, 4)]


def test_two_snapshots_at_the_same_moment_are_one():
    assert series(taken((0, 1), (60, 2), (60, 3))) == [(0, 1), (60, 3)]
    assert series(taken((0, 1), (0, 2))) == [(0, 2)]


def test_a_point_of_a_clock_that_is_ahead_is_replaced():
    found = histories.append(taken((0, 1), (60, 2)), counts(2), START + 59, START)
    assert series(found) == [(0, 1), (59, 2)]


def test_a_last_snapshot_of_a_clock_that_is_ahead_tells_nothing():
    for last_run in START + 60, START + 63:
        found = histories.append(taken((0, 1)), counts(2), START + 60, last_run)
        assert series(found) == [(0, 1), (60, 2)]


def test_hours_are_kept_for_two_days_and_then_the_first_point_of_each_day():
    found = taken(*((hour * HOUR, hour) for hour in range(24 * 10)))
    days = [day * DAY for day in range(8)]
    hours = [hour * HOUR for hour in range(24 * 8 - 1, 24 * 10)]
    assert [moment for moment, _ in series(found)] == sorted({0, HOUR, *days, *hours})
    assert all(value == moment // HOUR for moment, value in series(found))


def test_the_first_two_points_stay_because_the_experiment_began_between_them():
    found = histories.append(None, counts(3), START + 10 * HOUR, START + 9 * HOUR)
    found = taken(*((hour * HOUR, hour) for hour in range(11, 24 * 5)), before=found)
    assert series(found)[:3] == [(9 * HOUR, 0), (10 * HOUR, 3), (DAY, 24)]


def test_a_day_keeps_what_was_counted_on_it_though_nothing_was_counted_around_midnight():
    """100 events a day, from 8 to 18 h, and a snapshot every hour."""
    found = last = None
    for hour in range(24 * 8):
        moment, value = START + hour * HOUR, 100 * (hour // 24) + 10 * min(10, max(0, hour % 24 - 8))
        found, last = histories.append(found, counts(value), moment, last), moment
    at = dict(series(found))
    assert [at[day * DAY] for day in range(1, 5)] == [100, 200, 300, 400]


def test_a_pause_is_none_of_the_days_before_or_after_it():
    found = taken(*((hour * HOUR, hour) for hour in range(20)))
    found = histories.append(found, counts(30), START + 9 * DAY + 600, START + 9 * DAY + 540)
    found = histories.append(found, counts(31), START + 20 * DAY, START + 20 * DAY - HOUR)
    pause = [(DAY, 19), (9 * DAY, 19), (10 * DAY, 30), (19 * DAY, 30)]
    assert series(found)[2:] == [*pause, (20 * DAY - HOUR, 30), (20 * DAY, 31)]


def test_the_last_point_before_days_without_snapshots_stays():
    found = taken(*((hour * HOUR, hour) for hour in range(20)))
    found = histories.append(found, counts(30), START + 9 * DAY, START + 19 * HOUR)
    assert series(found)[-2:] == [(19 * HOUR, 19), (9 * DAY, 30)]


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 100, histories.MAX_POINTS, histories.MAX_POINTS + 1])
def test_points_beyond_the_limit_are_thinned_evenly(number):
    moments = tuple(START + day * DAY for day in range(number))
    found = History(moments, {"participate": {"red": tuple(range(number))}})
    found = histories.append(found, counts(number), START + number * DAY)
    at, values = zip(*series(found), strict=True)
    assert (at[0], values[-1]) == (0, number)
    assert all(moment == value * DAY for moment, value in series(found))
    assert len(at) == (number + 1 if number < histories.MAX_POINTS else number // 2 + 3)
    assert {after - before for before, after in pairwise(at)} <= {DAY, 2 * DAY}


def test_a_record_that_would_be_too_large_has_fewer_points():
    chance = random.Random(13)
    variants = {f"{number}": tuple(sorted(chance.getrandbits(40) for _ in range(1000))) for number in range(200)}
    found = History(tuple(START + day * DAY for day in range(1000)), {"participate": variants})
    record = histories.record(found)
    assert len(record) <= histories.MAX_RECORD_BYTES < len(found.encode())
    kept = History.decode(record)
    assert 100 < len(kept.moments) < 1000
    assert (kept.moments[0], kept.moments[-1]) == (found.moments[0], found.moments[-1])
    assert all(
        kept.counts["participate"]["7"][place] == variants["7"][(at - START) // DAY]
        for place, at in enumerate(kept.moments)
    )


def test_names_that_are_too_large_have_no_record():
    chance = random.Random(13)
    variants = {f"{chance.getrandbits(800):x}": (1, 2, 3) for _ in range(5_000)}
    assert histories.record(History((1, 2, 3), {"participate": variants})) is None


def test_a_change_is_recorded_once():
    found = histories.changed(taken((0, 1)), [Change(1, None, "collecting"), Change(1, "buy", "collecting")])
    assert histories.changed(found, [Change(2, None, "collecting"), Change(2, "buy", "winner")]).changes == (
        Change(1, None, "collecting"),
        Change(1, "buy", "collecting"),
        Change(2, "buy", "winner"),
    )


def test_a_split_that_was_never_wrong_is_no_change():
    found = histories.changed(taken((0, 1)), [Change(1, "", "ok")])
    assert found.changes == ()
    found = histories.changed(histories.changed(found, [Change(2, "", "mismatch")]), [Change(3, "", "ok")])
    assert [change.state for change in found.changes] == ["mismatch", "ok"]


def test_of_many_changes_the_newest_and_the_last_one_of_each_goal_stay():
    states = [Change(0, "calm", "winner"), *(Change(at, None, f"{at % 2}") for at in range(600))]
    found = taken((0, 1))
    for state in states:
        found = histories.changed(found, [state])
    assert len(found.changes) == histories.MAX_CHANGES
    assert found.changes == (states[0], *states[-histories.MAX_CHANGES + 1 :])


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
values = st.lists(st.integers(0, 2**62), min_size=9, max_size=9).map(tuple)
changes = st.builds(Change, st.integers(0, 2**31 - 1), st.none() | names, names)


@given(
    st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=9, unique=True).map(sorted),
    st.dictionaries(names, st.dictionaries(names, values, max_size=4), max_size=4),
    st.lists(changes, max_size=9).map(tuple),
)
def test_a_record_is_read_as_it_was_written(moments, found, changes):
    cut = {goal: {name: every[: len(moments)] for name, every in each.items()} for goal, each in found.items()}
    written = History(tuple(moments), cut, changes)
    assert History.decode(written.encode()) == written
    assert History.decode(replace(written, changes=()).encode()) == replace(written, changes=())


@pytest.mark.parametrize(
    "broken",
    [
        History((1, 2), {"participate": {"a": (0, 10**400)}}),
        History((1, 10**12), {"participate": {"a": (0, 1)}}),
        History((1, 2), {"participate": {"a": (0, 1)}}, (Change(10**12, None, "winner"),)),
        History((1, 2), {"participate": {"a": (0, 1)}}, (Change(-(10**12), None, "winner"),)),
        History((1, 2), {"participate": {"a": (0, 1)}}, (Change(1, ["goal"], "winner"),)),  # type: ignore[arg-type]
        History(tuple(range(5_001)), {"participate": {"a": (0,) * 5_001}}),
    ],
    ids=["count", "moment", "late change", "early change", "goal", "points"],
)
def test_a_record_that_no_report_could_be_made_of_is_none(broken):
    assert History.decode(broken.encode()) is None


@given(st.binary(max_size=40))
def test_any_other_record_is_none(other):
    assert History.decode(other) is None
    assert History.decode(histories.History((1, 2), {"a": {"b": (0, 1)}}).encode()[: len(other)]) is None
