"""The snapshots that the local server takes by itself."""

from __future__ import annotations

import threading

import pytest

from gimel import config, connection, histories, snapshots
from gimel.ops.server import hourly
from gimel.ops.server.hourly import Hourly
from tests.parts import GimelServer, wait_for
from tests.test_snapshots import LAST, START, series, visit


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(histories, "now", found)
    monkeypatch.setattr("gimel.reports.now", found)
    return found


def at(clock: Clock, server: Hourly, moment: int) -> list[tuple[int, int]]:
    """The history, once it is this late."""
    clock.now = START + moment
    server.take_if_due()
    return series()


def test_a_snapshot_is_taken_at_every_full_hour(fake, clock):
    server = Hourly()
    visit(4)
    assert at(clock, server, 10) == [(10, 4)]
    visit(4, first=4)
    assert at(clock, server, 59) == [(10, 4)]
    assert at(clock, server, 60) == [(10, 4), (60, 8)]
    visit(2, first=8)
    assert at(clock, server, 119) == [(10, 4), (60, 8)]
    assert at(clock, server, 121) == [(10, 4), (60, 8), (121, 10)]


def test_a_server_that_starts_anew_takes_one_only_if_there_is_none_of_this_hour(fake, clock):
    visit(4)
    at(clock, Hourly(), 60)
    visit(4, first=4)
    assert at(clock, Hourly(), 100) == [(60, 4)]
    assert at(clock, Hourly(), 120) == [(60, 4), (120, 8)]


def test_none_is_taken_where_a_schedule_has_done_it(fake, clock):
    server = Hourly()
    visit(4)
    at(clock, server, 0)
    visit(4, first=4)
    snapshots.take(START + 61)
    visit(4, first=8)
    assert at(clock, server, 62) == [(0, 4), (61, 8)]


def test_an_outage_is_logged_once_and_costs_a_point_at_most(single, clock, caplog):
    server = Hourly()
    visit(4)
    assert at(clock, server, 0) == [(0, 4)]
    settings = connection.settings()
    connection.use(config.Config(redis_settings=config.RedisSettings(url="redis://127.0.0.1:1")))
    for moment in 60, 61, 62:
        clock.now = START + moment
        server.take_if_due()
    connection.use(settings)
    visit(4, first=4)
    assert at(clock, server, 63) == [(0, 4), (63, 8)]
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "cannot take a snapshot",
        "snapshots are taken again",
    ]


def test_its_thread_follows_the_clock_and_ends_with_the_server(fake, clock, monkeypatch):
    monkeypatch.setattr(hourly, "POLL_S", 0.01)
    visit(4)
    with Hourly():
        wait_for(lambda: fake.get(LAST) == f"{START}", "the first snapshot")
        visit(4, first=4)
        clock.now += 60
        wait_for(lambda: fake.get(LAST) == f"{START + 60}", "the second snapshot")
    assert "snapshots" not in [thread.name for thread in threading.enumerate()]
    assert series() == [(0, 4), (60, 8)]


def test_gimel_serve_takes_the_first_one_when_it_starts(serve, redis_server):
    connection.use(config.Config(redis_settings=config.RedisSettings(url=redis_server.url)))
    visit(4)
    server: GimelServer = serve(GIMEL_REDIS_URL=redis_server.url)
    wait_for(lambda: redis_server.client().get(LAST), "a snapshot")
    assert len(series()) == 1
    assert server.stop() == 0
    assert "snapshot" not in server.output
