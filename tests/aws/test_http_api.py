"""The HTTP API for events stands beside the REST API, which stays as it is."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from gimel.ops.aws.plan import http_api, steps

from .account import ID, Account, apply, descriptions
from .test_settings import entry

pytestmark = pytest.mark.slow

LIVE_TRACK = f"arn:aws:lambda:eu-west-1:{ID}:function:gimel-track:live"
ROUTES = {f"{method} {path}" for path in ("/track", "/e") for method in ("GET", "POST", "OPTIONS")}
STATEMENTS = {"gimel-track", "gimel-e", "gimel_http-track", "gimel_http-e"}


@pytest.fixture
def deployment(gimel_at):
    """Loads the deployment with an HTTP API."""
    return functools.partial(gimel_at, track_api="http")


def api_of(account: Account) -> str:
    return next(iter(account.state()["http_apis"]))


def route_of(account: Account, key: str) -> dict[str, Any]:
    items = account.client("apigatewayv2").get_routes(ApiId=api_of(account))["Items"]
    return next(item for item in items if item["RouteKey"] == key)


def test_a_new_deployment_has_one_and_an_older_one_goes_on_without(account, gimel_at):
    apply(gimel_at())
    made = api_of(account)
    assert descriptions(gimel_at().plan()) == []
    # One that was deleted by hand is made again.
    account.client("apigatewayv2").delete_api(ApiId=made)
    apply(gimel_at())
    assert api_of(account) != made
    apply(gimel_at(), gimel_at().plan_removal())
    apply(gimel_at(track_api="rest"))
    assert account.state()["http_apis"] == {}
    assert descriptions(gimel_at().plan()) == []
    live = gimel_at().require_live()
    assert live.track_url == f"{live.reports_url}/e"


def test_it_takes_events_only_and_has_the_limits_of_its_own_stage(account, deployment):
    apply(deployment(throttle={"rate": 7, "burst": 9}, tags={"team": "web"}))
    made = account.only("http_apis")
    integration = {"IntegrationType": "AWS_PROXY", "IntegrationUri": LIVE_TRACK, "PayloadFormatVersion": "2.0"}
    assert set(made["routes"]) == ROUTES
    for authorization, target in made["routes"].values():
        assert authorization == "NONE"
        assert integration.items() <= target.items()
    # The functions answer CORS, by the configured origins.
    assert (made["ProtocolType"], made["CorsConfiguration"]) == ("HTTP", None)
    stage = made["stages"]["$default"]
    assert stage["AutoDeploy"] is True
    assert stage["DefaultRouteSettings"] == {"ThrottlingRateLimit": 7, "ThrottlingBurstLimit": 9}
    tags = {"gimel:deployment": "gimel", "team": "web"}
    assert made["Tags"] == stage["Tags"] == tags
    log = stage["AccessLogSettings"]
    assert log["DestinationArn"] == f"arn:aws:logs:eu-west-1:{ID}:log-group:/aws/apigateway/gimel"
    assert "$context.path" in log["Format"]
    assert 'resourcePath":"$context.resourcePath' not in log["Format"]
    assert descriptions(deployment(throttle={"rate": 7, "burst": 9}, tags={"team": "web"}).plan()) == []


def test_only_this_api_may_call_the_function_and_only_for_its_paths(account, deployment):
    apply(deployment())
    policy = account.state()["functions"]["gimel-track"]["policy"]
    source = f"arn:aws:execute-api:eu-west-1:{ID}:{api_of(account)}/*/*/track"
    assert policy["gimel_http-track"] == {"ArnLike": {"AWS:SourceArn": source}}
    assert set(policy) == STATEMENTS


def test_the_rest_api_is_the_same_with_and_without_it(account, gimel_at, deployment):
    apply(gimel_at(track_api="rest"))
    before = account.state()
    apply(deployment())
    after = account.state()
    for state in (before, after):  # which tells the dashboard where pages send events
        assert next(iter(state["apis"].values()))["stages"]["prod"].pop("variables").keys() == {"track_url"}
    assert {key: after[key] for key in ("apis", "keys", "plans")} == {
        key: before[key] for key in ("apis", "keys", "plans")
    }


def test_events_go_to_it_and_reports_to_the_rest_api(account, gimel_at, deployment):
    learnt = apply(deployment())
    live = deployment().require_live()
    assert live == deployment().live(learnt)
    assert live.track_url == f"https://{api_of(account)}.execute-api.eu-west-1.amazonaws.com/e"
    assert live.reports_url.endswith(".execute-api.eu-west-1.amazonaws.com/prod")
    without = deployment({"track_path": False})
    assert without.live(learnt).track_url.endswith(".amazonaws.com/track")
    rest = gimel_at(track_api="rest").require_live()
    assert rest.track_url == f"{rest.reports_url}/e"


def test_one_that_pages_may_use_is_kept_until_destroy(account, gimel_at, deployment):
    apply(deployment())
    plan = gimel_at(track_api="rest").plan()
    assert descriptions(plan) == ["configure stage prod: variables/track_url"]
    (note,) = [note for note in plan.notes if "HTTP API" in note]
    assert f"https://{api_of(account)}.execute-api." in note
    assert "only `gimel destroy` deletes it" in note
    apply(gimel_at(), gimel_at().plan_removal())
    assert not any(account.state().values())


def test_paths_that_need_a_key_stay_on_the_rest_api(account, gimel_at):
    extra = entry(name="gimel-track", part="counted")
    extra["api_gateway"]["method"]["apiKeyRequired"] = True
    apply(gimel_at({"extra_wiring": [extra]}, track_api="http"))
    assert set(account.only("http_apis")["routes"]) == ROUTES


def test_another_path_of_the_function_that_tracks_comes_and_goes(account, gimel_at, deployment):
    extra = {"extra_wiring": [entry(name="gimel-track", part="v.2")]}
    apply(deployment())
    apply(gimel_at(extra, track_api="http"))
    assert "GET /v.2" in account.only("http_apis")["routes"]
    assert descriptions(gimel_at(extra, track_api="http").plan()) == []
    apply(deployment())
    assert "GET /v.2" not in account.only("http_apis")["routes"]
    assert set(account.state()["functions"]["gimel-track"]["policy"]) == STATEMENTS


def test_it_needs_no_role_of_the_account_to_log(account, deployment):
    patch = [{"op": "replace", "path": "/cloudwatchRoleArn", "value": ""}]
    account.client("apigateway").update_account(patchOperations=patch)
    plan = deployment().plan()
    assert any(note.startswith("no access log of the REST API") for note in plan.notes)
    apply(deployment(), plan)
    assert "AccessLogSettings" in account.only("http_apis")["stages"]["$default"]
    apply(deployment(access_log=False))
    assert "AccessLogSettings" not in account.only("http_apis")["stages"]["$default"]
    assert descriptions(deployment(access_log=False).plan()) == []


def test_requests_are_served_while_an_integration_is_replaced(account, deployment):
    apply(deployment())
    impatient_integration(account)
    calls = [step.call for step in deployment().plan().steps]
    assert calls == ["create_integration", *["update_route"] * len(ROUTES), "delete_integration"]


def test_an_api_of_the_same_name_that_is_not_ours_is_left_alone(account, deployment):
    client = account.client("apigatewayv2")
    theirs = client.create_api(Name="gimel", ProtocolType="HTTP")["ApiId"]
    before = account.state()["http_apis"]
    apply(deployment())
    assert len(account.state()["http_apis"]) == 2
    apply(deployment(), deployment().plan_removal())
    assert account.state()["http_apis"] == before
    assert list(before) == [theirs]


def removed_http_route(account: Account) -> None:
    route = route_of(account, "POST /track")["RouteId"]
    account.client("apigatewayv2").delete_route(ApiId=api_of(account), RouteId=route)


def extra_http_route(account: Account) -> None:
    target = route_of(account, "GET /track")["Target"]
    account.client("apigatewayv2").create_route(ApiId=api_of(account), RouteKey="GET /old", Target=target)


def http_route_with_authorizer(account: Account) -> None:
    route = route_of(account, "GET /track")["RouteId"]
    account.client("apigatewayv2").update_route(ApiId=api_of(account), RouteId=route, AuthorizationType="AWS_IAM")


def impatient_integration(account: Account) -> None:
    client, api = account.client("apigatewayv2"), api_of(account)
    (found,) = client.get_integrations(ApiId=api)["Items"]
    client.update_integration(ApiId=api, IntegrationId=found["IntegrationId"], TimeoutInMillis=50)


def payload_of_a_rest_api(account: Account) -> None:
    client, api = account.client("apigatewayv2"), api_of(account)
    (found,) = client.get_integrations(ApiId=api)["Items"]
    client.update_integration(ApiId=api, IntegrationId=found["IntegrationId"], PayloadFormatVersion="1.0")


def cors_by_the_gateway(account: Account) -> None:
    account.client("apigatewayv2").update_api(ApiId=api_of(account), CorsConfiguration={"AllowOrigins": ["*"]})


def disabled_url(account: Account) -> None:
    account.client("apigatewayv2").update_api(ApiId=api_of(account), DisableExecuteApiEndpoint=True)


def removed_http_stage(account: Account) -> None:
    account.client("apigatewayv2").delete_stage(ApiId=api_of(account), StageName="$default")


def configure_stage(account: Account, **changed: Any) -> None:
    account.client("apigatewayv2").update_stage(ApiId=api_of(account), StageName="$default", **changed)


def http_stage_that_takes_everything(account: Account) -> None:
    configure_stage(account, DefaultRouteSettings={"ThrottlingRateLimit": 9999.0, "ThrottlingBurstLimit": 9999})


def http_stage_by_hand(account: Account) -> None:
    configure_stage(account, AutoDeploy=False, AccessLogSettings={})


def removed_http_permission(account: Account) -> None:
    account.client("lambda").remove_permission(
        FunctionName="gimel-track", StatementId="gimel_http-track", Qualifier="live"
    )


DRIFTS = (
    *(removed_http_route, extra_http_route, http_route_with_authorizer, impatient_integration),
    *(payload_of_a_rest_api, cors_by_the_gateway, disabled_url, removed_http_permission),
    *(http_stage_that_takes_everything, http_stage_by_hand, removed_http_stage),
)


@pytest.mark.parametrize("drift", DRIFTS, ids=lambda drift: drift.__name__)
def test_drift_is_found_and_fixed(account, deployment, drift):
    apply(deployment())
    before = account.state()
    drift(account)
    assert account.state() != before
    plan = deployment().plan()
    assert plan.steps, "not found"
    apply(deployment(), plan)
    assert account.state() == before
    assert descriptions(deployment().plan()) == []


def test_a_limit_of_a_single_route_is_replaced(account, deployment):
    apply(deployment())
    configure_stage(account, RouteSettings={"GET /track": {"ThrottlingRateLimit": 1.0}})
    apply(deployment())
    own = account.only("http_apis")["stages"]["$default"]["RouteSettings"]
    assert own == {"GET /track": {"ThrottlingRateLimit": 500.0, "ThrottlingBurstLimit": 1000}}
    assert descriptions(deployment().plan()) == []


def test_an_interrupted_creation_is_found_again(account, deployment):
    plan = deployment().plan()
    made = next(number for number, step in enumerate(plan.steps) if step.params.get("ProtocolType") == "HTTP")
    apply(deployment(), type(plan)(plan.steps[: made + 1], plan.values))
    again = deployment().plan()
    assert again.values[http_api.HTTP_API.name] == api_of(account)
    assert [step.call for step in again.steps] == [step.call for step in plan.steps[made + 1 :]]


def test_new_tags_reach_the_api_and_its_stage(account, deployment):
    apply(deployment())
    plan = deployment(tags={"team": "web"}).plan()
    assert {"tag HTTP API gimel", "tag stage $default of the HTTP API"} < set(descriptions(plan))
    apply(deployment(tags={"team": "web"}), plan)
    made = account.only("http_apis")
    assert made["Tags"] == made["stages"]["$default"]["Tags"] == {"gimel:deployment": "gimel", "team": "web"}


def test_a_dry_run_shows_every_call(deployment):
    rows = steps.dry_run(deployment().plan())
    assert [row["call"] for row in rows if row["service"] == "apigatewayv2"] == [
        *("create_api", "create_integration", *["create_route"] * len(ROUTES), "create_stage")
    ]
