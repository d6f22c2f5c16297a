"""What the things of a deployment are called and addressed by, and the marks by which they are known again."""

from __future__ import annotations

from dataclasses import dataclass

import gimel

STAGE = "prod"
LIVE = "live"
MARK = "Gimel deployment "


@dataclass(frozen=True)
class Account:
    """Where a deployment is: all three come from the session."""

    id: str
    region: str
    partition: str

    def arn(self, service: str, resource: str, regional: bool = True, owned: bool = True) -> str:
        """An ARN in this partition; of the region and of the account unless told otherwise."""
        region, account = self.region if regional else "", self.id if owned else ""
        return f"arn:{self.partition}:{service}:{region}:{account}:{resource}"


@dataclass(frozen=True)
class Names:
    """What the things of one deployment are called."""

    deployment: str
    account: Account

    @property
    def base(self) -> str:
        """Name of the API, the key, the usage plan and the role: `gimel`, or `gimel-shop` of one named shop."""
        return "gimel" if self.deployment == "gimel" else f"gimel-{self.deployment}"

    @property
    def policy(self) -> str:
        """Name of the role's policy: roles belong to no region, so each region has its own."""
        return f"{self.base}-{self.account.region}"

    @property
    def role_arn(self) -> str:
        """ARN of the functions' role."""
        return self.account.arn("iam", f"role/{self.base}", regional=False)

    @property
    def access_log_group(self) -> str:
        """The log group of the API's accesses."""
        return f"/aws/apigateway/{self.base}"

    def function(self, name: str) -> str:
        """The name here of a function of the endpoint table."""
        return name if self.deployment == "gimel" else f"{self.base}-{name.removeprefix('gimel-')}"

    def invocation_uri(self, name: str) -> str:
        """How API Gateway addresses a function's alias."""
        alias = self.account.arn("lambda", f"function:{name}:{LIVE}")
        path = f"path/2015-03-31/functions/{alias}/invocations"
        return f"arn:{self.account.partition}:apigateway:{self.account.region}:lambda:{path}"

    def log_group_arn(self, group: str) -> str:
        """ARN of a log group."""
        return self.account.arn("logs", f"log-group:{group}")

    @staticmethod
    def log_group(function: str) -> str:
        """The log group of a function, which Lambda names so."""
        return f"/aws/lambda/{function}"


def marker(deployment: str) -> str:
    """What stands in the description of everything made, so that it is known again."""
    return f"{MARK}{deployment}"


def description(deployment: str, release: str) -> str:
    """What stands at a function. The release makes every function get a new version when any of them changes."""
    return f"{marker(deployment)}, {gimel.__version__}, release {release}"


def release_of(text: str) -> str | None:
    """The release that a function's description names; None where Gimel 2 did not write it."""
    before, separator, release = text.rpartition(", release ")
    return release if separator and before.startswith(MARK) else None


def is_of(deployment: str, text: str) -> bool:
    """Whether a description says that this deployment made the thing."""
    return text.split(",")[0] == marker(deployment)
