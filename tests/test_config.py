import json
from pathlib import Path

import pytest

from gimel import config, settings
from gimel.errors import ConfigError
from gimel.events import Event
from gimel.ops import resources
from gimel.ops.resources import shipped
from gimel.ops.server import local, proxy
from gimel.settings import ExperimentSettings
from gimel.validation import Section, read_file, text

URLS = "redis://host:6379/0, rediss://host:6379/0 (TLS) or unix:///path/to/redis.sock"


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


def test_in_lambda_only_the_file_beside_the_bundle_counts(places, tmp_path, monkeypatch):
    environ = {"AWS_LAMBDA_FUNCTION_NAME": "gimel-track"}
    assert config.find(None, environ) is None
    bundle = tmp_path / "task"
    monkeypatch.setattr(config, "__file__", str(bundle / "gimel" / "config.py"))
    path = write(bundle / "config.json", {})
    assert config.find(None, environ) == path


def test_the_url_of_the_environment_wins_over_the_redis_section(places):
    settings = config.load(places["option"], {"GIMEL_REDIS_URL": "redis://other:7000/2"}).redis
    assert settings == config.RedisSettings(url="redis://other:7000/2")


def test_a_url_in_the_environment_leaves_the_redis_section_unread(tmp_path):
    path = write(tmp_path / "c.json", {"redis": {"port": "none"}, "precision": 4})
    found = config.load(path, {"GIMEL_REDIS_URL": "redis://other"})
    assert (found.redis.url, found.precision, found.path) == ("redis://other", 4, path)


@pytest.mark.parametrize(("value", "is_cluster"), [(None, False), ("", False), ("0", False), ("1", True)])
def test_the_environment_says_whether_its_redis_is_a_cluster(tmp_path, value, is_cluster):
    path = write(tmp_path / "c.json", {"redis": {"host": "h", "cluster": not is_cluster}})
    environ = {"GIMEL_REDIS_URL": "redis://r"} | ({} if value is None else {"GIMEL_REDIS_CLUSTER": value})
    assert config.load(path, environ).redis.cluster is is_cluster
    assert config.load(path, {"GIMEL_REDIS_CLUSTER": "1"}).redis.cluster is not is_cluster


def test_the_environment_says_so_with_a_digit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="GIMEL_REDIS_CLUSTER: must be 1 for a cluster, or 0"):
        config.load(None, {"GIMEL_REDIS_URL": "redis://r", "GIMEL_REDIS_CLUSTER": "yes"})


