"""Plans that undo a deploy: a rollback to an earlier release, and the removal of a whole deployment."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from typing import Any
from zipfile import BadZipFile, ZipFile

from gimel import access, config
from gimel.access import READ
from gimel.config import RedisSettings
from gimel.errors import ConfigError
from gimel.ops.aws import redis_address
from gimel.ops.aws.desired import ADDRESS, PASSWORD, DesiredFunction, password_of, readable
from gimel.ops.aws.errors import NothingToRollBack, RollbackRefused
from gimel.ops.aws.existing import Existing, Function, Role
from gimel.ops.aws.history import UNKNOWN, History
from gimel.ops.aws.names import LIVE, STAGE, Names, is_of
from gimel.ops.endpoints import WITHOUT_REDIS

from . import alarms, api_key, domain, functions, http_api, queues, role, schedule
from .steps import Plan, Ref, Step, Target, patch


@dataclass(frozen=True)
class Source:
    """Which Redis a release or a configuration uses: its address, and the password or the reference to it.

    `in_zip`: the reference is in the zip, where earlier releases had it.
    """

    address: str
    password: str
    in_zip: bool = False

    @classmethod
    def configured(cls, settings: RedisSettings, in_zip: bool = False) -> Source:
        """That of a configuration."""
        return cls(redis_address.address(settings), redis_address.password(settings) or "", in_zip)


@dataclass(frozen=True)
class Rollback(Plan):
    """The steps back to a release; the address of the Redis that it uses, and of the one that is used now."""

    release: str = ""
    redis: str = ""
    now: str = ""


ReadCode = Callable[[str, int], bytes]
"""Reads the zip of a version of a function: for a new version, or because only the zip says which Redis it uses."""


def rollback(
    existing: Existing, names: Names, configured: Source | None, read_code: ReadCode, release: str | None = None
) -> Rollback:
    """Point `live` of every function to the release that was live before, or to the named one.

    A function that has no version of that release stays as it is. If the password of the same Redis or an API key has
    changed since, or the role was recreated, the functions that use it first get a new version of that release. Raises
    NothingToRollBack and RollbackRefused.
    """
    live = [function for _, function in sorted(existing.functions.items()) if function.live is not None]
    if not live:
        raise NothingToRollBack("there is nothing to roll back", "run `gimel deploy` first")
    if existing.role is None:
        raise RollbackRefused(f"role {names.base}, which all versions need, no longer exists", "run `gimel deploy`")
    wanted = release or _release_before(live)
    affected = [(function, number) for function in live if (number := _newest_version(function, wanted))]
    if not affected or wanted is None:
        which = f"version of release {release}" if release else "version of an earlier release that supports this API"
        raise NothingToRollBack(f"the functions have no {which}", "deploy an earlier state of your files instead")
    asking = [pair for pair in affected if _asks_redis(pair[0].versions[pair[1]])] or affected
    source = _source(*asking[0], read_code)
    # After an interruption, some functions are back already.
    leaving = next((function for function, _ in asking if function.releases.get(function.live or 0) != wanted), None)
    now = _source(leaving, leaving.live or 0, read_code) if leaving else source
    target = replace(source, password=_password(source, now, configured))
    updates: list[Step] = []
    publications, moves, notes = [], [], [_about_redis(wanted, source, now)]
    keys = api_key.as_text(existing, {})
    for function, newest in affected:
        version: str | Ref | None = _usable_version(function, wanted, existing.role, source, target.password, keys)
        if version is None:
            renewed = api_key.with_text(_renewed(function.name, function.versions[newest], target), keys)
            renewed = functions.for_role(renewed, existing)
            sha256, read = function.versions[newest]["CodeSha256"], partial(read_code, function.name, newest)
            code, version = functions.Code(sha256, True, read), functions.new_version(function.name)
            updates += functions.update(renewed, function, code)
            publications.append(functions.publish(renewed))
        if version != str(function.live):
            moves.append(_move(function, version, wanted))
    if publications:
        _check_password(wanted, source, target, existing.role, names)
        cause = "role has been recreated"
        if source != target:
            cause = f"password of {source.address} has changed"
        elif any(not _has_keys(function.versions[newest], keys) for function, newest in affected):
            cause = "API keys have changed"
        notes.append(f"the {cause} since then, so functions get a new version of release {wanted}")
    checking = [access.VARIABLE in functions.variables_of(function.versions[newest]) for function, newest in affected]
    if existing.key(READ) and not any(checking):
        notes.append(f"release {wanted} has only one kind of key: until the next deploy, the read key can delete, too")
    kept = [function.name for function in live if not _newest_version(function, wanted)]
    notes += [f"{name} has no version of release {wanted} and stays as it is" for name in kept]
    steps = (*updates, *publications, *moves)
    return Rollback(steps, notes=tuple(notes), release=wanted, redis=source.address, now=now.address)


def _about_redis(release: str, source: Source, now: Source) -> str:
    if source.address == now.address:
        return f"release {release} uses {source.address}, as the functions do now"
    return f"release {release} counts in ANOTHER Redis: {source.address}; the functions now use {now.address}"


def _source(function: Function, number: int, read_code: ReadCode) -> Source:
    """Which Redis a version uses. Those of earlier releases say so only in their zip."""
    variables = functions.variables_of(function.versions[number])
    if ADDRESS in variables:
        return Source(variables[ADDRESS], variables.get(PASSWORD, ""))
    try:
        with ZipFile(BytesIO(read_code(function.name, number))) as archive:
            section = json.loads(archive.read("config.json"))["redis"]
        settings = config.check(config.ConfigFile(None, {"redis": section}), variables).redis
        return Source.configured(settings, "password" in section)
    except (BadZipFile, KeyError, TypeError, ValueError, ConfigError):
        message = f"could not read which Redis version {number} of {function.name} uses"
        raise RollbackRefused(message, "deploy an earlier state of your files instead") from None


def _password(source: Source, now: Source, configured: Source | None) -> str:
    """The password that a release needs today: the present one, if it uses the same Redis."""
    if configured and source.address == configured.address and configured.password:
        return configured.password
    return now.password if source.address == now.address else source.password


def _check_password(release: str, source: Source, target: Source, role: Role, names: Names) -> None:
    """Refuse what would publish versions that cannot sign in to Redis."""
    hint = "deploy an earlier state of your files instead"
    if source.in_zip and not target.password:
        message = f"release {release} has a password for {source.address} in its zip, but no password is configured"
        raise RollbackRefused(message, f"set redis.password to the present one; if there is none any more, {hint}")
    needed = [arn for arns in readable({target.password}, None, names.account).values() for arn in arns]
    if not all(any(arn in policy for policy in role.policies.values()) for arn in needed):
        message = f"role {names.base} may not use the configured password, {target.password}"
        raise RollbackRefused(message, f"set redis.password to what was deployed last, or {hint}")


def _asks_redis(version: Mapping[str, Any]) -> bool:
    """Whether a version needs the password. Those of earlier releases may have it without."""
    return version["Handler"] not in WITHOUT_REDIS


def _has_keys(version: Mapping[str, Any], keys: str) -> bool:
    """Whether a version knows these keys, or checks none."""
    return bool(functions.variables_of(version).get(access.VARIABLE, keys) == keys)


def _usable_version(
    function: Function, release: str, role: Role, source: Source, password: str, keys: str
) -> str | None:
    """The newest version of a release that was published with this password and these keys, and for this role."""
    for number, version in sorted(function.versions.items(), reverse=True):
        own = password_of(version) or (source.password if source.in_zip else "")
        same_role = functions.variables_of(version).get(functions.ROLE_ID, role.id) == role.id
        has_password = own == password or not _asks_redis(version)
        is_current = has_password and same_role and _has_keys(version, keys)
        if function.releases[number] == release and is_current:
            return str(number)
    return None


def _renewed(name: str, version: Mapping[str, Any], target: Source) -> DesiredFunction:
    """A version as it was, but for its password."""
    password = target.password if _asks_redis(version) else ""
    variables = {**functions.variables_of(version), ADDRESS: target.address, PASSWORD: password}
    vpc, snap_start = version.get("VpcConfig") or {}, version.get("SnapStart") or {}
    copied = ("Runtime", "Role", "Handler", "MemorySize", "Timeout", "Architectures", "Description")
    configuration = {
        **{key: version[key] for key in copied},
        "Environment": {"Variables": {key: value for key, value in variables.items() if value}},
        "VpcConfig": {key: vpc.get(key) or [] for key in ("SubnetIds", "SecurityGroupIds")},
        "SnapStart": {"ApplyOn": snap_start.get("ApplyOn", "None")},
    }
    return DesiredFunction(name, configuration, None)


def _move(function: Function, version: str | Ref, release: str) -> Step:
    shown = "the new version" if isinstance(version, Ref) else f"version {version}"
    description = f"point alias {LIVE} of {function.name} to {shown}, release {release} (now version {function.live})"
    return functions.move_alias(function.name, version, function.history.rolled_back_to(release), description)


def _release_before(live: list[Function]) -> str | None:
    """The release that was live before; after an interruption, the one that only some functions have reached."""
    histories = {function.history for function in live} - {History()}
    heads = {history.releases[0] for history in histories}
    # A function that had no version of the release of the last rollback did not take part in it.
    complete = [history for history in histories if heads <= set(history.releases)]
    chosen = complete or [history for history in histories if history.rolled_back_from] or histories
    longest = max((history.releases for history in chosen), key=len, default=())
    return next((name for name in longest[1:] if name != longest[0] and _was_live(name, live)), None)


def _was_live(release: str, functions: list[Function]) -> bool:
    """Whether all functions that have a version of this release ran it: an interrupted deploy moves only some."""
    having = [function for function in functions if _newest_version(function, release)]
    return bool(having) and all(release in function.history.releases for function in having)


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
    # No API can be deleted before it is unmapped.
    steps = [*alarms.delete(names, existing), *domain.delete(existing, notes), *_keys(existing, names, notes)]
    api = existing.api
    if api and is_of(names.deployment, api.description):
        target = Target("apigateway", {"restApiId": api.id})
        steps.append(target.remove("delete_rest_api", f"delete API {names.base} ({api.id})"))
    steps += http_api.delete(names, existing)
    steps += schedule.delete(names, existing)
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


def _keys(existing: Existing, names: Names, notes: list[str]) -> Iterator[Step]:
    plan, base = existing.usage_plan, names.base
    if plan:
        target = Target("apigateway", {"usagePlanId": plan.id})
        own_stage = f"{existing.api.id}:{STAGE}" if existing.api else ""
        if own_stage in plan.stages:
            patches = {"patchOperations": [patch("remove", "/apiStages", own_stage)]}
            description = f"remove the stage from usage plan {base}"
            yield target.remove("update_usage_plan", description, patches)
        if set(plan.stages) <= {own_stage} and set(plan.keys) <= {key.id for key in existing.keys}:
            yield target.remove("delete_usage_plan", f"delete usage plan {base}")
        else:
            notes.append(f"usage plan {base} has other keys or stages and is kept")
    yield from api_key.delete([key for key in existing.keys if is_of(names.deployment, key.description)], names)


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
