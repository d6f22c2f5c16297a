"""The commands, as typed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from gimel.ops import aws as aws_module
from gimel.ops.cli import main
from tests.parts import ROOT


@pytest.fixture
def type_(account, gimel_at, tmp_path, monkeypatch):
    """Types a command in a folder with a config.json. Its exit code, stdout and stderr."""
    gimel_at()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(aws_module.boto3, "Session", lambda **options: account.session)
    # redis.example.com must not be looked up here.
    monkeypatch.setattr("gimel.ops.preflight.check_redis", lambda *ignored: iter(()))

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
        "does": "create log group /aws/lambda/gimel-track",
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
    assert "so nothing was removed" in wrong.stderr
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
    assert "put the API key into the usage plan, failed" in broken.stderr
    assert "it goes on where it stopped" in broken.stderr
    assert broken.stderr.count("CreateUsagePlanKey operation") == 1
    assert "Traceback" not in broken.stderr
    monkeypatch.setattr(aws_module.Aws, "perform", perform)
    assert type_("deploy", "--yes").exit_code == 0
    assert "no changes" in type_("deploy").stdout


def test_preflight_fails_only_for_errors(type_):
    done = type_("preflight")
    assert (done.exit_code, "credentials of account 123456789012" in done.stdout) == (0, True)


def test_deploy_py_is_gimel_deploy(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "deploy.py"), "--help"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "deploy.py deploy [OPTIONS]" in done.stdout
    assert "--dry-run" in done.stdout
