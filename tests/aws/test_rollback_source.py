"""A rollback knows which Redis a release uses, and gives it a password that works."""

from __future__ import annotations

import io
import json
from typing import Any
from zipfile import ZipFile, ZipInfo

import pytest

from gimel.ops.aws import deployment as deployment_module
from gimel.ops.aws import desired
from gimel.ops.aws.bundle import Bundle
from gimel.ops.aws.deployment import Deployment
from gimel.ops.aws.errors import AwsError, RollbackRefused
from gimel.ops.aws.plan.steps import Plan
from gimel.ops.endpoints import WITHOUT_REDIS

from .account import FUNCTIONS, apply
from .test_role import recreate_nothing_but_delete, role_id

pytestmark = pytest.mark.slow

HOST = "redis.example.com"


def zip_of(content: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as archive:
        archive.writestr(ZipInfo("config.json"), json.dumps(content))
    return buffer.getvalue()


@pytest.fixture
def release(account, gimel_at, monkeypatch):
    """The deployment of this release, which differs in its code, with this password or reference."""
    zips: dict[str, bytes] = {}

    def build(content: dict[str, Any], runtime: str, files: object = None) -> Bundle:
        made = Bundle(zip_of(content), compiled=False)
        zips[made.sha256] = made.data
        return made

    def read_code(made: Deployment, function: str, version: int) -> bytes:
        # moto serves no code.
        found = account.client("lambda").get_function(FunctionName=function, Qualifier=str(version))
        return zips[found["Configuration"]["CodeSha256"]]

    def load(name: str, password: str | None = "first", host: str = HOST) -> Deployment:
        redis = {"host": host, **({"password": password} if password else {})}
        return gimel_at({"redis": redis, "allowed_experiments": [name]})

    monkeypatch.setattr(desired.bundle, "build", build)
    monkeypatch.setattr(Deployment, "read_code", read_code)
    return load


def live(account) -> list[dict[str, Any]]:
    client = account.client("lambda")
    return [client.get_function_configuration(FunctionName=name, Qualifier="live") for name in FUNCTIONS]


def passwords(account) -> set[str | None]:
    """Those of the functions that ask Redis. The others never have one."""
    found = {one["Handler"]: one.get("Environment", {}).get("Variables", {}) for one in live(account)}
    own = {handler: variables.get("GIMEL_REDIS_PASSWORD") for handler, variables in found.items()}
    assert {own.pop(handler) for handler in WITHOUT_REDIS} == {None}
    return {*own.values()}


def codes(account) -> set[str]:
    return {one["CodeSha256"] for one in live(account)}


def calls(plan: Plan) -> set[str]:
    return {step.call for step in plan.steps}


def test_the_old_code_is_published_anew_with_the_present_password(account, release):
    apply(release("a"))
    old = codes(account)
    apply(release("b"))
    deployment = release("b", "second")
    for _ in deployment.plan_rollback().steps:
        apply(deployment, Plan(deployment.plan_rollback().steps[:1]))  # interrupted after every step
    assert (codes(account), passwords(account)) == (old, {"second"})
    assert deployment.observe().functions["gimel-track"].history.rolled_back_from


def test_the_note_says_why_a_version_is_published_and_shows_no_password(account, release):
    apply(release("a"))
    apply(release("b", "second"))
    plan = release("b", "second").plan_rollback()
    assert "publish_version" in calls(plan)
    assert any(f"the password of redis://{HOST}:6379/0 has changed" in note for note in plan.notes)
    assert "first" not in str(plan.notes)
    assert "second" not in str(plan.notes)


def test_a_changed_reference_is_replaced_by_the_present_one(account, release):
    apply(release("a", "ssm:/old"))
    apply(release("b", "ssm:/new"))
    apply(release("b", "ssm:/new"), release("b", "ssm:/new").plan_rollback())
    assert passwords(account) == {"ssm:/new"}


@pytest.mark.parametrize("first", ["a password", "by IAM"])
def test_a_release_signs_in_the_way_that_is_configured_now(account, gimel_at, monkeypatch, first):
    host = "clustercfg.counts.x2e9hv.euw1.cache.amazonaws.com"
    ways = {
        "a password": {"username": "gimel", "password": "open sesame"},
        "by IAM": {"iam": {"user": "gimel", "cache": "counts"}},
    }
    for way in (first, *(ways.keys() - {first})):
        deployment = gimel_at({"redis": {"host": host, "tls": True, **ways[way]}})
        apply(deployment)
    plan = deployment.plan_rollback()
    assert plan.redis == plan.now == f"rediss://gimel@{host}:6379/0"
    (present,) = passwords(account)
    monkeypatch.setattr(Deployment, "read_code", lambda *ignored: zip_of({}))
    apply(deployment, plan)
    assert passwords(account) == {present} == {"open sesame" if way == "a password" else "iam:elasticache/counts/gimel"}


@pytest.mark.parametrize("configured", ["second", None], ids=["the same", "none"])
def test_if_the_password_is_that_of_the_live_functions_only_aliases_move(account, release, configured):
    for name in ("a", "b"):
        apply(release(name, "second"))
    plan = release("b", configured).plan_rollback()
    assert calls(plan) == {"update_alias"}


def test_a_machine_that_lacks_the_password_uses_that_of_the_live_functions(account, release):
    apply(release("a", "first"))
    apply(release("b", "second"))
    apply(release("b", None), release("b", None).plan_rollback())
    assert passwords(account) == {"second"}


def test_a_password_that_is_no_longer_needed_is_dropped(account, release):
    apply(release("a", "first"))
    apply(release("b", None))
    apply(release("b", None), release("b", None).plan_rollback())
    assert passwords(account) == {None}


def test_another_redis_keeps_the_password_of_its_release(account, release):
    apply(release("a", "first"))
    apply(release("b", "second", host="new.example.com"))
    plan = release("b", "second", host="new.example.com").plan_rollback()
    assert (plan.redis, plan.now) == (f"redis://{HOST}:6379/0", "redis://new.example.com:6379/0")
    apply(release("b"), Plan(plan.steps[:1]))
    again = release("b", "second", host="new.example.com").plan_rollback()
    assert (again.now, calls(again)) == (plan.now, {"update_alias"})  # after an interruption
    apply(release("b"), again)
    assert passwords(account) == {"first"}


def test_a_reference_that_the_role_may_not_read_is_refused(account, release):
    apply(release("a", "ssm:/old"))
    apply(release("b", "ssm:/old"))
    with pytest.raises(RollbackRefused, match="role gimel may not use the configured password, ssm:/undeployed"):
        release("b", "ssm:/undeployed").plan_rollback()


def as_earlier_releases_were(deployment: Deployment, password: str) -> Plan:
    """A plan without GIMEL_REDIS_ADDRESS, whose zip has the reference."""
    plan = deployment.plan()
    steps = []
    for step in plan.steps:
        params = dict(step.params)
        if "Environment" in params:
            params["Environment"] = {"Variables": {}}
        if "Code" in params:
            params["Code"] = {"ZipFile": zip_of({"redis": {"host": HOST, "password": password}})}
        steps.append(step.__class__(**{**vars(step), "params": params}))
    return Plan(tuple(steps), plan.values)


@pytest.fixture
def earlier(account, release, monkeypatch):
    """Two releases, of which the first is an earlier one, with a reference in its zip."""
    code = zip_of({"redis": {"host": HOST, "password": "ssm:/old"}})
    apply(release("a"), as_earlier_releases_were(release("a", "ssm:/old"), "ssm:/old"))
    monkeypatch.setattr(Deployment, "read_code", lambda *ignored: code)
    return code


def test_an_earlier_release_says_in_its_zip_which_redis_it_uses(account, release, earlier):
    apply(release("b", "ssm:/old"))
    plan = release("b", "ssm:/old").plan_rollback()
    assert (plan.redis, calls(plan)) == (f"redis://{HOST}:6379/0", {"update_alias"})


def test_the_present_password_replaces_the_one_in_the_zip_of_an_earlier_release(account, release, earlier):
    apply(release("b", "second"))
    apply(release("b", "second"), release("b", "second").plan_rollback())
    assert (passwords(account), codes(account)) == ({"second"}, {Bundle(earlier, compiled=False).sha256})


def test_without_a_password_an_earlier_release_with_one_in_its_zip_is_refused(account, release, earlier):
    apply(release("b", None))
    with pytest.raises(RollbackRefused, match=r"has a password for redis://redis\.example\.com:6379/0 in its zip"):
        release("b", None).plan_rollback()


@pytest.mark.parametrize("content", [b"no zip", zip_of({}), zip_of({"redis": {"port": "x"}})])
def test_a_release_whose_redis_cannot_be_found_out_is_refused(account, release, earlier, monkeypatch, content):
    apply(release("b", "ssm:/old"))
    monkeypatch.setattr(Deployment, "read_code", lambda *ignored: content)
    with pytest.raises(RollbackRefused, match="could not read which Redis version 1 of gimel-all-experiments uses"):
        release("b", "ssm:/old").plan_rollback()


def test_versions_of_a_role_that_was_recreated_are_published_anew(account, release):
    apply(release("a"))
    old = codes(account)
    apply(release("b"))
    recreate_nothing_but_delete(account)
    with pytest.raises(RollbackRefused, match="role gimel, which all versions need, no longer exists"):
        release("b").plan_rollback()
    apply(release("b"))
    plan = release("b").plan_rollback()
    assert any("the role has been recreated" in note for note in plan.notes)
    apply(release("b"), plan)
    assert codes(account) == old
    assert {one["Environment"]["Variables"]["GIMEL_ROLE_ID"] for one in live(account)} == {role_id(account)}


def test_the_code_of_a_version_is_downloaded_and_compared_with_its_hash(account, gimel_at, monkeypatch, tmp_path):
    apply(gimel_at())
    served = tmp_path / "code.zip"
    monkeypatch.setattr(deployment_module, "urlopen", lambda url, timeout: served.open("rb"))
    served.write_bytes(gimel_at().desired.bundle.data)
    assert gimel_at().read_code("gimel-track", 1) == served.read_bytes()
    served.write_bytes(b"other")
    with pytest.raises(AwsError, match="could not read the code of version 1 of gimel-track: AWS sent other code"):
        gimel_at().read_code("gimel-track", 1)
    served.unlink()
    with pytest.raises(AwsError, match=r"could not read the code of version 1 of gimel-track: .*No such file"):
        gimel_at().read_code("gimel-track", 1)
