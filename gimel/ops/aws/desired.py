"""The desired state of a deployment, as data: computed from the configuration and the account, without calling AWS."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from gimel import access, passwords
from gimel.config import Config, RedisSettings
from gimel.errors import ConfigError
from gimel.ops.endpoints import ENDPOINTS, WITHOUT_REDIS

from . import bundle, policies, redis_address, wiring
from .names import SNAPSHOT, TRACK, Account, Names, description, marker
from .settings import AwsSettings

KEPT_VERSIONS = 5
KEPT_SNAPSHOTS = 2
"""How many of the kept versions may have SnapStart, because each snapshot costs as long as it is kept."""

TRACKING = "gimel.track"
MAX_NAME_LENGTH = 64  # of a Lambda function

FILES = {"tls_ca_file": "redis-ca.pem", "tls_cert_file": "redis-client.pem", "tls_key_file": "redis-client-key.pem"}
"""Files that are included in the zip, and their names there."""

ADDRESS = "GIMEL_REDIS_ADDRESS"
"""Which Redis a function uses. Nothing reads it there."""

PASSWORD = "GIMEL_REDIS_PASSWORD"
NOTIFY_URL, NOTIFY_SECRET = "GIMEL_NOTIFY_URL", "GIMEL_NOTIFY_SECRET"
SECRET_VARIABLES = {PASSWORD, NOTIFY_URL, NOTIFY_SECRET, access.VARIABLE}
"""What plans do not show. The keys' hashes are no secrets, but those of new keys differ at every dry run."""


class Secret(str):
    """A value that no plan shows."""


TRACK_URL = "track_url"
"""The variable of the stage that tells the dashboard where pages send events. Functions are made before the APIs."""

LOGGED = ("requestId", "requestTime", "httpMethod", "resourcePath", "status", "responseLatency")
ACCESS_LOG_FORMAT = policies.as_text(
    {name: f"$context.{name}" for name in LOGGED}
    | {"error": "$context.error.message", "integrationError": "$context.integrationErrorMessage"}
)
HTTP_ACCESS_LOG_FORMAT = ACCESS_LOG_FORMAT.replace("$context.resourcePath", "$context.path")
"""An HTTP API knows the same variables, but no resources."""


@dataclass(frozen=True)
class DesiredFunction:
    """One function: its name, and its configuration in the terms of Lambda's API."""

    name: str
    configuration: Mapping[str, Any]
    reserved_concurrency: int | None


@dataclass(frozen=True)
class Desired:
    """Everything that a deployment should consist of."""

    names: Names
    settings: AwsSettings
    wiring: wiring.Wiring
    functions: tuple[DesiredFunction, ...]
    bundle: bundle.Bundle
    release: str
    notes: tuple[str, ...] = ()

    @property
    def tags(self) -> dict[str, str]:
        """The configured tags, and one that names the deployment."""
        return {**self.settings.tags, "gimel:deployment": self.settings.name}

    def is_tagged(self, found: Mapping[str, str]) -> bool:
        """Whether something has all of these tags."""
        return self.tags.items() <= dict(found).items()

    def role_policy(self, in_vpc: bool, with_queues: bool, passwords: Iterable[str] = ()) -> str:
        """What the functions may do. Earlier versions may need the network, the queues or other passwords."""
        groups = [self.names.log_group_arn(self.names.log_group(function.name)) for function in self.functions]
        arns = [self.names.function_arn(function.name) for function in self.functions] if in_vpc else []
        queues = [self.names.queue_arn(name) for name in (self.names.queue, self.names.dead_letters)]
        own = {password_of(function.configuration) for function in self.functions}
        read = readable({*own, *passwords}, self.settings.kms_key_arn, self.names.account)
        document = policies.role_policy(groups, read, arns, queues if with_queues else [])
        return policies.as_text(document)

    @property
    def api_digest(self) -> str:
        """The description of API Gateway's deployment. It changes only when the API does."""
        routes = [(route.path, route.method, route.function, route.needs_key) for route in self.wiring.routes]
        account = self.names.account.arn("lambda", "")
        text = policies.as_text([routes, self.names.base, account, GATEWAY_RESPONSES, BINARY_TYPES])
        return f"{marker(self.settings.name)}, {hashlib.sha256(text.encode()).hexdigest()[:12]}"


# API Gateway's own errors contain nothing private and browsers send no credentials, so every page may read them.
GATEWAY_RESPONSES = {
    name: {"gatewayresponse.header.Access-Control-Allow-Origin": "'*'"} for name in ("DEFAULT_4XX", "DEFAULT_5XX")
}

