"""The file of `gimel export`: lines of JSON with checksums, gzipped if its name ends in .gz. See docs/redis.md.

Its first record is a header, its last the number of lines before it and their SHA-256. Each line has the CRC-32 of its
record. Bytes that are not UTF-8 are written as the surrogates U+DC80 to U+DCFF.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import IO, Any, cast

from gimel.errors import GimelError
from gimel.frozen import Frozen
from gimel.histories import History
from gimel.hyperloglog import BITMAPS
from gimel.keyspace import LISTED_BITMAP, own_bitmaps, own_counters
from gimel.lives import Life
from gimel.plans import Ended

KIND = "counts of Gimel"
FORMAT = 1
LINE = re.compile(rb'\{"crc32":"([0-9a-f]{8})","record":(\{.*\})\}\n')
MAX_LINE_BYTES = 16 * 1024 * 1024  # the end of a plan has all names and counts of an experiment

GZIP = b"\x1f\x8b"
HYPERLOGLOG = b"HYLL"
NO_CACHED_COUNT = b"\0\0\0\0\0\0\0\x80"


class BackupError(GimelError):
    """An export or import is not possible. Nothing was changed."""


class DamagedFile(BackupError):
    """The file is not as an export wrote it."""


@dataclass(frozen=True)
class Entry:
    """One line: an experiment with its settings in config.json, or a counter of it, or some members of an exact one, or
    the end of its plan, or its history, or its record in Redis and, if it was stopped, what it had counted then.

    Names are bytes, as in Redis; `key` is the counter's without its namespace. `bitmaps` are those that have every
    uuid of the HyperLogLog, by kind.
    """

    namespace: bytes
    experiment: bytes
    key: bytes = b""
    hyperloglog: bytes | None = None
    bitmaps: Mapping[str, bytes] = field(default_factory=dict)
    members: tuple[bytes, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    ended: Ended | None = None
    history: History | None = None
    life: Life | None = None
    frozen: Frozen | None = None

    @property
    def counts(self) -> bool:
        """Whether this is an experiment that counts, or a counter of it; not something else about it."""
        return not (self.ended or self.history or self.life)

    @property
    def full_key(self) -> bytes:
        """The counter's key in Redis."""
        return b"%s:%s" % (self.namespace, self.key)

    @property
    def listed_key(self) -> bytes:
        """The key under which the counter stands among all counters, whatever keys it has."""
        (own,) = own_counters(as_text(self.namespace), as_text(self.experiment), [self.full_key])
        return own.listed_key

    def bitmap_key(self, kind: str) -> bytes:
        """The key in Redis of the counter's bitmap of this kind."""
        return own_bitmaps(as_text(self.namespace), self.full_key, [kind])[0]

    def listed_bitmap(self, kind: str) -> bytes:
        """The name by which the experiment's set lists that bitmap, if it is complete."""
        return as_bytes(f"{as_text(self.namespace)}:{LISTED_BITMAP}{kind}:") + self.key.partition(b":")[2]

    def as_record(self) -> dict[str, Any]:
        """For JSON."""
        record: dict[str, Any] = {"namespace": as_text(self.namespace), "experiment": as_text(self.experiment)}
        if self.ended:
            return {**record, "ended": self.ended.as_json()}
        if self.history:
            return {**record, "history": base64.b64encode(self.history.encode()).decode()}
        if self.life:
            record |= {"record": self.life.as_json(), "version": self.life.version}
            frozen = {"frozen": base64.b64encode(self.frozen.encode()).decode()} if self.frozen else {}
            return {**record, **frozen}
        if not self.key:
            return {**record, "settings": dict(self.settings)}
        record["key"] = as_text(self.key)
        if self.hyperloglog:
            record["hyperloglog"] = base64.b64encode(self.hyperloglog).decode()
        if self.bitmaps:
            record["bitmaps"] = {kind: base64.b64encode(bits).decode() for kind, bits in self.bitmaps.items()}
        if self.members:
            record["set"] = [base64.b64encode(member).decode() for member in self.members]
        return record

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Entry:
        """What `as_record` gave. Raises ValueError, KeyError, TypeError or AttributeError for anything else."""
        key, data = record.get("key", ""), record.get("hyperloglog")
        entry = cls(
            as_bytes(record["namespace"]),
            as_bytes(record["experiment"]),
            as_bytes(key),
            None if data is None else registers(base64.b64decode(data, validate=True)),
            {kind: _bits(kind, base64.b64decode(bits)) for kind, bits in record.get("bitmaps", {}).items()},
            tuple(base64.b64decode(member, validate=True) for member in record.get("set", ())),
            dict(record.get("settings", {})),
            Ended.decode(record.get("ended")),
            History.decode(base64.b64decode(record.get("history", ""), validate=True)),
            Life.decode(int(record["version"]), record["record"].encode()) if "record" in record else None,
            Frozen.decode(base64.b64decode(record.get("frozen", ""), validate=True)),
        )
        if entry.life and (entry.life.version < 1 or entry.life.as_json() != record["record"]):
            raise ValueError("not the record of an experiment")
        if "frozen" in record and not (entry.frozen and entry.life):
            raise ValueError("not the counts of a stopped experiment")
        if "ended" in record and not entry.ended:
            raise ValueError("not the end of a plan")
        if "history" in record and not entry.history:
            raise ValueError("not a history")
        own = list(own_counters(record["namespace"], record["experiment"], [entry.full_key]))
        if key and not own:
            raise ValueError(f"not a counter of this experiment: {key}")
        if entry.bitmaps and not (data and own and own[0].kind == "counters"):
            raise ValueError(f"a bitmap without its HyperLogLog: {key}")
        return entry


