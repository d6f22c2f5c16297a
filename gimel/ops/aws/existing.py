"""What stands in an account of one deployment, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .names import LIVE, is_of, release_of


@dataclass(frozen=True)
class Role:
    """The functions' role: its trust and inline policies (JSON texts, normalised) and attached policies' ARNs."""

    trust: str
    policies: Mapping[str, str]
    attached: tuple[str, ...]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Alias:
    """The version that an alias points at, and others that get a share of its requests."""

    version: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Function:
    """A function: `$LATEST` and every numbered version as Lambda describes them, aliases, permissions of `live`."""

    name: str
    latest: Mapping[str, Any]
    versions: Mapping[int, Mapping[str, Any]]
    aliases: Mapping[str, Alias]
    permissions: Mapping[str, str]
    tags: Mapping[str, str]
    reserved_concurrency: int | None

    @property
    def live(self) -> int | None:
        """The version that `live` points at; None without one."""
        alias = self.aliases.get(LIVE)
        return int(alias.version) if alias and alias.version.isdigit() else None

    @property
    def aliased(self) -> set[int]:
        """The versions that requests to some alias go to."""
        used = [version for alias in self.aliases.values() for version in (alias.version, *alias.others)]
        return {int(version) for version in used if version.isdigit()}

    @property
    def never_worked(self) -> bool:
        """Whether Lambda failed to make it ready after it was created: then it takes no update."""
        return self.latest.get("State") == "Failed" and not self.versions and not self.aliases

    @property
    def is_in_vpc(self) -> bool:
        """Whether it, or one of its versions, has network interfaces in a VPC."""
        known = (self.latest, *self.versions.values())
        return any((version.get("VpcConfig") or {}).get("SubnetIds") for version in known)

    @property
    def releases(self) -> dict[int, str | None]:
        """The release of each version; None for those that Gimel 2 did not publish."""
        return {number: release_of(version.get("Description", "")) for number, version in self.versions.items()}


@dataclass(frozen=True)
class Api:
    """The REST API with its resources (id by path), methods (by path and verb), responses, stage and deployments."""

    id: str
    description: str
    resources: Mapping[str, str]
    methods: Mapping[tuple[str, str], Mapping[str, Any]]
    responses: Mapping[str, Mapping[str, str]]
    stage: Mapping[str, Any] | None
    deployments: Mapping[str, str]


@dataclass(frozen=True)
class Key:
    """The API key."""

    id: str
    description: str
    enabled: bool


@dataclass(frozen=True)
class UsagePlan:
    """A usage plan: what it is called, its stages as `api:stage`, its limits and the ids of its keys."""

    id: str
    name: str
    description: str
    stages: tuple[str, ...]
    throttle: Mapping[str, float]
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Observed:
    """Everything of one deployment that stands in the account; None or missing where there is none."""

    role: Role | None = None
    functions: Mapping[str, Function] = field(default_factory=dict)
    others_with_role: tuple[str, ...] = ()
    api: Api | None = None
    key: Key | None = None
    usage_plan: UsagePlan | None = None
    foreign_plan: UsagePlan | None = None
    log_groups: Mapping[str, int | None] = field(default_factory=dict)
    log_group_tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    gateway_may_log: bool = False
    notes: tuple[str, ...] = ()

    def stale_functions(self, deployment: str, wanted: set[str]) -> list[Function]:
        """Functions that this deployment made once and does not want any more."""
        return [
            function
            for name, function in sorted(self.functions.items())
            if name not in wanted and is_of(deployment, function.latest.get("Description", ""))
        ]
