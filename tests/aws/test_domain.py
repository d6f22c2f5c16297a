"""A domain of one's own outlives both APIs: events to its root, reports at /api."""

from __future__ import annotations

import functools

import pytest

from gimel.errors import ConfigError
from gimel.ops.aws.deployment import DnsRecord
from gimel.ops.aws.errors import NameTaken

from .account import ID, Account, apply, descriptions
from .test_settings import entry

pytestmark = pytest.mark.slow

DOMAIN = "events.example.com"
CERTIFICATE = f"arn:aws:acm:eu-west-1:{ID}:certificate/1"
ARN = f"arn:aws:apigateway:eu-west-1::/domainnames/{DOMAIN}"


@pytest.fixture
def deployment(gimel_at):
    """Loads the deployment with a domain and an HTTP API."""
    return functools.partial(gimel_at, track_api="http", domain=DOMAIN, certificate_arn=CERTIFICATE)


def api_of(account: Account, kind: str = "http_apis") -> str:
    return next(iter(account.state()[kind]))


def test_its_root_takes_events_and_api_has_the_reports(account, deployment):
    learnt = apply(deployment())
    made = account.state()["domains"][DOMAIN]
    http, rest = [api_of(account), "$default"], [api_of(account, "apis"), "prod"]
    assert made["mappings"] == {"": http, "api": rest}
    (configuration,) = made["DomainNameConfigurations"]
    wanted = {"CertificateArn": CERTIFICATE, "EndpointType": "REGIONAL", "SecurityPolicy": "TLS_1_2"}
    assert wanted.items() <= configuration.items()
    assert made["Tags"] == {"gimel:deployment": "gimel"}
    live = deployment().require_live()
    assert live == deployment().live(learnt)
    assert (live.track_url, live.reports_url) == (f"https://{DOMAIN}/e", f"https://{DOMAIN}/api")
    direct = deployment().live(learnt, direct=True)
    assert direct.track_url == f"https://{http[0]}.execute-api.eu-west-1.amazonaws.com/e"
    assert descriptions(deployment().plan()) == []


def test_without_an_http_api_its_root_is_the_rest_api(account, deployment):
    apply(deployment(track_api="rest"))
    rest = [api_of(account, "apis"), "prod"]
    assert account.only("domains")["mappings"] == {"": rest, "api": rest}
    # Changing the API keeps every URL of the domain, and moves it only when the new API is complete.
    plan = deployment().plan()
    assert [step.call for step in plan.steps][-2:] == ["create_stage", "update_api_mapping"]
    apply(deployment(), plan)
    assert account.only("domains")["mappings"] == {"": [api_of(account), "$default"], "api": rest}
    apply(deployment(track_api="rest"))
    assert account.only("domains")["mappings"] == {"": rest, "api": rest}
    assert descriptions(deployment(track_api="rest").plan()) == []


def test_the_dns_record_to_create_is_printed(account, deployment, run):
    deployment()
    output = run("deploy", "--yes").stdout
    assert f"Track URL:  https://{DOMAIN}/e" in output
    assert f"Report URL: https://{DOMAIN}/api/experiments" in output
    assert f"DNS record: {DOMAIN} CNAME d-events.execute-api.eu-west-1.amazonaws.com" in output
    assert "hosted zone Z1" in output
    assert f'AlephbetAdapter("https://{DOMAIN}/e"' in output
    assert deployment().dns_record() == DnsRecord(DOMAIN, "d-events.execute-api.eu-west-1.amazonaws.com", "Z1")


def test_before_the_deploy_that_makes_it_the_old_urls_are_used(account, gimel_at, deployment):
    apply(gimel_at())
    assert gimel_at().dns_record() is None
    assert DOMAIN not in deployment().require_live().track_url


def test_a_certificate_of_another_region_is_an_error(account, deployment):
    elsewhere = CERTIFICATE.replace("eu-west-1", "us-east-1")
    with pytest.raises(ConfigError, match="the certificate is in us-east-1, and the deployment in eu-west-1") as caught:
        deployment(certificate_arn=elsewhere).plan()
    assert caught.value.hint == f"request one for {DOMAIN} in ACM in eu-west-1"


def test_no_path_for_events_may_be_hidden_by_the_reports(account, deployment):
    with pytest.raises(ConfigError, match=f"on {DOMAIN}, /apis would lead to the reports"):
        deployment({"extra_wiring": [entry(name="gimel-track", part="apis")]}).plan()


def test_a_new_certificate_updates_it(account, deployment):
    apply(deployment())
    plan = deployment(certificate_arn=f"{CERTIFICATE}2").plan()
    assert descriptions(plan) == [f"update custom domain {DOMAIN}: CertificateArn"]
    apply(deployment(), plan)
    assert account.only("domains")["DomainNameConfigurations"][0]["CertificateArn"] == f"{CERTIFICATE}2"


def test_new_tags_reach_it(account, deployment):
    apply(deployment())
    apply(deployment(tags={"team": "web"}))
    assert account.only("domains")["Tags"] == {"gimel:deployment": "gimel", "team": "web"}
    assert descriptions(deployment(tags={"team": "web"}).plan()) == []


