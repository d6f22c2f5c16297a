"""Two kinds of API key, checked by the handlers themselves."""

from __future__ import annotations

import json

import pytest

import gimel
from gimel import access
from gimel.access import READ, WRITE, Key
from gimel.errors import ConfigError
from gimel.ops.endpoints import ENDPOINTS
from tests.calls import EVENT, make_http_event, make_rest_event, read


@pytest.fixture(autouse=True)
def keys(fake):
    access.use([Key.of(WRITE, "w"), Key.of(READ, "r"), Key.of(WRITE, "old", until=1), Key.of(WRITE, "")])


def status(entry, method, key=None, **params):
    return entry(make_rest_event(method, params, headers={"x-api-key": key} if key else {}))["statusCode"]


@pytest.mark.parametrize(
    ("key", "reads", "writes"), [("w", 200, 200), ("r", 200, 403), (None, 403, 403), ("old", 403, 403)]
)
def test_a_read_key_reads_and_a_write_key_also_deletes(key, reads, writes):
    assert status(gimel.all, "GET", key) == reads
    assert status(gimel.delete, "DELETE", key, experiment="x") == writes
    assert status(gimel.health, "GET", key) == 200


@pytest.mark.parametrize("make", [make_rest_event, make_http_event], ids=["REST API", "HTTP API or function URL"])
@pytest.mark.parametrize(
    ("endpoint", "method"), [(each, method) for each in ENDPOINTS for method in each.methods if each.needs_key(method)]
)
@pytest.mark.parametrize(("key", "allowed"), [("r", {READ}), ("w", {READ, WRITE}), ("old", set()), ("", set())])
def test_each_method_of_each_endpoint_wants_its_kind_of_key_on_every_front(fake, make, endpoint, method, key, allowed):
    gimel.track(EVENT)
    before = counted(fake)
    answer = endpoint.entry(make(method, EVENT, headers={"X-Api-Key": key}))
    is_allowed = endpoint.entry.kinds[method] in allowed
    assert (answer["statusCode"] == 403) == (not is_allowed)
    assert answer["headers"]["Access-Control-Allow-Origin"] == "*"
    if not is_allowed:
        assert read(answer)["error"] == ("this API key can only read" if allowed else "API key missing or invalid")
        assert counted(fake) == before


def counted(client):
    """All keys that Redis has, with what they hold."""
    return {key: client.dump(key) for key in client.scan_iter()}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: each.path)
def test_a_preflight_needs_no_key_and_allows_to_send_one(endpoint):
    headers = endpoint.entry(make_rest_event("OPTIONS", headers={"origin": "https://a.example"}))["headers"]
    assert headers["Access-Control-Allow-Methods"] == ", ".join([*endpoint.methods, "OPTIONS"])
    assert "x-api-key" in headers["Access-Control-Allow-Headers"]


def test_a_key_of_letters_that_no_header_has_is_only_invalid():
    for key in ("ש", "\ud800", "w\xff", "w, w"):
        assert status(gimel.all, "GET", key) == 403


def test_no_keys_at_all_let_nobody_in():
    access.use([])
    assert status(gimel.all, "GET", "w") == 403


def test_keys_come_from_the_environment(monkeypatch):
    access.use(None)
    assert status(gimel.all, "GET") == 200  # without keys of its own, a function leaves them to the gateway
    monkeypatch.setenv(access.VARIABLE, json.dumps([Key.of(READ, "r").as_dict()]))
    assert [status(gimel.all, "GET", key) for key in (None, "r")] == [403, 200]
    monkeypatch.setenv(access.VARIABLE, "{")
    with pytest.raises(ConfigError):
        access.kind_of("r")


def test_a_report_says_what_its_key_may_do(fake):
    asked = {key: gimel.all(make_rest_event(headers={"x-api-key": key})) for key in ("r", "w")}
    assert {key: read(answer)[0]["meta"]["access"] for key, answer in asked.items()} == {"r": "read", "w": "write"}
    assert gimel.all({})[0]["meta"]["access"] == "write"  # whoever may invoke the function needs no key
