import json
from pathlib import Path

import pytest

from gimel import config
from gimel.errors import ConfigError
from gimel.ops.resources import shipped


def write(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The four places of a configuration, each with a Redis of its own name."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    found = {
        "option": tmp_path / "option.json",
        "environment": tmp_path / "environment.json",
        "here": tmp_path / "here" / "config.json",
        "home": tmp_path / ".gimel" / "config.json",
    }
    for name, path in found.items():
        write(path, {"redis": {"host": name}})
    return found


def test_the_nearest_file_wins(places):
    environ = {"GIMEL_CONFIG": str(places["environment"])}
    assert config.load(places["option"], environ).redis.host == "option"
    assert config.load(None, environ).redis.host == "environment"
    assert config.load(None, {}).redis.host == "here"
    places["here"].unlink()
    assert config.load(None, {}).redis.host == "home"
    places["home"].unlink()
    assert config.load(None, {}).redis_settings is None


def test_in_lambda_only_the_file_beside_the_bundle_counts(places):
    assert config.find(None, {"AWS_LAMBDA_FUNCTION_NAME": "gimel-track"}) is None


def test_the_url_of_the_environment_wins_over_the_redis_section(places):
    settings = config.load(places["option"], {"GIMEL_REDIS_URL": "redis://other:7000/2"}).redis
    assert settings == config.RedisSettings(url="redis://other:7000/2")


def test_a_file_of_gimel_1_works_unchanged(tmp_path):
    wiring = [{"lambda": {"FunctionName": "gimel-track"}, "api_gateway": {"pathPart": "kcart"}}]
    old = {"redis": {"host": "r", "port": 6380, "password": "p", "ssl": True, "charset": "utf-8", "db": "2"}}
    settings = config.load(write(tmp_path / "c.json", {**old, "extra_wiring": wiring}), {}).redis
    assert settings == config.RedisSettings(host="r", port=6380, password="p", tls=True, db=2)
    old = {
        "unix_socket_path": "/s",
        "password": "p",
        "ssl_cert_reqs": None,
        "socket_keepalive": True,
        "socket_timeout": 3,
    }
    settings = config.load(write(tmp_path / "c.json", {"redis": old}), {}).redis
    assert settings == config.RedisSettings(unix_socket="/s", password="p", tls_verify=False, timeout_s=3.0)


def test_every_problem_is_named_with_its_file_key_and_cure(tmp_path):
    wrong = {
        "redis": {"host": "", "port": "9" * 5000, "db": "x", "hots": "x", "tls": "yes"},
        "cors_origins": ["example.com"],
        "allowed_experiments": "button",
        "alowed_experiments": [],
    }
    path = write(tmp_path / "c.json", wrong)
    with pytest.raises(ConfigError) as caught:
        config.load(path, {})
    message = str(caught.value)
    assert str(path) in message
    for part in (
        "redis.host: must be a host name or address",
        'redis.port: must be a whole number from 1 to 65535, not "999',
        'redis.db: must be a whole number from 0, not "x"',
        "redis.hots: unknown key; did you mean host?",
        'redis.tls: must be true or false, not "yes"',
        'cors_origins: must be "*" or a list',
        "allowed_experiments: must be a list of experiment names",
        "alowed_experiments: unknown key; did you mean allowed_experiments?",
    ):
        assert part in message


def test_a_wrong_url_is_refused_without_repeating_its_password(tmp_path):
    with pytest.raises(ConfigError) as caught:
        config.load(write(tmp_path / "c.json", {"redis": {"url": "http://:secret@host"}}), {})
    assert "rediss://host:6379/0 (TLS)" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "redis", ["redis://:secret@h", {"host": "redis://:secret@h"}, {"url": {"a": "secret"}}, {"username": ["secret"]}]
)
def test_no_problem_repeats_what_may_be_a_secret(tmp_path, redis):
    with pytest.raises(ConfigError) as caught:
        config.load(write(tmp_path / "c.json", {"redis": redis}), {})
    assert "secret" not in str(caught.value)


def test_a_url_and_what_it_says_already_are_not_both_taken(tmp_path):
    with pytest.raises(ConfigError, match="remove db, password"):
        config.load(write(tmp_path / "c.json", {"redis": {"url": "redis://h", "db": 1, "password": "p"}}), {})


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "invalid JSON in"), ("[" * 100_000, "invalid JSON in"), ("[]", "must contain one JSON object")],
)
def test_an_invalid_file_is_refused(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said):
        config.load(write(tmp_path / "c.json", text), {})


def test_a_placeholder_of_the_template_is_refused(tmp_path):
    path = tmp_path / "c.json"
    path.write_bytes(shipped("config.json.template").read_bytes())
    with pytest.raises(ConfigError, match=r'redis\.host: must be .*, not "ENTER YOUR REDIS HOST"'):
        config.load(path, {})


