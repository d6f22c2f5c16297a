"""The dashboard's files: served under a strict Content-Security-Policy, or combined into one that needs no server."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from .gateway import to_json

FOLDER = Path(__file__).parent / "web"
ENTRY = "dashboard.js"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
RESTRICTIONS = "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    f"img-src 'self' data:; frame-ancestors 'none'; {RESTRICTIONS}",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

STYLE = re.compile(r'^<link rel="stylesheet" href="dashboard/([\w-]+\.css)">\n', re.MULTILINE)
IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w-]+\.js)";\n', re.MULTILINE)


def file(path: str) -> tuple[dict[str, str], bytes] | None:
    """Headers and body of the page at `/`, or of one of its files below `/dashboard/`; None for other paths."""
    name = "index.html" if path == "/" else path.removeprefix("/dashboard/")
    # Looked up among the files that exist, so that no path leads out of the folder.
    match = next((each for each in FOLDER.iterdir() if each.name == name and each.suffix in TYPES), None)
    if match is None:
        return None
    return {"Content-Type": f"{TYPES[match.suffix]}; charset=utf-8", **HEADERS}, match.read_bytes()


def snapshot(
    report: list[dict[str, Any]],
    namespace: str,
    read_at: datetime | None = None,
    view: str = "",
    ignored: Mapping[str, int] | None = None,
    histories: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The dashboard as one HTML file that contains this report, and how many requests were `ignored` that day.

    `view` is the part of the address after the `#`, `histories` are answers of `GET /history`.
    """
    time = (read_at or datetime.now(timezone.utc)).isoformat(timespec="seconds")
    shown = view or urlencode({"namespace": namespace})
    # Names come from the public internet: none may end the script element or begin a comment in it.
    data = {"namespace": namespace, "read_at": time, "view": shown, "ignored": dict(ignored or {})}
    text = to_json({**data, "report": report, "histories": histories}).replace("<", "\\u003c")
    page = (FOLDER / "index.html").read_text(encoding="utf-8")
    style = "".join((FOLDER / name).read_text(encoding="utf-8") for name in STYLE.findall(page))
    page = STYLE.sub("", page)
    script = _one_script()
    policy = f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; {RESTRICTIONS}"
    meta = f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
    for old, new in (
        ('<meta charset="utf-8">', f'<meta charset="utf-8">\n{meta}'),
        ("</head>", f"<style>{style}</style>\n</head>"),
        (f'<script type="module" src="dashboard/{ENTRY}"></script>', f'<script type="module">{script}</script>'),
        ("</body>", f'<script type="application/json" id="snapshot">{text}</script>\n</body>'),
    ):
        if old not in page:
            raise ValueError(f"index.html does not contain {old}")
        page = page.replace(old, new, 1)
    return page


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
