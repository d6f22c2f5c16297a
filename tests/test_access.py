"""Two kinds of API key, checked by the handlers themselves."""

from __future__ import annotations

import json

import pytest

import gimel
from gimel import access
from gimel.access import READ, WRITE, Key
from gimel.errors import ConfigError
from tests.calls import make_rest_event, read


@pytest.fixture(autouse=True)
def keys(fake):
    access.use([Key.of(WRITE, "w"), Key.of(READ, "r"), Key.of(WRITE, "old", until=1)])


def status(entry, method, key=None, **params):
    return entry(make_rest_event(method, params, headers={"x-api-key": key} if key else {}))["statusCode"]


@pytest.mark.parametrize(
    ("key", "reads", "writes"), [("w", 200, 200), ("r", 200, 403), (None, 403, 403), ("old", 403, 403)]
)
def test_a_read_key_reads_and_a_write_key_also_deletes(key, reads, writes):
    assert status(gimel.all, "GET", key) == reads
    assert status(gimel.delete, "DELETE", key, experiment="x") == writes
    assert status(gimel.health, "GET", key) == 200


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
