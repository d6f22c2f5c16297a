"""The snippet that adds an experiment to a page, as HTML or as an ES module: an adapter with the track URL, variants
and goals."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from html import escape
from itertools import zip_longest
from string import Template
from textwrap import indent

from .errors import BadRequest
from .events import DEFAULT_NAMESPACE, PARTICIPATE, read_batch

ALEPHBET_URL = "https://cdn.jsdelivr.net/npm/alephbet@0.27.0/dist/alephbet.min.js"
ALEPHBET_INTEGRITY = "sha384-4VEL32ya6Zl4KzeC363t/ySCI+riTrRthoaev9aFmg7i5aF8/44TAI0fCz7Vvzha"

EXPERIMENT, VARIANTS, GOALS = "button color", ("blue", "red"), ("clicked",)
"""The example in a snippet for which no names are given."""

SCRIPT = """\
$script
<script>
$body
</script>
"""
MODULE = """\
// npm install alephbet@0.27.0
import { AlephbetAdapter, Experiment, Goal } from "alephbet";

$body
"""
BODY = """\
// Keeps events that could not be sent, and sends them again on the next page.
$const adapter = new $AlephBet.AlephbetAdapter($track_url, $namespace);

$const experiment = new $AlephBet.Experiment({
  name: $experiment,
  tracking_adapter: adapter,
  variants: {
$variants
  }
});

$goals"""
PROTO = {"__proto__": '["__proto__"]'}  # sets the prototype of an object literal, unless in brackets
VARIANT = "    {name}: {{{weight}activate: function () {{ /* show this variant */ }}}}"
GOAL = """\
$const $variable = new $AlephBet.Goal($name);
experiment.add_goal($variable);
// $when: $variable.complete();"""

MOST_WEIGHT = 1_000_000


class InvalidSnippet(BadRequest):
    """No page could use this snippet. `problems` lists everything that is wrong with it."""


@dataclass(frozen=True, slots=True)
class Names:
    """What an experiment is about. `weights` are by variant, none for equal shares; the goals in `per_visitor` count
    every time they are reached. Any text is safe in a snippet; `check` finds what makes no sense."""

    namespace: str = DEFAULT_NAMESPACE
    experiment: str = EXPERIMENT
    variants: Sequence[str] = VARIANTS
    goals: Sequence[str] = GOALS
    weights: Sequence[str] = ()
    per_visitor: Collection[str] = ()

    @classmethod
    def read(cls, params: Mapping[str, object], known: Sequence[str] = ()) -> Names:
        """From the parameters of a request, in which lists are separated by line breaks, or else by commas. What is
        missing is that of the example. Raises InvalidSnippet, with what is `known` to be wrong already."""
        given = {field.name: str(params[field.name]) for field in fields(cls) if params.get(field.name) is not None}
        given["namespace"] = given.get("namespace") or DEFAULT_NAMESPACE
        lists = {name: _listed(text) for name, text in given.items() if name not in ("namespace", "experiment")}
        found = cls(**{**given, **lists})  # type: ignore[arg-type]
        found.check(known)
        return found

    def check(self, known: Sequence[str] = ()) -> None:
        """Raises InvalidSnippet unless `track` would accept these names, or if problems are `known` already."""
        shared = {"namespace": self.namespace, "experiment": self.experiment, "uuid": "-"}
        pairs = zip_longest(self.variants, self.goals, fillvalue="-")
        refused = read_batch({**shared, "variant": variant, "event": goal} for variant, goal in pairs).refused
        found = dict.fromkeys(problem for problems in refused.values() for problem in problems)
        problems = [*known, *(problem.replace("event ", "goal ") for problem in found)]
        if len(set(self.variants)) < max(len(self.variants), 2):
            problems.append("variants must be at least two different names, separated by commas")
        if len(set(self.goals)) < max(len(self.goals), 1):
            problems.append("goals must be at least one name, and all different")
        if PARTICIPATE in self.goals:
            problems.append(f"{PARTICIPATE} cannot be a goal: it is the event of entering the experiment")
        if unknown := sorted(set(self.per_visitor) - set(self.goals)):
            problems.append(f"per_visitor must name goals, and {', '.join(unknown)} is none")
        if self.weights and len(self.weights) != len(self.variants):
            problems.append(f"weights must be as many as variants: {len(self.variants)}, not {len(self.weights)}")
        # Alephbet draws a whole number, so that of 0.5 and 0.5 the second variant would get all visitors.
        if not all(re.fullmatch("[0-9]{1,7}", one) and 0 < int(one) <= MOST_WEIGHT for one in self.weights):
            problems.append(f"weights must be whole numbers from 1 to {MOST_WEIGHT:,}, such as 9,1")
        if problems:
            raise InvalidSnippet(problems)


def snippet(track_url: str, names: Names | None = None) -> str:
    """The HTML to paste into a page."""
    body = _body(track_url, names or Names(), "var", "AlephBet.")
    return Template(SCRIPT).substitute(script=alephbet_script(), body=indent(body, "  "))


def module(track_url: str, names: Names) -> str:
    """The same as an ES module, for a site with a build step; it exports its goals."""
    return Template(MODULE).substitute(body=_body(track_url, names, "const", ""))


def _listed(text: str) -> list[str]:
    """The names in a text, separated by line breaks or, if it has none, by commas."""
    names = text.strip("\n").split("\n") if "\n" in text else text.split(",")
    return [name.strip() for name in names] if text.strip() else []


def _body(track_url: str, names: Names, const: str, prefix: str) -> str:
    weights = [f"weight: {int(weight)}, " for weight in names.weights] or [""] * len(names.variants)
    goals = []
    for variable, name in zip(goal_variables(names.goals), names.goals):
        is_repeated = name in names.per_visitor
        goals.append(
            Template(GOAL.replace("$AlephBet.", prefix)).substitute(
                const=const if prefix else f"export {const}",
                variable=variable,
                name=javascript_text(name) + (", {unique: false}" if is_repeated else ""),
                when="Each time a visitor reaches this goal" if is_repeated else "When the visitor reaches this goal",
            )
        )
    return Template(BODY.replace("$AlephBet.", prefix)).substitute(
        const=const,
        track_url=javascript_text(track_url),
        namespace=javascript_text(names.namespace),
        experiment=javascript_text(names.experiment),
        variants=",\n".join(
            VARIANT.format(name=PROTO.get(name) or javascript_text(name), weight=weight)
            for name, weight in zip(names.variants, weights)
        ),
        goals="\n\n".join(goals),
    )


def goal_variables(goals: Sequence[str]) -> list[str]:
    """A JavaScript variable for each goal. The prefix keeps clear of keywords, and of globals such as `location`."""
    variables: list[str] = []
    for number, name in enumerate(goals, 1):
        words = "".join(word[0].upper() + word[1:] for word in re.findall("[A-Za-z0-9]+", name))
        variable = f"goal{words or number}"
        variables.append(f"{variable}_{number}" if variable in variables else variable)
    return variables


def alephbet_script(source: str | None = None) -> str:
    """The script element that loads Alephbet: from `source`, or from a public CDN with its checksum."""
    if source:
        return f'<script src="{escape(source)}"></script>'
    return f'<script src="{ALEPHBET_URL}"\n  integrity="{ALEPHBET_INTEGRITY}" crossorigin="anonymous"></script>'


def javascript_text(text: str) -> str:
    """A JavaScript string literal that is safe inside a script element."""
    return json.dumps(text).replace("<", "\\u003c")
