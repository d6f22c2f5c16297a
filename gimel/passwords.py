"""Passwords that the configuration only refers to: looked up in AWS for each connection, so a new one takes effect.

`ssm:/path` is a parameter of Systems Manager; `secret:name-or-arn` a secret of Secrets Manager, either the password
itself or a JSON object with `password` and optionally `username`.
"""

from __future__ import annotations

import json
import os
from typing import Any

import redis

from . import deadline

SSM = "ssm:"
SECRET = "secret:"

TIMEOUT_S = 3
LIMIT_S = 6
"""For the whole look-up. The first one of a process also imports boto3, which takes seconds on a small function; a
function has 10 in all, unless aws.timeout_s says otherwise."""


def is_reference(password: str | None) -> bool:
    """Whether this refers to a password instead of being one."""
    return bool(password) and str(password).startswith((SSM, SECRET))


class PasswordLookupError(redis.AuthenticationError):
    """The password could not be read from AWS."""


class AwsCredentialProvider(redis.CredentialProvider):
    """Looks the password up each time redis-py connects, by default in the region of the environment.

    Raises PasswordLookupError.
    """

    def __init__(self, reference: str, username: str | None = None, region: str | None = None) -> None:
        self.reference = reference
        self.username = username
        self.region = region

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """The password, or user name and password."""
        try:
            with deadline.apart(LIMIT_S):
                username, password = deadline.within(LIMIT_S, lambda: _look_up(self.reference, self.region))
        except Exception as error:  # botocore's own classes, which are imported only when needed
            raise PasswordLookupError(f"could not read the password from {self.reference}: {error}") from error
        username = self.username or username
        return (username, password) if username else (password,)


def _look_up(reference: str, region: str | None) -> tuple[str | None, str]:
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


def _from_secret(text: str) -> tuple[str | None, str]:
    try:
        value: Any = json.loads(text)
    except ValueError:
        return None, text
    if isinstance(value, dict) and "password" in value:
        return value.get("username"), str(value["password"])
    return None, text
