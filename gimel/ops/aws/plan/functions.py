"""Steps for functions and log groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gimel.ops.aws.desired import KEPT_VERSIONS, Wanted, WantedFunction
from gimel.ops.aws.existing import Function, Observed
from gimel.ops.aws.names import LIVE

from .steps import MISSING, Late, Step


def log_groups(wanted: Wanted, observed: Observed) -> Iterator[Step]:
    """A log group for each function and for the API's accesses, kept as long as configured."""
    days = wanted.settings.log_retention_days
    groups = [wanted.names.log_group(function.name) for function in wanted.functions]
    if logs_access(wanted, observed):
        groups.append(wanted.names.access_log_group)
    for group in groups:
        params = {"logGroupName": group}
        if group not in observed.log_groups:
            made = {**params, "tags": wanted.tags}
            exists = ("ResourceAlreadyExistsException",)
            yield Step(f"create log group {group}", "logs", "create_log_group", made, tolerates=exists)
        elif not wanted.is_tagged(observed.log_group_tags.get(group, {})):
            tagged = {"resourceArn": wanted.names.log_group_arn(group), "tags": wanted.tags}
            yield Step(f"tag log group {group}", "logs", "tag_resource", tagged)
        before = observed.log_groups.get(group)
        if before != days:
            shortened = group in observed.log_groups and (before is None or before > days)
            does = f"keep log group {group} for {days} days" + (": older lines are deleted" if shortened else "")
            yield Step(does, "logs", "put_retention_policy", {**params, "retentionInDays": days})


def logs_access(wanted: Wanted, observed: Observed) -> bool:
    """Whether the API's accesses are to be logged, and can be."""
    return wanted.settings.access_log and observed.gateway_may_log


def functions(wanted: Wanted, observed: Observed) -> Iterator[Step]:
    """Create or change what is not as wanted; then a version of each; and only then move every alias."""
    targets = {}
    for function in wanted.functions:
        found = observed.functions.get(function.name)
        if found and found.never_worked:
            name = {"FunctionName": function.name}
            does = f"delete function {function.name}, which Lambda could not make ready"
            yield Step(does, "lambda", "delete_function", name, tolerates=MISSING)
            found = None
        if found is None:
            yield _create(wanted, function)
        else:
            yield from _update(wanted, function, found)
        yield from _around(wanted, function, found)
    for function in wanted.functions:
        number = version_as_wanted(wanted, function, observed.functions.get(function.name))
        targets[function.name] = str(number) if number else Late(f"${{version of {function.name}}}")
        if number is None:
            yield _publish(wanted, function)
    for function in wanted.functions:
        yield from _alias(function.name, observed.functions.get(function.name), targets[function.name])


def _create(wanted: Wanted, function: WantedFunction) -> Step:
    params: dict[str, Any] = {
        "FunctionName": function.name,
        **_sendable(function.configuration, {}),
        "Architectures": function.configuration["Architectures"],
        "Code": {"ZipFile": wanted.bundle.data},
        "Tags": wanted.tags,
    }
    name = {"FunctionName": function.name}
    size = f"{params['Runtime']}, {params['Architectures'][0]}, {params['MemorySize']} MB, {params['Timeout']} s"
    does = f"create function {function.name} ({size})"
    return Step(does, "lambda", "create_function", params, {}, "function_active_v2", name)


def _update(wanted: Wanted, function: WantedFunction, found: Function) -> Iterator[Step]:
    name = {"FunctionName": function.name}
    updated = ("function_updated_v2", name)
    changed = differences(function.configuration, found.latest)
    new_code = found.latest.get("CodeSha256") != wanted.bundle.sha256 or "Architectures" in changed
    changed.discard("Architectures")
    failed = found.latest.get("LastUpdateStatus") == "Failed"
    if changed or failed:
        # First, since AWS takes no new code for a function whose runtime it has retired.
        params = {**name, **_sendable(function.configuration, found.latest)}
        told = _told(function.configuration, found.latest, changed)
        does = f"update {function.name}: {told if changed else 'again, since the last update failed'}"
        yield Step(does, "lambda", "update_function_configuration", params, {}, *updated)
    if new_code:
        code = {**name, "ZipFile": wanted.bundle.data, "Architectures": function.configuration["Architectures"]}
        yield Step(f"update code of {function.name}", "lambda", "update_function_code", code, {}, *updated)


