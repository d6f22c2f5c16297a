"""The dashboard: one HTML file, served without any data under a strict policy, or saved with a report in it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import cache
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from .events import DEFAULT_NAMESPACE
from .gateway import Answer, Request, to_json
from .snippet import Names, module, snippet

FOLDER = Path(__file__).parent / "web"
ENTRY = "dashboard.js"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

CONNECT = "connect-src 'self'; "
"""What the policy of a saved page leaves out: it asks no server."""

STYLE = re.compile(r'^<link rel="stylesheet" href="([\w-]+\.css)">\n', re.MULTILINE)
IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w-]+\.js)";\n', re.MULTILINE)


def answer(request: Request, about: Mapping[str, object]) -> Answer:
    """The page or, if asked with `about`, these facts about its server, and the snippet for their `track_url`: that of
    an `experiment`, if one is named, or an example. Raises InvalidSnippet."""
    params = request.params
    if "about" in params:
        is_named = "experiment" in params
        names = Names.read(params) if is_named else Names(str(params.get("namespace") or DEFAULT_NAMESPACE))
        url = str(about["track_url"])
        return Answer({**about, "snippet": {"html": snippet(url, names), "module": module(url, names)}})
    page, headers = _served()
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Answer(status=304, headers=headers)
    return Answer(headers=headers, text=page)


def snapshot(
    report: list[dict[str, Any]],
    namespace: str,
    read_at: datetime | None = None,
    view: str = "",
    ignored: Mapping[str, int] | None = None,
    histories: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The page with this report in it, and how many requests were `ignored` that day, as downloads.js makes it.

    `view` is the part of the address after the `#`, `histories` are answers of `GET /history`.
    """
    time = (read_at or datetime.now(timezone.utc)).isoformat(timespec="seconds")
    shown = view or urlencode({"namespace": namespace})
    data = {"namespace": namespace, "read_at": time, "view": shown, "ignored": dict(ignored or {})}
    # Names come from the public internet: none may end the script element or begin a comment in it.
    text = to_json({**data, "report": report, "histories": histories}).replace("<", "\\u003c")
    page, end, rest = _served()[0].replace(CONNECT, "", 1).rpartition("</body>")
    return f'{page}<script type="application/json" id="snapshot">{text}</script>\n{end}{rest}'


@cache
def _served() -> tuple[str, Mapping[str, str]]:
    """The page with its styles and scripts in it, and the headers of an answer that has it."""
    page = (FOLDER / "index.html").read_text(encoding="utf-8")
    style = "".join((FOLDER / name).read_text(encoding="utf-8") for name in STYLE.findall(page))
    page = STYLE.sub("", page)
    script = _one_script()
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; {CONNECT}"
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    meta = f'<meta http-equiv="Content-Security-Policy" content="{escape(policy, quote=False)}">'  # for a saved page
    for old, new in (
        ('<meta charset="utf-8">', f'<meta charset="utf-8">\n{meta}'),
        ("</head>", f"<style>{style}</style>\n</head>"),
        (f'<script type="module" src="{ENTRY}"></script>', f'<script type="module">{script}</script>'),
    ):
        if old not in page:
            raise ValueError(f"index.html does not contain {old}")
        page = page.replace(old, new, 1)
    return page, {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": f"{policy}; frame-ancestors 'none'",
        **HEADERS,
        "ETag": f'W/"{hashlib.sha256(page.encode()).hexdigest()[:20]}"',  # weak: the same, packed or not
    }


def _one_script() -> str:
    """All modules as one script, dependencies first. They share a scope, so no two may declare the same name."""
    sources: dict[str, str] = {}

    def add(name: str) -> None:
        if name not in sources:
            source = (FOLDER / name).read_text(encoding="utf-8")
            for dependency in IMPORT.findall(source):
                add(dependency)
            sources[name] = re.sub(r"^export ", "", IMPORT.sub("", source), flags=re.MULTILINE)

    add(ENTRY)
    return "".join(sources.values())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
