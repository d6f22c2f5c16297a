"""A rollback counts in the Redis that it names, with the password of today. On a local AWS and two real Redis."""

from __future__ import annotations

import pytest

from tests.parts import RedisServer

from .test_local_aws import Person, ask, url_in

pytestmark = pytest.mark.slow


@pytest.fixture
def servers(tmp_path):
    """Makes redis-servers with these options."""
    made = []

    def start(*options: str) -> RedisServer:
        folder = tmp_path / f"redis-{len(made)}"
        folder.mkdir()
        made.append(RedisServer(folder, *options).start())
        return made[-1]

    yield start
    for server in made:
        server.stop()


@pytest.fixture
def somebody(tmp_path, ministack):
    """A user with this Redis, whose deployment has this name."""
    made = []

    def configured(name: str, server: RedisServer, password: str = "") -> Person:
        person = Person(tmp_path, ministack, server.port)
        person.redis = redis_of(server, password)
        person.configure(name=name)
        made.append((person, name))
        return person

    yield configured
    for person, name in made:
        person.types("destroy", "--name", name)


def redis_of(server: RedisServer, password: str = "") -> dict[str, object]:
    return {"host": "127.0.0.1", "port": server.port, **({"password": password} if password else {})}


def track(url: str, uuid: int) -> int:
    return ask(f"{url}?experiment=e&uuid={uuid}&variant=red&event=participate")[0]


def visitors(server: RedisServer, **options: object) -> int:
    client = server.client(**options)
    return sum(client.pfcount(key) for key in client.keys("*:participate:*"))


def test_a_rollback_in_the_same_redis_uses_the_present_password(somebody, servers):
    server = servers("--requirepass", "first")
    person = somebody("locked", server, "first")
    url = url_in(person.types("deploy", "--yes"))
    person.configure(name="locked", memory_mb=300)
    person.types("deploy", "--yes")
    assert track(url, 1) == 200

    server.client(password="first").config_set("requirepass", "second")
    server.client(password="second").execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    person.redis = redis_of(server, "second")
    person.configure(name="locked", memory_mb=300)
    person.types("deploy", "--yes")
    assert track(url, 2) == 200

    shown = person.types("rollback", "--yes")
    assert f"uses redis://127.0.0.1:{server.port}/0, as the functions do now" in shown
    assert f"the password of redis://127.0.0.1:{server.port}/0 has changed since then" in shown
    assert "first" not in shown
    assert track(url, 3) == 200
    assert visitors(server, password="second") == 3
    assert "MemorySize 256 -> 300" in person.types("deploy", "--dry-run")
    person.types("deploy", "--yes")
    again = person.types("rollback", "--yes")
    assert "publish" not in again
    assert track(url, 4) == 200


def test_a_rollback_to_another_redis_says_so_and_has_to_be_confirmed(somebody, servers):
    old, new = servers(), servers()
    person = somebody("moved", old)
    url = url_in(person.types("deploy", "--yes"))
    assert track(url, 1) == 200
    person.redis = redis_of(new)
    person.configure(name="moved")
    person.types("deploy", "--yes")
    assert track(url, 2) == 200

    refused = person.tries("rollback", "--yes")
    assert refused.returncode == 1
    assert f"counts in redis://127.0.0.1:{old.port}/0" in refused.stderr
    assert f"the functions now use redis://127.0.0.1:{new.port}/0; nothing was changed" in refused.stderr
    assert person.tries("rollback", answer="y\n").returncode == 1
    assert track(url, 3) == 200
    assert (visitors(old), visitors(new)) == (1, 2)

    typed = person.types("rollback", answer=f"redis://127.0.0.1:{old.port}/0\n")
    assert f"ANOTHER Redis: redis://127.0.0.1:{old.port}/0" in typed
    assert track(url, 4) == 200
    assert (visitors(old), visitors(new)) == (2, 2)
    person.types("deploy", "--yes")
    person.types("rollback", "--yes", "--to-other-redis")
    assert track(url, 5) == 200
    assert (visitors(old), visitors(new)) == (3, 2)
