"""Names and ARNs of everything in a deployment, and the marks that identify what it created."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import gimel
from gimel.access import READ, WRITE

STAGE = "prod"
HTTP_STAGE = "$default"  # served without a name in the URL
LIVE = "live"
TRACK = "gimel-track"
SNAPSHOT = "gimel-snapshot"
MARK = "Gimel deployment "
ALARMS = ("5xx", "failed", "slow", "throttled", "traffic", "http-5xx", "http-traffic", "waiting", "dead-letters")
UPLOADED = re.compile(r", ((?:compiled|sources) \S+)$")


@dataclass(frozen=True)
class Account:
    """The account, region and partition of a session's credentials, and the address of SQS there.

    `rest_url` and `http_url` are those of an API, with `{}` for its id.
    """

    id: str
    region: str
    partition: str
    sqs_url: str
    rest_url: str = ""
    http_url: str = ""

    def arn(self, service: str, resource: str, regional: bool = True, owned: bool = True) -> str:
        """An ARN in this partition; by default with this region and account."""
        region, account = self.region if regional else "", self.id if owned else ""
        return f"arn:{self.partition}:{service}:{region}:{account}:{resource}"


@dataclass(frozen=True)
class Names:
    """The names of everything in one deployment."""

    deployment: str
    account: Account

    @property
    def base(self) -> str:
        """Name of the API, usage plan and role: `gimel`, or `gimel-shop` for a deployment named shop."""
        return "gimel" if self.deployment == "gimel" else f"gimel-{self.deployment}"

    @property
    def keys(self) -> dict[str, str]:
        """Names of the API keys by their kind."""
        return {WRITE: self.base, READ: f"{self.base}-read"}

    @property
    def policy(self) -> str:
        """Name of the role's policy. Roles are global, so each region has a policy of its own."""
        return f"{self.base}-{self.account.region}"

    @property
    def role_arn(self) -> str:
        """ARN of the functions' role."""
        return self.account.arn("iam", f"role/{self.base}", regional=False)

    @property
    def access_log_group(self) -> str:
        """The log group of the API's access log."""
        return f"/aws/apigateway/{self.base}"

    @property
    def queue(self) -> str:
        """The queue where events wait while Redis cannot take them."""
        return f"{self.base}-queue"

    @property
    def dead_letters(self) -> str:
        """The queue of messages that could not be counted."""
        return f"{self.base}-dead-letters"

    @property
    def topic(self) -> str:
        """The topic that sends alarms."""
        return f"{self.base}-alarms"

    @property
    def topic_arn(self) -> str:
        """ARN of the topic."""
        return self.account.arn("sns", self.topic)

    def alarm(self, kind: str) -> str:
        """The name of an alarm."""
        return f"{self.base}-{kind}"

    def errors_of(self, function: str) -> str:
        """The kind of the alarm on errors of a function."""
        return f"errors-{function.removeprefix(f'{self.base}-')}"

    def alarms(self, functions: Iterable[str]) -> list[str]:
        """The names of all alarms that a deployment with these functions may have."""
        return [self.alarm(kind) for kind in (*ALARMS, *map(self.errors_of, sorted(functions)))]

    def alarm_arn(self, name: str) -> str:
        """ARN of an alarm."""
        return self.account.arn("cloudwatch", f"alarm:{name}")

    def queue_arn(self, name: str) -> str:
        """ARN of a queue."""
        return self.account.arn("sqs", name)

    def queue_url(self, name: str) -> str:
        """URL of a queue, on AWS or on an emulator that the session uses."""
        return f"{self.account.sqs_url}/{self.account.id}/{name}"

    def function(self, name: str) -> str:
        """The name that a function of the endpoint table has in this deployment."""
        return name if self.deployment == "gimel" else f"{self.base}-{name.removeprefix('gimel-')}"

    @property
    def schedule(self) -> str:
        """The rule of EventBridge that invokes the function of the same name once an hour."""
        return self.function(SNAPSHOT)

    @property
    def schedule_arn(self) -> str:
        """ARN of the schedule."""
        return self.account.arn("events", f"rule/{self.schedule}")

    def function_arn(self, name: str) -> str:
        """ARN of a function."""
        return self.account.arn("lambda", f"function:{name}")

    def live_arn(self, name: str) -> str:
        """ARN of a function's alias."""
        return f"{self.function_arn(name)}:{LIVE}"

    def invocation_uri(self, name: str) -> str:
        """The URI by which API Gateway invokes a function's alias."""
        path = f"path/2015-03-31/functions/{self.live_arn(name)}/invocations"
        return f"arn:{self.account.partition}:apigateway:{self.account.region}:lambda:{path}"

    def log_group_arn(self, group: str) -> str:
        """ARN of a log group."""
        return self.account.arn("logs", f"log-group:{group}")

    @staticmethod
    def log_group(function: str) -> str:
        """The log group of a function, as Lambda names it."""
        return f"/aws/lambda/{function}"


def marker(deployment: str) -> str:
    """The description that identifies what this deployment created."""
    return f"{MARK}{deployment}"


def description(deployment: str, release: str, uploaded: str) -> str:
    """The description of a function. Naming the release gives every function a new version when any of them changes.

    `uploaded` is how its zip was made and the beginning of its hash, such as `compiled DtEcj30N7bQz`.
    """
    return f"{marker(deployment)}, {gimel.__version__}, release {release}, {uploaded}"


def release_of(text: str) -> str | None:
    """The release named by a function's description; None if Gimel 2 did not write it."""
    before, separator, release = text.rpartition(", release ")
    return release.partition(",")[0] if separator and before.startswith(MARK) else None


def without_upload(text: str) -> str:
    """A function's description without `uploaded`."""
    return UPLOADED.sub("", text)


def uploaded_as(text: str) -> str:
    """The `uploaded` of a function's description; empty if it has none."""
    found = UPLOADED.search(text)
    return found[1] if found else ""


def is_of(deployment: str, text: str) -> bool:
    """Whether a description says that this deployment created the thing."""
    return text.split(",")[0] == marker(deployment)
