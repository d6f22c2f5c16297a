"""The real Alephbet in a real Chromium, against `gimel serve` on a real Redis."""

from __future__ import annotations

from collections import Counter

import pytest
from playwright.sync_api import Browser, Page

from tests.calls import taking_part
from tests.parts import RedisServer, wait_for

VIEW = "page: view 100%"
QUEUE = 'JSON.parse(JSON.parse(localStorage.getItem("alephbet") || "{}")[`${NAME}`] || "[]").length'


@pytest.fixture
def page(browser: Browser):
    context = browser.new_context()
    yield context.new_page()
    context.close()


def queue_length(page: Page, name: str = "_alephbet_queue") -> int:
    return page.evaluate(QUEUE.replace("NAME", f"'{name}'"))


def settle(page: Page) -> None:
    # Chromium does not report the end of `keepalive` requests, so the queue says when all is delivered.
    wait_for(lambda: queue_length(page) == 0, "an empty queue")


def report(page: Page, server) -> dict:
    items = page.request.get(f"{server.url}/experiments").json()
    return {item["experiment"]: item for item in items if "experiment" in item}


def successes(item: dict) -> dict:
    return {
        (goal["goal"], result["label"]): result["successes"]
        for goal in item["goals"]
        for result in goal["results"]
        if result["successes"]
    }


def test_a_visitor_counts_once_and_each_page_view_counts(page, server, shop):
    page.goto(shop(f"{server.url}/track"))
    variant = page.evaluate("document.body.dataset.variant")
    page.evaluate("buy.complete(); buy.complete(); view.complete(); view.complete(); view.complete()")
    settle(page)
    item = report(page, server)["button color"]
    assert taking_part(item) == {variant: 1}
    assert successes(item) == {("buy", variant): 1, (VIEW, variant): 3}


def test_a_reload_keeps_the_variant_and_counts_nothing_again(page, server, shop):
    page.goto(shop(f"{server.url}/track"))
    variant = page.evaluate("document.body.dataset.variant")
    page.evaluate("buy.complete()")
    settle(page)
    page.reload()
    page.evaluate("buy.complete(); view.complete()")
    settle(page)
    assert page.evaluate("document.body.dataset.variant") == variant
    item = report(page, server)["button color"]
    assert taking_part(item) == {variant: 1}
    assert successes(item) == {("buy", variant): 1, (VIEW, variant): 1}


def test_a_browser_without_fetch_counts_the_same_by_xhr(page, server, shop):
    page.goto(shop(f"{server.url}/track") + "?nofetch")
    assert page.evaluate("typeof window.fetch") == "undefined"
    page.evaluate("buy.complete(); view.complete(); view.complete()")
    settle(page)
    item = report(page, server)["button color"]
    variant = item["participants"][0]["label"]
    assert successes(item) == {("buy", variant): 1, (VIEW, variant): 2}


def test_a_beacon_counts_one_event_or_a_list_of_them(page, server, shop):
    page.goto(shop(f"{server.url}/track"))
    settle(page)
    sent = page.evaluate(
        """url => {
          const event = (uuid) => ({experiment: "beacon", variant: "red", event: "participate", uuid});
          return [navigator.sendBeacon(url, JSON.stringify(event(1))),
                  navigator.sendBeacon(url, JSON.stringify([event(2), event(3), event(1)])),
                  navigator.sendBeacon(url, new URLSearchParams(event("form"))),
                  navigator.sendBeacon(url + "?" + new URLSearchParams(event("query")))]
        }""",
        f"{server.url}/track",
    )
    assert sent == [True] * 4
    found = lambda: report(page, server).get("beacon", {"participants": []})  # noqa: E731
    wait_for(lambda: taking_part(found()) == {"red": 5}, "five visitors")


