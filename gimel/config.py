"""Reads and checks config.json and the environment. The result is frozen; every error says what to change."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from redis.connection import parse_url

from .errors import ConfigError
from .events import PARTICIPATE, Event
from .hyperloglog import BITMAPS, Precision
from .passwords import IAM, MEMORYDB, NODES, SERVERLESS
from .settings import NO_SETTINGS, PRECISION, ExperimentSettings, names_of
from .settings import read as read_settings
from .validation import Section, flag, json_object, list_of, matching, positive, read_file, text, whole

ORIGINS_WANTED = '"*" or a list of origins as browsers send them, such as ["https://example.com"]'
URL_SCHEMES = "redis://host:6379/0, rediss://host:6379/0 (TLS) or unix:///path/to/redis.sock"

PLACEHOLDERS = {
    "host": ("ENTER YOUR REDIS HOST", "enter the host name of your Redis"),
    "password": ("...", 'enter its password, or "" if it has none'),
}
"""What the template has in the redis section, and what to do about it."""

HOST_WANTED = "a host name or address, such as redis.example.com; put a URL into redis.url"

IN_URL = {"host", "port", "unix_socket", "db", "username", "password", "tls"}
KEYS = {
    *("redis", "cors_origins", "require_origin", "count_bots", "allowed_namespaces", "allowed_experiments", "limits"),
    *("precision", "experiments", "track_path", "notify", "extra_wiring", "aws"),
}

IAM_WANTED = 'an object such as {"user": "gimel", "cache": "counts"}'
IAM_KEYS = {"user", "cache", "service"}

IAM_HOSTS = {".serverless.": SERVERLESS, ".memorydb.": MEMORYDB, ".cache.amazonaws.com": NODES}
"""What is in the names of AWS' endpoints, the first that fits. A certificate is for such a name, and for no other."""

CLUSTERS = (SERVERLESS, MEMORYDB)

NOTICES = ("winner", "loser", "split", "no_events", "planned")
"""What a webhook can be told: a verdict, a wrong split, that no events come, that the planned visitors have come."""

NOTIFY_KEYS = {"url", "on", "secret", "allow_private"}
NOTIFY_WANTED = 'an object such as {"url": "https://example.com/hook", "on": ["winner", "split"]}'

TRACK = "/track"
"""The path where every Gimel takes events."""

TAKEN_PATHS = {
    *(TRACK, "/experiment", "/experiments", "/history", "/plan", "/delete", "/health", "/openapi.json", "/example"),
    *("/alephbet.js", "/enter"),
    "/api",  # of reports, on a domain of your own
    *("/ping", "/sping"),  # API Gateway answers these itself
}
"""What `track_path` may not be."""

TRACK_PATH_WANTED = (
    'a path of one part such as "/e", made of letters, digits, hyphens, underscores and dots, that is not the path of '
    f"anything else; or false for {TRACK} alone"
)

# Gimel 1.x passed its redis section to redis-py as it was, so a working file may contain these names.
OLD_REDIS_NAMES = {
    "ssl": "tls",
    "ssl_ca_certs": "tls_ca_file",
    "ssl_certfile": "tls_cert_file",
    "ssl_keyfile": "tls_key_file",
    "socket_timeout": "timeout_s",
    "socket_connect_timeout": "connect_timeout_s",
    "unix_socket_path": "unix_socket",
}
OLD_REDIS_IGNORED = {
    *("charset", "encoding", "encoding_errors", "errors", "decode_responses"),
    *("retry_on_timeout", "max_connections", "socket_keepalive", "socket_keepalive_options"),
}

SELF_TEST = "gimel-selftest"
"""The namespace of a deployment's self-test. It holds one experiment, and no more than these counters."""
SELF_TEST_EXPERIMENT = "self-test"
SELF_TEST_COUNTERS = {(goal, variant) for goal in (PARTICIPATE, "reached") for variant in ("a", "b")}

EXPERIMENTS_WANTED = (
    'a list of experiment names, or an object with such a list for each namespace, as in {"alephbet": ["button color"]}'
)


@dataclass(frozen=True)
class Limits:
    """How many names Redis holds at most: experiments and counters in each namespace, variants and goals in each
    experiment."""

    # A deployment has a few (production, staging, some sites). Each may fill up, so this one multiplies the others.
    namespaces: int = 10
    experiments: int = 1_000
    counters: int = 10_000
    variants: int = 20
    goals: int = 50


