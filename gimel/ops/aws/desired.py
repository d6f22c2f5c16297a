"""The wanted state of a deployment, as data: computed from the configuration and the account, without asking AWS."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from gimel import passwords
from gimel.config import Config, RedisSettings
from gimel.errors import ConfigError

from . import bundle, policies, wiring
from .names import Account, Names, description, marker
from .settings import AwsSettings

KEPT_VERSIONS = 5
FILES = {"tls_ca_file": "redis-ca.pem", "tls_cert_file": "redis-client.pem", "tls_key_file": "redis-client-key.pem"}
"""What comes along in the zip, under these names."""

SECRET_VARIABLES = {"GIMEL_REDIS_PASSWORD"}

ACCESS_LOG_FORMAT = policies.as_text(
    {
        name: f"$context.{name}"
        for name in ("requestId", "requestTime", "httpMethod", "resourcePath", "status", "responseLatency")
    }
    | {"error": "$context.error.message", "integrationError": "$context.integrationErrorMessage"}
)


@dataclass(frozen=True)
class WantedFunction:
    """One function: its name, and its configuration in the words of Lambda's API."""

    name: str
    configuration: Mapping[str, Any]
    reserved_concurrency: int | None


@dataclass(frozen=True)
class Wanted:
    """All that a deployment is to be."""

    account: Account
    settings: AwsSettings
    wiring: wiring.Wiring
    functions: tuple[WantedFunction, ...]
    bundle: bundle.Bundle
    role_policy: str
    role_policy_in_vpc: str
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> Names:
        """What everything is called."""
        return Names(self.settings.name, self.account)

    @property
    def tags(self) -> dict[str, str]:
        """The configured tags, and one that says whose this is."""
        return {**self.settings.tags, "gimel:deployment": self.settings.name}

    def is_tagged(self, found: Mapping[str, str]) -> bool:
        """Whether something bears all of these tags."""
        return self.tags.items() <= dict(found).items()

    @property
    def api_digest(self) -> str:
        """Stands in the description of API Gateway's deployment, so that an unchanged one is known again."""
        routes = [(route.path, route.method, route.function, route.needs_key) for route in self.wiring.routes]
        text = policies.as_text([routes, self.names.base, self.account.arn("lambda", ""), GATEWAY_RESPONSES])
        return f"{marker(self.settings.name)}, {hashlib.sha256(text.encode()).hexdigest()[:12]}"


LONGEST_NAME = 64
"""Of a Lambda function, in characters."""


# A gateway's own errors hold nothing private and the browser sends no credentials, so every page may see them.
GATEWAY_RESPONSES = {
    name: {"gatewayresponse.header.Access-Control-Allow-Origin": "'*'"} for name in ("DEFAULT_4XX", "DEFAULT_5XX")
}


def build(config: Config, settings: AwsSettings, raw: Mapping[str, Any], account: Account) -> Wanted:
    """The wanted state. Raises ConfigError, and GimelError where the zip cannot be built."""
    redis_settings = _usable(config.redis)
    wired = wiring.wire(raw.get("extra_wiring") or ())
    section, environment, files = _split(redis_settings)
    content = bundle.function_config(raw) | {"redis": section}
    built = bundle.build(content, settings.runtime, files)
    names = Names(settings.name, account)
    unknown = set(settings.functions) - {function.name for function in wired.functions}
    if unknown:
        known = ", ".join(function.name for function in wired.functions)
        raise ConfigError(f"aws.functions: there is no {', '.join(sorted(unknown))}", f"known are {known}")
    functions = [_function(function, settings, names, environment) for function in wired.functions]
    for function in functions:
        if len(function.name) > LONGEST_NAME:
            hint = "shorten aws.name, or FunctionName in extra_wiring"
            raise ConfigError(f"{function.name} has more than the {LONGEST_NAME} characters that Lambda takes", hint)
    release = hashlib.sha256(
        policies.as_text([built.sha256, [_public(function.configuration) for function in functions]]).encode()
    ).hexdigest()[:12]
    described = tuple(
        replace(function, configuration={**function.configuration, "Description": description(settings.name, release)})
        for function in functions
    )
    notes = list(wired.notes)
    if "tls_key_file" in section:
        notes.append("the zip holds redis.tls_key_file: whoever may read the functions' code may read that key")
    called = [function.name for function in functions]
    documents = {in_vpc: _policy(redis_settings, settings, names, called, in_vpc) for in_vpc in (False, True)}
    policy = documents[bool(settings.subnet_ids)]
    return Wanted(account, settings, wired, described, built, policy, documents[True], tuple(notes))