def test_a_wrong_url_in_the_environment_is_named_by_its_variable(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        config.load(None, {"GIMEL_REDIS_URL": "http://h"})
    assert str(caught.value) == (
        f"invalid configuration in the environment:\n  GIMEL_REDIS_URL: invalid Redis URL; use {URLS}"
    )


def test_problems_found_elsewhere_are_listed_first():
    known = ["aws.region: unknown region"]
    with pytest.raises(ConfigError) as caught:
        config.check(config.ConfigFile(None, {"precision": 8}), {}, known)
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == ["aws.region", "precision"]
    assert known == ["aws.region: unknown region"]


def test_every_redis_setting_is_read(tmp_path):
    written = {
        "host": "redis.example.com",
        "port": 65535,
        "unix_socket": "/run/redis.sock",
        "db": 0,
        "username": "app",
        "password": "p",
        "tls": True,
        "tls_verify": False,
        "tls_ca_file": "/etc/ca.pem",
        "tls_cert_file": "/etc/cert.pem",
        "tls_key_file": "/etc/key.pem",
        "connect_timeout_s": 2,
        "timeout_s": 0.5,
    }
    assert config.load(write(tmp_path / "c.json", {"redis": written}), {}).redis == config.RedisSettings(**written)
    url = {"url": "rediss://redis.example.com:6380/1"}
    assert config.load(write(tmp_path / "c.json", {"redis": url}), {}).redis == config.RedisSettings(**url)
    assert config.load(write(tmp_path / "c.json", {"redis": {}}), {}).redis == config.RedisSettings()


def test_a_password_of_digits_may_be_a_number(tmp_path):
    assert config.load(write(tmp_path / "c.json", {"redis": {"password": 1234}}), {}).redis.password == "1234"


def test_pem_files_lie_beside_the_configuration(tmp_path, monkeypatch):
    files = {"tls_ca_file": "ca.pem", "tls_cert_file": "keys/cert.pem", "tls_key_file": "keys/key.pem"}
    path = write(tmp_path / "etc" / "c.json", {"redis": files})
    found = config.load(path, {}).redis
    for name, file in files.items():
        assert getattr(found, name) == str(tmp_path / "etc" / file)
    monkeypatch.chdir(tmp_path)
    assert config.check(config.ConfigFile(None, {"redis": files}), {}).redis.tls_ca_file == str(tmp_path / "ca.pem")


@pytest.mark.parametrize(("old", "verified"), [(None, False), ("none", False), ("required", True)])
def test_gimel_1_decided_by_ssl_cert_reqs_whether_certificates_are_verified(tmp_path, old, verified):
    path = write(tmp_path / "c.json", {"redis": {"ssl_cert_reqs": old}})
    assert config.load(path, {}).redis.tls_verify is verified


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


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"redis": "localhost"}, "redis: must be an object with host, port and password"),
        ({"redis": {"url": 5}}, f"redis.url: must be a Redis URL: {URLS}"),
        ({"redis": {"url": "http://h"}}, f"redis.url: invalid Redis URL; use {URLS}"),
        ({"redis": {"unix_socket": 5}}, "redis.unix_socket: must be the path of a Unix socket, not 5"),
        ({"redis": {"port": 0}}, "redis.port: must be a whole number from 1 to 65535, not 0"),
        ({"redis": {"port": "65536"}}, 'redis.port: must be a whole number from 1 to 65535, not "65536"'),
        ({"redis": {"db": -1}}, "redis.db: must be a whole number from 0, not -1"),
        ({"redis": {"username": 5}}, "redis.username: must be text"),
        ({"redis": {"tls": "yes"}}, 'redis.tls: must be true or false, not "yes"'),
        ({"redis": {"tls_verify": 1}}, "redis.tls_verify: must be true or false, not 1"),
        ({"redis": {"tls_ca_file": 5}}, "redis.tls_ca_file: must be the path of a PEM file, not 5"),
        ({"redis": {"tls_cert_file": ""}}, 'redis.tls_cert_file: must be the path of a PEM file, not ""'),
        ({"redis": {"tls_key_file": 5}}, "redis.tls_key_file: must be the path of a PEM file, not 5"),
        ({"redis": {"connect_timeout_s": 0}}, "redis.connect_timeout_s: must be a number of seconds above 0, not 0"),
        ({"redis": {"timeout_s": True}}, "redis.timeout_s: must be a number of seconds above 0, not true"),
        ({"extra_wiring": [1]}, "extra_wiring: must be a list of objects, not [1]"),
        ({"limits": 5}, 'limits: must be an object such as {"experiments": 1000}, not 5'),
        ({"limits": {"goals": 0}}, "limits.goals: must be a whole number from 1, not 0"),
        ({"limits": {"goal": 5}}, "limits.goal: unknown key; did you mean goals?"),
        ({"count_bots": 1}, "count_bots: must be true or false, not 1"),
        (
            {"require_origin": True},
            'require_origin: needs cors_origins, the pages that may send events; "*" allows all',
        ),
        (
            {"allowed_namespaces": "n"},
            'allowed_namespaces: must be a list of namespaces, such as ["alephbet"], not "n"',
        ),
        (
            {"allowed_namespaces": ["n"], "allowed_experiments": {"m": ["e"], "n": []}},
            "allowed_experiments: names m, which allowed_namespaces does not",
        ),
        *(
            ({"allowed_experiments": wrong}, f"allowed_experiments: must be {config.EXPERIMENTS_WANTED}, not {shown}")
            for wrong, shown in (({"n": "e"}, '{"n": "e"}'), ({}, "{}"))
        ),
        ({"aws": []}, "aws: must be an object, not []"),
        ({"experiments": []}, "experiments: must be an object with an object for each experiment, not []"),
        (
            {"experiments": {"b": {"baseline": 5}}},
            "experiments.b.baseline: must be the name of the control variant, not 5",
        ),
        (
            {"experiments": {"b": {"precision": 2}}},
            'experiments.b.precision: must be 1, 4, 16, 64, 256, "bitmap", "bitmap-768" or "exact", not 2',
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_its_key_takes(tmp_path, wrong, problem):
    with pytest.raises(ConfigError) as caught:
        config.load(write(tmp_path / "c.json", wrong), {})
    assert str(caught.value).splitlines()[1:] == [f"  {problem}"]


@pytest.mark.parametrize("weights", [{}, 5, {"red": -1}, {"red": "3"}, {"red": 10**400}])
def test_weights_are_numbers_by_variant(tmp_path, weights):
    with pytest.raises(ConfigError, match=r"experiments\.b\.weights: must be numbers above 0 by variant"):
        config.load(write(tmp_path / "c.json", {"experiments": {"b": {"weights": weights}}}), {})


def test_experiments_and_weights_may_hold_comments(tmp_path):
    experiments = {"// which": "ours", "a": {"weights": {"// even": "for now", "red": 1}}, "b": {"baseline": "blue"}}
    found = config.load(write(tmp_path / "c.json", {"experiments": experiments}), {})
    assert found.experiments == {
        "a": ExperimentSettings(weights={"red": 1.0}, variants=frozenset({"red"})),
        "b": ExperimentSettings(baseline="blue"),
    }


def test_after_a_wrong_experiment_the_others_are_checked_too(tmp_path):
    with pytest.raises(ConfigError) as caught:
        config.load(write(tmp_path / "c.json", {"experiments": {"a": 1, "b": {"baseline": 2}}}), {})
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == [
        "experiments.a",
        "experiments.b.baseline",
    ]


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
    ("content", "said"),
    [
        ("{", "invalid JSON in .*: fix the syntax, or start again with `gimel configure --force`$"),
        ("[" * 100_000, "invalid JSON in .*: fix the syntax, or start again with `gimel configure --force`$"),
        ("[]", r"must contain one JSON object: see config\.json\.template$"),
    ],
)
def test_an_invalid_file_is_refused(tmp_path, content, said):
    with pytest.raises(ConfigError, match=said):
        config.load(write(tmp_path / "c.json", content), {})


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    with pytest.raises(ConfigError) as caught:
        read_file(tmp_path)
    assert str(caught.value) == f"could not read {tmp_path} (Is a directory): check its permissions"


