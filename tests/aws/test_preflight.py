"""Preflight's findings about AWS accounts and Redis."""

from __future__ import annotations

import json
import os
import socket
from datetime import date
from typing import ClassVar

import boto3
import botocore.endpoint
import pytest
import redis

from gimel import config, passwords
from gimel.ops.aws import preflight
from gimel.ops.aws.client import Aws
from gimel.ops.aws.deployment import Deployment
from gimel.ops.aws.findings import Finding, Level
from tests.parts import RedisServer, free_port, wait_for


@pytest.fixture
def look(tmp_path):
    """Preflight's findings about a redis-server with these options."""

    def look(*options: str, in_vpc: bool = False, **settings: object) -> dict[Level, list[str]]:
        folder = tmp_path / "redis"
        folder.mkdir(exist_ok=True)
        server = RedisServer(folder, *options).start()
        try:
            patient = {"timeout_s": 20, "connect_timeout_s": 20}  # for a busy machine
            redis_settings = config.RedisSettings(host="127.0.0.1", port=server.port, **patient, **settings)
            loaded = config.Config(redis_settings=redis_settings)
            return by_level(preflight.check_redis(loaded, in_vpc, is_local=True))
        finally:
            server.stop()

    return look


def by_level(findings) -> dict[Level, list[str]]:
    found = {level: [] for level in Level}
    for finding in findings:
        found[finding.level].append(finding.message)
    return found


def test_a_redis_that_persists_its_data_has_no_errors(look):
    found = look()
    assert (found[Level.ERROR], found[Level.UNKNOWN], found[Level.WARNING]) == ([], [], [])
    assert "Redis writes an append-only file" in found[Level.GOOD]


def test_an_eviction_policy_that_may_evict_counts_is_a_warning(look):
    assert (
        "Redis may evict counts when it runs out of memory (eviction policy allkeys-lru)"
        in look("--maxmemory-policy", "allkeys-lru")[Level.WARNING]
    )


def test_a_policy_that_evicts_only_what_expires_is_good(look):
    assert any("volatile-lru keeps counts" in what for what in look("--maxmemory-policy", "volatile-lru")[Level.GOOD])


def test_no_persistence_is_a_warning(look):
    assert "Redis does not persist its data, so a restart loses its counts" in look("--appendonly", "no")[Level.WARNING]


def test_snapshots_without_an_append_only_file_are_a_warning(look):
    found = look("--appendonly", "no", "--save", "3600 1")[Level.WARNING]
    assert any("only saves snapshots (save 3600 1)" in what for what in found)


def test_a_replica_is_an_error(look):
    assert "Redis is a read-only replica" in look("--replicaof", "127.0.0.1", str(free_port()))[Level.ERROR]


def test_a_redis_that_cannot_save_snapshots_rejects_writes(tmp_path):
    server = RedisServer(tmp_path, "--dbfilename", "x.rdb").start()
    try:
        (tmp_path / "x.rdb").mkdir()  # in the way of the snapshot
        client = redis.Redis(port=server.port)
        client.bgsave()
        wait_for(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "the failure")
        settings = config.RedisSettings(host="127.0.0.1", port=server.port)
        found = by_level(preflight.check_redis(config.Config(redis_settings=settings), False, is_local=True))
        assert any("rejects writes" in what for what in found[Level.WARNING])
        client.config_set("stop-writes-on-bgsave-error", "no")
        found = by_level(preflight.check_redis(config.Config(redis_settings=settings), False, is_local=True))
        assert not any("rejects writes" in what for what in found[Level.WARNING])
        client.close()
    finally:
        server.stop()


def test_memory_that_is_almost_full_is_a_warning(look):
    assert "Redis is almost out of memory" in look("--maxmemory", "500kb")[Level.WARNING]
    assert "Redis is almost out of memory" not in look("--maxmemory", "500mb")[Level.WARNING]


def test_a_database_number_out_of_range_is_an_error(look):
    assert look(db=99)[Level.ERROR] == ["Redis returned an error: DB index is out of range"]


def test_a_user_who_may_not_call_info_is_unknown_and_no_error(look):
    only_counting = ("--user", "me", "on", ">word", "~*", "-@all", "+pfadd")
    found = look(*only_counting, username="me", password="word")
    assert (found[Level.ERROR], len(found[Level.UNKNOWN])) == ([], 1)
    assert "could not check the settings of Redis" in found[Level.UNKNOWN][0]


def test_a_token_that_is_rejected_is_unknown_because_functions_sign_their_own(look):
    found = look("--user", "gimel", "on", ">word", username="gimel", password="iam:elasticache/counts/gimel")
    assert found[Level.ERROR] == []
    (what,) = found[Level.UNKNOWN]
    assert "Redis rejected a token of your own for its user gimel: invalid username-password pair" in what


