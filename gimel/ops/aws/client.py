"""The only maker of boto3 clients, and the only place that changes anything on AWS."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    SSOError,
    TokenRetrievalError,
    WaiterError,
)

from gimel.errors import GimelError

from .names import STAGE, Account
from .plan.steps import Step

# API Gateway lets one deployment through in 5 seconds, and one deletion of an API in 30.
OPTIONS = Config(retries={"mode": "adaptive", "max_attempts": 10}, connect_timeout=10, read_timeout=70)

ROLE_PATIENCE_S = 90
WAIT_S = 1
"""Between two tries, and between two looks at what is being waited for."""

WAITED_FOR_S = {"published_version_active": 600}

CURES = {
    "AccessDenied": "give your user the rights that `gimel permissions` lists",
    "ExpiredToken": "sign in again",
    "InvalidClientTokenId": "check your credentials with `aws sts get-caller-identity`",
    "UnrecognizedClient": "check your credentials with `aws sts get-caller-identity`",
    "SignatureDoesNotMatch": "check your credentials with `aws sts get-caller-identity`",
    "TooManyRequests": "AWS limits these calls; try again in a minute",
    "Throttling": "AWS limits these calls; try again in a minute",
    "LimitExceeded": "ask AWS for a higher quota, or remove something of this kind",
    "ResourceConflict": "something else is changing it; try again when that has ended",
}

OFFLINE = (EndpointConnectionError, ConnectTimeoutError, ReadTimeoutError, ConnectionClosedError)


class Aws:
    """Clients of one session, made when first used."""

    def __init__(self, session: boto3.Session | None = None, sleep: Callable[[float], None] = time.sleep) -> None:
        self._session = session
        self._clients: dict[str, Any] = {}
        self._sleep = sleep

    @cached_property
    def session(self) -> boto3.Session:
        """The session. Raises GimelError where the profile does not exist."""
        try:
            # As other SDKs do; boto3 itself reads only AWS_DEFAULT_REGION.
            return self._session or boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
        except ProfileNotFound as error:
            raise GimelError(str(error), "set AWS_PROFILE to one that `aws configure list-profiles` shows") from None

    def client(self, service: str) -> Any:
        """The client of a service. Raises GimelError where there is no region."""
        if service not in self._clients:
            try:
                self._clients[service] = self.session.client(service, config=OPTIONS)
            except NoRegionError:
                raise GimelError("there is no AWS region", "set AWS_REGION, or run `aws configure`") from None
        return self._clients[service]

    @cached_property
    def account(self) -> Account:
        """Whose credentials these are, and where they are used. Raises GimelError where there are none that work."""
        client = self.client("apigateway")
        try:
            identity = self.client("sts").get_caller_identity()
        except (ClientError, BotoCoreError) as error:
            raise failure("AWS does not say whose credentials these are", error) from error
        return Account(identity["Account"], client.meta.region_name, client.meta.partition)

    def api_url(self, api: str) -> str:
        """The address of the API's stage: AWS', or an emulator's where the session points at one."""
        region, endpoint = self.account.region, self.client("apigateway").meta.endpoint_url
        # The partition's domain, from the very address that is being used: apigateway.cn-north-1.amazonaws.com.cn
        found = re.fullmatch(rf"apigateway(?:-fips)?\.{region}\.(.+)", urlsplit(endpoint).hostname or "")
        if not found:
            return f"{endpoint}/restapis/{api}/{STAGE}/_user_request_"
        return f"https://{api}.execute-api.{region}.{found[1]}/{STAGE}"

    def perform(self, number: int, step: Step, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do a step and wait for it. Raises GimelError, saying which step failed and what to try."""
        client = self.client(step.service)
        try:
            answer = self._patiently(getattr(client, step.call), params)
            if step.waiter:
                self._wait(client, step.waiter, {**step.waiter_params, **_learned(step, answer)})
        except ClientError as error:
            if error.response["Error"]["Code"] in step.tolerates:
                return {}
            raise failure(f"step {number}, {step.does}, failed", error) from error
        except (BotoCoreError, WaiterError) as error:
            raise failure(f"step {number}, {step.does}, failed", error) from error
        return answer if isinstance(answer, Mapping) else {}

    def _patiently(self, call: Callable[..., Any], params: Mapping[str, Any]) -> Any:
        """Call again while a new role is not known everywhere yet, or something is being changed otherwise."""
        for _ in range(ROLE_PATIENCE_S // WAIT_S):
            try:
                return call(**params)
            except ClientError as error:
                if not _passes(error):
                    raise
                self._sleep(WAIT_S)
        return call(**params)

    def _wait(self, client: Any, name: str, params: Mapping[str, Any]) -> None:
        waiter = client.get_waiter(name)
        seconds = WAITED_FOR_S.get(name, 300)
        waiter.wait(**params, WaiterConfig={"Delay": WAIT_S, "MaxAttempts": seconds // WAIT_S})


def _learned(step: Step, answer: Mapping[str, Any]) -> dict[str, Any]:
    return {"Qualifier": answer["Version"]} if step.waiter == "published_version_active" else {}


def _passes(error: ClientError) -> bool:
    code, text = error.response["Error"]["Code"], error.response["Error"].get("Message", "").lower()
    if code == "InvalidParameterValueException":
        return "assume" in text or ("execution role" in text and "permission" in text)
    if code == "ConflictException":
        return "concurrent modification" in text
    return code == "ResourceConflictException" and ("in progress" in text or "pending" in text)


def failure(what: str, error: Exception) -> GimelError:
    """An error of botocore as one that says where, what and what to try."""
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return GimelError(f"{what} ({error})", "run `aws configure`, or set AWS_PROFILE")
    cure = _cure(error)
    again = "then run the same command again: it goes on where it stopped"
    return GimelError(f"{what}: {error}{_reason(error)}", f"{cure}, {again}" if cure else f"mend that, {again}")


def _reason(error: Exception) -> str:
    """What Lambda says of a function that did not become what was waited for."""
    if not isinstance(error, WaiterError):
        return ""
    answer = error.last_response
    function = answer.get("Configuration") or answer
    reason = function.get("LastUpdateStatusReason") or function.get("StateReason")
    return f": {reason}" if reason else ""


def _cure(error: Exception) -> str:
    if isinstance(error, (SSOError, TokenRetrievalError)):
        return "sign in again with `aws sso login`"
    if isinstance(error, OFFLINE):
        return "check your network, and that there is such a region"
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
    return next((text for name, text in CURES.items() if code.startswith(name)), "")