def test_an_unknown_key_that_resembles_none_is_answered_with_all_of_them():
    section = Section({"zzz": 1, "// note": 2}, {"host", "port"}, "redis.")
    assert section.problems == ["redis.zzz: unknown key; valid keys: host, port"]


def test_a_long_wrong_value_is_cut_and_stays_readable():
    section = Section({"name": ["ü" * 100]}, {"name"})
    assert section.take("name", "text", text) is None
    assert section.problems == ['name: must be text, not ["' + "ü" * 58]


@pytest.mark.parametrize("port", [1, 65535, "1", "65535"])
def test_a_port_is_a_number_or_its_digits(tmp_path, port):
    assert config.load(write(tmp_path / "c.json", {"redis": {"port": port}}), {}).redis.port == int(port)


@pytest.mark.parametrize("written", ["0", "-1", "true", '"3"', "Infinity", "1e999"])
def test_a_timeout_is_a_finite_number_above_0(tmp_path, written):
    with pytest.raises(ConfigError, match=r"redis\.timeout_s: must be a number of seconds above 0"):
        config.load(write(tmp_path / "c.json", f'{{"redis": {{"timeout_s": {written}}}}}'), {})


@pytest.mark.parametrize(
    ("filled", "environ", "said"),
    [
        ({}, {}, 'redis.host is still "ENTER YOUR REDIS HOST" and redis.password is still "..." in'),
        ({"host": "r"}, {}, 'redis.password is still "..." in'),
        ({"password": ""}, {}, 'redis.host is still "ENTER YOUR REDIS HOST" in'),
        ({"host": "r", "password": ""}, {}, ""),
        ({"host": "r"}, {"GIMEL_REDIS_PASSWORD": "word"}, ""),
        ({}, {"GIMEL_REDIS_URL": "redis://r"}, ""),
    ],
)
def test_a_placeholder_of_the_template_is_refused_when_redis_is_needed(tmp_path, filled, environ, said):
    content = json.loads(shipped("config.json.template").read_bytes())
    found = config.load(write(tmp_path / "c.json", {**content, "redis": {**content["redis"], **filled}}), environ)
    if not said:
        assert found.redis
        return
    with pytest.raises(ConfigError) as caught:
        found.redis  # noqa: B018
    assert caught.value.message == f"{said} {tmp_path / 'c.json'}"
    assert ("enter the host name" in caught.value.hint) == ("host" in said)
    assert ('or "" if it has none' in caught.value.hint) == ("password" in said)