@dataclass(frozen=True)
class Notify:
    """The webhook that snapshots tell what has become of experiments, and which kinds of that. `secret` signs."""

    url: str = field(repr=False)
    on: frozenset[str] = frozenset(NOTICES)
    secret: str | None = field(default=None, repr=False)
    allow_private: bool = False


@dataclass(frozen=True)
class RedisSettings:
    """Where Redis is, and timeouts in seconds. A `url` replaces everything but the TLS files and the timeouts."""

    url: str | None = field(default=None, repr=False)
    host: str = "localhost"
    port: int = 6379
    unix_socket: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    tls_verify: bool = True
    tls_ca_file: str | None = None
    tls_cert_file: str | None = None
    tls_key_file: str | None = None
    cluster: bool = False
    replica_reads: bool = False
    connect_timeout_s: float = 1.0
    timeout_s: float = 1.0


@dataclass(frozen=True)
class Config:
    """A checked configuration. `redis_settings` is None if Redis is not configured, `path` if there is no file.

    `track_path` is where pages send events. What it answers is that of `/track`, which it may also be.
    """

    redis_settings: RedisSettings | None = None
    cors_origins: tuple[str, ...] = ("*",)
    require_origin: bool = False
    count_bots: bool = False
    allowed_namespaces: frozenset[str] | None = None
    allowed_experiments: frozenset[str] | Mapping[str, frozenset[str]] | None = None
    limits: Limits = Limits()
    precision: Precision = 1
    experiments: Mapping[str, ExperimentSettings] = field(default_factory=dict)
    track_path: str = "/e"
    notify: Notify | None = None
    path: Path | None = None

    @property
    def redis(self) -> RedisSettings:
        """Where Redis is. Raises ConfigError if it is not configured, or still as in the template."""
        found = self.redis_settings
        if found is None:
            raise ConfigError("no Redis is configured", "set GIMEL_REDIS_URL, or redis.host in config.json")
        # Only here, because deleting a deployment or rolling it back needs no Redis.
        left = [key for key, (text, _) in PLACEHOLDERS.items() if getattr(found, key) == text]
        if left:
            message = " and ".join(f'redis.{key} is still "{PLACEHOLDERS[key][0]}"' for key in left)
            raise ConfigError(f"{message} in {self.path}", "; ".join(PLACEHOLDERS[key][1] for key in left))
        return found

    def experiment(self, name: str) -> ExperimentSettings:
        """The settings of this experiment, empty if it has none."""
        return self.experiments.get(name, NO_SETTINGS)

    def precision_of(self, name: str) -> Precision:
        """The precision of this experiment's counters."""
        return self.experiment(name).precision or self.precision

    @property
    def has_bitmaps(self) -> bool:
        """Whether some experiment's counters have bitmaps."""
        return not BITMAPS.keys().isdisjoint([self.precision, *(one.precision for one in self.experiments.values())])

    def unlisted(self, event: Event) -> str | None:
        """Which name of this event is not in its allowlist: `namespace`, `experiment`, `variant` or `goal`."""
        if event.namespace == SELF_TEST:
            is_own = event.experiment == SELF_TEST_EXPERIMENT and (event.goal, event.variant) in SELF_TEST_COUNTERS
            return None if is_own else "namespace"
        experiments = self.allowed_experiments
        own = self.experiment(event.experiment)
        if own is NO_SETTINGS and experiments is None and self.allowed_namespaces is None:
            return None
        if isinstance(experiments, Mapping):
            experiments = experiments.get(event.namespace)
        goals = None if own.goals is None else own.goals | {PARTICIPATE}
        lists = {
            "namespace": (event.namespace, self.allowed_namespaces),
            "experiment": (event.experiment, experiments),
            "variant": (event.variant, own.variants),
            "goal": (event.goal, goals),
        }
        return next((kind for kind, (name, names) in lists.items() if names is not None and name not in names), None)

    def bounded(self, namespace: str, experiment: str) -> frozenset[str]:
        """The `limits` that are not needed for this experiment, because closed lists bound what they count."""
        if namespace == SELF_TEST:
            return frozenset(limit.name for limit in fields(Limits))
        experiments = self.allowed_experiments
        if isinstance(experiments, Mapping):
            experiments = experiments.get(namespace)
        own = self.experiment(experiment)
        lists = {"experiments": experiments, "variants": own.variants, "goals": own.goals}
        closed = {limit for limit, names in lists.items() if names is not None}
        if len(closed) == len(lists):
            closed.add("counters")
        return frozenset(closed if self.allowed_namespaces is None else closed | {"namespaces"})


