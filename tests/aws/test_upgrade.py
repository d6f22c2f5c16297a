"""A running Gimel 1.5 is upgraded under the same id, URL and key, and serves every request meanwhile."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest

from gimel.access import READ
from gimel.ops.aws.errors import NothingToRollBack
from gimel.ops.aws.names import release_of
from gimel.ops.aws.plan import steps
from gimel.ops.aws.plan.gateway import API

from . import gimel15
from .account import Account, apply, descriptions

pytestmark = pytest.mark.slow


@pytest.fixture
def old(account):
    return gimel15.lay_out(account)


def test_id_url_and_key_stay_the_same(account, gimel_at, old):
    values = apply(gimel_at())
    state = account.state()
    assert (values[API.name], list(state["apis"])) == (old.api, [old.api])
    assert account.key() == old.key
    assert len(state["keys"]) == 2
    assert account.client("apigateway").get_api_key(apiKey=old.key, includeValue=True)["value"] == old.key_value
    assert gimel_at().aws.api_url(old.api) == f"https://{old.api}.execute-api.eu-west-1.amazonaws.com/prod"


def test_the_result_equals_a_fresh_deployment(account, gimel_at, old):
    apply(gimel_at())
    assert descriptions(gimel_at().plan()) == []
    upgraded = named(account.state())
    apply(gimel_at(), gimel_at().plan_removal())
    assert account.state()["functions"] == account.state()["apis"] == account.state()["roles"] == {}
    apply(gimel_at(track_api="rest"))
    assert upgraded == named(account.state())


def named(state: dict[str, Any]) -> dict[str, Any]:
    """The state with ids replaced by names."""
    (api,) = state["apis"]
    (plan,) = state["plans"]
    text = json.dumps({**state, "keys": len(state["keys"])}, sort_keys=True, default=str)
    for found in state["http_apis"]:
        text = text.replace(found, "HTTP API")
    for id, key in state["keys"].items():
        text = text.replace(id, f"KEY {key['name']}")
    return json.loads(text.replace(api, "API").replace(plan, "PLAN"))


def test_the_key_is_added_to_a_usage_plan(account, gimel_at, old):
    apply(gimel_at())
    plan = account.only("plans")
    assert plan["keys"] == [old.key, account.key(READ)]
    assert plan["apiStages"] == [{"apiId": old.api, "stage": "prod"}]


def test_the_role_loses_its_wildcards_after_the_stage_has_moved(account, gimel_at, old):
    plan = descriptions(gimel_at().plan())
    narrowing = plan.index("delete policy gimel of role gimel")
    assert narrowing < plan.index("allow only Lambda to assume role gimel")
    assert narrowing > next(i for i, text in enumerate(plan) if text.startswith("configure stage prod: deploymentId"))
    apply(gimel_at())
    role = account.only("roles")
    assert "*" not in json.dumps([one["Resource"] for one in role["policies"]["gimel-eu-west-1"]["Statement"]]).replace(
        ":*", ""
    )
    assert list(role["policies"]) == ["gimel-eu-west-1"]


def test_every_event_is_served_after_every_step(account, gimel_at, old):
    plan = gimel_at().plan()
    gateway = Gateway(account, old.api)
    gateway.require_served("before the first step")
    served = []

    def perform(number: int, step: steps.Step, params: Any) -> Any:
        answer = gimel_at().aws.perform(number, step, params)
        gateway.note(step, params, answer)
        served.append(gateway.require_served(f"after step {number}, {step.description}"))
        return answer

    steps.execute(plan, perform)
    assert served[0] == {"AWS"}
    assert served[-1] == {"AWS_PROXY"}


class Gateway:
    """What moto lacks: a stage keeps serving the deployment it points to."""

    def __init__(self, account: Account, api: str) -> None:
        self.account, self.api = account, api
        self.live = self._methods()
        self.snapshots: dict[str, Any] = {}

    def _methods(self) -> dict[str, Any]:
        return copy.deepcopy(self.account.state()["apis"][self.api]["methods"])

    def note(self, step: steps.Step, params: Any, answer: Any) -> None:
        if step.call == "create_deployment":
            self.snapshots[answer["id"]] = self._methods()
        for patch in params.get("patchOperations", []):
            if patch["path"] == "/deploymentId":
                self.live = self.snapshots[patch["value"]]

    def require_served(self, when: str) -> set[str]:
        """Fail unless each old endpoint reaches code that accepts its events. Returns the types of integrations."""
        role = self.account.role("gimel")
        kinds = set()
        for name, _, _, path, verb, _ in gimel15.FUNCTIONS:
            method = self.live[f"{verb} /{path}"]
            kinds.add(method["type"])
            assert f"function:{name}:live/" in method["uri"], when
            client = self.account.client("lambda")
            version = client.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
            running = client.get_function_configuration(FunctionName=name, Qualifier=version)
            if method["type"] == "AWS":
                # Invoked through the role, with Gimel 1.5's flat events, which both versions accept.
                services = [one["Principal"]["Service"] for one in role["trust"]["Statement"]]
                assert "apigateway.amazonaws.com" in services, when
                assert "lambda:InvokeFunction" in json.dumps(role["policies"]), when
            else:
                assert release_of(running["Description"]), f"{when}: Gimel 1.5 does not know proxy events"
                policy = json.loads(client.get_policy(FunctionName=name, Qualifier="live")["Policy"])
                assert f"/prod/*/{path}" in json.dumps(policy), when
        return kinds


def test_a_note_warns_of_a_gimel_1_in_another_region(account, gimel_at, old):
    assert any("another region" in note for note in gimel_at().plan().notes)


def test_a_note_names_functions_that_leave_their_vpc_and_the_setting_that_keeps_them(account, gimel_at, old):
    inside = {"SubnetIds": ["subnet-2", "subnet-1"], "SecurityGroupIds": ["sg-1"]}
    for name in ("gimel-track", "gimel-all-experiments"):
        account.client("lambda").update_function_configuration(FunctionName=name, VpcConfig=inside)
    (note,) = [note for note in gimel_at().plan().notes if "VPC" in note]
    assert note.startswith("gimel-track, gimel-all-experiments will leave the VPC")
    vpc = json.loads("{" + note.partition("aws section: ")[2] + "}")
    assert vpc == {"vpc": {"subnet_ids": ["subnet-1", "subnet-2"], "security_group_ids": ["sg-1"]}}
    assert not any("VPC" in note for note in gimel_at(**vpc).plan().notes)
    apply(gimel_at())
    assert not any("VPC" in note for note in gimel_at().plan().notes)


def test_the_plan_says_if_older_log_entries_are_deleted(account, gimel_at, old):
    logs = account.client("logs")
    for name, days in (("gimel-track", None), ("gimel-all-experiments", 365), ("gimel-delete-experiment", 7)):
        logs.create_log_group(logGroupName=f"/aws/lambda/{name}")
        if days:
            logs.put_retention_policy(logGroupName=f"/aws/lambda/{name}", retentionInDays=days)
    kept = [
        text for text in descriptions(gimel_at().plan()) if text.startswith("set retention of log group /aws/lambda/")
    ]
    assert kept == [
        "set retention of log group /aws/lambda/gimel-track to 30 days; older entries are deleted",
        "set retention of log group /aws/lambda/gimel-experiment to 30 days",
        "set retention of log group /aws/lambda/gimel-all-experiments to 30 days; older entries are deleted",
        "set retention of log group /aws/lambda/gimel-history to 30 days",
        "set retention of log group /aws/lambda/gimel-plan to 30 days",
        "set retention of log group /aws/lambda/gimel-delete-experiment to 30 days",
        "set retention of log group /aws/lambda/gimel-health to 30 days",
        "set retention of log group /aws/lambda/gimel-dashboard to 30 days",
        "set retention of log group /aws/lambda/gimel-snapshot to 30 days",
    ]


def test_a_rollback_to_gimel_15_is_an_error(account, gimel_at, old):
    apply(gimel_at())
    with pytest.raises(NothingToRollBack, match="supports this API"):
        gimel_at().plan_rollback()


def test_extra_wiring_of_gimel_1_adds_a_path_to_the_same_function(account, gimel_at, old):
    extra = {
        "lambda": {"FunctionName": "gimel-track", "Handler": "gimel.track", "MemorySize": 128, "Timeout": 3},
        "api_gateway": {
            "pathPart": "kcart",
            "method": {
                "httpMethod": "GET",
                "apiKeyRequired": False,
                "requestParameters": {"method.request.querystring.namespace": False},
            },
        },
    }
    apply(gimel_at({"extra_wiring": [extra]}))
    state = account.state()
    api = state["apis"][old.api]
    assert api["methods"]["GET /kcart"]["uri"] == api["methods"]["GET /track"]["uri"]
    assert "OPTIONS /kcart" in api["methods"]
    assert sorted(state["functions"]["gimel-track"]["policy"]) == ["gimel-e", "gimel-kcart", "gimel-track"]
    assert state["functions"]["gimel-track"]["configuration"]["MemorySize"] == 256
    assert descriptions(gimel_at({"extra_wiring": [extra]}).plan()) == []
    apply(gimel_at())
    assert "/kcart" not in account.state()["apis"][old.api]["paths"]
    assert sorted(account.state()["functions"]["gimel-track"]["policy"]) == ["gimel-e", "gimel-track"]


def test_similar_paths_have_separate_permissions(account, gimel_at):
    parts = ["k-cart", "k_cart", "k.cart", "k" * 120, "k" * 121]
    extras = [
        {
            "lambda": {"FunctionName": "gimel-track", "Handler": "gimel.track"},
            "api_gateway": {"pathPart": part, "method": {"httpMethod": "GET"}},
        }
        for part in parts
    ]
    apply(gimel_at({"extra_wiring": extras}))
    granted = account.state()["functions"]["gimel-track"]["policy"]
    paths = {condition["ArnLike"]["AWS:SourceArn"].rpartition("/")[2] for condition in granted.values()}
    assert paths == {"track", "e", *parts}
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,100}", sid) for sid in granted)
    assert descriptions(gimel_at({"extra_wiring": extras}).plan()) == []


def test_a_function_of_extra_wiring_is_created_and_deleted_with_it(account, gimel_at):
    extra = {
        "lambda": {"FunctionName": "cart", "Handler": "gimel.track", "MemorySize": 192, "Timeout": 60},
        "api_gateway": {"pathPart": "cart", "method": {"httpMethod": "GET"}},
    }
    plan = gimel_at({"extra_wiring": [extra]}).plan()
    assert any("API Gateway does not wait 60 s" in note for note in plan.notes)
    apply(gimel_at(), plan)
    configuration = account.state()["functions"]["cart"]["configuration"]
    assert (configuration["MemorySize"], configuration["Timeout"]) == (192, 28)
    apply(gimel_at())
    assert "cart" not in account.state()["functions"]
    assert "/aws/lambda/cart" not in account.state()["groups"]
