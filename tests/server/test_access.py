"""The two kinds of API key, over real HTTP and through `gimel dashboard`, and the address of a proxy in front."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import pytest

import gimel
from gimel.access import WRITE
from gimel.errors import ConfigError
from gimel.ops.api_client import ApiKeyRefused, InvalidUrl
from gimel.ops.endpoints import ENDPOINTS
from gimel.ops.server.app import App
from gimel.ops.server.proxy import Forwarder
from tests.calls import EVENT
from tests.commands.test_main import fail, run
from tests.parts import GimelServer
from tests.server.test_app import ask

KEYS = "--api-key-file", "write-key", "--read-key-file", "read-key"
URL = "https://ab.example.com"
WRITES = [
    (endpoint.path, method) for endpoint in ENDPOINTS for method, kind in endpoint.entry.kinds.items() if kind == WRITE
]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[GimelServer]:
    home = tmp_path_factory.mktemp("home")
    for name in ("write", "read"):
        (home / f"{name}-key").write_text(f"the {name} key\n")
    started = GimelServer(*KEYS, "--public-url", f"{URL}/", home=home)
    ask(f"{started.url}/track", "POST", json.dumps(EVENT).encode())
    yield started
    started.stop()


def test_the_read_key_reads(server):
    status, _, text = ask(f"{server.url}/experiments", x_api_key="the read key")
    (meta, item) = json.loads(text)
    assert (status, meta["meta"]["access"], item["experiment"]) == (200, "read", "button color")


@pytest.mark.parametrize(("path", "method"), WRITES)
@pytest.mark.parametrize(
    ("key", "error"), [("the read key", "this API key can only read"), ("", "API key missing or invalid")]
)
def test_the_read_key_changes_nothing_and_its_request_is_not_read(server, path, method, key, error):
    connection = HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    connection.putrequest(method, f"{path}?experiment=button+color")
    for name, value in {"Content-Length": "1000", "x-api-key": key}.items():
        connection.putheader(name, value)
    connection.endheaders()  # and no body
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]) == (403, error)
    connection.close()
    assert len(json.loads(ask(f"{server.url}/experiments", x_api_key="the read key")[2])) == 2


@pytest.mark.parametrize(("path", "method"), WRITES)
def test_a_browser_may_send_changes_with_a_key(server, path, method):
    status, headers, _ = ask(server.url + path, "OPTIONS", Origin="https://a.example")
    assert (status, headers["Access-Control-Allow-Origin"]) == (204, "*")
    assert method in headers["Access-Control-Allow-Methods"].split(", ")
    assert "x-api-key" in headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize(("path", "method"), WRITES)
def test_the_read_key_of_a_forwarded_api_changes_nothing(server, path, method):
    status, answer = forward(server.url, "the read key", method, path, {"experiment": "button color"})
    assert (status, answer["error"]) == (502, f"{server.url} refused the API key: this API key can only read")
    assert len(forward(server.url, "the read key", "GET", "/experiments")[1]) == 2


@pytest.mark.parametrize("status", [200, 400, 409])
def test_a_change_and_its_answer_are_forwarded_as_they_are(status, monkeypatch):
    class Changing(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps([self.headers["x-api-key"], self.headers["Content-Type"], body]).encode())

        def log_message(self, *ignored: object) -> None:
            pass

    monkeypatch.setitem(gimel.experiment.kinds, "PUT", WRITE)
    with ThreadingHTTPServer(("127.0.0.1", 0), Changing) as api:
        threading.Thread(target=api.serve_forever, daemon=True).start()
        answer = forward(f"http://127.0.0.1:{api.server_port}", "k", "PUT", "/experiment", {"owner": "ש"})
        api.shutdown()
    assert answer == (status, ["k", "application/json", '{"owner": "\\u05e9"}'])


def forward(url: str, key: str, method: str, path: str, content: object = None) -> tuple[int, Any]:
    """What `gimel dashboard` answers its page for the API at this URL."""
    forwarder = Forwarder(url, f"{url}/track", key)
    status, _, body = App(forwarder.answer)(
        {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "HTTP_HOST": "127.0.0.1:8003",
            "HTTP_X_GIMEL_TOKEN": forwarder.tokens.token,
            "wsgi.input": BytesIO(json.dumps(content).encode()),
        }
    )
    return status, json.loads(body)


def test_an_invitation_is_a_link_whose_fragment_has_the_read_key(server, monkeypatch):
    link = run("invite", "--url", server.url, "--read-key", "the read key").stdout
    assert link == f"{server.url}/#key=the+read+key\n"
    monkeypatch.setenv("GIMEL_READ_KEY", "the read key")
    link = run("invite", "--url", f"{server.url}/", "--namespace", "shop", "--experiment", "a & b").stdout
    assert link == f"{server.url}/#namespace=shop&experiment=a+%26+b&key=the+read+key\n"


def test_nobody_is_invited_with_a_key_that_can_do_more_or_nothing(server):
    assert "can also change" in fail(ConfigError, "invite", "--url", server.url, "--read-key", "the write key")
    assert "refused the API key" in fail(ApiKeyRefused, "invite", "--url", server.url, "--read-key", "another")
    assert "--read-key-file" in run("invite", "--url", server.url, code=2).stderr


def test_the_write_key_deletes(serve):
    server = serve("--api-key", "w", "--read-key", "r")
    ask(f"{server.url}/track", "POST", json.dumps(EVENT).encode())
    assert ask(f"{server.url}/delete?experiment=button+color", "DELETE", x_api_key="w")[0] == 200
    assert len(json.loads(ask(f"{server.url}/experiments", x_api_key="r")[2])) == 1


def test_the_address_of_a_proxy_is_where_pages_send_events(server):
    assert f"Dashboard:       {URL}/" in server.lines
    assert f"Track URL:       {URL}/e" in server.lines
    assert json.loads(ask(f"{server.url}/?about=1")[2])["track_url"] == f"{URL}/e"
    assert json.loads(ask(f"{server.url}/openapi.json")[2])["servers"] == [{"url": URL}]


@pytest.mark.parametrize(
    ("options", "kind", "hint"),
    [
        (("--public-url", URL), ConfigError, "set one with --api-key-file"),
        (("--public-url", "ab.example.com", "--api-key", "w"), InvalidUrl, "is not a web address"),
        (("--read-key", "r"), ConfigError, "needs a write key beside it"),
        (("--read-key", "r", "--api-key", "r"), ConfigError, "set another with --read-key-file"),
        (("--read-key-file", "/nowhere", "--api-key", "w"), ConfigError, "check --read-key-file"),
    ],
)
def test_keys_and_addresses_that_cannot_be_are_an_error_at_the_start(options, kind, hint):
    assert hint in fail(kind, "serve", *options)