REFERENCES = pytest.mark.parametrize("password", ["ssm:/gimel/redis", "secret:gimel"])


@REFERENCES
@pytest.mark.parametrize("region", [None, "eu-west-1"])
def test_a_password_that_does_not_exist_is_an_error_even_with_a_private_redis(account, monkeypatch, password, region):
    monkeypatch.setattr(passwords, "LIMIT_S", 60)  # for a busy machine
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    if not region:
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
    settings = config.Config(redis_settings=config.RedisSettings(host="redis.internal", password=password))
    (finding,) = preflight.check_redis(settings, True, region)
    assert (finding.level, "create it in this account and region" in finding.hint) == (Level.ERROR, True), finding


@pytest.mark.parametrize("password", ["ssm:/gimel/redis", "secret:gimel", "iam:elasticache/counts/gimel"])
def test_a_password_that_only_the_functions_may_read_is_unknown(monkeypatch, password):
    passwords._session.cache_clear()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    settings = config.Config(redis_settings=config.RedisSettings(host="redis.internal", password=password))
    (finding,) = preflight.check_redis(settings, True)
    assert (finding.level, "with their own role" in finding.hint) == (Level.UNKNOWN, True), finding


def test_settings_that_cannot_be_read_are_unknown(look):
    found = look("--appendonly", "no", "--rename-command", "CONFIG", "")
    assert found[Level.UNKNOWN] == ["could not check whether Redis persists its data"]


def test_a_version_that_is_too_old_is_an_error():
    finding = preflight._version("Redis", "2.8.8", config.RedisSettings())
    assert (finding.level, finding.hint) == (Level.ERROR, "upgrade to 2.8.9 or later")
    assert preflight._version("Redis", "2.8.9", config.RedisSettings()).level is Level.GOOD
    assert preflight._version("Redis", "5.0.14", config.RedisSettings(username="gimel")).level is Level.ERROR


def test_a_wrong_password_is_an_error(look):
    (what,) = look("--requirepass", "open sesame", password="wrong")[Level.ERROR]
    assert "rejected the credentials" in what


@pytest.fixture
def resolve(monkeypatch):
    """Names resolve to these addresses, and others do not."""

    def resolve(**known: str) -> None:
        def look_up(host: str, *ignored: object, **more: object) -> list[object]:
            if host.replace(".", "_") not in known:
                raise socket.gaierror(-2, "Name or service not known")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known[host.replace(".", "_")], 0))]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

    return resolve


@pytest.fixture
def unreachable(monkeypatch):
    """Nothing can be connected to: whoever tries fails the test."""

    def refuse(*ignored: object) -> None:
        raise AssertionError("connected")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def at(in_vpc: bool = False, is_local: bool = False, **settings: object) -> list[Finding]:
    loaded = config.Config(redis_settings=config.RedisSettings(**{"connect_timeout_s": 20, **settings}))
    return list(preflight.check_redis(loaded, in_vpc, is_local=is_local))


@pytest.mark.parametrize(("in_vpc", "level"), [(True, Level.UNKNOWN), (False, Level.WARNING)])
def test_a_redis_that_cannot_be_reached_may_be_private(in_vpc, level, resolve, monkeypatch):
    def refuse(*ignored: object) -> None:
        raise ConnectionRefusedError("refused")

    resolve(redis_example_com="198.51.100.1")
    monkeypatch.setattr(preflight.ipaddress.IPv4Address, "is_private", False)  # an address for documentation
    monkeypatch.setattr(socket.socket, "connect", refuse)
    (finding,) = at(in_vpc, host="redis.example.com")
    assert (finding.level, "private" in finding.hint) == (level, True)
    assert "could not reach redis://redis.example.com:6379/0 from here" in finding.message


@pytest.mark.parametrize(
    "place",
    [
        {"host": "localhost"},
        {"host": "127.0.0.1"},
        {"host": "::1"},
        {"host": "127.1"},
        {"host": "0.0.0.0"},
        {"url": "rediss://me:word@localhost:7000/2"},
        {"url": "redis://"},
    ],
)
def test_a_redis_on_this_machine_is_an_error(place, unreachable):
    (finding,) = at(**place)
    assert (finding.level, "is a loopback address" in finding.message) == (Level.ERROR, True), finding
    assert finding.hint == f"enter a host that functions can reach in redis.{next(iter(place))}"
    assert "word" not in finding.message


def test_a_name_for_this_machine_is_an_error_but_not_in_a_vpc_where_it_may_mean_another(resolve, monkeypatch):
    resolve(laptop="127.0.1.1")
    (finding,) = at(host="laptop")
    assert finding.level is Level.ERROR
    assert [finding.level for finding in at(True, host="laptop")] == [Level.UNKNOWN]
    resolve(localhost="127.0.0.1")
    assert [finding.level for finding in at(True, host="localhost")] == [Level.ERROR]


