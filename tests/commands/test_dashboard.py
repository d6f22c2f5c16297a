"""The address of `gimel dashboard`."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from gimel.ops.commands import dashboard
from gimel.ops.server.app import App
from gimel.ops.server.local import LocalApi
from gimel.ops.server.wsgi import PortTaken
from tests.parts import free_port


@pytest.fixture
def default(monkeypatch: pytest.MonkeyPatch) -> int:
    """The default port, replaced by one that nobody else on this machine uses."""
    monkeypatch.setattr(dashboard, "PORT", free_port())
    return dashboard.PORT


@pytest.fixture
def taken(default: int) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", default)):
        yield default


def port_of(port: int | None) -> int:
    server = dashboard.bind(App(LocalApi().answer), port)
    server.close()
    return int(server.url.rpartition(":")[2])


def test_the_port_is_the_same_every_time(default):
    assert [port_of(None), port_of(None)] == [default, default]


def test_a_free_port_replaces_the_default_one_if_that_is_taken(taken, capsys):
    assert port_of(None) != taken
    assert f"Port {taken} is taken" in capsys.readouterr().err


def test_a_port_that_was_asked_for_is_not_replaced(taken):
    with pytest.raises(PortTaken) as error:
        port_of(taken)
    assert error.value.hint == "choose another port with --port"


def test_port_0_is_any_free_port(default):
    assert port_of(0) not in (0, default)