def unmapped(account: Account) -> None:
    client = account.client("apigatewayv2")
    for item in client.get_api_mappings(DomainName=DOMAIN)["Items"]:
        client.delete_api_mapping(DomainName=DOMAIN, ApiMappingId=item["ApiMappingId"])


def mapped_elsewhere(account: Account) -> None:
    client = account.client("apigatewayv2")
    theirs = client.create_api(Name="theirs", ProtocolType="HTTP")["ApiId"]
    for item in client.get_api_mappings(DomainName=DOMAIN)["Items"]:
        mapping = {"DomainName": DOMAIN, "ApiMappingId": item["ApiMappingId"]}
        client.update_api_mapping(**mapping, ApiId=theirs, Stage="theirs")


def removed_domain(account: Account) -> None:
    unmapped(account)
    account.client("apigatewayv2").delete_domain_name(DomainName=DOMAIN)


DRIFTS = (mapped_elsewhere, unmapped, removed_domain)


@pytest.mark.parametrize("drift", DRIFTS, ids=lambda drift: drift.__name__)
def test_drift_is_found_and_fixed(account, deployment, drift):
    apply(deployment())
    before = account.state()["domains"]
    drift(account)
    assert account.state()["domains"] != before
    apply(deployment())
    assert account.state()["domains"] == before
    assert descriptions(deployment().plan()) == []


def test_a_changed_domain_replaces_the_old_one_and_the_plan_says_what_is_lost(account, deployment):
    apply(deployment())
    plan = deployment(domain="e.example.com").plan()
    assert [step.call for step in plan.steps] == [
        "update_stage",  # it tells the dashboard where pages send events
        *("create_domain_name", "create_api_mapping", "create_api_mapping"),
        *("delete_api_mapping", "delete_api_mapping", "delete_domain_name"),
    ]
    (note,) = [note for note in plan.notes if DOMAIN in note]
    assert f"events that pages still send to https://{DOMAIN}/ are lost" in note
    apply(deployment(domain="e.example.com"), plan)
    assert list(account.state()["domains"]) == ["e.example.com"]
    assert descriptions(deployment(domain="e.example.com").plan()) == []


def test_one_that_serves_others_too_is_kept_without_our_mappings(account, gimel_at, deployment):
    apply(deployment())
    client = account.client("apigatewayv2")
    theirs = client.create_api(Name="theirs", ProtocolType="HTTP")["ApiId"]
    client.create_api_mapping(DomainName=DOMAIN, ApiId=theirs, Stage="theirs", ApiMappingKey="shop")
    assert descriptions(deployment().plan()) == []
    plan = gimel_at(track_api="http").plan()
    assert [step.call for step in plan.steps] == ["update_stage", "delete_api_mapping", "delete_api_mapping"]
    assert any(f"it serves https://{DOMAIN}/shop too" in note for note in plan.notes)
    removal = deployment().plan_removal()
    assert any(f"it serves https://{DOMAIN}/shop too" in note for note in removal.notes)
    apply(deployment(), removal)
    assert account.only("domains")["mappings"] == {"shop": [theirs, "theirs"]}


@pytest.mark.parametrize("owner", [None, "shop"])
def test_one_that_somebody_else_created_is_refused_and_never_changed(account, deployment, owner):
    tags = {"gimel:deployment": owner} if owner else {}
    client = account.client("apigatewayv2")
    client.create_domain_name(DomainName=DOMAIN, DomainNameConfigurations=[{"CertificateArn": "a"}], Tags=tags)
    before = account.state()["domains"]
    with pytest.raises(NameTaken, match=f"custom domain {DOMAIN} already exists") as caught:
        deployment().plan()
    assert f"tag-resource --resource-arn {ARN} --tags gimel:deployment=gimel`" in caught.value.hint
    assert descriptions(deployment().plan_removal()) == []
    client.tag_resource(ResourceArn=ARN, Tags={"gimel:deployment": "gimel"})
    apply(deployment())
    assert account.state()["domains"] != before
    assert descriptions(deployment().plan()) == []


def test_destroy_leaves_nothing_and_unmaps_before_it_deletes(account, deployment):
    apply(deployment())
    calls = [step.call for step in deployment().plan_removal().steps]
    assert calls[:3] == ["delete_api_mapping", "delete_api_mapping", "delete_domain_name"]
    assert "delete_api" in calls
    for _ in range(len(calls) + 1):
        plan = deployment().plan_removal()
        apply(deployment(), type(plan)(plan.steps[:1], plan.values))
    assert not any(account.state().values())


def test_it_survives_a_destroy_of_the_apis_alone(account, deployment):
    apply(deployment())
    client = account.client("apigatewayv2")
    old = api_of(account)
    unmapped(account)
    client.delete_api(ApiId=old)
    apply(deployment())
    assert account.only("domains")["mappings"][""] == [api_of(account), "$default"]
    assert deployment().require_live().track_url == f"https://{DOMAIN}/e"
