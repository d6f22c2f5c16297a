"""The self-test: what it asks of a deployed URL, and what a deploy does if that does not count events."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import redis
from click.testing import CliRunner, Result

from gimel import config
from gimel.access import WRITE
from gimel.events import Event
from gimel.ops.aws import selftest
from gimel.ops.aws.deployment import Live
from gimel.ops.aws.findings import Finding, Level
from gimel.ops.commands.main import main
from tests.parts import RedisServer

from .test_local_aws import ask, url_in

VISIT = urlencode({"experiment": "e", "uuid": "1", "variant": "red", "event": "participate"})


class Owner:
    """Stands for a Deployment whose URL a local server answers."""

    def __init__(self, **settings: object) -> None:
        self.config = config.Config(**settings)

    def key_value(self, live: Live) -> str:
        return live.keys[WRITE]


def check(
    url: str,
    key: str = "open sesame",
    patience_s: float = 0,
    sleep: Callable[[float], object] = lambda seconds: None,
    direct: Live | None = None,
    **settings: object,
) -> list[Finding]:
    live = Live(f"{url}/track", url, {WRITE: key})
    owner: Any = Owner(**settings)
    return list(selftest.check(owner, live, direct or live, patience_s, sleep))


@pytest.fixture
def strict(serve, redis_server, tmp_path) -> str:
    """A server that counts only what is listed, only from its own pages, with every limit reached."""
    content = {
        "cors_origins": ["https://shop.example"],
        "require_origin": True,
        "allowed_namespaces": ["shop"],
        "allowed_experiments": ["button"],
        "experiments": {"self-test": {"variants": ["x"], "goals": ["y"]}},
        "limits": {"namespaces": 1, "experiments": 1, "counters": 1, "variants": 1, "goals": 1},
    }
    (tmp_path / "config.json").write_text(json.dumps(content))
    url: str = serve("--api-key", "open sesame", GIMEL_REDIS_URL=redis_server.url).url
    page = {"Origin": "https://shop.example"}
    for goal in ("participate", "bought"):
        query = {"experiment": "button", "uuid": "1", "variant": "red", "event": goal, "namespace": "shop"}
        assert selftest.send(f"{url}/track?{urlencode(query)}", headers=page).status == 200
    return url


def test_it_passes_whatever_is_listed_required_and_full_and_leaves_nothing_behind(strict, redis_server):
    before = set(redis_server.client().scan_iter())
    found = check(strict, cors_origins=("https://shop.example",))
    assert [one.level for one in found] == [Level.GOOD] * 5, found
    assert found[-2].message == "3 events were counted, read back and deleted"
    assert set(redis_server.client().scan_iter()) == before


def test_it_passes_where_every_limit_is_reached(serve, redis_server, tmp_path):
    limits = dict.fromkeys(("namespaces", "experiments", "counters", "variants", "goals"), 1)
    (tmp_path / "config.json").write_text(json.dumps({"limits": limits}))
    url = serve("--api-key", "open sesame", GIMEL_REDIS_URL=redis_server.url).url
    assert selftest.send(f"{url}/track?{VISIT}").status == 200
    assert "x-gimel-ignored" in selftest.send(f"{url}/track?{VISIT}&namespace=another").headers
    assert [one.level for one in check(url)] == [Level.GOOD] * 5


def test_its_namespace_counts_nothing_else():
    settings = config.Config()
    own = Event("gimel-selftest", "self-test", "reached", "a", "1")
    assert settings.unlisted(own) is None
    for name, value in (("experiment", "e"), ("goal", "g"), ("variant", "c")):
        assert settings.unlisted(own._replace(**{name: value})) == "namespace", name


def test_no_known_bot_has_its_user_agent(serve, redis_server):
    assert check(serve("--api-key", "open sesame", GIMEL_REDIS_URL=redis_server.url).url)[-1].level is Level.GOOD


def test_a_wrong_key_is_an_error_once_patience_has_run_out(serve, redis_server):
    url = serve("--api-key", "open sesame", GIMEL_REDIS_URL=redis_server.url).url
    last = check(url, key="wrong", patience_s=4)[-1]
    assert (last.level, "403 Forbidden: API key missing or invalid" in last.message) == (Level.ERROR, True)


def test_an_api_that_cannot_be_reached_is_an_error():
    (finding,) = check("http://127.0.0.1:1", patience_s=4)
    assert (finding.level, "cannot reach http://127.0.0.1:1" in finding.message) == (Level.ERROR, True)


def test_while_a_domain_has_no_dns_record_the_api_s_own_address_is_asked(serve, redis_server):
    url = serve("--api-key", "open sesame", GIMEL_REDIS_URL=redis_server.url).url
    finding, *others = check("https://nowhere.invalid", direct=Live(f"{url}/track", url, {WRITE: "open sesame"}))
    assert [one.level for one in others] == [Level.GOOD] * 5
    assert (finding.level, "nowhere.invalid does not resolve" in finding.message) == (Level.WARNING, True)


@pytest.fixture
def reply(monkeypatch) -> Callable[..., None]:
    """Let one method of a path be answered otherwise, some times."""
    send = selftest.send

    def reply(method: str, path: str, times: int, status: int, body: bytes) -> None:
        left = [times]

        def instead(url: str, key: str | None = None, verb: str = "GET", headers: object = None) -> selftest.Reply:
            if verb == method and path in url and left[0]:
                left[0] -= 1
                return selftest.Reply(status, {}, body)
            return send(url, key, verb, headers)  # type: ignore[arg-type]

        monkeypatch.setattr(selftest, "send", instead)

    return reply


def test_it_waits_while_api_gateway_does_not_know_a_new_key(serve, redis_server, reply):
    url = serve("--api-key", "open sesame", GIMEL_REDIS_URL=redis_server.url).url
    reply("GET", "/experiment", 3, 403, b'{"message":"Forbidden"}')
    assert check(url)[-1].level is Level.ERROR
    reply("GET", "/experiment", 3, 403, b'{"message":"Forbidden"}')
    assert [one.level for one in check(url, patience_s=30)] == [Level.GOOD] * 5


def test_another_run_may_delete_its_events_once(serve, redis_server, reply):
    url = serve("--api-key", "open sesame", GIMEL_REDIS_URL=redis_server.url).url
    reply("GET", "/track", 1, 200, b"null")  # as if this one were deleted
    assert check(url)[-1].level is Level.GOOD
    reply("GET", "/track", 9, 200, b"null")
    assert check(url)[-1].message == "only 0 of 3 events are in the report"


def test_a_redis_that_is_down_is_found_although_a_queue_takes_the_events(serve, redis_server):
    url = serve("--api-key", "open sesame", GIMEL_REDIS_URL=redis_server.url).url
    redis_server.stop()
    waits: list[float] = []
    last = check(url, patience_s=30, sleep=waits.append)[-1]
    assert (last.level, "/health answered 503" in last.message) == (Level.ERROR, True)
    assert len(waits) == 2  # the functions answered, so there is no need to wait longer


def test_a_first_connection_that_takes_too_long_fails_no_deploy(serve, redis_server, reply):
    url = serve("--api-key", "open sesame", GIMEL_REDIS_URL=redis_server.url).url
    reply("GET", "/health", 2, 503, b'{"error": "could not store or read counts"}')
    assert [one.level for one in check(url, patience_s=30)] == [Level.GOOD] * 5
    reply("GET", "/health", 1, 503, b'{"error": "could not store or read counts"}')
    assert check(url)[-1].level is Level.ERROR  # as `gimel status` asks: what is true now


@pytest.fixture
def guarded(tmp_path) -> Iterator[RedisServer]:
    """A Redis with a password."""
    (tmp_path / "guarded").mkdir()
    server = RedisServer(tmp_path / "guarded", "--requirepass", "right").start()
    yield server
    server.stop()


@pytest.fixture
def at_ministack(ministack, guarded, tmp_path, monkeypatch) -> Callable[..., Result]:
    """Run a command with this password of Redis, which preflight, as of a private Redis, cannot check."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", ministack.url)
    monkeypatch.setattr("gimel.ops.aws.preflight.check_redis", lambda *ignored: iter(()))
    monkeypatch.chdir(tmp_path)

    def run(password: str, *command: str, answer: str = "") -> Result:
        section = {"host": "127.0.0.1", "port": guarded.port, "password": password}
        Path("config.json").write_text(json.dumps({"redis": section, "aws": {"name": "proved"}}))
        done = CliRunner().invoke(main, list(command), input=answer)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    return run


