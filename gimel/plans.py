"""The end of a planned experiment: its counts when the planned visitors had come, from which its verdict is made for
good."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from datetime import datetime
from typing import Any

import redis

from .counters import Counts, ask_each, count
from .errors import StoreUnavailable
from .events import PARTICIPATE
from .hyperloglog import Count
from .keyspace import ended_key
from .outages import ask
from .replies import unavailable
from .round_trip import Client, Command, send

log = logging.getLogger("gimel")

VERSION = 1
"""Of the record. One of another version is neither used nor replaced."""

MAX_BYTES = 16 * 2**20
"""A record that is larger once unpacked is none of Gimel's."""

COMPRESSED = b"x"
"""So begins what zlib compressed, and no JSON."""

TIME = "%Y-%m-%dT%H:%M:%SZ"

LARGEST = 2**63
"""Neither are more visitors planned than this, nor does a counter read more."""

BEGAN_AGAIN = 0.9
"""With less than this share of the recorded participants, an experiment was deleted and began again. A little less than
all is what a failover lost, what a replica does not have yet, or what another kind of counter reads."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How many visitors were planned in all, when a report found that they had come (UTC), all counts of then, and the
    part of the visitors that each variant should have had. The settings may have changed since."""

    planned: int
    at: str
    counts: Counts
    shares: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> str:
        """As a file has it. `decode` reads it back."""
        return json.dumps(self._record(), separators=(",", ":"))

    def encode(self) -> bytes:
        """As Redis has it. `decode` reads it back."""
        return pack(self._record())

    def _record(self) -> dict[str, object]:
        return {"version": VERSION, **asdict(self), "counts": as_lists(self.counts)}

    @classmethod
    def decode(cls, record: str | bytes | None) -> Ended | None:
        """What `as_json` or `encode` wrote; None for anything else."""
        try:
            found = unpack(record)
            datetime.strptime(found["at"], TIME)
            planned, shares = int(found["planned"]), dict(found.get("shares", {}))
            is_possible = 0 < planned <= LARGEST and all(0 < share <= 1 for share in shares.values())
            own = cls(planned, found["at"], of_lists(found["counts"]), shares)
            return own if found["version"] == VERSION and is_possible else None
        except UNREADABLE:
            return None


UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
"""What reading a record raises that is none of Gimel's."""


def pack(record: object) -> bytes:
    """A record as compressed JSON."""
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    return zlib.compress(text.encode("utf-8", "surrogatepass"), 9)


def unpack(packed: str | bytes | None) -> Any:
    """What `pack` was given, or what is in JSON that is not compressed. Raises one of UNREADABLE for anything else."""
    try:
        if isinstance(packed, bytes) and packed[:1] == COMPRESSED:
            packed = zlib.decompressobj().decompress(packed, MAX_BYTES)
        return json.loads(packed or "")
    except zlib.error as error:
        raise ValueError(str(error)) from None


def as_lists(counts: Counts) -> dict[str, list[Any]]:
    """Counts for JSON: by goal, the variants, and then each field of all of them, as what is alike compresses better
    side by side. `of_lists` reads them back."""
    return {goal: [[*found], *zip(*map(astuple, found.values()))] for goal, found in counts.items()}


def of_lists(found: Any) -> Counts:
    """The counts that `as_lists` gave. Raises one of UNREADABLE for anything else."""
    counts = {goal: {variant: Count(*each) for variant, each in _of_columns(one)} for goal, one in found.items()}
    for one in (one for variants in counts.values() for one in variants.values()):
        if type(one.value) is not int or one.value > LARGEST or one.settled_error > 1:
            raise ValueError("no counter reads this")
    return counts


def participants(counts: Counts) -> int:
    """How many took part, in all variants."""
    return sum(found.value for found in counts.get(PARTICIPATE, {}).values())


def _of_columns(found: Any) -> Iterable[tuple[str, Any]]:
    """The variants and their fields, also of a record of a development version, which had them as an object."""
    if isinstance(found, dict):
        return found.items()
    variants, *columns = found
    if not all(isinstance(one, str) for one in variants):
        raise ValueError("these are no names")
    return zip(variants, zip(*columns, strict=True), strict=True)


def read(client: Client, namespace: str, experiments: Sequence[str]) -> dict[str, Ended]:
    """The records of these experiments that have one, in one round trip. Raises StoreUnavailable.

    They must be read before the counts: a record that is written in between could have more participants than these. No
    replica is asked, which may not have the record yet.
    """
    if not experiments:
        return {}
    values = ask_each(client, [("GET", ended_key(namespace, name)) for name in experiments])
    found = {name: Ended.decode(value) for name, value in zip(experiments, values)}
    return {name: ended for name, ended in found.items() if ended}


def settle(
    client: Client,
    namespace: str,
    experiment: str,
    found: Ended | None,
    counts: Counts,
    planned: int | None,
    shares: Mapping[str, float],
    at: str,
) -> Ended | None:
    """The record that stands: the one `found`, or else a new one of these counts.

    `planned` is the planned number of visitors in all, or None while they have not come; of these, each variant should
    have its part of `shares`. `at` is the time of these counts (UTC). If several reports write a record at the same
    moment, the first one stands, and all return it. The record of an experiment that was deleted, as by Gimel 1.x, and
    began again is deleted. None without a record, or if it cannot be written.
    """
    is_old = found is not None and participants(counts) < BEGAN_AGAIN * participants(found.counts)
    if not is_old and (found or planned is None):
        return found
    key = ended_key(namespace, experiment)
    commands: list[Command] = [("DEL", key)] if is_old else []
    if planned is not None:
        own = Ended(planned, at, counts, shares)
        commands += [("SET", key, own.encode(), "NX"), ("GET", key)]

    def write() -> Any:
        try:
            return send(client, commands)[-1]
        except redis.ResponseError as error:
            raise unavailable(error) from error  # not for the circuit breaker: whoever may not write can still read

    try:
        standing = ask(client, write)
        if planned is None:
            return None
        # If the experiment was deleted too early for its record to be deleted as well, it has fewer now.
        now = count(client, namespace, [experiment])[experiment]
    except StoreUnavailable as error:
        log.warning("could not record the end of experiment %r of namespace %r: %s", experiment, namespace, error)
        return None
    return settle(client, namespace, experiment, Ended.decode(standing), now, None, shares, at)
