"""Problems in the `aws` section and in extra_wiring are all described, with their fix."""

from __future__ import annotations

import base64
import json

import pytest
from botocore.session import Session
from botocore.validate import ParamValidator

from gimel.config import TRACK, Config, RedisSettings
from gimel.errors import ConfigError
from gimel.ops.aws import desired, redis_address, settings, wiring
from gimel.ops.aws.names import Account, Names
from tests.parts import ROOT


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"memory": 256}, "aws.memory: unknown key; did you mean memory_mb?"),
        ({"memory_mb": 64}, "aws.memory_mb: must be a whole number from 128 to 10240, not 64"),
        ({"timeout_s": 29}, "aws.timeout_s: must be whole seconds from 1 to 28"),
        ({"runtime": "python3.8"}, "aws.runtime: must be one of python3.10"),
        ({"architecture": "arm"}, "aws.architecture: must be arm64 or x86_64"),
        ({"name": "Shop"}, "aws.name: must be lowercase"),
        ({"name": "shop-delete"}, "not ending in delete"),
        ({"vpc": {"subnet_ids": ["subnet-1"]}}, "aws.vpc: needs both subnet_ids and security_group_ids"),
        ({"runtime": "python3.11", "snap_start": True}, "aws.snap_start: needs a runtime of python3.12"),
        ({"throttle": {"rate": 0}}, "aws.throttle.rate: must be requests per second, above 0"),
        ({"log_retention_days": 31}, "aws.log_retention_days: must be one of 1, 3, 5"),
        ({"functions": {"gimel-track": {"memory": 1}}}, "aws.functions.gimel-track.memory: unknown key"),
        ({"alarms": {}}, "aws.alarms: needs an e-mail address"),
        ({"tags": {"AWS:x": "y"}}, "aws.tags: must be an object of at most 49 tags"),
        ({"tags": {"": "y"}}, "aws.tags: must be"),
        ({"tags": {"Team": "y", "team": "x"}}, "differ from another only in case"),
        ({"tags": {"team": "web & shop"}}, "aws.tags: must be"),
        ({"tags": {"team": "x" * 257}}, "values up to 256"),
        ({"tags": {f"t{number}": "" for number in range(50)}}, "aws.tags: must be"),
    ],
)
def test_every_problem_is_described_with_its_fix(section, message):
    problems = []
    settings.read(section, problems)
    assert message in "\n".join(problems)


def test_all_problems_are_listed_at_once(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"redis": {"host": "r"}, "aws": {"memory_mb": 1, "timeout_s": 99}, "precison": 4}))
    with pytest.raises(ConfigError) as caught:
        settings.load(path)
    assert str(path) in caught.value.message
    assert "memory_mb" in caught.value.message
    assert "timeout_s" in caught.value.message
    assert "precison: unknown key; did you mean precision?" in caught.value.message


def test_the_default_runtime_does_not_depend_on_this_machine_and_the_template_names_it():
    assert settings.read({}, []).runtime == settings.DEFAULT_RUNTIME in settings.RUNTIMES
    template = json.loads((ROOT / "config.json.template").read_text())
    assert template["aws"]["runtime"] == settings.DEFAULT_RUNTIME


def test_the_template_names_every_key_of_the_section_and_is_valid():
    text = (ROOT / "config.json.template").read_text()
    section = json.loads(text)["aws"]
    named = {key.removeprefix("// ") for key in section}
    assert named >= settings.KEYS
    problems = []
    settings.read(section, problems)
    assert problems == []


def entry(name: str = "cart", handler: str = "gimel.track", part: str = "cart", verb: str = "GET") -> dict:
    method = {"httpMethod": verb, "apiKeyRequired": False}
    return {
        "lambda": {"FunctionName": name, "Handler": handler},
        "api_gateway": {"pathPart": part, "method": method},
    }


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lambda": {}}, r"extra_wiring\[0\] is incomplete or invalid"),
        (entry(handler="shop.track"), "unknown handler shop.track"),
        (entry(verb="DELETE"), "gimel.track does not support DELETE: use GET or POST"),
        (entry(part="a/b"), "not a single path segment"),
        (entry(name="gimel-track", handler="gimel.all"), "gimel-track already runs gimel.track"),
        (entry(part="experiments"), "/experiments already belongs to gimel-all-experiments"),
        (entry(name="a b"), "not a valid function name"),
    ],
)
def test_invalid_extra_wiring_is_an_error(wrong, message):
    with pytest.raises(ConfigError, match=message):
        wiring.wire([wrong])


