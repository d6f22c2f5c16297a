"""A server's client and the pages of the same experiment, with the real Alephbet in a real Chromium."""

from __future__ import annotations

import pytest

from gimel.client import Client
from tests.calls import taking_part
from tests.parts import alephbet_file, wait_for
from tests.test_client import DOCUMENTED, example

USERS = [*map(str, range(50)), "u1", "a b", "ü@example.com", "צבע 🎯", "%3A", "0"]
VARIANTS = (
    ["blue", "red"],
    ["z", "a", "m"],
    ["b", "10", "9", "a", "007"],
    {"current": 9, "semantic": 1},
    {"b": 1, "2": 3, "1": 2},
    {"only": 7},
)
IN_A_PAGE = """([name, variants, weights, users, adapter]) => users.map(user => {
  localStorage.clear();
  const sent = [];
  window.fetch = (url) => (sent.push(new URL(url).searchParams), new Promise(() => {}));
  const names = Object.fromEntries(variants.map(
    (variant) => [variant, {activate() {}, ...(weights ? {weight: weights[variant]} : {})}]));
  const experiment = new AlephBet.Experiment(
    {name, user_id: user, variants: names, tracking_adapter: new AlephBet[adapter]("http://127.0.0.1:9/e", "shop")});
  experiment.goal_complete("buy: now", {unique: true});
  const last = (event) => sent.filter((one) => one.get("event") === event).at(-1);
  return [last("participate").get("variant"), last("participate").get("uuid"), last("buy: now").get("uuid")];
})"""


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page()
    # localStorage needs an origin.
    page.route("http://127.0.0.1:9/*", lambda route: route.fulfill(body="<body>", content_type="text/html"))
    page.goto("http://127.0.0.1:9/")
    page.add_script_tag(path=alephbet_file())
    yield page
    page.close()


@pytest.mark.parametrize("adapter", ["AlephbetAdapter", "GimelAdapter", "LamedAdapter"])
def test_a_user_has_the_variant_and_the_ids_that_alephbet_gives_them(page, adapter):
    client = Client("http://127.0.0.1:9/e", namespace="shop", adapter=adapter)
    for variants in VARIANTS:
        checkout = client.experiment("check: out ✓", variants)
        weights = variants if isinstance(variants, dict) else None
        found = page.evaluate(IN_A_PAGE, [checkout.name, [*variants], weights, USERS, adapter])
        ids = [[client._uuid(checkout.name, event, user) for event in ("participate", "buy: now")] for user in USERS]
        assert found == [[checkout.variant(user), *own] for user, own in zip(USERS, ids, strict=True)]
    client.close()


@pytest.mark.parametrize("decides", ["both", "server"])
def test_a_page_goes_on_with_the_variant_that_the_server_rendered(visit, server, monkeypatch, decides):
    """The example of the documentation, with the real Alephbet."""
    shop = example("Rendering on a server", server.url)
    page_text = shop["PAGE"].replace("alephbet.min.js", "/alephbet.js")
    if decides == "server":  # this browser has seen the other variant, without a user
        storage = DOCUMENTED.partition("```js\n")[2].partition("```")[0]
        page_text = page_text.replace("user_id: USER,", f"user_id: USER, {storage.rstrip()},").replace(
            '? "red"', "? VARIANT"
        )
        page_text = page_text.replace(
            "<body>",
            "<body><script>var VARIANT = 'red'; localStorage.setItem('alephbet', "
            "JSON.stringify({'button color:variant': 'blue'}))</script>",
        )
    monkeypatch.setitem(shop, "PAGE", page_text)
    user = next(one for one in map(str, range(20)) if shop["button"].variant(one) == "red")
    html = b"".join(shop["app"]({"REMOTE_USER": user}, lambda *answer: None)).decode()
    page = visit("about:blank")
    page.route(f"{server.url}/shop", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.route(f"{server.url}/alephbet.js", lambda route: route.fulfill(path=alephbet_file()))
    page.goto(f"{server.url}/shop")
    assert page.locator("button").evaluate("one => one.style.background") in ("rgb(255, 0, 0)", "#f00", "red")
    page.locator("button").click()
    if decides == "server":
        shop["button"].participate(user)
    shop["order_paid"](user)
    assert shop["gimel"].flush(10)

    def counted() -> dict:
        items = page.request.get(f"{server.url}/experiments").json()[1:]
        goals = {goal["goal"]: goal["results"] for goal in items[0]["goals"]} if items else {}
        return items[0] if {"clicked", "order placed"} <= goals.keys() and items[0]["participants"] else {}

    item = wait_for(counted, "both goals")
    shop["gimel"].close()
    assert taking_part(item) == {"red": 1}
    assert {one["label"]: one["successes"] for goal in item["goals"] for one in goal["results"]} == {"red": 1}
