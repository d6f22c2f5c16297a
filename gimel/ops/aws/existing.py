"""The existing state of a deployment, as data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gimel import access

from .history import History
from .names import LIVE, is_of, release_of


@dataclass(frozen=True)
class Role:
    """The functions' role: its id, which a new role of the same name has not; trust policy and inline policies
    (normalized JSON), ARNs of attached policies, and tags."""

    id: str
    trust: str
    policies: Mapping[str, str]
    attached: tuple[str, ...]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Alias:
    """The version that an alias points to, other versions that get a share of its requests, and its description."""

    version: str
    others: tuple[str, ...] = ()
    description: str = ""


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

    def belongs_to(self, deployment: str) -> bool:
        """Whether this deployment created it."""
        return is_of(deployment, self.latest.get("Description", ""))

    @property
    def live(self) -> int | None:
        """The version that `live` points to, if any."""
        alias = self.aliases.get(LIVE)
        return int(alias.version) if alias and alias.version.isdigit() else None

    @property
    def aliased(self) -> set[int]:
        """The versions that get requests through any alias."""
        used = [version for alias in self.aliases.values() for version in (alias.version, *alias.others)]
        return {int(version) for version in used if version.isdigit()}

    @property
    def never_worked(self) -> bool:
        """Whether its creation failed, in which case it cannot be updated."""
        return self.latest.get("State") == "Failed" and not self.versions and not self.aliases

    @property
    def is_in_vpc(self) -> bool:
        """Whether it, or one of its versions, is in a VPC."""
        configurations = (self.latest, *self.versions.values())
        return any((found.get("VpcConfig") or {}).get("SubnetIds") for found in configurations)

    @property
    def releases(self) -> dict[int, str | None]:
        """The release of each version; None for those that Gimel 2 did not publish."""
        return {number: release_of(version.get("Description", "")) for number, version in self.versions.items()}

    @property
    def history(self) -> History:
        """The releases that were live. Where `live` does not record them, the order of version numbers stands in."""
        live = self.live
        if live is None or not self.releases.get(live):
            return History()
        recorded = History.parse(self.aliases[LIVE].description)
        if recorded.releases[:1] == (self.releases[live],):
            return recorded
        older = [name for number, name in sorted(self.releases.items(), reverse=True) if name and number <= live]
        return History(tuple(dict.fromkeys(older)))


@dataclass(frozen=True)
class Api:
    """The REST API: ids of resources by path, methods by path and verb, responses, stage, and deployments by id."""

    id: str
    description: str
    binary_types: tuple[str, ...]
    resources: Mapping[str, str]
    methods: Mapping[tuple[str, str], Mapping[str, Any]]
    responses: Mapping[str, Mapping[str, str]]
    stage: Mapping[str, Any] | None
    deployments: Mapping[str, str]


@dataclass(frozen=True)
class HttpApi:
    """The HTTP API as API Gateway describes it: itself, integrations by id, routes by key (`GET /track`), and stage."""

    id: str
    configuration: Mapping[str, Any]
    integrations: Mapping[str, Mapping[str, Any]]
    routes: Mapping[str, Mapping[str, Any]]
    stage: Mapping[str, Any] | None


@dataclass(frozen=True)
class Domain:
    """A custom domain name: whether this deployment created it, its only configuration, tags, and mappings by key."""

    name: str
    is_own: bool
    configuration: Mapping[str, Any]
    tags: Mapping[str, str]
    mappings: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Key:
    """An API key, and what functions know of it. `is_expired`: it was replaced, and its time is over."""

    id: str
    description: str
    enabled: bool
    known: access.Key
    is_expired: bool = False


@dataclass(frozen=True)
class UsagePlan:
    """A usage plan: its stages as `api:stage`, its limits and the ids of its keys."""

    id: str
    name: str
    stages: tuple[str, ...]
    throttle: Mapping[str, float]
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Queue:
    """A queue: its attributes as SQS names them, and its tags."""

    attributes: Mapping[str, str]
    tags: Mapping[str, str]

    @property
    def waiting(self) -> int:
        """About how many messages can be received now."""
        return int(self.attributes.get("ApproximateNumberOfMessages", 0))

    @property
    def in_flight(self) -> int:
        """About how many have been received, and come back unless they are deleted."""
        return int(self.attributes.get("ApproximateNumberOfMessagesNotVisible", 0))

    @property
    def messages(self) -> int:
        """About how many there are."""
        return self.waiting + self.in_flight


@dataclass(frozen=True)
class Schedule:
    """The rule of EventBridge that has snapshots taken: itself and its targets by id, as EventBridge describes them,
    and its tags."""

    configuration: Mapping[str, Any]
    targets: Mapping[str, Mapping[str, Any]]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Topic:
    """The topic that sends alarms: its tags and, by e-mail address, the ARN of a subscription, or None until it is
    confirmed."""

    tags: Mapping[str, str]
    addresses: Mapping[str, str | None]


@dataclass(frozen=True)
class Alarm:
    """An alarm as CloudWatch describes it, and its tags."""

    configuration: Mapping[str, Any]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Existing:
    """Everything in the account that belongs to one deployment, or affects it.

    `other_keys` are API keys that somebody else made and put into a usage plan of the stage, by name and id.
    """

    role: Role | None = None
    functions: Mapping[str, Function] = field(default_factory=dict)
    other_role_users: tuple[str, ...] = ()
    api: Api | None = None
    http_api: HttpApi | None = None
    domains: Mapping[str, Domain] = field(default_factory=dict)
    keys: tuple[Key, ...] = ()
    other_keys: Mapping[str, access.Key] = field(default_factory=dict)
    usage_plan: UsagePlan | None = None
    foreign_plans: tuple[UsagePlan, ...] = ()
    log_groups: Mapping[str, int | None] = field(default_factory=dict)
    log_group_tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    queues: Mapping[str, Queue] = field(default_factory=dict)
    mappings: tuple[Mapping[str, Any], ...] = ()
    schedule: Schedule | None = None
    topic: Topic | None = None
    alarms: Mapping[str, Alarm] = field(default_factory=dict)
    can_log_access: bool = False
    notes: tuple[str, ...] = ()

    def key(self, kind: str) -> Key | None:
        """The key of this kind that no other has replaced."""
        return current_keys(self.keys).get(kind)


def current_keys(keys: Iterable[Key]) -> dict[str, Key]:
    """The keys that no other has replaced, by their kind."""
    return {key.known.kind: key for key in keys if key.known.until is None}
