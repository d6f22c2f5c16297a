"""A warm connection, and every way in which a real Redis can fail."""

import os
import signal
import ssl
from dataclasses import replace

import pytest
import redis

import gimel
from gimel import config, connection
from gimel.errors import ConfigError, StoreUnavailable

from .calls import EVENT, make_rest_event, participants, post, read, taking_part
from .clusters import nodes_of
from .parts import ROOT, RedisServer, free_port, wait_for

CALLS = [
    (gimel.track, make_rest_event(query=EVENT)),
    (gimel.all, make_rest_event()),
    (gimel.experiment, make_rest_event(query=EVENT)),
    (gimel.delete, make_rest_event("DELETE", EVENT)),
]


def use(url: str, **settings) -> None:
    connection.use(config.Config(redis_settings=config.RedisSettings(url=url, **settings)))


def assert_unavailable(call, event, *secrets: str) -> None:
    answer = call(event, None)
    assert answer["statusCode"] == 503
    assert int(answer["headers"]["Retry-After"]) > 0
    assert answer["headers"]["Access-Control-Allow-Origin"] == "*"
    assert read(answer) == {"error": "could not store or read counts", "hint": "retry the same request later"}
    for secret in ("127.0.0.1", "6379", *secrets):
        assert secret not in answer["body"]


@pytest.mark.parametrize(("call", "event"), CALLS, ids=["track", "all", "experiment", "delete"])
class TestUnavailable:
    def test_unreachable(self, call, event, caplog):
        port = free_port()
        use(f"redis://127.0.0.1:{port}")
        assert_unavailable(call, event, str(port))
        assert "Connection refused" in caplog.text
        hint = "check that Redis is running and its address is correct, or retry later"
        (message,) = caplog.messages
        assert message.startswith(f"Redis does not answer: {hint}: Error 111 connecting to 127.0.0.1:{port}.")
        assert message.endswith(" (requests since the last line: 1 failed)")

    def test_slow(self, call, event, redis_server, caplog):
        use(redis_server.url)
        connection.client().ping()
        os.kill(redis_server.process.pid, signal.SIGSTOP)
        try:
            assert_unavailable(call, event)
        finally:
            os.kill(redis_server.process.pid, signal.SIGCONT)
        assert "Timeout" in caplog.text

    def test_wrong_password(self, call, event, redis_server, caplog):
        redis_server.client().config_set("requirepass", "right")
        use(redis_server.url.replace("redis://", "redis://:wrong-secret@"))
        assert_unavailable(call, event, "wrong-secret")
        assert "invalid username-password" in caplog.text
        assert "wrong-secret" not in caplog.text
        hint = "check redis.username and redis.password, or redis.iam"
        assert caplog.messages[0].startswith(f"Redis rejected the credentials: {hint}: WRONGPASS ")


class TestUnwritable:
    def test_a_read_only_replica_is_a_503(self, redis_server, caplog):
        redis_server.client().replicaof("127.0.0.1", free_port())
        use(redis_server.url)
        assert_unavailable(*CALLS[0])
        assert "read only" in caplog.text

    def test_no_memory_left_is_a_503_and_counts_nothing(self, redis_server, caplog):
        redis_server.client().config_set("maxmemory", "1")
        use(redis_server.url)
        assert_unavailable(*CALLS[0])
        assert "OOM" in caplog.text or "maxmemory" in caplog.text
        assert caplog.messages[0].startswith("Redis is out of memory: raise its maxmemory, or delete experiments: OOM ")
        redis_server.client().config_set("maxmemory", "0")
        assert redis_server.client().dbsize() == 0


def test_a_flat_event_fails_the_invocation_when_redis_is_down(caplog):
    port = free_port()
    use(f"redis://127.0.0.1:{port}")
    with pytest.raises(StoreUnavailable) as caught:
        gimel.track(EVENT)
    assert caught.value.__suppress_context__
    assert str(port) not in str(caught.value)
    assert str(port) in caplog.text
    hint = "check that Redis is running and its address is correct, or retry later"
    assert str(caught.value) == f"Redis does not answer: {hint}"
    (message,) = caplog.messages
    assert message.startswith(str(caught.value))


