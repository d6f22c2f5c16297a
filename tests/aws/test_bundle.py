"""The zip is reproducible, small, without secrets, and complete."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

import gimel
from gimel import access, config, connection, page
from gimel.errors import ConfigError
from gimel.gateway import Request
from gimel.ops.aws import bundle, desired, settings
from gimel.ops.aws.errors import BundleError
from gimel.ops.aws.names import Account
from tests.calls import EVENT, make_rest_event
from tests.parts import ROOT

pytestmark = pytest.mark.slow

LOCAL = f"python{sys.version_info.major}.{sys.version_info.minor}"
OTHER = next(runtime for runtime in settings.RUNTIMES if runtime != LOCAL and runtime != "python3.10")
CONFIG = {"redis": {"host": "redis.example.com"}}
HERE = Account("123456789012", "eu-west-1", "aws", "https://sqs.eu-west-1.amazonaws.com")


@pytest.fixture(scope="module")
def built() -> bundle.Bundle:
    os.environ["GIMEL_CACHE"] = str(ROOT / ".cache" / "wheels")
    return bundle.build(CONFIG, LOCAL)


def names(data: bytes) -> list[str]:
    return ZipFile(io.BytesIO(data)).namelist()


def desired_of(tmp_path: Path, content: dict) -> desired.Desired:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    return desired.build(*settings.load(path), HERE)


def config_in(data: bytes) -> dict:
    return json.loads(ZipFile(io.BytesIO(data)).read("config.json"))


def test_another_process_elsewhere_builds_the_same_bytes(built, tmp_path):
    program = f"from gimel.ops.aws import bundle; print(bundle.build({CONFIG!r}, {LOCAL!r}).sha256)"
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == built.sha256, done.stderr


def test_it_is_small(built, monkeypatch):
    assert len(built.data) < 1_700_000
    monkeypatch.setattr(bundle, "find_python", lambda runtime: None)
    assert len(bundle.build(CONFIG, OTHER).data) < 850_000


def test_it_contains_gimel_without_ops_and_redis_and_the_configuration(built):
    found = names(built.data)
    assert {"gimel/__init__.py", "gimel/handlers.py", "redis/__init__.py", "config.json"} <= set(found)
    assert {f"gimel/web/{path.name}" for path in page.FOLDER.iterdir()} <= set(found)
    tops = {name.partition("/")[0] for name in found}
    tops = {top for top in tops if not top.endswith(".dist-info")}
    assert tops - {"async_timeout"} == {"gimel", "redis", "config.json"}
    assert not [name for name in found if "/ops/" in name or name == "gimel/client.py"]


def test_what_a_cold_start_imports_is_compiled_and_not_checked_against_its_source(built):
    archive = ZipFile(io.BytesIO(built.data))
    tag = sys.implementation.cache_tag
    content = archive.read(f"gimel/__pycache__/handlers.{tag}.pyc")
    # PEP 552: flags 0b01 mean that the hash of the source is in the file and is not checked.
    assert int.from_bytes(content[4:8], "little") == 0b01
    assert f"redis/__pycache__/client.{tag}.pyc" in archive.namelist()


def test_unzipped_it_imports_with_no_other_package_installed(built, tmp_path):
    ZipFile(io.BytesIO(built.data)).extractall(tmp_path)
    program = (
        "import gimel, sys; print(callable(gimel.track), len([n for n in sys.modules if n.startswith('boto')])); "
        "print(gimel.handlers.__cached__)"
    )
    environ = {"AWS_LAMBDA_FUNCTION_NAME": "gimel-track"}
    command = [sys.executable, "-S", "-B", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert done.stdout.split()[:2] == ["True", "0"], done.stderr


def test_unzipped_it_serves_the_page(built, tmp_path):
    event = {"httpMethod": "GET", "headers": {"Host": "api.example"}}
    program = f"answer = gimel.dashboard({event!r}); print(answer['statusCode'], len(answer['body']))"
    status, size = in_lambda(built, tmp_path, program).split()
    assert (status, int(size)) == ("200", len(page.answer(Request(), {}).text))


def test_unzipped_it_knows_the_bots_without_the_list(built, tmp_path):
    ZipFile(io.BytesIO(built.data)).extractall(tmp_path)
    program = "from gimel import bots; print(bots.reason_to_ignore({'user-agent': 'Googlebot/2.1'}))"
    command = [sys.executable, "-S", "-B", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == "bot\n", done.stderr


def test_a_cold_start_compiles_nothing(built, tmp_path):
    """All sources are broken, so compiling one would fail."""
    ZipFile(io.BytesIO(built.data)).extractall(tmp_path)
    for path in tmp_path.rglob("*.py"):
        path.write_text("this is no Python")
    done = subprocess.run(
        [sys.executable, "-S", "-B", "-c", "import gimel; print(gimel.track.__class__.__module__)"],
        cwd=tmp_path,
        env={"AWS_LAMBDA_FUNCTION_NAME": "gimel-track"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.startswith("gimel"), done.stderr


HEAVY = ("asyncio.", "redis.asyncio.", "opentelemetry.", "importlib.metadata.", "importlib.resources.", "email.")
HEAVY += ("zipfile.", "statistics.", "gimel.analysis.", "boto3.", "botocore.", "difflib.", "gzip.", "subprocess.")


def in_lambda(built, folder, program: str, **environ: str) -> str:
    """What this program prints as a function, given what is imported in Lambda."""
    ZipFile(io.BytesIO(built.data)).extractall(folder)
    command = [sys.executable, "-S", "-B", "-c", f"import gimel\n{program}"]
    environ = {"AWS_LAMBDA_FUNCTION_NAME": "gimel-track", **environ}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_cold_start_and_its_first_event_load_nothing_heavy(built, tmp_path, redis_server):
    program = f"gimel.track({EVENT}); import sys; print(*sys.modules)"
    loaded = in_lambda(built, tmp_path, program, GIMEL_REDIS_URL=redis_server.url).split()
    assert redis_server.client().exists("alephbet:experiments")
    assert "redis.client" in loaded
    assert [name for name in loaded if f"{name}.".startswith(HEAVY)] == []


def test_redis_has_stand_ins_for_nothing_that_a_synchronous_client_uses(built, tmp_path):
    program = """
