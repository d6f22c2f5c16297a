from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from moto import mock_aws
from moto.apigateway.models import RestAPI, Stage
from moto.apigateway.responses import APIGatewayResponse
from moto.awslambda.models import EventSourceMapping, LambdaFunction, LambdaStorage

from gimel.ops.aws import bundle, client, desired
from gimel.ops.aws.client import Aws
from gimel.ops.aws.deployment import Deployment
from gimel.ops.commands.main import main
from tests.parts import CACHE

from . import http_apis
from .account import Account, small_zip
from .ministack import Ministack

_update_code = LambdaFunction.update_function_code
_publish = LambdaStorage.publish_version
_patch_stage = Stage.apply_operations
_create_api = APIGatewayResponse.create_rest_api
_patch_api = RestAPI.apply_patch_operations
_map = EventSourceMapping.__init__


@pytest.fixture(scope="module")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ministack]:
    server = Ministack(tmp_path_factory.mktemp("ministack"))
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _wheels(_own_settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Share one cache of wheels, and hide real credentials."""
    monkeypatch.setenv("GIMEL_CACHE", str(CACHE / "wheels"))
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_REGION", raising=False)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """An empty moto account. The zip is a small one, because moto runs no code."""

    def build(content: dict[str, Any], runtime: str, files: dict[str, bytes] | None = None) -> bundle.Bundle:
        return bundle.Bundle(small_zip(json.dumps([content, runtime], sort_keys=True)), compiled=False)

    def update_code(function: LambdaFunction, spec: dict[str, Any]) -> dict[str, Any]:
        # AWS updates the architecture with the code; moto does not.
        function.architectures = spec.get("Architectures") or function.architectures
        return _update_code(function, spec)

    monkeypatch.setattr(desired.bundle, "build", build)
    highest: dict[int, int] = {}

    def publish(storage: LambdaStorage, name: str, description: str = "") -> LambdaFunction | None:
        # AWS never reuses a version number; moto does after a deletion.
        before, known = list(storage._functions[name]["versions"]), dict(storage._arns)
        made = _publish(storage, name, description)
        if made and not any(made is version for version in before):
            series = id(storage._functions[name])
            highest[series] = highest.get(series, 0) + 1
            made.set_version(highest[series])
            storage._arns = {**known, made.function_arn: made}
        return made

    def patch_stage(stage: Stage, operations: list[dict[str, str]]) -> Stage:
        # AWS removes the settings of a single method; moto ignores that.
        for one in operations:
            if one["op"] == "remove":
                stage.method_settings.pop(one["path"].lstrip("/"), None)
        return _patch_stage(stage, operations)

    def create_api(response: APIGatewayResponse) -> tuple[int, dict[str, str], str]:
        # moto forgets the binary media types of a new API.
        status, headers, body = _create_api(response)
        api = response.backend.get_rest_api(json.loads(body)["id"])
        api.binaryMediaTypes = response._get_param("binaryMediaTypes") or []
        return status, headers, json.dumps(api.to_dict())

    def patch_api(api: RestAPI, operations: list[dict[str, str]]) -> None:
        # On AWS, the type is in the path; moto takes it from the value.
        kind = "/binaryMediaTypes/"
        _patch_api(api, [one for one in operations if not one["path"].startswith(kind)])
        for one in operations:
            if one["path"].startswith(kind):
                name = one["path"].removeprefix(kind).replace("~1", "/")
                api.binaryMediaTypes = [found for found in api.binaryMediaTypes if found != name]
                api.binaryMediaTypes += [name] if one["op"] == "add" else []

    def map_function(mapping: EventSourceMapping, spec: dict[str, Any]) -> None:
        # AWS keeps the alias in the function's ARN; moto, the version that it points to.
        _map(mapping, spec)
        mapping.function_arn = spec["FunctionName"]

    # moto serves no URL that could be asked.
    monkeypatch.setattr("gimel.ops.aws.selftest.check", lambda *ignored: iter(()))
    monkeypatch.setattr(EventSourceMapping, "__init__", map_function)
    monkeypatch.setattr(APIGatewayResponse, "create_rest_api", create_api)
    monkeypatch.setattr(RestAPI, "apply_patch_operations", patch_api)
    monkeypatch.setattr(Stage, "apply_operations", patch_stage)
    monkeypatch.setattr(LambdaStorage, "publish_version", publish)
    monkeypatch.setattr(LambdaFunction, "update_function_code", update_code)
    http_apis.correct(monkeypatch)
    with mock_aws(config={"lambda": {"use_docker": False}}):
        yield Account()


@pytest.fixture
def gimel_at(account: Account, tmp_path: Path) -> Callable[..., Deployment]:
    """The deployment that a config.json with this `aws` section (and other keys) describes."""

    shared = Aws(account.session, sleep=lambda seconds: None)

    def load(other: dict[str, Any] | None = None, **aws: Any) -> Deployment:
        path = tmp_path / "config.json"
        redis = {"host": "redis.example.com", "password": "open sesame"}
        path.write_text(json.dumps({"redis": redis, "aws": aws, **(other or {})}))
        return Deployment.load(path, shared)

    return load


@pytest.fixture
def run(
    account: Account, gimel_at: Callable[..., Deployment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Run a command in a folder with a config.json."""
    gimel_at()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(client.boto3, "Session", lambda **options: account.session)
    # Do not resolve redis.example.com.
    monkeypatch.setattr("gimel.ops.aws.preflight.check_redis", lambda *ignored: iter(()))

    def run(*command: str, answer: str = "") -> Result:
        done = CliRunner().invoke(main, list(command), input=answer)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    return run
