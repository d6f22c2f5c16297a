"""Steps for functions and log groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gimel.ops.aws.desired import KEPT_SNAPSHOTS, KEPT_VERSIONS, Desired, DesiredFunction
from gimel.ops.aws.existing import Existing, Function
from gimel.ops.aws.history import History
from gimel.ops.aws.names import LIVE, release_of, uploaded_as, without_upload

from . import http_api
from .steps import Ref, Step, Target

ROLE_ID = "GIMEL_ROLE_ID"
NEW_ROLE = Ref("id of the role")


@dataclass(frozen=True)
class Code:
    """A zip: its hash, as in CodeSha256, whether it has compiled files, and what reads it."""

    sha256: str
    compiled: bool
    read: Callable[[], bytes]


def log_groups(desired: Desired, existing: Existing) -> Iterator[Step]:
    """A log group for each function and for the access log, with the configured retention."""
    days, tags = desired.settings.log_retention_days, {"tags": desired.tags}
    access = [desired.names.access_log_group] if _needs_access_log(desired, existing) else []
    for name in [*(desired.names.log_group(function.name) for function in desired.functions), *access]:
        group = _log_group(name)
        if name not in existing.log_groups:
            exists = ("ResourceAlreadyExistsException",)
            yield group.step("create_log_group", f"create log group {name}", tags, tolerates=exists)
        elif not desired.is_tagged(existing.log_group_tags.get(name, {})):
            tagged = Target("logs", {"resourceArn": desired.names.log_group_arn(name)})
            yield tagged.step("tag_resource", f"tag log group {name}", tags)
        before = existing.log_groups.get(name)
        if before != days:
            shortened = name in existing.log_groups and (before is None or before > days)
            description = f"set retention of log group {name} to {days} days"
            description += "; older entries are deleted" if shortened else ""
            yield group.step("put_retention_policy", description, {"retentionInDays": days})


def logs_access(desired: Desired, existing: Existing) -> bool:
    """Whether the REST API is to log requests, and can."""
    return desired.settings.access_log and existing.can_log_access


def _needs_access_log(desired: Desired, existing: Existing) -> bool:
    http = desired.settings.access_log and http_api.is_wanted(desired, existing)
    return http or logs_access(desired, existing)


def functions(desired: Desired, existing: Existing) -> Iterator[Step]:
    """Create or update each function; then publish a version of each; only then move every alias."""
    wanted, code = [for_role(function, existing) for function in desired.functions], _desired_code(desired)
    for function in wanted:
        found = existing.functions.get(function.name)
        if found and found.never_worked:
            description = f"delete function {function.name}, which failed to become active"
            yield target(function.name).remove("delete_function", description)
            found = None
        yield from update(function, found, code) if found else [_create(desired, function)]
        yield from _tags_and_concurrency(desired, function, found)
    versions: dict[str, str | Ref] = {}
    for function in wanted:
        number = matching_version(function, existing.functions.get(function.name), code)
        versions[function.name] = str(number) if number else new_version(function.name)
        if number is None:
            yield publish(function)
    for name, version in versions.items():
        yield from _alias(name, existing.functions.get(name), version, desired.release)


def _desired_code(desired: Desired) -> Code:
    return Code(desired.bundle.sha256, desired.bundle.compiled, lambda: desired.bundle.data)


def for_role(function: DesiredFunction, existing: Existing) -> DesiredFunction:
    """The function with the id of its role among its variables.

    Lambda's right to decrypt the variables of a version belongs to the role that it was published with, even if another
    gets the same name. So a new role has to make a difference, or there would be nothing to update and to publish.
    """
    variables = function.configuration["Environment"]["Variables"]
    variables = {**variables, ROLE_ID: existing.role.id if existing.role else NEW_ROLE}
    return replace(function, configuration={**function.configuration, "Environment": {"Variables": variables}})


def publish(function: DesiredFunction) -> Step:
    """Publish a version, whose number becomes `new_version`."""
    # Without a description, some emulators publish versions that have none.
    params = {"Description": function.configuration["Description"]}
    outputs, description = {new_version(function.name).name: "Version"}, f"publish a new version of {function.name}"
    waiter = "published_version_active"
    return target(function.name).step("publish_version", description, params, outputs=outputs, waiter=waiter)


def new_version(name: str) -> Ref:
    """The number of the version of this function that the plan publishes."""
    return Ref(f"version of {name}")


def target(name: str) -> Target:
    """A function, as the target of steps."""
    return Target("lambda", {"FunctionName": name})


def permission(name: str, statement: str) -> Target:
    """A statement of the policy of a function's alias."""
    return Target("lambda", {"FunctionName": name, "Qualifier": LIVE, "StatementId": statement})


