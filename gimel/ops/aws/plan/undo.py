"""Plans that take something back: a rollback to an earlier release, and the removal of a whole deployment."""

from __future__ import annotations

from collections.abc import Iterator

from gimel.errors import GimelError
from gimel.ops.aws.existing import Function, Observed
from gimel.ops.aws.names import LIVE, STAGE, Names, is_of

from . import functions, role
from .steps import MISSING, Plan, Step


def rollback(observed: Observed, release: str | None = None) -> Plan:
    """Move `live` of every function to the release before the one that is live, or to the one named.

    All functions move to the same release, the newest that each of them has; one that is younger stays as it is.
    Raises GimelError where there is none.
    """
    live = [function for _, function in sorted(observed.functions.items()) if function.live is not None]
    if not live:
        raise GimelError("there is nothing to roll back", "deploy first")
    earlier = {function.name: _earlier(function, release) for function in live}
    old = [function for function in live if earlier[function.name]]
    shared = set.intersection(*(set(earlier[function.name]) for function in old)) if old else set()
    if not shared:
        wanted = f"of release {release}" if release else "of an earlier release that could answer this API"
        hint = "deploy an earlier state of your files instead"
        raise GimelError(f"the functions have no versions {wanted}", hint)
    first = old[0]
    target = max(shared, key=lambda found: earlier[first.name][found])
    steps = []
    for function in old:
        version = str(earlier[function.name][target])
        does = f"move {LIVE} of {function.name} from {function.live} to {version} (release {target})"
        if function.live != int(version):
            steps.append(functions.move_alias(function.name, version, does))
    notes = tuple(f"{function.name} has no earlier version, and stays" for function in live if function not in old)
    return Plan(tuple(steps), notes=notes)


def _earlier(function: Function, release: str | None) -> dict[str, int]:
    """The newest version of each release before the live one; of the release named, before or after."""
    live = function.live or 0
    found = {}
    for number, name in sorted(function.releases.items()):
        # Versions of Gimel 1.x cannot answer the API as it is now.
        if name and number != live and (number < live or release) and release in (None, name):
            found[name] = number
    return found


def destroy(observed: Observed, names: Names) -> Plan:
    """Remove all that deploy made and marked as its own, from the outside in. Redis is not touched."""
    notes = list(observed.notes)
    steps: list[Step] = [*_key(observed, names, notes), *_api(observed, names)]
    for name, function in sorted(observed.functions.items()):
        if is_of(names.deployment, function.latest.get("Description", "")):
            steps += functions.remove(name, names.log_group(name), observed)
        else:
            notes.append(f"function {name} is not marked as made by this deployment, and stays")
    planned = {step.params.get("logGroupName") for step in steps}
    for group in sorted(set(observed.log_groups) - planned):
        if observed.log_group_tags[group].get("gimel:deployment") == names.deployment:
            steps += functions.remove_log_group(group, observed)
    steps += _role(observed, names, notes)
    return Plan(tuple(steps), notes=tuple(notes))


def _key(observed: Observed, names: Names, notes: list[str]) -> Iterator[Step]:
    plan, key, api = observed.usage_plan, observed.key, observed.api
    if plan:
        params = {"usagePlanId": plan.id}
        ours = f"{api.id}:{STAGE}" if api else ""
        if ours in plan.stages:
            patch = [{"op": "remove", "path": "/apiStages", "value": ours}]
            does = f"take the stage off usage plan {names.base}"
            yield Step(does, "apigateway", "update_usage_plan", {**params, "patchOperations": patch}, tolerates=MISSING)
        if set(plan.stages) <= {ours} and set(plan.keys) <= {key.id if key else ""}:
            yield Step(f"delete usage plan {names.base}", "apigateway", "delete_usage_plan", params, tolerates=MISSING)
        else:
            notes.append(f"usage plan {names.base} stays, for it has other keys or stages")
    if key and is_of(names.deployment, key.description):
        params = {"apiKey": key.id}
        yield Step(f"delete API key {names.base}", "apigateway", "delete_api_key", params, tolerates=MISSING)


def _api(observed: Observed, names: Names) -> Iterator[Step]:
    if observed.api and is_of(names.deployment, observed.api.description):
        params = {"restApiId": observed.api.id}
        does = f"delete API {names.base} ({observed.api.id})"
        yield Step(does, "apigateway", "delete_rest_api", params, tolerates=MISSING)


def _role(observed: Observed, names: Names, notes: list[str]) -> list[Step]:
    found = observed.role
    if not found or found.tags.get("gimel:deployment") != names.deployment:
        return []
    if observed.others_with_role:
        listed = ", ".join(observed.others_with_role)
        notes.append(f"role {names.base} stays, for other functions use it: {listed}")
        return []
    if any(function.is_in_vpc for function in observed.functions.values()):
        notes.append(
            f"role {names.base} stays until Lambda has removed the functions' network interfaces with it, which can "
            "take an hour; then run this again"
        )
        return []
    return list(role.remove(found, names))
