"""Where `gimel dashboard` is found."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from gimel.errors import ConfigError
from gimel.ops.commands import dashboard
from gimel.ops.server.app import App
from tests.parts import free_port


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> int:
    """The usual port, for a test that must not depend on who else uses this machine."""
    monkeypatch.setattr(dashboard, "PORT", free_port())
    return dashboard.PORT


@pytest.fixture
def taken(usual: int) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", usual)):
        yield usual


def port_of(port: int | None) -> int:
    server = dashboard.bound(App(), port)
    server._server.close()
    return int(server.url.rpartition(":")[2])


def test_the_port_is_the_same_every_time(usual):
    assert [port_of(None), port_of(None)] == [usual, usual]


def test_a_free_port_takes_the_place_of_one_that_is_taken_and_is_told(taken, capsys):
    assert port_of(None) != taken
    assert f"Port {taken} is taken" in capsys.readouterr().err


def test_a_port_that_was_asked_for_is_not_exchanged_for_another(taken):
    with pytest.raises(ConfigError):
        port_of(taken)


def test_zero_asks_for_a_free_port(usual):
    assert port_of(0) not in (0, usual)
