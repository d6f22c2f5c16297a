"""The client for servers, against a real `gimel serve`."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from gimel import client as clients
from gimel.client import Client
from gimel.events import MAX_EVENTS, MAX_NAME_LENGTH, PARTICIPATE
from gimel.ops import known_bots
from tests.calls import taking_part
from tests.parts import ROOT, GimelServer, RedisServer, free_port, wait_for


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GimelServer]:
    store = RedisServer(tmp_path_factory.mktemp("redis")).start()
    started = GimelServer(home=tmp_path_factory.mktemp("home"), environ={"GIMEL_REDIS_URL": store.url})
    yield started
    started.stop()
    store.stop()


@pytest.fixture
def connect(server: GimelServer) -> Iterator[Callable[..., Client]]:
    """Makes clients of this server or another address, which are closed after the test."""
    made: list[Client] = []

    def client(url: str = "", **options: object) -> Client:
        made.append(Client(url or f"{server.url}/e", **{"linger_s": 0.01, **options}))  # type: ignore[arg-type]
        return made[-1]

    yield client
    for one in made:
        one.close(0)


@pytest.fixture
def api() -> Iterator[Callable[..., tuple[str, list]]]:
    """Starts an API that gives these answers in turn, the last one for ever, and keeps what it was sent."""
    started = []

    def start(*answers: tuple[int, str, dict[str, str]]) -> tuple[str, list]:
        received: list = []
        left = [*answers]

        class Api(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, text, headers = left.pop(0) if len(left) > 1 else left[0]
                received.append((body, dict(self.headers)))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            def do_GET(self) -> None:  # a POST that was redirected
                received.append(([], {}))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"null")

            def log_message(self, *ignored: object) -> None:
                pass

        site = ThreadingHTTPServer(("127.0.0.1", 0), Api)
        threading.Thread(target=site.serve_forever, daemon=True).start()
        started.append(site)
        return f"http://127.0.0.1:{site.server_port}/e", received

    yield start
    for site in started:
        site.shutdown()
        site.server_close()


DONE = (200, "null", {})
DOCUMENTED = (ROOT / "docs" / "python-client.md").read_text(encoding="utf-8")


def example(heading: str, url: str) -> dict[str, Any]:
    """The names that the example in this section of the documentation defines, with the URL of this server."""
    code = DOCUMENTED.partition(f"\n## {heading}\n")[2].partition("```python\n")[2].partition("```\n")[0]
    names: dict[str, Any] = {}
    exec(code.replace("https://example.com", url), names)
    return names


def report(server: GimelServer, namespace: str) -> dict[str, dict]:
    with urlopen(f"{server.url}/experiments?namespace={namespace}") as answer:
        return {item["experiment"]: item for item in json.load(answer)[1:]}


def test_users_and_their_goals_are_counted_once_in_batches(server, connect):
    client = connect(namespace="batches")
    checkout = client.experiment("checkout", ["one page", "three pages"])
    seen = Counter(checkout.participate(user) for user in range(1200))
    for user in range(0, 1200, 3):
        checkout.complete("order placed", user)
        checkout.complete("page view", user, unique=False)
        checkout.complete("page view", user, unique=False)
    assert client.flush(30)
    again = connect(namespace="batches").experiment("checkout", ["one page", "three pages"])
    for user in range(100):
        again.participate(user)
    assert again.client.flush(30)
    item = report(server, "batches")["checkout"]
    counts = {goal["goal"]: sum(one["successes"] for one in goal["results"]) for goal in item["goals"]}
    assert sum(taking_part(item).values()) == pytest.approx(1200, rel=0.03)
    assert all(taking_part(item)[name] == pytest.approx(number, rel=0.03) for name, number in seen.items())
    assert counts == pytest.approx({"order placed": 400, "page view": 800}, rel=0.03)
    assert (client.waiting, client.dropped) == (0, 0)


def test_the_example_of_mails_counts_who_got_one(server):
    mails = example("In mails", server.url)
    users = [{"id": number, "name": f"User {number}", "mail": f"{number}@example.com"} for number in range(100)]
    sent: list[tuple[str, str]] = []
    for _ in range(2):
        mails["send_newsletter"](users, lambda *mail: sent.append(mail))
    shop = Client(f"{server.url}/e")
    mails["order_placed"](shop, users[7])
    shop.close()
    item = report(server, "alephbet")["october subject"]
    assert sum(taking_part(item).values()) == pytest.approx(100, rel=0.05)
    assert taking_part(item).keys() == {"plain", "personal"}
    assert sent[:100] == sent[100:]
    assert {mail.partition("@")[0] for mail, subject in sent if "User" in subject} == {
        str(number)
        for number in range(100)
        if shop.experiment("october subject", ["plain", "personal"]).variant(number) == "personal"
    }
    assert sum(one["successes"] for one in item["goals"][0]["results"]) == 1


def test_the_first_example_tracks(server):
    shop = example("Tracking", server.url)
    assert shop["show_checkout"]("u1") in ("everything at once", "address, payment, summary")
    shop["order_paid"]("u1")
    assert shop["gimel"].flush()
    assert [goal["goal"] for goal in report(server, "alephbet")["checkout"]["goals"]] == ["order placed"]
    shop["gimel"].close()


def test_no_request_has_more_events_than_gimel_takes(connect, api):
    url, received = api(DONE)
    client = connect(url)
    for number in range(2 * MAX_EVENTS + 1):
        client.track("e", "a", PARTICIPATE, number)
    assert client.flush()
    assert sum(len(body) for body, _ in received) == 2 * MAX_EVENTS + 1
    assert max(len(body) for body, _ in received) <= MAX_EVENTS


def test_what_was_sent_is_not_sent_again(connect, api):
    url, received = api(DONE)
    client = connect(url)
    for _ in range(3):
        client.track("e", "a", PARTICIPATE, "u1")
        client.track("e", "a", "view", "u1", unique=False)
        assert client.flush()
    assert Counter(event["event"] for body, _ in received for event in body) == {PARTICIPATE: 1, "view": 3}


@pytest.mark.parametrize(
    ("adapter", "participation", "order"),
    [
        ("AlephbetAdapter", "alephbet.e.participate.u1", "alephbet.e.buy.u1"),
        ("LamedAdapter", "alephbet.e.participate.u1", "alephbet.e.buy.u1"),
        ("GimelAdapter", "alephbet.e.u1", "alephbet.e.u1"),
    ],
)
def test_the_ids_of_a_user_are_those_of_the_pages_adapter(connect, api, adapter, participation, order):
    url, received = api(DONE)
    client = connect(url, adapter=adapter)
    client.track("e", "a", PARTICIPATE, "u1")
    client.track("e", "a", "buy", "u1")
    assert client.flush()
    assert [event["uuid"] for body, _ in received for event in body] == [*map(clients._sha1, (participation, order))]
    assert clients._sha1("alephbet.e.u1") == "9e6682a8bed119f9149c0b4f5d6b88298f0cd1bd"


def test_nobody_is_counted_without_a_user(connect, api):
    url, received = api(DONE)
    client = connect(url)
    checkout = client.experiment("checkout", ["one page", "three pages"])
    assert {checkout.participate(None), checkout.participate("")} == {"one page"}
    checkout.complete("order placed", None)
    assert client.flush()
    assert (client.waiting, received) == (0, [])


def test_weights_share_out_the_users(connect):
    variants = {"current": 9, "semantic": 1}
    search = connect().experiment("search engine", variants)
    seen = Counter(search.variant(user) for user in range(20_000))
    assert seen["semantic"] == pytest.approx(2000, abs=5 * (2000 * 0.9) ** 0.5)
    assert seen == Counter(search.variant(str(user)) for user in range(20_000))


@pytest.mark.parametrize(
    "variants", ["ab", [], ["a", "a"], {"a": 0, "b": 1}, {"a": 0.5, "b": 0.5}, {"a": True, "b": 1}]
)
def test_variants_that_make_no_sense_are_told_at_once(connect, variants):
    with pytest.raises(ValueError, match="of 'e' must be"):
        connect().experiment("e", variants)


@pytest.mark.parametrize("url", ["example.com/e", "ftp://example.com/e", "https:///e", "http://example.com:0/e", ""])
def test_what_is_no_web_address_is_told_at_once(url):
    with pytest.raises(ValueError, match="is not a web address"):
        Client(url)


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(clients, "LONGEST_RETRY_S", 0.02)


@pytest.mark.usefixtures("_hasty")
@pytest.mark.parametrize(
    "failure",
    [
        (503, '{"error": "could not store or read counts"}', {"Retry-After": "5"}),
        (429, "", {}),
        (404, "", {}),
        (200, "<html>", {}),
        (200, "{}", {}),
        (302, "", {"Location": "/elsewhere"}),
    ],
)
def test_what_fails_is_sent_again_with_the_same_ids_and_told_once(connect, api, caplog, failure):
    url, received = api(failure, failure, failure, DONE)
    client = connect(url)
    client.track("e", "a", "view")
    wait_for(lambda: not client.waiting, "the fourth try")
    assert len(received) == 4
    assert len({body[0]["uuid"] for body, _ in received}) == 1
    first, last = (record.message for record in caplog.records)
    assert first.startswith(f"events cannot be delivered to {url} and wait: ")
    assert last == "events are delivered again"
    assert client.dropped == 0


def test_events_of_an_outage_are_delivered_after_it(connect, serve, redis_server, caplog):
    port = free_port()
    client = connect(f"http://127.0.0.1:{port}/e")
    checkout = client.experiment("checkout", ["one page", "three pages"])
    for user in range(20):
        checkout.participate(user)
    wait_for(lambda: caplog.records, "a warning")
    assert not client.flush(0)
    server = serve("--port", f"{port}", GIMEL_REDIS_URL=redis_server.url)
    wait_for(lambda: client.flush(1), "the server to be found")
    assert sum(taking_part(report(server, "alephbet")["checkout"]).values()) == 20


def test_what_gimel_refuses_is_dropped_and_told(connect, api, caplog):
    refused = {"error": "1 of 2", "counted": 1, "refused": [{"item": 0, "problems": ["variant is odd"]}], "hint": ""}
    url, _ = api((200, json.dumps(refused), {"X-Gimel-Ignored": "limit"}), (400, '{"error": "no"}', {}), DONE)
    client = connect(url)
    for number in range(3):
        client.track("e", "a", "view", number)
        client.track("e", "a", "view", f"{number} b")
        assert client.flush()
    assert client.dropped in (3, 2)  # the second request has one event or both
    assert client.waiting == 0
    assert [record.message for record in caplog.records] == [
        "some events are ignored (limit); see Gimel's docs/http-api.md",
        "events are dropped: Gimel refuses them: variant is odd",
        'events are dropped: Gimel refuses them: {"error": "no"}',
    ]


def test_a_bad_name_stops_no_other_event(server, connect, caplog):
    client = connect(namespace="names")
    for name in "", "x" * (MAX_NAME_LENGTH + 1), None, 7, "\ud800", "fine":
        client.track("e", "a", name, "u1")
        client.track("e", "a", PARTICIPATE, "u1")
    assert client.flush()
    assert [goal["goal"] for goal in report(server, "names")["e"]["goals"]] == ["fine"]
    assert client.dropped == 3
    assert caplog.records


def test_no_more_events_wait_than_may(connect, caplog):
    client = connect(f"http://127.0.0.1:{free_port()}/e", max_waiting=10)
    for number in range(25):
        client.track("e", "a", PARTICIPATE, number)
    assert (client.waiting, client.dropped) == (10, 15)
    assert any("10 events are waiting" in record.message for record in caplog.records)
    client.close(0)
    assert client.dropped == 25
    client.track("e", "a", PARTICIPATE, "late")
    assert client.dropped == 26


def test_what_no_one_foresaw_stops_neither_the_request_nor_the_client(connect, api, monkeypatch, caplog):
    url, received = api(DONE)
    client = connect(url)
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Thread", lambda **given: 1 / 0)
        client.track("e", "a", PARTICIPATE, "u1")
    send, left = client._send, [1]
    monkeypatch.setattr(client, "_send", lambda batch: 1 / 0 if left and not left.clear() else send(batch))
    monkeypatch.setattr(clients, "FIRST_RETRY_S", 0.01)
    client.track("e", "a", PARTICIPATE, "u2")
    wait_for(lambda: received, "another try")
    assert [record.levelno for record in caplog.records][:2] == [logging.ERROR] * 2


def test_it_says_who_it_is_and_which_page_it_sends_for(connect, api):
    """Gimel ignores known bots and, with `require_origin`, other pages."""
    url, received = api(DONE)
    for number, origin in enumerate((None, "https://shop.example")):
        client = connect(url, origin=origin)
        client.track("e", "a", PARTICIPATE, number)
        assert client.flush()
    assert [headers.get("Origin") for _, headers in received] == [None, "https://shop.example"]
    assert not known_bots.rule().matches(received[0][1]["User-Agent"])


PROGRAM = """
import os
from gimel.client import Client

