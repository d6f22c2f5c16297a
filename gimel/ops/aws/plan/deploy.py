"""The plan of a deploy: from the existing state to the desired one. Nothing here calls AWS."""

from __future__ import annotations

import json
from collections.abc import Iterator

from gimel.access import WRITE
from gimel.ops.aws.desired import ADDRESS, Desired
from gimel.ops.aws.existing import Existing

from . import alarms, api_key, domain, functions, gateway, http_api, queues, role, schedule
from .steps import Plan, Step


def deploy(desired: Desired, existing: Existing) -> Plan:
    """The steps from the existing state to the desired one; none if they are the same.

    The deployment serves requests after every step: the stage keeps the old API until the new one is complete, and
    the new functions accept the events of an old API too. What only the old ones needed is deleted last.

    Raises NameTaken.
    """
    new_keys = api_key.new_values(existing)
    desired = api_key.with_keys(desired, existing, new_keys)
    api = list(gateway.api(desired, existing))
    steps = [
        *api_key.keys(desired, existing, new_keys),
        *functions.log_groups(desired, existing),
        *queues.queues(desired, existing),
        *role.prepare(desired, existing),
        *functions.functions(desired, existing),
        *queues.mapping(desired, existing),
        *http_api.api(desired, existing),
        *api,
        *gateway.permissions(desired, existing),
        *http_api.routes(desired, existing),
        *http_api.stage(desired, existing),
        *gateway.release(desired, existing, bool(api)),
        *api_key.admit(desired, existing, new_keys),
        *schedule.schedule(desired, existing),
        *alarms.alarms(desired, existing),
        *domain.domain(desired, existing),
        *domain.stale(desired, existing),
        *functions.prune(desired, existing),
        *_stale_functions(desired, existing),
        *queues.remove(desired, existing),
        *role.tighten(desired, existing),
    ]
    known = values(existing, desired.settings.domain)
    return Plan(tuple(steps), known, (*desired.notes, *_notes(desired, existing)))


def values(existing: Existing, configured: str | None = None) -> dict[str, str]:
    """The ids that are known already, and the configured domain if it exists, by the names of their `Ref`s."""
    known = {**gateway.values(existing), **http_api.values(existing), **api_key.values(existing)}
    return {**known, **domain.values(configured, existing)}


def _stale_functions(desired: Desired, existing: Existing) -> Iterator[Step]:
    """Delete functions that this deployment created but no longer needs."""
    needed = {function.name for function in desired.functions}
    for name, found in sorted(existing.functions.items()):
        if name not in needed and found.belongs_to(desired.settings.name):
            yield from functions.delete(name, desired.names.log_group(name), existing)


def _notes(desired: Desired, existing: Existing) -> list[str]:
    notes = [*existing.notes, *queues.notes(desired, existing), *http_api.notes(desired, existing)]
    notes += [*alarms.notes(desired, existing), *domain.notes(desired, existing)]
    notes += _moved_redis(desired, existing)
    base = desired.names.base
    if desired.settings.access_log and not existing.can_log_access:
        which = "no access log of the REST API" if http_api.is_wanted(desired, existing) else "no access log"
        notes.append(f"{which}: API Gateway has no role to write logs in this region; see docs/deploying.md")
    if existing.other_role_users and list(role.tighten(desired, existing)):
        others = ", ".join(existing.other_role_users)
        notes.append(f"role {base} loses permissions that these other functions may need: {others}")
    if existing.role and base in existing.role.policies:
        notes.append(
            f"role {base} loses the permissions of Gimel 1.x; a Gimel 1.x in another region of this account uses the "
            "same role and would stop working"
        )
    for vpc, names in sorted(_left_vpcs(desired, existing).items()):
        notes.append(
            f"{', '.join(names)} will leave the VPC and can then no longer reach a private Redis in it; to stay, "
            f'add this to the aws section: "vpc": {vpc}'
        )
    notes += [
        f"an API key is in usage plan {plan.name or plan.id}, which Gimel did not create and leaves as is"
        for plan in existing.foreign_plans
    ]
    if existing.other_keys:
        others = ", ".join(sorted(existing.other_keys))
        notes.append(f"API keys that Gimel did not make are in a usage plan of the API and can write, too: {others}")
    if existing.api and not any(key.known.kind == WRITE for key in existing.keys):
        notes.append(f"API key {base} no longer exists; the new one has a different value, so update your dashboards")
    notes += [
        f"a {key.known.kind} key that was replaced is valid until {api_key.at(key.known.until)}"
        for key in existing.keys
        if key.known.until is not None and not key.is_expired
    ]
    if left := sorted({found.history.rolled_back_from or "" for found in existing.functions.values()} - {""}):
        notes.append(f"a rollback is in effect and ends with this deploy: it was made from release {', '.join(left)}")
    return notes


def _moved_redis(desired: Desired, existing: Existing) -> Iterator[str]:
    """Whether the function that tracks has counted in another Redis until now."""
    tracking = desired.functions[0]
    found = existing.functions.get(tracking.name)
    before = functions.variables_of(found.versions.get(found.live or 0, {})).get(ADDRESS) if found else None
    now = functions.variables_of(tracking.configuration)[ADDRESS]
    if before and before != now:
        yield f"events will be counted in ANOTHER Redis, {now}; what was counted in {before} stays there"


def _left_vpcs(desired: Desired, existing: Existing) -> dict[str, list[str]]:
    """The functions that are in a VPC and are going to leave it, by that VPC in the form of config.json."""
    left: dict[str, list[str]] = {}
    for function in desired.functions:
        found = existing.functions.get(function.name)
        before = (found.latest.get("VpcConfig") if found else None) or {}
        if before.get("SubnetIds") and not function.configuration["VpcConfig"]["SubnetIds"]:
            keys = {"subnet_ids": "SubnetIds", "security_group_ids": "SecurityGroupIds"}
            vpc = json.dumps({key: sorted(before.get(name) or []) for key, name in keys.items()})
            left.setdefault(vpc, []).append(function.name)
    return left
