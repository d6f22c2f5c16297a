"""Steps for the role of the functions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from gimel.ops.aws import policies
from gimel.ops.aws.desired import Desired, password_of
from gimel.ops.aws.existing import Existing, Role
from gimel.ops.aws.names import Names, marker

from . import functions, queues
from .steps import Step, Target

TRUST = policies.as_text(policies.TRUST)


def prepare(desired: Desired, existing: Existing) -> Iterator[Step]:
    """The role with all permissions that the new functions need. Those of the running ones stay until `tighten`."""
    name, found = desired.names.base, existing.role
    tags = [{"Key": key, "Value": value} for key, value in sorted(desired.tags.items())]
    if found is None:
        made = {"AssumeRolePolicyDocument": TRUST, "Description": marker(desired.settings.name), "Tags": tags}
        outputs = {functions.NEW_ROLE.name: "Role.RoleId"}
        yield _target(name).step("create_role", f"create role {name}", made, outputs=outputs, waiter="role_exists")
    elif not desired.is_tagged(found.tags):
        yield _target(name).step("tag_role", f"tag role {name}", {"Tags": tags})
    trust = _merged(found.trust, TRUST) if found else TRUST
    if found and found.trust != trust:
        yield _put_trust(name, trust, f"allow Lambda to assume role {name}")
    before = found.policies.get(desired.names.policy) if found else None
    policy = _merged(before, _policy(desired, existing)) if before else _policy(desired, existing)
    if before != policy:
        yield _put_policy(desired.names, policy, f"add required permissions to role {name}")


def tighten(desired: Desired, existing: Existing) -> Iterator[Step]:
    """Remove what only earlier functions, or Gimel 1.x, needed. This goes last, when none of them runs any more."""
    name, found = desired.names.base, existing.role
    if found is None:
        return
    before, policy = found.policies.get(desired.names.policy), _policy(desired, existing)
    if before and _merged(before, policy) != policy:
        yield _put_policy(desired.names, policy, f"remove unneeded permissions from role {name}")
    yield from _delete_policies(name, set(found.policies) - {desired.names.policy} - _of_other_regions(found, name))
    yield from _detach_policies(name, found)
    if _merged(found.trust, TRUST) != TRUST:
        yield _put_trust(name, TRUST, f"allow only Lambda to assume role {name}")


def delete(role: Role, names: Names) -> Iterator[Step]:
    """Delete the role; or only this region's policy, if deployments in other regions use the role too."""
    name = names.base
    other_regions = _of_other_regions(role, name) - {names.policy}
    yield from _delete_policies(name, set(role.policies) - other_regions)
    if not other_regions:
        yield from _detach_policies(name, role)
        yield _target(name).remove("delete_role", f"delete role {name}")


def _target(name: str) -> Target:
    return Target("iam", {"RoleName": name})


def _policy(desired: Desired, existing: Existing) -> str:
    """Includes the network and the passwords of the versions that are kept for a rollback."""
    in_vpc = bool(desired.settings.subnet_ids) or any(function.is_in_vpc for function in existing.functions.values())
    kept = [version for _, version in functions.kept_versions(desired, existing)]
    return desired.role_policy(in_vpc, queues.keeps_queues(desired, existing), map(password_of, kept))


def _merged(found: str, desired: str) -> str:
    """The existing policy, plus those statements of the desired one that it lacks."""
    document, more = json.loads(found), json.loads(desired)
    statements = document.get("Statement", [])
    statements = statements if isinstance(statements, list) else [statements]
    lacking = [statement for statement in more["Statement"] if statement not in statements]
    return policies.as_text({**more, **document, "Statement": [*statements, *lacking]}) if lacking else found


def _of_other_regions(role: Role, base: str) -> set[str]:
    """The policies that are named after a region, which deployments there use."""
    return {name for name in role.policies if re.fullmatch(rf"{re.escape(base)}-[a-z]{{2,4}}(-[a-z]+)+-\d", name)}


def _put_policy(names: Names, policy: str, description: str) -> Step:
    params = {"PolicyName": names.policy, "PolicyDocument": policy}
    return _target(names.base).step("put_role_policy", description, params)


def _put_trust(name: str, trust: str, description: str) -> Step:
    return _target(name).step("update_assume_role_policy", description, {"PolicyDocument": trust})


def _delete_policies(name: str, policies: set[str]) -> Iterator[Step]:
    for policy in sorted(policies):
        description = f"delete policy {policy} of role {name}"
        yield _target(name).remove("delete_role_policy", description, {"PolicyName": policy})


def _detach_policies(name: str, role: Role) -> Iterator[Step]:
    for arn in role.attached:
        yield _target(name).remove("detach_role_policy", f"detach policy {arn} from role {name}", {"PolicyArn": arn})