client = Client({url!r}, namespace="forked", linger_s=60)
client.track("e", "a", "participate", "parent")
child = os.fork()
if not child:
    client.track("e", "a", "participate", "child")
    os._exit(0 if client.flush(30) and client._added == 1 else 1)
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_it_works_after_a_fork_and_delivers_what_waits_at_the_end_of_the_process(server, tmp_path):
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-S", "-c", PROGRAM.format(url=f"{server.url}/e")]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("0", "")
    assert taking_part(report(server, "forked")["e"]) == {"a": 2}


def test_many_threads_share_one(server, connect):
    client = connect(namespace="threads")

    def run(first: int) -> None:
        for number in range(first, first + 50):
            client.track("e", "a", PARTICIPATE, number)

    threads = [threading.Thread(target=run, args=(first,)) for first in range(0, 400, 50)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    assert client.flush(30)
    assert client._settled == 400
    assert taking_part(report(server, "threads")["e"])["a"] == pytest.approx(400, rel=0.03)


def test_its_limits_are_gimels():
    assert (clients.MAX_EVENTS, clients.MAX_NAME_LENGTH, clients.PARTICIPATE) == (
        MAX_EVENTS,
        MAX_NAME_LENGTH,
        PARTICIPATE,
    )


def test_others_can_rely_on_its_types():
    assert Path(clients.__file__).with_name("py.typed").is_file()
