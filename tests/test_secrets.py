"""Ids of visitors, keys and passwords, planted and searched for in logs, answers, errors, the zip, pages and files."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import signal
import zipfile
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
import redis
from click.testing import CliRunner

import gimel
from gimel import config, connection
from gimel.errors import GimelError
from gimel.ops.commands.main import main

from .aws.test_bundle import desired_of
from .calls import EVENT, make_http_event, make_queue_event, make_rest_event, post
from .faults.generated import PASSWORD, PLANTED, logged
from .parts import CACHE, RedisServer, free_port
from .server.test_app import ask

pytestmark = pytest.mark.slow

VISIT = {**EVENT, "uuid": f"{PLANTED}-uuid"}
TRACKED = [
    make_rest_event(query=VISIT),
    make_http_event(query=VISIT),
    post([VISIT, {**VISIT, "variant": ""}]),
    make_queue_event(json.dumps(VISIT), json.dumps({**VISIT, "event": None})),
    VISIT,
]


def wrong_type(server: RedisServer, client: redis.Redis) -> None:
    client.set("alephbet:counters:button color:participate:red", "x")


def wrong_type_of_a_list(server: RedisServer, client: redis.Redis) -> None:
    client.set("alephbet:counter_keys", "x")


def out_of_memory(server: RedisServer, client: redis.Redis) -> None:
    client.config_set("maxmemory", 1)


def replica(server: RedisServer, client: redis.Redis) -> None:
    client.replicaof("127.0.0.1", free_port())


def forbidden(server: RedisServer, client: redis.Redis) -> None:
    client.execute_command("ACL", "SETUSER", "default", "-pfadd")


def forbidden_keys(server: RedisServer, client: redis.Redis) -> None:
    client.execute_command("ACL", "SETUSER", "default", "resetkeys", "~other")


def unknown_command(server: RedisServer, client: redis.Redis) -> None:
    server.stop()
    server.options = (*server.options, "--rename-command", "PFADD", "")
    server.start()


def new_password(server: RedisServer, client: redis.Redis) -> None:
    client.config_set("requirepass", "another")
    client.client_kill_filter(_type="normal", skipme=False)


def hangs(server: RedisServer, client: redis.Redis) -> None:
    os.kill(server.process.pid, signal.SIGSTOP)


def gone(server: RedisServer, client: redis.Redis) -> None:
    server.stop()


FAULTS = [
    *(wrong_type, wrong_type_of_a_list, out_of_memory, replica, forbidden, forbidden_keys, unknown_command),
    *(new_password, hangs, gone),
]


@pytest.mark.parametrize("on_lambda", [False, True], ids=["", "on Lambda"])
@pytest.mark.parametrize("fault", FAULTS, ids=[fault.__name__ for fault in FAULTS])
def test_no_failure_of_redis_brings_an_id_or_password_into_a_log_or_an_answer(
    tmp_path, monkeypatch, capsys, fault, on_lambda
):
    if on_lambda:
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "gimel-track")
        monkeypatch.setenv("GIMEL_METRICS", "shop")
    server = RedisServer(tmp_path, "--requirepass", PASSWORD, "--appendonly", "no").start()
    url = server.url.replace("://", f"://:{PASSWORD}@")
    connection.use(config.Config(redis_settings=config.RedisSettings(url=url)))
    gimel.track({**EVENT, "event": "buy"})
    try:
        with logged() as log:
            fault(server, redis.Redis.from_url(url))
            answers = [answer(lambda event=event: gimel.track(event)) for event in TRACKED]
    finally:
        if fault is hangs:
            os.kill(server.process.pid, signal.SIGCONT)
        server.stop()
    told = log.getvalue() + capsys.readouterr().out
    assert told
    assert ('"level":"ERROR"' in told) == on_lambda
    assert any("503" in each or "StoreUnavailable" in each for each in answers)
    assert PLANTED not in told
    assert PLANTED not in "".join(answers)


def answer(call: Callable[[], object]) -> str:
    """What comes back to whoever calls: an answer, or an exception as Lambda reports it."""
    try:
        return json.dumps(call())
    except GimelError as error:
        return f"{type(error).__name__} {error} {error.__cause__ or ''}"


def test_commands_that_fail_do_not_show_the_password(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIMEL_REDIS_URL", f"redis://:{PASSWORD}@127.0.0.1:{free_port()}")
    (tmp_path / "f").write_text("x")
    for command in (["report"], ["export", "g"], ["import", "f"], ["preflight"], ["deploy", "--dry-run"]):
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 1
        assert PLANTED not in done.output + str(done.exception)


@pytest.mark.parametrize("in_url", [True, False])
def test_the_zip_has_no_password_and_no_comment(tmp_path, monkeypatch, in_url):
    redis_section = {"host": "redis.example.com", "password": PASSWORD}
    if in_url:
        redis_section = {"url": f"rediss://gimel:{PASSWORD}@redis.example.com"}
    monkeypatch.setenv("GIMEL_CACHE", str(CACHE / "wheels"))
    built = desired_of(tmp_path, {"redis": redis_section, "// note": f"{PLANTED} comment"})
    with zipfile.ZipFile(io.BytesIO(built.bundle.data)) as archive:
        contents = b"".join(name.encode() + archive.read(name) for name in archive.namelist())
    assert len(contents) > 1_000_000
    assert PLANTED.encode() not in contents


def test_no_page_of_the_server_has_the_key_or_an_id(serve, redis_server):
    server = serve("--api-key", f"{PLANTED}-key", GIMEL_REDIS_URL=redis_server.url)
    key = {"x_api_key": f"{PLANTED}-key"}
    asked = ["/", "/?about=1", "/example", "/health", "/openapi.json", "/nowhere"]
    asked += [f"/track?{urlencode(VISIT)}", f"/track?{urlencode({**VISIT, 'variant': ''})}"]
    asked += ["/experiments", "/experiment?experiment=button+color", "/experiment", "/experiments?namespace=:"]
    answers = [ask(f"{server.url}{path}", **key) for path in asked]
    answers += [ask(f"{server.url}/experiments", x_api_key=f"{PLANTED}-wrong")]
    assert {status for status, _, _ in answers} == {200, 400, 403, 404}
    assert not [text for _, headers, text in answers if PLANTED in text + str(headers)]
    assert PLANTED not in server.output


def test_an_export_has_no_id(single, tmp_path, monkeypatch, redis_server):
    monkeypatch.setenv("GIMEL_REDIS_URL", connection.settings().redis.url)
    for precision in (1, 16, "exact"):
        url = config.RedisSettings(url=connection.settings().redis.url)
        connection.use(config.Config(redis_settings=url, precision=precision))
        gimel.track(VISIT)
    assert CliRunner().invoke(main, ["export", str(tmp_path / "f.gz")]).exit_code == 0
    text = gzip.decompress((tmp_path / "f.gz").read_bytes())
    inside = b"".join(
        base64.b64decode(each)
        for line in text.splitlines()
        for record in [json.loads(line)["record"]]
        for each in [record.get("hyperloglog", ""), *record.get("set", [])]
    )
    assert len(inside) > 20
    assert PLANTED.encode() not in text + inside
