"""Which Redis settings are about: the one form in which plans show it, and in which functions carry it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from redis.connection import SSLConnection, parse_url

from gimel.config import RedisSettings


def password(settings: RedisSettings) -> str | None:
    """The password or the reference to it, wherever the settings have it."""
    in_url: dict[str, Any] = parse_url(settings.url) if settings.url else {}  # type: ignore[no-untyped-call]
    return settings.password or in_url.get("password")


def address(settings: RedisSettings) -> str:
    """A URL without the password, always with port and database, such as `rediss://user@redis.example.com:6379/0`."""
    found: dict[str, Any] = vars(settings)
    tls = settings.tls
    if settings.url:
        found = parse_url(settings.url)  # type: ignore[no-untyped-call]
        tls = found.get("connection_class") is SSLConnection
    database = found.get("db") or 0
    user = f"{quote(found['username'], safe='')}@" if found.get("username") else ""
    if path := found.get("path") or settings.unix_socket:
        return f"unix://{user}{path}?db={database}"
    host = str(found.get("host") or "localhost").lower()
    host = f"[{host}]" if ":" in host else host
    return f"{'rediss' if tls else 'redis'}://{user}{host}:{found.get('port') or 6379}/{database}"
