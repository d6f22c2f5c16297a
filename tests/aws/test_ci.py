"""docs/ci.md: its blocks are valid, and use what exists."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from gimel.ops.aws import settings
from gimel.ops.commands.main import main
from tests.parts import ROOT

TEXT = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.+?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def steps() -> list[dict]:
    workflow, *steps = map(yaml.safe_load, blocks("yaml"))
    return [*workflow["jobs"]["gimel"]["steps"], *(step for some in steps for step in some)]


def test_the_workflow_asks_for_a_token_and_holds_no_key():
    workflow = yaml.safe_load(blocks("yaml")[0])
    assert workflow["permissions"] == {"contents": "read", "id-token": "write"}
    # YAML 1.1 takes `on` for a truth value; GitHub does not.
    assert set(workflow[True]) == {"push", "schedule", "workflow_dispatch"}
    assert "AWS_SECRET" not in TEXT
    (role,) = (step["with"] for step in steps() if "configure-aws-credentials" in step.get("uses", ""))
    assert set(role) == {"role-to-assume", "aws-region"}


def test_deploys_and_drift_checks_take_turns_and_call_commands_that_exist():
    run = {step["name"]: step for step in yaml.safe_load(blocks("yaml")[0])["jobs"]["gimel"]["steps"] if "name" in step}
    assert run["Deploy"]["if"] == "github.event_name != 'schedule'"
    assert run["Look for drift"]["if"] == "github.event_name == 'schedule'"
    called = re.findall(r"\bgimel ([a-z-]+)", " ".join(step.get("run", "") for step in steps()))
    assert {"deploy"} <= set(called) - {"install"} <= set(main.commands)


def test_the_interpreter_is_that_of_the_runtime():
    (python,) = (step["with"]["python-version"] for step in steps() if "setup-python" in step.get("uses", ""))
    assert f"python{python}" == settings.DEFAULT_RUNTIME


def test_the_configuration_is_valid_and_names_account_and_region(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(blocks("json")[0])
    _, found, _ = settings.load(path)
    assert (found.account, found.region, found.runtime) == ("123456789012", "eu-west-1", settings.DEFAULT_RUNTIME)


@pytest.mark.parametrize("claim", ["aud", "sub"])
def test_the_trust_policy_limits_who_may_take_the_role(claim):
    (statement,) = json.loads(blocks("json")[1])["Statement"]
    assert f"token.actions.githubusercontent.com:{claim}" in statement["Condition"]["StringEquals"]
