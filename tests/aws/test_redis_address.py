"""A Redis is shown in one form, and never with its password."""

from __future__ import annotations

import pytest

from gimel.config import RedisSettings
from gimel.ops.aws.redis_address import address, password


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        (RedisSettings(), "redis://localhost:6379/0"),
        (RedisSettings(host="Redis.example.com", port=6380, db=2), "redis://redis.example.com:6380/2"),
        (RedisSettings(host="r", tls=True), "rediss://r:6379/0"),
        (RedisSettings(host="2001:db8::1"), "redis://[2001:db8::1]:6379/0"),
        (RedisSettings(host="r", username="a@b/c", password="open sesame"), "redis://a%40b%2Fc@r:6379/0"),
        (RedisSettings(host="r", password="open sesame"), "redis://r:6379/0"),
        (RedisSettings(unix_socket="/run/redis.sock", db=1), "unix:///run/redis.sock?db=1"),
        (RedisSettings(url="redis://r"), "redis://r:6379/0"),
        (RedisSettings(url="rediss://:open%20sesame@r:6380/3"), "rediss://r:6380/3"),
        (RedisSettings(url="rediss://a%40b:open%20sesame@r"), "rediss://a%40b@r:6379/0"),
        (RedisSettings(url="redis://r/?db=4&password=open%20sesame&timeout=1"), "redis://r:6379/4"),
        (RedisSettings(url="redis://[2001:db8::1]:6379"), "redis://[2001:db8::1]:6379/0"),
        (RedisSettings(url="unix://me:open%20sesame@/run/redis.sock?db=1"), "unix://me@/run/redis.sock?db=1"),
    ],
)
def test_a_redis_is_shown_with_port_and_database_and_without_its_password(settings, shown):
    assert address(settings) == shown


def test_two_ways_to_configure_the_same_redis_look_the_same():
    settings = RedisSettings(host="r", port=6380, db=1, username="u", password="p", tls=True)
    assert address(settings) == address(RedisSettings(url="rediss://u:another@R:6380/1"))


def test_the_password_is_found_wherever_it_is():
    assert password(RedisSettings()) is None
    assert password(RedisSettings(password="ssm:/p")) == "ssm:/p"
    assert password(RedisSettings(url="redis://r")) is None
    for url in ("redis://u:open%20sesame@r", "redis://r?password=open%20sesame"):
        assert password(RedisSettings(url=url)) == "open sesame"