@pytest.mark.slow
def test_a_deploy_that_does_not_count_says_why_and_rolls_back_when_told_to(at_ministack, guarded):
    first = at_ministack("right", "deploy", "--yes")
    assert first.exit_code == 0, first.output
    assert "3 events were counted, read back and deleted" in first.stderr
    track = url_in(first.stdout)
    assert redis.Redis(port=guarded.port, password="right").dbsize() == 0
    healthy = at_ministack("right", "status")
    assert (healthy.exit_code, "Drift:       none" in healthy.stdout) == (0, True), healthy.output
    assert "No failures in the last 1h" in at_ministack("right", "logs").stderr

    broken = at_ministack("wrong", "deploy", "--yes")
    assert broken.exit_code == 1
    assert "/health answered 503 Service Unavailable" in broken.stderr
    assert "Redis rejected the credentials" in broken.stderr
    assert "Roll back" not in broken.stderr
    assert "go back with `gimel rollback`" in broken.stderr
    assert "For your page" not in broken.stdout
    assert ask(f"{track}?{VISIT}")[0] == 200  # because the queue takes it
    unhealthy = at_ministack("wrong", "status", "--format", "json")
    assert (unhealthy.exit_code, json.loads(unhealthy.stdout)["healthy"]) == (1, False)
    assert "Redis rejected the credentials" in at_ministack("wrong", "logs", "--function", "health").stdout

    assert at_ministack("right", "deploy", "--yes").exit_code == 0
    told = at_ministack("wrong", "deploy", answer="y\ny\n")
    assert told.exit_code == 1
    assert "Roll back to the release that was live before? [y/N]: y" in told.stderr
    assert "was rolled back; the one before does" in told.stderr
    assert told.stderr.count("3 events were counted, read back and deleted") == 1
    assert ask(f"{track}?{VISIT}")[0] == 200
    assert at_ministack("right", "status").exit_code == 0
    at_ministack("right", "destroy", "--name", "proved")
