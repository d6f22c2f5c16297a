"""What servers and the Lambda function give a browser: the dashboard under a strict policy, and what it asks for."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections import Counter
from datetime import datetime, timezone

import pytest

import gimel
from gimel import access, page
from gimel.ops.server.app import App
from gimel.ops.server.local import LocalApi
from gimel.ops.server.proxy import Forwarder
from tests.calls import make_http_event, make_rest_event

REPORT = [{"experiment": "</script>", "participants": [], "goals": []}]
READ_AT = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)


def call(path: str = "/", query: str = "", **environ: str):
    """Status, headers and body of the answer of `gimel serve` to one request."""
    request = {
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REQUEST_METHOD": "GET",
        "HTTP_HOST": "127.0.0.1:8000",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        **environ,
    }
    return App(LocalApi().answer)(request)


def policy_in(text: str) -> str:
    return re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)[1]


def inside(text: str, element: str) -> str:
    return re.search(f"<{element}>(.*?)</{element.split()[0]}>", text, re.DOTALL)[1]


def test_the_page_may_run_only_its_own_script_and_ask_only_its_own_server():
    status, headers, body = call()
    text = body.decode()
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = headers["Content-Security-Policy"]
    assert policy == f"{policy_in(text)}; frame-ancestors 'none'"
    assert policy.startswith("default-src 'none'; ")
    assert "connect-src 'self'; " in policy
    assert "unsafe" not in policy
    for element, directive in (("style", "style-src"), ('script type="module"', "script-src")):
        digest = base64.b64encode(hashlib.sha256(inside(text, element).encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert (text.count("</script>"), text.count("</style>")) == (1, 1)
    assert not re.search(r"^(import|export) ", text, re.MULTILINE)


def test_every_server_serves_the_same_page():
    _, headers, body = call()
    forwarded = App(Forwarder("https://api.example", "https://api.example/e").answer)
    environ = {"PATH_INFO": "/", "REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO()}
    assert forwarded(environ)[2] == body
    for event in (make_rest_event(), make_http_event()):
        answer = gimel.dashboard(event)
        assert answer["body"].encode() == body
        names = ("Content-Type", "Content-Security-Policy", "Cache-Control", "ETag")
        assert [answer["headers"][name] for name in names] == [headers[name] for name in names]


@pytest.mark.parametrize("query", ["about=1", "about", "%61bout=1", "x=1&abou%74"])
def test_what_a_forwarder_knows_of_its_api_needs_the_token(query):
    forwarded = App(Forwarder("https://api.example", "https://api.example/e").answer)
    environ = {"PATH_INFO": "/", "REQUEST_METHOD": "GET", "QUERY_STRING": query, "wsgi.input": io.BytesIO()}
    assert forwarded(environ)[0] == 403


def test_a_page_that_the_browser_has_is_not_sent_again():
    _, headers, _ = call()
    status, again, body = call(HTTP_IF_NONE_MATCH=headers["ETag"])
    assert (status, again["ETag"], body) == (304, headers["ETag"], b"")
    assert call(HTTP_IF_NONE_MATCH='W/"another"')[0] == 200


@pytest.mark.parametrize("path", ["/dashboard.js", "/dashboard/dashboard.js", "/../page.py", "/%2e%2e/page.py"])
def test_no_other_file_is_served(path):
    assert call(path)[0] == 404


def test_the_page_requests_nothing_from_other_hosts():
    for file in page.FOLDER.iterdir():
        addresses = re.findall(r"(?:https?:)?//[\w.-]+", re.sub(r"^\s*//.*", "", file.read_text(), flags=re.MULTILINE))
        assert {each for each in addresses if "www.w3.org" not in each} == set(), file.name


def test_no_two_modules_of_the_page_declare_the_same_name():
    script = inside(call()[2].decode(), 'script type="module"')
    declared = Counter(re.findall(r"^(?:async )?(?:function|const|let|class)\*? (\w+)", script, re.MULTILINE))
    assert len(declared) > 100
    assert [name for name, times in declared.items() if times > 1] == []


def test_the_snippet_has_the_address_the_browser_uses():
    _, _, body = call(query="about=1&namespace=shop", HTTP_HOST="ab.example:81")
    about = json.loads(body)
    assert about["track_url"] == "http://ab.example:81/track"
    assert '("http://ab.example:81/track", "shop")' in about["snippet"]["html"]
    assert about["needs_key"] is False


def test_the_snippet_has_the_names_of_the_experiment():
    names = "experiment=x,y&variants=a%0Ab,c%0A&weights=9,1&goals=buy%0Aview&per_visitor=view"
    snippet = json.loads(call(query=f"about=1&{names}")[2])["snippet"]
    for text in snippet.values():
        assert 'name: "x,y"' in text
        assert '"a": {weight: 9, ' in text
        assert '"b,c": {weight: 1, ' in text
        assert 'Goal("buy");' in text
        assert 'Goal("view", {unique: false});' in text
    status, _, body = call(query="about=1&experiment=e&variants=a")
    assert (status, json.loads(body)["problems"]) == (
        400,
        ["variants must be at least two different names, separated by commas"],
    )


def test_the_page_learns_that_a_key_is_needed_but_not_the_key():
    access.use([access.Key.of(access.READ, "s3cret")])
    _, _, body = call(query="about=1")
    assert json.loads(body)["needs_key"] is True
    assert b"s3cret" not in body


def test_a_saved_page_may_ask_no_server():
    text = page.snapshot(REPORT, "shop", READ_AT)
    served = call()[2].decode()
    assert policy_in(text) == policy_in(served).replace("connect-src 'self'; ", "")
    assert "connect-src" not in policy_in(text)
    assert inside(text, 'script type="module"') == inside(served, 'script type="module"')
    assert text.count("</script>") == 2
    assert json.loads(re.search('id="snapshot">(.*)</script>', text)[1])["report"] == REPORT