def as_text(name: bytes) -> str:
    """A name for JSON; `as_bytes` reads it back."""
    return name.decode("utf-8", "surrogateescape")


def as_bytes(name: str) -> bytes:
    """A name as Redis has it."""
    return name.encode("utf-8", "surrogateescape")


def registers(hyperloglog: bytes) -> bytes:
    """A HyperLogLog without the count that Redis caches in it, so that reading it does not make it another.

    Raises ValueError for any other string.
    """
    if not hyperloglog.startswith(HYPERLOGLOG) or len(hyperloglog) < 16:
        raise ValueError("not a HyperLogLog")
    return hyperloglog[:8] + NO_CACHED_COUNT + hyperloglog[16:]


def _bits(kind: str, bitmap: bytes) -> bytes:
    if 8 * len(bitmap) > BITMAPS[kind] + 1:
        raise ValueError("a bitmap with too many bits")
    return bitmap


def write(path: Path, header: Mapping[str, Any], entries: Iterable[Entry]) -> None:
    """Write a new file that only its owner can read. It has another name until it is whole and on disk.

    Raises BackupError.
    """
    if path.exists():
        raise BackupError(f"{path} already exists", "choose another name, or move that file away")
    partial = ""
    try:
        descriptor, partial = tempfile.mkstemp(".partial", f"{path.name}.", path.parent)
        with open(descriptor, "wb") as raw:
            packed = gzip.GzipFile("", "wb", 6, raw, 0) if path.suffix == ".gz" else nullcontext(raw)
            with cast("AbstractContextManager[IO[bytes]]", packed) as file:
                written, lines = hashlib.sha256(), 0
                records = (entry.as_record() for entry in entries)
                for record in chain([{"gimel": KIND, "format": FORMAT, **header}], records):
                    line = _line(record)
                    file.write(line)
                    written.update(line)
                    lines += 1
                file.write(_line({"end": lines, "sha256": written.hexdigest()}))
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise BackupError(f"cannot write {path} ({error.strerror})", "check its folder and free space") from None
    finally:
        Path(partial).unlink(missing_ok=True) if partial else None


def read(path: Path) -> Iterator[tuple[Entry, int]]:
    """The entries of a file, each with the bytes of the file read so far.

    Damage is noticed at the latest after the last entry. Raises BackupError, or DamagedFile with the line.
    """
    number, seen = 0, hashlib.sha256()
    try:
        with path.open("rb") as raw:
            packed = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == GZIP else nullcontext(raw)
            with cast("AbstractContextManager[IO[bytes]]", packed) as file:
                for number in count(1):
                    line = file.readline(MAX_LINE_BYTES)
                    record = _record(line)
                    if number == 1:
                        _require_known_format(path, record)
                    elif "end" in record:
                        if record != {"end": number - 1, "sha256": seen.hexdigest()} or file.read(1):
                            raise ValueError("lines are missing, or follow the end")
                        return
                    else:
                        yield Entry.of(record), raw.tell()
                    seen.update(line)
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, zlib.error, gzip.BadGzipFile):
        what = (
            f"is damaged at line {number}" if number > 1 else "is not an export of Gimel, or damaged at its first line"
        )
        raise DamagedFile(f"{path} {what}", "use another copy, or export again") from None
    except OSError as error:
        raise BackupError(f"cannot read {path} ({error.strerror})", "check its name and permissions") from None


def _line(record: Mapping[str, Any]) -> bytes:
    text = json.dumps(record, separators=(",", ":")).encode()
    return b'{"crc32":"%08x","record":%s}\n' % (zlib.crc32(text), text)


def _record(line: bytes) -> dict[str, Any]:
    found = LINE.fullmatch(line)
    if not found or zlib.crc32(found[2]) != int(found[1], 16):
        raise ValueError("not a line with its checksum")
    return cast("dict[str, Any]", json.loads(found[2]))


def _require_known_format(path: Path, header: Mapping[str, Any]) -> None:
    if header["gimel"] != KIND:
        raise ValueError("not an export")
    if header["format"] != FORMAT:
        message = f"{path} has format {header['format']} of Gimel {header['version']}; this Gimel reads {FORMAT}"
        raise BackupError(message, "upgrade Gimel")
