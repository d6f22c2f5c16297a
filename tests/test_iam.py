"""Signing in to ElastiCache and MemoryDB with AWS' credentials instead of a password."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import botocore.auth
import pytest
import redis
from botocore.credentials import Credentials
from botocore.hooks import HierarchicalEmitter
from botocore.model import ServiceId
from botocore.signers import RequestSigner

import gimel
from gimel import config, connection, passwords
from gimel.errors import ConfigError

from .calls import EVENT, make_rest_event, participants
from .parts import ROOT, RedisServer, free_port

SERVERLESS = "counts-x2e9hv.public.serverless.use1.cache.amazonaws.com"
NODES = "clustercfg.counts.x2e9hv.use1.cache.amazonaws.com"
MEMORYDB = "clustercfg.counts.x2e9hv.memorydb.us-east-1.amazonaws.com"


class Clock:
    """The time by which botocore signs."""

    def __init__(self) -> None:
        self.now = datetime(2024, 8, 2, 12, 11, 50)

    def __call__(self, *ignored: object, **more: object) -> datetime:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch) -> Clock:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "accessKey")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secretKey")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    passwords._session.cache_clear()
    stopped = Clock()
    monkeypatch.setattr(botocore.auth, "get_current_datetime", stopped)
    return stopped


def load(tmp_path: Path, redis_section: dict[str, Any], environ: dict[str, str] | None = None) -> config.RedisSettings:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"redis": redis_section}))
    return config.load(path, environ or {}).redis


def section(host: str = SERVERLESS, **more: Any) -> dict[str, Any]:
    iam = {"user": "user123", "cache": "my-cache"}
    return {"host": host, "tls": True, "cluster": True, "iam": iam, **more}


def credentials(settings: config.RedisSettings, region: str | None = None) -> tuple[str, ...]:
    return passwords.AwsCredentialProvider(str(settings.password), settings.username, region).get_credentials()


class TestTheToken:
    def test_is_a_signed_request_to_connect_to_that_cache_as_that_user(self, tmp_path):
        user, token = credentials(load(tmp_path, section()))
        cache, _, query = token.partition("/?")
        found = {name: values[0] for name, values in parse_qs(query).items()}
        # The AWS SDK for Java signs the same request so, in a test of github.com/Opetushallitus/jod-yksilo.
        signature = "5dda5db919b1337db6596b2a608924bc10197fb39289b933b60bdb114d5a70dc"
        assert (user, cache) == ("user123", "my-cache")
        assert found == {
            "Action": "connect",
            "User": "user123",
            "ResourceType": "ServerlessCache",
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": "accessKey/20240802/eu-west-1/elasticache/aws4_request",
            "X-Amz-Date": "20240802T121150Z",
            "X-Amz-Expires": "900",
            "X-Amz-SignedHeaders": "host",
            "X-Amz-Signature": signature,
        }

    @pytest.mark.parametrize(
        ("host", "service", "query"),
        [
            (SERVERLESS, "elasticache", "Action=connect&User=user123&ResourceType=ServerlessCache"),
            (NODES, "elasticache", "Action=connect&User=user123"),
            (MEMORYDB, "memorydb", "Action=connect&User=user123"),
        ],
    )
    def test_is_what_botocore_presigns(self, tmp_path, monkeypatch, host, service, query):
        monkeypatch.setenv("AWS_SESSION_TOKEN", "temporary/+=")
        keys = Credentials("accessKey", "secretKey", "temporary/+=")
        emitter = HierarchicalEmitter()
        signer = RequestSigner(ServiceId(service), "eu-west-1", service, "v4", keys, emitter)
        request = {
            "method": "GET",
            "url": f"https://my-cache/?{query}",
            "body": {},
            "headers": {},
            "context": {},
        }
        signed = signer.generate_presigned_url(request, operation_name="connect", expires_in=900)
        assert credentials(load(tmp_path, section(host))) == ("user123", signed.removeprefix("https://"))

    def test_is_for_the_region_of_the_deployment_the_function_or_the_profile(self, tmp_path, monkeypatch):
        settings = load(tmp_path, section())
        assert "%2Fus-east-1%2F" in credentials(settings, "us-east-1")[1]
        monkeypatch.delenv("AWS_REGION")
        (tmp_path / "aws").write_text("[default]\nregion = eu-north-1\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))
        passwords._session.cache_clear()
        assert "%2Feu-north-1%2F" in credentials(settings)[1]

    @pytest.mark.parametrize(
        ("missing", "why"),
        [("AWS_REGION", "You must specify a region"), ("AWS_ACCESS_KEY_ID", "Unable to locate credentials")],
    )
    def test_cannot_be_signed_without_a_region_or_credentials(self, tmp_path, monkeypatch, missing, why):
        monkeypatch.delenv(missing)
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        what = f"could not sign a token for iam:serverless/my-cache/user123: {why}"
        with pytest.raises(redis.AuthenticationError, match=what):
            credentials(load(tmp_path, section()))


class TestSigningIn:
    @pytest.fixture
    def server(self, tmp_path, tls_redis) -> RedisServer:
        """A Redis of which Gimel has no password."""
        server, authority = tls_redis
        iam = {"user": "user123", "cache": "my-cache", "service": "elasticache"}
        files = {"tls": True, "tls_ca_file": str(authority)}
        connection.use(
            config.Config(load(tmp_path, {"host": "localhost", "port": server.tls_port, "iam": iam, **files}))
        )
        return server

    def let_in(self, server: RedisServer) -> None:
        """Do as AWS does: take a token of now, and no other."""
        _, token = credentials(connection.settings().redis)
        rights = {"reset_passwords": True, "passwords": [f"+{token}"], "keys": "*", "commands": ["+@all"]}
        server.client().acl_setuser("user123", enabled=True, **rights)

    def test_without_the_right_is_an_outage(self, server, caplog):
        assert gimel.track(make_rest_event(query=EVENT))["statusCode"] == 503
        hint = "check redis.username and redis.password, or redis.iam"
        assert f"Redis rejected the credentials: {hint}: WRONGPASS " in caplog.text
        assert "X-Amz-Signature" not in caplog.text

    def test_is_said_to_have_failed_by_a_cluster_too(self, tmp_path, caplog):
        server = RedisServer(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(free_port())).start()
        try:
            place = {"host": "127.0.0.1", "port": server.port, "cluster": True}
            settings = config.RedisSettings(**place, password="iam:serverless/my-cache/user123")
            connection.use(config.Config(settings))
            assert gimel.track(make_rest_event(query=EVENT))["statusCode"] == 503
        finally:
            server.stop()
        assert "Redis rejected the credentials" in caplog.text

    def test_takes_a_token_over_tls_and_a_new_one_for_each_connection(self, server, clock):
        self.let_in(server)
        gimel.track(EVENT)
        clock.now += timedelta(hours=12)
        self.let_in(server)
        gimel.track({**EVENT, "uuid": "u2"})  # over the connection that is open
        server.client().client_kill_filter(_type="normal", skipme=True)  # as AWS does after 12 hours
        gimel.track({**EVENT, "uuid": "u3"})
        assert participants(server.client()) == 3


def test_nothing_of_aws_is_imported_before_a_token_is_needed():
    program = (
        "import sys, gimel; from gimel import config, connection\n"
        "connection.connect(config.RedisSettings(host='h', tls=True, password='iam:elasticache/c/u', username='u'))\n"
        "print(any(name.startswith(('boto3', 'botocore')) for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "False", done.stderr


class TestTheConfiguration:
    @pytest.mark.parametrize(
        ("host", "service"),
        [
            (SERVERLESS, "serverless"),
            ("counts-x2e9hv.serverless.use1.cache.amazonaws.com", "serverless"),
            (NODES, "elasticache"),
            ("master.counts.x2e9hv.cnn1.cache.amazonaws.com.cn", "elasticache"),
            (MEMORYDB, "memorydb"),
        ],
    )
    def test_knows_the_service_by_the_host(self, tmp_path, host, service):
        settings = load(tmp_path, section(host))
        assert (settings.username, settings.password) == ("user123", f"iam:{service}/my-cache/user123")
        named = {"user": "user123", "cache": "my-cache", "service": service}
        assert load(tmp_path, section("localhost", iam=named)).password == settings.password

    def test_is_replaced_by_the_environment(self, tmp_path):
        assert load(tmp_path, section(), {"GIMEL_REDIS_PASSWORD": "word"}).password == "word"
        assert load(tmp_path, section(), {"GIMEL_REDIS_URL": "redis://h"}).password is None

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"tls": False}, 'needs "tls": true, because AWS accepts tokens over TLS only'),
            ({"cluster": False}, 'needs "cluster": true, because serverless is a cluster'),
            ({"password": "word"}, "signs in without a password; remove redis.password"),
            ({"username": "u", "password": "word"}, "remove redis.username and redis.password"),
            ({"host": "cache.example.com"}, r"needs service \(serverless, memorydb, elasticache\)"),
            ({"iam": {}}, "needs both user and cache"),
            ({"iam": {"user": "u"}}, "needs both user and cache"),
            ({"host": None, "tls": None, "url": "rediss://h"}, "needs redis.host instead of a URL or a socket"),
            ({"host": None, "tls": None, "unix_socket": "/s"}, "needs redis.host instead of a URL or a socket"),
            ({"iam": True}, r'must be an object such as {"user": "gimel", "cache": "counts"}, not true'),
        ],
    )
    def test_says_what_contradicts_it(self, tmp_path, wrong, said):
        with pytest.raises(ConfigError, match=f"redis.iam: .*{said}"):
            load(tmp_path, {key: value for key, value in section(**wrong).items() if value is not None})

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"user": "a/b"}, "user: must be the name of a user that signs in by IAM"),
            ({"cache": "Counts"}, "cache: must be the name of the cache, not its address, in lowercase"),
            ({"cache": SERVERLESS}, "cache: must be the name of the cache, not its address, in lowercase"),
            ({"service": "redis"}, "service: must be one of serverless, memorydb, elasticache"),
            ({"cach": "counts"}, "cach: unknown key; did you mean cache?"),
        ],
    )
    def test_says_which_key_is_wrong(self, tmp_path, wrong, said):
        with pytest.raises(ConfigError) as caught:
            load(tmp_path, section(iam={"user": "user123", "cache": "my-cache", **wrong}))
        (problem,) = str(caught.value).splitlines()[1:]
        assert problem.startswith(f"  redis.iam.{said}")
