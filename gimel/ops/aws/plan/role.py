"""Steps for the role of the functions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from gimel.ops.aws import policies
from gimel.ops.aws.desired import Wanted
from gimel.ops.aws.existing import Observed, Role
from gimel.ops.aws.names import Names, marker

from .steps import MISSING, Step

TRUST = policies.as_text(policies.TRUST)


def before(wanted: Wanted, observed: Observed) -> Iterator[Step]:
    """The role, with all that the new functions need. What the running ones need besides stays until `after`."""
    name, role = wanted.names.base, observed.role
    params = {"RoleName": name}
    tags = [{"Key": key, "Value": value} for key, value in sorted(wanted.tags.items())]
    if role is None:
        text = marker(wanted.settings.name)
        made = {**params, "AssumeRolePolicyDocument": TRUST, "Description": text, "Tags": tags}
        yield Step(f"create role {name}", "iam", "create_role", made, waiter="role_exists", waiter_params=params)
    elif not wanted.is_tagged(role.tags):
        yield Step(f"tag role {name}", "iam", "tag_role", {**params, "Tags": tags})
    trust = _widened(role.trust, TRUST) if role else TRUST
    if role and role.trust != trust:
        yield _trust(name, trust, f"let Lambda assume role {name}")
    found = role.policies.get(wanted.names.policy) if role else None
    policy = _widened(found, _policy(wanted, observed)) if found else _policy(wanted, observed)
    if found != policy:
        yield _put(wanted, policy, f"let role {name} do what the functions need")


def after(wanted: Wanted, observed: Observed) -> Iterator[Step]:
    """Takes away what only earlier functions, or Gimel 1.x, needed. Only when nothing runs through it any more."""
    name, role = wanted.names.base, observed.role
    if role is None:
        return
    params = {"RoleName": name}
    found, policy = role.policies.get(wanted.names.policy), _policy(wanted, observed)
    if found and _widened(found, policy) != policy:
        yield _put(wanted, policy, f"let role {name} do no more than the functions need")
    for other in sorted(set(role.policies) - {wanted.names.policy}):
        if not _is_other_region(name, other):
            gone = {**params, "PolicyName": other}
            yield Step(f"take policy {other} from role {name}", "iam", "delete_role_policy", gone, tolerates=MISSING)
    yield from _detach(role, name)
    if _widened(role.trust, TRUST) != TRUST:
        yield _trust(name, TRUST, f"let only Lambda assume role {name}")


def remove(role: Role, names: Names) -> Iterator[Step]:
    """Delete the role; or only our policy, where deployments in other regions use the role too."""
    name = names.base
    params = {"RoleName": name}
    elsewhere = {policy for policy in role.policies if policy != names.policy and _is_other_region(name, policy)}
    for policy in sorted(set(role.policies) - elsewhere):
        gone = {**params, "PolicyName": policy}
        yield Step(f"delete policy {policy} of role {name}", "iam", "delete_role_policy", gone, tolerates=MISSING)
    if elsewhere:
        return
    yield from _detach(role, name)
    yield Step(f"delete role {name}", "iam", "delete_role", params, tolerates=MISSING)


def _policy(wanted: Wanted, observed: Observed) -> str:
    """With the rights to have network interfaces for as long as a version that is kept for a rollback has some."""
    kept_in_vpc = any(function.is_in_vpc for function in observed.functions.values())
    return wanted.role_policy_in_vpc if kept_in_vpc else wanted.role_policy


def _widened(found: str, wanted: str) -> str:
    """A policy as it is, with the statements that it lacks of the one that is wanted."""
    document, more = json.loads(found), json.loads(wanted)
    statements = document.get("Statement", [])
    statements = statements if isinstance(statements, list) else [statements]
    lacking = [statement for statement in more["Statement"] if statement not in statements]
    return policies.as_text({**more, **document, "Statement": [*statements, *lacking]}) if lacking else found


def _is_other_region(base: str, policy: str) -> bool:
    """Whether a policy of our role is that of a deployment in some region."""
    return re.fullmatch(rf"{re.escape(base)}-[a-z]{{2,4}}(-[a-z]+)+-\d", policy) is not None


def _put(wanted: Wanted, policy: str, does: str) -> Step:
    params = {"RoleName": wanted.names.base, "PolicyName": wanted.names.policy, "PolicyDocument": policy}
    return Step(does, "iam", "put_role_policy", params)


def _trust(name: str, trust: str, does: str) -> Step:
    params = {"RoleName": name, "PolicyDocument": trust}
    return Step(does, "iam", "update_assume_role_policy", params)


def _detach(role: Role, name: str) -> Iterator[Step]:
    for arn in role.attached:
        gone = {"RoleName": name, "PolicyArn": arn}
        yield Step(f"take policy {arn} from role {name}", "iam", "detach_role_policy", gone, tolerates=MISSING)
