"""`gimel serve` over real HTTP."""

import json
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from io import BytesIO
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from gimel.errors import ConfigError
from gimel.gateway import cors_origin
from gimel.ops import resources
from gimel.ops.addresses import is_loopback
from gimel.ops.endpoints import ENDPOINTS
from gimel.ops.server.app import App, proxy_event
from gimel.ops.server.wsgi import MAX_BODY_BYTES, PortTaken
from tests.calls import EVENT
from tests.commands.test_main import fail
from tests.parts import wait_for


def ask(url: str, method: str = "GET", body: bytes | None = None, **headers: str):
    """Status, headers and text of an answer, whatever its status."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        answer = urlopen(Request(url, body, named, method=method), timeout=10)
    except HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.headers, answer.read().decode()


@pytest.fixture
def server(serve, redis_server):
    return serve(GIMEL_REDIS_URL=redis_server.url)


def test_every_endpoint_of_the_table_is_served(server):
    assert ask(f"{server.url}/track?{urlencode(EVENT)}")[::2] == (200, "null")
    body = json.dumps([EVENT]).encode()
    assert ask(f"{server.url}/track", "POST", body, Content_Type="text/plain")[::2] == (200, "null")
    assert json.loads(ask(f"{server.url}/experiments")[2])[1]["experiment"] == "button color"
    assert ask(f"{server.url}/experiment?experiment=button+color")[2] == "[]"
    assert ask(f"{server.url}/delete?experiment=button+color", "DELETE")[::2] == (200, "null")
    for endpoint in ENDPOINTS:
        assert ask(server.url + endpoint.path, "OPTIONS")[0] == 204


@pytest.mark.parametrize("written", ["", '{"track_path": "/counts"}', '{"track_path": false}'])
def test_the_second_path_of_events_is_answered_like_the_first(serve, redis_server, tmp_path, written):
    (tmp_path / "config.json").write_text(written or "{}")
    server = serve("--api-key", "k", GIMEL_REDIS_URL=redis_server.url)
    path = {"": "/e", '{"track_path": false}': "/track"}.get(written, "/counts")
    assert f'AlephbetAdapter("{server.url}{path}", "alephbet")' in server.output
    assert f'location.origin + "{path}"' in ask(f"{server.url}/example")[2]
    snippet = json.loads(ask(f"{server.url}/?about=1")[2])["snippet"]["html"]
    assert f'AlephbetAdapter("{server.url}{path}", "alephbet")' in snippet
    assert path in json.loads(ask(f"{server.url}/openapi.json")[2])["paths"]
    for each in {"/track", path}:
        assert ask(f"{server.url}{each}?{urlencode({**EVENT, 'uuid': each})}")[::2] == (200, "null")
        body = json.dumps([EVENT]).encode()
        assert ask(f"{server.url}{each}", "POST", body, Content_Type="text/plain")[::2] == (200, "null")
        assert ask(f"{server.url}{each}", "OPTIONS")[0] == 204
        assert ask(f"{server.url}{each}", "DELETE")[0] == 405
        assert ask(f"{server.url}{each}", "POST", b" " * (6 * 1024 * 1024 + 1))[0] == 413
    (item,) = json.loads(ask(f"{server.url}/experiments", X_Api_Key="k")[2])[1:]
    assert item["participants"][0]["trials"] == len({"/track", path}) + 1
    assert ask(f"{server.url}/another")[0] == 404
    assert written == "" or ask(f"{server.url}/e?{urlencode(EVENT)}")[0] == 404


def test_names_survive_as_alephbet_encodes_them(server):
    name = "größer & +1 100% 🎯:%3A"
    ask(f"{server.url}/track?{urlencode({**EVENT, 'experiment': name})}")
    ask(f"{server.url}/track?{urlencode({**EVENT, 'experiment': name, 'uuid': 2}).replace('+', '%20')}")
    (item,) = json.loads(ask(f"{server.url}/experiments")[2])[1:]
    assert (item["experiment"], item["participants"][0]["trials"]) == (name, 2)


def test_broken_utf_8_is_a_400(server):
    assert ask(f"{server.url}/track?experiment=%FF&variant=a&uuid=b&event=c")[0] == 400
    assert ask(f"{server.url}/track", "POST", b'{"experiment": "\xff"}', Content_Type="text/plain")[0] == 400


def test_health_tells_whether_redis_answers(server, redis_server):
    status, _, text = ask(f"{server.url}/health")
    assert (status, json.loads(text)["redis"]) == (200, "answers")
    redis_server.stop()
    status, _, text = ask(f"{server.url}/health")
    assert (status, json.loads(text)["redis"]) == (503, "does not answer")
    assert ask(f"{server.url}/experiments")[0] == 503


def test_health_tells_why_a_redis_that_answers_takes_no_events(server, redis_server):
    redis_server.client().config_set("maxmemory", 1)
    status, _, text = ask(f"{server.url}/health")
    assert (status, json.loads(text)["redis"]) == (503, "is out of memory")
    redis_server.client().config_set("maxmemory", 0)
    redis_server.client().replicaof("127.0.0.1", 1)
    assert json.loads(ask(f"{server.url}/health")[2])["redis"] == "is a read-only replica"


def test_an_impossible_redis_host_is_an_outage_too(serve, tmp_path):
    (tmp_path / "config.json").write_text('{"redis": {"host": "a..b"}}')
    server = serve("--spool-mb", "0")
    assert ask(f"{server.url}/health")[0] == 503
    assert ask(f"{server.url}/track?{urlencode(EVENT)}")[0] == 503


def test_a_burst_of_events_causes_no_warning(server):
    with ThreadPoolExecutor(40) as threads:
        urls = [f"{server.url}/track?{urlencode({**EVENT, 'uuid': number})}" for number in range(400)]
        assert {status for status, _, _ in threads.map(ask, urls)} == {200}
    assert "WARNING" not in server.output


def test_an_unknown_path_lists_the_known_ones(server):
    status, _, text = ask(f"{server.url}/tracks")
    assert status == 404
    assert "/track," in text


def test_a_body_over_lambdas_limit_is_a_413_with_cors(server):
    status, headers, _ = ask(f"{server.url}/track", "POST", b" " * (6 * 1024 * 1024 + 1))
    assert (status, headers["Access-Control-Allow-Origin"]) == (413, "*")


def test_a_body_that_comes_in_chunks_has_the_same_limit(server):
    connection = HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    for size, status in (6, 400), (7, 413):
        connection.request("POST", "/track", iter([b" " * 1024 * 1024] * size), encode_chunked=True)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
    connection.close()


def test_a_body_over_every_limit_is_refused_before_it_arrives(server):
    connection = HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    connection.putrequest("POST", "/track")
    connection.putheader("Content-Length", str(MAX_BODY_BYTES + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_a_refusal_has_the_configured_cors_origin(serve, redis_server, tmp_path):
    (tmp_path / "config.json").write_text('{"cors_origins": ["https://a.example"]}')
    server = serve("--api-key", "k", GIMEL_REDIS_URL=redis_server.url)
    status, headers, _ = ask(f"{server.url}/experiments")
    assert (status, headers["Access-Control-Allow-Origin"]) == (403, "https://a.example")


def test_the_api_describes_itself(server):
    status, headers, text = ask(f"{server.url}/openapi.json")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(text)["servers"] == [{"url": server.url}]


def test_head_has_no_body(server):
    connection = HTTPConnection(server.url.removeprefix("http://"))
    connection.request("HEAD", "/health")
    assert connection.getresponse().read() == b""
    connection.request("GET", "/health")
    assert b'"redis":"answers"' in connection.getresponse().read()
    connection.close()


def test_the_example_loads_alephbet_from_a_cdn_with_its_checksum(server):
    status, headers, text = ask(f"{server.url}/example")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert 'integrity="sha384-' in text


def test_the_snippet_and_the_track_url_are_printed_without_warnings(server):
    assert f"Track URL:       {server.url}/e" in server.lines
    assert f'new AlephBet.AlephbetAdapter("{server.url}/e", "alephbet")' in server.output
    assert "Warning" not in server.output


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


class TestWithoutKey:
    def test_pages_on_this_machine_may_read(self, server):
        assert ask(f"{server.url}/experiments", Origin="http://localhost:3000")[0] == 200
        assert ask(f"{server.url}/experiments", Origin="http://localhost:3000", Sec_Fetch_Site="cross-site")[0] == 200

    @pytest.mark.parametrize(("method", "path"), [("DELETE", "/delete"), ("PUT", "/experiment")])
    def test_other_pages_are_refused_before_their_request_is_read(self, server, method, path):
        connection = HTTPConnection(server.url.removeprefix("http://"), timeout=10)
        connection.putrequest(method, path)
        for name, value in {"Origin": "https://evil.example", "Content-Length": "1000"}.items():
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.getresponse().status == 403
        connection.close()

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example"},
            {"Host": "evil.example"},
            {"Origin": "null"},
            {"Origin": "http://["},
            {"Sec_Fetch_Site": "cross-site"},  # an image
        ],
    )
    def test_other_pages_may_only_track(self, server, headers):
        assert ask(f"{server.url}/experiments", **headers)[0] == 403
        assert ask(f"{server.url}/delete?experiment=e", "DELETE", **headers)[0] == 403
        assert ask(f"{server.url}/track?{urlencode(EVENT)}", **headers)[0] == 200


def test_a_port_in_use_is_an_error(server, redis_server, monkeypatch, tmp_path):
    monkeypatch.setenv("GIMEL_REDIS_URL", redis_server.url)
    options = "--port", server.url.rpartition(":")[2], "--data", str(tmp_path / "another")
    assert "choose another port with --port" in fail(PortTaken, "serve", *options)


def test_a_wrong_redis_url_is_an_error_at_the_start(monkeypatch):
    monkeypatch.setenv("GIMEL_REDIS_URL", "redis://127.0.0.1?unheard_of=1")
    assert "invalid combination of Redis settings" in fail(ConfigError, "serve", "--port", "0")


def test_a_redis_that_is_down_at_the_start_is_only_a_warning(serve, redis_server):
    url = redis_server.url
    redis_server.stop()
    server = serve(GIMEL_REDIS_URL=url)
    assert [line for line in server.lines if line.startswith("Warning: Redis does not answer") and "refused" in line]
    redis_server.start()
    wait_for(lambda: ask(f"{server.url}/track?{urlencode(EVENT)}")[0] == 200, "Redis to be found")


def test_loopback_addresses_are_recognized():
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.168.0.1", "example.org", ""))


def test_an_exception_is_logged_and_answered_as_json(caplog):
    app = App(lambda environ: 1 / 0, cors_origin)
    status, headers, body = app({"REQUEST_METHOD": "GET", "PATH_INFO": "/x"})
    assert (status, json.loads(body)["error"]) == (500, "internal server error")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "ZeroDivisionError" in caplog.text


def test_the_proxy_event_has_what_api_gateway_sends():
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


@pytest.mark.parametrize(("written", "is_spread"), [(None, True), ("{}", False), ('{"precision": 4}', True)])
def test_a_new_installation_counts_more_exactly_than_an_old_file_says(
    serve, redis_server, tmp_path, written, is_spread
):
    if written:
        (tmp_path / "config.json").write_text(written)
    server = serve(GIMEL_REDIS_URL=redis_server.url)
    body = json.dumps([{**EVENT, "uuid": f"u{number}"} for number in range(300)]).encode()
    assert ask(f"{server.url}/track", "POST", body, Content_Type="text/plain")[::2] == (200, "null")
    expected = (resources.PRECISION if written is None else 4) if is_spread else 1
    shards = redis_server.client().scard("alephbet:button color:counter_keys")
    assert expected * 0.8 < shards <= expected
