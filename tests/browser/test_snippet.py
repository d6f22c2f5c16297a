"""`gimel snippet` in a real Chromium, with the real Alephbet."""

from __future__ import annotations

import pytest

from gimel import snippet
from tests.calls import taking_part
from tests.commands.test_main import run
from tests.parts import alephbet_file, wait_for

NAMES = ('it\'s "new"', "</script><!--", "a-b c", "צבע 🎯", "__proto__", "class", "\\${x}`\u2028*/")


@pytest.mark.parametrize("name", NAMES)
def test_a_snippet_counts_names_of_any_kind(browser, server, name):
    variants = [other for other in NAMES if other != name]
    names = ("--experiment", name, "--variants", ",".join(variants), "--goals", ",".join(NAMES))
    html = run("snippet", "--url", f"{server.url}/track", *names, "--namespace", "shop").stdout
    page = browser.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    script = {"path": alephbet_file(), "headers": {"Access-Control-Allow-Origin": "*"}}
    page.route(snippet.ALEPHBET_URL, lambda route: route.fulfill(**script))
    page.route(f"{server.url}/shop", lambda route: route.fulfill(body=f"<body>{html}", content_type="text/html"))
    page.goto(f"{server.url}/shop")
    page.evaluate("; ".join(f"{variable}.complete()" for variable in snippet.goal_variables(NAMES)))

    def item() -> dict:
        items = page.request.get(f"{server.url}/experiments?namespace=shop").json()[1:]
        return items[0] if items and len(items[0]["goals"]) == len(NAMES) else {}

    found = wait_for(item, "every goal")
    page.close()
    ((variant, count),) = taking_part(found).items()
    assert (found["experiment"], variant in variants, count) == (name, True, 1)
    assert {goal["goal"] for goal in found["goals"]} == set(NAMES)
    assert errors == []
