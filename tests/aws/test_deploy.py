"""A first deploy, and further ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from moto.apigateway.models import apigateway_backends

from gimel.ops.aws.plan import steps

from .account import FUNCTIONS, ID, apply, descriptions

pytestmark = pytest.mark.slow


@pytest.fixture
def deployed(account, gimel_at):
    apply(gimel_at())
    return account.state()


def test_the_plan_of_an_empty_account_is_not_empty_and_that_of_a_deployed_one_is(account, gimel_at):
    assert descriptions(gimel_at().plan())[-1] == "have schedule gimel-snapshot invoke alias live of gimel-snapshot"
    apply(gimel_at())
    assert descriptions(gimel_at().plan()) == []


def test_a_second_run_writes_nothing(account, gimel_at):
    apply(gimel_at())
    account.calls.clear()
    apply(gimel_at())
    assert account.writes == []
    assert len(account.calls) > 20


def test_a_dry_run_writes_nothing(account, gimel_at):
    assert len(steps.dry_run(gimel_at().plan())) > 50
    assert account.writes == []


def test_a_deploy_does_exactly_what_its_dry_run_shows(account, gimel_at):
    plan = gimel_at().plan()
    rehearsed = steps.dry_run(plan)
    account.calls.clear()
    apply(gimel_at(), plan)
    done = [(service, call, params) for service, call, params in account.writes]
    assert [(step["service"], _camel(step["call"])) for step in rehearsed] == [(one, two) for one, two, _ in done]
    for step, (_, _, params) in zip(rehearsed, done):
        assert _alike(step["params"], params), (step, params)


def _camel(call: str) -> str:
    return "".join(part.title() for part in call.split("_"))


def _alike(shown: Any, sent: Any) -> bool:
    if isinstance(shown, dict):
        return set(shown) <= set(sent) and all(_alike(value, sent[key]) for key, value in shown.items())
    if isinstance(shown, list):
        return len(shown) == len(sent) and all(_alike(one, other) for one, other in zip(shown, sent))
    if isinstance(shown, str) and "(known after step" in shown:
        before, _, after = shown.partition("(known after step")
        return sent.startswith(before) and sent.endswith(after.partition(")")[2])
    return shown == sent or shown in ("***", f"({len(sent)} bytes)")


def test_the_names_are_those_of_gimel(deployed):
    names = ["all-experiments", "dashboard", "delete-experiment", "experiment", "health", "history", "plan"]
    assert sorted(deployed["functions"]) == [f"gimel-{name}" for name in (*names, "snapshot", "track")]
    (api,) = deployed["apis"].values()
    assert (api["name"], list(api["stages"])) == ("gimel", ["prod"])


def test_every_method_is_a_proxy_to_the_live_alias(deployed):
    (api,) = deployed["apis"].values()
    keyed = {name for name, method in api["methods"].items() if method["key"]}
    reading = {"GET /experiment", "GET /experiments", "GET /history", "GET /plan"}
    assert keyed == {*reading, "PUT /experiment", "DELETE /delete"}
    preflights = {f"OPTIONS {path}" for path in api["paths"]}
    open_to_all = {"GET /track", "POST /track", "GET /e", "POST /e", "GET /health", "GET /"}
    assert set(api["methods"]) - keyed == open_to_all | preflights
    assert {method["type"] for method in api["methods"].values()} == {"AWS_PROXY"}
    assert {method["credentials"] for method in api["methods"].values()} == {None}
    prefix = f"arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:{ID}:function:"
    for path in ("/track", "/e"):
        assert api["methods"][f"GET {path}"]["uri"] == f"{prefix}gimel-track:live/invocations"


def test_pages_may_read_api_gateways_own_errors(deployed):
    (api,) = deployed["apis"].values()
    for kind in ("DEFAULT_4XX", "DEFAULT_5XX"):
        assert api["responses"][kind] == {"gatewayresponse.header.Access-Control-Allow-Origin": "'*'"}


def test_compressed_answers_reach_every_browser(deployed):
    assert [api["binary"] for api in deployed["apis"].values()] == [["*/*"]]


def test_the_stage_is_throttled_and_has_an_access_log(deployed):
    (api,) = deployed["apis"].values()
    stage = api["stages"]["prod"]
    assert stage["methods"] == {"*/*": [500, 1000], "~1/GET": [20, 40], "~1health/GET": [20, 40]}
    assert stage["access log"]["destinationArn"] == f"arn:aws:logs:eu-west-1:{ID}:log-group:/aws/apigateway/gimel"
    assert json.loads(stage["access log"]["format"])["status"] == "$context.status"
    assert "identity" not in stage["access log"]["format"]


@pytest.mark.parametrize("name", ["~1health/GET", "health/GET", "/health/GET"])
def test_the_limits_of_health_are_known_however_the_stage_names_its_method(account, gimel_at, name):
    apply(gimel_at())
    (stage,) = next(iter(apigateway_backends[ID]["eu-west-1"].apis.values())).stages.values()
    stage.method_settings[name] = stage.method_settings.pop("~1health/GET")
    assert gimel_at().plan().steps == ()


def test_the_stage_tells_the_dashboard_where_pages_send_events(account, gimel_at):
    def told(**aws: Any) -> str:
        apply(gimel_at({"track_path": "/counts"}, **aws))
        return str(account.only("apis")["stages"]["prod"]["variables"]["track_url"])

    assert told() == f"https://{next(iter(account.state()['http_apis']))}.execute-api.eu-west-1.amazonaws.com/counts"
    rest = next(iter(account.state()["apis"]))
    assert told(track_api="rest") == f"https://{rest}.execute-api.eu-west-1.amazonaws.com/prod/counts"
    own = {"domain": "events.example.com", "certificate_arn": f"arn:aws:acm:eu-west-1:{ID}:certificate/1"}
    assert told(**own) == "https://events.example.com/counts"


def test_if_api_gateway_cannot_write_logs_a_note_says_that_there_is_no_access_log(account, gimel_at):
    patch = [{"op": "replace", "path": "/cloudwatchRoleArn", "value": ""}]
    account.client("apigateway").update_account(patchOperations=patch)
    plan = gimel_at().plan()
    apply(gimel_at(), plan)
    assert account.only("apis")["stages"]["prod"]["access log"] is None
    assert any("no access log" in note for note in plan.notes)


def test_both_keys_are_in_a_usage_plan_of_the_stage(deployed):
    (plan,) = deployed["plans"].values()
    assert plan["apiStages"] == [{"apiId": next(iter(deployed["apis"])), "stage": "prod"}]
    assert plan["keys"] == list(deployed["keys"])
    assert [(key["name"], key["enabled"]) for key in deployed["keys"].values()] == [
        ("gimel", True),
        ("gimel-read", True),
    ]
    assert plan["throttle"] == {"rateLimit": 20, "burstLimit": 40}


def test_api_gateway_may_invoke_each_function_only_for_its_own_paths(deployed):
    api = next(iter(deployed["apis"]))
    for name, paths in (("gimel-track", ["track", "e"]), ("gimel-all-experiments", ["experiments"])):
        sources = {path: f"arn:aws:execute-api:eu-west-1:{ID}:{api}/prod/*/{path}" for path in paths}
        rest = {sid: found for sid, found in deployed["functions"][name]["policy"].items() if sid.startswith("gimel-")}
        assert rest == {f"gimel-{path}": {"ArnLike": {"AWS:SourceArn": source}} for path, source in sources.items()}


def test_the_role_may_only_write_its_own_logs_and_use_its_own_queues(deployed):
    (role,) = deployed["roles"].values()
    (policy,) = role["policies"].values()
    groups = [f"arn:aws:logs:eu-west-1:{ID}:log-group:/aws/lambda/{name}:*" for name in deployed["functions"]]
    logs, send, receive = policy["Statement"]
    assert logs["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert sorted(logs["Resource"]) == sorted(groups)
    queue, dead_letters = (f"arn:aws:sqs:eu-west-1:{ID}:gimel-{name}" for name in ("queue", "dead-letters"))
    assert (send["Action"], send["Resource"]) == (["sqs:SendMessage"], [queue, dead_letters])
    assert receive["Action"] == ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
    assert receive["Resource"] == [queue]
    assert [one["Principal"] for one in role["trust"]["Statement"]] == [{"Service": "lambda.amazonaws.com"}]


def test_logs_are_kept_for_a_month(deployed):
    assert set(deployed["groups"].values()) == {30}
    assert set(deployed["groups"]) == {
        *(f"/aws/lambda/{name}" for name in deployed["functions"]),
        "/aws/apigateway/gimel",
    }


def test_functions_time_out_before_api_gateway_does(deployed):
    for name, function in deployed["functions"].items():
        assert function["configuration"]["Timeout"] < 29 or name == "gimel-snapshot"
        assert function["configuration"]["Architectures"] == ["arm64"]


def test_the_password_is_in_the_environment_and_not_in_the_zip_or_the_plan(account, gimel_at):
    plan = gimel_at().plan()
    assert "open sesame" not in steps.as_json(plan)
    apply(gimel_at(), plan)
    environment = account.state()["functions"]["gimel-health"]["configuration"]["Environment"]
    address = "redis://redis.example.com:6379/0"
    assert environment == {"Variables": {"GIMEL_REDIS_ADDRESS": address, "GIMEL_REDIS_PASSWORD": "open sesame"}}
    assert b"open sesame" not in gimel_at().desired.bundle.data


def test_all_settings_are_applied(account, gimel_at):
    vpc = {"subnet_ids": ["subnet-1", "subnet-2"], "security_group_ids": ["sg-1"]}
    own = {"gimel-track": {"memory_mb": 1024, "reserved_concurrency": 7}}
    settings = {"architecture": "x86_64", "timeout_s": 5, "tags": {"team": "web"}, "log_retention_days": 7}
    throttle = {"throttle": {"rate": 12.5, "burst": 25}, "key_throttle": {"rate": 3, "burst": 4}}
    account.calls.clear()
    apply(gimel_at(runtime="python3.13", snap_start=True, vpc=vpc, functions=own, **settings, **throttle))
    created = {params["FunctionName"]: params for _, call, params in account.calls if call == "CreateFunction"}
    track, report = created["gimel-track"], created["gimel-experiment"]
    assert (track["MemorySize"], report["MemorySize"], track["Timeout"]) == (1024, 256, 5)
    assert track["Runtime"] == "python3.13"
    assert track["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    assert track["VpcConfig"] == {"SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}
    state = account.state()
    assert state["functions"]["gimel-track"]["reserved"] == 7
    assert state["functions"]["gimel-track"]["tags"] == {"team": "web", "gimel:deployment": "gimel"}
    assert account.only("apis")["stages"]["prod"]["methods"] == {
        "*/*": [12.5, 25],
        "~1/GET": [3, 4],
        "~1health/GET": [3, 4],
    }
    assert set(state["groups"].values()) == {7}
    policies = account.only("roles")["policies"]["gimel-eu-west-1"]["Statement"]
    assert [one["Effect"] for one in policies] == ["Allow", "Allow", "Deny"]


def test_a_second_deployment_does_not_affect_the_first(account, gimel_at):
    apply(gimel_at())
    first = account.state()
    apply(gimel_at(name="shop"))
    both = account.state()
    assert len(both["functions"]) == 2 * len(FUNCTIONS)
    assert "gimel-shop-track" in both["functions"]
    assert sorted(api["name"] for api in both["apis"].values()) == ["gimel", "gimel-shop"]
    for kind, things in first.items():
        assert {name: both[kind][name] for name in things} == things
    assert descriptions(gimel_at().plan()) == []
    apply(gimel_at(name="shop"), gimel_at(name="shop").plan_removal())
    assert account.state() == first
