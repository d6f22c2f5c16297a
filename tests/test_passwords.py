from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import boto3
import pytest
import redis
from moto import mock_aws

from gimel import config, connection, counters, passwords
from gimel.errors import StoreUnavailable

from .parts import ROOT, RedisServer


@pytest.fixture(autouse=True)
def aws(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        yield


@pytest.fixture
def guarded(tmp_path):
    server = RedisServer(tmp_path, "--requirepass", "open sesame").start()
    yield server
    server.stop()


def settings(server: RedisServer, password: str) -> config.RedisSettings:
    return config.RedisSettings(host="127.0.0.1", port=server.port, password=password)


def test_a_password_is_read_from_the_parameter_store(guarded):
    boto3.client("ssm").put_parameter(Name="/gimel/redis", Value="open sesame", Type="SecureString")
    assert connection.connect(settings(guarded, "ssm:/gimel/redis")).ping()


@pytest.mark.parametrize("secret", ["open sesame", '{"username": "default", "password": "open sesame"}'])
def test_a_password_is_read_from_a_secret(guarded, secret):
    arn = boto3.client("secretsmanager").create_secret(Name="gimel", SecretString=secret)["ARN"]
    assert connection.connect(settings(guarded, f"secret:{arn}")).ping()
    assert connection.connect(settings(guarded, "secret:gimel")).ping()


def test_a_url_may_leave_its_password_to_a_reference(guarded):
    boto3.client("ssm").put_parameter(Name="/gimel/redis", Value="open sesame", Type="SecureString")
    found = config.RedisSettings(url=guarded.url, password="ssm:/gimel/redis")
    assert connection.connect(found).ping()


def test_looking_it_up_has_a_time_limit_of_its_own(guarded, monkeypatch):
    monkeypatch.setattr(passwords, "_look_up", lambda *given: (time.sleep(0.6), (None, "open sesame"))[1])
    found = replace(settings(guarded, "ssm:/p"), timeout_s=0.3)
    counters.check_writable(connection.connect(found))
    monkeypatch.setattr(passwords, "LIMIT_S", 0.1)
    with pytest.raises(StoreUnavailable) as caught:
        counters.check_writable(connection.connect(found))
    assert str(caught.value.__cause__) == "could not read the password from ssm:/p: no answer within 0.1 s"


def test_a_changed_password_is_found_when_the_connection_is_made_anew(guarded):
    client = boto3.client("ssm")
    client.put_parameter(Name="/p", Value="open sesame", Type="SecureString")
    found = connection.connect(settings(guarded, "ssm:/p"))
    assert found.ping()
    redis.Redis(port=guarded.port, password="open sesame").config_set("requirepass", "new")
    client.put_parameter(Name="/p", Value="new", Type="SecureString", Overwrite=True)
    found.connection_pool.disconnect()
    assert found.ping()


def credentials(reference: str, username: str | None = None) -> tuple[str, ...]:
    return passwords.AwsCredentialProvider(reference, username).get_credentials()


@pytest.mark.parametrize(
    ("secret", "found"),
    [
        ("open sesame", ("open sesame",)),
        ('{"password": "p"}', ("p",)),
        ('{"password": 5}', ("5",)),
        ('{"username": "app", "password": "p"}', ("app", "p")),
        ('{"username": "app"}', ('{"username": "app"}',)),
        ('["password"]', ('["password"]',)),
        ("12345", ("12345",)),
    ],
)
def test_a_secret_is_the_password_or_an_object_that_holds_it(secret, found):
    boto3.client("secretsmanager").create_secret(Name="gimel", SecretString=secret)
    assert credentials("secret:gimel") == found


def test_the_configured_user_name_wins_over_the_secrets():
    secret = '{"username": "app", "password": "p"}'
    boto3.client("secretsmanager").create_secret(Name="gimel", SecretString=secret)
    assert credentials("secret:gimel", "own") == ("own", "p")
    settings = config.RedisSettings(username="own", password="secret:gimel")
    options = connection.connect(settings).connection_pool.connection_kwargs
    assert options["credential_provider"].get_credentials() == ("own", "p")


def test_the_region_is_that_of_the_lambda_function(monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    boto3.client("ssm", "eu-central-1").put_parameter(Name="/p", Value="one", Type="SecureString")
    boto3.client("secretsmanager", "eu-central-1").create_secret(Name="s", SecretString="two")
    assert (credentials("ssm:/p"), credentials("secret:s")) == (("one",), ("two",))


@pytest.mark.parametrize("reference", ["ssm:/p", "secret:s"])
def test_aws_is_waited_for_three_seconds_and_asked_twice_at_most(monkeypatch, reference):
    boto3.client("ssm").put_parameter(Name="/p", Value="one", Type="SecureString")
    boto3.client("secretsmanager").create_secret(Name="s", SecretString="two")
    make, made = boto3.client, []

    def client(*args, **options):
        made.append(make(*args, **options))
        return made[-1]

    monkeypatch.setattr(boto3, "client", client)
    credentials(reference)
    (used,) = [one.meta.config for one in made]
    assert (used.connect_timeout, used.read_timeout, used.retries["total_max_attempts"]) == (3, 3, 2)


def test_a_parameter_that_is_not_there_is_an_outage_that_says_which(guarded):
    with pytest.raises(redis.AuthenticationError, match="could not read the password from ssm:/nothing"):
        connection.connect(settings(guarded, "ssm:/nothing")).ping()


def test_the_environments_password_wins(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"redis": {"host": "r", "password": "old"}}')
    assert config.load(path, {"GIMEL_REDIS_PASSWORD": "new"}).redis.password == "new"


def test_boto3_is_not_imported_for_a_plain_password():
    program = "import gimel, sys; from gimel import config, connection; "
    program += "connection.connect(config.RedisSettings(password='p')); print('boto3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "False", done.stderr


def test_what_is_a_reference():
    assert passwords.is_reference("ssm:/a")
    assert passwords.is_reference("secret:b")
    assert not passwords.is_reference("secrets")
    assert not passwords.is_reference(None)
