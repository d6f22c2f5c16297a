"""What the dashboard's export gives: files with the very numbers of the page."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from playwright.sync_api import expect

from docs.screenshots import DEMO, in_present_page
from gimel.ops import formats
from gimel.ops.commands.main import main

from .reading import LIST, address, report, visitors

ENDING = "</script><script>window.taken = 1</script><!--"


def exported(page, button: str, folder: Path) -> Path:
    page.get_by_text("Export", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    return Path(download.value.path()).rename(folder / download.value.suggested_filename)


def opened_file(visit, path: Path, **options):
    return visit(f"file://{path}", **options)


def test_csv_and_json_hold_the_report(demo, visit, tmp_path):
    page = visit(address(demo, namespace="mobile"))
    expect(page.locator("#experiment h2")).to_have_text("onboarding tour")
    shown = list(report(demo, namespace="mobile").values())
    file = exported(page, "JSON", tmp_path)
    assert file.name.startswith("gimel-mobile-20")
    assert json.loads(file.read_text()) == shown
    text = exported(page, "CSV", tmp_path).read_text()
    assert text == formats.as_csv(shown)
    assert len(list(csv.DictReader(io.StringIO(text)))) == 2


def test_an_html_snapshot_shows_the_same_without_a_server(serve, visit, tmp_path):
    server = serve()
    arms = {"a": (300, {"buy": 30, "look": 100}), "b": (310, {"buy": 62, "look": 99})}
    visitors(server, "kept for later", arms, namespace="odd")
    visitors(server, "another", arms, namespace="odd")
    page = visit(address(server, namespace="odd", experiment="kept for later", control="b"))
    expect(page.get_by_label("Compared with")).to_have_value("b")
    expect(page.locator(".over-time, .history-note").first).to_be_attached()  # the history has come, too
    figures = page.locator("#experiment section.goal").all_inner_texts()
    file = exported(page, "HTML", tmp_path)
    server.stop()
    requests = []
    kept = opened_file(visit, file)
    kept.on("request", lambda request: requests.append(request.url))
    kept.reload()
    expect(kept.locator("#experiment h2")).to_have_text("kept for later")
    assert kept.locator("#experiment section.goal").all_inner_texts() == figures
    expect(kept.locator("#freshness")).to_contain_text("Snapshot of")
    expect(kept.get_by_label("Compared with")).to_have_count(0)
    expect(kept.get_by_role("button", name="Delete…")).to_have_count(0)
    kept.get_by_role("link", name="another").click()
    expect(kept.locator("#experiment h2")).to_have_text("another")
    assert [url for url in requests if not url.startswith("data:")] == [file.as_uri()]


def test_names_in_a_snapshot_stay_text(serve, visit, tmp_path):
    server = serve()
    visitors(server, ENDING, {ENDING: (5, {ENDING: 2}), "\u2028": (5, {})})
    page = visit(server.url)
    expect(page.locator("#experiment h2")).to_have_text(ENDING)
    kept = opened_file(visit, exported(page, "HTML", tmp_path))
    expect(kept.locator("#experiment h2")).to_have_text(ENDING)
    assert kept.evaluate("window.taken") is None


@pytest.mark.parametrize("name", ["kept", "other"])
def test_the_command_line_makes_the_same_snapshot(serve, visit, tmp_path, name):
    server = serve()
    for experiment in ("kept", "other"):
        visitors(server, experiment, {"a": (30, {"buy": 3}), "b": (31, {"buy": 4})}, namespace="shop")
    options = ["report", name, "--format", "html", "--url", server.url, "--namespace", "shop"]
    result = CliRunner().invoke(main, options)
    file = tmp_path / "snapshot.html"
    file.write_text(result.stdout, encoding="utf-8")
    kept = opened_file(visit, file)
    expect(kept.locator("#experiment h2")).to_have_text(name)
    expect(kept.locator(LIST)).to_have_count(1)
    expect(kept.get_by_label("Namespace")).to_have_value("shop")


def test_the_exported_demo_has_the_present_page():
    text = DEMO.read_text("utf-8")
    assert in_present_page(text) == text, "run `.venv/bin/python -m docs.screenshots page`"
    assert len(text) < 600_000
    assert "127.0.0.1" not in text


def test_the_exported_demo_opens_without_a_server(visit):
    page = visit(DEMO.as_uri())
    links = page.locator("#list tbody a")
    plots = 0
    for name in links.all_inner_texts():
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.locator("#experiment h2")).to_have_text(name)
        plots += page.locator("#experiment .trends").count()
    assert plots > 10


BLOCKED = """for (const name of ["localStorage", "sessionStorage"])
  Object.defineProperty(window, name, {get() { throw new DOMException("not allowed", "SecurityError"); }});"""


def test_page_and_export_need_no_storage_of_the_browser(demo, visit, tmp_path):
    page = visit("about:blank")
    page.add_init_script(BLOCKED)  # as in a frame with `sandbox`, or where the reader blocks all cookies
    page.goto(address(demo, namespace="mobile"))
    expect(page.locator("#experiment h2")).to_have_text("onboarding tour")
    kept = opened_file(visit, exported(page, "HTML", tmp_path))
    kept.add_init_script(BLOCKED)
    kept.reload()
    expect(kept.locator("#experiment h2")).to_have_text("onboarding tour")
