"""The boto3 clients, and the only code that changes anything on AWS."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore import exceptions
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, WaiterError

from .errors import AwsError, CredentialsError, RegionError, StepFailed
from .names import STAGE, Account
from .plan.steps import Step

# API Gateway allows one deployment per 5 seconds and one deletion of an API per 30.
OPTIONS = Config(retries={"mode": "adaptive", "max_attempts": 10}, connect_timeout=10, read_timeout=70)

RETRY_FOR_S = 90
DELAY_S = 1  # between two tries, and between two polls of a waiter
WAIT_S = {"published_version_active": 600}
DEFAULT_WAIT_S = 300

BAD_CREDENTIALS = ("ExpiredToken", "InvalidClientTokenId", "UnrecognizedClient", "SignatureDoesNotMatch")
HINTS = {
    **dict.fromkeys(BAD_CREDENTIALS, "check your credentials with `aws sts get-caller-identity`"),
    **dict.fromkeys(("TooManyRequests", "Throttling"), "wait a minute (AWS is throttling these calls)"),
    "ExpiredToken": "sign in again",
    "AccessDenied": "give your user the permissions that `gimel permissions` prints",
    "LimitExceeded": "request a higher quota from AWS, or delete something of this kind",
    "ResourceConflict": "wait until the other change to it has finished",
}
"""What to do about an error, by the beginning of its code."""

NO_CREDENTIALS = (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)
SIGNED_OUT = (exceptions.SSOError, exceptions.TokenRetrievalError)
OFFLINE = (
    *(exceptions.EndpointConnectionError, exceptions.ConnectTimeoutError),
    *(exceptions.ReadTimeoutError, exceptions.ConnectionClosedError),
)


class Aws:
    """The clients of one session, created when first used."""

    def __init__(self, session: boto3.Session | None = None, sleep: Callable[[float], None] = time.sleep) -> None:
        self._session = session
        self._clients: dict[str, Any] = {}
        self._sleep = sleep

    @cached_property
    def session(self) -> boto3.Session:
        """The session. Raises CredentialsError if the profile does not exist."""
        try:
            # Like other SDKs. boto3 itself reads only AWS_DEFAULT_REGION.
            return self._session or boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
        except exceptions.ProfileNotFound as error:
            hint = "set AWS_PROFILE to one that `aws configure list-profiles` shows"
            raise CredentialsError(str(error), hint) from None

    def client(self, service: str) -> Any:
        """The client of a service. Raises RegionError."""
        if service not in self._clients:
            try:
                self._clients[service] = self.session.client(service, config=OPTIONS)
            except exceptions.NoRegionError:
                raise RegionError("no AWS region is set", "set AWS_REGION, or run `aws configure`") from None
        return self._clients[service]

    @cached_property
    def account(self) -> Account:
        """The account and region of the credentials. Raises CredentialsError, RegionError and AwsError."""
        client = self.client("apigateway")
        with aws_errors("could not verify AWS credentials"):
            identity = self.client("sts").get_caller_identity()
        sqs_url = self.client("sqs").meta.endpoint_url
        return Account(identity["Account"], client.meta.region_name, client.meta.partition, sqs_url)

    def api_url(self, api: str) -> str:
        """The URL of the API's stage, on AWS or on an emulator that the session uses."""
        return self._execute_api(api, f"/{STAGE}", f"/restapis/{api}/{STAGE}/_user_request_")

    def http_api_url(self, api: str) -> str:
        """The URL of the HTTP API, on AWS or on an emulator that the session uses."""
        return self._execute_api(api, "", f"/_aws/execute-api/{api}")

    def _execute_api(self, api: str, path: str, emulated: str) -> str:
        region, endpoint = self.account.region, self.client("apigateway").meta.endpoint_url
        # The partition's domain, from the endpoint in use: apigateway.cn-north-1.amazonaws.com.cn
        found = re.fullmatch(rf"apigateway(?:-fips)?\.{region}\.(.+)", urlsplit(endpoint).hostname or "")
        return f"https://{api}.execute-api.{region}.{found[1]}{path}" if found else f"{endpoint}{emulated}"

    def perform(self, number: int, step: Step, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Perform a step and wait until its result is ready. Raises StepFailed."""
        client = self.client(step.service)
        try:
            response = self._call_with_retry(getattr(client, step.call), params)
            if step.waiter:
                version = {"Qualifier": response["Version"]} if step.waiter == "published_version_active" else {}
                attempts = WAIT_S.get(step.waiter, DEFAULT_WAIT_S) // DELAY_S
                pace = {"Delay": DELAY_S, "MaxAttempts": attempts}
                client.get_waiter(step.waiter).wait(**step.waiter_params, **version, WaiterConfig=pace)
        except (ClientError, BotoCoreError, WaiterError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] in step.tolerates:
                return {}
            message = f"step {number} failed: {step.description}: {error}{_reason(error)}"
            hint = f"{_next(error)} rerun; it resumes where it stopped"
            raise StepFailed(message, hint, number, step.description) from error
        return response if isinstance(response, Mapping) else {}

    def _call_with_retry(self, call: Callable[..., Any], params: Mapping[str, Any]) -> Any:
        """Call, and retry while a new role has not reached all of AWS, or an earlier change is not complete."""
        for _ in range(RETRY_FOR_S // DELAY_S):
            try:
                return call(**params)
            except ClientError as error:
                if not _is_transient(error):
                    raise
                self._sleep(DELAY_S)
        return call(**params)


def _is_transient(error: ClientError) -> bool:
    code, text = _code(error), error.response["Error"].get("Message", "").lower()
    if code == "InvalidParameterValueException":
        return "assume" in text or ("execution role" in text and "permission" in text)
    if code == "ConflictException":
        return "concurrent modification" in text
    if code == "ResourceConflictException":
        return "in progress" in text or "pending" in text
    # An event source mapping that is being changed; and a queue's name, for a minute after its deletion.
    return code == "ResourceInUseException" or code.endswith("QueueDeletedRecently")


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
    if isinstance(error, OFFLINE):
        return "check your network and the name of the region, then"
    hint = next((hint for code, hint in HINTS.items() if _code(error).startswith(code)), "")
    return f"{hint}, then" if hint else "fix the cause and"


def _code(error: Exception) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else ""
