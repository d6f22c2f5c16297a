"""Requests that no visitor made: known bots, and pages loaded before anyone wants them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA

import gimel
from gimel import bots, config, connection
from gimel.ops import known_bots

from .calls import EVENT, make_http_event, make_queue_event, make_rest_event, participants, post, taking_part

GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
HEADLESS = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/142.0.0.0 Safari/537.36"
)
BROWSERS = [line for line in Path(__file__).with_name("browsers.txt").read_text().splitlines() if line[0] != "#"]
CHROME = BROWSERS[0]


@pytest.fixture(autouse=True)
def _known(monkeypatch) -> None:
    monkeypatch.setattr(bots, "_known_bots", known_bots.rule())


def reason(user_agent: str) -> str | None:
    return bots.reason_to_ignore({"user-agent": user_agent})


def ignored(answer) -> str | None:
    assert (answer["statusCode"], answer["body"]) == (200, "null")
    return answer["headers"].get("X-Gimel-Ignored")


@pytest.mark.parametrize("browser", BROWSERS)
def test_the_browser_of_a_person_is_no_bot(browser):
    assert reason(browser) is None


def test_every_bot_of_the_list_is_known():
    wanted = [one for one in CRAWLER_USER_AGENTS_DATA if known_bots.SENDERS not in one["tags"]]
    wanted = [one for one in wanted if one["pattern"] not in known_bots.PEOPLE]
    assert len(wanted) > 1_400
    assert [name for one in wanted for name in one["instances"] if reason(name) != "bot"] == []


def test_what_is_changed_of_the_list_is_still_in_it():
    patterns = {one["pattern"] for one in CRAWLER_USER_AGENTS_DATA}
    assert patterns >= known_bots.PEOPLE.keys() | known_bots.NARROWED.keys()


@pytest.mark.parametrize("sender", ["curl/8.5.0", "python-requests/2.32.3", "Go-http-client/2.0", "okhttp/4.12.0", ""])
def test_a_server_that_sends_events_is_no_bot(sender):
    assert reason(sender) is None


@pytest.mark.parametrize("bot", [GOOGLEBOT, HEADLESS, "facebookexternalhit/1.1", "UptimeRobot/2.0"])
def test_what_a_bot_sends_is_ignored(fake, bot):
    for event in (make_rest_event(query=EVENT, headers={"User-Agent": bot}), make_http_event(query=EVENT)):
        event["headers"] = {"User-Agent": bot}
        assert ignored(gimel.track(event)) == "bot"
    gimel.track(make_rest_event(query={**EVENT, "uuid": "u2"}, headers={"User-Agent": CHROME}))
    assert participants(fake) == 1
    assert gimel.all({})[0]["meta"]["ignored"] == {"bot": 2}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Sec-Purpose", "prefetch"),
        ("Sec-Purpose", "prefetch;prerender"),
        ("Purpose", "prefetch"),
        ("X-Purpose", "preview"),
        ("X-Moz", "prefetch"),
    ],
)
def test_a_page_that_is_loaded_ahead_is_no_visit(fake, name, value):
    headers = {"User-Agent": CHROME, name: value}
    assert ignored(gimel.track(make_rest_event(query=EVENT, headers=headers))) == "prefetch"
    assert participants(fake) == 0


def test_bots_can_be_counted(fake):
    connection.use(config.Config(count_bots=True), connection.client())
    for number, headers in enumerate(({"User-Agent": GOOGLEBOT}, {"Sec-Purpose": "prefetch"})):
        assert ignored(gimel.track(make_rest_event(query={**EVENT, "uuid": str(number)}, headers=headers))) is None
    assert participants(fake) == 2


def test_events_without_a_request_of_their_own_are_counted(fake):
    gimel.track(EVENT)
    gimel.track(
        make_queue_event('{"experiment": "button color", "uuid": "u2", "variant": "red", "event": "participate"}')
    )
    assert participants(fake) == 2


def test_what_is_wrong_is_named_to_a_bot_too(fake):
    assert gimel.track(make_rest_event(query={}, headers={"User-Agent": GOOGLEBOT}))["statusCode"] == 400


def test_an_odd_user_agent_is_cut_before_it_is_searched():
    assert reason("x" * bots.MAX_LENGTH + GOOGLEBOT) is None
    assert max(len(name) for one in CRAWLER_USER_AGENTS_DATA for name in one["instances"]) < bots.MAX_LENGTH


def test_crawlers_that_run_scripts_and_keep_nothing_do_not_change_a_report(fake):
    """Each page view makes a crawler a new visitor, whom a Math.random that never changes puts into one variant."""

    def report(count_bots: bool):
        connection.client().flushall()
        settings = config.Config(count_bots=count_bots, precision="exact")
        connection.use(settings, connection.client())
        for variant in ("blue", "red"):
            for goal, visitors in (("participate", 1_000), ("buy", 100)):
                events = [
                    {**EVENT, "variant": variant, "event": goal, "uuid": f"{variant}{i}"} for i in range(visitors)
                ]
                for start in range(0, visitors, 500):
                    request = post(events[start : start + 500])
                    request["headers"]["user-agent"] = CHROME
                    gimel.track(request)
        for view in range(400):
            query = {**EVENT, "variant": "blue", "uuid": f"view {view}"}
            gimel.track(make_rest_event(query=query, headers={"User-Agent": GOOGLEBOT}))
        return gimel.all({})

    meta, before = report(count_bots=True)
    assert meta["meta"]["ignored"] == {}
    assert taking_part(before) == {"blue": 1_400, "red": 1_000}
    assert before["verdict"]["state"] == "do_not_trust"
    assert [round(one["rate"], 3) for one in before["goals"][0]["results"]] == [0.071, 0.1]

    meta, after = report(count_bots=False)
    assert meta["meta"]["ignored"] == {"bot": 400}
    assert taking_part(after) == {"blue": 1_000, "red": 1_000}
    assert after["sample_ratio"]["state"] == "as_expected"
    assert [one["rate"] for one in after["goals"][0]["results"]] == [0.1, 0.1]


def test_the_local_server_ignores_bots(serve, redis_server):
    server = serve(GIMEL_REDIS_URL=redis_server.url)
    url = f"{server.url}/track?experiment=e&variant=v&event=participate&uuid=u"
    for browser, said in ((HEADLESS, "bot"), (CHROME, None)):
        with urlopen(Request(url, headers={"User-Agent": browser}), timeout=10) as answer:
            assert answer.headers["X-Gimel-Ignored"] == said
    assert participants(redis_server.client(), "e", "v") == 1


def test_a_deployment_knows_the_bots_without_the_list():
    files = known_bots.files()
    assert bots.Rule(**json.loads(files["gimel/bots.json"])).matches(GOOGLEBOT)
    assert b"MIT License" in files["gimel/bots.LICENSE"]
    assert f"gimel/{bots.RULE.name}" in files


SHOP = "https://shop.example"


class TestOrigin:
    @pytest.fixture(autouse=True)
    def _required(self, fake):
        settings = config.Config(cors_origins=("https://www.example", SHOP), require_origin=True)
        connection.use(settings, connection.client())

    @pytest.mark.parametrize(
        "headers",
        [{"Origin": SHOP}, {"Referer": f"{SHOP}/buy?now=1"}, {"Origin": SHOP, "Referer": "https://a.example"}],
    )
    def test_events_of_the_own_pages_are_counted(self, fake, headers):
        assert ignored(gimel.track(make_rest_event(query=EVENT, headers=headers))) is None
        assert participants(fake) == 1

    @pytest.mark.parametrize(
        "headers",
        [
            {"Host": "api.example"},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": ""},
            {"Origin": "https://evil.example", "Referer": f"{SHOP}/"},
            {"Origin": "null", "Referer": f"{SHOP}/"},
            {"Referer": f"https://evil.example/{SHOP}/"},
            {"Referer": f"{SHOP}.evil.example/"},
            {"Referer": "https://shop.example@evil.example/"},
            {"Referer": "http://shop.example/"},
        ],
    )
    def test_events_from_elsewhere_are_ignored(self, fake, headers):
        assert ignored(gimel.track(make_rest_event(query=EVENT, headers=headers))) == "origin"
        assert participants(fake) == 0

    def test_a_queue_and_flat_events_have_no_origin(self, fake):
        gimel.track(EVENT)
        gimel.track(make_queue_event('{"experiment": "e", "uuid": "u", "variant": "red", "event": "participate"}'))
        assert participants(fake) == participants(fake, "e") == 1

    def test_a_bot_is_a_bot_wherever_it_comes_from(self, fake):
        headers = {"User-Agent": GOOGLEBOT, "Origin": "https://evil.example"}
        assert ignored(gimel.track(make_rest_event(query=EVENT, headers=headers))) == "bot"

    def test_without_the_setting_any_origin_will_do(self, fake):
        connection.use(replace(connection.settings(), require_origin=False), connection.client())
        assert ignored(gimel.track(make_rest_event(query=EVENT, headers={"Origin": "https://evil.example"}))) is None