@pytest.mark.parametrize("settings", [{}, {"password": "p"}, {"password": "ssm:/p"}, {"tls": True}])
def test_timeouts_apply_to_every_kind_of_connection(settings):
    found = connection.connect(config.RedisSettings(connect_timeout_s=2.0, timeout_s=3.0, **settings))
    options = found.connection_pool.connection_kwargs
    assert (options["socket_connect_timeout"], options["socket_timeout"]) == (2.0, 3.0)


@pytest.mark.parametrize(("url", "why"), [("redis://h?unheard_of=1", "unheard_of"), ("redis://h?db=x", "'db'")])
def test_contradictory_settings_are_refused(url, why):
    with pytest.raises(ConfigError, match=f"^invalid combination of Redis settings: .*{why}"):
        connection.connect(config.RedisSettings(url=url))


def test_a_password_of_its_own_replaces_that_of_the_url():
    settings = config.RedisSettings(url="redis://somebody:old@h", password="new")
    options = connection.connect(settings).connection_pool.connection_kwargs
    assert (options["username"], options["password"]) == ("somebody", "new")


def test_a_url_cannot_change_how_keys_are_read(real):
    settings = connection.settings().redis
    connection.use(config.Config(redis_settings=replace(settings, url=f"{settings.url}?decode_responses=true")))
    gimel.track(EVENT)
    assert gimel.all({})[1]["participants"][0]["trials"] == 1


def test_an_invalid_host_name_is_an_outage():
    connection.use(config.Config(redis_settings=config.RedisSettings(host="a..b")))
    assert_unavailable(*CALLS[0])


def test_the_connection_stays_open_between_events(real):
    def opened() -> list[int]:
        return [node.info("stats")["total_connections_received"] for node in nodes_of(real)]

    gimel.track(EVENT)
    before = opened()
    for number in range(5):
        gimel.track({**EVENT, "uuid": str(number)})
    assert opened() == before


def test_a_dropped_connection_is_opened_again_at_once(real):
    gimel.track(EVENT)
    for node in nodes_of(real):
        node.client_kill_filter(_type="normal", skipme=True)
    assert gimel.track(make_rest_event(query={**EVENT, "uuid": "u2"}))["body"] == "null"
    assert participants(real) == 2


def test_a_restarted_redis_is_found_again(redis_server: RedisServer):
    use(redis_server.url)
    gimel.track(EVENT)
    redis_server.stop()
    assert gimel.track(make_rest_event(query={**EVENT, "uuid": "u2"}))["statusCode"] == 503
    redis_server.start()
    answers = lambda: gimel.track(make_rest_event(query={**EVENT, "uuid": "u2"}))["statusCode"] == 200  # noqa: E731
    wait_for(answers, "Redis to be found")
    assert participants(redis_server.client()) == 2


def test_user_password_and_database_are_used(redis_server):
    redis_server.client().acl_setuser("app", enabled=True, passwords=["+word"], keys="*", commands=["+@all"])
    settings = {"host": "127.0.0.1", "port": redis_server.port, "db": 3, "username": "app", "password": "word"}
    connection.use(config.Config(redis_settings=config.RedisSettings(**settings)))
    gimel.track(EVENT)
    assert participants(redis_server.client(db=3)) == 1
    assert connection.client().acl_whoami() == "app"


def test_a_unix_socket_is_used(tmp_path):
    folder = tmp_path / "r"
    folder.mkdir()
    server = RedisServer(folder, "--unixsocket", str(folder / "s")).start()
    try:
        use(f"unix://{folder / 's'}?db=1")
        gimel.track(EVENT)
        assert participants(server.client(db=1)) == 1
        connection.use(config.Config(redis_settings=config.RedisSettings(unix_socket=str(folder / "s"), db=2)))
        gimel.track(EVENT)
        assert participants(server.client(db=2)) == 1
    finally:
        server.stop()


def test_an_encrypted_connection_is_checked_against_its_authority(tls_redis):
    server, authority = tls_redis
    patient = {"connect_timeout_s": 10, "timeout_s": 10}  # on a busy machine
    use(f"rediss://localhost:{server.tls_port}", tls_ca_file=str(authority), **patient)
    gimel.track(EVENT)
    assert participants(server.client()) == 1
    use(f"rediss://localhost:{server.tls_port}")
    assert_unavailable(*CALLS[0])
    use(f"rediss://localhost:{server.tls_port}", tls_verify=False, **patient)
    gimel.track({**EVENT, "uuid": "u2"})
    assert participants(server.client()) == 2


