"""Passwords that the configuration only refers to: looked up in AWS for each connection, so a new one takes effect.

`ssm:/path` is a parameter of Systems Manager; `secret:name-or-arn` a secret of Secrets Manager, either the password
itself or a JSON object with `password` and optionally `username`. `iam:service/cache/user` is no password at all: AWS
takes a token instead, which whoever has the right to connect as that user signs.
"""

from __future__ import annotations

import json
import os
from functools import cache
from typing import Any

import redis

from . import deadline

SSM = "ssm:"
SECRET = "secret:"
IAM = "iam:"

SERVERLESS, NODES, MEMORYDB = "serverless", "elasticache", "memorydb"
"""What takes tokens: ElastiCache Serverless, ElastiCache of nodes, and MemoryDB."""

TOKEN_S = 900
"""For how long AWS accepts a token; a connection that is open stays so for 12 hours."""

TIMEOUT_S = 3
LIMIT_S = 6
"""For the whole look-up. The first one of a process also imports boto3, which takes seconds on a small function; a
function has 10 in all, unless aws.timeout_s says otherwise."""


def is_reference(password: str | None) -> bool:
    """Whether this refers to a password, or to whom to sign a token for, instead of being one."""
    return bool(password) and str(password).startswith((SSM, SECRET, IAM))


class PasswordLookupError(redis.AuthenticationError):
    """The password could not be read from AWS, or no token could be signed."""


class AwsCredentialProvider(redis.CredentialProvider):
    """Looks the password up, or signs a token, each time redis-py connects; by default in the environment's region.

    Raises PasswordLookupError.
    """

    def __init__(self, reference: str, username: str | None = None, region: str | None = None) -> None:
        self.reference = reference
        self.username = username
        self.region = region

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """The password, or user name and password or token."""
        try:
            with deadline.apart(LIMIT_S):
                username, password = deadline.within(LIMIT_S, lambda: _look_up(self.reference, self.region))
        except Exception as error:  # botocore's own classes, which are imported only when needed
            what = "sign a token for" if self.reference.startswith(IAM) else "read the password from"
            raise PasswordLookupError(f"could not {what} {self.reference}: {error}") from error
        username = self.username or username
        return (username, password) if username else (password,)


def _look_up(reference: str, region: str | None) -> tuple[str | None, str]:
    if reference.startswith(IAM):
        return _sign(reference, region)
    # Only here: Lambda's boto3 takes 0.3 s to import.
    import boto3
    from botocore.config import Config

    options = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"max_attempts": 1})
    # Lambda sets both variables, but boto3 itself reads only AWS_DEFAULT_REGION, which a laptop may lack.
    region = region or os.environ.get("AWS_REGION")
    if reference.startswith(SSM):
        ssm = boto3.client("ssm", region, config=options)
        answer = ssm.get_parameter(Name=reference[len(SSM) :], WithDecryption=True)
        return None, str(answer["Parameter"]["Value"])
    secrets = boto3.client("secretsmanager", region, config=options)
    answer = secrets.get_secret_value(SecretId=reference[len(SECRET) :])
    return _from_secret(str(answer["SecretString"]))


def _sign(reference: str, region: str | None) -> tuple[str, str]:
    """The user, and a token: a request to connect that is signed but never sent, without its scheme."""
    # Only here, and without boto3: with one of its clients, a cold start would take 0.3 s more.
    from botocore.auth import SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.exceptions import NoRegionError

    service, cache_name, user = reference[len(IAM) :].split("/")
    region = region or os.environ.get("AWS_REGION") or _session().get_config_variable("region")
    if not region:
        raise NoRegionError
    params = {"Action": "connect", "User": user}
    if service == SERVERLESS:
        params["ResourceType"] = "ServerlessCache"
    request = AWSRequest("GET", f"https://{cache_name}/", params=params)
    signed_for = MEMORYDB if service == MEMORYDB else NODES
    # Never kept: signing takes 0.1 ms, and what signs it may be renewed at any time.
    SigV4QueryAuth(_session().get_credentials(), signed_for, region, TOKEN_S).add_auth(request)
    return user, str(request.url).partition("://")[2]


@cache
def _session() -> Any:
    """Reads AWS' files once. It renews temporary credentials by itself."""
    import botocore.session

    return botocore.session.get_session()


def _from_secret(text: str) -> tuple[str | None, str]:
    try:
        value: Any = json.loads(text)
    except ValueError:
        return None, text
    if isinstance(value, dict) and "password" in value:
        return value.get("username"), str(value["password"])
    return None, text