def remove_permission(name: str, statement: str) -> Step:
    """Remove a statement of the policy of a function's alias."""
    return permission(name, statement).remove("remove_permission", f"remove permission {statement} of {name}")


def _log_group(name: str) -> Target:
    return Target("logs", {"logGroupName": name})


def _create(desired: Desired, function: DesiredFunction) -> Step:
    params = {
        **_without_unused(function.configuration, {}),
        "Architectures": function.configuration["Architectures"],
        "Code": {"ZipFile": desired.bundle.data},
        "Tags": desired.tags,
    }
    size = f"{params['Runtime']}, {params['Architectures'][0]}, {params['MemorySize']} MB, {params['Timeout']} s"
    description = f"create function {function.name} ({size})"
    return target(function.name).step("create_function", description, params, waiter="function_active_v2")


def update(function: DesiredFunction, found: Function, code: Code) -> Iterator[Step]:
    """Update the configuration of a function, and its code, as far as they differ."""
    name, waiter = function.name, "function_updated_v2"
    configuration, before = function.configuration, variables_of(found.latest)
    changed = changes(configuration, found.latest)
    has_code = _has_code(code, function, found.latest)
    if not has_code and found.latest.get("Description") != configuration["Description"]:
        changed.add("Description")  # it names the new zip
    new_code = not has_code or "Architectures" in changed
    changed.discard("Architectures")
    role = variables_of(configuration)[ROLE_ID]
    if before and (role is NEW_ROLE or before.get(ROLE_ID, role) != role):
        # What Lambda may decrypt them with was granted to the old role. Without any, it has to be granted anew.
        description = f"remove the environment of {name}, which belongs to a role that no longer exists"
        nothing: dict[str, Any] = {"Environment": {"Variables": {}}}
        yield target(name).step("update_function_configuration", description, nothing, waiter=waiter)
    if changed or found.latest.get("LastUpdateStatus") == "Failed":
        # First, because AWS accepts no new code for a function whose runtime it has retired.
        summary = _summary(configuration, found.latest, changed) if changed else "retry the failed update"
        params = _without_unused(configuration, found.latest)
        yield target(name).step("update_function_configuration", f"update {name}: {summary}", params, waiter=waiter)
    if new_code:
        params = {"ZipFile": code.read(), "Architectures": configuration["Architectures"]}
        yield target(name).step("update_function_code", f"update code of {name}", params, waiter=waiter)


def _has_code(code: Code, function: DesiredFunction, found: Mapping[str, Any]) -> bool:
    """Whether a function or version has the desired code: this zip, or another with the same sources.

    Two machines may compile the same sources differently. A release has one digest of sources, and the description
    names the zip that was uploaded with it, so code that was changed by hand is not mistaken for one of these.
    """
    sha256, text = found.get("CodeSha256") or "", found.get("Description") or ""
    how, _, start = uploaded_as(text).partition(" ")
    same_release = release_of(text) == release_of(function.configuration["Description"])
    is_as_good = how == "compiled" or not code.compiled
    return sha256 == code.sha256 or (bool(start) and sha256.startswith(start) and same_release and is_as_good)