def _usable(settings: RedisSettings) -> RedisSettings:
    if settings.unix_socket or (settings.url or "").startswith("unix:"):
        raise ConfigError("Lambda cannot reach a Unix socket", "give redis.host, or a URL with a host")
    return settings


def _split(settings: RedisSettings) -> tuple[dict[str, Any], dict[str, str], dict[str, bytes]]:
    """The redis section for the zip, what goes into the environment instead, and files that come along."""
    default = RedisSettings()
    section = {key: value for key, value in vars(settings).items() if value != getattr(default, key)}
    environment, files = {}, {}
    password = section.get("password")
    if settings.url:
        section["url"], in_url = _without_password(settings.url)
        password = password or in_url
    else:
        section["host"] = settings.host
    if password and not passwords.is_reference(password):
        environment["GIMEL_REDIS_PASSWORD"] = password
        section.pop("password", None)
    for key, name in FILES.items():
        if key in section:
            files[name] = _content(key, section[key])
            section[key] = name
    return section, environment, files


def _content(key: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"redis.{key} cannot be read ({error.strerror})", "name a PEM file") from None


def _without_password(url: str) -> tuple[str, str | None]:
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    in_query = next((value for name, value in query if name == "password"), None)
    if in_query is not None:
        parts = parts._replace(query=urlencode([(name, value) for name, value in query if name != "password"]))
    if parts.password is None:
        return (url if in_query is None else urlunsplit(parts)), in_query
    user = f"{quote(unquote(parts.username))}@" if parts.username else ""
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}{host}")), unquote(parts.password)


def _function(
    function: wiring.Function, settings: AwsSettings, names: Names, environment: dict[str, str]
) -> WantedFunction:
    own = settings.function(function.name)
    explicit = function.name in settings.functions
    memory = own.memory_mb if explicit else function.memory_mb or own.memory_mb
    timeout = own.timeout_s if explicit else function.timeout_s or own.timeout_s
    configuration = {
        "Runtime": settings.runtime,
        "Role": names.role_arn,
        "Handler": function.handler,
        "MemorySize": memory,
        "Timeout": timeout,
        "Architectures": [settings.architecture],
        "Environment": {"Variables": dict(environment)},
        "VpcConfig": {
            "SubnetIds": sorted(settings.subnet_ids),
            "SecurityGroupIds": sorted(settings.security_group_ids),
        },
        "SnapStart": {"ApplyOn": "PublishedVersions" if settings.snap_start else "None"},
    }
    return WantedFunction(names.function(function.name), configuration, own.reserved_concurrency)


def _public(configuration: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in configuration.items() if key != "Environment"}


def _policy(
    redis_settings: RedisSettings, settings: AwsSettings, names: Names, functions: list[str], in_vpc: bool
) -> str:
    parameter = secret = None
    reference = redis_settings.password if passwords.is_reference(redis_settings.password) else None
    if reference and reference.startswith(passwords.SSM):
        path = reference[len(passwords.SSM) :]
        parameter = path if path.startswith("arn:") else names.account.arn("ssm", f"parameter/{path.lstrip('/')}")
    elif reference:
        secret = reference[len(passwords.SECRET) :]
        # A secret's ARN ends in six characters that its name lacks.
        if not secret.startswith("arn:"):
            secret = names.account.arn("secretsmanager", f"secret:{secret}-??????")
    groups = [names.log_group_arn(names.log_group(function)) for function in functions]
    arns = [names.account.arn("lambda", f"function:{function}") for function in functions]
    return policies.as_text(
        policies.role_policy(groups, parameter, secret, settings.kms_key_arn, arns if in_vpc else [])
    )