@pytest.mark.parametrize("host", ["redis.example.com", "127.0.0.1", "fd00::1"])
def test_a_host_is_a_name_or_an_address(tmp_path, host):
    assert config.load(write(tmp_path / "c.json", {"redis": {"host": host}}), {}).redis.host == host


@pytest.mark.parametrize("host", ["h:6379", "[fd00::1]", "redis://h", "", 5])
def test_what_is_more_than_a_host_is_refused(tmp_path, host):
    with pytest.raises(ConfigError, match=r"redis\.host: must be .*; put a URL into redis\.url"):
        config.load(write(tmp_path / "c.json", {"redis": {"host": host}}), {})


def test_a_byte_order_mark_is_accepted(tmp_path):
    assert config.load(write(tmp_path / "c.json", '\ufeff{"precision": 4}'), {}).precision == 4


def test_problems_come_in_the_same_order_each_time(tmp_path):
    with pytest.raises(ConfigError) as caught:
        config.load(write(tmp_path / "c.json", dict.fromkeys("hgfedcba", 1)), {})
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == list("abcdefgh")


@pytest.mark.parametrize(
    "origin",
    ["null", "https://A.example", "https://*.example", "https://bücher.example", "https://a.example/", "https://a:b"],
)
def test_an_origin_that_no_browser_sends_is_refused(tmp_path, origin):
    with pytest.raises(ConfigError, match="as browsers send them"):
        config.load(write(tmp_path / "c.json", {"cors_origins": ["https://b.example", origin]}), {})


def test_a_named_file_must_exist(tmp_path):
    with pytest.raises(ConfigError, match=r"gimel configure --config .*none\.json"):
        config.load(tmp_path / "none.json", {})
    with pytest.raises(ConfigError, match="from GIMEL_CONFIG"):
        config.load(None, {"GIMEL_CONFIG": str(tmp_path / "none.json")})


def test_origins_and_experiments_are_read(tmp_path):
    path = write(
        tmp_path / "c.json",
        {"cors_origins": ["https://a.example:8443", "http://[::1]"], "allowed_experiments": ["a", "b"]},
    )
    found = config.load(path, {})
    assert found.cors_origins == ("https://a.example:8443", "http://[::1]")
    assert found.allowed_experiments == {"a", "b"}


def test_precision_and_an_experiments_own_settings_are_read(tmp_path):
    own = {"baseline": "blue", "weights": {"blue": 1, "red": 3.5}, "precision": "exact", "per_visitor": ["page view"]}
    found = config.load(write(tmp_path / "c.json", {"precision": 16, "experiments": {"button": own}}), {})
    assert found.experiment("button") == config.ExperimentSettings(
        "blue", {"blue": 1.0, "red": 3.5}, "exact", frozenset({"page view"})
    )
    assert found.experiment("other") == config.ExperimentSettings()
    assert [found.precision_of(name) for name in ("button", "other")] == ["exact", 16]
    assert config.Config().precision_of("any") == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"precision": 8}, 'precision: must be 1, 4, 16, 64, 256 or "exact", not 8'),
        ({"precision": True}, "precision: must be"),
        ({"experiments": {"b": {"weights": {"red": 0}}}}, "experiments.b.weights: must be numbers above 0"),
        ({"experiments": {"b": {"wieghts": {}}}}, "experiments.b.wieghts: unknown key; did you mean weights?"),
        (
            {"experiments": {"b": {"per_visitor": "view"}}},
            'experiments.b.per_visitor: must be a list of goals, such as ["page',
        ),
        ({"experiments": {"b": []}}, "experiments.b: must be an object"),
        ({"experiments": {"b": {"baseline": "x", "weights": {"y": 1}}}}, "must include the baseline, x"),
    ],
)
def test_invalid_settings_of_an_experiment_are_listed(tmp_path, wrong, said):
    with pytest.raises(ConfigError) as caught:
        config.load(write(tmp_path / "c.json", wrong), {})
    assert said in str(caught.value)


def test_the_template_says_what_to_fill_in():
    with pytest.raises(ConfigError, match=r"redis\.host: must be a host name or address") as caught:
        config.load(shipped("config.json.template"), {})
    assert str(caught.value).count("\n") == 1


def test_the_template_is_right_and_names_every_key(tmp_path):
    text = shipped("config.json.template").read_text(encoding="utf-8")
    found = config.load(write(tmp_path / "c.json", text.replace("ENTER YOUR REDIS HOST", "r")), {})
    assert (found.redis.host, found.redis.port, found.precision) == ("r", 6379, 16)
    keys = config.KEYS | set(config.RedisSettings.__dataclass_fields__)
    keys |= set(config.ExperimentSettings.__dataclass_fields__)
    assert [key for key in sorted(keys) if f'"{key}"' not in text and f'"// {key}"' not in text] == []
