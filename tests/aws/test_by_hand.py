"""`gimel bundle`: what it prints is all that a deployment by hand needs, and none of it comes from AWS."""

from __future__ import annotations

import json
import os
import socket
import urllib.request
from pathlib import Path

import boto3
import pytest
from click.testing import CliRunner, Result

from gimel.ops.aws import bundle
from gimel.ops.commands.main import main
from gimel.ops.endpoints import WITHOUT_REDIS
from tests.parts import RedisServer

pytestmark = pytest.mark.slow

SECRET = "open sesame"


@pytest.fixture
def gimel(tmp_path, monkeypatch):
    """Run `gimel bundle` in a folder with a config.json, where AWS and the network must not be asked."""
    monkeypatch.chdir(tmp_path)

    def refuse(*ignored: object, **options: object) -> None:
        raise AssertionError("it went out")

    def run(*options: str, redis: dict | None = None, **aws: object) -> Result:
        redis = redis or {"host": "redis.example.com", "password": SECRET}
        Path("config.json").write_text(json.dumps({"redis": redis, "aws": aws}))
        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, "connect", refuse)
            patch.setattr(boto3.Session, "client", refuse)
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                patch.delenv(name)
            done = CliRunner().invoke(main, ["bundle", "gimel.zip", *options])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    return run


@pytest.fixture
def without_compiler(monkeypatch):
    """Builds are quicker without compiled files."""
    monkeypatch.setattr(bundle, "find_python", lambda runtime: None)


def test_what_it_prints_deployed_by_hand_counts_an_event(gimel, ministack, tmp_path):
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis", "--requirepass", SECRET).start()
    try:
        redis = {"host": "127.0.0.1", "port": server.port, "password": SECRET}
        described = json.loads(gimel("--format", "json", redis=redis).stdout)
        url = deploy(described, ministack.url)
        with urllib.request.urlopen(f"{url}/track?experiment=e&uuid=1&variant=red&event=participate") as answer:
            assert answer.status == 200
        assert server.client(password=SECRET).pfcount("alephbet:counters:e:participate:red") == 1
        with urllib.request.urlopen(f"{url}/?about=1") as answer:
            assert json.load(answer)["track_url"] == "https://events.example.com/e"
        with urllib.request.urlopen(urllib.request.Request(f"{url}/experiments", method="OPTIONS")) as answer:
            assert answer.headers["Access-Control-Allow-Headers"] == "content-type, x-api-key"
    finally:
        server.stop()


def deploy(described: dict, endpoint: str) -> str:
    """What a person does in the console, who knows the password and has a role."""
    session = boto3.Session("test", "test", region_name="eu-west-1")
    functions = session.client("lambda", endpoint_url=endpoint)
    api = session.client("apigateway", endpoint_url=endpoint)
    arns = {}
    for function in described["functions"]:
        variables = dict(function["variables"])
        if function["handler"] not in WITHOUT_REDIS:
            assert function["variables_to_enter"].pop("GIMEL_REDIS_PASSWORD") == "redis.password of config.json"
            variables["GIMEL_REDIS_PASSWORD"] = SECRET
        assert all(what.startswith("optional") for what in function["variables_to_enter"].values())
        created = functions.create_function(
            FunctionName=function["name"],
            Handler=function["handler"],
            MemorySize=function["memory_mb"],
            Timeout=function["timeout_s"],
            Environment={"Variables": variables},
            Runtime=described["runtime"],
            Architectures=[described["architecture"]],
            Role="arn:aws:iam::000000000000:role/by-hand",
            Code={"ZipFile": Path(described["zip"]).read_bytes()},
        )
        assert created["CodeSha256"] == described["sha256"]
        arns[function["name"]] = created["FunctionArn"]
    made = api.create_rest_api(name="by hand", binaryMediaTypes=described["binary_media_types"])["id"]
    root = api.get_resources(restApiId=made)["items"][0]["id"]
    resources: dict[str, str] = {"/": root}
    for route in described["routes"]:
        path, verb = route["path"], route["method"]
        if path not in resources:
            part = path.removeprefix("/")
            resources[path] = api.create_resource(restApiId=made, parentId=root, pathPart=part)["id"]
        method = {"restApiId": made, "resourceId": resources[path], "httpMethod": verb}
        api.put_method(**method, authorizationType="NONE", apiKeyRequired=route["needs_key"])
        uri = f"arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/{arns[route['function']]}/invocations"
        api.put_integration(**method, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
    variables = dict.fromkeys(described["stage_variables"], "https://events.example.com/e")
    api.create_deployment(restApiId=made, stageName="prod", variables=variables)
    return f"{endpoint}/restapis/{made}/prod/_user_request_"


@pytest.mark.usefixtures("without_compiler")
class TestTheOutput:
    @pytest.mark.parametrize("form", ["text", "json"])
    def test_names_the_password_and_does_not_show_it(self, gimel, form):
        done = gimel("--format", form)
        assert "redis.password of config.json" in done.stdout
        assert SECRET not in done.stdout
        assert SECRET.encode() not in Path("gimel.zip").read_bytes()

    def test_says_that_the_shell_has_the_password(self, gimel, monkeypatch):
        monkeypatch.setenv("GIMEL_REDIS_URL", f"redis://:{SECRET}@elsewhere")
        done = gimel()
        assert "GIMEL_REDIS_PASSWORD: (the password in $GIMEL_REDIS_URL)" in done.stdout
        assert SECRET not in done.stdout

    def test_has_the_settings_of_the_section_aws(self, gimel):
        settings = {"runtime": "python3.12", "architecture": "x86_64", "memory_mb": 512, "name": "shop"}
        out = gimel(**settings).stdout
        assert "Runtime python3.12, architecture x86_64" in out
        assert "gimel-shop-track          handler gimel.track, 512 MB, 10 s" in out
        assert "GET     /experiments  gimel-shop-all-experiments, with API key" in out
        assert "Schedule: a rule of EventBridge, cron(0 * * * ? *), which invokes gimel-shop-snapshot" in out

    def test_says_what_the_role_needs_to_read_the_password(self, gimel):
        redis = {"host": "r", "password": "ssm:/gimel/redis"}
        right = "ssm:GetParameter of arn:aws:ssm:REGION:ACCOUNT:parameter/gimel/redis"
        assert right in gimel(redis=redis).stdout
        known = gimel(redis=redis, region="eu-west-1", account="123456789012").stdout
        assert "arn:aws:ssm:eu-west-1:123456789012:parameter/gimel/redis" in known

    def test_says_what_the_role_needs_to_sign_in_by_iam(self, gimel):
        host = "clustercfg.counts.x2e9hv.euw1.cache.amazonaws.com"
        out = gimel(redis={"host": host, "tls": True, "iam": {"user": "gimel", "cache": "counts"}}).stdout
        arns = [f"arn:aws:elasticache:REGION:ACCOUNT:{name}" for name in ("replicationgroup:counts", "user:gimel")]
        assert f"elasticache:Connect of {', '.join(arns)}" in out
        assert "GIMEL_REDIS_PASSWORD=iam:elasticache/counts/gimel" in out

    def test_is_the_same_zip_again_and_replaces_only_a_zip(self, gimel):
        gimel()
        before = Path("gimel.zip").read_bytes()
        gimel()
        assert Path("gimel.zip").read_bytes() == before
        Path("gimel.zip").write_text("my notes")
        done = gimel()
        assert (done.exit_code, Path("gimel.zip").read_text()) == (1, "my notes")
        assert "gimel.zip exists, and is not a zip" in done.stderr
