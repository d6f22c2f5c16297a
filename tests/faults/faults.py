"""The faults: each is a function that prepares, breaks something at its first `yield`, and mends it at the second."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from redis.crc import key_slot

from tests.clusters import SLOTS, Node
from tests.parts import wait_for

from .world import PARAMETER, PASSWORD, SERVE, World

Steps = Iterator[None]


@dataclass(frozen=True)
class Fault:
    """What happens to a world (made with these `options`) while visitors send events, and what may come of it.

    `is_outage`: Redis takes no event, so the bars of an outage apply. `is_kept`: what Redis does not take can wait
    elsewhere. `redis_loses_s`: Redis itself may lose what it took so long before the fault. `wakes`: as it ends, a
    master that was replaced goes on, and may lose what it answers before it learns of that.
    """

    name: str
    title: str
    steps: Callable[[World], Steps]
    lasts_s: float = 5
    is_outage: bool = True
    is_kept: bool = True
    redis_loses_s: float = 0
    wakes: bool = False
    options: dict[str, Any] = field(default_factory=dict)


FAULTS: dict[str, Fault] = {}


def fault(
    lasts_s: float = 5,
    is_outage: bool = True,
    is_kept: bool = True,
    redis_loses_s: float = 0,
    wakes: bool = False,
    **options: Any,
):
    """Enter a function into the table."""

    def enter(steps: Callable[[World], Steps]) -> Callable[[World], Steps]:
        title = str(steps.__doc__).strip().removesuffix(".")
        name = steps.__name__
        FAULTS[name] = Fault(name, title, steps, lasts_s, is_outage, is_kept, redis_loses_s, wakes, options)
        return steps

    return enter


@fault(redis_options=("--appendfsync", "always"))
def redis_killed(world: World) -> Steps:
    """Redis is killed (`kill -9`) and started again; `appendfsync always`."""
    yield
    world.redis.process.kill_all()
    yield
    world.redis.start()


@fault(redis_options=("--appendfsync", "everysec"), redis_loses_s=2)
def redis_killed_everysec(world: World) -> Steps:
    """Redis is killed (`kill -9`) and started again; `appendfsync everysec`."""
    yield from redis_killed(world)


@fault(lasts_s=10)
def redis_stopped(world: World) -> Steps:
    """Redis hangs (SIGSTOP) and goes on."""
    yield
    world.redis.process.send_signal(signal.SIGSTOP)
    yield
    world.redis.process.send_signal(signal.SIGCONT)


@fault(is_outage=False, is_kept=False)
def redis_killed_and_queue_stopped(world: World) -> Steps:
    """Redis is killed while SQS hangs, too; both come back."""
    yield
    world.redis.process.kill_all()
    world.ministack.process.send_signal(signal.SIGSTOP)
    yield
    world.ministack.process.send_signal(signal.SIGCONT)
    world.redis.start()


@fault()
def memory_full(world: World) -> Steps:
    """Redis' memory is full (`maxmemory`, `noeviction`), then raised."""
    yield
    world.client().config_set("maxmemory", "1mb")
    yield
    world.client().config_set("maxmemory", "0")


@fault(redis_loses_s=1)
def failover_by_crash(world: World) -> Steps:
    """The primary is killed; a replica takes over, and the address follows."""
    replica = world.start_replica()
    yield
    world.redis.process.kill_all()
    yield
    world.truth = replica
    world.client().replicaof("NO", "ONE")
    world.proxy.switch(replica.port)


@fault()
def failover_by_demotion(world: World) -> Steps:
    """The primary becomes a replica (`FAILOVER`) with connections open; the address follows."""
    replica = world.start_replica()
    yield
    world.client().execute_command("FAILOVER")
    world.truth = replica
    wait_for(lambda: world.client().info("replication")["role"] == "master", "the failover")
    yield
    world.proxy.switch(replica.port)


def _busiest(world: World) -> Node:
    """The master of a cluster that has the most keys."""
    return max(world.cluster.masters(), key=lambda master: master.ask("DBSIZE"))


@fault(lasts_s=1, redis_loses_s=1, is_cluster=True)
def cluster_master_killed(world: World) -> Steps:
    """A master of a cluster is killed (`kill -9`); its replica takes over by itself."""
    yield
    master = _busiest(world)
    world.cluster.kill(master)
    yield
    world.cluster.wait_without(master)


@fault(lasts_s=1, redis_loses_s=1, wakes=True, is_cluster=True)
def cluster_master_stopped(world: World) -> Steps:
    """A master of a cluster hangs (SIGSTOP), and goes on when its replica has taken over."""
    yield
    master = _busiest(world)
    world.cluster.freeze(master)
    yield
    world.cluster.wait_without(master)
    world.cluster.thaw(master)