def test_host_port_and_database_are_used():
    settings = config.RedisSettings(host="redis.example.com", port=6380, db=3)
    options = connection.connect(settings).connection_pool.connection_kwargs
    assert (options["host"], options["port"], options["db"]) == ("redis.example.com", 6380, 3)


@pytest.mark.parametrize("where", [{"tls": True}, {"url": "rediss://localhost"}])
def test_certificates_are_used_and_verified_unless_switched_off(where):
    files = {"tls_ca_file": "ca.pem", "tls_cert_file": "cert.pem", "tls_key_file": "key.pem"}
    pool = connection.connect(config.RedisSettings(**where, **files)).connection_pool
    made = pool.make_connection()
    assert (made.ca_certs, made.certfile, made.keyfile) == ("ca.pem", "cert.pem", "key.pem")
    assert (made.cert_reqs, made.check_hostname) == (ssl.CERT_REQUIRED, True)
    pool = connection.connect(config.RedisSettings(**where, tls_verify=False)).connection_pool
    made = pool.make_connection()
    assert (made.cert_reqs, made.check_hostname) == (ssl.CERT_NONE, False)


def test_nothing_configured_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        connection.client()
    assert str(caught.value) == "no Redis is configured: set GIMEL_REDIS_URL, or redis.host in config.json"


def test_a_new_connection_asks_nothing_but_what_it_must(single, round_trips):
    gimel.track(EVENT)
    connection.use(connection.settings())
    round_trips()
    gimel.track(EVENT)
    assert round_trips() == 1


def test_no_secret_shows_in_a_representation():
    settings = config.RedisSettings(url="redis://:hidden@h", password="hidden")
    assert "hidden" not in repr(settings)
    assert isinstance(connection.connect(settings), redis.Redis)


def test_connections_may_be_closed_while_another_thread_takes_the_last_one():
    class Taken(list):
        def pop(self):
            self.clear()
            return super().pop()

    pool = connection.connect(config.RedisSettings()).connection_pool
    pool._idle = Taken([None])
    pool.disconnect()
    assert not pool._idle


def test_a_redis_user_with_the_documented_commands_can_do_all_that_functions_do(real, caplog):
    section = (ROOT / "docs/redis.md").read_text().partition("A Redis user of Gimel's own")[2].split("```")[1]
    nodes = nodes_of(real)
    for node in nodes:
        node.execute_command("ACL", "SETUSER", "me", "on", ">word", "~*", "-@all", *section.split())
    try:
        own = replace(connection.settings().redis, username="me", password="word")
        limits = replace(connection.settings().limits, variants=2)
        connection.use(config.Config(redis_settings=own, limits=limits, allowed_namespaces=frozenset(["alephbet"])))
        gimel.track({**EVENT, "namespace": "a stranger's"})
        for variant in "red", "blue", "green":
            assert gimel.track({**EVENT, "variant": variant}) is None
            assert gimel.track({**EVENT, "variant": variant, "uuid": "2"}) is None
        many = [{**EVENT, "variant": "red", "event": f"goal {number}"} for number in range(30)]
        assert gimel.track(post(many))["statusCode"] == 200
        assert gimel.all({})[0]["meta"]["ignored"] == {"limit": 2, "namespace": 1}
        assert gimel.all({"namespace": "a stranger's"})[0]["meta"]["ignored"] == {"namespace": 1}
        assert gimel.snapshot({}) == {"experiments": 1, "changed": 1}
        assert "could not look for the namespaces of Gimel 1.x" not in caplog.text
        for call, event in CALLS:
            assert call(event, None)["statusCode"] == 200
        assert gimel.health(make_rest_event())["statusCode"] == 200
        connection.use(replace(connection.settings(), precision="bitmap"))
        with_bitmap = {**EVENT, "experiment": "with a bitmap"}
        assert gimel.track(with_bitmap) is gimel.track({**with_bitmap, "uuid": "2"}) is None
        assert taking_part(gimel.all({"scope": "with a bitmap"})[1]) == {"red": 2}
        assert gimel.health(make_rest_event())["statusCode"] == 200
    finally:
        for node in nodes:
            node.execute_command("ACL", "DELUSER", "me")
