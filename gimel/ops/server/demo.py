"""Sample experiments: generated, the same every time, and counted by the real code as if their visitors had come over
the last weeks."""

from __future__ import annotations

import json
import random
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, islice
from pathlib import Path

from gimel import config, connection, counters, histories, lives, reports, snapshots
from gimel.analysis.report import experiment_report
from gimel.counters import ask_each
from gimel.events import DEFAULT_NAMESPACE, PARTICIPATE, Event
from gimel.histories import DAY, HOUR, History
from gimel.keyspace import history_key
from gimel.round_trip import Client

Hours = defaultdict[str, defaultdict[str, list[int]]]
"""In which hour each event of a goal and variant came, in order."""

SEED = 20261123
BATCH = 2000
"""Visitors per round trip."""

SHOWN_DAYS = 60
"""The first snapshot was taken so many days ago."""

STARTS = 10 * HOUR
"""Experiments begin at this time of the day (UTC), except for the one that began a few hours ago."""

BREAKS = 11 * HOUR
"""At this time of a Tuesday the redirect stops working."""

BY_HOUR = (2, 1, 1, 1, 1, 2, 3, 5, 7, 8, 8, 8, 8, 8, 8, 8, 8, 7, 7, 8, 9, 8, 6, 4)
WEEKEND = 0.6
"""How many visitors come, in proportion: by the hour of the day, and on a day of the weekend instead of a weekday."""


def steady(_: int) -> float:
    """As many visitors on each weekday as on any other."""
    return 1


