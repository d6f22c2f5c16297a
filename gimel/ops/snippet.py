"""What a page needs to take part: Alephbet, an adapter that knows the track URL, an experiment and a goal."""

from __future__ import annotations

import json
from html import escape
from string import Template

ALEPHBET_URL = "https://cdn.jsdelivr.net/npm/alephbet@0.27.0/dist/alephbet.min.js"
ALEPHBET_INTEGRITY = "sha384-4VEL32ya6Zl4KzeC363t/ySCI+riTrRthoaev9aFmg7i5aF8/44TAI0fCz7Vvzha"

SNIPPET = Template("""\
$script
<script>
  // Keeps what could not be sent, and sends it again on the next page.
  var adapter = new AlephBet.AlephbetAdapter($track_url, $namespace);

  var experiment = new AlephBet.Experiment({
    name: "button color",
    tracking_adapter: adapter,
    variants: {
      blue: {activate: function () { /* show the blue button */ }},
      red: {activate: function () { /* show the red button */ }}
    }
  });

  var clicked = new AlephBet.Goal("clicked");
  experiment.add_goal(clicked);
  // and where the visitor clicks: clicked.complete();
</script>
""")


def alephbet_script(source: str | None = None) -> str:
    """The script element that loads Alephbet: from `source`, or from a public CDN with its checksum."""
    if source:
        return f'<script src="{escape(source)}"></script>'
    return f'<script src="{ALEPHBET_URL}"\n  integrity="{ALEPHBET_INTEGRITY}" crossorigin="anonymous"></script>'


def javascript_text(text: str) -> str:
    """A text as a JavaScript literal that may stand inside a script element."""
    return json.dumps(text).replace("<", "\\u003c")


def snippet(track_url: str, namespace: str = "alephbet") -> str:
    """The HTML to paste into a page."""
    return SNIPPET.substitute(
        script=alephbet_script(), track_url=javascript_text(track_url), namespace=javascript_text(namespace)
    )
