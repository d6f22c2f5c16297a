"""What a server offers to the dashboard beside the endpoints: its files, what it must know, and other formats."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from gimel.events import DEFAULT_NAMESPACE
from gimel.gateway import to_json
from gimel.ops import formats
from gimel.ops.snippet import snippet

from . import assets

Answer = tuple[int, dict[str, str], bytes]

ABOUT = "/about"
EXPORTS = ("/export/csv", "/export/html")
MAX_EXPORT_BYTES = 32 * 1024 * 1024  # a report of some thousand experiments


def answer(environ: Mapping[str, Any], about: Mapping[str, object]) -> Answer | None:
    """The answer to a request of the dashboard; None where it is none. `about` is what it must know of this server."""
    path = environ.get("PATH_INFO", "/")
    if path in EXPORTS:
        return _export(path.removeprefix("/export/"), environ)
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return None
    if path == ABOUT:
        asked = dict(parse_qsl(environ.get("QUERY_STRING", "")))
        text = snippet(str(about["track_url"]), asked.get("namespace") or DEFAULT_NAMESPACE)
        return json_answer(200, {**about, "snippet": text})
    found = assets.file(path)
    return (200, *found) if found else None


def json_answer(status: int, value: object) -> Answer:
    """A JSON value for the server's own pages."""
    return status, {"Content-Type": "application/json", **assets.HEADERS}, to_json(value).encode()


def is_from_own_page(environ: Mapping[str, Any]) -> bool:
    """Whether this request comes from a page of this very server, or from no page at all."""
    origin = environ.get("HTTP_ORIGIN")
    same = not origin or urlsplit(origin).netloc == environ.get("HTTP_HOST")
    return same and environ.get("HTTP_SEC_FETCH_SITE", "none") in ("same-origin", "none")


def _export(form: str, environ: Mapping[str, Any]) -> Answer:
    """The report in the body of a POST in another format, so that a file holds the very numbers of the page."""
    if environ["REQUEST_METHOD"] != "POST":
        return json_answer(405, {"error": "only POST is answered here", "hint": "use `gimel report`"})
    if not is_from_own_page(environ):
        return json_answer(403, {"error": "only the dashboard may do this", "hint": "use `gimel report`"})
    if int(environ.get("CONTENT_LENGTH") or 0) > MAX_EXPORT_BYTES:
        error = f"the report is larger than {MAX_EXPORT_BYTES:,} bytes"
        return json_answer(413, {"error": error, "hint": "use `gimel report --format csv`, or html"})
    try:
        shown = json.loads(environ["wsgi.input"].read())
        report = [item for item in shown["report"] if "experiment" in item]
        if form == "csv":
            kind, text = "text/csv", formats.as_csv(report)
        else:
            taken = datetime.fromisoformat(shown["read_at"].replace("Z", "+00:00"))
            kind, text = "text/html", assets.snapshot(report, shown["namespace"], taken, shown["view"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return json_answer(400, {"error": "this is no report", "hint": "use `gimel report`"})
    headers = {"Content-Type": f"{kind}; charset=utf-8", "Content-Disposition": "attachment", **assets.HEADERS}
    return 200, headers, text.encode()
