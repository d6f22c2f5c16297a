"""A short form of `make faults`: fewer events and shorter faults, but every event must still be there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from . import trial
from .faults import FAULTS

pytestmark = pytest.mark.slow

EVENTS = 400
LASTS_S = 1.5

SHORT = (
    *("redis_killed", "redis_stopped", "memory_full", "failover_by_crash", "failover_by_demotion"),
    *("replies_lost", "serve_and_redis_killed", "disk_full"),
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
