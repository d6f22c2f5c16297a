"""The two API keys: what functions know of them, and how one is replaced."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from gimel import access
from gimel.access import READ, WRITE
from gimel.ops.aws import observe
from gimel.ops.aws.plan import api_key, steps
from gimel.ops.aws.plan.steps import Plan

from . import gimel15
from .account import Account, apply, descriptions
from .test_settings import entry

pytestmark = pytest.mark.slow

WEEK_S = 7 * 86_400


def value(account: Account, key: str) -> str:
    return str(account.client("apigateway").get_api_key(apiKey=key, includeValue=True)["value"])


def known(account: Account, function: str = "gimel-delete-experiment") -> list[dict[str, Any]]:
    """What the live version of a function knows of the keys."""
    found = account.client("lambda").get_function_configuration(FunctionName=function, Qualifier="live")
    return json.loads(found["Environment"]["Variables"][access.VARIABLE])


def rotate(account: Account, gimel_at: Any, kind: str = WRITE, overlap_s: int = WEEK_S) -> tuple[str, str]:
    """The ids of the key that is replaced, and of the one that replaces it."""
    before = account.key(kind)
    deployment = gimel_at()
    until = int(time.time()) + overlap_s
    apply(deployment, deployment.plan(api_key.replaced(deployment.observe(), kind, until)))
    (after,) = (key.id for key in deployment.observe().keys if key.known.kind == kind and key.known.until is None)
    return before, after


def test_functions_tell_the_keys_apart_by_their_hashes(account, gimel_at, monkeypatch):
    plan = gimel_at().plan()
    apply(gimel_at(), plan)
    values = {kind: value(account, account.key(kind)) for kind in (READ, WRITE)}
    assert not any(one in steps.as_json(plan) for one in values.values())
    assert all(step.params["generateDistinctId"] for step in plan.steps if step.call == "create_api_key")
    functions = account.state()["functions"]
    checking = {name for name, one in functions.items() if access.VARIABLE in str(one["configuration"])}
    assert functions.keys() - checking == {"gimel-track", "gimel-health", "gimel-snapshot", "gimel-dashboard"}
    monkeypatch.setenv(access.VARIABLE, json.dumps(known(account)))
    assert {kind: access.kind_of(one) for kind, one in values.items()} == {READ: READ, WRITE: WRITE}
    assert [len(one) for one in values.values()] == [40, 40]


def test_only_a_function_of_its_own_answers_without_a_key(gimel_at):
    def found(name: str) -> tuple[set[str], str]:
        desired = gimel_at({"extra_wiring": [entry(name=name, handler="gimel.all", part="open")]}).desired
        checking = {one.name for one in desired.functions if access.VARIABLE in str(one.configuration)}
        return checking, str(desired.notes)

    checking, notes = found("own")
    assert not {"own", "gimel-track"} & checking
    assert "own" not in notes
    checking, notes = found("gimel-all-experiments")
    assert "gimel-all-experiments" in checking
    assert "GET /open needs an API key, because gimel-all-experiments checks keys on another path" in notes


def test_a_replaced_key_is_valid_for_the_overlap_and_then_deleted(account, gimel_at, monkeypatch):
    apply(gimel_at())
    reader = account.key(READ)
    old, new = rotate(account, gimel_at)
    assert value(account, old) != value(account, new)
    monkeypatch.setenv(access.VARIABLE, json.dumps(known(account)))
    assert [access.kind_of(value(account, id)) for id in (old, new, reader)] == [WRITE, WRITE, READ]
    assert set(account.only("plans")["keys"]) == {old, new, reader}
    assert descriptions(gimel_at().plan()) == []
    assert any("a write key that was replaced is valid until 20" in note for note in gimel_at().plan().notes)

    later = time.time() + WEEK_S + 1
    for module in (observe, access):
        monkeypatch.setattr(module.time, "time", lambda: later)
    assert access.kind_of(value(account, old)) is None
    apply(gimel_at())
    assert set(account.state()["keys"]) == {new, reader}
    assert [sorted(one) for one in known(account)] == [["kind", "sha256"]] * 2
    assert gimel_at().plan().steps == gimel_at().plan().notes == ()


def test_an_interrupted_rotation_is_resumed_and_one_without_overlap_deletes_the_old_key(account, gimel_at):
    apply(gimel_at())
    deployment = gimel_at()
    plan = deployment.plan(api_key.replaced(deployment.observe(), WRITE, int(time.time()) + WEEK_S))
    assert descriptions(plan)[0].startswith("let API key gimel expire at 20")
    for done in range(3):
        apply(deployment, Plan(plan.steps[:1], plan.values))
        plan, before = gimel_at().plan(), plan
        assert descriptions(plan) == descriptions(before)[1:], f"after step {done + 1}"
    apply(gimel_at())
    assert len(account.state()["keys"]) == len(known(account)) == 3
    reader, new = rotate(account, gimel_at, READ, overlap_s=0)
    assert reader not in account.state()["keys"]
    assert access.Key.of(READ, value(account, new)).as_dict() in known(account)
    assert len(known(account)) == 3


def test_a_key_that_ends_at_once_stays_ended_if_its_rotation_is_interrupted(account, gimel_at):
    apply(gimel_at())
    leaked = account.key(WRITE)
    deployment = gimel_at()
    plan = deployment.plan(api_key.replaced(deployment.observe(), WRITE, int(time.time())))
    until_created = 1 + [title.startswith("create API key") for title in descriptions(plan)].index(True)
    apply(deployment, Plan(plan.steps[:until_created], plan.values))
    apply(gimel_at())
    assert leaked not in account.state()["keys"]
    assert [one["kind"] for one in known(account)] == [READ, WRITE]


def test_keys_that_somebody_added_go_on_working_as_long_as_they_are_in_a_usage_plan(account, gimel_at):
    def partner(name: str, plan: str) -> str:
        made = gateway.create_api_key(name=name, enabled=True)["id"]
        gateway.create_usage_plan_key(usagePlanId=plan, keyId=made, keyType="API_KEY")
        return str(made)

    gateway, old = account.client("apigateway"), gimel15.lay_out(account)
    theirs = gateway.create_usage_plan(name="partners", apiStages=[{"apiId": old.api, "stage": "prod"}])["id"]
    before = partner("shop", theirs)
    plan = gimel_at().plan()
    assert any(
        f"did not make are in a usage plan of the API and can write, too: shop ({before})" in note
        for note in plan.notes
    )
    apply(gimel_at(), plan)
    (own,) = (id for id, found in account.state()["plans"].items() if found["name"] == "gimel")
    later = partner("press", own)
    readers = [account.key(READ), second := partner("gimel-read", own)]  # as two deploys at once make
    text = gateway.get_api_key(apiKey=readers[0])["description"]
    described = [{"op": "replace", "path": "/description", "value": text}]
    gateway.update_api_key(apiKey=second, patchOperations=described)
    apply(gimel_at())
    assert descriptions(gimel_at().plan()) == []
    wanted = [access.Key.of(WRITE, value(account, id)).as_dict() for id in (before, later, old.key)]
    (reader,) = (one for one in known(account) if one not in wanted)
    assert reader in [access.Key.of(READ, value(account, id)).as_dict() for id in readers]
    assert len(known(account)) == 4
    gateway.delete_usage_plan_key(usagePlanId=own, keyId=later)
    apply(gimel_at())
    assert access.Key.of(WRITE, value(account, later)).as_dict() not in known(account)


def test_a_rollback_brings_back_no_replaced_key(account, gimel_at):
    apply(gimel_at())
    first = account.client("lambda").get_alias(FunctionName="gimel-track", Name="live")["FunctionVersion"]
    apply(gimel_at(memory_mb=300))
    old = account.key(WRITE)
    deployment = gimel_at(memory_mb=300)
    apply(deployment, deployment.plan(api_key.replaced(deployment.observe(), WRITE, 0)))
    plan = gimel_at(memory_mb=300).plan_rollback()
    assert "the API keys have changed since then, so functions get a new version of release" in str(plan.notes)
    apply(gimel_at(memory_mb=300), plan)
    assert account.key(WRITE) != old
    assert access.Key.of(WRITE, value(account, account.key(WRITE))).as_dict() in known(account)
    assert len(known(account)) == 2
    alias = account.client("lambda").get_alias(FunctionName="gimel-track", Name="live")
    assert alias["FunctionVersion"] == first


def test_a_rollback_to_a_release_that_tells_no_keys_apart_says_so(account, gimel_at, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("gimel.ops.aws.desired.access.VARIABLE", "OTHER")
        apply(gimel_at())
    apply(gimel_at(memory_mb=300))
    plan = gimel_at(memory_mb=300).plan_rollback()
    assert any("until the next deploy, the read key can delete, too" in note for note in plan.notes)
