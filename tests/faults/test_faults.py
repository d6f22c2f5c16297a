"""A short form of `make faults`: fewer events and shorter faults, but every event must still be there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from gimel import counters
from gimel.events import Event
from tests.parts import RedisServer

from . import trial
from .clients import EXPERIMENT
from .faults import FAULTS

pytestmark = pytest.mark.slow

EVENTS = 400
LASTS_S = 1.5

SHORT = (
    *("redis_killed", "redis_stopped", "memory_full", "failover_by_crash", "failover_by_demotion"),
    *("replies_lost", "serve_and_redis_killed", "disk_full", "cluster_master_killed"),
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[trial.Stage]:
    with trial.stage(tmp_path_factory.mktemp("stage")) as started:
        yield started


@pytest.mark.parametrize("name", SHORT)
def test_no_event_is_lost_or_doubled(name: str, stage: trial.Stage, tmp_path: Path) -> None:
    outcomes = trial.run(FAULTS[name], EVENTS, tmp_path / "world", stage, LASTS_S)
    assert [each for one in outcomes for each in one.losses(FAULTS[name])] == []
    assert all(one.answered for one in outcomes)


def test_the_judge_sees_what_is_missing_and_what_was_not_sent(redis_server: RedisServer) -> None:
    client = redis.Redis(port=redis_server.port)
    sent = [Event("serve", EXPERIMENT, "clicked", "red", uuid) for uuid in ("1", "2", "3")]
    others = [sent[0]._replace(uuid="4"), sent[0]._replace(variant="blue"), sent[0]._replace(namespace="lambda")]
    counters.record(client, [*sent[1:], *others], lambda experiment: "exact")
    assert trial.compare(client, "serve", sent) == ({"1"}, 2)
