"""The commands, as typed."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from gimel.ops.aws import client as aws_module
from gimel.ops.aws.preflight import Finding, Level
from gimel.ops.commands.main import main
from tests.parts import ROOT

from .account import ID


@pytest.fixture
def type_(account, gimel_at, tmp_path, monkeypatch):
    """Types a command in a folder with a config.json. Its exit code, stdout and stderr."""
    gimel_at()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(aws_module.boto3, "Session", lambda **options: account.session)
    # redis.example.com must not be looked up here.
    monkeypatch.setattr("gimel.ops.aws.preflight.check_redis", lambda *ignored: iter(()))

    def type_(*command: str, answer: str = ""):
        done = CliRunner().invoke(main, list(command), input=answer)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    return type_


def test_deploy_shows_the_plan_asks_and_says_where_it_is(type_, account):
    refused = type_("deploy", answer="n\n")
    assert "create API gimel" in refused.stdout
    assert "Nothing was changed" in refused.stderr
    assert account.writes == []
    done = type_("deploy", answer="y\n")
    api = next(iter(account.state()["apis"]))
    assert f"https://{api}.execute-api.eu-west-1.amazonaws.com/prod/track" in done.stdout
    assert "new AlephBet.AlephbetAdapter" in done.stdout
    assert "get-api-key --api-key" in done.stdout
    assert "no changes" in type_("deploy").stdout


def test_a_dry_run_in_json_is_all_that_stdout_has(type_, account):
    plan = json.loads(type_("deploy", "--dry-run", "--format", "json").stdout)
    assert plan["steps"][0] == {
        "step": 1,
        "description": "create log group /aws/lambda/gimel-track",
        "service": "logs",
        "call": "create_log_group",
        "params": {"logGroupName": "/aws/lambda/gimel-track", "tags": {"gimel:deployment": "gimel"}},
    }
    assert account.writes == []


def test_deploy_in_json_tells_what_it_did(type_, account):
    plan = json.loads(type_("deploy", "--yes", "--format", "json").stdout)
    assert len(plan["steps"]) == len(account.writes)
    assert json.loads(type_("deploy", "--yes", "--format", "json").stdout)["steps"] == []


def test_destroy_asks_for_the_name(type_, account):
    type_("deploy", "--yes")
    wrong = type_("destroy", answer="shop\n")
    assert wrong.exit_code == 1
    assert "shop is not the name of this deployment, so nothing was changed: type gimel" in wrong.stderr
    assert len(account.state()["functions"]) == 4
    type_("destroy", "--dry-run")
    assert len(account.state()["functions"]) == 4
    right = type_("destroy", answer="gimel\n")
    assert "Redis keeps its data" in right.stderr
    assert not any(account.state().values())


def test_key_snippet_and_permissions_go_to_stdout_alone(type_, account):
    type_("deploy", "--yes")
    value = account.client("apigateway").get_api_key(apiKey=account.only("keys")["id"], includeValue=True)["value"]
    assert type_("api-key").stdout == f"{value}\n"
    assert type_("snippet", "--namespace", "shop").stdout.startswith("<script src=")
    assert json.loads(type_("permissions").stdout)["Version"] == "2012-10-17"


def test_before_a_deploy_there_is_nothing_to_show_or_to_roll_back(type_):
    for command in ("snippet", "api-key"):
        done = type_(command)
        assert (done.exit_code, "run `gimel deploy`" in done.stderr) == (1, True)
    assert "nothing to roll back" in type_("rollback", "--yes").stderr


def test_a_failing_step_is_told_in_words_and_a_second_run_completes(type_, account, monkeypatch):
    perform = aws_module.Aws.perform

    def failing(self, number, step, params):
        if step.call == "create_usage_plan_key":
            params = {**params, "keyId": "nonsense"}
        return perform(self, number, step, params)

    monkeypatch.setattr(aws_module.Aws, "perform", failing)
    broken = type_("deploy", "--yes")
    assert broken.exit_code == 1
    assert " failed: add the API key to the usage plan: " in broken.stderr
    assert "fix the cause and rerun; it resumes where it stopped" in broken.stderr
    assert broken.stderr.count("CreateUsagePlanKey operation") == 1
    assert "Traceback" not in broken.stderr
    monkeypatch.setattr(aws_module.Aws, "perform", perform)
    assert type_("deploy", "--yes").exit_code == 0
    assert "no changes" in type_("deploy").stdout


def test_where_nobody_answers_nothing_is_changed_and_the_way_without_a_question_is_told(type_, account):
    unanswered = type_("deploy")
    assert (unanswered.exit_code, account.writes) == (1, [])
    assert "no answer was given, so nothing was changed: answer y, or use --yes" in unanswered.stderr
    type_("deploy", "--yes")
    unanswered = type_("destroy")
    assert (unanswered.exit_code, len(account.state()["functions"])) == (1, 4)
    assert "no answer was given, so nothing was changed: type the name, or use --name" in unanswered.stderr


def test_an_interrupted_deploy_says_where_it_was_and_goes_on(type_, monkeypatch):
    perform = aws_module.Aws.perform

    def interrupted(self, number, step, params):
        answer = perform(self, number, step, params)
        if step.call == "create_rest_api":
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(aws_module.Aws, "perform", interrupted)
    broken = type_("deploy", "--yes")
    assert broken.exit_code == 1
    assert re.search(r"interrupted during step \d+ of \d+: create API gimel: rerun the command", broken.stderr)
    monkeypatch.setattr(aws_module.Aws, "perform", perform)
    assert type_("deploy", "--yes").exit_code == 0
    assert "no changes" in type_("deploy").stdout


def test_a_code_of_mfa_is_asked_for_with_no_spinner_in_the_way(tmp_path):
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
        said = b""
        while b"mfa/me: " not in said:
            said += os.read(terminal, 1000)
        # A spinner would wipe the question away within a tenth of a second.
        assert not select.select([terminal], [], [], 1)[0], os.read(terminal, 1000)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)


def test_findings_are_told_in_any_encoding(type_, monkeypatch):
    finding = Finding(Level.WARNING, "Redis keeps nothing", "set appendonly to yes")
    monkeypatch.setattr("gimel.ops.aws.preflight.check_redis", lambda *ignored: iter([finding]))
    done = type_("preflight")
    assert "Redis keeps nothing -> set appendonly to yes" in done.stdout
    assert done.stdout.isascii()


def test_preflight_fails_only_for_errors(type_):
    done = type_("preflight")
    assert (done.exit_code, "credentials are valid: account 123456789012" in done.stdout) == (0, True)


def test_deploy_py_says_what_to_do_where_nothing_is_installed():
    program = [sys.executable, "-S", str(ROOT / "deploy.py")]
    done = subprocess.run(program, env={}, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "is missing: run `make serve` once" in done.stderr
    assert "Traceback" not in done.stderr


def test_deploy_py_is_gimel_deploy(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "deploy.py"), "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    assert "deploy.py deploy [OPTIONS]" in done.stdout
    assert "--dry-run" in done.stdout