def test_a_second_path_of_events_belongs_to_the_same_function():
    def routes(path: str) -> set:
        return {(route.method, route.function, route.needs_key) for route in wired.routes if route.path == path}

    wired = wiring.wire([], "/counts")
    assert routes("/counts") == routes("/track") != set()
    paths, fewer = ({route.path for route in each.routes} for each in (wired, wiring.wire([], "/track")))
    assert paths - fewer == {"/counts"}
    with pytest.raises(ConfigError, match=r"/cart already belongs to gimel-track: .* or another track_path"):
        wiring.wire([entry()], "/cart")


def test_names_may_be_as_long_as_lambda_allows():
    assert wiring.wire([entry(name="c" * 64)]).functions[-1].name == "c" * 64
    with pytest.raises(ConfigError, match="not a valid function name"):
        wiring.wire([entry(name="c" * 65)])


def test_usual_tags_are_accepted():
    tags = {"team": "web", "cost center": "12/3", "Bücher": "a_b.c:d=e+f-g@h", "empty": ""}
    problems = []
    assert settings.read({"tags": tags}, problems).tags == tags
    assert problems == []


def test_the_same_route_twice_is_one():
    assert wiring.wire([entry(), entry()]).routes == wiring.wire([entry()]).routes


def test_no_two_deployments_share_a_function_name():
    names = ["gimel", "a", "a-b", "track", "all", "experiment", "all-experiments", "snapshot"]
    account = Account("1", "eu-west-1", "aws", "https://sqs.eu-west-1.amazonaws.com")
    made = [Names(name, account).function(each.name) for name in names for each in wiring.wire().functions]
    assert len(made) == len(set(made))


@pytest.mark.parametrize(
    ("url", "kept", "password"),
    [
        ("rediss://h:6379/0?password=open+sesame&db=2", "rediss://h:6379/0?db=2", "open sesame"),
        ("redis://:open%20sesame@h?password=other", "redis://h", "open sesame"),
        ("redis://u:p@h", "redis://u@h", "p"),
        ("redis://h?db=1", "redis://h?db=1", None),
    ],
)
def test_the_password_is_removed_from_any_part_of_a_url(url, kept, password):
    assert desired._without_password(url) == kept
    assert redis_address.password(RedisSettings(url=url)) == password


def test_the_rule_for_aws_waf_in_the_documentation_is_valid():
    text = (ROOT / "docs" / "deploying.md").read_text()
    section = text.partition("## Floods and forged events")[2]
    rules = json.loads(section.partition("```json\n")[2].partition("```")[0])
    matches = rules[0]["Statement"]["RateBasedStatement"]["ScopeDownStatement"]["OrStatement"]["Statements"]
    paths = [base64.b64decode(each["ByteMatchStatement"]["SearchString"]).decode() for each in matches]
    assert paths == [TRACK, Config.track_path]
    shape = Session().get_service_model("wafv2").operation_model("CreateWebACL").input_shape
    visibility = rules[0]["VisibilityConfig"]
    call = {"Name": "gimel", "Scope": "REGIONAL", "DefaultAction": {"Allow": {}}, "VisibilityConfig": visibility}
    assert not ParamValidator().validate({**call, "Rules": rules}, shape).has_errors()


@pytest.mark.parametrize(("section", "durable"), [({}, True), ({"durable": False}, False), ({"durable": None}, True)])
def test_events_are_queued_unless_that_is_switched_off(section, durable):
    assert settings.read(section, []).durable == durable


def test_in_a_vpc_events_are_queued_only_if_asked_for():
    vpc = {"vpc": {"subnet_ids": ["subnet-1"], "security_group_ids": ["sg-1"]}}
    assert not settings.read(vpc, []).durable
    assert settings.read({**vpc, "durable": True}, []).durable
