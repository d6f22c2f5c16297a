"""Tells a webhook what snapshots find of experiments: each state once, and again and again until it is taken."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import logging
import socket
import ssl
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from . import connection, histories, lives
from .analysis.past import SILENT
from .config import Notify
from .counters import ask_each
from .deadline import within
from .errors import GimelError
from .events import DEFAULT_NAMESPACE
from .histories import DAY
from .keyspace import NOTICES_KEY, NOTIFYING_KEY, Experiment
from .round_trip import Client, Command, as_hash

log = logging.getLogger("gimel")

TIMEOUT_S = 5.0
"""For one attempt, with the name and the connection."""

PAUSES_S = (1.0, 3.0)
"""Between the attempts of one snapshot. If all fail, the next snapshot goes on."""

AT_ONCE = 50
"""How many notices one snapshot sends at most."""

LONGEST_S = 60.0
"""After so long, a snapshot sends no more: it has to end in time."""

CLAIMED_S = 120
"""For so long nobody else sends notices, unless this is done earlier: longer than a snapshot can send."""

KEPT_DAYS = 3
"""A notice that is not taken for so long is given up."""

TOLD = b""
"""What is kept of a notice that was taken."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A state of an experiment: its kind, of which goal and variants it is, a sentence or two for people, and what the
    experiment's team says of it."""

    namespace: str
    experiment: str
    kind: str
    text: str
    goal: str | None = None
    variants: tuple[str, ...] = ()
    owner: str = ""
    link: str = ""

    @property
    def name(self) -> bytes:
        """What tells this state from all others."""
        return json.dumps([self.namespace, self.experiment, self.kind, self.goal, self.variants]).encode()


class NotTaken(GimelError):
    """The receiver did not take a notice. `is_down` if it would take no other now, either."""

    def __init__(self, notify: Notify, reason: str, is_down: bool) -> None:
        # The rest of the URL may be a secret.
        super().__init__(f"{urlsplit(notify.url).hostname} did not take a notice ({reason})")
        self.is_down = is_down


def of(namespace: str, experiment: str, content: Mapping[str, Any]) -> Iterator[Notice]:
    """The states that this report shows; none of an experiment that is stopped, decided or archived."""
    own = content["settings"]
    if own["status"] != lives.RUNNING:
        return

    def notice(kind: str, text: str, goal: str | None = None, variants: Sequence[str] = ()) -> Notice:
        return Notice(namespace, experiment, kind, text, goal, tuple(variants), own["owner"], own["link"])

    verdict, headline = content["verdict"], content["headline"]
    if verdict["state"] in ("winner", "loser"):
        rows = next(goal["results"] for goal in content["goals"] if goal["goal"] == verdict["goal"])
        labels = sorted(row["label"] for row in rows if row["verdict"]["state"] == verdict["state"])
        yield notice(verdict["state"], headline, verdict["goal"], labels)
    if content["sample_ratio"]["state"] == "mismatch":
        yield notice("split", headline)
    if silent := next((note for note in content["notes"] if SILENT.fullmatch(note)), None):
        yield notice("no_events", f"{silent[0].upper()}{silent[1:]}. Does the page still send them?")
    if (content["plan"] or {}).get("ended"):
        yield notice("planned", f"The planned visitors have come. {headline}")


def tell(client: Client, found: Collection[Notice], known: Collection[Experiment], now: int) -> None:
    """Tell the webhook, if there is one, which of these states it has not been told. Nothing is raised, but logged.

    Of two snapshots at once, one does it. What only the other one has found, the next snapshot finds, too.

    `known` are all experiments, those included that are stopped, of which there is nothing to tell. What is kept of
    others is deleted.
    """
    notify = connection.settings().notify
    if notify is None:
        return
    try:
        if ask_each(client, [("SET", NOTIFYING_KEY, now, "NX", "EX", CLAIMED_S)])[0]:
            try:
                _tell(client, notify, [notice for notice in found if notice.kind in notify.on], known, now)
            finally:
                ask_each(client, [("DEL", NOTIFYING_KEY)])
    except Exception as error:  # whatever it is, the snapshot is taken
        log.warning("could not send notices: %s", error, exc_info=not isinstance(error, GimelError))


