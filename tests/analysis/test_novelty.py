"""Effects that wear off or grow are noted, and those that stay the same are not."""

from __future__ import annotations

import numpy
import pytest

from gimel.analysis.report import experiment_report
from gimel.histories import DAY, History
from gimel.settings import ExperimentSettings
from tests.counts import counted

START = 29_401_920 // DAY * DAY
OWN = ExperimentSettings(baseline="blue")


def notes(*args, **more):
    """The notes on novelty of such an experiment."""
    return [note for note in report(*args, **more)["notes"] if "third of the time" in note]


def report(lifts, rate=0.1, per_day=2_000, precision="exact", random=None, own=OWN, since=0):
    """The report of an experiment with these uplifts of red on its days."""
    readings = {"participate": {"red": [0], "blue": [0]}, "buy": {"red": [0], "blue": [0]}}
    for day, lift in enumerate(lifts):
        base = rate * (0.5 if day % 7 > 4 else 1)
        for label, own_rate in (("red", base * (1 + lift)), ("blue", base)):
            reached = random.binomial(per_day, own_rate) if random else round(per_day * own_rate)
            for goal, value in (("participate", per_day), ("buy", reached)):
                readings[goal][label].append(readings[goal][label][-1] + int(value))
    counts = {g: {one: counted(values[-1], precision) for one, values in of.items()} for g, of in readings.items()}
    past = {g: {one: tuple(values[since:-1]) for one, values in of.items()} for g, of in readings.items()}
    history = History(tuple(START + DAY * day for day in range(since, len(lifts))), past)
    return experiment_report(counts, own, None, None, history, START + DAY * len(lifts))


def test_an_uplift_that_wears_off_is_noted():
    assert notes([0.3] * 7 + [0.1] * 7 + [0.02] * 7) == [
        "on buy, red's uplift was +30 % in the first third of the time and +2 % in the last: what was new may have worn"
        " off, so expect less than the whole time shows"
    ]


def test_the_headline_of_a_winner_that_wears_off_does_not_say_to_ship_it():
    faded = report([0.3] * 7 + [0.1] * 7 + [0.02] * 7)["headline"]
    assert faded.startswith("Red wins on buy: ")
    assert faded.endswith(" Its effect became smaller with time: read the note before you ship it.")
    assert report([0.2] * 21)["headline"].endswith(" You can ship it.")
    assert report([0.1] * 7 + [0.2] * 7 + [0.4] * 7)["headline"].endswith(" You can ship it.")


def test_one_that_grows_is_noted():
    (note,) = notes([-0.1] * 7 + [0.0] * 7 + [0.2] * 7, precision="bitmap")
    assert "was \N{MINUS SIGN}10 % in the first third of the time and +20 % in the last" in note
    assert "get used to it" in note


@pytest.mark.parametrize(
    ("lifts", "more"),
    [
        ([0.2] * 21, {}),
        ([0.3] * 2 + [0.0] * 2 + [0.0] * 1, {}),
        ([0.3] * 7 + [0.0] * 14, {"per_day": 200}),
        ([0.3] * 7 + [0.0] * 14, {"precision": 1, "per_day": 3_000, "rate": 0.02}),
        ([0.3] * 7 + [0.0] * 14, {"own": ExperimentSettings(baseline="blue", per_visitor=frozenset({"buy"}))}),
    ],
    ids=["steady", "5 days", "few", "counting error", "repeated"],
)
def test_nothing_is_noted_of_what_stays_the_same_or_cannot_be_told(lifts, more):
    assert notes(lifts, **more) == []


def test_an_experiment_older_than_its_history_is_judged_since_then():
    assert notes([0.9] * 7 + [0.2] * 21, since=7) == []
    assert len(notes([0.9] * 7 + [0.2] * 14)) == 1


def test_a_split_that_is_wrong_silences_it():
    own = ExperimentSettings(weights={"red": 1, "blue": 2}, baseline="blue")
    assert notes([0.3] * 7 + [0.1] * 7 + [0.02] * 7, own=own) == []


def test_a_constant_uplift_is_hardly_ever_noted():
    random = numpy.random.default_rng(21)
    assert sum(bool(notes([0.1] * 21, random=random)) for _ in range(150)) == 0
