"""Reads and checks config.json and the environment. The result is frozen; every error says what to change."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.connection import parse_url

from .errors import ConfigError
from .hyperloglog import PRECISIONS, Precision
from .validation import Section, flag, json_object, list_of, positive, read_file, text, whole

ORIGINS_WANTED = '"*" or a list of origins as browsers send them, such as ["https://example.com"]'
URL_SCHEMES = "redis://host:6379/0, rediss://host:6379/0 (TLS) or unix:///path/to/redis.sock"

HOST_WANTED = "a host name or address, such as redis.example.com; put a URL into redis.url"

IN_URL = {"host", "port", "unix_socket", "db", "username", "password", "tls"}
KEYS = {"redis", "cors_origins", "allowed_experiments", "precision", "experiments", "extra_wiring", "aws"}

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

PRECISION_WANTED = '1, 4, 16, 64, 256 or "exact"'


@dataclass(frozen=True)
class ExperimentSettings:
    """Settings of one experiment: its control, its variants' shares of visitors, its precision, and the goals that a
    visitor can reach more than once."""

    baseline: str | None = None
    weights: Mapping[str, float] | None = None
    precision: Precision | None = None
    per_visitor: frozenset[str] = frozenset()


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
    connect_timeout_s: float = 1.0
    timeout_s: float = 1.0


@dataclass(frozen=True)
class Config:
    """A checked configuration. `redis_settings` is None if Redis is not configured, `path` if there is no file."""

    redis_settings: RedisSettings | None = None
    cors_origins: tuple[str, ...] = ("*",)
    allowed_experiments: frozenset[str] | None = None
    precision: Precision = 1
    experiments: Mapping[str, ExperimentSettings] = field(default_factory=dict)
    path: Path | None = None

    @property
    def redis(self) -> RedisSettings:
        """Where Redis is. Raises ConfigError if it is not configured."""
        if self.redis_settings is None:
            raise ConfigError("no Redis is configured", "set GIMEL_REDIS_URL, or redis.host in config.json")
        return self.redis_settings

    def experiment(self, name: str) -> ExperimentSettings:
        """The settings of this experiment, empty if it has none."""
        return self.experiments.get(name, ExperimentSettings())

    def precision_of(self, name: str) -> Precision:
        """The precision of this experiment's counters."""
        return self.experiment(name).precision or self.precision


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
        redis_settings = RedisSettings(url=_url_or_problem("GIMEL_REDIS_URL", url, section.problems))
    section.take("extra_wiring", "a list of objects", list_of(dict))
    section.take("aws", "an object", json_object)
    config = Config(
        redis_settings=redis_settings,
        cors_origins=section.take("cors_origins", ORIGINS_WANTED, _origins, ("*",)),
        allowed_experiments=section.take("allowed_experiments", "a list of experiment names", _names),
        precision=section.take("precision", PRECISION_WANTED, _precision, 1),
        experiments=_experiments(section),
        path=file.path,
    )
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
    section = Section(renamed, set(RedisSettings.__dataclass_fields__), "redis.", parent.problems)
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
    values |= {"url": url, "password": environ.get("GIMEL_REDIS_PASSWORD") or values["password"]}
    return RedisSettings(**{key: value for key, value in values.items() if value not in (None, "")})


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
        section = Section(raw[name], set(ExperimentSettings.__dataclass_fields__), f"{prefix}.", parent.problems)
        found[name] = ExperimentSettings(
            baseline=section.take("baseline", "the name of the control variant", text),
            weights=section.take("weights", 'numbers above 0 by variant, such as {"blue": 1, "red": 3}', _weights),
            precision=section.take("precision", PRECISION_WANTED, _precision),
            per_visitor=section.take("per_visitor", 'a list of goals, such as ["page view"]', _names, frozenset()),
        )
        weights, baseline = found[name].weights, found[name].baseline
        if weights and baseline and baseline not in weights:
            parent.problems.append(f"{prefix}.weights: must include the baseline, {baseline}")
    return found


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
        return value if value and not set(value) & set(" /:@?#") else None


def _precision(value: object) -> Precision | None:
    return next((one for one in PRECISIONS if one == value and not isinstance(value, (bool, float))), None)


def _weights(value: object) -> dict[str, float] | None:
    if not isinstance(value, dict) or not value:
        return None
    weights = {name: positive(weight) for name, weight in value.items() if not name.startswith("//")}
    return {name: weight for name, weight in weights.items() if weight} if all(weights.values()) else None


def _names(value: object) -> frozenset[str] | None:
    names = list_of(str)(value)
    return None if names is None else frozenset(names)


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
    **dict.fromkeys(("tls", "tls_verify"), _SWITCH),
    **dict.fromkeys(TLS_FILES, ("the path of a PEM file", text)),
    **dict.fromkeys(("connect_timeout_s", "timeout_s"), _SECONDS),
}
