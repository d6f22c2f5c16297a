"""What both servers offer the dashboard: its files, facts about the server, and downloads of the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import parse_qsl

from gimel import page
from gimel.events import DEFAULT_NAMESPACE
from gimel.ops import formats
from gimel.snippet import snippet

from .app import Answer, Environ, HttpError, is_same_origin, json_answer

PATHS = ("/export/csv", "/export/html")
MAX_EXPORT_BYTES = 32 * 1024 * 1024  # a report of some thousand experiments


def answer(environ: Environ, about: Mapping[str, object]) -> Answer | None:
    """The answer to a request of the dashboard, or None if it is not one. `about` holds facts about the server.

    Raises HttpError.
    """
    path = environ.get("PATH_INFO", "/")
    if path in PATHS:
        return _export(path.removeprefix("/export/"), environ)
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return None
    if path == "/about":
        query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
        html = snippet(str(about["track_url"]), query.get("namespace") or DEFAULT_NAMESPACE)
        return json_answer(200, {**about, "snippet": html})
    found = page.file(path)
    return (200, *found) if found else None


def _export(form: str, environ: Environ) -> Answer:
    """The report in the body of a POST, in another format: the file then holds exactly what the page shows."""
    if environ["REQUEST_METHOD"] != "POST":
        raise HttpError(405, "method not allowed", "use POST, or `gimel report`")
    if not is_same_origin(environ):
        raise HttpError(403, "only the dashboard may do this", "use `gimel report`")
    if int(environ.get("CONTENT_LENGTH") or 0) > MAX_EXPORT_BYTES:
        hint = f"use `gimel report --format {form}`"
        raise HttpError(413, f"report is larger than {MAX_EXPORT_BYTES:,} bytes", hint)
    try:
        shown = json.loads(environ["wsgi.input"].read())
        report = [item for item in shown["report"] if "experiment" in item]
        if form == "csv":
            kind, text = "text/csv", formats.as_csv(report)
        else:
            read_at = datetime.fromisoformat(shown["read_at"].replace("Z", "+00:00"))
            kind = "text/html"
            histories = [each for each in shown.get("histories", ()) if "experiment" in each]
            text = page.snapshot(report, shown["namespace"], read_at, shown["view"], shown.get("ignored"), histories)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise HttpError(400, "request body is not a report", "use `gimel report`") from None
    headers = {"Content-Type": f"{kind}; charset=utf-8", "Content-Disposition": "attachment", **page.HEADERS}
    return 200, headers, text.encode()
