"""The settings of an experiment: read and checked, from config.json or from a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from .events import PARTICIPATE
from .hyperloglog import PRECISIONS, Bitmap, Precision
from .validation import Section, list_of, positive, text, whole

GUARDRAILS_WANTED = (
    'relative changes from -1 to 1, and not 0, by goal, such as {"support ticket": 0.02} for a goal that must not rise '
    'by more than 2 %, or {"order placed": -0.02} for one that must not fall by more than 2 %'
)

SMALLEST_CHANGE = 1e-9
"""With changes that are much smaller, a report could not calculate."""

IN_CONFIG_ONLY = frozenset({"precision"})
"""Keys that only config.json may set: `track` needs them, and reads no settings from Redis."""


@dataclass(frozen=True)
class ExperimentSettings:
    """Settings of one experiment: its control, its variants' shares of visitors, its precision, the goals that a
    visitor can reach more than once, and the only variants and goals to count (None: all).

    `planned_visitors` is the size at which it ends, in each variant, or with weights in all. `smallest_change` is the
    relative change of a rate that matters. `goal` is the one that decides. `guardrails` are goals that must not get
    worse, each with the largest change that is allowed: above 0 it must not rise further, below 0 not fall further.
    `given` is what was read, as it was, by key.
    """

    baseline: str | None = None
    weights: Mapping[str, float] | None = None
    precision: Precision | None = None
    per_visitor: frozenset[str] = frozenset()
    variants: frozenset[str] | None = None
    goals: frozenset[str] | None = None
    planned_visitors: int | None = None
    smallest_change: float = 0.1
    goal: str | None = None
    guardrails: Mapping[str, float] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


NO_SETTINGS = ExperimentSettings()


def read(raw: Mapping[str, Any], prefix: str, problems: list[str]) -> ExperimentSettings:
    """The settings in this object. Adds to the problems all that is wrong, each with its key after the prefix."""
    section = Section(raw, KEYS, prefix, problems)
    found = ExperimentSettings(
        baseline=section.take("baseline", "the name of the control variant", text),
        weights=section.take("weights", 'numbers above 0 by variant, such as {"blue": 1, "red": 3}', _weights),
        precision=section.take("precision", *PRECISION),
        per_visitor=section.take("per_visitor", 'a list of goals, such as ["page view"]', names_of, frozenset()),
        variants=section.take("variants", 'a list of variants, such as ["blue", "red"]', names_of),
        goals=section.take("goals", 'a list of goals, such as ["clicked"]', names_of),
        planned_visitors=section.take("planned_visitors", "a whole number from 1 to 10^12", whole(1, 10**12)),
        smallest_change=section.take("smallest_change", *_CHANGE, ExperimentSettings.smallest_change),
        goal=section.take("goal", "the name of the goal that decides", text),
        guardrails=section.take("guardrails", GUARDRAILS_WANTED, _guardrails, {}),
        given={key: value for key, value in section.raw.items() if key in KEYS and value is not None},
    )
    problems += [f"{prefix}{problem}" for problem in _contradictions(found)]
    if found.variants is None and found.weights:
        found = replace(found, variants=frozenset(found.weights))
    return found


def merged(stored: Mapping[str, Any], configured: ExperimentSettings) -> tuple[ExperimentSettings, list[str]]:
    """The settings stored in Redis, under those of config.json, which win; and the problems, if both together have
    some: then config.json's alone count."""
    problems: list[str] = []
    both = read({**stored, **configured.given}, "", problems)
    return (configured, problems) if problems else (both, [])


def _contradictions(settings: ExperimentSettings) -> list[str]:
    """What one setting of an experiment says against another."""
    weights, variants = settings.weights, settings.variants
    problems = []
    for key, names in ("weights", weights), ("variants", variants):
        if settings.baseline and names is not None and settings.baseline not in names:
            problems.append(f"{key}: must include the baseline, {settings.baseline}")
    if weights and variants is not None and variants != set(weights):
        differing = ", ".join(sorted(variants ^ set(weights)))
        problems.append(f"variants: must be those of weights, but only one of the two has {differing}")
    judged = {"goal": {settings.goal or ""} - {""}, "guardrails": {*settings.guardrails}}
    for key, goals in {"per_visitor": settings.per_visitor, **judged}.items():
        if settings.goals is not None and goals - settings.goals - {PARTICIPATE}:
            problems.append(f"goals: must include what {key} names: {', '.join(sorted(goals))}")
    for key, goals in judged.items():
        if repeated := sorted(goals & settings.per_visitor):
            problems.append(f"{key}: must not be in per_visitor, whose goals are not tested: {', '.join(repeated)}")
        if PARTICIPATE in goals:
            problems.append(f"{key}: {PARTICIPATE} is not a goal, because every visitor reaches it")
    if settings.goal in settings.guardrails:
        problems.append(f"guardrails: must not include the goal that decides, {settings.goal}")
    return problems


def _precision(value: object) -> Precision | None:
    known: tuple[Precision, ...] = (*PRECISIONS, *get_args(Bitmap))
    return next((one for one in known if one == value and not isinstance(value, (bool, float))), None)


def _weights(value: object) -> dict[str, float] | None:
    if not isinstance(value, dict) or not value:
        return None
    weights = {name: positive(weight) for name, weight in value.items() if not name.startswith("//")}
    return {name: weight for name, weight in weights.items() if weight} if all(weights.values()) else None


def _change(value: object) -> float | None:
    share = positive(value)
    return share if share and SMALLEST_CHANGE <= share <= 1 else None


def _guardrails(value: object) -> dict[str, float] | None:
    if not isinstance(value, dict):
        return None
    changes = {name: change for name, change in value.items() if not name.startswith("//")}
    are_valid = all(type(one) in (int, float) and _change(abs(one)) for one in changes.values())
    return {name: float(change) for name, change in changes.items()} if are_valid else None


def names_of(value: object) -> frozenset[str] | None:
    """The different names in a list."""
    names = list_of(str)(value)
    return None if names is None else frozenset(names)


_CHANGE = ("a relative change from 10^-9 to 1, such as 0.03 for 3 %", _change)
PRECISION = ('1, 4, 16, 64, 256, "bitmap", "bitmap-768" or "exact"', _precision)
KEYS = set(ExperimentSettings.__dataclass_fields__) - {"given"}
EDITABLE = KEYS - IN_CONFIG_ONLY
"""What a request may set."""