@pytest.mark.parametrize("host", ["redis.example.com", "127.0.0.1", "fd00::1"])
def test_a_host_is_a_name_or_an_address(tmp_path, host):
    assert config.load(write(tmp_path / "c.json", {"redis": {"host": host}}), {}).redis.host == host


@pytest.mark.parametrize("host", ["h:6379", "[fd00::1]", "redis://h", "", 5])
def test_what_is_more_than_a_host_is_refused(tmp_path, host):
    with pytest.raises(ConfigError, match=r"redis\.host: must be .*; put a URL into redis\.url"):
        config.load(write(tmp_path / "c.json", {"redis": {"host": host}}), {})


@pytest.mark.parametrize(("written", "path"), [(None, "/e"), ("/counts", "/counts"), ("/a.b_c-1", "/a.b_c-1")])
def test_pages_send_events_to_a_path_of_their_own(tmp_path, written, path):
    assert config.load(write(tmp_path / "c.json", {"track_path": written}), {}).track_path == path
    assert config.load(write(tmp_path / "c.json", {"track_path": False}), {}).track_path == "/track"


@pytest.mark.parametrize(
    "wrong", ["counts", "/a/b", "/", "/.", "/..", "/é", "/e?", "/" + "a" * 65, "", True, 5, "/ping"]
)
def test_a_path_of_events_has_one_part_that_is_not_taken(tmp_path, wrong):
    with pytest.raises(
        ConfigError, match=r'track_path: must be a path of one part such as "/e".*; or false for /track'
    ):
        config.load(write(tmp_path / "c.json", {"track_path": wrong}), {})


def test_no_path_of_a_server_is_left_for_events():
    paths = {*local.PATHS.split(", "), proxy.ENTER, "/alephbet.js"} - {"/"}
    assert {f"/{path.split('/')[1]}" for path in paths} <= config.TAKEN_PATHS


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
    path = tmp_path / "none.json"
    hint = f"name an existing file, or create it with `gimel configure --config {path}`"
    with pytest.raises(ConfigError) as caught:
        config.load(path, {})
    assert str(caught.value) == f"no such file: {path}: {hint}"
    with pytest.raises(ConfigError) as caught:
        config.load(None, {"GIMEL_CONFIG": str(path)})
    assert str(caught.value) == f"no such file: {path} (from GIMEL_CONFIG): {hint}"


def test_origins_and_experiments_are_read(tmp_path):
    path = write(
        tmp_path / "c.json",
        {"cors_origins": ["https://a.example:8443", "http://[::1]"], "allowed_experiments": ["a", "b"]},
    )
    found = config.load(path, {})
    assert found.cors_origins == ("https://a.example:8443", "http://[::1]")
    assert found.allowed_experiments == {"a", "b"}


def ignored(tmp_path, content, **names) -> str | None:
    """Which list of a configuration this event is not in."""
    found = config.load(write(tmp_path / "c.json", content), {})
    return found.unlisted(
        Event(**{"namespace": "n", "experiment": "e", "goal": "g", "variant": "v", "uuid": "u", **names})
    )


def test_without_lists_every_name_is_counted(tmp_path):
    assert ignored(tmp_path, {}) is None
    assert ignored(tmp_path, {"experiments": {"e": {"baseline": "w"}}}) is None


@pytest.mark.parametrize(
    ("names", "unlisted"),
    [
        ({}, None),
        ({"goal": "participate"}, None),
        ({"namespace": "other"}, "namespace"),
        ({"experiment": "other"}, "experiment"),
        ({"variant": "other"}, "variant"),
        ({"goal": "other"}, "goal"),
        ({"goal": "participate", "variant": "other"}, "variant"),
        ({"namespace": "other", "experiment": "other", "variant": "other", "goal": "other"}, "namespace"),
    ],
)
def test_what_is_beside_a_closed_list_is_ignored(tmp_path, names, unlisted):
    lists = {"allowed_namespaces": ["n"], "allowed_experiments": ["e"]}
    own = {"experiments": {"e": {"variants": ["v", "w"], "goals": ["g"]}}}
    assert ignored(tmp_path, {**lists, **own}, **names) == unlisted


