"""The life of an experiment: what its team says of it, its settings and where it stands, recorded in Redis."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from . import histories, stopping
from .counters import ask_each, forget
from .errors import BadRequest, GimelError, StoreUnavailable
from .events import CHANGE_HINT, CONTROL, name_problems
from .keyspace import NAMESPACES_KEY, experiments_key, frozen_key, settings_key, statuses_key, stopped_key
from .outages import ask
from .plans import pack, unpack
from .round_trip import Client, Command, as_hash, send
from .settings import EDITABLE, NO_SETTINGS, ExperimentSettings, merged
from .validation import Section

DRAFT, RUNNING, STOPPED, DECIDED, ARCHIVED = STATUSES = ("draft", "running", "stopped", "decided", "archived")

FOLLOWING = {
    DRAFT: (RUNNING, STOPPED),
    RUNNING: (STOPPED, DECIDED),
    STOPPED: (RUNNING, ARCHIVED),
    DECIDED: (RUNNING, STOPPED, ARCHIVED),
    ARCHIVED: (STOPPED,),
}
"""What each status may become."""

TEXTS = {"hypothesis": 1_000, "owner": 200, "link": 500, "decision": 200, "note": 1_000}
"""What people may write, and how many characters at most."""

EMPTY: Mapping[str, Any] = {
    **dict.fromkeys((*TEXTS, "baseline", "goal"), ""),
    **{key: [] for key in ("goals", "per_visitor", "variants")},
    **{key: {} for key in ("guardrails", "weights")},
}
"""What resets a key, as null does."""

KEPT_VERSIONS = 5
"""Of a record, to tell the later of two editors what the other one has changed."""

MAX_BYTES = 8_000
"""Of a record."""

ATTEMPTS = 10
"""How often to try again when others change the same record at the same moment."""


@dataclass(frozen=True, slots=True)
class Life:
    """The record of one experiment; `version` is 0 if there is none.

    `dates` has the moment at which it took each status, as text, as far as that is known. `settings` are those that
    were not set in config.json, as JSON. `headline` is that of the report when it was decided.
    """

    version: int = 0
    status: str = RUNNING
    dates: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    hypothesis: str = ""
    owner: str = ""
    link: str = ""
    decision: str | None = None
    note: str = ""
    headline: str | None = None

    def as_json(self) -> str:
        """`decode` reads it back. Its version is not in it."""
        return json.dumps(self._record(), ensure_ascii=False, separators=(",", ":"))

    def encode(self) -> bytes:
        """As Redis has it: compressed, once it is archived."""
        return pack(self._record()) if self.status == ARCHIVED else self.as_json().encode()

    def _record(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value and name != "version"}

    @classmethod
    def decode(cls, version: int, record: bytes) -> Life:
        """The record that `as_json` or `encode` wrote; an empty one of this version for anything else."""
        try:
            found = {name: value for name, value in unpack(record).items() if name in RECORDED}
            moments = [histories.as_moment(at) for at in found.get("dates", {}).values()]
            are_texts = all(isinstance(found.get(name) or "", str) for name in (*TEXTS, "headline"))
            is_possible = (
                found["status"] in STATUSES
                and all(0 <= moment < histories.LATEST for moment in moments)
                and isinstance(found.get("settings", {}), dict)
                and are_texts
            )
            return cls(version, **found) if is_possible else cls(version)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return cls(version)

    def own(self, configured: ExperimentSettings) -> tuple[ExperimentSettings, list[str]]:
        """The settings that count, given those of config.json; and the problems because of which the latter count
        alone, if there are some. An experiment that was archived keeps those of then."""
        applied = self.configured(configured)
        return merged(self.settings, applied) if self.settings else (applied, [])

    def configured(self, configured: ExperimentSettings) -> ExperimentSettings:
        """Which settings of config.json apply."""
        return NO_SETTINGS if ARCHIVED in self.dates else configured

    def now(self, is_counted: bool) -> Life:
        """As it is once events have been counted, or not yet: a draft then runs."""
        return replace(self, status=RUNNING) if is_counted and self.status == DRAFT else self

    def value_of(self, key: str) -> Any:
        """What a change of this key changes."""
        return self.settings.get(key) if key in EDITABLE else getattr(self, key) or None

    def as_dict(self, configured: ExperimentSettings, first_seen: str | None, is_counted: bool) -> dict[str, Any]:
        """For JSON: with the settings that count. `first_seen` is when the first event came, if that is known."""
        now, applied = self.now(is_counted), self.configured(configured)
        own, _ = self.own(configured)
        dates = dict(self.dates)
        if first_seen and now.status != DRAFT:
            dates.setdefault(RUNNING, first_seen)
        return {
            "version": self.version,
            "status": now.status,
            "dates": {status: dates[status] for status in STATUSES if status in dates},
            **{name: getattr(self, name) for name in TEXTS},
            **{key: _as_json(getattr(own, key)) if key in own.given else None for key in sorted(EDITABLE)},
            "variants": _as_json(own.variants),  # the weights name them, too
            "in_config": sorted(_in_config(applied)),
            "can_start": now.status in (DRAFT, STOPPED) and ARCHIVED not in self.dates,
        }


RECORDED = set(Life.__dataclass_fields__) - {"version"}
CHANGEABLE = {*EDITABLE, *TEXTS, "status"}


class Conflict(GimelError):
    """Somebody else has changed the same since, or deleted it all. `changed` has by key what it `was` and `is`."""

    def __init__(self, changed: Mapping[str, Mapping[str, Any]], is_deleted: bool = False) -> None:
        message = f"somebody else has changed {', '.join(sorted(changed))}"
        hint = "look at what it is now, and send the new version"
        if is_deleted:
            message, hint = "the experiment was deleted", "if it is still wanted, make a new one of this name"
        super().__init__(message, hint)
        self.changed = changed


def question(namespace: str, experiment: str) -> Command:
    """Ask for the versions of a record. `latest` reads the reply."""
    return "HGETALL", settings_key(namespace, experiment)


def latest(reply: Any) -> Life:
    """The last version of a record."""
    return _last(_versions(reply))


def read(client: Client, namespace: str, experiments: Sequence[str]) -> dict[str, Life]:
    """The records of these experiments, in one round trip. Raises StoreUnavailable."""
    replies = ask_each(client, [question(namespace, name) for name in experiments])
    return {name: latest(reply) for name, reply in zip(experiments, replies)}


def change(
    client: Client,
    namespace: str,
    experiment: str,
    changes: Mapping[str, Any],
    base: int | None = None,
    configured: ExperimentSettings = NO_SETTINGS,
    headline: str | None = None,
) -> Life:
    """Change a record, and do what its new status means. Returns the new record.

    `changes` has the new values by key, None to reset it. `base` is the version that they are based on: if others have
    changed the same keys since, or deleted the experiment, it raises Conflict; what they have changed otherwise stays.
    `configured` are the settings of config.json. `headline` is that of the report, to be kept if this decides the
    experiment.

    What is there already is not written again, but done again: so after a failure, the same change completes itself.
    Raises BadRequest, which says all that is wrong, and StoreUnavailable.
    """
    for _ in range(ATTEMPTS):
        asked = [question(namespace, experiment), ("SISMEMBER", experiments_key(namespace), experiment)]
        reply, is_listed = ask_each(client, asked)
        versions = _versions(reply)
        found = _last(versions)
        before = found.now(bool(is_listed))
        if not found.version and not is_listed:
            before = Life(status=DRAFT)
        _raise_conflict(versions, before, changes, base)
        after = _changed(before, experiment, changes, configured, headline)
        if after == before and found.version:
            break
        after = replace(after, version=found.version + 1)
        if _write(client, settings_key(namespace, experiment), after):
            break
    else:
        raise StoreUnavailable("could not change the settings", "others keep changing them; retry later")
    _apply(client, namespace, experiment, before.status, after, "status" in changes)
    return after


def _apply(client: Client, namespace: str, experiment: str, before: str, after: Life, is_new: bool) -> None:
    """Do what the status of this record means, if it is new, and list it.

    Somebody else may have changed the record since, and done the same first. So whoever does it last looks, and does it
    anew.
    """
    for _ in range(ATTEMPTS):
        if is_new:
            stopping.apply(client, namespace, experiment, before, after.status)
        lists = [("HSET", statuses_key(namespace), experiment, after.status), ("SADD", NAMESPACES_KEY, namespace)]
        ask_each(client, lists)
        now = read(client, namespace, [experiment])[experiment]
        if not now.version:
            # It was deleted, so nothing of this is to be left. But no counters are deleted: they may be new, or of a
            # Redis that took over a moment ago and lacks the record.
            undone: list[Command] = [
                ("HDEL", statuses_key(namespace), experiment),
                ("SREM", stopped_key(namespace), experiment),
                ("DEL", frozen_key(namespace, experiment)),
            ]
            if not ask_each(client, [*undone, ("SISMEMBER", experiments_key(namespace), experiment)])[-1]:
                forget(client, namespace, experiment)
        if now.version in (0, after.version):
            return
        before, after, is_new = after.status, now, is_new or now.status != after.status


def _raise_conflict(versions: Mapping[int, bytes], now: Life, changes: Mapping[str, Any], base: int | None) -> None:
    """Raises Conflict if others have changed the same keys to something else since the version `base`, or have deleted
    the experiment. If that version is not kept any more, anything may have been.

    One that has counters alone has version 0, too. So whoever sends that for a new one says which status it has.
    """
    is_deleted = _is_new(now) and base is not None and (base > 0 or "status" not in changes)
    if base is None or (base == now.version and not is_deleted):
        return
    then = Life.decode(base, versions[base]) if base in versions else None if base else Life()
    changed = {}
    for key in CHANGEABLE & changes.keys():
        was, found = then and then.value_of(key), now.value_of(key)
        # Of an experiment that was deleted since, nothing is written; where nothing is, nothing is lost.
        if is_deleted or base > now.version or (was != found and found != _normal(key, changes[key])):
            changed[key] = {"was": was, "is": found}
    if changed:
        raise Conflict(changed, is_deleted)


def _changed(
    before: Life, experiment: str, changes: Mapping[str, Any], configured: ExperimentSettings, headline: str | None
) -> Life:
    """The record with these changes. Raises BadRequest, which lists all that is wrong."""
    section = Section(changes, CHANGEABLE)
    problems = section.problems
    wanted = section.take("status", f"one of {', '.join(STATUSES)}", lambda one: one if one in STATUSES else None)
    after = _with_status(before, wanted, headline, problems)
    if _is_new(before):
        problems += [f"experiment {problem}" for problem in name_problems(experiment)]
    texts = {name: section.take(name, *_text(name), "") for name in TEXTS if name in changes}
    after = replace(after, **{**texts, **({"decision": texts["decision"] or None} if "decision" in texts else {})})
    after = _with_decision(after, wanted, headline, problems)
    own, _ = before.own(configured)
    if edited := {key: _normal(key, changes[key]) for key in EDITABLE & changes.keys()}:
        set_there = sorted(edited.keys() & _in_config(after.configured(configured)))
        problems += [f"{key}: is set in config.json; change it there" for key in set_there]
        if ARCHIVED in before.dates:
            problems += [f"{key}: stays as it was when the experiment was archived" for key in sorted(edited)]
        settings = {**before.settings, **{key: value for key, value in edited.items() if key not in set_there}}
        after = replace(after, settings={key: value for key, value in settings.items() if value is not None})
        own, contradictions = merged(after.settings, before.configured(configured))
        problems += contradictions
        for key in sorted(edited):
            for name in _names(edited[key]):
                wrong = name_problems(name) if name else ["is empty"]
                problems += [f"{key}: {name!r} {problem}" for problem in wrong]
    if after.status == ARCHIVED and before.status != ARCHIVED:
        frozen = {key: _as_json(getattr(own, key)) for key in sorted(EDITABLE & own.given.keys())}
        after = replace(after, settings=frozen)
    size = len(after.as_json().encode())
    problems += [f"the settings have {size:,} bytes; at most {MAX_BYTES:,} are allowed"] if size > MAX_BYTES else []
    if problems:
        raise BadRequest(problems, CHANGE_HINT)
    return after


def _with_status(before: Life, wanted: str | None, headline: str | None, problems: list[str]) -> Life:
    """The record with this status, or as it is. Adds to the problems why it cannot have it."""
    now, dates = histories.as_text(histories.now()), dict(before.dates)
    if _is_new(before) and wanted not in (None, DRAFT, RUNNING):
        problems.append("experiment: no experiment has this name")
    elif _is_new(before):
        return replace(before, status=wanted or DRAFT, dates={wanted or DRAFT: now})
    elif wanted is None or wanted == before.status or (wanted == DECIDED and before.status == STOPPED):
        pass
    elif wanted not in FOLLOWING[before.status]:
        problems.append(f"status: {before.status} can become {' or '.join(FOLLOWING[before.status])}, but not {wanted}")
    elif wanted == RUNNING and ARCHIVED in dates:
        problems.append("status: it cannot run again, because its counters are gone; give the next run a new name")
    elif wanted == RUNNING:
        dates = {status: at for status, at in dates.items() if status not in (STOPPED, DECIDED)}
        # One that runs again began earlier: on the day in its record, or when its first event came.
        dates = {RUNNING: now, **dates} if before.status == DRAFT else dates
        return replace(before, status=wanted, dates=dates, decision=None, headline=None)
    elif before.status == ARCHIVED:
        return replace(before, status=wanted)
    else:
        return replace(before, status=wanted, dates={**dates, wanted: now}, headline=before.headline or headline)
    return before


def _with_decision(life: Life, wanted: str | None, headline: str | None, problems: list[str]) -> Life:
    """The record, decided or not: what is stopped stays so, as it would count again. Adds to the problems."""
    if life.decision and life.status not in (STOPPED, DECIDED, ARCHIVED):
        problems.append(f"decision: needs the status {DECIDED}, or an experiment that is stopped")
    if not life.decision and DECIDED in (life.status, wanted):
        problems.append('decision: name the variant that you choose, or say "none"')
    if life.decision and life.status == STOPPED and DECIDED not in life.dates:
        dates = {**life.dates, DECIDED: histories.as_text(histories.now())}
        return replace(life, dates=dates, headline=headline)
    if not life.decision and life.status != DECIDED and DECIDED in life.dates:
        return replace(
            life, dates={status: at for status, at in life.dates.items() if status != DECIDED}, headline=None
        )
    return life


def _is_new(life: Life) -> bool:
    """Whether neither a record nor a counter has its name."""
    return not life.version and life.status == DRAFT


def _write(client: Client, key: bytes, life: Life) -> bool:
    """Whether this record is now the one that follows the version before it. Raises StoreUnavailable.

    It is not if somebody else has written that version, or has deleted the experiment; then nothing is left of it.
    """
    record, before = life.encode(), life.version - 1
    commands: list[Command] = [("HSETNX", key, life.version, record), ("HGETALL", key)]
    is_new, reply = ask(client, lambda: send(client, commands, atomic=True))
    versions = _versions(reply)
    follows = before in versions if before else len(versions) == 1
    # Not only if it is new: who was asked again after a cut connection has written it before.
    is_last = versions.get(life.version) == record and max(versions) == life.version and follows
    kept = 1 if life.status == ARCHIVED else KEPT_VERSIONS
    outdated = [one for one in versions if one <= life.version - kept] if is_last else [life.version] * is_new
    if outdated:
        ask_each(client, [("HDEL", key, *outdated)])
    return is_last


def _versions(reply: Any) -> dict[int, bytes]:
    return {int(version): record for version, record in as_hash(reply).items() if version.isdigit()}


def _last(versions: Mapping[int, bytes]) -> Life:
    last = max(versions, default=0)
    return Life.decode(last, versions[last]) if last else Life()


def _in_config(configured: ExperimentSettings) -> set[str]:
    """What config.json sets: with the weights, the variants."""
    return {*(EDITABLE & configured.given.keys()), *(["variants"] if configured.weights else [])}


def _as_json(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    return dict(sorted(value.items())) if isinstance(value, Mapping) else value


def _normal(key: str, value: Any) -> Any:
    """What is recorded of a value: nothing for an empty one."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        value = sorted(set(value))
    return None if value == EMPTY.get(key) else value


def _names(value: Any) -> list[str]:
    """The names of goals or variants in the value of a setting."""
    found = [value] if isinstance(value, str) else value if isinstance(value, (list, dict)) else []
    return [name for name in found if isinstance(name, str)]


def _text(name: str) -> tuple[str, Callable[[object], str | None]]:
    """What is wanted of what people write, and how it is read."""
    limit = TEXTS[name]

    def read(value: object) -> str | None:
        text = value.strip() if isinstance(value, str) else None
        if text is None or len(text) > limit or CONTROL.search(text.replace("\n", "")):
            return None
        is_link = not text or bool(re.fullmatch(r"https?://[^\s<>\"]+", text))
        return text if name != "link" or is_link else None

    kind = 'a web address such as "https://example.com/ticket/1"' if name == "link" else "text"
    return f"{kind} of at most {limit:,} characters", read
