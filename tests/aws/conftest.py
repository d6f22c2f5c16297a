from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from gimel.ops import bundle, wanted
from gimel.ops.aws import Aws
from gimel.ops.deployment import Deployment
from tests.aws.account import Account
from tests.parts import CACHE

_build = bundle.build


@functools.lru_cache(maxsize=32)
def _built(content: str, runtime: str, files: tuple[tuple[str, bytes], ...]) -> bundle.Bundle:
    return _build(json.loads(content), runtime, dict(files))


@pytest.fixture(autouse=True)
def _wheels(_own_settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wheels are fetched once for all tests; and credentials, if there are any, are not used."""
    monkeypatch.setenv("GIMEL_CACHE", str(CACHE / "wheels"))
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_REGION", raising=False)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """An empty account of moto's, in which each zip is built only once."""

    def build(content: dict[str, Any], runtime: str, files: dict[str, bytes] | None = None) -> bundle.Bundle:
        return _built(json.dumps(content, sort_keys=True), runtime, tuple((files or {}).items()))

    monkeypatch.setattr(wanted.bundle, "build", build)
    with mock_aws(config={"lambda": {"use_docker": False}}):
        yield Account()


@pytest.fixture
def gimel_at(account: Account, tmp_path: Path) -> Callable[..., Deployment]:
    """The deployment that a config.json with this `aws` section (and other keys) describes."""

    def load(other: dict[str, Any] | None = None, **aws: Any) -> Deployment:
        path = tmp_path / "config.json"
        redis = {"host": "redis.example.com", "password": "open sesame"}
        path.write_text(json.dumps({"redis": redis, "aws": aws, **(other or {})}))
        return Deployment.load(path, Aws(account.session, sleep=lambda seconds: None))

    return load
