"""What a webhook is told of experiments, and what happens if it does not take it."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import gimel
from gimel import config, connection, counters, lives, notices, snapshots
from gimel.config import NOTICES, Notify
from gimel.errors import ConfigError
from gimel.events import Event
from gimel.histories import DAY, HOUR
from gimel.settings import ExperimentSettings
from tests.parts import missing

START = 20_000 * DAY


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> dict[str, Any]:
        return json.loads(self.body)


class Receiver:
    """A webhook of 127.0.0.1, which answers with these statuses in turn, and with the last one for ever."""

    def __init__(self, *statuses: int, tls: ssl.SSLContext | None = None) -> None:
        self.statuses, self.received = [*statuses], []
        receiver = self

        class Hook(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append(Received(self.path, dict(self.headers), body))
                statuses = receiver.statuses
                self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *ignored: object) -> None:
                pass

        self.site = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
        if tls:
            self.site.socket = tls.wrap_socket(self.site.socket, server_side=True)
        threading.Thread(target=self.site.serve_forever, daemon=True).start()
        self.url = f"http{'s' * bool(tls)}://localhost:{self.site.server_port}/hook?key=1"

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(one.told["experiment"], one.told["kind"]) for one in self.received]


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Receiver]]:
    """Starts a receiver."""
    monkeypatch.setattr(notices, "PAUSES_S", (0.0, 0.0))
    started: list[Receiver] = []

    def start(*statuses: int, tls: ssl.SSLContext | None = None) -> Receiver:
        started.append(Receiver(*statuses or (200,), tls=tls))
        return started[-1]

    yield start
    for one in started:
        one.site.shutdown()
        one.site.server_close()


def notify(url: str, **settings: Any) -> None:
    """Use this webhook from now on, with settings of experiments."""
    own = {key: settings.pop(key) for key in tuple(settings) if key in Notify.__dataclass_fields__}
    hook = Notify(url, **{"allow_private": True, **own})
    connection.use(config.Config(notify=hook, **settings), connection.client())


def count(experiment: str, visitors: dict[str, int], buys: dict[str, int] | None = None, namespace: str = "alephbet"):
    found = {"participate": visitors, "buy": buys or {}}
    events = [
        Event(namespace, experiment, goal, variant, str(one))
        for goal, numbers in found.items()
        for variant, number in numbers.items()
        for one in range(number)
    ]
    counters.record(connection.client(), events, lambda name: "exact")


EVEN = {"a": 2000, "b": 2000}
WINS, LOSES = {"a": 100, "b": 200}, {"a": 200, "b": 100}


def test_each_state_is_told_once(fake, receiver):
    hook = receiver()
    notify(hook.url, experiments={"planned": ExperimentSettings(planned_visitors=100)})
    count("winning", EVEN, WINS)
    count("losing", EVEN, LOSES)
    count("split", {"a": 3000, "b": 2000}, WINS)
    count("planned", EVEN, {"a": 100, "b": 100})
    count("young", {"a": 500, "b": 500, "no events for 1 day": 1})  # which a note begins with
    snapshots.take(START)
    every = [("losing", "loser"), ("planned", "planned"), ("split", "split"), ("winning", "winner")]
    assert sorted(hook.told) == every
    snapshots.take(START + HOUR)
    assert len(hook.told) == 4
    for one in "winning", "losing":
        count(one, EVEN, {"a": 300, "b": 300})  # nothing is decided any more
    snapshots.take(START + 2 * HOUR)
    count("winning", EVEN, {"a": 300, "b": 600})  # the same winner again
    count("losing", EVEN, {"a": 300, "b": 600})  # another state
    snapshots.take(START + 3 * HOUR)
    assert hook.told[4:] == [("losing", "winner")]


def test_a_silence_is_told_again_if_it_is_another_one(fake, receiver):
    hook = receiver()
    notify(hook.url)
    for day, visitors in (0, 100), (1, 200), (4, 200), (5, 200), (6, 400), (9, 400), (9, 400):
        count("button", {"a": visitors, "b": visitors})
        snapshots.take(START + day * DAY)
    assert hook.told == [("button", "no_events"), ("button", "no_events")]
    assert hook.received[0].told["text"] == "button: No events for 3 days. Does the page still send them?"


def test_a_notice_is_small_json_that_slack_shows(fake, receiver):
    hook = receiver()
    notify(hook.url, secret="s3cret")
    name = "<!channel> & “ü”"
    count(name, EVEN, WINS, "shop")
    changes = {"owner": "Ada", "link": "https://example.com/1"}
    lives.change(connection.client(), "shop", name, changes)
    snapshots.take(START)
    ((path, headers, body),) = hook.received
    told = json.loads(body)
    assert told.pop("text").startswith("&lt;!channel&gt; &amp; “ü” (shop): B wins on buy: +")
    assert len(told.pop("id")) == 32
    assert told == {
        "at": "2024-10-04T00:00:00Z",
        "kind": "winner",
        "namespace": "shop",
        "experiment": name,
        "goal": "buy",
        "variants": ["b"],
        "owner": "Ada",
        "link": "https://example.com/1",
    }
    assert (path, headers["Host"], headers["Content-Type"]) == (
        "/hook?key=1",
        f"localhost:{hook.site.server_port}",
        "application/json",
    )
    expected = hmac.new(b"s3cret", headers["X-Gimel-Timestamp"].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["X-Gimel-Signature"] == f"sha256={expected}"


def test_it_is_signed_only_with_a_secret_and_sent_only_if_it_is_asked_for(fake, receiver):
    hook = receiver()
    notify(hook.url, on=frozenset(["loser"]))
    count("winning", EVEN, WINS)
    count("losing", EVEN, LOSES)
    snapshots.take(START)
    assert hook.told == [("losing", "loser")]
    assert "X-Gimel-Signature" not in hook.received[0].headers


@pytest.mark.parametrize("status", ["decided", "stopped"])
def test_what_is_decided_or_stopped_tells_nothing(fake, receiver, status):
    hook = receiver()
    notify(hook.url)
    count("winning", EVEN, WINS)
    lives.change(
        connection.client(),
        "alephbet",
        "winning",
        {"status": status, **({"decision": "b"} if status == "decided" else {})},
    )
    snapshots.take(START)
    assert hook.told == []
    assert not fake.exists("gimel-notices")


def test_nothing_is_kept_of_an_experiment_that_is_deleted_but_of_one_that_is_stopped(single, receiver):
    hook = receiver()
    notify(hook.url)
    for name in "deleted", "stopped":
        count(name, EVEN, WINS)
    snapshots.take(START)
    assert len(hook.told) == single.hlen("gimel-notices") == 2
    gimel.delete({"experiment": "deleted"})
    lives.change(connection.client(), "alephbet", "stopped", {"status": "stopped"})
    snapshots.take(START + HOUR)
    assert single.hlen("gimel-notices") == 1
    lives.change(connection.client(), "alephbet", "stopped", {"status": "running"})
    count("deleted", EVEN, WINS)
    snapshots.take(START + 2 * HOUR)
    assert hook.told[2:] == [("deleted", "winner")]


def test_of_two_snapshots_at_once_one_sends(single, receiver, monkeypatch):
    hook, send, left_s = receiver(), notices.post, []
    notify(hook.url)
    count("winning", EVEN, WINS)
    count("losing", EVEN, LOSES)

    def post(*given: Any) -> int:
        if len(left_s) < 2:  # or, if the other one sends too, for ever
            left_s.append(single.ttl("gimel-notifying"))
            snapshots.take(START)
        return send(*given)

    monkeypatch.setattr(notices, "post", post)
    snapshots.take(START)
    assert sorted(hook.told) == [("losing", "loser"), ("winning", "winner")]
    longest_s = notices.LONGEST_S + 3 * notices.TIMEOUT_S + 4  # with the pauses
    assert all(longest_s < one <= notices.CLAIMED_S for one in left_s)
    assert not single.exists("gimel-notifying")


def test_who_was_cut_off_while_sending_holds_up_no_later_snapshot(single, receiver):
    hook = receiver()
    notify(hook.url)
    count("winning", EVEN, WINS)
    single.set("gimel-notifying", START, px=60_000)
    snapshots.take(START)
    assert hook.told == []
    single.pexpire("gimel-notifying", 0)
    snapshots.take(START + HOUR)
    assert hook.told == [("winning", "winner")]


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_receiver_that_is_down_is_asked_again_now_and_by_the_next_snapshots(fake, receiver, caplog, status):
    hook = receiver(status)
    notify(hook.url)
    count("winning", EVEN, WINS)
    count("losing", EVEN, LOSES)
    assert snapshots.take(START) == (2, 2)
    assert len(hook.received) == 3
    assert [record.message for record in caplog.records] == [
        f"localhost did not take a notice (it answers {status}); the next snapshot tries again"
    ]
    hook.statuses = [204]
    snapshots.take(START + HOUR)
    assert sorted(hook.told[3:]) == [("losing", "loser"), ("winning", "winner")]
    assert len({one.told["id"] for one in hook.received}) == 2
    snapshots.take(START + 2 * HOUR)
    assert len(hook.received) == 5


@pytest.mark.parametrize("status", [302, 307, 400, 404])
def test_a_notice_that_is_refused_holds_up_no_other_and_is_given_up_after_three_days(fake, receiver, caplog, status):
    hook = receiver(status)
    notify(hook.url, on=frozenset(["winner", "loser"]))
    count("winning", EVEN, WINS)
    count("losing", EVEN, LOSES)
    snapshots.take(START)
    assert sorted(hook.told) == [("losing", "loser"), ("winning", "winner")]  # and no redirect was followed
    snapshots.take(START + 3 * DAY)
    snapshots.take(START + 3 * DAY + HOUR)
    assert len(hook.told) == 4
    assert [record.message for record in caplog.records] == [
        *[f"localhost did not take a notice (it answers {status}); the next snapshot tries again"] * 4,
        *["a notice was not taken for 3 days and is given up"] * 2,
    ]
    snapshots.take(START + 3 * DAY + 2 * HOUR)
    assert len(hook.told) == 4


def test_one_who_cannot_be_reached_costs_no_snapshot(fake, receiver, caplog):
    hook = receiver()
    notify("http://127.0.0.1:1/")
    count("winning", EVEN, WINS)
    assert snapshots.take(START) == (1, 1)
    assert "Connection refused" in caplog.records[0].message
    notify(hook.url)
    snapshots.take(START + HOUR)
    assert hook.told == [("winning", "winner")]


def test_what_no_one_foresaw_costs_no_snapshot(fake, receiver, monkeypatch, caplog):
    notify(receiver().url)
    count("winning", EVEN, WINS)
    monkeypatch.setattr(notices, "post", lambda *given: 1 / 0)
    assert snapshots.take(START) == (1, 1)
    assert caplog.records[0].message == "could not send notices: division by zero"


def test_a_slow_receiver_does_not_hold_up_the_snapshot(fake, receiver, monkeypatch, caplog):
    hook = receiver(200)
    notify(hook.url)
    for number in range(3):
        count(f"winning {number}", EVEN, WINS)
    monkeypatch.setattr(notices, "LONGEST_S", -1.0)
    snapshots.take(START)
    assert (hook.told, caplog.records[-1].message) == ([], "localhost is slow; the next snapshot goes on")
    monkeypatch.undo()
    snapshots.take(START + HOUR)
    assert len(hook.told) == 3


def test_what_a_receiver_sends_begins_no_line_of_the_log(fake, monkeypatch, caplog):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for _ in range(3):
                link, _ = server.accept()
                with link:
                    link.recv(65536)
                    link.sendall(b"forged\x1b[2J line\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        monkeypatch.setattr(notices, "PAUSES_S", (0.0, 0.0))
        notify(f"http://127.0.0.1:{server.getsockname()[1]}/")
        count("winning", EVEN, WINS)
        snapshots.take(START)
    assert "forged" in caplog.records[0].message
    assert caplog.records[0].message.isprintable()


def test_a_receiver_may_be_named_by_its_address_in_ipv6(monkeypatch):
    asked = []

    def reach(address: tuple[str, int], *given: Any) -> socket.socket:
        asked.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", reach)
    with pytest.raises(ConnectionRefusedError):
        notices.post(Notify("https://[2606:4700::abcd]/"), b"{}")
    assert asked == [("2606:4700::abcd", 443)]


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "192.0.0.192"),
        *("224.0.0.1", "::", "::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::"),
        *("64:ff9b:1::a00:1", "fec0::1", "::a00:1"),
    ],
)
def test_a_private_address_is_not_asked(monkeypatch, address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **more: [(family, 1, 6, "", (address, 443))])
    monkeypatch.setattr(socket, "create_connection", lambda *given: pytest.fail("connected"))
    with pytest.raises(OSError, match=r"hook\.example has a private address"):
        notices.post(Notify("https://hook.example/"), b"{}")


def test_the_address_that_was_checked_is_the_one_that_is_asked(monkeypatch, receiver):
    hook = receiver()
    names, asked = [], []
    lookup, connect = socket.getaddrinfo, socket.create_connection

    def resolve(host: str, *given: Any, **more: Any) -> list[Any]:
        names.append(host)
        return [(socket.AF_INET, 1, 6, "", ("8.8.8.8", 0))] if host == "hook.example" else lookup(host, *given, **more)

    def reach(address: tuple[str, int], *given: Any) -> socket.socket:
        asked.append(address)
        return connect(("127.0.0.1", hook.site.server_port), *given)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", reach)
    assert notices.post(Notify("http://hook.example/"), b"{}") == 200
    assert (names.count("hook.example"), asked) == (1, [("8.8.8.8", 80)])
    assert hook.received[0].headers["Host"] == "hook.example"


def test_a_certificate_must_be_valid_for_the_name(receiver, tmp_path, monkeypatch):
    openssl = shutil.which("openssl") or missing("no openssl: install the Debian package openssl")
    wanted = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    files = ["-keyout", tmp_path / "key", "-out", tmp_path / "crt", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([openssl, "req", *wanted, *files], check=True, capture_output=True, timeout=30)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    hook = receiver(tls=tls)
    settings = Notify(hook.url, allow_private=True)
    with pytest.raises(ssl.SSLError, match=r"self.signed"):
        notices.post(settings, b"{}")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "crt"))
    assert notices.post(settings, b"{}") == 200
    with pytest.raises(ssl.SSLError, match="IP address mismatch"):
        notices.post(Notify(hook.url.replace("localhost", "127.0.0.1"), allow_private=True), b"{}")


def load(content: object, **environ: str) -> config.Config:
    return config.check(config.ConfigFile(Path("config.json"), {"notify": content}), environ)


def test_the_environment_can_have_the_secret_and_the_url():
    found = load({"url": "https://example.com/hook"}, GIMEL_NOTIFY_SECRET="s3cret").notify
    assert found == Notify("https://example.com/hook", frozenset(NOTICES), "s3cret")
    assert "s3cret" not in repr(found)
    assert "hook" not in repr(found)
    found = load(
        {"on": ["winner"], "secret": "old"}, GIMEL_NOTIFY_URL="https://example.com/", GIMEL_NOTIFY_SECRET="new"
    )
    assert found.notify == Notify("https://example.com/", frozenset(["winner"]), "new")
    assert load(None).notify is None
    assert load(None, GIMEL_NOTIFY_URL="https://example.com/").notify == Notify("https://example.com/")
    # The functions that take no snapshots have none of the two.
    assert load({"on": ["winner"]}, AWS_LAMBDA_FUNCTION_NAME="gimel-track").notify is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"url": "http://example.com/secret"}, "notify.url: must be an https:// address"),
        ({"url": "https://user:pw@example.com/"}, "notify.url: must be an https:// address"),
        ({"url": "https://exa mple.com/"}, "notify.url: must be an https:// address"),
        ({"url": "example.com"}, "notify.url: must be an https:// address"),
        ({}, "notify: needs url, where to send notices"),
        ({"url": "https://example.com", "on": []}, "notify.on: must be a list of some of winner, loser, split"),
        ({"url": "https://example.com", "on": ["won"]}, "notify.on: must be a list of some of winner, loser, split"),
        ({"url": "https://example.com", "secrets": "x"}, "notify.secrets: unknown key; did you mean secret?"),
        ("https://example.com", "notify: must be an object"),
    ],
)
def test_a_mistake_is_told_without_the_url(content, problem):
    with pytest.raises(ConfigError) as error:
        load(content)
    assert problem in str(error.value)
    assert "/secret" not in str(error.value)


def test_plain_http_is_for_private_receivers():
    assert load({"url": "http://[::1]:8080", "allow_private": True}).notify == Notify(
        "http://[::1]:8080", frozenset(NOTICES), None, True
    )
