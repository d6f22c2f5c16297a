"""The zip under awslambdaric, the runtime client that AWS itself uses, with a real Redis."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from gimel.ops.aws import desired, settings
from gimel.ops.aws.names import Account
from tests.parts import RedisServer, missing, wait_for

from .runtime_api import Lambda

pytestmark = pytest.mark.slow

EVENT = {"experiment": "button", "variant": "red", "event": "participate", "uuid": "u1"}


def proxy(method: str, **params: str) -> dict:
    return {"httpMethod": method, "path": "/", "headers": {}, "queryStringParameters": params, "body": None}


@pytest.fixture
def unzip(tmp_path):
    if importlib.util.find_spec("awslambdaric") is None:
        missing("no awslambdaric: `pip install awslambdaric`")

    def unzip(**redis: object) -> tuple[Path, dict[str, str]]:
        path = tmp_path / "config.json"
        # This Python runs the zip, whichever the default is.
        runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
        path.write_text(json.dumps({"redis": redis, "aws": {"runtime": runtime}}))
        built = desired.build(
            *settings.load(path), Account("1", "eu-west-1", "aws", "https://sqs.eu-west-1.amazonaws.com")
        )
        ZipFile(io.BytesIO(built.bundle.data)).extractall(tmp_path / "task")
        return tmp_path / "task", built.functions[0].configuration["Environment"]["Variables"]

    return unzip


def test_it_counts_an_event_and_reports_it(unzip, redis_server):
    folder, environ = unzip(host="127.0.0.1", port=redis_server.port)
    with Lambda(folder, "gimel.track", **environ) as track:
        kind, answer = track(proxy("GET", **EVENT))
        assert (kind, answer["statusCode"], answer["body"]) == ("response", 200, "null")
        assert track(EVENT) == ("response", None)
    with Lambda(folder, "gimel.all", **environ) as reports:
        _, answer = reports(proxy("GET"))
        (item,) = [item for item in json.loads(answer["body"]) if "experiment" in item]
        assert item["experiment"] == "button"
    assert redis_server.client().pfcount("alephbet:counters:button:participate:red") == 1


def test_the_password_comes_from_the_environment(unzip, tmp_path):
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis", "--requirepass", "open sesame").start()
    try:
        folder, environ = unzip(host="127.0.0.1", port=server.port, password="open sesame")
        assert "open sesame" not in (folder / "config.json").read_text()
        with Lambda(folder, "gimel.track", **environ) as track:
            assert track(proxy("GET", **EVENT))[1]["statusCode"] == 200
        with Lambda(folder, "gimel.track") as track:
            assert track(proxy("GET", **EVENT))[1]["statusCode"] == 503
    finally:
        server.stop()


def test_an_http_error_is_a_response_and_a_flat_events_error_is_raised(unzip, redis_server):
    folder, environ = unzip(host="127.0.0.1", port=redis_server.port)
    with Lambda(folder, "gimel.track", **environ) as track:
        kind, answer = track(proxy("GET", experiment="button"))
        assert (kind, answer["statusCode"]) == ("response", 400)
        assert answer["headers"]["Access-Control-Allow-Origin"] == "*"
        kind, answer = track({"experiment": "button"})
        assert (kind, answer["errorType"]) == ("error", "BadRequest")


def test_a_lost_redis_is_a_503_and_the_same_container_recovers(unzip, redis_server):
    folder, environ = unzip(host="127.0.0.1", port=redis_server.port)
    with Lambda(folder, "gimel.track", **environ) as track:
        assert track(proxy("GET", **EVENT))[1]["statusCode"] == 200
        redis_server.stop()
        assert track(proxy("GET", **EVENT))[1]["statusCode"] == 503
        redis_server.start()
        # For a second or two after a failure, only one request in a while asks Redis.
        wait_for(lambda: track(proxy("GET", **EVENT))[1]["statusCode"] == 200, "Redis to be found again")


def test_an_import_error_is_reported_to_lambda(unzip, redis_server):
    folder, environ = unzip(host="127.0.0.1", port=redis_server.port)
    (folder / "gimel" / "handlers.py").unlink()
    for compiled in (folder / "gimel" / "__pycache__").glob("handlers.*"):
        compiled.unlink()
    with Lambda(folder, "gimel.track", **environ) as track:
        kind, answer = track(EVENT)
        assert kind in ("init", "error")
        assert answer["errorType"] == "Runtime.ImportModuleError"


def test_a_cold_start_compiles_nothing(unzip, redis_server):
    folder, environ = unzip(host="127.0.0.1", port=redis_server.port)
    # These sources would fail if they were read, but compiled files are used without checking them.
    for source in [*(folder / "gimel").rglob("*.py"), *(folder / "redis").rglob("*.py")]:
        if importlib_cache(source).exists():
            source.write_text("raise ImportError('the source was read')")
    with Lambda(folder, "gimel.track", **environ) as track:
        assert track(proxy("GET", **EVENT))[1]["statusCode"] == 200


def importlib_cache(source: Path) -> Path:
    return source.parent / "__pycache__" / f"{source.stem}.{sys.implementation.cache_tag}.pyc"