@dataclass(frozen=True)
class ConfigFile:
    """A configuration file as it is; without a path if none was found."""

    path: Path | None
    content: Mapping[str, Any]


def load(path: str | Path | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """The checked configuration from the file that `read` finds, and the environment. Raises ConfigError."""
    return check(read(path, environ), environ)


def read(path: str | Path | None = None, environ: Mapping[str, str] = os.environ) -> ConfigFile:
    """The content of `path`, or else of the file that `find` finds, not yet checked. Raises ConfigError."""
    found = find(path, environ)
    return ConfigFile(found, read_file(found) if found else {})


def check(file: ConfigFile, environ: Mapping[str, str] = os.environ, problems: Sequence[str] = ()) -> Config:
    """The checked configuration of a file and the environment.

    Raises ConfigError, which names the file and lists every problem, after the `problems` already known.
    """
    url = environ.get("GIMEL_REDIS_URL")
    section = Section(file.content, KEYS, problems=[*problems])
    redis_settings = None if url else _redis(section, file.path, environ)
    if url:
        is_cluster = environ.get("GIMEL_REDIS_CLUSTER") or "0"
        if is_cluster not in ("0", "1"):
            section.problems.append("GIMEL_REDIS_CLUSTER: must be 1 for a cluster, or 0")
        url = _url_or_problem("GIMEL_REDIS_URL", url, section.problems)
        redis_settings = RedisSettings(url=url, cluster=is_cluster == "1")
    section.take("extra_wiring", "a list of objects", list_of(dict))
    section.take("aws", "an object", json_object)
    config = Config(
        redis_settings=redis_settings,
        cors_origins=section.take("cors_origins", ORIGINS_WANTED, _origins, ("*",)),
        require_origin=section.take("require_origin", *_SWITCH, False),
        count_bots=section.take("count_bots", *_SWITCH, False),
        allowed_namespaces=section.take("allowed_namespaces", 'a list of namespaces, such as ["alephbet"]', names_of),
        allowed_experiments=section.take("allowed_experiments", EXPERIMENTS_WANTED, _names_or_lists),
        limits=_limits(section),
        precision=section.take("precision", *PRECISION, 1),
        experiments=_experiments(section),
        track_path=section.take("track_path", TRACK_PATH_WANTED, _track_path, Config.track_path),
        notify=_notify(section, environ),
        path=file.path,
    )
    config = _closed(config, section.problems)
    if section.problems:
        listed = "\n".join(f"  {problem}" for problem in section.problems)
        raise ConfigError(f"invalid configuration in {file.path or 'the environment'}:\n{listed}")
    return config


def find(path: str | Path | None = None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The configuration file: `path`, $GIMEL_CONFIG, ./config.json or ~/.gimel/config.json; in Lambda, beside gimel/.

    Raises ConfigError if a file named by `path` or $GIMEL_CONFIG does not exist.
    """
    named = path or environ.get("GIMEL_CONFIG")
    if named:
        if not Path(named).is_file():
            origin = "" if path else " (from GIMEL_CONFIG)"
            hint = f"name an existing file, or create it with `gimel configure --config {named}`"
            raise ConfigError(f"no such file: {named}{origin}", hint)
        return Path(named)
    if "AWS_LAMBDA_FUNCTION_NAME" in environ:
        places = [Path(__file__).resolve().parent.parent / "config.json"]
    else:
        places = [Path("config.json"), Path.home() / ".gimel" / "config.json"]
    return next((place for place in places if place.is_file()), None)


def _redis(parent: Section, path: Path | None, environ: Mapping[str, str]) -> RedisSettings | None:
    """The redis section, with the password from the environment; TLS files are looked up beside the file."""
    raw = parent.take("redis", "an object with host, port and password", json_object, secret=True)
    if raw is None:
        return None
    renamed = {OLD_REDIS_NAMES.get(key, key): value for key, value in raw.items() if key not in OLD_REDIS_IGNORED}
    if "ssl_cert_reqs" in renamed:
        renamed["tls_verify"] = renamed.pop("ssl_cert_reqs") not in (None, "none")
    section = Section(renamed, {*RedisSettings.__dataclass_fields__, "iam"}, "redis.", parent.problems)
    url = section.take("url", f"a Redis URL: {URL_SCHEMES}", text, secret=True)
    if url:
        url = _url_or_problem("redis.url", url, section.problems)
        doubled = sorted(section.raw.keys() & IN_URL)
        if doubled:
            section.problems.append(f"redis.url: remove {', '.join(doubled)}, or put them into the URL")
    has_password = {"username", "password"} | ({"host"} if "@" in str(section.raw.get("host")) else set())
    values = {key: section.take(key, *REDIS_KEYS[key], secret=key in has_password) for key in REDIS_KEYS}
    folder = path.resolve().parent if path else Path.cwd()
    values |= {key: str(folder / values[key]) for key in TLS_FILES if values[key]}
    values |= {"url": url, **_iam(section, values)}
    values["password"] = environ.get("GIMEL_REDIS_PASSWORD") or values["password"]
    if values["cluster"]:
        with suppress(ValueError):  # an invalid URL is reported already
            options = parse_url(url) if url else {"path": values["unix_socket"], "db": values["db"]}  # type: ignore[no-untyped-call]
            if options.get("path"):
                section.problems.append("redis.cluster: needs a host instead of a Unix socket")
            if options.get("db"):
                section.problems.append(
                    "redis.cluster: a cluster has only database 0; remove redis.db, or the number of redis.url"
                )
    elif values["replica_reads"]:
        section.problems.append('redis.replica_reads: needs "cluster": true')
    return RedisSettings(**{key: value for key, value in values.items() if value not in (None, "")})


def _iam(parent: Section, redis: Mapping[str, Any]) -> dict[str, str]:
    """The user who signs in by IAM, and the reference that takes the place of a password."""
    raw = parent.take("iam", IAM_WANTED, json_object)
    if raw is None:
        return {}
    if any(parent.raw.get(key) for key in ("url", "unix_socket")):
        parent.problems.append("redis.iam: needs redis.host instead of a URL or a socket")
        return {}
    section = Section(raw, IAM_KEYS, "redis.iam.", parent.problems)
    services, host = list(IAM_HOSTS.values()), str(redis["host"]).lower()
    known = next((service for part, service in IAM_HOSTS.items() if part in host), None)
    user = section.take("user", "the name of a user that signs in by IAM", matching(r"[A-Za-z0-9._-]+"))
    cache = section.take("cache", "the name of the cache, not its address, in lowercase", matching(r"[a-z0-9-]+"))
    service = section.take("service", f"one of {', '.join(services)}", matching("|".join(services)), known)
    doubled = [f"redis.{key}" for key in ("username", "password") if redis[key]]
    contradictions = {
        "needs both user and cache": not {"user", "cache"} <= section.raw.keys(),
        f"needs service ({', '.join(services)}), because redis.host is not an AWS endpoint": not (
            service or "service" in section.raw
        ),
        'needs "tls": true, because AWS accepts tokens over TLS only': not redis["tls"],
        f'needs "cluster": true, because {service} is a cluster': service in CLUSTERS and not redis["cluster"],
        f"signs in without a password; remove {' and '.join(doubled)}": bool(doubled),
    }
    parent.problems += [f"redis.iam: {problem}" for problem, applies in contradictions.items() if applies]
    return {"username": user, "password": f"{IAM}{service}/{cache}/{user}"}


def _experiments(parent: Section) -> dict[str, ExperimentSettings]:
    raw = parent.take("experiments", "an object with an object for each experiment", json_object, {})
    found = {}
    for name in raw:
        if name.startswith("//"):
            continue
        prefix = f"experiments.{name}"
        if not isinstance(raw[name], dict):
            parent.problems.append(f'{prefix}: must be an object such as {{"baseline": "blue"}}')
            continue
        found[name] = read_settings(raw[name], f"{prefix}.", parent.problems)
    return found


def _notify(parent: Section, environ: Mapping[str, str]) -> Notify | None:
    """The webhook. In a deployment, only the function that takes snapshots has its URL and secret, as variables."""
    raw = parent.take("notify", NOTIFY_WANTED, json_object, secret=True)
    url = environ.get("GIMEL_NOTIFY_URL")
    if raw is None and not url:
        return None
    section = Section({**(raw or {}), **({"url": url} if url else {})}, NOTIFY_KEYS, "notify.", parent.problems)
    kinds = f"a list of some of {', '.join(NOTICES)}"
    on = section.take("on", kinds, list_of(str), [*NOTICES])
    if not on or set(on) - set(NOTICES):
        section.problems.append(f"notify.on: must be {kinds}")
    allow_private = section.take("allow_private", *_SWITCH, False)
    schemes = "https?" if allow_private else "https"
    url = section.take(
        "url",
        "an https:// address",
        matching(rf"{schemes}://([A-Za-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{{1,5}})?([/?][!-~]*)?"),
        secret=True,
    )
    if not section.raw.get("url"):
        if "AWS_LAMBDA_FUNCTION_NAME" in environ:
            return None
        section.problems.append("notify: needs url, where to send notices")
    secret = environ.get("GIMEL_NOTIFY_SECRET") or section.take("secret", "text", text, secret=True)
    return Notify(url or "", frozenset(on or ()), secret, allow_private)


def _limits(parent: Section) -> Limits:
    raw = parent.take("limits", 'an object such as {"experiments": 1000}', json_object, {})
    section = Section(raw, set(Limits.__dataclass_fields__), "limits.", parent.problems)
    read = ("a whole number from 1", whole(1, 2**31))
    return Limits(**{limit.name: section.take(limit.name, *read, limit.default) for limit in fields(Limits)})


def _closed(config: Config, problems: list[str]) -> Config:
    """The same configuration, with what its lists imply. Adds what they say against each other to the problems."""
    if config.require_origin and "*" in config.cors_origins:
        problems.append('require_origin: needs cors_origins, the pages that may send events; "*" allows all')
    if not isinstance(config.allowed_experiments, Mapping):
        return config
    named = frozenset(config.allowed_experiments)
    if config.allowed_namespaces is None:
        return replace(config, allowed_namespaces=named)
    if named - config.allowed_namespaces:
        beside = ", ".join(sorted(named - config.allowed_namespaces))
        problems.append(f"allowed_experiments: names {beside}, which allowed_namespaces does not")
    return config


def _url_or_problem(name: str, url: str, problems: list[str]) -> str:
    try:
        parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError:
        # The URL may contain a password, so it is not repeated.
        problems.append(f"{name}: invalid Redis URL; use {URL_SCHEMES}")
    return url


def _text_or_empty(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _secret(value: object) -> str:
    # Never rejected, so that no message repeats it; redis-py accepted numbers too.
    return value if isinstance(value, str) else str(value)


def _host(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        fits = value and not set(value) & set(" /:@?#")
        return value if fits or value == PLACEHOLDERS["host"][0] else None


def _track_path(value: object) -> str | None:
    if value is False:
        return TRACK
    fits = isinstance(value, str) and re.fullmatch(r"/(?!\.+$)[A-Za-z0-9._-]{1,64}", value)
    return str(value) if fits and value not in TAKEN_PATHS else None


def _names_or_lists(value: object) -> frozenset[str] | dict[str, frozenset[str]] | None:
    """The names in a list, or in an object with a list for each namespace."""
    if not isinstance(value, dict):
        return names_of(value)
    lists = {namespace: names_of(names) for namespace, names in value.items() if not namespace.startswith("//")}
    found = {namespace: names for namespace, names in lists.items() if names is not None}
    return found if found and len(found) == len(lists) else None


def _origins(value: object) -> tuple[str, ...] | None:
    if isinstance(value, str):
        value = [value]
    origins = list_of(str)(value)
    if not origins or not all(origin == "*" or _is_origin(origin) for origin in origins):
        return None
    return tuple(origins)


def _is_origin(origin: str) -> bool:
    return bool(re.fullmatch(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]+)?", origin))


_SWITCH = ("true or false", flag)
_SECONDS = ("a number of seconds above 0", positive)
TLS_FILES = ("tls_ca_file", "tls_cert_file", "tls_key_file")

# How each key of the redis section reads; the defaults are those of RedisSettings.
REDIS_KEYS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "host": (HOST_WANTED, _host),
    "unix_socket": ("the path of a Unix socket", text),
    "port": ("a whole number from 1 to 65535", whole(1, 65535)),
    "db": ("a whole number from 0", whole(0, 2**31)),
    "username": ("text", _text_or_empty),
    "password": ("text", _secret),
    **dict.fromkeys(("tls", "tls_verify", "cluster", "replica_reads"), _SWITCH),
    **dict.fromkeys(TLS_FILES, ("the path of a PEM file", text)),
    **dict.fromkeys(("connect_timeout_s", "timeout_s"), _SECONDS),
}