def test_a_name_that_does_not_resolve_is_an_error_but_unknown_in_a_vpc(resolve):
    resolve()
    (finding,) = at(host="redis.internal")
    assert (finding.level, "redis.internal cannot be resolved" in finding.message) == (Level.ERROR, True)
    assert finding.hint == "correct redis.host; if only its VPC knows that name, set aws.vpc"
    assert [finding.level for finding in at(True, host="redis.internal")] == [Level.UNKNOWN]
    assert [finding.level for finding in at(host="redis..internal")] == [Level.ERROR]


def test_a_private_address_without_a_vpc_is_a_warning(resolve, monkeypatch):
    resolve(redis_internal="10.0.0.5")
    monkeypatch.setattr(socket.socket, "connect", lambda *ignored: (_ for _ in ()).throw(OSError("no route")))
    first, second = at(host="redis.internal")
    assert (first.level, second.level) == (Level.WARNING, Level.WARNING)
    assert "10.0.0.5, which functions reach only in its VPC" in first.message


def test_a_unix_socket_is_an_error(unreachable):
    for place in ({"unix_socket": "/tmp/redis.sock"}, {"url": "unix:///tmp/redis.sock"}):
        assert [finding.message for finding in at(**place)] == ["Lambda cannot reach a Unix socket"]


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:4566", "http://localhost:4566"])
def test_an_emulator_on_this_machine_may_use_a_redis_here(gimel_at, monkeypatch, endpoint):
    found = gimel_at({"redis": {"host": "127.0.0.1"}})
    asked: list[object] = []
    monkeypatch.setattr(preflight, "check_redis", lambda *given: asked.append(given[1:]) or iter(()))
    list(preflight.check(found))
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setattr(botocore.endpoint.time, "sleep", lambda seconds: None)  # nothing listens there: it would retry
    local = Aws()
    local.account = found.aws.account
    list(preflight.check(Deployment(found.config, found.settings, found.content, local)))
    assert asked == [(False, "eu-west-1", False), (False, "eu-west-1", True)]


class TestTheRedisThatIsMeant:
    def source(self, tmp_path, monkeypatch, redis=None, **environ: str) -> list[tuple[Level, str]]:
        content = {"redis": redis} if redis else {}
        (tmp_path / "config.json").write_text(json.dumps(content))
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        loaded = config.load(tmp_path / "config.json", os.environ)
        found = [(each.level, each.message) for each in preflight.check_source(loaded, content)]
        assert "sesame" not in str(found)
        return [(level, text.replace(str(loaded.path), "FILE")) for level, text in found]

    IN_FILE: ClassVar = {"host": "Redis.example.com", "username": "me", "password": "open sesame", "tls": True, "db": 2}

    def test_is_named_without_the_password(self, tmp_path, monkeypatch):
        named = [(Level.GOOD, "Redis is rediss://me@redis.example.com:6379/2")]
        assert self.source(tmp_path, monkeypatch, self.IN_FILE) == named

    def test_is_named_with_the_one_that_the_shell_overrides(self, tmp_path, monkeypatch):
        found = self.source(tmp_path, monkeypatch, self.IN_FILE, GIMEL_REDIS_URL="redis://:other-sesame@old:7000")
        text = "GIMEL_REDIS_URL in your shell overrides FILE: redis://old:7000/0 instead of "
        assert found == [(Level.WARNING, f"{text}rediss://me@redis.example.com:6379/2")]

    @pytest.mark.parametrize("redis", [None, {"host": "ENTER YOUR REDIS HOST"}])
    def test_may_come_from_the_shell_alone(self, tmp_path, monkeypatch, redis):
        found = self.source(tmp_path, monkeypatch, redis, GIMEL_REDIS_URL="redis://old")
        assert found == [(Level.GOOD, "Redis is redis://old:6379/0, from GIMEL_REDIS_URL in your shell")]

    @pytest.mark.parametrize("redis", [IN_FILE, {"url": "rediss://me:open%20sesame@redis.example.com/2"}])
    def test_may_have_another_password_in_the_shell(self, tmp_path, monkeypatch, redis):
        found = self.source(tmp_path, monkeypatch, redis, GIMEL_REDIS_PASSWORD="other sesame")
        text = "GIMEL_REDIS_PASSWORD in your shell overrides the password in FILE"
        assert found[1:] == [(Level.WARNING, text)]
        assert len(self.source(tmp_path, monkeypatch, redis, GIMEL_REDIS_PASSWORD="open sesame")) == 1

    def test_takes_its_password_from_the_url_alone(self, tmp_path, monkeypatch):
        environ = {"GIMEL_REDIS_URL": "redis://old", "GIMEL_REDIS_PASSWORD": "open sesame"}
        found = self.source(tmp_path, monkeypatch, **environ)
        assert found[1:] == [(Level.WARNING, "GIMEL_REDIS_URL replaces GIMEL_REDIS_PASSWORD, which is ignored")]