# Compressed reports are bytes. A browser's Accept header may begin with any type, and API Gateway looks at no other.
BINARY_TYPES = ("*/*",)


def build(config: Config, settings: AwsSettings, content: Mapping[str, Any], account: Account) -> Desired:
    """The desired state, given a checked config.json and its content. Raises ConfigError and BundleError."""
    redis = config.redis
    if redis.unix_socket or (redis.url or "").startswith("unix:"):
        raise ConfigError("Lambda cannot reach a Unix socket", "set redis.host, or a URL with a host")
    wired = wiring.wire(content.get("extra_wiring") or (), config.track_path)
    section, environment, files = _split(redis)
    built = bundle.build(
        _without_webhook(bundle.function_config(content)) | {"redis": section}, settings.runtime, files
    )
    _check_domain(settings, wired, account)
    known = [function.name for function in wired.functions]
    if unknown := sorted(set(settings.functions) - set(known)):
        raise ConfigError(f"aws.functions: unknown function {', '.join(unknown)}", f"known: {', '.join(known)}")
    names = Names(settings.name, account)
    checking = {endpoint.handler for endpoint in ENDPOINTS if any(map(endpoint.needs_key, endpoint.methods))}
    keyed = {route.function for route in wired.routes if route.needs_key}
    keyed &= {function.name for function in wired.functions if function.handler in checking}
    own = {name: {access.VARIABLE: ""} for name in keyed} | {SNAPSHOT: _webhook(config)}
    functions = [
        _function(function, settings, names, environment | own.get(function.name, {})) for function in wired.functions
    ]
    for function in functions:
        if len(function.name) > MAX_NAME_LENGTH:
            hint = "shorten aws.name, or FunctionName in extra_wiring"
            raise ConfigError(f"function name {function.name} is longer than {MAX_NAME_LENGTH} characters", hint)
    public = [_without_secrets(function.configuration) for function in functions]
    release = hashlib.sha256(policies.as_text([built.digest, public]).encode()).hexdigest()[:12]
    text = description(settings.name, release, f"{'compiled' if built.compiled else 'sources'} {built.sha256[:12]}")
    notes = list(wired.notes)
    notes += [
        f"{route.method} {route.path} needs an API key, because {route.function} checks keys on another path; give it "
        "a FunctionName of its own in extra_wiring"
        for route in wired.routes
        if route.function in keyed and not route.needs_key and route.method != "OPTIONS"
    ]
    if "tls_key_file" in section:
        notes.append("the zip contains redis.tls_key_file: anyone who can read the functions' code can read that key")
    if not settings.durable and (content.get("aws") or {}).get("durable") is None:
        notes.append(
            "events are refused while Redis cannot take them, because with aws.vpc durable tracking is off by default; "
            "see docs/deploying.md"
        )
    return Desired(
        names=names,
        settings=settings,
        wiring=wired,
        functions=tuple(
            replace(function, configuration={**function.configuration, "Description": text}) for function in functions
        ),
        bundle=built,
        release=release,
        notes=tuple(notes),
    )


def _check_domain(settings: AwsSettings, wired: wiring.Wiring, account: Account) -> None:
    """Raises ConfigError unless the domain can use the certificate, and leads events to the API that takes them."""
    region = (settings.certificate_arn or "").split(":")[3:4]
    hidden = [route.path for route in wired.routes if route.function == TRACK and route.path.startswith("/api")]
    if settings.domain and hidden:
        raise ConfigError(
            f"on {settings.domain}, {hidden[0]} would lead to the reports", "choose another path for events"
        )
    if region and region != [account.region]:
        message = f"aws.certificate_arn: the certificate is in {region[0]}, and the deployment in {account.region}"
        raise ConfigError(message, f"request one for {settings.domain} in ACM in {account.region}")


def _split(settings: RedisSettings) -> tuple[dict[str, Any], dict[str, str], dict[str, bytes]]:
    """The redis section for the zip, the environment with its address and password, and files for the zip."""
    default = RedisSettings()
    section = {key: value for key, value in vars(settings).items() if value != getattr(default, key)}
    environment, files = {ADDRESS: redis_address.address(settings)}, {}
    section.pop("password", None)
    if settings.url:
        section["url"] = _without_password(settings.url)
    else:
        section["host"] = settings.host
    if password := redis_address.password(settings):
        environment[PASSWORD] = password
    for key, name in FILES.items():
        if key in section:
            try:
                files[name] = Path(section[key]).read_bytes()
            except OSError as error:
                raise ConfigError(f"could not read redis.{key} ({error.strerror})", "set it to a PEM file") from None
            section[key] = name
    return section, environment, files


