"""One deployment: its configuration, the account it is in, and what can be planned for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from gimel.config import Config
from gimel.errors import GimelError

from . import desired, policies, settings
from .client import Aws, failure
from .desired import Wanted
from .existing import Observed
from .names import Names
from .observe import observe
from .plan import deploy, undo
from .plan.steps import Plan
from .settings import AwsSettings
from .wiring import wire


@dataclass
class Deployment:
    """What one config.json describes, in the account and region of one session."""

    config: Config
    settings: AwsSettings
    raw: dict[str, Any]
    aws: Aws

    @classmethod
    def load(cls, path: Path | None = None, aws: Aws | None = None) -> Deployment:
        """Read the configuration. Raises ConfigError."""
        config, checked, raw = settings.load(path)
        return cls(config, checked, raw, aws or Aws())

    @cached_property
    def wanted(self) -> Wanted:
        """What it is to be. Raises GimelError."""
        return desired.build(self.config, self.settings, self.raw, self.aws.account)

    @property
    def names(self) -> Names:
        """What everything is called."""
        return Names(self.settings.name, self.aws.account)

    @property
    def functions(self) -> set[str]:
        """The names of the functions that it is to have. Raises ConfigError."""
        return {self.names.function(function.name) for function in wire(self.raw.get("extra_wiring") or ()).functions}

    @property
    def permissions(self) -> dict[str, Any]:
        """The policy of what a person needs to deploy it."""
        return policies.policy(self.names, bool(self.settings.subnet_ids), self.functions)

    def observe(self) -> Observed:
        """What there is now. Raises GimelError."""
        try:
            return observe(self.aws.client, self.names, self.functions)
        except (ClientError, BotoCoreError) as error:
            raise failure("AWS does not tell what is there", error) from error

    def plan(self) -> Plan:
        """From what there is to what it is to be. Raises GimelError."""
        return deploy.deploy(self.wanted, self.observe())

    def plan_rollback(self, release: str | None = None) -> Plan:
        """To an earlier release. Raises GimelError."""
        return undo.rollback(self.observe(), release)

    def plan_removal(self) -> Plan:
        """To nothing. Raises GimelError."""
        return undo.destroy(self.observe(), self.names)

    def require_api(self) -> tuple[str, str]:
        """The address of the API and the id of its key. Raises GimelError where there are none yet."""
        found = self.observe()
        if not found.api or not found.key:
            raise GimelError(f"{self.names.base} is not deployed in {self.aws.account.region}", "run `gimel deploy`")
        return self.aws.api_url(found.api.id), found.key.id

    def key_value(self, key: str) -> str:
        """The text to send as x-api-key. Raises GimelError."""
        try:
            answer = self.aws.client("apigateway").get_api_key(apiKey=key, includeValue=True)
        except (ClientError, BotoCoreError) as error:
            raise failure("AWS does not tell the key", error) from error
        return str(answer["value"])
