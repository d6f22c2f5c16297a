"""The two kinds of API key of `gimel serve`, over real HTTP, and the address of a proxy before it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from gimel.access import WRITE
from gimel.errors import ConfigError
from gimel.ops.api_client import InvalidUrl
from gimel.ops.endpoints import ENDPOINTS
from tests.calls import EVENT
from tests.commands.test_main import fail
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


def test_the_write_key_deletes(serve):
    server = serve("--api-key", "w", "--read-key", "r")
    ask(f"{server.url}/track", "POST", json.dumps(EVENT).encode())
    assert ask(f"{server.url}/delete?experiment=button+color", "DELETE", x_api_key="w")[0] == 200
    assert len(json.loads(ask(f"{server.url}/experiments", x_api_key="r")[2])) == 1


def test_the_address_of_a_proxy_is_where_pages_send_events(server):
    assert f"Dashboard:       {URL}/" in server.lines
    assert f"Track URL:       {URL}/e" in server.lines
    assert json.loads(ask(f"{server.url}/about")[2])["track_url"] == f"{URL}/e"
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