def _webhook(config: Config) -> dict[str, str]:
    """The variables with the URL and the secret of the webhook: whoever knows the URL of a chat's can write there."""
    notify = config.notify
    found = {NOTIFY_URL: notify.url, NOTIFY_SECRET: notify.secret} if notify else {}
    return {name: value for name, value in found.items() if value}


def _without_webhook(content: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in (content.get("notify") or {}).items() if key not in ("url", "secret")}
    return {**content, "notify": kept} if content.get("notify") else content


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in query if name != "password"]
    if kept != query:
        parts = parts._replace(query=urlencode(kept))
    if parts.password is not None:
        user = f"{parts.username}@" if parts.username else ""
        parts = parts._replace(netloc=f"{user}{parts.netloc.rpartition('@')[2]}")
    return urlunsplit(parts)


def _function(
    function: wiring.Function, settings: AwsSettings, names: Names, environment: dict[str, str]
) -> DesiredFunction:
    own = settings.functions.get(function.name, settings.common)
    explicit = function.name in settings.functions
    variables = dict(environment)
    if function.handler in WITHOUT_REDIS:
        variables.pop(PASSWORD, None)
    if settings.durable and function.handler == TRACKING:
        variables["GIMEL_QUEUE_URL"] = names.queue_url(names.queue)
        variables["GIMEL_DEAD_LETTERS_URL"] = names.queue_url(names.dead_letters)
    if settings.alarms_email and function.handler == TRACKING:
        variables["GIMEL_METRICS"] = settings.name
    snap_start = settings.snap_start and function.name != SNAPSHOT  # nobody waits for it to start
    vpc = {"SubnetIds": sorted(settings.subnet_ids), "SecurityGroupIds": sorted(settings.security_group_ids)}
    configuration = {
        "Runtime": settings.runtime,
        "Role": names.role_arn,
        "Handler": function.handler,
        "MemorySize": own.memory_mb if explicit else function.memory_mb or own.memory_mb,
        "Timeout": own.timeout_s if explicit else function.timeout_s or own.timeout_s,
        "Architectures": [settings.architecture],
        "Environment": {"Variables": variables},
        "VpcConfig": vpc,
        "SnapStart": {"ApplyOn": "PublishedVersions" if snap_start else "None"},
    }
    return DesiredFunction(names.function(function.name), configuration, own.reserved_concurrency)


def _without_secrets(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with a reference to a password, but with no password or other secret."""
    variables = configuration["Environment"]["Variables"]
    secret = SECRET_VARIABLES - ({PASSWORD} if passwords.is_reference(variables.get(PASSWORD)) else set())
    return {**configuration, "Environment": {key: text for key, text in variables.items() if key not in secret}}


def password_of(configuration: Mapping[str, Any]) -> str:
    """The password of a function or version, or the reference to it; empty if it has none."""
    return str(((configuration.get("Environment") or {}).get("Variables") or {}).get(PASSWORD) or "")


def readable(references: Iterable[str], kms_key_arn: str | None, account: Account) -> dict[str, list[str]]:
    """The ARNs for each action that reads these passwords, or signs in without one, as far as they are references."""
    found: dict[str, list[str]] = {}
    for reference in sorted(filter(passwords.is_reference, references)):
        kind, _, name = reference.partition(":")
        if kind == "ssm":
            arn = name if name.startswith("arn:") else account.arn("ssm", f"parameter/{name.lstrip('/')}")
            found.setdefault("ssm:GetParameter", []).append(arn)
        elif kind == "iam":
            service, *resources = _connected(name)
            arns = found.setdefault(f"{service}:Connect", [])
            # The versions that are kept may use another cache with the same user.
            arns += sorted({account.arn(service, resource) for resource in resources} - {*arns})
        else:
            # A secret's ARN ends in six characters that its name lacks.
            arn = name if name.startswith("arn:") else account.arn("secretsmanager", f"secret:{name}-??????")
            found.setdefault("secretsmanager:GetSecretValue", []).append(arn)
    if kms_key_arn:
        found["kms:Decrypt"] = [kms_key_arn]
    return found


def _connected(name: str) -> tuple[str, str, str]:
    """The service, and the cache and its user as resources there: the right to connect is needed to both."""
    service, cache, user = name.split("/")
    if service == passwords.MEMORYDB:
        return service, f"cluster/{cache}", f"user/{user}"
    kind = "serverlesscache" if service == passwords.SERVERLESS else "replicationgroup"
    return passwords.NODES, f"{kind}:{cache}", f"user:{user}"
