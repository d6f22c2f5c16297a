"""Experiments to look at: made up, but counted by the real code, and the same every time."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import redis

from gimel import config, connection, counters
from gimel.events import DEFAULT_NAMESPACE, PARTICIPATE, Event

SEED = 20261123
BATCH = 4000
"""Events counted in one round trip: visitors of several hundred pages at a time."""


@dataclass(frozen=True)
class Arm:
    """A variant: its visitors, and by goal the probability that one of them reaches it, or how often each does."""

    visitors: int
    goals: Mapping[str, float]


@dataclass(frozen=True)
class Story:
    """An experiment with something to see in it."""

    experiment: str
    arms: Mapping[str, Arm]
    settings: Mapping[str, object] = field(default_factory=dict)
    namespace: str = DEFAULT_NAMESPACE


STORIES = (
    # A clear winner.
    Story(
        "checkout: one page or three",
        {
            "three pages": Arm(11_870, {"order placed": 0.061, "address entered": 0.173}),
            "one page": Arm(12_014, {"order placed": 0.081, "address entered": 0.188}),
        },
        {"baseline": "three pages"},
    ),
    # No difference, for certain enough; counted with the precision of Gimel 1.x, which is felt.
    Story(
        "button color",
        {
            "blue": Arm(48_430, {"signed up": 0.31, "confirmed e-mail": 0.222}),
            "green": Arm(48_552, {"signed up": 0.311, "confirmed e-mail": 0.221}),
        },
        {"precision": 1},
    ),
    # Still collecting.
    Story(
        "free shipping banner",
        {"hidden": Arm(1_214, {"order placed": 0.058}), "shown": Arm(1_187, {"order placed": 0.067})},
    ),
    # A broken split: the redirect loses visitors.
    Story(
        "new landing page",
        {"current page": Arm(9_820, {"signed up": 0.112}), "redirect": Arm(8_730, {"signed up": 0.127})},
    ),
    # A weighted one: a tenth of the visitors try the new search.
    Story(
        "search engine",
        {
            "current": Arm(17_930, {"found something": 0.62, "order placed": 0.049}),
            "semantic": Arm(2_041, {"found something": 0.655, "order placed": 0.051}),
        },
        {"baseline": "current", "weights": {"current": 9, "semantic": 1}},
    ),
    # A goal that a visitor reaches more than once.
    Story(
        "article layout",
        {
            "one column": Arm(3_310, {"page view": 2.4, "newsletter": 0.034}),
            "two columns": Arm(3_285, {"page view": 2.9, "newsletter": 0.031}),
        },
        {"per_visitor": ["page view"]},
    ),
    # Several variants, one of them better and one worse.
    Story(
        "price display",
        {
            "monthly": Arm(6_240, {"plan chosen": 0.094}),
            "per day": Arm(6_198, {"plan chosen": 0.101}),
            "with discount": Arm(6_305, {"plan chosen": 0.127}),
            "yearly": Arm(6_221, {"plan chosen": 0.068}),
        },
        {"baseline": "monthly"},
    ),
    # A name in another script.
    Story(
        "צבע הכפתור",
        {"כחול": Arm(2_950, {"הרשמה": 0.148}), "ירוק": Arm(3_020, {"הרשמה": 0.163})},
    ),
    # Barely begun: nobody has reached a goal.
    Story("welcome e-mail subject", {"question": Arm(14, {}), "statement": Arm(11, {})}),
    # Another namespace.
    Story(
        "onboarding tour",
        {"skipped": Arm(2_604, {"first project": 0.334}), "three steps": Arm(2_587, {"first project": 0.401})},
        namespace="mobile",
    ),
)


def configured(redis_url: str, folder: Path) -> config.Config:
    """The configuration of these experiments, baselines and weights included, read from a file made in `folder`."""
    experiments = {story.experiment: story.settings for story in STORIES if story.settings}
    path = folder / "config.json"
    settings = {"redis": {"url": redis_url}, "precision": 16, "experiments": experiments}
    path.write_text(json.dumps(settings), encoding="utf-8")
    return config.load(path, environ={})


def fill(client: redis.Redis, progress: Callable[[int, int], object] = lambda done, total: None) -> None:
    """Count the events of all stories; `progress` is told how many of how many visitors have come."""
    precision_of = connection.settings().precision_of
    total = sum(arm.visitors for story in STORIES for arm in story.arms.values())
    done = 0
    for story in STORIES:
        batch: list[Event] = []
        for events in _visits(story):
            batch += events
            done += 1
            if len(batch) >= BATCH:
                counters.record(client, batch, precision_of)
                batch = []
                progress(done, total)
        counters.record(client, batch, precision_of)
        progress(done, total)


def _visits(story: Story) -> Iterator[list[Event]]:
    """Each visitor's events."""
    chance = random.Random(f"{SEED} {story.experiment}")

    def event(variant: str, goal: str) -> Event:
        return Event(story.namespace, story.experiment, goal, variant, f"{chance.getrandbits(128):032x}")

    for variant, arm in story.arms.items():
        for _ in range(arm.visitors):
            goals = [goal for goal, often in arm.goals.items() for _ in range(_times(chance, often))]
            yield [event(variant, PARTICIPATE), *(event(variant, goal) for goal in goals)]


def _times(chance: random.Random, often: float) -> int:
    """Once with the probability `often`; where that is above 1, from 0 to twice as often, `often` on average."""
    if often <= 1:
        return int(chance.random() < often)
    return sum(chance.random() < often / (2 * round(often)) for _ in range(2 * round(often)))
