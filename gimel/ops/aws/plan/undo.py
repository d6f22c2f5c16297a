"""Plans that undo a deploy: a rollback to an earlier release, and the removal of a whole deployment."""

from __future__ import annotations

from collections.abc import Iterator

from gimel.ops.aws.errors import NothingToRollBack
from gimel.ops.aws.existing import Existing, Function
from gimel.ops.aws.names import LIVE, STAGE, Names, is_of

from . import functions, queues, role
from .steps import Plan, Step, Target, patch


def rollback(existing: Existing, release: str | None = None) -> Plan:
    """Point `live` of every function to the previous release, or to the named one.

    All functions go to the same release, the newest that each of them has; a function that is newer than that stays
    as it is. Raises NothingToRollBack.
    """
    live = [function for _, function in sorted(existing.functions.items()) if function.live is not None]
    if not live:
        raise NothingToRollBack("there is nothing to roll back", "run `gimel deploy` first")
    earlier = {function.name: _earlier(function, release) for function in live}
    old = [function for function in live if earlier[function.name]]
    shared = set.intersection(*(set(earlier[function.name]) for function in old)) if old else set()
    if not shared:
        which = f"version of release {release}" if release else "version of an earlier release that supports this API"
        raise NothingToRollBack(f"the functions have no {which}", "deploy an earlier state of your files instead")
    target = max(shared, key=lambda found: earlier[old[0].name][found])
    steps = []
    for function in old:
        version = earlier[function.name][target]
        if function.live != version:
            description = f"point alias {LIVE} of {function.name} to version {version}, release {target}"
            description += f" (now version {function.live})"
            steps.append(functions.move_alias(function.name, str(version), description))
    kept = [function.name for function in live if function not in old]
    return Plan(tuple(steps), notes=tuple(f"{name} has no earlier version and stays as it is" for name in kept))


def _earlier(function: Function, release: str | None) -> dict[str, int]:
    """The newest version of each release before the live one; of a named release, before or after it."""
    live = function.live or 0
    found = {}
    for number, name in sorted(function.releases.items()):
        # Versions of Gimel 1.x, which name no release, do not support the API as it is now.
        if name and number != live and (number < live or release) and release in (None, name):
            found[name] = number
    return found


def destroy(existing: Existing, names: Names) -> Plan:
    """Delete everything that is marked as created by this deployment, from the outside in. Redis is not touched."""
    notes = list(existing.notes)
    steps, api = list(_key(existing, names, notes)), existing.api
    if api and is_of(names.deployment, api.description):
        target = Target("apigateway", {"restApiId": api.id})
        steps.append(target.remove("delete_rest_api", f"delete API {names.base} ({api.id})"))
    steps += queues.delete(names, existing)
    for name, function in sorted(existing.functions.items()):
        if function.belongs_to(names.deployment):
            steps += functions.delete(name, names.log_group(name), existing)
        else:
            notes.append(f"function {name} is not marked as created by this deployment and is kept")
    planned = {step.params.get("logGroupName") for step in steps}
    for group in sorted(set(existing.log_groups) - planned):
        if existing.log_group_tags[group].get("gimel:deployment") == names.deployment:
            steps += functions.delete_log_group(group, existing)
    steps += _role(existing, names, notes)
    return Plan(tuple(steps), notes=tuple(notes))


def _key(existing: Existing, names: Names, notes: list[str]) -> Iterator[Step]:
    plan, key, base = existing.usage_plan, existing.key, names.base
    if plan:
        target = Target("apigateway", {"usagePlanId": plan.id})
        own_stage = f"{existing.api.id}:{STAGE}" if existing.api else ""
        if own_stage in plan.stages:
            patches = {"patchOperations": [patch("remove", "/apiStages", own_stage)]}
            description = f"remove the stage from usage plan {base}"
            yield target.remove("update_usage_plan", description, patches)
        if set(plan.stages) <= {own_stage} and set(plan.keys) <= {key.id if key else ""}:
            yield target.remove("delete_usage_plan", f"delete usage plan {base}")
        else:
            notes.append(f"usage plan {base} has other keys or stages and is kept")
    if key and is_of(names.deployment, key.description):
        yield Target("apigateway", {"apiKey": key.id}).remove("delete_api_key", f"delete API key {base}")


def _role(existing: Existing, names: Names, notes: list[str]) -> Iterator[Step]:
    found, base = existing.role, names.base
    if not found or found.tags.get("gimel:deployment") != names.deployment:
        return
    if existing.other_role_users:
        notes.append(f"role {base} is kept because other functions use it: {', '.join(existing.other_role_users)}")
    elif any(function.is_in_vpc for function in existing.functions.values()):
        notes.append(
            f"role {base} is kept because Lambda needs it to remove the functions' network interfaces, which can take "
            "an hour; then rerun `gimel destroy`"
        )
    else:
        yield from role.delete(found, names)
