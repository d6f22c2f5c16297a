"""Plans that undo a deploy: a rollback to an earlier release, and the removal of a whole deployment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gimel.ops.aws.errors import NothingToRollBack
from gimel.ops.aws.existing import Existing, Function
from gimel.ops.aws.history import UNKNOWN, History
from gimel.ops.aws.names import LIVE, STAGE, Names, is_of

from . import alarms, functions, http_api, queues, role
from .steps import Plan, Step, Target, patch


def rollback(existing: Existing, release: str | None = None) -> Plan:
    """Point `live` of every function to the release that was live before, or to the named one.

    A function that has no version of that release stays as it is. Raises NothingToRollBack.
    """
    live = [function for _, function in sorted(existing.functions.items()) if function.live is not None]
    if not live:
        raise NothingToRollBack("there is nothing to roll back", "run `gimel deploy` first")
    target = release or _release_before(live)
    versions = {function.name: _newest_version(function, target) for function in live}
    if not any(versions.values()):
        which = f"version of release {release}" if release else "version of an earlier release that supports this API"
        raise NothingToRollBack(f"the functions have no {which}", "deploy an earlier state of your files instead")
    steps, notes = [], []
    for function in live:
        version = versions[function.name]
        if version is None:
            notes.append(f"{function.name} has no version of release {target} and stays as it is")
        elif function.live != version:
            description = f"point alias {LIVE} of {function.name} to version {version}, release {target}"
            description += f" (now version {function.live})"
            history = function.history.rolled_back_to(str(target))
            steps.append(functions.move_alias(function.name, str(version), history, description))
    return Plan(tuple(steps), notes=tuple(notes))


def _release_before(live: list[Function]) -> str | None:
    """The release that was live before; after an interruption, the one that only some functions have reached."""
    histories = {function.history for function in live} - {History()}
    ordered = sorted(histories, key=lambda history: (not history.rolled_back_from, len(history.releases)))
    for history in ordered:
        head = history.releases[0]
        having = [function.history.releases for function in live if _newest_version(function, head)]
        if any(releases[:1] != (head,) for releases in having) and all(head in releases for releases in having):
            return head
    longest = max((history.releases for history in histories), key=len, default=())
    earlier = [name for name in longest[1:] if name != longest[0]]
    return next((name for name in earlier if any(_newest_version(function, name) for function in live)), None)


def _newest_version(function: Function, release: str | None) -> int | None:
    # Versions of Gimel 1.x, which name no release, do not support the API as it is now.
    return max((number for number, name in function.releases.items() if name and name == release), default=None)


def restore(before: Existing, now: Existing | None = None) -> Plan:
    """Point `live` of every function to the version that it pointed to before, with the environment of that version.

    Given the state `now`, only what differs is moved, and the release that is left is recorded.
    """
    steps = []
    for name, function in sorted(before.functions.items()):
        version, after = function.live, now.functions.get(name) if now else None
        # A version of Gimel 1.x would not understand the new API.
        if version is None or not function.releases[version] or (now and (not after or after.live == version)):
            continue
        left = (after.history.releases[:1] if after else ()) or (UNKNOWN,)
        history = replace(function.history, rolled_back_from=function.history.rolled_back_from or left[0])
        description = f"point alias {LIVE} of {name} back to version {version}"
        steps.append(functions.move_alias(name, str(version), history, description))
    return Plan(tuple(steps))


def destroy(existing: Existing, names: Names) -> Plan:
    """Delete everything that is marked as created by this deployment, from the outside in. Redis is not touched."""
    notes = list(existing.notes)
    steps, api = [*alarms.delete(names, existing), *_key(existing, names, notes)], existing.api
    if api and is_of(names.deployment, api.description):
        target = Target("apigateway", {"restApiId": api.id})
        steps.append(target.remove("delete_rest_api", f"delete API {names.base} ({api.id})"))
    steps += http_api.delete(names, existing)
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