def _tell(client: Client, notify: Notify, found: Collection[Notice], known: Collection[Experiment], now: int) -> None:
    kept = as_hash(ask_each(client, [("HGETALL", NOTICES_KEY)])[0])
    current = {notice.name for notice in found}
    gone = [name for name in kept if _is_gone(name, known, current)]
    new = [notice for notice in found if notice.name not in kept]
    waiting = {name: body for name, body in kept.items() if body != TOLD and name not in gone}
    waiting |= {notice.name: _body(notice, now) for notice in new}
    commands: list[Command] = [("HDEL", NOTICES_KEY, *gone)] if gone else []
    # Before they are sent: whoever is cut off sends one twice rather than never.
    commands += [("HSET", NOTICES_KEY, notice.name, waiting[notice.name]) for notice in new]
    ask_each(client, commands)
    end_s = time.monotonic() + LONGEST_S
    for name, body in [*waiting.items()][:AT_ONCE]:
        if time.monotonic() > end_s:
            log.warning("%s is slow; the next snapshot goes on", urlsplit(notify.url).hostname)
            break
        if now - histories.as_moment(json.loads(body)["at"]) > KEPT_DAYS * DAY:
            log.warning("a notice was not taken for %d days and is given up", KEPT_DAYS)
        else:
            try:
                _send(notify, body)
            except NotTaken as error:
                log.warning("%s; the next snapshot tries again", error)
                if error.is_down:
                    break
                continue
        ask_each(client, [("HSET", NOTICES_KEY, name, TOLD)])


def _is_gone(name: bytes, known: Collection[Experiment], current: Collection[bytes]) -> bool:
    """Whether what is kept under this name is to be forgotten: its experiment, or a silence that is over."""
    namespace, experiment, kind, *_ = json.loads(name)
    return (namespace, experiment) not in known or (kind == "no_events" and name not in current)


def _body(notice: Notice, now: int) -> bytes:
    namespace = "" if notice.namespace == DEFAULT_NAMESPACE else f" ({notice.namespace})"
    text = f"{notice.experiment}{namespace}: {notice.text}"
    for special, written in ("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"):  # as Slack reads it, where <!channel> alerts
        text = text.replace(special, written)
    body = {
        "text": text,
        "id": hashlib.sha256(notice.name).hexdigest()[:32],
        "at": histories.as_text(now),
        "kind": notice.kind,
        "namespace": notice.namespace,
        "experiment": notice.experiment,
        "goal": notice.goal,
        "variants": notice.variants,
        "owner": notice.owner,
        "link": notice.link,
    }
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def _send(notify: Notify, body: bytes) -> None:
    """Send a notice, and again if the receiver is down. Raises NotTaken."""
    for pause_s in (*PAUSES_S, None):
        try:
            status = within(TIMEOUT_S, lambda: post(notify, body))
        except (OSError, HTTPException) as error:  # TimeoutError, too
            told = str(error) or type(error).__name__
            # What the receiver sent must not begin a line of the log.
            failure = NotTaken(notify, told if told.isprintable() else repr(error)[:200], is_down=True)
        else:
            if 200 <= status < 300:
                return
            failure = NotTaken(notify, f"it answers {status}", is_down=status >= 500 or status == 429)
        if pause_s is None or not failure.is_down:
            break
        time.sleep(pause_s)
    raise failure


def post(notify: Notify, body: bytes) -> int:
    """The status of the receiver's answer. Raises OSError, also for an address that may not be asked, and
    HTTPException."""
    url = urlsplit(notify.url)
    host, is_https = str(url.hostname), url.scheme == "https"
    headers = {"Host": url.netloc, "Content-Type": "application/json", "User-Agent": "gimel", "Connection": "close"}
    if notify.secret:
        sent = str(int(time.time()))
        headers |= {"X-Gimel-Timestamp": sent, "X-Gimel-Signature": signature(notify.secret, sent, body)}
    port = url.port or (443 if is_https else 80)
    link = HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        # Connected to the very address that was checked. Redirects, which lead elsewhere, are not followed.
        link.sock = _connect(host, port, notify.allow_private)
        if is_https:
            link.sock = ssl.create_default_context().wrap_socket(link.sock, server_hostname=host)
        link.request("POST", f"{url.path or '/'}{'?' * bool(url.query)}{url.query}", body, headers)
        return link.getresponse().status
    finally:
        link.close()


def signature(secret: str, sent: str, body: bytes) -> str:
    """HMAC-SHA256 of the time of sending (seconds since 1970), a dot and the body."""
    return "sha256=" + hmac.new(secret.encode(), sent.encode() + b"." + body, hashlib.sha256).hexdigest()


def _connect(host: str, port: int, allow_private: bool) -> socket.socket:
    found = [str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    allowed = [address for address in found if allow_private or _is_public(address)]
    failure = OSError(f"{host} has a private address; set notify.allow_private if that is meant")
    for address in allowed:
        try:
            return socket.create_connection((address, port), TIMEOUT_S)
        except OSError as error:
            failure = error
    raise failure


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        # Addresses that lead to one of IPv4.
        nat64 = ipaddress.IPv4Address(int(found) % 2**32) if found in ipaddress.ip_network("64:ff9b::/96") else None
        found = found.ipv4_mapped or found.sixtofour or nat64 or found
        # All that is public is in there. Python takes more for public, as site-local addresses and a local NAT64's.
        if found.version == 6 and found not in ipaddress.ip_network("2000::/3"):
            return False
    # Python before 3.13 takes most of the last one for public; a cloud's metadata are there.
    return found.is_global and not found.is_multicast and found not in ipaddress.ip_network("192.0.0.0/24")