def test_weights_imply_the_variants(tmp_path):
    weights = {"experiments": {"e": {"weights": {"v": 1, "w": 3}}}}
    assert ignored(tmp_path, weights) is None
    assert ignored(tmp_path, weights, variant="x") == "variant"


def test_experiments_can_be_listed_by_namespace(tmp_path):
    by_namespace = {"allowed_experiments": {"// why": "ours", "n": ["e"], "m": ["f"]}}
    assert ignored(tmp_path, by_namespace) is None
    assert ignored(tmp_path, by_namespace, experiment="f") == "experiment"
    assert ignored(tmp_path, by_namespace, namespace="m", experiment="f") is None
    assert ignored(tmp_path, by_namespace, namespace="other") == "namespace"
    half_open = {**by_namespace, "allowed_namespaces": ["n", "m", "open"]}
    assert ignored(tmp_path, half_open, experiment="f") == "experiment"
    assert ignored(tmp_path, half_open, namespace="open", experiment="any") is None


def test_limits_are_read_and_have_defaults(tmp_path):
    found = config.load(write(tmp_path / "c.json", {"limits": {"experiments": 3, "// why": "few"}}), {})
    assert found.limits == config.Limits(experiments=3)
    assert config.Limits() == config.Limits(namespaces=10, experiments=1000, counters=10_000, variants=20, goals=50)


def test_bots_and_origins_are_decided_by_switches(tmp_path):
    content = {"cors_origins": "https://a.example", "require_origin": True, "count_bots": True}
    found = config.load(write(tmp_path / "c.json", content), {})
    assert (found.require_origin, found.count_bots) == (True, True)
    assert (config.Config().require_origin, config.Config().count_bots) == (False, False)


@pytest.mark.parametrize(
    ("written", "read"), [("https://a.example", ("https://a.example",)), ("*", ("*",)), (["*"], ("*",))]
)
def test_a_single_origin_needs_no_list(tmp_path, written, read):
    assert config.load(write(tmp_path / "c.json", {"cors_origins": written}), {}).cors_origins == read


def test_what_a_file_leaves_out_has_a_default(tmp_path):
    path = write(tmp_path / "c.json", {"experiments": {"b": {}}})
    assert config.load(path, {}) == config.Config(experiments={"b": ExperimentSettings()}, path=path)


