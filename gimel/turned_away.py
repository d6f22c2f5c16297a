"""Events that were not counted of late, and why: for whoever wonders where they are. Never with the id of a visitor."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from .events import DEFAULT_NAMESPACE, MAX_NAME_LENGTH, Batch
from .gateway import to_json
from .histories import HOUR, as_text, now
from .keyspace import TURNED_AWAY_KEY
from .plans import UNREADABLE
from .round_trip import Command

MAX_KEPT, MAX_SHOWN = 100, 50
"""How many of them Redis keeps, and a report has."""

MAX_NAME_BYTES = 300
"""Of a name as JSON, where a character takes up to 6. So all that Redis keeps takes less than 250 KB: the reasons of an
event, which no stranger can make longer, take less than 1 KB."""

RECORD_EVERY_S, MAX_AT_ONCE = 60, 20
"""How often a process records the same, and how many it records at most in that time: strangers make up names."""

NAMES = ("namespace", "experiment", "variant", "event")

_recorded: dict[str, float] = {}
"""What this process has recorded, and until when it does not record it again."""


def to_record(batch: Batch, items: Sequence[object]) -> list[Command]:
    """What to write of the events of a request that were not counted; nothing if that was written a moment ago."""
    start = time.monotonic()
    for text, until in [*_recorded.items()]:  # other threads change it meanwhile
        if until <= start:
            _recorded.pop(text, None)
    new = {}
    for one in _described(batch, items):
        text = to_json(one)
        if text not in _recorded and len(_recorded) < MAX_AT_ONCE:
            new[text] = _recorded[text] = start + RECORD_EVERY_S
    if not new:
        return []
    # A member stands once, whoever recorded it, at the minute when that was done last.
    added = [part for text in new for part in (now(), text)]
    return [
        ("ZADD", TURNED_AWAY_KEY, *added),
        ("ZREMRANGEBYRANK", TURNED_AWAY_KEY, 0, -MAX_KEPT - 1),
        ("EXPIRE", TURNED_AWAY_KEY, 60 * HOUR),
    ]


def _described(batch: Batch, items: Sequence[object]) -> Iterator[dict[str, object]]:
    for event, reason in batch.ignored:
        item: object = event.as_item()
        yield {**_names(item), "why": "ignored", "reasons": [reason]}
    for position, problems in batch.refused.items():
        yield {**_names(items[position]), "why": "refused", "reasons": problems}


def _names(item: object) -> dict[str, str]:
    """What somebody sent for the names, as far as it is text."""
    found = item if isinstance(item, Mapping) else {}
    values = {name: found.get(name) for name in NAMES}
    if found is item and values["namespace"] in (None, "", "undefined"):  # what is no event, each namespace shows
        values["namespace"] = DEFAULT_NAMESPACE
    texts = {name: str(value) if isinstance(value, (str, int, float)) else "" for name, value in values.items()}
    return {name: _cut(text) for name, text in texts.items()}


def _cut(text: str) -> str:
    """As much of it as a valid name may have, and less if that takes many bytes."""
    text = text[:MAX_NAME_LENGTH].encode("utf-8", "replace").decode()
    return text if len(to_json(text).encode()) <= MAX_NAME_BYTES else text[: MAX_NAME_BYTES // 6]


def read(members: Sequence[bytes], namespace: str, namespaces: Collection[str]) -> list[dict[str, Any]]:
    """Those of the last hour, the newest first, of this namespace and of unknown ones. `members` are those of the
    sorted set, each with its score."""
    found = []
    for text, minute in zip(members[::2], members[1::2]):
        try:
            one, at = json.loads(text), int(minute)
            own = one.pop("namespace")
        except UNREADABLE:
            continue
        if at >= now() - HOUR and (own == namespace or own not in namespaces):
            found.append({"at": as_text(at), **one})
    return found[:MAX_SHOWN]
