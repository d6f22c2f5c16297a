"""Plans: the wanted and the observed state in, steps out. Nothing here calls AWS."""

from __future__ import annotations

import json

from gimel.ops.aws.desired import Wanted
from gimel.ops.aws.existing import Function, Observed
from gimel.ops.aws.names import LIVE

from . import api_key, functions, gateway, role
from .steps import Plan, Step


def deploy(wanted: Wanted, observed: Observed) -> Plan:
    """The steps from what is observed to what is wanted; none where all is as wanted.

    Every step leaves the deployment answering: the stage goes on with the old API until the new one is complete, and
    an old API with the new functions, which take its events too. What only the old one needed goes last.
    """
    api = list(gateway.api(wanted, observed))
    steps = [
        *functions.log_groups(wanted, observed),
        *role.before(wanted, observed),
        *functions.functions(wanted, observed),
        *api,
        *gateway.permissions(wanted, observed),
        *gateway.release(wanted, observed, bool(api)),
        *api_key.key(wanted, observed),
        *functions.prune(wanted, observed),
        *_stale_functions(wanted, observed),
        *role.after(wanted, observed),
    ]
    return Plan(tuple(steps), gateway.known(observed), (*wanted.notes, *_notes(wanted, observed)))


def _stale_functions(wanted: Wanted, observed: Observed) -> list[Step]:
    names = {function.name for function in wanted.functions}
    stale = observed.stale_functions(wanted.settings.name, names)
    return [
        step
        for function in stale
        for step in functions.remove(function.name, wanted.names.log_group(function.name), observed)
    ]


def _notes(wanted: Wanted, observed: Observed) -> list[str]:
    notes = list(observed.notes)
    base = wanted.names.base
    if wanted.settings.access_log and not observed.gateway_may_log:
        notes.append("no access log: API Gateway has no role to write logs with in this region; see docs/deploying.md")
    if observed.others_with_role and list(role.after(wanted, observed)):
        listed = ", ".join(observed.others_with_role)
        notes.append(f"role {base} loses rights that these functions, which are not Gimel's, may use: {listed}")
    found = observed.role
    if found and base in found.policies:
        notes.append(
            f"role {base} loses the rights of Gimel 1.x; a Gimel 1.x in another region of this account uses the same "
            "role, and would stop working"
        )
    for vpc, names in sorted(_left_vpcs(wanted, observed).items()):
        notes.append(
            f"{', '.join(names)} will no longer be in a VPC, and can then not reach a private Redis in it; to stay, "
            f'write into the section aws: "vpc": {vpc}'
        )
    if observed.foreign_plan:
        plan = observed.foreign_plan
        notes.append(f"the API key works through the usage plan {plan.name or plan.id}, made by hand; it is left alone")
    if observed.api and not observed.key:
        notes.append(f"the API key is gone; the new one has another value, which your dashboards need ({base})")
    rolled_back = sorted(name for name, found in observed.functions.items() if _is_behind(found))
    if rolled_back:
        notes.append(f"a rollback is in force, which this ends: {LIVE} of {', '.join(rolled_back)} is not the newest")
    return notes


def _left_vpcs(wanted: Wanted, observed: Observed) -> dict[str, list[str]]:
    """The functions that are in a VPC and are not to be, by their VPC as config.json would name it."""
    left: dict[str, list[str]] = {}
    for function in wanted.functions:
        found = observed.functions.get(function.name)
        before = (found.latest.get("VpcConfig") if found else None) or {}
        if before.get("SubnetIds") and not function.configuration["VpcConfig"]["SubnetIds"]:
            keys = {"subnet_ids": "SubnetIds", "security_group_ids": "SecurityGroupIds"}
            vpc = json.dumps({key: sorted(before.get(name) or []) for key, name in keys.items()})
            left.setdefault(vpc, []).append(function.name)
    return left


def _is_behind(found: Function) -> bool:
    return found.live is not None and found.live < max(found.versions, default=0)
