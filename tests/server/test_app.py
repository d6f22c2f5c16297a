"""`gimel serve` over real HTTP."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from gimel.ops.addresses import is_loopback
from gimel.ops.endpoints import ENDPOINTS
from gimel.ops.server.app import App, proxy_event
from gimel.ops.server.wsgi import UNREAD_BYTES
from tests.calls import EVENT
from tests.parts import ROOT


def ask(url: str, method: str = "GET", body: bytes | None = None, **headers: str):
    """Status, headers and text of an answer, whatever its status."""
    try:
        answer = urlopen(
            Request(url, body, {name.replace("_", "-"): value for name, value in headers.items()}, method=method),
            timeout=10,
        )
    except HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.headers, answer.read().decode()


@pytest.fixture
def server(serve, redis_server):
    return serve(GIMEL_REDIS_URL=redis_server.url)


def test_every_endpoint_of_the_table_is_served(server):
    assert ask(f"{server.url}/track?{urlencode(EVENT)}")[::2] == (200, "null")
    assert ask(f"{server.url}/track", "POST", json.dumps([EVENT]).encode(), Content_Type="text/plain")[::2] == (
        200,
        "null",
    )
    assert json.loads(ask(f"{server.url}/experiments")[2])[1]["experiment"] == "button color"
    assert ask(f"{server.url}/experiment?experiment=button+color")[2] == "[]"
    assert ask(f"{server.url}/delete?experiment=button+color", "DELETE")[::2] == (200, "null")
    for endpoint in ENDPOINTS:
        assert ask(server.url + endpoint.path, "OPTIONS")[0] == 204


def test_names_travel_as_alephbet_writes_them(server):
    name = "größer & +1 100% 🎯:%3A"
    ask(f"{server.url}/track?{urlencode({**EVENT, 'experiment': name})}")
    ask(f"{server.url}/track?{urlencode({**EVENT, 'experiment': name, 'uuid': 2}).replace('+', '%20')}")
    (item,) = json.loads(ask(f"{server.url}/experiments")[2])[1:]
    assert (item["experiment"], item["participants"][0]["trials"]) == (name, 2)


def test_broken_utf_8_is_a_400(server):
    assert ask(f"{server.url}/track?experiment=%FF&variant=a&uuid=b&event=c")[0] == 400
    assert ask(f"{server.url}/track", "POST", b'{"experiment": "\xff"}', Content_Type="text/plain")[0] == 400


def test_health_says_whether_redis_answers(server, redis_server):
    assert ask(f"{server.url}/health")[::2] == (200, '{"redis":"answers"}')
    redis_server.stop()
    assert ask(f"{server.url}/health")[::2] == (503, '{"redis":"does not answer"}')
    assert ask(f"{server.url}/track?{urlencode(EVENT)}")[0] == 503


def test_a_host_that_is_no_name_is_an_outage_too(serve, tmp_path):
    (tmp_path / "config.json").write_text('{"redis": {"host": "a..b"}}')
    server = serve()
    assert ask(f"{server.url}/health")[::2] == (503, '{"redis":"does not answer"}')
    assert ask(f"{server.url}/track?{urlencode(EVENT)}")[0] == 503


def test_a_burst_of_events_is_nothing_to_warn_of(server):
    with ThreadPoolExecutor(40) as threads:
        urls = [f"{server.url}/track?{urlencode({**EVENT, 'uuid': number})}" for number in range(400)]
        assert {status for status, _, _ in threads.map(ask, urls)} == {200}
    assert "WARNING" not in server.output


def test_an_unknown_address_says_what_there_is(server):
    status, _, text = ask(f"{server.url}/tracks")
    assert status == 404
    assert "/track," in text


def test_a_body_that_lambda_would_not_take_is_a_413_with_cors(server):
    status, headers, _ = ask(f"{server.url}/track", "POST", b" " * (6 * 1024 * 1024 + 1))
    assert (status, headers["Access-Control-Allow-Origin"]) == (413, "*")


def test_a_body_that_nothing_here_takes_is_refused_before_it_has_come(server):
    connection = HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    connection.putrequest("POST", "/export/csv")
    connection.putheader("Content-Length", str(UNREAD_BYTES + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_a_refusal_keeps_to_the_configured_origins(serve, redis_server, tmp_path):
    (tmp_path / "config.json").write_text('{"cors_origins": ["https://a.example"]}')
    server = serve("--api-key", "k", GIMEL_REDIS_URL=redis_server.url)
    status, headers, _ = ask(f"{server.url}/experiments")
    assert (status, headers["Access-Control-Allow-Origin"]) == (403, "https://a.example")


def test_head_has_no_body(server):
    connection = HTTPConnection(server.url.removeprefix("http://"))
    connection.request("HEAD", "/health")
    assert connection.getresponse().read() == b""
    connection.request("GET", "/health")
    assert connection.getresponse().read() == b'{"redis":"answers"}'
    connection.close()


def test_the_example_loads_alephbet_from_a_cdn_with_its_checksum(server):
    status, headers, text = ask(f"{server.url}/example")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert 'integrity="sha384-' in text


def test_the_snippet_and_the_track_url_are_printed(server):
    assert f"Track URL:       {server.url}/track" in server.lines
    assert f'new AlephBet.AlephbetAdapter("{server.url}/track", "alephbet")' in server.output


class TestApiKey:
    @pytest.fixture
    def guarded(self, serve, redis_server):
        return serve("--api-key", "søk", GIMEL_REDIS_URL=redis_server.url)

    @pytest.mark.parametrize("path", ["/experiments", "/experiment?experiment=e", "/delete?experiment=e"])
    def test_reports_and_deletion_need_the_key(self, guarded, path):
        method = "DELETE" if "delete" in path else "GET"
        assert ask(guarded.url + path, method)[0] == 403
        assert ask(guarded.url + path, method, x_api_key="sok")[0] == 403
        assert ask(guarded.url + path, method, x_api_key="søk".encode().decode("latin-1"))[0] == 200

    def test_tracking_and_preflight_do_not(self, guarded):
        assert ask(f"{guarded.url}/track?{urlencode(EVENT)}")[0] == 200
        assert ask(f"{guarded.url}/experiments", "OPTIONS")[0] == 204

    def test_beyond_loopback_a_key_is_demanded_at_start(self, tmp_path):
        command = [sys.executable, "-m", "gimel.ops.commands.main", "serve", "--host", "0.0.0.0", "--port", "0"]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert ended.returncode == 1
        assert "give one with --api-key or GIMEL_API_KEY" in ended.stderr


class TestWithoutKey:
    def test_pages_of_this_machine_may_read(self, server):
        assert ask(f"{server.url}/experiments", Origin="http://localhost:3000")[0] == 200

    @pytest.mark.parametrize(
        "headers",
        [{"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Origin": "null"}, {"Origin": "http://["}],
    )
    def test_other_pages_may_only_track(self, server, headers):
        assert ask(f"{server.url}/experiments", **headers)[0] == 403
        assert ask(f"{server.url}/delete?experiment=e", "DELETE", **headers)[0] == 403
        assert ask(f"{server.url}/track?{urlencode(EVENT)}", **headers)[0] == 200


def test_a_port_in_use_is_told(server):
    port = server.url.rpartition(":")[2]
    command = [sys.executable, "-m", "gimel.ops.commands.main", "serve", "--port", port]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 1
    assert "choose another one with --host and --port" in ended.stderr


def test_a_wrong_address_of_redis_is_told_at_the_start():
    environ = {**os.environ, "GIMEL_REDIS_URL": "redis://127.0.0.1?unheard_of=1"}
    command = [sys.executable, "-m", "gimel.ops.commands.main", "serve", "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environ, timeout=30)
    assert ended.returncode == 1
    assert "invalid combination of Redis settings" in ended.stderr


def test_a_redis_that_does_not_answer_is_told_at_the_start_and_ends_nothing(serve, redis_server):
    url = redis_server.url
    redis_server.stop()
    server = serve(GIMEL_REDIS_URL=url)
    assert [line for line in server.lines if line.startswith("Warning: Redis command failed") and "refused" in line]
    redis_server.start()
    assert ask(f"{server.url}/track?{urlencode(EVENT)}")[0] == 200


def test_a_redis_that_answers_is_no_reason_for_a_warning(serve, redis_server):
    assert "Warning" not in serve(GIMEL_REDIS_URL=redis_server.url).output


def test_loopback_is_known_by_its_address():
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.168.0.1", "example.org", ""))


def test_the_proxy_event_has_what_api_gateway_sends():
    from io import BytesIO

    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/track",
        "QUERY_STRING": "a=1&a=2&b=x+y",
        "CONTENT_TYPE": "text/plain",
        "HTTP_X_API_KEY": "k",
        "wsgi.input": BytesIO(b"\xff"),
    }
    event = proxy_event(environ)
    assert event["queryStringParameters"] == {"a": "2", "b": "x y"}
    assert event["headers"] == {"Content-Type": "text/plain", "X-Api-Key": "k"}
    assert (event["body"], event["isBase64Encoded"]) == ("/w==", True)
    assert App().api_key is None
