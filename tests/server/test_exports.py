"""What the servers offer the dashboard: its files under a strict policy, and downloads of the report."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from datetime import datetime, timezone

import pytest

from gimel import access, page
from gimel.ops.server import exports
from gimel.ops.server.app import App
from gimel.ops.server.local import LocalApi

REPORT = [{"experiment": "</script>", "participants": [], "goals": []}]
READ_AT = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)


def call(
    path: str, method: str = "GET", body: bytes = b"", api_key: str | None = None, query: str = "", **environ: str
):
    """Status, headers and body of the answer to one request."""
    request = {
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REQUEST_METHOD": method,
        "HTTP_HOST": "127.0.0.1:8000",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        **environ,
    }
    access.use([access.Key.of(access.WRITE, api_key)] if api_key else None)
    return App(LocalApi().answer)(request)


@pytest.mark.parametrize("path", ["/", "/dashboard/dashboard.js", "/dashboard/dashboard.css"])
def test_the_page_and_its_files_have_a_strict_policy(path):
    status, headers, _ = call(path)
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/dashboard/../page.py", "/dashboard/%2e%2e/page.py", "/dashboard/", "/dashboard/no.js"]
)
def test_no_other_file_is_served(path):
    assert call(path)[0] == 404


def test_the_page_requests_nothing_from_other_hosts():
    for file in page.FOLDER.iterdir():
        addresses = re.findall(r"(?:https?:)?//[\w.-]+", re.sub(r"^\s*//.*", "", file.read_text(), flags=re.MULTILINE))
        assert {each for each in addresses if "www.w3.org" not in each} == set(), file.name


def test_the_snippet_has_the_address_the_browser_uses():
    _, _, body = call("/about", query="namespace=shop", HTTP_HOST="ab.example:81")
    about = json.loads(body)
    assert about["track_url"] == "http://ab.example:81/track"
    assert '("http://ab.example:81/track", "shop")' in about["snippet"]
    assert about["needs_key"] is False


def test_the_page_learns_that_a_key_is_needed_but_not_the_key():
    _, _, body = call("/about", api_key="s3cret")
    assert json.loads(body)["needs_key"] is True
    assert b"s3cret" not in body


def test_an_export_is_a_download_of_the_posted_report():
    body = json.dumps(
        {"report": REPORT, "namespace": "shop", "read_at": "2026-11-23T12:00:00.000Z", "view": ""}
    ).encode()
    status, headers, text = call("/export/html", "POST", body, HTTP_ORIGIN="http://127.0.0.1:8000")
    assert (status, headers["Content-Disposition"]) == (200, "attachment")
    assert text.decode() == page.snapshot(REPORT, "shop", READ_AT)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"report": 1}', b'{"report": [{"experiment": "x"}]}', b'{"report": [1]}', b"[" * 100_000]
)
@pytest.mark.parametrize("form", ["csv", "html"])
def test_anything_but_a_report_is_refused(form, body):
    assert call(f"/export/{form}", "POST", body)[0] == 400


def test_another_site_cannot_export():
    assert call("/export/html", "POST", b"{}", HTTP_ORIGIN="https://evil.example")[0] == 403
    assert call("/export/html", "POST", b"{}", HTTP_SEC_FETCH_SITE="cross-site")[0] == 403
    assert call("/export/html")[0] == 405


def test_an_export_needs_the_key_if_there_is_one():
    body = json.dumps({"report": REPORT}).encode()
    status, _, answer = call("/export/csv", "POST", body, api_key="k")
    assert (status, json.loads(answer)["error"]) == (403, "API key missing or invalid")
    assert call("/export/csv", "POST", body, api_key="k", HTTP_X_API_KEY="k")[0] == 200


def test_an_export_has_a_size_limit():
    status, _, answer = call("/export/csv", "POST", b"", CONTENT_LENGTH=str(exports.MAX_EXPORT_BYTES + 1))
    assert status == 413
    assert "gimel report" in json.loads(answer)["hint"]
    body = json.dumps({"report": REPORT}).encode()
    assert call("/export/csv", "POST", body, CONTENT_LENGTH=str(exports.MAX_EXPORT_BYTES))[0] == 200


def test_a_snapshot_allows_only_its_own_script_and_style():
    text = page.snapshot(REPORT, "shop", READ_AT)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)[1].replace("&#x27;", "'")
    for element, directive in (("style", "style-src"), ('script type="module"', "script-src")):
        inside = re.search(f"<{element}>(.*?)</{element.split()[0]}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in policy
    assert text.count("</script>") == 2
    assert "import " not in re.search(r'<script type="module">(.*?)</script>', text, re.DOTALL)[1].replace(
        "important", ""
    )