@dataclass(frozen=True)
class Experiment:
    """An experiment that shows one feature of the report.

    `visitors` counts them by variant; `rates` says, for each goal, how often a visitor of each variant reaches it.
    It began `days` days ago. `pace` is how many visitors come on a day so many days back, in proportion; today is 0.
    By `novelty`, the rates of the last variant are higher for its first quarter of visitors, and a little lower for the
    others. `breaks` is the variant that loses visitors from a Tuesday on, until as many are missing as `visitors` says.
    `said` is what its team wrote on the page.
    """

    name: str
    visitors: Mapping[str, int]
    rates: Mapping[str, Sequence[float]]
    settings: Mapping[str, object] = field(default_factory=dict)
    namespace: str = DEFAULT_NAMESPACE
    days: int = 20
    pace: Callable[[int], float] = steady
    novelty: float = 0
    breaks: str = ""
    said: Mapping[str, str] = field(default_factory=dict)

    def began(self, now: int) -> int:
        """In which hour the first visitors came."""
        if self.breaks:
            return tuesday(now) - 4 * DAY + STARTS
        return now // DAY * DAY - self.days * DAY + STARTS if self.days else now // HOUR * HOUR - 3 * HOUR

    def moments(self, now: int) -> list[int]:
        """When snapshots were taken: at midnight (UTC), on the last two days each hour, and when something happened."""
        midnight, began = now // DAY * DAY - SHOWN_DAYS * DAY, self.began(now)
        days, hours = range(midnight, now, DAY), range((now - 2 * DAY) // HOUR * HOUR, now, HOUR)
        broken = range(tuesday(now) + BREAKS - 2 * HOUR, tuesday(now) + DAY, HOUR) if self.breaks else ()
        return sorted(one for one in {*days, *hours, *broken, began, began + HOUR} if midnight <= one < now)


EXPERIMENTS = (
    # A clear winner, which held.
    Experiment(
        "checkout: one page or three",
        {"three pages": 11_870, "one page": 12_014},
        {"order placed": (0.061, 0.081), "address entered": (0.173, 0.188)},
        {"baseline": "three pages"},
        days=38,
        said={
            "hypothesis": "On one page, people see the price of delivery before they type their address: fewer leave.",
            "owner": "Sara, checkout team",
            "link": "https://example.com/tickets/CHECK-214",
        },
    ),
    # No difference; counted with the precision of Gimel 1.x, so the counting error matters.
    Experiment(
        "button color",
        {"blue": 48_430, "green": 48_552},
        {"signed up": (0.31, 0.311), "confirmed e-mail": (0.222, 0.221)},
        {"precision": 1},
        days=52,
    ),
    # Still collecting.
    Experiment("free shipping banner", {"hidden": 1_214, "shown": 1_187}, {"order placed": (0.058, 0.067)}, days=11),
    # Sample ratio mismatch: the redirect did not work for a day or so, which began on a Tuesday.
    Experiment(
        "new landing page",
        {"current page": 9_820, "redirect": 8_730},
        {"signed up": (0.112, 0.127)},
        breaks="redirect",
    ),
    # Weights: a tenth of the visitors get the new search. Nine days ago, visitors became fewer.
    Experiment(
        "search engine",
        {"current": 17_930, "semantic": 2_041},
        {"found something": (0.62, 0.648), "order placed": (0.049, 0.051)},
        {"baseline": "current", "weights": {"current": 9, "semantic": 1}},
        days=31,
        pace=lambda back: 0.4 if back <= 9 else 1,
    ),
    # A goal that visitors reach more than once. No events have come for days.
    Experiment(
        "article layout",
        {"one column": 3_310, "two columns": 3_285},
        {"page view": (2.4, 2.9), "newsletter": (0.034, 0.031)},
        {"per_visitor": ["page view"]},
        days=24,
        pace=lambda back: back > 4,
    ),
    # Several variants, one better and one worse.
    Experiment(
        "price display",
        {"monthly": 6_240, "per day": 6_198, "with discount": 6_305, "yearly": 6_221},
        {"plan chosen": (0.094, 0.101, 0.127, 0.068)},
        {"baseline": "monthly"},
        days=27,
    ),
    # Planned, and on its way: visitors are still to come.
    Experiment(
        "sign-up form",
        {"one step": 4_210, "two steps": 4_168},
        {"signed up": (0.118, 0.126)},
        {"baseline": "two steps", "planned_visitors": 7_000},
        days=16,
    ),
    # Planned, and ended some days ago: the snapshot of then recorded the counts that decide.
    Experiment(
        "free trial",
        {"7 days": 6_083, "14 days": 6_021},
        {"trial started": (0.084, 0.105), "plan chosen": (0.021, 0.022)},
        {"baseline": "7 days", "planned_visitors": 5_000, "goal": "trial started", "smallest_change": 0.15},
        days=34,
    ),
    # The goal that decides got better, and a guardrail got worse.
    Experiment(
        "delivery date",
        {"shown": 9_140, "hidden": 9_206},
        {"order placed": (0.096, 0.078), "support ticket": (0.047, 0.029), "order returned": (0.021, 0.02)},
        {
            "baseline": "hidden",
            "goal": "order placed",
            "guardrails": {"support ticket": 0.02, "order returned": 0.1},
        },
        days=18,
    ),
    # Neither decided nor without a difference: it leans towards one variant, whose novelty has faded.
    Experiment(
        "product photos",
        {"drawing": 5_120, "photo": 5_074},
        {"added to cart": (0.181, 0.2)},
        {"baseline": "drawing", "smallest_change": 0.25},
        days=29,
        novelty=0.4,
    ),
    # Names in another script. It is older than its history.
    Experiment("צבע הכפתור", {"כחול": 2_950, "ירוק": 3_020}, {"הרשמה": (0.148, 0.163)}, days=75),
    # Just started: nobody has reached a goal.
    Experiment("welcome e-mail subject", {"question": 14, "statement": 11}, {}, days=0),
    # Another namespace, and decided within a week.
    Experiment(
        "onboarding tour",
        {"skipped": 2_604, "three steps": 2_587},
        {"first project": (0.334, 0.401)},
        namespace="mobile",
        days=5,
    ),
)


def configuration(redis_url: str, folder: Path) -> config.Config:
    """The configuration for these experiments, loaded from a file written to `folder`."""
    experiments = {each.name: each.settings for each in EXPERIMENTS if each.settings}
    path = folder / "config.json"
    settings = {"redis": {"url": redis_url}, "precision": 16, "experiments": experiments}
    path.write_text(json.dumps(settings), encoding="utf-8")
    return config.load(path, environ={})


def fill(client: Client, progress: Callable[[int, int], object]) -> None:
    """Count all events of these experiments, and write the histories that they would have by now.

    `progress` is called with the number of visitors done and in total.
    """
    settings, now = connection.settings(), histories.now()
    total = sum(sum(each.visitors.values()) for each in EXPERIMENTS)
    hours: list[Hours] = [defaultdict(lambda: defaultdict(list)) for _ in EXPERIMENTS]
    visits = (events for experiment, come in zip(EXPERIMENTS, hours) for events in _visits(experiment, now, come))
    for done in range(0, total, BATCH):
        batch = islice(visits, BATCH)
        counters.record(client, (event for events in batch for event in events), settings.precision_of)
        progress(min(done + BATCH, total), total)
    for experiment, come in zip(EXPERIMENTS, hours):
        counts = counters.count(client, experiment.namespace, [experiment.name])[experiment.name]
        history = _history(experiment, counts, come, now)
        if history:
            ask_each(client, [("SET", history_key(experiment.namespace, experiment.name), history.encode())])
        if experiment.said:
            lives.change(client, experiment.namespace, experiment.name, experiment.said)


def _history(experiment: Experiment, counts: counters.Counts, hours: Hours, now: int) -> History | None:
    """What snapshots would have appended, had the counters always been as far from the truth as they are now."""
    own = connection.settings().experiment(experiment.name)
    history = ended = last = None
    for moment in experiment.moments(now):
        then = {
            goal: {
                variant: replace(count, value=round(count.value * bisect_left(come, moment) / len(come)))
                for variant, count in found.items()
                if (come := hours[goal][variant])[0] < moment
            }
            for goal, found in counts.items()
        }
        if any(then.values()):
            history = histories.append(history, then, moment, last)
            if moment % DAY == 0 or moment < now - 2 * DAY:  # not for each hour of the last days: reports take longest
                ended = reports.end_of(experiment.namespace, experiment.name, own, then, ended, moment)
                found = experiment_report(then, own, None, ended, history, moment)
                history = histories.changed(history, snapshots.states(found, moment))
        last = moment
    return history


def tuesday(now: int) -> int:
    """The first moment of the last Tuesday (UTC) that is at least three days ago."""
    days = now // DAY - 3
    return (days - (days + 2) % 7) * DAY  # the first day of 1970 was a Thursday


def _visits(experiment: Experiment, now: int, hours: Hours) -> Iterator[list[Event]]:
    """The events of one visitor after another, of each variant in the order of time. Notes their `hours`."""
    chance, times = (random.Random(f"{SEED} {experiment.name}{part}") for part in ("", " times"))

    def event(hour: int, variant: str, goal: str) -> Event:
        hours[goal][variant].append(hour)
        return Event(experiment.namespace, experiment.name, goal, variant, f"{chance.getrandbits(128):032x}")

    every = range(experiment.began(now), now, HOUR)
    paces = [_pace(hour, now) * experiment.pace(now // DAY - hour // DAY) for hour in every]
    for position, (variant, visitors) in enumerate(experiment.visitors.items()):
        if variant == experiment.breaks:
            paces = _broken(paces, every.index(tuesday(now) + BREAKS), visitors / max(experiment.visitors.values()))
        rates = [(goal, found[position]) for goal, found in experiment.rates.items()]
        novelty = experiment.novelty if position == len(experiment.visitors) - 1 else 0
        for number, hour in enumerate(sorted(times.choices(every, paces, k=visitors))):
            lift = 1 + (novelty if 4 * number < visitors else -novelty / 3)
            reached = [goal for goal, rate in rates for _ in range(_times(chance, lift * rate))]
            yield [event(hour, variant, goal) for goal in (PARTICIPATE, *reached)]


def _pace(hour: int, now: int) -> float:
    """How many visitors come in an hour, in proportion; of the present hour, so far."""
    is_weekend = (hour // DAY + 3) % 7 >= 5
    return BY_HOUR[hour % DAY // HOUR] * (WEEKEND if is_weekend else 1) * min(1, (now - hour) / HOUR)


def _broken(paces: Sequence[float], start: int, share: float) -> list[float]:
    """The paces without the hours from `start` on, as many as leave this share of the visitors."""
    lost = accumulate(paces[start:])
    hours = sum(found <= (1 - share) * sum(paces) for found in lost)
    return [*paces[:start], *(0 for _ in range(hours)), *paces[start + hours :]]


def _times(chance: random.Random, rate: float) -> int:
    """How often a visitor reaches a goal: at most once if `rate` is a probability, else `rate` times on average."""
    if rate <= 1:
        return int(chance.random() < rate)
    return sum(chance.random() < rate / (2 * round(rate)) for _ in range(2 * round(rate)))