def _without_unused(configuration: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without VPC and SnapStart settings that are off already: not every region supports them."""
    params = {key: value for key, value in configuration.items() if key != "Architectures"}
    for key in ("VpcConfig", "SnapStart"):
        is_off = not any(item and item != "None" for item in configuration[key].values())
        if is_off and _normal(key, found.get(key)) == _normal(key, configuration[key]):
            del params[key]
    return params


def changes(configuration: Mapping[str, Any], found: Mapping[str, Any]) -> set[str]:
    """The settings whose values differ from the desired ones."""
    return {key for key, value in configuration.items() if _normal(key, found.get(key)) != _normal(key, value)}


def _normal(key: str, value: Any) -> Any:
    value = value or {}
    if key == "Description":
        return without_upload(value or "")
    if key == "VpcConfig":
        return [sorted(value.get(part) or []) for part in ("SubnetIds", "SecurityGroupIds")]
    if key == "SnapStart":
        return value.get("ApplyOn", "None")
    if key == "Environment":
        return value.get("Variables") or {}
    return value or (["x86_64"] if key == "Architectures" else value)


def _summary(configuration: Mapping[str, Any], found: Mapping[str, Any], changed: set[str]) -> str:
    plain = [key for key in ("Runtime", "Handler", "MemorySize", "Timeout") if key in changed]
    values = [f"{key} {found.get(key)} -> {configuration[key]}" for key in plain]
    return ", ".join(values + sorted(changed - set(plain) - {"Description"})) or "release"


def _tags_and_concurrency(desired: Desired, function: DesiredFunction, found: Function | None) -> Iterator[Step]:
    name, reserved = function.name, function.reserved_concurrency
    if found and not desired.is_tagged(found.tags):
        tagged = Target("lambda", {"Resource": desired.names.function_arn(name)})
        yield tagged.step("tag_resource", f"tag {name}", {"Tags": desired.tags})
    if reserved == (found.reserved_concurrency if found else None):
        return
    if reserved is None:
        yield target(name).step("delete_function_concurrency", f"remove reserved concurrency of {name}")
    else:
        description = f"reserve {reserved} concurrent executions for {name}"
        yield target(name).step("put_function_concurrency", description, {"ReservedConcurrentExecutions": reserved})


def variables_of(configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    """The environment of a function or version."""
    return (configuration.get("Environment") or {}).get("Variables") or {}


def matching_version(function: DesiredFunction, found: Function | None, code: Code) -> int | None:
    """The newest published version with this code and the desired configuration; None if there is none."""
    versions = found.versions if found else {}
    matching = [
        number
        for number, version in versions.items()
        if _has_code(code, function, version) and not changes(function.configuration, version)
    ]
    return max(matching, default=None)


def _alias(name: str, found: Function | None, version: str | Ref, release: str) -> Iterator[Step]:
    alias = found.aliases.get(LIVE) if found else None
    history = (found.history if found else History()).deployed(release)
    shown = "the new version" if isinstance(version, Ref) else f"version {version}"
    if alias is None:
        description = f"create alias {LIVE} of {name}, pointing to {shown}"
        params = {"Name": LIVE, "FunctionVersion": version, "Description": str(history)}
        yield target(name).step("create_alias", description, params)
    elif alias.version != version:
        description = f"point alias {LIVE} of {name} to {shown} (now version {alias.version})"
        yield move_alias(name, version, history, description)
    elif alias.others:
        description = f"route all requests for {name} to {shown} (now shared with version {', '.join(alias.others)})"
        yield move_alias(name, version, history, description)
    elif alias.description != str(history):
        yield move_alias(name, version, history, f"record the order of releases in alias {LIVE} of {name}")


def move_alias(name: str, version: str | Ref, history: History, description: str) -> Step:
    """Point `live` of a function to one version, which then gets all requests, and record the order of releases."""
    routing: dict[str, Any] = {"AdditionalVersionWeights": {}}
    params = {"Name": LIVE, "FunctionVersion": version, "Description": str(history), "RoutingConfig": routing}
    return target(name).step("update_alias", description, params)


def prune(desired: Desired, existing: Existing) -> Iterator[Step]:
    """Delete the versions that are not kept."""
    kept = {(name, version["Version"]) for name, version in kept_versions(desired, existing)}
    for function in desired.functions:
        found = existing.functions.get(function.name)
        for number in sorted(found.versions) if found else ():
            if (function.name, str(number)) not in kept:
                description = f"delete version {number} of {function.name}"
                yield target(function.name).remove("delete_function", description, {"Qualifier": str(number)})


def kept_versions(desired: Desired, existing: Existing) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The existing versions, by function, that this deploy keeps: five with the new one, and any with an alias.

    Those of the last releases come first, then the newest of the others. Of versions with SnapStart, fewer are kept.
    """
    for function in desired.functions:
        if not (found := existing.functions.get(function.name)):
            continue
        live = matching_version(for_role(function, existing), found, _desired_code(desired))
        earlier = found.history.deployed(desired.release).releases[1:]
        newest = sorted(found.versions, reverse=True)
        last = [next((number for number in newest if found.releases[number] == name), None) for name in earlier]
        room, snapshots = KEPT_VERSIONS - (live is None), KEPT_SNAPSHOTS
        snapshots -= live is None and _has_snapshots(function.configuration)
        for number in dict.fromkeys((live, *last, *newest)):
            if number is None:
                continue
            version = found.versions[number]
            keep = room > 0 and (snapshots > 0 or not _has_snapshots(version))
            room, snapshots = room - keep, snapshots - (keep and _has_snapshots(version))
            if keep or number in found.aliased:
                yield function.name, version


def _has_snapshots(configuration: Mapping[str, Any]) -> bool:
    return bool(_normal("SnapStart", configuration.get("SnapStart")) != "None")


def delete(name: str, log_group: str, existing: Existing) -> Iterator[Step]:
    """Delete a function and its log group; the group first, so that an interrupted run leaves no orphaned group."""
    yield from delete_log_group(log_group, existing)
    yield target(name).remove("delete_function", f"delete function {name}")


def delete_log_group(name: str, existing: Existing) -> Iterator[Step]:
    """Delete a log group, if it exists."""
    if name in existing.log_groups:
        yield _log_group(name).remove("delete_log_group", f"delete log group {name}")
