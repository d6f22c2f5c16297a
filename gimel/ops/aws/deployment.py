"""One deployment: its configuration, its account, and the plans for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from gimel.access import WRITE
from gimel.config import TRACK, Config
from gimel.errors import ConfigError

from . import cost, dead_letters, policies, settings
from .bundle import Bundle
from .client import Aws, aws_errors
from .desired import Desired, build
from .errors import AwsError, NotDeployed, WrongAccount
from .existing import Existing, Queue, current_keys
from .names import Account, Names
from .observe import locate, observe, queues
from .plan import api_key, deploy, domain, gateway, http_api, undo
from .plan.steps import Plan
from .plan.undo import Rollback, Source
from .settings import AwsSettings
from .wiring import wire

DOWNLOAD_TIMEOUT_S = 60


@dataclass(frozen=True)
class Live:
    """Where a deployment is reached: the URL that pages send events to, the base URL of reports, the ids of the API
    keys by their kind."""

    track_url: str
    reports_url: str
    keys: Mapping[str, str]


@dataclass(frozen=True)
class DnsRecord:
    """A CNAME from the domain to `target`; at a zone's apex, an alias to it, which needs its hosted `zone`."""

    name: str
    target: str
    zone: str


@dataclass
class Deployment:
    """What one config.json describes, in the account and region of one session."""

    config: Config
    settings: AwsSettings
    content: Mapping[str, Any]
    aws: Aws

    @classmethod
    def load(cls, path: Path | None = None, aws: Aws | None = None) -> Deployment:
        """Read the configuration. Raises ConfigError."""
        checked, own, content = settings.load(path)
        return cls(checked, own, content, aws or Aws(region=own.region))

    @cached_property
    def account(self) -> Account:
        """The account and region of the credentials. Everything else asks here first.

        Raises WrongAccount if the configuration names others, CredentialsError, RegionError and AwsError.
        """
        found, wanted, where = self.aws.account, self.settings, self.config.path
        if wanted.account not in (None, found.id):
            message = f"your credentials are for AWS account {found.id}, but aws.account in {where} is {wanted.account}"
            raise WrongAccount(message, "choose other credentials with AWS_PROFILE, or correct aws.account")
        if wanted.region not in (None, found.region):
            message = f"your AWS region is {found.region}, but aws.region in {where} is {wanted.region}"
            raise WrongAccount(message, f"set AWS_REGION={wanted.region}, or correct aws.region")
        return found

    @cached_property
    def desired(self) -> Desired:
        """The desired state. Raises GimelError."""
        return build(self.config, self.settings, self.content, self.account)

    @property
    def names(self) -> Names:
        """The names of everything in the deployment."""
        return Names(self.settings.name, self.account)

    @property
    def functions(self) -> set[str]:
        """The names of the desired functions. Raises ConfigError."""
        wired = wire(self.content.get("extra_wiring") or (), self.config.track_path)
        return {self.names.function(function.name) for function in wired.functions}

    @property
    def permissions(self) -> dict[str, Any]:
        """The policy that a person needs to deploy it."""
        return policies.policy(self.names, bool(self.settings.subnet_ids), self.functions)

    def observe(self) -> Existing:
        """The existing state. Raises GimelError."""
        with aws_errors("could not read the current deployment"):
            names, settings = self.names, self.settings
            return self.aws.with_retries(lambda: observe(self.aws.client, names, self.functions, settings))

    def plan(self, found: Existing | None = None) -> Plan:
        """From the existing state, or from what was found, to the desired one. Raises GimelError."""
        return deploy.deploy(self.desired, found or self.observe())

    def plan_rollback(self, release: str | None = None) -> Rollback:
        """To an earlier release. Raises GimelError."""
        try:
            configured = Source.configured(self.config.redis)
        except ConfigError:
            configured = None  # a file without a Redis has no password to use instead of the release's
        return undo.rollback(self.observe(), self.names, configured, self.read_code, release)

    def read_code(self, function: str, version: int) -> bytes:
        """The zip of a version of a function. Raises AwsError."""
        what = f"could not read the code of version {version} of {function}"
        with aws_errors(what):
            found = self.aws.client("lambda").get_function(FunctionName=function, Qualifier=str(version))
        try:
            with urlopen(found["Code"]["Location"], timeout=DOWNLOAD_TIMEOUT_S) as response:
                data: bytes = response.read()
        except OSError as error:
            raise AwsError(f"{what}: {error}", "check your network, then retry") from None
        if Bundle(data, compiled=True).sha256 != found["Configuration"]["CodeSha256"]:
            raise AwsError(f"{what}: AWS sent other code", "retry, or deploy an earlier state of your files instead")
        return data

    def plan_removal(self) -> Plan:
        """To nothing. Raises GimelError."""
        return undo.destroy(self.observe(), self.names)

    def live(self, values: Mapping[str, str], direct: bool = False) -> Live:
        """Where it is reached, from the ids in `values`, which executing the plan of a deploy returns.

        `direct`: at API Gateway's own addresses, which answer before the domain's DNS record exists.

        Raises NotDeployed.
        """
        keys = {kind: values[ref.name] for kind, ref in api_key.KEYS.items() if ref.name in values}
        if gateway.API.name not in values or WRITE not in keys:
            raise NotDeployed(f"{self.names.base} is not deployed in {self.account.region}", "run `gimel deploy`")
        path = self.config.track_path
        if domain.DOMAIN.name in values and not direct:
            base = f"https://{values[domain.DOMAIN.name]}"
            return Live(f"{base}{path}", f"{base}/{domain.REPORTS}", keys)
        rest = self.aws.api_url(values[gateway.API.name])
        http = None if self.settings.track_api == "rest" else values.get(http_api.HTTP_API.name)
        base = self.aws.http_api_url(http) if http else rest
        return Live(f"{base}{path}", rest, keys)

    def live_at(self, existing: Existing, direct: bool = False) -> Live:
        """Where it is reached, given its state; `direct` as for `live`. Raises NotDeployed."""
        return self.live(deploy.values(existing, self.settings.domain), direct)

    def require_live(self) -> Live:
        """Where it is reached, in a few calls. Raises NotDeployed."""
        names, settings = self.names, self.settings
        with aws_errors("could not find the API and its keys"):
            found = self.aws.with_retries(lambda: locate(self.aws.client, names, settings))
        ids = {
            gateway.API.name: found.api,
            **{api_key.KEYS[kind].name: key.id for kind, key in current_keys(found.keys).items()},
            domain.DOMAIN.name: found.domain,
            http_api.HTTP_API.name: found.http_api,
        }
        live = self.live({name: id for name, id in ids.items() if id})
        # An API of Gimel 1.x has no other path.
        return replace(live, track_url=f"{live.reports_url}{TRACK}") if found.is_old else live

    def dns_record(self) -> DnsRecord | None:
        """The record that leads the domain to API Gateway; None without a domain. Raises GimelError."""
        if not self.settings.domain:
            return None
        with aws_errors("could not read the custom domain"):
            found = self.aws.client("apigatewayv2").get_domain_name(DomainName=self.settings.domain)
        (configuration,) = found["DomainNameConfigurations"]
        target, zone = configuration.get("ApiGatewayDomainName"), configuration.get("HostedZoneId")
        return DnsRecord(self.settings.domain, str(target), str(zone))

    def costs(self, existing: Existing) -> list[cost.Row]:
        """What the last 30 days cost. Raises AwsError."""
        with aws_errors("could not read what was used"):
            return cost.estimate(self.aws.client("cloudwatch"), self.names, existing, datetime.now(timezone.utc))

    def require_queues(self) -> tuple[Queue, Queue]:
        """The queue and its dead letters. Raises NotDeployed and AwsError."""
        names = self.names
        with aws_errors("could not read the queues"):
            found = self.aws.with_retries(lambda: queues(self.aws.client("sqs"), names, needed=False))
        if len(found) < 2:
            hint = "run `gimel deploy`; in a VPC, set aws.durable to true first"
            raise NotDeployed(f"there is no queue {names.queue} in {names.account.region}", hint)
        return found[names.queue], found[names.dead_letters]

    def dead_letter_reasons(self) -> Counter[str]:
        """Why some of the dead letters were not counted. Raises AwsError."""
        with aws_errors("could not read the dead letters"):
            return dead_letters.reasons(self.aws.client("sqs"), self.names.queue_url(self.names.dead_letters))

    def redrive(self, limit: int) -> Iterator[None]:
        """Send dead letters back to the queue, one at each step. Raises AwsError."""
        source, target = (self.names.queue_url(name) for name in (self.names.dead_letters, self.names.queue))
        with aws_errors("could not send all dead letters back"):
            yield from dead_letters.redrive(self.aws.client("sqs"), source, target, limit)

    def key_value(self, live: Live, kind: str = WRITE) -> str:
        """The API key of this kind, as sent in x-api-key. Raises GimelError."""
        if kind not in live.keys:
            raise NotDeployed(f"{self.names.base} has no {kind} key yet", "run `gimel deploy`")
        with aws_errors("could not read the API key"):
            read = self.aws.client("apigateway").get_api_key
            response = self.aws.with_retries(lambda: read(apiKey=live.keys[kind], includeValue=True))
        return str(response["value"])
