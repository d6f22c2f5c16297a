"""The commands, as a user runs them."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys

import pytest

from gimel.access import READ, WRITE
from gimel.ops.aws import client as aws_module
from gimel.ops.aws.deployment import Deployment
from gimel.ops.aws.errors import WrongAccount
from gimel.ops.aws.findings import Finding, Level
from gimel.ops.aws.names import STAGE
from tests.parts import ROOT

from . import gimel15
from .account import FUNCTIONS, ID

pytestmark = pytest.mark.slow


def test_deploy_shows_the_plan_asks_and_prints_the_url(run, account):
    refused = run("deploy", answer="n\n")
    assert "create API gimel" in refused.stdout
    assert "Nothing was changed" in refused.stderr
    assert account.writes == []
    done = run("deploy", answer="y\n")
    http, rest = (next(iter(account.state()[kind])) for kind in ("http_apis", "apis"))
    assert f"Track URL:  https://{http}.execute-api.eu-west-1.amazonaws.com/e\n" in done.stdout
    assert f"Report URL: https://{rest}.execute-api.eu-west-1.amazonaws.com/prod/experiments\n" in done.stdout
    assert "new AlephBet.AlephbetAdapter" in done.stdout
    assert "get-api-key --api-key" in done.stdout
    assert "no changes" in run("deploy").stdout


def test_a_dry_run_prints_only_json_to_stdout(run, account):
    plan = json.loads(run("deploy", "--dry-run", "--format", "json").stdout)
    assert plan["steps"][2] == {
        "step": 3,
        "description": "create log group /aws/lambda/gimel-track",
        "service": "logs",
        "call": "create_log_group",
        "params": {"logGroupName": "/aws/lambda/gimel-track", "tags": {"gimel:deployment": "gimel"}},
    }
    assert account.writes == []


def test_deploy_with_json_prints_the_plan_it_applies(run, account):
    plan = json.loads(run("deploy", "--yes", "--format", "json").stdout)
    assert len(plan["steps"]) == len(account.writes)
    assert json.loads(run("deploy", "--yes", "--format", "json").stdout)["steps"] == []


def test_destroy_asks_for_the_name_of_the_deployment(run, account):
    run("deploy", "--yes")
    wrong = run("destroy", answer="shop\n")
    assert wrong.exit_code == 1
    assert "shop is not the name of this deployment, so nothing was changed: type gimel" in wrong.stderr
    assert sorted(account.state()["functions"]) == FUNCTIONS
    run("destroy", "--dry-run")
    assert sorted(account.state()["functions"]) == FUNCTIONS
    right = run("destroy", answer="gimel\n")
    assert "Redis keeps its data" in right.stderr
    assert not any(account.state().values())


def test_key_snippet_and_permissions_are_all_that_goes_to_stdout(run, account):
    run("deploy", "--yes")
    for kind, option in ((WRITE, []), (READ, ["--read"])):
        value = account.client("apigateway").get_api_key(apiKey=account.key(kind), includeValue=True)["value"]
        assert run("api-key", *option).stdout == f"{value}\n"
    link = run("invite", "--experiment", "a b").stdout
    assert link.startswith("https://")
    assert link.endswith(f"/{STAGE}/#experiment=a+b&key={value}\n")  # the read key, the last of both
    assert run("snippet", "--namespace", "shop").stdout.startswith("<script src=")
    assert json.loads(run("permissions").stdout)["Version"] == "2012-10-17"


def test_before_a_deploy_there_is_nothing_to_show_or_roll_back(run):
    for command in ("snippet", "api-key"):
        done = run(command)
        assert (done.exit_code, "run `gimel deploy`" in done.stderr) == (1, True)
    assert "nothing to roll back" in run("rollback", "--yes").stderr


def test_a_failed_step_is_described_and_a_second_run_completes(run, account, monkeypatch):
    perform = aws_module.Aws.perform

    def failing(self, number, step, params):
        if step.call == "create_usage_plan_key":
            params = {**params, "keyId": "nonsense"}
        return perform(self, number, step, params)

    monkeypatch.setattr(aws_module.Aws, "perform", failing)
    broken = run("deploy", "--yes")
    assert broken.exit_code == 1
    assert " failed: add API key gimel to the usage plan: " in broken.stderr
    assert "fix the cause and rerun; it resumes where it stopped" in broken.stderr
    assert broken.stderr.count("CreateUsagePlanKey operation") == 1
    assert "Traceback" not in broken.stderr
    monkeypatch.setattr(aws_module.Aws, "perform", perform)
    assert run("deploy", "--yes").exit_code == 0
    assert "no changes" in run("deploy").stdout


def test_without_an_answer_nothing_is_changed_and_the_error_names_the_option(run, account):
    unanswered = run("deploy")
    assert (unanswered.exit_code, account.writes) == (1, [])
    assert "no answer was given, so nothing was changed: answer y, or use --yes" in unanswered.stderr
    run("deploy", "--yes")
    unanswered = run("destroy")
    assert (unanswered.exit_code, sorted(account.state()["functions"])) == (1, FUNCTIONS)
    assert "no answer was given, so nothing was changed: type the name, or use --name" in unanswered.stderr


def test_an_interrupted_deploy_names_the_step_and_can_be_resumed(run, monkeypatch):
    perform = aws_module.Aws.perform

    def interrupted(self, number, step, params):
        answer = perform(self, number, step, params)
        if step.call == "create_rest_api":
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(aws_module.Aws, "perform", interrupted)
    broken = run("deploy", "--yes")
    assert broken.exit_code == 1
    assert re.search(r"interrupted during step \d+ of \d+: create API gimel: rerun the command", broken.stderr)
    monkeypatch.setattr(aws_module.Aws, "perform", perform)
    assert run("deploy", "--yes").exit_code == 0
    assert "no changes" in run("deploy").stdout


def test_the_prompt_for_an_mfa_code_is_not_erased_by_a_spinner(tmp_path):
    (tmp_path / "config.json").write_text('{"redis": {"host": "redis.example.com"}}')
    (tmp_path / "aws").write_text(
        "[profile base]\naws_access_key_id = a\naws_secret_access_key = b\n[profile mfa]\nsource_profile = base\n"
        f"role_arn = arn:aws:iam::{ID}:role/admin\nmfa_serial = arn:aws:iam::{ID}:mfa/me\n"
    )
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "xterm", "AWS_REGION": "eu-west-1"}
    environ |= {"AWS_CONFIG_FILE": str(tmp_path / "aws"), "AWS_PROFILE": "mfa"}
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execve(sys.executable, [sys.executable, str(ROOT / "deploy.py"), "--dry-run"], environ)
    try:
        output = b""
        while b"mfa/me: " not in output:
            output += os.read(terminal, 1000)
        # A spinner would erase the prompt within a tenth of a second.
        assert not select.select([terminal], [], [], 1)[0], os.read(terminal, 1000)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)


def test_findings_are_printed_in_ascii(run, monkeypatch):
    finding = Finding(Level.WARNING, "Redis keeps nothing", "set appendonly to yes")
    monkeypatch.setattr("gimel.ops.aws.preflight.check_redis", lambda *ignored: iter([finding]))
    done = run("preflight")
    assert "Redis keeps nothing -> set appendonly to yes" in done.stdout
    assert done.stdout.isascii()


def test_preflight_fails_only_for_errors(run):
    done = run("preflight")
    assert (done.exit_code, "credentials are valid: account 123456789012" in done.stdout) == (0, True)


def test_deploy_py_says_what_to_do_if_nothing_is_installed():
    program = [sys.executable, "-S", str(ROOT / "deploy.py")]
    done = subprocess.run(program, env={}, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "is missing: run `make install` once" in done.stderr
    assert "Traceback" not in done.stderr


def test_deploy_py_is_gimel_deploy(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "deploy.py"), "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    assert "deploy.py deploy [OPTIONS]" in done.stdout
    assert "--dry-run" in done.stdout


def test_only_the_command_for_the_key_shows_it_and_nothing_shows_the_password(run):
    deployed = run("deploy", "--yes").output
    secrets = {"open sesame", *(run("api-key", *option).stdout.strip() for option in ([], ["--read"]))}
    secrets |= {hashlib.sha256(one.encode()).hexdigest() for one in secrets}
    assert not [one for one in secrets if one in deployed]
    commands = ["deploy --dry-run", "deploy --dry-run --format json", "preflight", "permissions", "snippet"]
    commands += ["openapi", "queue", "rollback --dry-run", "destroy --dry-run", "destroy --dry-run --format json"]
    commands += ["api-key --rotate --dry-run"]
    outputs = {command: run(*command.split()).output for command in commands}
    assert all(outputs.values())
    assert not [command for command, output in outputs.items() if any(one in output for one in secrets)]


def test_the_openapi_document_has_the_address_of_the_deployed_api(run, account):
    run("deploy", "--yes")
    (server,) = json.loads(run("openapi").stdout)["servers"]
    api = next(iter(account.state()["apis"]))
    assert server["url"] == f"https://{api}.execute-api.eu-west-1.amazonaws.com/prod"


def test_an_unedited_configuration_stops_only_what_needs_redis(run, account, tmp_path):
    run("deploy", "--yes")
    (tmp_path / "config.json").write_bytes((ROOT / "config.json.template").read_bytes())
    refused = run("deploy", "--yes")
    assert (refused.exit_code, 'redis.host is still "ENTER YOUR REDIS HOST"' in refused.output) == (1, True)
    assert json.loads(run("permissions").stdout)["Version"] == "2012-10-17"
    assert "no version of an earlier release" in run("rollback", "--yes").stderr
    assert run("destroy", "--name", "gimel").exit_code == 0
    assert not any(account.state().values())


NEED_AWS = [
    *("deploy --yes", "deploy --dry-run", "rollback --yes", "destroy --name gimel", "preflight", "permissions"),
    *("api-key", "snippet", "openapi", "queue", "queue redrive --yes"),
]


@pytest.mark.parametrize(
    ("aws", "said"),
    [
        (
            {"account": "210987654321"},
            (f"your credentials are for AWS account {ID}, but aws.account in", "is 210987654321", "with AWS_PROFILE"),
        ),
        (
            {"region": "us-east-1"},
            ("your AWS region is eu-west-1, but aws.region in", "is us-east-1", "set AWS_REGION=us-east-1, or"),
        ),
    ],
)
def test_no_command_does_anything_in_another_account_or_region(run, gimel_at, account, aws, said):
    gimel_at(**aws)
    for command in NEED_AWS:
        done = run(*command.split())
        assert done.exit_code == 1, command
        assert all(part in done.output for part in said), (command, done.output)
    assert {service for service, *_ in account.calls} == {"sts"}


def test_the_configured_account_and_region_are_accepted(run, gimel_at):
    gimel_at(account=ID, region="eu-west-1")
    assert run("deploy", "--yes").exit_code == 0


def test_the_configured_region_is_used_where_none_is_set(account, monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    (tmp_path / "config.json").write_text('{"redis": {"host": "r"}, "aws": {"region": "us-west-2"}}')
    assert Deployment.load(tmp_path / "config.json").account.region == "us-west-2"
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    with pytest.raises(WrongAccount, match="your AWS region is eu-west-1"):
        Deployment.load(tmp_path / "config.json").names  # noqa: B018


def test_the_plan_names_the_redis_and_never_its_password(run, gimel_at, monkeypatch):
    redis = {"host": "redis.example.com", "db": 2, "tls": True, "username": "me", "password": "open sesame"}
    gimel_at({"redis": redis})
    done = run("deploy", "--dry-run")
    title = f"gimel in eu-west-1 (account {ID}), which counts in rediss://me@redis.example.com:6379/2; "
    assert title in done.stdout
    assert title in json.loads(run("deploy", "--dry-run", "--format", "json").stdout)["title"]
    monkeypatch.setenv("GIMEL_REDIS_URL", "redis://:open%20sesame@other:7000")
    done = run("deploy", "--dry-run")
    assert "which counts in redis://other:7000/0; " in done.stdout
    assert "GIMEL_REDIS_URL in your shell overrides config.json: redis://other:7000/0 instead of " in done.stderr
    assert "sesame" not in done.output


def test_a_list_that_lags_does_not_turn_a_finished_deploy_into_none(run, account):
    def lag(parsed: dict, **ignored: object) -> None:
        parsed["items"] = []  # as right after the creation

    for call in ("GetApiKeys", "GetRestApis", "GetResources", "GetUsagePlans"):
        account.session.events.register(f"after-call.apigateway.{call}", lag)
    done = run("deploy", "--yes")
    assert done.exit_code == 0
    api, http = (next(iter(account.state()[kind])) for kind in ("apis", "http_apis"))
    assert f"get-api-key --api-key {account.key()} " in done.stdout
    assert f"Track URL:  https://{http}.execute-api" in done.stdout
    assert f"Report URL: https://{api}.execute-api" in done.stdout
    assert "new AlephBet.AlephbetAdapter" in done.stdout


@pytest.fixture
def requests(account) -> list[str]:
    """Every request that is sent, repeated ones too."""
    sent: list[str] = []
    account.session.events.register("before-send.*.*", lambda event_name, **ignored: sent.append(event_name))
    return sent


@pytest.mark.parametrize("beginning", ["gimel 1.5", "gimel 2"])
@pytest.mark.parametrize("command", ["api-key", "snippet", "openapi"])
def test_finding_the_key_and_the_url_takes_at_most_five_requests(run, account, requests, beginning, command):
    others = account.client("apigateway")
    for number in range(60):
        others.create_rest_api(name=f"other-{number}")
        others.create_api_key(name=f"gimel-other-{number}")
    if beginning == "gimel 2":
        run("deploy", "--yes")
    else:
        gimel15.lay_out(account)
    requests.clear()
    account.calls.clear()
    assert run(command).exit_code == 0
    assert 3 <= len(requests) <= 5, requests
    listed = [params for _, call, params in account.calls if call in ("GetRestApis", "GetApiKeys")]
    assert [params["limit"] for params in listed] == [500, 500]  # moto has no pages; AWS has pages of 25 otherwise


def test_the_snippet_of_a_gimel_1_has_the_only_path_that_it_answers(run, account):
    gimel15.lay_out(account)
    assert '.amazonaws.com/prod/track"' in run("snippet").stdout


def test_a_dry_run_can_tell_drift_by_its_exit_code(run, account, gimel_at):
    check = ("deploy", "--dry-run", "--exit-code")
    assert run("deploy", "--dry-run").exit_code == 0
    assert run(*check).exit_code == 2
    run("deploy", "--yes")
    assert run(*check).exit_code == 0
    account.client("lambda").update_function_configuration(FunctionName="gimel-track", Timeout=3)
    drift = run(*check, "--format", "json")
    assert (drift.exit_code, "update gimel-track: Timeout 3 -> 10" in drift.stdout) == (2, True)
    gimel_at(account="210987654321")
    assert run(*check).exit_code == 1
    wrong = run("deploy", "--exit-code", "--yes")
    assert (wrong.exit_code, "--exit-code needs --dry-run" in wrong.stderr) == (2, True)
