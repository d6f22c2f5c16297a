"""What a team passes on: links below any address, Markdown for tickets, and a saved page that explains itself."""

from __future__ import annotations

import csv
import html
import json
import re
from urllib.parse import parse_qs
from urllib.request import Request, urlopen

from markdown_it import MarkdownIt
from playwright.sync_api import expect

from .reading import address, copied, report, visitors
from .test_dashboard import serious
from .test_dashboard_files import exported, opened_file

ARMS = {"a": (300, {"buy": 30}), "b": (310, {"buy": 62})}
HOSTILE = "a|b *c* `d` <img src=x> @team #7 https://evil.example www.evil.example _e_ [f](g) &amp; ~~h~~"
CLIPBOARD = ["clipboard-read", "clipboard-write"]


def test_the_page_works_below_the_stage_of_an_api(server, visit, tmp_path):
    visitors(server, "kept", ARMS)
    page = visit("about:blank", permissions=CLIPBOARD)
    asked = []

    def as_a_gateway(route):
        asked.append(route.request.url)
        route.fulfill(response=route.fetch(url=re.sub("/prod/?", "/", route.request.url)))

    page.route("**/prod**", as_a_gateway)
    page.goto(f"{server.url}/prod#experiment=kept")
    expect(page.locator("#experiment h2")).to_have_text("kept")
    with page.expect_response("**/experiments?*"):
        page.get_by_role("button", name="Refresh").click()
    assert sum("about=1" in url for url in asked) == 1
    link = copied(page.locator("#experiment").get_by_role("button", name="Copy link"))
    assert link == f"{server.url}/prod/#experiment=kept"
    assert "kept" in exported(page, "CSV", tmp_path).read_text()
    kept = opened_file(visit, exported(page, "HTML", tmp_path))
    expect(kept.locator("#experiment h2")).to_have_text("kept")


def test_markdown_has_the_sentences_and_figures_of_the_page(server, visit):
    for name in ("kept", "other"):
        visitors(server, name, ARMS)
    page = visit(address(server, experiment="kept"), permissions=CLIPBOARD)
    text = copied(page.locator("#experiment").get_by_role("button", name="Copy as Markdown"))
    assert report(server)["kept"]["headline"] in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [" ".join(line.split("|")[2:]).split() for line in lines[2:]]
    shown = page.locator("section.goal .figures.compared tbody tr").all()
    assert rows == [" ".join(row.locator("td.number").all_inner_texts()).split() for row in shown]
    assert len(rows) == 2
    page.get_by_text("Export", exact=True).click()
    both = copied(page.locator("#export").get_by_role("button", name="Copy as Markdown"))
    assert re.findall(r"### \[(\w+)\]\((.*)\)", both) == [
        (name, address(server, experiment=name)) for name in ("kept", "other")
    ]


def test_names_in_markdown_stay_text(server, visit):
    visitors(server, HOSTILE, {HOSTILE: (300, {HOSTILE: 30}), "b": (310, {HOSTILE: 62})})
    page = visit(address(server, experiment=HOSTILE), permissions=CLIPBOARD)
    text = copied(page.locator("#experiment").get_by_role("button", name="Copy as Markdown"))
    shown = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
    tags = {"h3", "a", "p", "strong", "table", "thead", "tbody", "tr", "th", "td"}
    assert set(re.findall(r"<(\w+)", shown)) == tags
    (link,) = re.findall('href="(.*?)"', shown)
    assert parse_qs(link.partition("#")[2]) == {"experiment": [HOSTILE]}
    plain = html.unescape(re.sub("<.*?>", "", shown))
    for called in ("@team", "#7", "https://evil", "www.evil"):
        assert called not in plain
    assert plain.replace("\u2060", "").count(HOSTILE) >= 3


def test_a_saved_experiment_needs_no_explanation(server, visit, tmp_path):
    visitors(server, "kept", ARMS)
    words = {"hypothesis": "A blue button is seen sooner.", "owner": "Dana", "note": "Ships on Monday."}
    changes = {**words, "planned_visitors": 1000, "status": "decided", "decision": "b"}
    body = json.dumps({"experiment": "kept", "changes": changes}).encode()
    urlopen(Request(f"{server.url}/experiment", body, {"Content-Type": "application/json"}, method="PUT")).close()
    page = visit(address(server, experiment="kept"))
    page.get_by_text("Export", exact=True).click()
    page.get_by_label("This experiment").check()
    page.get_by_text("Export", exact=True).click()
    file = exported(page, "HTML", tmp_path)
    row, _ = csv.DictReader(exported(page, "CSV", tmp_path).read_text().splitlines())
    assert [row[name] for name in ("status", "owner", "decision", "note")] == ["decided", "Dana", "b", words["note"]]
    says = [report(server)["kept"]["headline"], *words.values(), "Decision: b", "610 of 2,000 planned visitors"]
    says += ["decided", "How to read this page", "a is the control", "until 2,000 visitors have come"]
    for width, scheme in ((1440, "light"), (1024, "dark"), (390, "dark")):
        kept = opened_file(visit, file, viewport={"width": width, "height": 900}, color_scheme=scheme)
        pane = kept.locator("#experiment")
        for each in says:
            expect(pane).to_contain_text(each.replace(" %", "\u202f%"))
        assert pane.locator(".compared .inner").count() == 1
        assert not kept.locator("#overview, .back, #namespace, button").locator("visible=true").all()
        assert kept.evaluate("document.documentElement.scrollWidth") <= width
        assert serious(kept) == []
