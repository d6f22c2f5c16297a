"""Steps for a domain of your own: its root is the API that takes events, and /api is the REST API."""

from __future__ import annotations

from collections.abc import Iterator

from gimel.ops.aws.desired import Desired
from gimel.ops.aws.errors import NameTaken
from gimel.ops.aws.existing import Domain, Existing
from gimel.ops.aws.names import HTTP_STAGE, STAGE, Names

from . import gateway, http_api
from .steps import Ref, Step, Target

DOMAIN = Ref("domain")
REPORTS = "api"
"""The key of the mapping of the REST API, which has the reports."""


def values(name: str | None, existing: Existing) -> dict[str, str]:
    """The configured domain, if there is one and it is ours."""
    found = existing.domains.get(name or "")
    return {DOMAIN.name: found.name} if found and found.is_own else {}


def domain(desired: Desired, existing: Existing) -> Iterator[Step]:
    """The domain and its mappings. Both APIs are public by then. Raises NameTaken."""
    name = desired.settings.domain
    if not name:
        return
    found, on_domain = existing.domains.get(name), _target(name)
    configuration = {
        "CertificateArn": desired.settings.certificate_arn,
        "EndpointType": "REGIONAL",
        "SecurityPolicy": "TLS_1_2",
    }
    if not found:
        params = {"DomainNameConfigurations": [configuration], "Tags": desired.tags}
        outputs = {DOMAIN.name: "DomainName"}
        yield on_domain.step("create_domain_name", f"create custom domain {name}", params, outputs=outputs)
    elif not found.is_own:
        arn = _arn(desired.names, name)
        raise NameTaken(
            f"custom domain {name} already exists and was not created by this deployment",
            "delete it, or let Gimel manage it: `aws apigatewayv2 tag-resource --resource-arn "
            f"{arn} --tags gimel:deployment={desired.settings.name}`",
        )
    else:
        changed = {key for key, value in configuration.items() if found.configuration.get(key) != value}
        if changed:
            description = f"update custom domain {name}: {', '.join(sorted(changed))}"
            yield on_domain.step("update_domain_name", description, {"DomainNameConfigurations": [configuration]})
        if not desired.is_tagged(found.tags):
            tags = {"ResourceArn": _arn(desired.names, name), "Tags": desired.tags}
            yield http_api.GATEWAY.step("tag_resource", f"tag custom domain {name}", tags)
    yield from _mappings(desired, existing, name)


def _mappings(desired: Desired, existing: Existing, name: str) -> Iterator[Step]:
    rest = (gateway.API, STAGE)
    root = (http_api.HTTP_API, HTTP_STAGE) if http_api.takes_events(desired, existing) else rest
    known = {**gateway.values(existing), **http_api.values(existing)}
    found = existing.domains.get(name)
    for key, (api, stage) in {"": root, REPORTS: rest}.items():
        mapping = found.mappings.get(key) if found else None
        params = {"ApiId": api, "Stage": stage}
        description = (
            f"map {_url(name, key)} to stage {stage} of the {'HTTP' if api is http_api.HTTP_API else 'REST'} API"
        )
        if not mapping:
            keyed = {"ApiMappingKey": key} if key else {}
            yield _target(name).step("create_api_mapping", description, {**params, **keyed})
        elif (mapping["ApiId"], mapping["Stage"]) != (known.get(api.name), stage):
            on_mapping = {"ApiMappingId": mapping["ApiMappingId"], **params}
            yield _target(name).step("update_api_mapping", description, on_mapping)


def stale(desired: Desired, existing: Existing) -> Iterator[Step]:
    """Delete domains of ours that are no longer configured, when the new one is complete."""
    for found in _own(existing, desired.settings.domain):
        yield from _delete(found)


def notes(desired: Desired, existing: Existing) -> Iterator[str]:
    """What the deletion of a domain means for pages."""
    for found in _own(existing, desired.settings.domain):
        if _others(found):
            yield _kept(found)
        else:
            address = _url(found.name, "")
            yield (
                f"custom domain {found.name} is deleted: events that pages still send to {address} are lost; to keep "
                "it, set aws.domain to it again"
            )


def delete(existing: Existing, notes: list[str]) -> Iterator[Step]:
    """Delete every domain of ours."""
    for found in _own(existing, None):
        if _others(found):
            notes.append(_kept(found))
        yield from _delete(found)


def _own(existing: Existing, configured: str | None) -> list[Domain]:
    return [found for name, found in sorted(existing.domains.items()) if found.is_own and name != configured]


def _others(found: Domain) -> set[str]:
    """The keys of mappings that somebody added."""
    return set(found.mappings) - {"", REPORTS}


def _kept(found: Domain) -> str:
    others = ", ".join(_url(found.name, key) for key in sorted(_others(found)))
    return f"custom domain {found.name} is kept, but without the mappings of Gimel, because it serves {others} too"


def _delete(found: Domain) -> Iterator[Step]:
    """Delete our mappings, and the domain unless it has others."""
    for key, mapping in sorted(found.mappings.items()):
        if key not in _others(found):
            params = {"ApiMappingId": mapping["ApiMappingId"]}
            yield _target(found.name).remove("delete_api_mapping", f"unmap {_url(found.name, key)}", params)
    if not _others(found):
        yield _target(found.name).remove("delete_domain_name", f"delete custom domain {found.name}")


def _target(name: str) -> Target:
    return Target("apigatewayv2", {"DomainName": name})


def _arn(names: Names, name: str) -> str:
    return names.account.arn("apigateway", f"/domainnames/{name}", owned=False)


def _url(name: str, key: str) -> str:
    return f"https://{name}/{key}"