import sys
from gimel.lean_redis import Empty, StandIn
for name, module in sorted(sys.modules.items()):
    for own, value in vars(module).items():
        if isinstance(value, StandIn) or (isinstance(value, type) and Empty in value.__bases__):
            print(name, own)
"""
    # Parsers of the asyncio half; the lag of its streams; modules, which load the real ones when they are used.
    assert in_lambda(built, tmp_path, program).splitlines() == [
        "redis._parsers.base IncompleteReadError",
        "redis._parsers.base StreamReader",
        "redis.commands.cluster asyncio",
        "redis.commands.core async_record_streaming_lag",
        "redis.event asyncio",
        "redis.utils metadata",
    ]


def test_whoever_needs_a_heavy_module_after_all_gets_it(built, tmp_path):
    program = """
import asyncio, importlib.metadata, redis.asyncio, redis.cluster, redis.utils
asyncio.run(asyncio.sleep(0))
print(redis.asyncio.Redis.__module__, redis.RedisCluster.__module__, importlib.metadata.PackageNotFoundError.__name__)
redis.utils.get_lib_version()
redis.event.EventDispatcher()
"""
    assert in_lambda(built, tmp_path, program).split() == [
        "redis.asyncio.client",
        "redis.cluster",
        "PackageNotFoundError",
    ]


@pytest.mark.parametrize(
    ("runtime", "needs_it"), [("python3.10", True), ("python3.11", True), ("python3.12", False), ("python3.13", False)]
)
def test_a_runtime_gets_what_redis_needs_there(built, runtime, needs_it):
    # 3.11 too: redis needs it before 3.11.3, and the Python that compiles the zip may be older than Lambda's.
    found = names(bundle.build(CONFIG, runtime).data)
    assert any(name.startswith("async_timeout/") for name in found) == needs_it


def test_a_cached_wheel_needs_no_network(built, monkeypatch):
    def no_network(*ignored: object, **options: object) -> None:
        raise AssertionError("pip was called")

    monkeypatch.setattr(bundle, "_download", no_network)
    assert bundle.build(CONFIG, OTHER).data


def test_without_network_and_cache_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("GIMEL_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(BundleError, match=r"could not download redis==.* for the zip") as caught:
        bundle.build(CONFIG, OTHER)
    assert "go online once, or put the wheel into" in caught.value.hint
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_wheel_is_downloaded_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("GIMEL_CACHE", str(tmp_path / "cache"))
    requirement = bundle.requirements(LOCAL)[0]
    kept = next((ROOT / ".cache" / "wheels").glob("redis-*.whl"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(kept.parent))
    assert bundle.wheel(requirement).read_bytes() == kept.read_bytes()
    monkeypatch.delenv("PIP_FIND_LINKS")
    assert bundle.wheel(requirement).parent == tmp_path / "cache"


def forged(folder: Path) -> Path:
    """A wheel of the right name with something added."""
    kept = next((ROOT / ".cache" / "wheels").glob("redis-*.whl"))
    folder.mkdir()
    made = folder / kept.name
    made.write_bytes(kept.read_bytes())
    with ZipFile(made, "a") as archive:
        archive.writestr("redis/added.py", "")
    return made


def test_a_cached_wheel_with_another_hash_is_refused(built, tmp_path, monkeypatch):
    made = forged(tmp_path / "cache")
    monkeypatch.setenv("GIMEL_CACHE", str(made.parent))
    with pytest.raises(BundleError) as caught:
        bundle.build(CONFIG, OTHER)
    assert caught.value.message == f"{made} has none of the hashes that requirements.txt has for it"
    assert caught.value.hint == "delete it, and retry"


def test_a_downloaded_wheel_with_another_hash_is_refused_and_not_kept(built, tmp_path, monkeypatch):
    made = forged(tmp_path / "index")
    monkeypatch.setenv("GIMEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(made.parent))
    with pytest.raises(BundleError, match=f"the {made.name} that pip downloaded has none of the hashes"):
        bundle.build(CONFIG, OTHER)
    assert list((tmp_path / "cache").iterdir()) == []


def test_every_requirement_has_a_hash():
    found = bundle.requirements("python3.11")
    assert [requirement.pin.partition("==")[0] for requirement in found] == ["redis", "async-timeout"]
    assert all(requirement.hashes for requirement in found)


def test_the_configuration_omits_secrets_and_what_functions_do_not_use(tmp_path):
    content = {
        "//": "a comment",
        "redis": {"host": "redis.example.com", "password": "open sesame", "// db": "none", "timeout_s": 0.5},
        "cors_origins": ["https://www.example.com"],
        "allowed_experiments": ["button"],
        "track_path": "/counts",
        "extra_wiring": [],
        "aws": {"memory_mb": 512},
    }
    built = desired_of(tmp_path, content)
    assert config_in(built.bundle.data) == {
        "redis": {"host": "redis.example.com", "timeout_s": 0.5},
        "cors_origins": ["https://www.example.com"],
        "allowed_experiments": ["button"],
    }
    assert b"open sesame" not in built.bundle.data


@pytest.mark.parametrize(
    ("url", "left", "environment"),
    [
        ("rediss://gimel:p%40ss@r.example.com:6380/1", "rediss://gimel@r.example.com:6380/1", "p@ss"),
        ("redis://:word@r.example.com", "redis://r.example.com", "word"),
        ("redis://r.example.com:6379/0", "redis://r.example.com:6379/0", None),
    ],
)
def test_the_password_of_a_url_goes_into_the_environment(tmp_path, url, left, environment):
    built = desired_of(tmp_path, {"redis": {"url": url}})
    assert config_in(built.bundle.data)["redis"] == {"url": left}
    assert built.functions[0].configuration["Environment"]["Variables"].get("GIMEL_REDIS_PASSWORD") == environment


def test_a_release_is_another_with_another_redis_or_reference_but_not_with_another_password(tmp_path):
    def release(host: str, password: str) -> str:
        return desired_of(tmp_path, {"redis": {"host": host, "password": password}}).release

    assert release("r", "a") == release("r", "b")
    different = {release("r", "a"), release("s", "a"), release("r", "ssm:/a"), release("r", "ssm:/b")}
    assert len(different) == 4


def test_only_the_function_that_takes_snapshots_knows_the_webhook(tmp_path):
    notify = {"url": "https://hooks.example.com/open-sesame", "on": ["winner"], "secret": "open sesame"}
    content = {"redis": {"host": "r"}, "notify": notify}
    built = desired_of(tmp_path, content)
    assert config_in(built.bundle.data)["notify"] == {"on": ["winner"]}
    assert {one.name for one in built.functions if "NOTIFY" in str(one.configuration)} == {"gimel-snapshot"}
    (own,) = (one.configuration["Environment"]["Variables"] for one in built.functions if one.name == "gimel-snapshot")
    assert (own["GIMEL_NOTIFY_URL"], own["GIMEL_NOTIFY_SECRET"]) == (notify["url"], notify["secret"])
    assert desired_of(tmp_path, {**content, "notify": {**notify, "secret": "other"}}).release == built.release
    assert desired_of(tmp_path, {**content, "notify": {"url": notify["url"]}}).release != built.release
    assert "hooks" not in str(desired_of(tmp_path, {**content, "notify": None}).functions)


def test_functions_that_ask_no_redis_answer_without_its_password(tmp_path, monkeypatch):
    built = desired_of(tmp_path, {"redis": {"host": "r", "password": "open sesame"}})
    found = [one.configuration for one in built.functions]
    without = [one["Handler"] for one in found if "GIMEL_REDIS_PASSWORD" not in one["Environment"]["Variables"]]
    assert without == ["gimel.plan", "gimel.dashboard"]
    monkeypatch.setattr(connection, "client", lambda: pytest.fail("asks Redis"))
    connection.use(config.Config(cors_origins=("https://a.example",)))
    for entry in gimel.plan, gimel.dashboard:
        answer = entry(make_rest_event(query={"rate": "5%", "change": "10%", "per_day": "400", "about": ""}))
        assert (answer["statusCode"], answer["headers"]["Access-Control-Allow-Origin"]) == (200, "https://a.example")
    monkeypatch.setenv(access.VARIABLE, "[]")
    assert gimel.plan(make_rest_event(query={"rate": "5%"}))["statusCode"] == 403


def test_functions_carry_the_address_of_their_redis(tmp_path):
    built = desired_of(tmp_path, {"redis": {"url": "rediss://gimel:word@r.example.com/1"}})
    addresses = {one.configuration["Environment"]["Variables"]["GIMEL_REDIS_ADDRESS"] for one in built.functions}
    assert addresses == {"rediss://gimel@r.example.com:6379/1"}


def test_a_url_from_the_environment_is_deployed(tmp_path, monkeypatch):
    monkeypatch.setenv("GIMEL_REDIS_URL", "redis://:word@elsewhere.example.com")
    built = desired_of(tmp_path, {"redis": {"host": "here.example.com", "password": "other"}})
    assert config_in(built.bundle.data)["redis"] == {"url": "redis://elsewhere.example.com"}
    assert built.functions[0].configuration["Environment"]["Variables"]["GIMEL_REDIS_PASSWORD"] == "word"


@pytest.mark.parametrize(
    ("password", "action", "resource"),
    [
        ("ssm:/gimel/redis", "ssm:GetParameter", "arn:aws:ssm:eu-west-1:123456789012:parameter/gimel/redis"),
        (
            "secret:gimel",
            "secretsmanager:GetSecretValue",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:gimel-??????",
        ),
        ("secret:arn:aws:secretsmanager:a:1:secret:b-123456", "secretsmanager:GetSecretValue", None),
    ],
)
def test_a_password_reference_is_in_the_environment_and_the_role_may_read_only_that(
    tmp_path, password, action, resource
):
    built = desired_of(tmp_path, {"redis": {"host": "r.example.com", "password": password}})
    assert config_in(built.bundle.data)["redis"] == {"host": "r.example.com"}
    assert built.functions[0].configuration["Environment"]["Variables"]["GIMEL_REDIS_PASSWORD"] == password
    _, statement = json.loads(built.role_policy(in_vpc=False, with_queues=False))["Statement"]
    assert statement["Action"] == [action]
    assert statement["Resource"] == [resource or password.removeprefix("secret:")]


def test_the_certificate_is_in_the_zip_beside_the_configuration(tmp_path):
    from gimel import config

    (tmp_path / "ca.pem").write_text("a certificate")
    redis = {"host": "r.example.com", "tls": True, "tls_ca_file": "ca.pem"}
    data = desired_of(tmp_path, {"redis": redis}).bundle.data
    folder = tmp_path / "task"
    ZipFile(io.BytesIO(data)).extractall(folder)
    found = config.load(folder / "config.json").redis.tls_ca_file
    assert found == str(folder.resolve() / "redis-ca.pem")
    assert Path(found).read_text() == "a certificate"


@pytest.mark.parametrize(
    ("redis", "message"),
    [
        ({"url": "unix:///tmp/redis.sock"}, "cannot reach a Unix socket"),
        ({"unix_socket": "/tmp/redis.sock"}, "cannot reach a Unix socket"),
        ({"host": "ENTER YOUR REDIS HOST"}, "enter the host name"),
        ({"host": "r", "tls_ca_file": "nowhere.pem"}, "could not read redis.tls_ca_file"),
    ],
)
def test_a_redis_that_lambda_cannot_use_is_an_error(tmp_path, redis, message):
    with pytest.raises(ConfigError, match=message):
        desired_of(tmp_path, {"redis": redis})


def test_statistics_and_precision_reach_the_functions(tmp_path):
    content = {"redis": {"host": "r"}, "precision": 4, "experiments": {"button": {"baseline": "blue"}}}
    assert config_in(desired_of(tmp_path, content).bundle.data) == content


def test_a_clients_key_is_in_the_zip_and_a_note_says_so(tmp_path):
    for name in ("client.crt", "client.key"):
        (tmp_path / name).write_text(name)
    redis = {"host": "r", "tls": True, "tls_cert_file": "client.crt", "tls_key_file": "client.key"}
    built = desired_of(tmp_path, {"redis": redis})
    assert {"redis-client.pem", "redis-client-key.pem"} <= set(names(built.bundle.data))
    assert any("tls_key_file" in note for note in built.notes)
