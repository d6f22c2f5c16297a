"""A server's client and the pages of the same experiment, with the real Alephbet in a real Chromium."""

from __future__ import annotations

import pytest

from gimel.client import Client
from tests.parts import alephbet_file

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