def _sendable(configuration: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is off and was never on: not every region knows VPCs' and SnapStart's settings."""
    params = {key: value for key, value in configuration.items() if key != "Architectures"}
    for key in ("VpcConfig", "SnapStart"):
        if _is_off(configuration[key]) and _normal(key, found.get(key)) == _normal(key, configuration[key]):
            del params[key]
    return params


def _is_off(value: Mapping[str, Any]) -> bool:
    return not any(item and item != "None" for item in value.values())


def differences(configuration: Mapping[str, Any], found: Mapping[str, Any]) -> set[str]:
    """The settings in which what is found is not as wanted."""
    return {key for key, value in configuration.items() if _normal(key, found.get(key)) != _normal(key, value)}


def _normal(key: str, value: Any) -> Any:
    value = value or {}
    if key == "VpcConfig":
        return [sorted(value.get(part) or []) for part in ("SubnetIds", "SecurityGroupIds")]
    if key == "SnapStart":
        return value.get("ApplyOn", "None")
    if key == "Environment":
        return value.get("Variables") or {}
    return value or (["x86_64"] if key == "Architectures" else value)


def _told(wanted: Mapping[str, Any], found: Mapping[str, Any], changed: set[str]) -> str:
    plain = [key for key in ("Runtime", "Handler", "MemorySize", "Timeout") if key in changed]
    told = [f"{key} {found.get(key)} -> {wanted[key]}" for key in plain]
    return ", ".join(told + sorted(changed - set(plain) - {"Description"})) or "release"


def _around(wanted: Wanted, function: WantedFunction, found: Function | None) -> Iterator[Step]:
    name = {"FunctionName": function.name}
    if found and not wanted.is_tagged(found.tags):
        arn = wanted.account.arn("lambda", f"function:{function.name}")
        yield Step(f"tag {function.name}", "lambda", "tag_resource", {"Resource": arn, "Tags": wanted.tags})
    reserved = found.reserved_concurrency if found else None
    if reserved == function.reserved_concurrency:
        return
    if function.reserved_concurrency is None:
        does = f"reserve no concurrency for {function.name}"
        yield Step(does, "lambda", "delete_function_concurrency", name)
    else:
        params = {**name, "ReservedConcurrentExecutions": function.reserved_concurrency}
        does = f"reserve {function.reserved_concurrency} concurrent runs for {function.name}"
        yield Step(does, "lambda", "put_function_concurrency", params)


def version_as_wanted(wanted: Wanted, function: WantedFunction, found: Function | None) -> int | None:
    """The newest published version that is just as wanted; None where there is none."""
    if found is None:
        return None
    fitting = [
        number
        for number, version in found.versions.items()
        if version.get("CodeSha256") == wanted.bundle.sha256 and not differences(function.configuration, version)
    ]
    return max(fitting, default=None)


def _publish(wanted: Wanted, function: WantedFunction) -> Step:
    name = {"FunctionName": function.name}
    version = f"version of {function.name}"
    # The description is repeated, for without it some servers give the version none.
    params = {**name, "Description": function.configuration["Description"]}
    does = f"publish a version of {function.name}"
    return Step(does, "lambda", "publish_version", params, {version: "Version"}, "published_version_active", name)


def _alias(name: str, found: Function | None, version: str | Late) -> Iterator[Step]:
    params = {"FunctionName": name, "Name": LIVE, "FunctionVersion": version}
    shown = version if isinstance(version, str) else "the new version"
    alias = found.aliases.get(LIVE) if found else None
    if alias is None:
        yield Step(f"point {LIVE} of {name} at {shown}", "lambda", "create_alias", params)
    elif alias.version != version:
        yield move_alias(name, version, f"move {LIVE} of {name} from {alias.version} to {shown}")
    elif alias.others:
        yield move_alias(name, version, f"send all of {name} to {shown}, and none to {', '.join(alias.others)}")


def move_alias(name: str, version: str | Late, does: str) -> Step:
    """Point `live` of a function at one version, which takes all requests."""
    whole: dict[str, Any] = {"AdditionalVersionWeights": {}}
    params = {"FunctionName": name, "Name": LIVE, "FunctionVersion": version, "RoutingConfig": whole}
    return Step(does, "lambda", "update_alias", params)


def prune(wanted: Wanted, observed: Observed) -> Iterator[Step]:
    """Delete all but the newest versions, and never one that an alias points at, or is about to."""
    for function in wanted.functions:
        found = observed.functions.get(function.name)
        if found is None:
            continue
        target = version_as_wanted(wanted, function, found)
        spared = found.aliased | {target}
        numbers = sorted(found.versions)
        too_many = max(0, len(numbers) + (target is None) - KEPT_VERSIONS)
        for number in numbers[:too_many]:
            if number not in spared:
                params = {"FunctionName": function.name, "Qualifier": str(number)}
                does = f"delete version {number} of {function.name}"
                yield Step(does, "lambda", "delete_function", params, tolerates=MISSING)


def remove(name: str, group: str, observed: Observed) -> Iterator[Step]:
    """Delete a function and its log group; that first, so that a run broken off leaves no group without an owner."""
    yield from remove_log_group(group, observed)
    params = {"FunctionName": name}
    yield Step(f"delete function {name}", "lambda", "delete_function", params, tolerates=MISSING)


def remove_log_group(group: str, observed: Observed) -> Iterator[Step]:
    """Delete a log group."""
    if group in observed.log_groups:
        gone = {"logGroupName": group}
        yield Step(f"delete log group {group}", "logs", "delete_log_group", gone, tolerates=MISSING)
