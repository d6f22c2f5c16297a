"""`gimel snippet` in a real Chromium, with the real Alephbet."""

from __future__ import annotations

import pytest

from gimel import snippet
from tests.calls import taking_part
from tests.commands.test_main import run
from tests.parts import alephbet_file, wait_for

NAMES = ('it\'s "new"', "</script><!--", "a-b c", "צבע 🎯", "__proto__", "class", "\\${x}`\u2028*/")


SHIM = """import "{url}/alephbet.js";
export const {{AlephbetAdapter, Experiment, Goal}} = self.AlephBet;"""
"""Stands for a bundler, which takes Alephbet's UMD file for a module with these exports."""


@pytest.fixture
def counted(browser, server):
    """Opens a page with a snippet and reaches goals. Returns the experiment, once so many were counted in all, and the
    page's errors."""

    def after(html: str, reached: int, complete: str) -> tuple[dict, list]:
        page = browser.new_page()
        errors = []
        page.on("pageerror", lambda error: errors.append(error))
        script = {"path": alephbet_file(), "headers": {"Access-Control-Allow-Origin": "*"}}
        page.route(snippet.ALEPHBET_URL, lambda route: route.fulfill(**script))
        page.route(f"{server.url}/alephbet.js", lambda route: route.fulfill(**script))
        shim = {"body": SHIM.format(url=server.url), "content_type": "text/javascript"}
        page.route(f"{server.url}/shim.js", lambda route: route.fulfill(**shim))
        page.route(f"{server.url}/shop", lambda route: route.fulfill(body=f"<body>{html}", content_type="text/html"))
        page.goto(f"{server.url}/shop")
        page.evaluate(complete)

        def item() -> dict:
            items = page.request.get(f"{server.url}/experiments?namespace=shop").json()[1:]
            rows = [row for item in items for goal in item["goals"] for row in goal["results"]]
            return items[0] if sum(row["successes"] for row in rows) == reached else {}

        found = wait_for(item, "every goal")
        page.close()
        return found, errors

    return after


@pytest.mark.parametrize("name", NAMES)
def test_a_snippet_counts_names_of_any_kind(server, counted, name):
    variants = [other for other in NAMES if other != name]
    names = ("--experiment", name, "--variants", ",".join(variants), "--goals", ",".join(NAMES))
    html = run("snippet", "--url", f"{server.url}/track", *names, "--namespace", "shop").stdout
    found, errors = counted(html, len(NAMES), "; ".join(f"{one}.complete()" for one in snippet.goal_variables(NAMES)))
    ((variant, count),) = taking_part(found).items()
    assert (found["experiment"], variant in variants, count) == (name, True, 1)
    assert {goal["goal"] for goal in found["goals"]} == set(NAMES)
    assert errors == []


def test_a_module_with_weights_counts_and_a_goal_per_visitor_counts_each_time(server, counted):
    names = ("--experiment", "weighted", "--variants", "a,b", "--weights", "1000000,1", "--goals", "buy,view")
    own = ("--per-visitor", "view", "--namespace", "shop", "--module")
    script = run("snippet", "--url", f"{server.url}/track", *names, *own).stdout
    imports = '<script type="importmap">{"imports": {"alephbet": "/shim.js"}}</script>'
    html = f'{imports}<script type="module">{script}\nwindow.goals = [goalBuy, goalView];</script>'
    found, errors = counted(html, 3, "goals.forEach(goal => { goal.complete(); goal.complete(); })")
    assert (taking_part(found), errors) == ({"a": 1}, [])
    assert [next(row for row in goal["results"] if row["label"] == "a")["successes"] for goal in found["goals"]] == [
        1,
        2,
    ]