def test_thirty_visitors_are_counted_each_in_the_variant_they_saw(page, server, shop):
    page.goto(shop(f"{server.url}/track"))
    seen, bought = Counter(), Counter()
    for number in range(30):
        if number:
            page.evaluate("localStorage.clear()")  # all that Alephbet knows of a visitor
            page.reload()
        variant = page.evaluate("document.body.dataset.variant")
        seen[variant] += 1
        if number % 3 == 0:
            page.evaluate("buy.complete()")
            bought["buy", variant] += 1
        settle(page)
    item = report(page, server)["button color"]
    assert taking_part(item) == dict(seen)
    assert successes(item) == dict(bought)


def test_the_same_user_on_two_devices_counts_once(browser, server, shop):
    for adapter in ("AlephbetAdapter", "GimelAdapter"):
        for _ in range(2):
            context = browser.new_context()
            page = context.new_page()
            page.goto(shop(f"{server.url}/track") + f"?user=u1&adapter={adapter}&namespace={adapter}")
            page.evaluate("buy.complete()")
            name = "_gimel_queue" if adapter == "GimelAdapter" else "_alephbet_queue"
            wait_for(lambda page=page, name=name: queue_length(page, name) == 0, "an empty queue")
            items = page.request.get(f"{server.url}/experiments?namespace={adapter}").json()
            context.close()
        assert [one["trials"] for one in items[1]["participants"]] == [1]
        assert list(successes(items[1]).values()) == [1]


def test_events_of_an_outage_are_delivered_by_a_later_page(page, serve, shop, redis_server: RedisServer):
    server = serve("--spool-mb", "0", GIMEL_REDIS_URL=redis_server.url)
    redis_server.stop()
    answers = []
    page.on("response", lambda response: answers.append(response.status))
    page.goto(shop(f"{server.url}/track"))
    page.evaluate("buy.complete(); view.complete()")
    # Each of the three events sends the whole queue: 1 + 2 + 3 requests.
    wait_for(lambda: page.evaluate("1") and answers.count(503) == 6, "six refusals")
    assert queue_length(page) == 3
    redis_server.start()
    wait_for(lambda: page.request.get(f"{server.url}/health").ok, "Redis to be found again")
    page.reload()
    settle(page)
    item = report(page, server)["button color"]
    variant = item["participants"][0]["label"]
    assert taking_part(item) == {variant: 1}
    assert successes(item) == {("buy", variant): 1, (VIEW, variant): 1}


def test_an_experiment_that_is_not_accepted_leaves_the_queue(page, serve, redis_server, shop, tmp_path):
    (tmp_path / "config.json").write_text('{"allowed_experiments": ["another"]}')
    server = serve(GIMEL_REDIS_URL=redis_server.url)
    page.goto(shop(f"{server.url}/track"))
    page.evaluate("buy.complete()")
    settle(page)
    assert report(page, server) == {}
    assert [key for key in redis_server.client().scan_iter() if not key.startswith("gimel-")] == []


def test_the_example_page_shows_what_a_newcomer_clicks(page, serve, redis_server):
    from tests.parts import alephbet_file

    server = serve("--alephbet", str(alephbet_file()), GIMEL_REDIS_URL=redis_server.url)
    page.goto(f"{server.url}/example")
    variant = page.locator("#variant").inner_text()
    page.get_by_role("button", name="Buy").click()
    page.get_by_role("button", name="View").click()
    page.get_by_role("button", name="View").click()
    rows = page.locator("#counts tr")
    wait_for(lambda: rows.all_inner_texts() == [f"buy\t{variant}\t1\t1", f"view\t{variant}\t1\t2"], "the counts")


def test_the_example_page_says_what_to_do_without_alephbet(page, serve, redis_server):
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.route("**/alephbet.min.js", lambda route: route.abort())
    page.goto(f"{serve(GIMEL_REDIS_URL=redis_server.url).url}/example")
    alert = page.get_by_role("alert")
    assert "Alephbet could not be loaded" in alert.inner_text()
    assert "--alephbet PATH" in alert.inner_text()
    assert not page.get_by_role("button").first.is_visible()
    assert errors == []
