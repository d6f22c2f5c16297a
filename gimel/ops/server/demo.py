"""Sample experiments: generated, the same every time, and counted by the real code."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from gimel import config, connection, counters
from gimel.events import DEFAULT_NAMESPACE, PARTICIPATE, Event
from gimel.round_trip import Client

SEED = 20261123
BATCH = 2000
"""Visitors per round trip."""


@dataclass(frozen=True)
class Experiment:
    """An experiment that shows one feature of the report.

    `visitors` counts them by variant; `rates` says, for each goal, how often a visitor of each variant reaches it.
    """

    name: str
    visitors: Mapping[str, int]
    rates: Mapping[str, Sequence[float]]
    settings: Mapping[str, object] = field(default_factory=dict)
    namespace: str = DEFAULT_NAMESPACE


EXPERIMENTS = (
    # A clear winner.
    Experiment(
        "checkout: one page or three",
        {"three pages": 11_870, "one page": 12_014},
        {"order placed": (0.061, 0.081), "address entered": (0.173, 0.188)},
        {"baseline": "three pages"},
    ),
    # No difference; counted with the precision of Gimel 1.x, so the counting error matters.
    Experiment(
        "button color",
        {"blue": 48_430, "green": 48_552},
        {"signed up": (0.31, 0.311), "confirmed e-mail": (0.222, 0.221)},
        {"precision": 1},
    ),
    # Still collecting.
    Experiment("free shipping banner", {"hidden": 1_214, "shown": 1_187}, {"order placed": (0.058, 0.067)}),
    # Sample ratio mismatch: the redirect loses visitors.
    Experiment("new landing page", {"current page": 9_820, "redirect": 8_730}, {"signed up": (0.112, 0.127)}),
    # Weights: a tenth of the visitors get the new search.
    Experiment(
        "search engine",
        {"current": 17_930, "semantic": 2_041},
        {"found something": (0.62, 0.655), "order placed": (0.049, 0.051)},
        {"baseline": "current", "weights": {"current": 9, "semantic": 1}},
    ),
    # A goal that visitors reach more than once.
    Experiment(
        "article layout",
        {"one column": 3_310, "two columns": 3_285},
        {"page view": (2.4, 2.9), "newsletter": (0.034, 0.031)},
        {"per_visitor": ["page view"]},
    ),
    # Several variants, one better and one worse.
    Experiment(
        "price display",
        {"monthly": 6_240, "per day": 6_198, "with discount": 6_305, "yearly": 6_221},
        {"plan chosen": (0.094, 0.101, 0.127, 0.068)},
        {"baseline": "monthly"},
    ),
    # Planned, and on its way: visitors are still to come.
    Experiment(
        "sign-up form",
        {"one step": 4_210, "two steps": 4_168},
        {"signed up": (0.118, 0.126)},
        {"baseline": "two steps", "planned_visitors": 7_000},
    ),
    # Planned, and at its end: the first report records the counts that decide.
    Experiment(
        "free trial",
        {"7 days": 6_083, "14 days": 6_021},
        {"trial started": (0.084, 0.105), "plan chosen": (0.021, 0.022)},
        {"baseline": "7 days", "planned_visitors": 6_000, "goal": "trial started", "smallest_change": 0.15},
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
    ),
    # Neither decided nor without a difference: it leans towards one variant.
    Experiment(
        "product photos",
        {"drawing": 5_120, "photo": 5_074},
        {"added to cart": (0.181, 0.2)},
        {"baseline": "drawing", "smallest_change": 0.25},
    ),
    # Names in another script.
    Experiment("צבע הכפתור", {"כחול": 2_950, "ירוק": 3_020}, {"הרשמה": (0.148, 0.163)}),
    # Just started: nobody has reached a goal.
    Experiment("welcome e-mail subject", {"question": 14, "statement": 11}, {}),
    # Another namespace.
    Experiment(
        "onboarding tour",
        {"skipped": 2_604, "three steps": 2_587},
        {"first project": (0.334, 0.401)},
        namespace="mobile",
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
    """Count all events of these experiments, calling `progress` with the number of visitors done and in total."""
    precision_of = connection.settings().precision_of
    total = sum(sum(each.visitors.values()) for each in EXPERIMENTS)
    visits = (events for experiment in EXPERIMENTS for events in _visits(experiment))
    for done in range(0, total, BATCH):
        batch = islice(visits, BATCH)
        counters.record(client, (event for events in batch for event in events), precision_of)
        progress(min(done + BATCH, total), total)


def _visits(experiment: Experiment) -> Iterator[list[Event]]:
    """The events of one visitor after another."""
    chance = random.Random(f"{SEED} {experiment.name}")

    def event(variant: str, goal: str) -> Event:
        return Event(experiment.namespace, experiment.name, goal, variant, f"{chance.getrandbits(128):032x}")

    for position, (variant, visitors) in enumerate(experiment.visitors.items()):
        for _ in range(visitors):
            reached = [goal for goal, rates in experiment.rates.items() for _ in range(_times(chance, rates[position]))]
            yield [event(variant, PARTICIPATE), *(event(variant, goal) for goal in reached)]


def _times(chance: random.Random, rate: float) -> int:
    """How often a visitor reaches a goal: at most once if `rate` is a probability, else `rate` times on average."""
    if rate <= 1:
        return int(chance.random() < rate)
    return sum(chance.random() < rate / (2 * round(rate)) for _ in range(2 * round(rate)))
