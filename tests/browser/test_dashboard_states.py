"""The states that people meet, in a real Chromium: each says what is the matter and what to do."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import threading

import pytest
from playwright.sync_api import expect

from gimel.snippet import Names, snippet
from tests.benchmarks.dashboard import drawn
from tests.parts import GimelServer, wait_for
from tests.server.test_app import ask

from .reading import LIST, address, goal, listed, report, row, visitors, words

SCRIPT = "<script>window.taken = 1</script><img src=x onerror='window.taken = 1'>"
ALIKE = {"a": (60, {"buy": 6}), "b": (62, {"buy": 9})}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("states")
    (home / "config.json").write_text('{"limits": {"namespaces": 100}}')  # nearly every test has one of its own
    started = GimelServer("--data", "data", "--config", str(home / "config.json"), home=home)
    yield started
    started.stop()


def test_nothing_tracked_shows_the_snippet_and_then_the_first_experiment(server, visit):
    assert ask(f"{server.url}/e", "POST", b'{"namespace": "shop", "experiment": "first"}')[0] == 400
    page = visit(address(server, namespace="shop"), stopped=True)
    expect(page.get_by_role("heading", name="Nothing has been tracked yet")).to_be_visible()
    page.get_by_text("1 kind of events not counted in the last hour").click()
    expect(page.locator("#state table")).to_contain_text("refused: variant is missing")
    shown = page.get_by_label("Snippet").inner_text()
    assert shown.split() == snippet(f"{server.url}/e", Names("shop")).split()
    expect(page.get_by_role("link", name="Open the example page")).to_have_attribute("href", "/example")
    visitors(server, "first", ALIKE, namespace="shop")
    page.clock.fast_forward(31_000)
    expect(page.locator("#experiment h2")).to_have_text("first")


def test_the_command_by_hand_counts_a_visitor(server, visit):
    page = visit(address(server, namespace="by hand 'quoted'"))
    command = shlex.split(page.get_by_label("Command").inner_text())
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout == "null"
    found = report(server, namespace="by hand 'quoted'")
    assert [(each["label"], each["trials"]) for each in found["button color"]["participants"]] == [("red", 1)]


def test_loading_is_shown_until_the_answer_comes(server, visit):
    visitors(server, "slow", ALIKE, namespace="slow")
    page = visit(server.url)
    expect(page.locator("#freshness time")).to_be_visible()
    held = []
    page.route("**/experiments?*", lambda route: held.append(route))
    page.evaluate("location.hash = 'namespace=slow'")
    expect(page.get_by_text("Loading the report…")).to_be_visible()
    wait_for(lambda: page.evaluate("true") and held, "the question")
    held[0].continue_()
    expect(page.locator("#experiment h2")).to_have_text("slow")


def test_a_slow_answer_to_an_old_question_is_not_shown(server, visit):
    visitors(server, "old question", ALIKE, namespace="old")
    visitors(server, "new question", ALIKE, namespace="new")
    page = visit(address(server, namespace="elsewhere"))
    expect(page.locator("#freshness time")).to_be_visible()
    held = []
    page.route("**/experiments?namespace=old&*", lambda route: held.append(route))
    page.evaluate("location.hash = 'namespace=old'")
    expect(page.get_by_text("Loading the report…")).to_be_visible()
    wait_for(lambda: page.evaluate("true") and held, "the question")
    page.evaluate("location.hash = 'namespace=new'")
    expect(page.locator("#experiment h2")).to_have_text("new question")
    with page.expect_response("**/experiments?namespace=old&*"):
        held[0].continue_()
    expect(page.locator("#experiment h2")).to_have_text("new question")


def test_an_unreachable_server_leaves_the_last_good_answer(serve, visit):
    server = serve()
    visitors(server, "kept", ALIKE)
    page = visit(server.url, failing=True)
    expect(page.locator("#experiment h2")).to_have_text("kept")
    time = page.locator("#freshness time").inner_text()
    server.stop()
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#banner")).to_contain_text(f"does not answer at {server.url}")
    expect(page.locator("#banner")).to_contain_text(f"the last report, read at {time}")
    expect(page.locator("#experiment h2")).to_have_text("kept")


def test_a_server_that_never_answered_is_reported_and_can_be_retried(server, visit):
    page = visit(server.url, failing=True)
    expect(page.locator("#freshness time")).to_be_visible()
    page.route("**/experiments?*", lambda route: route.abort())
    page.evaluate("location.hash = 'namespace=gone'")
    expect(page.get_by_role("heading", name="Gimel does not answer")).to_be_visible()
    page.unroute("**/experiments?*")
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("heading", name="Nothing has been tracked yet")).to_be_visible()


def test_a_redis_that_does_not_answer_is_reported_in_the_servers_words(serve, redis_server, visit):
    server = serve(GIMEL_REDIS_URL=redis_server.url)
    redis_server.stop()
    page = visit(server.url, failing=True)
    expect(page.locator("#state")).to_contain_text("Could not store or read counts")


@pytest.mark.parametrize("width", [1400, 390])
def test_an_unexpected_label_stands_apart_and_is_compared_with_nothing(server, visit, width):
    arms = {"!evil": (1, {"buy": 1}), "large": (60, {"buy": 6}), "small": (62, {"buy": 9})}
    visitors(server, "sizes", arms, namespace="strays")
    page = visit(address(server, namespace="strays", experiment="sizes"), viewport={"width": width, "height": 900})
    expect(page.locator("#experiment p.note").first).to_contain_text("!evil has far too few visitors for a variant")
    expect(page.locator("#experiment p.quiet").first).to_contain_text("122 participants · 2 variants")
    for table in (page.locator("table.split"), goal(page, "buy")):
        expect(table.locator("tbody").first.locator("tr").last).to_contain_text("!evilunexpected")
    expect(page.locator("table.split").locator("tr.unexpected .number")).to_have_text(["1", "–", "–"])
    expect(row(goal(page, "buy"), "!evil").locator(".plot")).to_have_count(0)
    assert page.locator("#control option").all_inner_texts() == ["large", "small"]
    expect(page.locator("div.alarm")).to_have_count(0)


def test_a_control_that_cannot_be_is_replaced_by_the_configured_one(serve, visit, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"experiments": {"sizes": {"baseline": "small"}}}))
    server = serve("--config", str(config))
    visitors(server, "sizes", {"!evil": (1, {"buy": 1}), "large": (60, {"buy": 6}), "small": (62, {"buy": 9})})
    page = visit(address(server, experiment="sizes", control="!evil"))
    expect(page.locator("#experiment p.note").first).to_contain_text("The requested control !evil is not a variant")
    expect(page.locator("#control")).to_have_value("small")


def test_a_wrong_split_says_what_to_do_before_any_goal_is_reached(server, visit):
    visitors(server, "unequal", {"a": (200, {}), "b": (60, {})}, namespace="unequal")
    page = visit(address(server, namespace="unequal"))
    reason = report(server, namespace="unequal")["unequal"]["sample_ratio"]["reason"]
    assert "find the cause" in reason
    assert reason.lower() in words(page.locator("div.alarm"))


def test_a_key_that_is_being_typed_is_not_wiped_by_the_refresh(serve, visit):
    page = visit(serve("--api-key", "k").url, failing=True, stopped=True)
    page.get_by_label("API key").fill("half a k")
    page.clock.fast_forward(95_000)
    expect(page.get_by_label("API key")).to_have_value("half a k")


def test_a_key_is_asked_for_once_and_never_in_an_address(serve, visit):
    server = serve("--api-key", "s3cret key")
    visitors(server, "guarded", ALIKE)
    asked = []
    page = visit(server.url, failing=True)
    page.on("request", lambda request: asked.append((request.url, request.headers)))
    page.get_by_label("API key").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("The API key is wrong.")
    page.get_by_label("API key").fill("s3cret key")
    page.keyboard.press("Enter")
    expect(page.locator("#experiment h2")).to_have_text("guarded")
    page.reload()
    expect(page.locator("#experiment h2")).to_have_text("guarded")
    assert not any("s3cret" in url for url, _ in asked)
    assert any(headers.get("x-api-key") == "s3cret key" for _, headers in asked)
    assert page.evaluate("JSON.stringify(localStorage)").find("s3cret") == -1
    assert page.context.cookies() == []


def test_one_variant_has_nothing_to_be_compared_with(server, visit):
    visitors(server, "one", {"only": (50, {"buy": 10})}, namespace="one")
    page = visit(address(server, namespace="one"))
    expect(goal(page, "buy")).to_contain_text("Nothing to compare")
    expect(page.get_by_label("Compared with")).to_have_count(0)
    expect(page.locator("svg.plot")).to_have_count(0)


def test_twelve_variants_stand_in_the_order_of_their_numbers(server, visit):
    arms = {f"variant {n}": (100 + n, {"buy": 10 + n}) for n in range(1, 13)}
    visitors(server, "twelve", arms, namespace="twelve")
    page = visit(address(server, namespace="twelve"))
    shown = goal(page, "buy").locator("table.compared tbody tr th bdi")
    expect(shown).to_have_text([f"variant {n}" for n in range(1, 13)])
    expect(goal(page, "buy").locator("rect.inner")).to_have_count(11)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_no_goal_reached_yet_is_no_error(server, visit):
    visitors(server, "quiet", {"a": (5, {}), "b": (6, {})}, namespace="quiet")
    page = visit(address(server, namespace="quiet"))
    expect(page.locator("#experiment")).to_contain_text("No goal has been reached yet")
    expect(row(page.locator("table.split"), "b")).to_contain_text("6")


@pytest.mark.parametrize("arms", [
    {"a": (40, {"buy": 40}), "b": (42, {"buy": 42})},
    {"a": (0, {"buy": 3}), "b": (42, {"buy": 12})},
    {"a": (4, {"buy": 0}), "b": (5, {"buy": 1})},
    {"a": (4, {"buy": 9}), "b": (5, {})},
], ids=["all convert", "empty control", "control at zero", "per visitor"])  # fmt: skip
def test_odd_counts_are_drawn_without_nonsense(server, visit, arms, request):
    name = request.node.callspec.id
    visitors(server, name, arms, namespace=name)
    page = visit(address(server, namespace=name))
    expect(goal(page, "buy")).to_be_visible()
    text = page.locator("#main").inner_html()
    assert not re.search(r"NaN|Infinity|undefined|null", text)


def test_injected_names_stay_text(server, visit):
    arms = {SCRIPT: (30, {SCRIPT: 4}), "\u202egnp.exe": (31, {SCRIPT: 5})}
    visitors(server, SCRIPT, arms, namespace=SCRIPT)
    page = visit(address(server, namespace=SCRIPT))
    expect(page.locator("#experiment h2")).to_have_text(SCRIPT)
    expect(page.locator("#experiment h3 bdi")).to_have_text([SCRIPT])
    assert page.evaluate("window.taken") is None
    assert page.locator("#main :is(script, img, iframe)").count() == 0
    # The invisible character that turns text around stays within its name.
    isolated = page.locator("table.split bdi").last
    assert isolated.evaluate("each => getComputedStyle(each).unicodeBidi") == "isolate"


@pytest.mark.parametrize("width", [1400, 390, 320])
def test_names_of_200_characters_of_any_script_fit(server, visit, width):
    for name in ("x" * 200, "ש" * 200, "長" * 200, "क्ष" * 66):
        visitors(server, name, {name: (60, {name: 6}), "b": (62, {name: 9})}, namespace="long")
    page = visit(address(server, namespace="long", experiment="ש" * 200), viewport={"width": width, "height": 900})
    expect(page.locator("#experiment h2")).to_have_text("ש" * 200)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    inside = "all => all.every(each => each.getBoundingClientRect().right <= innerWidth + 1)"
    assert page.locator("#experiment *").evaluate_all(inside)


def test_a_blank_name_can_be_seen_and_opened(server, visit):
    visitors(server, " ", {"\u200b": (6, {"buy": 1}), "b": (6, {})}, namespace="blank")
    page = visit(address(server, namespace="blank"))
    page.get_by_role("link", name="(blank)").click()
    expect(page.locator("#experiment h2")).to_contain_text("(blank)")


def test_an_unknown_experiment_is_reported(server, visit):
    visitors(server, "here", ALIKE, namespace="here")
    page = visit(address(server, namespace="here", experiment="gone"))
    expect(page.get_by_role("heading", name="Experiment not found")).to_be_visible()
    expect(listed(page)).to_have_text(["here"])


def test_an_invalid_namespace_is_reported(server, visit):
    page = visit(address(server, namespace="a:b"), failing=True)
    expect(page.locator("#state")).to_contain_text("Namespace contains a colon")


def test_deleting_requires_the_typed_name(server, visit):
    name = "to be deleted: ש"
    visitors(server, name, ALIKE, namespace="deletion")
    visitors(server, "to be kept", ALIKE, namespace="deletion")
    page = visit(address(server, namespace="deletion", experiment=name))
    page.get_by_role("button", name="Delete…").click()
    sure = page.get_by_role("button", name="Delete permanently")
    page.get_by_label("Type its name to confirm").fill("to be kept")
    expect(sure).to_be_disabled()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert name in report(server, namespace="deletion")
    page.get_by_role("button", name="Delete…").click()
    page.get_by_label("Type its name to confirm").fill(name)
    sure.click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("#experiment h2")).to_have_text("to be kept")
    assert list(report(server, namespace="deletion")) == ["to be kept"]


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("two  spaces", "two spaces"),
        (" a space\u00a0 around\u2003", "a space around"),
        ("\u202eturned\u200b around", "turned around"),
        ("\u200b ", "blank"),
    ],
)
def test_a_name_that_cannot_be_typed_as_it_is_can_be_confirmed(server, visit, name, typed):
    visitors(server, name, ALIKE, namespace="odd names")
    page = visit(address(server, namespace="odd names", experiment=name))
    page.get_by_role("button", name="Delete…").click()
    sure = page.get_by_role("button", name="Delete permanently")
    expect(sure).to_be_disabled()
    page.get_by_role("dialog").get_by_role("textbox").fill("something else")
    expect(sure).to_be_disabled()
    page.get_by_role("dialog").get_by_role("textbox").fill(typed)
    sure.click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert name not in report(server, namespace="odd names")


def test_a_name_that_differs_in_more_than_spaces_does_not_confirm(server, visit):
    visitors(server, "A b", ALIKE, namespace="exact names")
    page = visit(address(server, namespace="exact names", experiment="A b"))
    page.get_by_role("button", name="Delete…").click()
    for typed in ("a b", "Ab", "A bc", ""):
        page.get_by_label("Type its name to confirm").fill(typed)
        expect(page.get_by_role("button", name="Delete permanently")).to_be_disabled()


def test_spaces_in_names_are_shown_as_they_are(server, visit):
    visitors(server, "spaces", {"a b": (5, {}), "a  b": (5, {})}, namespace="spaces")
    page = visit(address(server, namespace="spaces"))
    shown = page.locator("table.split bdi")
    expect(shown).to_have_count(2)
    widths = shown.evaluate_all("all => all.map(each => each.getBoundingClientRect().width)")
    assert widths[0] != widths[1]


def test_the_deletion_says_who_is_not_counted_again(server, visit):
    visitors(server, "warned", ALIKE, namespace="warned")
    page = visit(address(server, namespace="warned"))
    page.get_by_role("button", name="Delete…").click()
    expect(page.get_by_role("dialog")).to_contain_text("already took part are not counted as participants again")


def test_a_deletion_that_fails_is_reported_in_its_dialog(server, visit):
    visitors(server, "stays", ALIKE, namespace="failing")
    page = visit(address(server, namespace="failing"), failing=True)
    page.route("**/delete?*", lambda route: route.fulfill(status=503, body='{"error": "not now", "hint": "later"}'))
    page.get_by_role("button", name="Delete…").click()
    page.get_by_label("Type its name to confirm").fill("stays")
    page.get_by_role("button", name="Delete permanently").click()
    expect(page.get_by_role("dialog")).to_contain_text("not now")
    expect(page.get_by_role("button", name="Delete permanently")).to_be_enabled()


def test_three_hundred_experiments_are_listed_and_found(server, visit, browser):
    threads = [
        threading.Thread(
            target=lambda part=part: [
                visitors(server, f"experiment {n}", {"a": (3, {"buy": 1}), "b": (2, {})}, namespace="many")
                for n in range(part, 300, 4)
            ]
        )
        for part in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    page = visit(address(server, namespace="many", sort="name"))
    expect(page.locator(LIST)).to_have_count(300)
    expect(listed(page)).to_have_text([f"experiment {n}" for n in range(300)])
    page.get_by_label("Search experiments").fill("299")
    expect(page.locator(LIST)).to_have_count(1)
    # What the benchmark measures is there to be measured.
    assert drawn(browser, address(server, namespace="many")) > 0