def test_no_redis_configured_is_an_error():
    (finding,) = preflight.check_redis(config.Config(), False)
    assert finding.level is Level.ERROR


def test_missing_credentials_and_region_are_errors_with_hints(gimel_at, monkeypatch, account):
    found = gimel_at()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    bare = Deployment(found.config, found.settings, found.content, Aws())
    finding = next(preflight.check(bare))
    assert (finding.level, finding.hint) == (Level.ERROR, "run `aws configure` or set AWS_PROFILE, then retry")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    finding = next(preflight.check(Deployment(found.config, found.settings, found.content, Aws())))
    assert (finding.level, finding.hint) == (Level.ERROR, "set AWS_REGION or aws.region, or run `aws configure`")


def test_a_deprecated_runtime_is_a_warning_with_its_date(monkeypatch):
    monkeypatch.setattr(preflight.bundle, "find_python", lambda runtime: "/usr/bin/python")
    assert [finding.level for finding in preflight.check_runtime("python3.13")] == [Level.GOOD]
    monkeypatch.setitem(preflight.DEPRECATED_FROM, "python3.13", date(2020, 2, 29))
    (finding,) = preflight.check_runtime("python3.13")
    assert finding.level is Level.WARNING
    assert finding.message.startswith("AWS deprecated python3.13 on 2020-02-29")


def test_a_missing_interpreter_is_a_warning_with_what_a_cold_start_costs(monkeypatch):
    monkeypatch.setattr(preflight.bundle, "find_python", lambda runtime: None)
    _, finding = preflight.check_runtime("python3.13")
    assert finding.level is Level.WARNING
    assert "the zip has sources only" in finding.message
    assert "0.57 instead of 0.27 seconds" in finding.message
    assert "`uv python install 3.13`" in finding.hint


class TestTheEndpointForSqs:
    @pytest.fixture
    def network(self, account):
        ec2 = account.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        return ec2, vpc, ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]

    @pytest.fixture
    def findings(self, network, gimel_at):
        vpc = {"subnet_ids": [network[2]], "security_group_ids": ["sg-1"]}
        return lambda durable=True: list(preflight.check_endpoint(gimel_at(vpc=vpc, durable=durable)))

    def endpoint(self, network, **options):
        ec2, vpc, subnet = network
        service = {"ServiceName": "com.amazonaws.eu-west-1.sqs", "VpcEndpointType": "Interface"}
        ec2.create_vpc_endpoint(VpcId=vpc, SubnetIds=[subnet], **service, **options)

    def test_is_missing_and_its_cost_is_named(self, network, findings):
        ec2, vpc, _ = network
        ec2.create_vpc_endpoint(VpcId=vpc, ServiceName="com.amazonaws.eu-west-1.s3")
        (finding,) = findings()
        assert (finding.level, vpc in finding.message) == (Level.WARNING, True)
        assert "create one for com.amazonaws.eu-west-1.sqs with private DNS" in finding.hint
        assert "each hour and availability zone" in finding.hint

    def test_is_found(self, network, findings):
        self.endpoint(network, PrivateDnsEnabled=True)
        assert [finding.level for finding in findings()] == [Level.GOOD]

    def test_has_no_private_dns(self, network, findings):
        self.endpoint(network, PrivateDnsEnabled=False)
        (finding,) = findings()
        assert (finding.level, "private DNS" in finding.message) == (Level.WARNING, True)

    def test_cannot_be_checked(self, gimel_at, account):
        missing = {"subnet_ids": ["subnet-0"], "security_group_ids": ["sg-1"]}
        (finding,) = preflight.check_endpoint(gimel_at(vpc=missing, durable=True))
        assert (finding.level, "private DNS" in finding.hint) == (Level.UNKNOWN, True)

    @pytest.mark.parametrize("aws", [{}, {"durable": True}, {"vpc": True}, {"vpc": True, "durable": True}])
    def test_is_looked_for_only_where_it_is_needed(self, network, gimel_at, monkeypatch, aws):
        monkeypatch.setattr(preflight, "check_redis", lambda *ignored: iter(()))
        vpc = {"subnet_ids": [network[2]], "security_group_ids": ["sg-1"]}
        settings = {**aws, "vpc": vpc} if aws.get("vpc") else aws
        found = [finding.message for finding in preflight.check(gimel_at(**settings))]
        assert any("endpoint for SQS" in message for message in found) == (len(aws) == 2)


def test_permissions_that_cannot_be_checked_are_unknown(gimel_at, account):
    levels = [finding.level for finding in preflight.check_account(gimel_at())]
    assert levels == [Level.GOOD, Level.UNKNOWN]
