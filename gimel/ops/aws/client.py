"""The boto3 clients, and the only code that changes anything on AWS."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
from botocore import exceptions
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, WaiterError

from gimel.ops.addresses import is_loopback

from .errors import AwsError, CredentialsError, RegionError, StepFailed
from .names import STAGE, Account
from .plan.steps import Step

T = TypeVar("T")

# API Gateway allows one deployment per 5 seconds and one deletion of an API per 30.
OPTIONS = Config(retries={"mode": "adaptive", "max_attempts": 10}, connect_timeout=10, read_timeout=70)

RETRY_FOR_S = 90
DELAY_S = 1  # between two tries, and between two polls of a waiter
WAIT_S = {"published_version_active": 600}
DEFAULT_WAIT_S = 300

THROTTLED = ("TooManyRequests", "Throttling")
TRANSIENT = (
    "ResourceInUseException",  # an event source mapping that is being changed
    "OperationAbortedException",  # a log group
    "ConcurrentModification",  # a role
    "ConcurrentModificationException",  # the tags of an alarm
    "ConcurrentAccess",  # those of a topic
)
TRANSIENT_TEXTS = ("concurrent modification", "concurrent update operation", "throttled by ec2")
NEW_ROLE_TEXTS = ("assume", "execution role", "kms key is invalid for creategrant")
"""What Lambda calls an invalid parameter while a new role, or its policy, has not reached all of AWS."""

BAD_CREDENTIALS = ("ExpiredToken", "InvalidClientTokenId", "UnrecognizedClient", "SignatureDoesNotMatch")
HINTS = {
    **dict.fromkeys(BAD_CREDENTIALS, "check your credentials with `aws sts get-caller-identity`"),
    **dict.fromkeys(THROTTLED, "wait a minute (AWS is throttling these calls)"),
    "ExpiredToken": "sign in again",
    "AccessDenied": "give your user the permissions that `gimel permissions` prints",
    "LimitExceeded": "request a higher quota from AWS, or delete something of this kind",
    "ResourceConflict": "wait until the other change to it has finished",
}
"""What to do about an error, by the beginning of its code."""

NO_CREDENTIALS = (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)
SIGNED_OUT = (exceptions.SSOError, exceptions.TokenRetrievalError)
PROXY = (exceptions.ProxyConnectionError, exceptions.SSLError)
OFFLINE = (
    *(exceptions.EndpointConnectionError, exceptions.ConnectTimeoutError),
    *(exceptions.ReadTimeoutError, exceptions.ConnectionClosedError),
)


class Aws:
    """The clients of one session, created when first used."""

    def __init__(
        self,
        session: boto3.Session | None = None,
        sleep: Callable[[float], None] = time.sleep,
        region: str | None = None,
    ) -> None:
        """`region` is used where neither the environment nor the profile names one."""
        self._session = session
        self._region = region
        self._clients: dict[str, Any] = {}
        self._sleep = sleep

    @cached_property
    def session(self) -> boto3.Session:
        """The session. Raises CredentialsError if the profile does not exist."""
        try:
            # Like other SDKs. boto3 itself reads only AWS_DEFAULT_REGION.
            found = self._session or boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
            return found if found.region_name or not self._region else boto3.Session(region_name=self._region)
        except exceptions.ProfileNotFound as error:
            hint = "set AWS_PROFILE to one that `aws configure list-profiles` shows"
            raise CredentialsError(str(error), hint) from None

    def client(self, service: str) -> Any:
        """The client of a service. Raises RegionError."""
        if service not in self._clients:
            try:
                self._clients[service] = self.session.client(service, config=OPTIONS)
            except exceptions.NoRegionError:
                raise RegionError(
                    "no AWS region is set", "set AWS_REGION or aws.region, or run `aws configure`"
                ) from None
        return self._clients[service]

    @cached_property
    def account(self) -> Account:
        """The account and region of the credentials. Raises CredentialsError, RegionError and AwsError."""
        client = self.client("apigateway")
        with aws_errors("could not verify AWS credentials"):
            identity = self.with_retries(self.client("sts").get_caller_identity)
        sqs_url, endpoint, region = (
            self.client("sqs").meta.endpoint_url,
            client.meta.endpoint_url,
            client.meta.region_name,
        )
        # An emulator; or AWS, with the partition's domain: apigateway.cn-north-1.amazonaws.com.cn
        rest_url, http_url = f"{endpoint}/restapis/{{}}/{STAGE}/_user_request_", f"{endpoint}/_aws/execute-api/{{}}"
        if found := re.fullmatch(rf"apigateway(?:-fips)?\.{region}\.(.+)", urlsplit(endpoint).hostname or ""):
            http_url = f"https://{{}}.execute-api.{region}.{found[1]}"
            rest_url = f"{http_url}/{STAGE}"
        return Account(identity["Account"], region, client.meta.partition, sqs_url, rest_url, http_url)

    @property
    def is_local(self) -> bool:
        """Whether AWS is an emulator on this machine, whose functions run here too. Raises like `account`."""
        return is_loopback(urlsplit(self.client("lambda").meta.endpoint_url).hostname or "")

    def api_url(self, api: str) -> str:
        """The URL of the API's stage, on AWS or on an emulator that the session uses."""
        return self.account.rest_url.replace("{}", api)

    def http_api_url(self, api: str) -> str:
        """The URL of the HTTP API, on AWS or on an emulator that the session uses."""
        return self.account.http_url.replace("{}", api)

    def perform(self, number: int, step: Step, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Perform a step and wait until its result is ready. Raises StepFailed."""
        try:
            response = self._call(step, params)
            if step.waiter:
                version = {"Qualifier": response["Version"]} if step.waiter == "published_version_active" else {}
                attempts = WAIT_S.get(step.waiter, DEFAULT_WAIT_S) // DELAY_S
                pace = {"Delay": DELAY_S, "MaxAttempts": attempts}
                waiter = self.client(step.service).get_waiter(step.waiter)
                self.with_retries(lambda: waiter.wait(**step.waiter_params, **version, WaiterConfig=pace))
        except (ClientError, BotoCoreError, WaiterError) as error:
            message = f"step {number} failed: {step.description}: {error}{_reason(error)}"
            hint = f"{_next(error)} rerun; it resumes where it stopped"
            raise StepFailed(message, hint, number, step.description) from error
        return response

    def _call(self, step: Step, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make the call of a step. The response is empty if it turns out that the step was done already."""
        call = getattr(self.client(step.service), step.call)

        def once() -> Any:
            response = call(**params)
            # EventBridge reports these in an answer that is none of an error.
            for failed in response.get("FailedEntries") or ():
                error = {"Code": failed.get("ErrorCode", ""), "Message": failed.get("ErrorMessage", "")}
                raise ClientError({"Error": error}, step.call)
            return response

        try:
            response = self.with_retries(once)
        except ClientError as error:
            # botocore calls again when it gets no response, although the first call may have had its effect.
            repeated = error.response.get("ResponseMetadata", {}).get("RetryAttempts")
            if _code(error) in step.tolerates or (repeated and _already_exists(error) and not step.outputs):
                return {}
            raise
        return response if isinstance(response, Mapping) else {}

    def with_retries(self, call: Callable[[], T]) -> T:
        """What `call` returns, called again while AWS gives a reason that passes. botocore handles lost connections."""
        for _ in range(RETRY_FOR_S // DELAY_S):
            try:
                return call()
            except (ClientError, WaiterError) as error:
                if not _is_transient(error):
                    raise
                self._sleep(DELAY_S)
        return call()


def _is_transient(error: Exception) -> bool:
    """Whether this error passes by itself."""
    code, text = _code(error), _text(error)
    if code == "ResourceConflictException":
        return not _already_exists(error)  # else another change of the same function is in progress
    if code.startswith(THROTTLED):
        return not _response(error).get("ResponseMetadata", {}).get("MaxAttemptsReached")  # by botocore, in a minute
    return (
        code in TRANSIENT
        or code.endswith("QueueDeletedRecently")  # its name can be used again after a minute
        or any(part in text for part in TRANSIENT_TEXTS)
        or (code == "InvalidParameterValueException" and any(part in text for part in NEW_ROLE_TEXTS))
    )


def _already_exists(error: Exception) -> bool:
    return "already exist" in _text(error)  # Lambda: "Function already exist: gimel-track"


@contextmanager
def aws_errors(what: str) -> Iterator[None]:
    """Turn an exception of boto3 inside into the `failure` of what could not be done."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise failure(what, error) from error


def failure(what: str, error: Exception) -> AwsError | CredentialsError:
    """The exception for a call that failed without changing anything: what failed, why, and what to do."""
    bad = isinstance(error, NO_CREDENTIALS + SIGNED_OUT) or _code(error).startswith(BAD_CREDENTIALS)
    return (CredentialsError if bad else AwsError)(f"{what}: {error}", f"{_next(error)} retry")


def _reason(error: Exception) -> str:
    """Lambda's reason why a function never became what a waiter waited for."""
    if not isinstance(error, WaiterError):
        return ""
    function = error.last_response.get("Configuration") or error.last_response
    reason = function.get("LastUpdateStatusReason") or function.get("StateReason")
    return f": {reason}" if reason else ""


def _next(error: Exception) -> str:
    """What to do before trying again."""
    if isinstance(error, NO_CREDENTIALS):
        return "run `aws configure` or set AWS_PROFILE, then"
    if isinstance(error, SIGNED_OUT):
        return "sign in again with `aws sso login`, then"
    if isinstance(error, PROXY):
        return "check HTTPS_PROXY, and AWS_CA_BUNDLE if a proxy inspects TLS, then"
    if isinstance(error, OFFLINE):
        return "check your network and the name of the region, then"
    if _already_exists(error):
        return "wait for any other deploy to finish, then"
    hint = next((hint for code, hint in HINTS.items() if _code(error).startswith(code)), "")
    return f"{hint}, then" if hint else "fix the cause and"


def _code(error: Exception) -> str:
    return str(_response(error).get("Error", {}).get("Code", ""))


def _text(error: Exception) -> str:
    return str(_response(error).get("Error", {}).get("Message", "")).lower()


def _response(error: Exception) -> Mapping[str, Any]:
    """What AWS answered, if it is an error of AWS, or of a waiter that got one."""
    found = getattr(error, "response", None) or getattr(error, "last_response", None)
    return found if isinstance(found, Mapping) else {}