def test_precision_and_an_experiments_own_settings_are_read(tmp_path):
    own = {"baseline": "blue", "weights": {"blue": 1, "red": 3.5}, "precision": "exact", "per_visitor": ["page view"]}
    found = config.load(write(tmp_path / "c.json", {"precision": 16, "experiments": {"button": own}}), {})
    assert found.experiment("button") == ExperimentSettings(
        "blue", {"blue": 1.0, "red": 3.5}, "exact", frozenset({"page view"}), frozenset({"blue", "red"})
    )
    assert found.experiment("other") == ExperimentSettings()
    assert [found.precision_of(name) for name in ("button", "other")] == ["exact", 16]
    assert config.Config().precision_of("any") == 1
    for precision in (1, 4, 16, 64, 256, "exact", "bitmap", "bitmap-768"):
        found = config.load(write(tmp_path / "c.json", {"experiments": {"button": {"precision": precision}}}), {})
        assert (found.precision_of("button"), found.precision_of("other")) == (precision, 1)
        assert found.has_bitmaps == str(precision).startswith("bitmap")
    assert config.Config(precision="bitmap").has_bitmaps


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"precision": 8}, 'precision: must be 1, 4, 16, 64, 256, "bitmap", "bitmap-768" or "exact", not 8'),
        ({"precision": True}, "precision: must be"),
        ({"experiments": {"b": {"weights": {"red": 0}}}}, "experiments.b.weights: must be numbers above 0"),
        ({"experiments": {"b": {"wieghts": {}}}}, "experiments.b.wieghts: unknown key; did you mean weights?"),
        (
            {"experiments": {"b": {"per_visitor": "view"}}},
            'experiments.b.per_visitor: must be a list of goals, such as ["page',
        ),
        ({"experiments": {"b": []}}, "experiments.b: must be an object"),
        ({"experiments": {"b": {"baseline": "x", "weights": {"y": 1}}}}, "must include the baseline, x"),
        (
            {"experiments": {"b": {"baseline": "x", "variants": ["y"]}}},
            "experiments.b.variants: must include the baseline, x",
        ),
        (
            {"experiments": {"b": {"weights": {"y": 1, "z": 1}, "variants": ["x", "y"]}}},
            "experiments.b.variants: must be those of weights, but only one of the two has x, z",
        ),
        (
            {"experiments": {"b": {"per_visitor": ["view"], "goals": ["buy"]}}},
            "experiments.b.goals: must include what per_visitor names: view",
        ),
        (
            {"experiments": {"b": {"goal": "buy", "goals": ["view"]}}},
            "experiments.b.goals: must include what goal names: buy",
        ),
        (
            {"experiments": {"b": {"guardrails": {"refund": 0.1, "call": 0.1}, "goals": ["call"]}}},
            "experiments.b.goals: must include what guardrails names: call, refund",
        ),
        (
            {"experiments": {"b": {"goal": "view", "per_visitor": ["view", "buy"]}}},
            "experiments.b.goal: must not be in per_visitor, whose goals are not tested: view",
        ),
        (
            {"experiments": {"b": {"guardrails": {"view": 0.1, "call": 0.1}, "per_visitor": ["view"]}}},
            "experiments.b.guardrails: must not be in per_visitor, whose goals are not tested: view",
        ),
        (
            {"experiments": {"b": {"goal": "buy", "guardrails": {"buy": -0.1}}}},
            "experiments.b.guardrails: must not include the goal that decides, buy",
        ),
        *(
            (
                {"experiments": {"b": {**each, "goals": ["buy"]}}},
                f"experiments.b.{key}: participate is not a goal, because every visitor reaches it",
            )
            for key, each in (("goal", {"goal": "participate"}), ("guardrails", {"guardrails": {"participate": 0.1}}))
        ),
        *(
            (
                {"experiments": {"b": {"guardrails": guardrails}}},
                "experiments.b.guardrails: must be relative changes from -1 to 1, and not 0, by goal, such as",
            )
            for guardrails in ({"call": 0}, {"call": 5e-324}, {"call": 1.5}, {"call": True}, {"call": "0.1"}, ["call"])
        ),
        ({"experiments": {"b": {"goal": ""}}}, "experiments.b.goal: must be the name of the goal that decides"),
        *(
            ({"experiments": {"b": {"smallest_change": change}}}, "smallest_change: must be a relative change from")
            for change in (0, -0.1, 1.1, True, 1e-320)
        ),
        (
            {"experiments": {"b": {"planned_visitors": 0}}},
            "planned_visitors: must be a whole number from 1 to 10^12, not 0",
        ),
    ],
)
def test_invalid_settings_of_an_experiment_are_listed(tmp_path, wrong, said):
    with pytest.raises(ConfigError) as caught:
        config.load(write(tmp_path / "c.json", wrong), {})
    (problem,) = str(caught.value).splitlines()[1:]
    assert said in problem


def test_a_plan_and_what_its_goals_decide_are_read(tmp_path):
    own = {
        "goals": ["buy", "view", "call", "view twice"],
        "per_visitor": ["view"],
        "planned_visitors": 20_000,
        "smallest_change": 0.03,
        "goal": "buy",
        "guardrails": {"// calls": "cost money", "call": 0.02, "view twice": -1},
    }
    found = config.load(write(tmp_path / "c.json", {"experiments": {"button": own}}), {}).experiment("button")
    assert (found.planned_visitors, found.smallest_change, found.goal) == (20_000, 0.03, "buy")
    assert found.guardrails == {"call": 0.02, "view twice": -1.0}
    without = ExperimentSettings()
    assert (without.planned_visitors, without.smallest_change, without.goal) == (None, 0.1, None)


def test_the_template_is_right_and_names_every_key(tmp_path):
    text = shipped("config.json.template").read_text(encoding="utf-8")
    found = config.load(
        write(tmp_path / "c.json", text.replace("ENTER YOUR REDIS HOST", "r").replace('"..."', '""')), {}
    )
    assert (found.redis.host, found.redis.port, found.precision) == ("r", 6379, resources.PRECISION)
    keys = config.KEYS | set(config.RedisSettings.__dataclass_fields__)
    keys |= settings.KEYS | config.NOTIFY_KEYS
    text = text.replace("\\", "")  # a default may itself be JSON
    keys |= set(config.Limits.__dataclass_fields__)
    assert [key for key in sorted(keys) if f'"{key}"' not in text and f'"// {key}"' not in text] == []