@fault(is_outage=False, is_cluster=True)
def cluster_failover(world: World) -> Steps:
    """In a cluster, a replica takes over on request (`CLUSTER FAILOVER`)."""
    yield
    master = _busiest(world)
    world.cluster.replica_of(master).ask("CLUSTER", "FAILOVER")
    world.cluster.wait_without(master)
    yield


@fault(is_outage=False, is_cluster=True)
def cluster_slots_moved(world: World) -> Steps:
    """In a cluster, the slots of all keys move to other masters: first the keys (`ASK`), then the slots (`MOVED`)."""
    yield
    masters = world.cluster.masters()
    after = dict(zip(masters, [*masters[1:], masters[0]]))
    slots = {key_slot(key) for key in world.client().scan_iter()}
    targets = {slot: after[world.cluster.master_of(slot)] for slot in slots}
    for slot, target in targets.items():
        world.cluster.start_move(slot, target)
    yield
    for slot, target in targets.items():
        world.cluster.end_move(slot, target)


@fault(is_outage=False, is_cluster=True)
def cluster_grown(world: World) -> Steps:
    """A cluster gets another master, which takes a part of each master's slots, and then those of all keys."""
    yield
    added = world.cluster.add_master()
    world.cluster.move(range(0, SLOTS, 500), added)
    yield
    world.cluster.move({key_slot(key) for key in world.client().scan_iter()}, added)


def _set_password(world: World, password: str) -> None:
    client = world.client()
    client.config_set("requirepass", password)
    client.execute_command("CLIENT", "KILL", "TYPE", "normal")


@fault(password=PASSWORD)
def password_changed(world: World) -> Steps:
    """Redis' password is changed, then put back."""
    yield
    _set_password(world, "another")
    yield
    _set_password(world, PASSWORD)


@fault(password=f"ssm:{PARAMETER}")
def password_rotated(world: World) -> Steps:
    """Redis' password, which config.json only refers to, is changed; the parameter follows; both are put back."""
    world.put_parameter(PASSWORD)
    yield
    _set_password(world, "another")
    yield
    world.put_parameter("another")
    yield
    world.put_parameter(PASSWORD)
    _set_password(world, PASSWORD)


@fault(is_outage=False)
def connections_cut(world: World) -> Steps:
    """The network cuts connections: one in ten at each piece of data."""
    yield
    world.proxy.cuts = 0.1
    yield
    world.proxy.heal()


@fault(is_outage=False)
def replies_lost(world: World) -> Steps:
    """The network loses one reply in ten, and all that would follow on its connection."""
    yield
    world.proxy.mutes = 0.1
    yield
    world.proxy.heal()


@fault(is_outage=False, containers=64)
def slow(world: World) -> Steps:
    """Redis is 200 ms away."""
    yield
    world.proxy.delay_s = 0.2
    yield
    world.proxy.heal()


@fault()
def too_slow(world: World) -> Steps:
    """Redis is 1.5 s away, longer than a request may wait."""
    yield
    world.proxy.delay_s = 1.5
    yield
    world.proxy.heal()


@fault()
def dripping(world: World) -> Steps:
    """Replies arrive byte by byte, 0.3 s apart."""
    yield
    world.proxy.drips, world.proxy.delay_s = True, 0.3
    yield
    world.proxy.heal()


@fault()
def black_hole(world: World) -> Steps:
    """The network swallows everything: open connections are silent, and new ones are not made."""
    yield
    world.proxy.black_hole()
    yield
    world.proxy.heal()


@fault(by_name=True)
def silent_dns(world: World) -> Steps:
    """All connections are cut, and the name server that knows Redis' address is silent."""
    yield
    world.names.is_silent = True
    world.proxy.cut()
    yield
    world.names.is_silent = False


@fault(is_embedded=True, is_kept=False)
def serve_killed(world: World) -> Steps:
    """`gimel serve` is killed (`kill -9`) and started again."""
    yield
    world.targets[SERVE].kill()
    yield
    world.targets[SERVE].launch()
    world.targets[SERVE].wait()


@fault(lasts_s=0.5, is_embedded=True)
def embedded_redis_killed(world: World) -> Steps:
    """The Redis of `gimel serve` is killed (`kill -9`); the server restarts it."""
    yield
    world.kill_embedded()
    yield


@fault(is_embedded=True, is_kept=False)
def serve_and_redis_killed(world: World) -> Steps:
    """`gimel serve` and its Redis are killed (`kill -9`), and the server is started again."""
    yield
    world.targets[SERVE].kill()
    world.kill_embedded()
    yield
    world.targets[SERVE].launch()
    world.targets[SERVE].wait()


@fault(is_embedded=True, is_kept=False, disk_mb=64)
def disk_full(world: World) -> Steps:
    """The disk of `gimel serve` is full, then has room again."""
    yield
    world.fill_disk()
    yield
    world.empty_disk()
