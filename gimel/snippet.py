"""The HTML that adds an experiment to a page: Alephbet, an adapter with the track URL, variants and goals."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import escape
from itertools import zip_longest
from string import Template

from .errors import BadRequest
from .events import DEFAULT_NAMESPACE, PARTICIPATE, read_batch

ALEPHBET_URL = "https://cdn.jsdelivr.net/npm/alephbet@0.27.0/dist/alephbet.min.js"
ALEPHBET_INTEGRITY = "sha384-4VEL32ya6Zl4KzeC363t/ySCI+riTrRthoaev9aFmg7i5aF8/44TAI0fCz7Vvzha"

EXPERIMENT, VARIANTS, GOALS = "button color", ("blue", "red"), ("clicked",)
"""The example in a snippet for which no names are given."""

SNIPPET = Template("""\
$script
<script>
  // Keeps events that could not be sent, and sends them again on the next page.
  var adapter = new AlephBet.AlephbetAdapter($track_url, $namespace);

  var experiment = new AlephBet.Experiment({
    name: $experiment,
    tracking_adapter: adapter,
    variants: {
$variants
    }
  });

$goals
</script>
""")
PROTO = {"__proto__": '["__proto__"]'}  # sets the prototype of an object literal, unless in brackets
VARIANT = "      {name}: {{activate: function () {{ /* show this variant */ }}}}"
GOAL = """\
  var {variable} = new AlephBet.Goal({name});
  experiment.add_goal({variable});
  // When the visitor reaches this goal: {variable}.complete();"""


class InvalidSnippet(BadRequest):
    """No page could use this snippet. `problems` lists everything that is wrong with it."""


def snippet(
    track_url: str,
    namespace: str = DEFAULT_NAMESPACE,
    experiment: str = EXPERIMENT,
    variants: Sequence[str] = VARIANTS,
    goals: Sequence[str] = GOALS,
) -> str:
    """The HTML to paste into a page. Any text is safe in it; `check` finds names that make no sense."""
    named_goals = zip(goal_variables(goals), map(javascript_text, goals))
    return SNIPPET.substitute(
        script=alephbet_script(),
        track_url=javascript_text(track_url),
        namespace=javascript_text(namespace),
        experiment=javascript_text(experiment),
        variants=",\n".join(VARIANT.format(name=PROTO.get(name) or javascript_text(name)) for name in variants),
        goals="\n\n".join(GOAL.format(variable=variable, name=name) for variable, name in named_goals),
    )


def check(
    namespace: str, experiment: str, variants: Sequence[str], goals: Sequence[str], *, known: Sequence[str] = ()
) -> None:
    """Raises InvalidSnippet unless `track` would accept these names, or if problems are `known` already."""
    shared = {"namespace": namespace, "experiment": experiment, "uuid": "-"}
    pairs = zip_longest(variants, goals, fillvalue="-")
    refused = read_batch({**shared, "variant": variant, "event": goal} for variant, goal in pairs).refused
    found = dict.fromkeys(problem for problems in refused.values() for problem in problems)
    problems = [*known, *(problem.replace("event ", "goal ") for problem in found)]
    if len(set(variants)) < max(len(variants), 2):
        problems.append("variants must be at least two different names, separated by commas")
    if len(set(goals)) < len(goals):
        problems.append("goals must be different names")
    if PARTICIPATE in goals:
        problems.append(f"{PARTICIPATE} cannot be a goal: it is the event of entering the experiment")
    if problems:
        raise InvalidSnippet(problems)


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
