"""The life of an experiment on the page, in a real Chromium: its settings, its status, and what others do meanwhile."""

from __future__ import annotations

import json
import re
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Page, expect

from gimel.page import snapshot
from tests.parts import GimelServer

from .reading import address, listed, report, visitors
from .test_dashboard import serious
from .test_dashboard_decides import NOW, WON, made

ARMS = {"blue": (40, {"clicked": 9, "bought": 8, "refund": 3}), "red": (40, {"clicked": 15, "bought": 9})}
CONFIGURED = {"goal": "bought", "weights": {"blue": 1, "red": 1}, "smallest_change": 0.05}
WIDTHS = (1440, 1024, 390)
BUTTONS = ".life-acts button"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("life")
    (home / "config.json").write_text(
        json.dumps({"limits": {"namespaces": 100}, "experiments": {"configured": CONFIGURED}})
    )
    started = GimelServer("--data", "data", "--config", str(home / "config.json"), home=home)
    yield started
    started.stop()


def put(server, namespace: str, experiment: str = "button", **changes: object) -> dict:
    """Change settings as another person would."""
    body = json.dumps({"namespace": namespace, "experiment": experiment, "changes": changes}).encode()
    asked = Request(f"{server.url}/experiment", body, {"Content-Type": "application/json"}, method="PUT")
    with urlopen(asked) as answer:
        return json.load(answer)["settings"]


def settings(server, namespace: str, experiment: str = "button") -> dict:
    return report(server, namespace=namespace, scope=experiment)[experiment]["settings"]


@pytest.fixture
def opened(server, visit, request):
    """A page that shows an experiment, in a namespace of the test's own."""

    def open_(namespace: str, experiment: str = "button", **options) -> Page:
        visitors(server, experiment, ARMS, namespace=namespace)
        return visit(address(server, namespace=namespace, experiment=experiment), **options)

    return open_


def edit(page: Page):
    page.get_by_role("button", name="Settings…").click()
    return page.get_by_role("dialog")


def goal_row(dialog, name: str):
    names = dialog.get_by_label("Name of the goal").evaluate_all("all => all.map(each => each.value)")
    return dialog.locator(".rows").first.locator("li").nth(names.index(name))


def participants(page: Page):
    return page.locator('table.split td[data-label="Participants"] .value')


def save(dialog) -> None:
    dialog.get_by_role("button", name="Save", exact=True).click()


def confirm(page: Page, action: str, button: str) -> None:
    page.locator(BUTTONS, has_text=action).click()
    page.get_by_role("dialog").get_by_role("button", name=button, exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_every_setting_is_edited_on_the_page_and_read_back(server, opened):
    page = opened("edited")
    dialog = edit(page)
    dialog.get_by_label("Hypothesis").fill("Red is seen.\nSo it is clicked.")
    dialog.get_by_label("Owner").fill("  Sara ")
    dialog.get_by_label("Link").fill("https://tracker.example/T-1")
    goal_row(dialog, "clicked").get_by_label("Role").select_option("Decides (primary goal)")
    goal_row(dialog, "bought").get_by_label("Role").select_option("Guardrail: must not fall")
    goal_row(dialog, "bought").get_by_label("Accepted change").fill("2.5")
    goal_row(dialog, "refund").get_by_label("Role").select_option("Guardrail: must not rise")
    dialog.get_by_role("button", name="Add a goal").click()
    page.keyboard.type("constructor ")
    goal_row(dialog, "constructor ").get_by_label("Role").select_option("Per visitor, not tested")
    dialog.get_by_label("These are all its goals").check()
    dialog.get_by_label("Visitors are split by weights").check()
    dialog.get_by_label("Weight", exact=True).last.fill("9")
    dialog.get_by_label("Control").select_option("red")
    dialog.get_by_label("Smallest change").fill("7")
    dialog.get_by_label("Planned visitors").fill("20,000")
    save(dialog)
    expect(dialog).to_have_count(0)
    found = settings(server, "edited")
    wanted = {
        "version": 1,
        "hypothesis": "Red is seen.\nSo it is clicked.",
        "owner": "Sara",
        "link": "https://tracker.example/T-1",
        "goal": "clicked",
        "guardrails": {"bought": -0.025, "refund": 0.02},
        "per_visitor": ["constructor"],
        "goals": ["bought", "clicked", "constructor", "refund"],
        "weights": {"blue": 1, "red": 9},
        "baseline": "red",
        "smallest_change": 0.07,
        "planned_visitors": 20000,
    }
    assert {key: found[key] for key in wanted} == wanted
    life = page.locator(".life")
    expect(life).to_contain_text("Red is seen.")
    expect(life).to_contain_text("Owner: Sara")
    expect(life.get_by_role("link")).to_have_attribute("href", "https://tracker.example/T-1")
    expect(page.locator("#control")).to_have_value("red")
    expect(page.locator(".plan")).to_contain_text("of 20,000 planned visitors")

    # What is there is shown again, and resetting it leaves nothing.
    dialog = edit(page)
    assert goal_row(dialog, "bought").get_by_label("Accepted change").input_value() == "2.5"
    expect(goal_row(dialog, "constructor").get_by_label("Role")).to_have_value("per_visitor")
    expect(dialog.get_by_label("Planned visitors")).to_have_value("20000")
    save(dialog)
    expect(dialog).to_have_count(0)
    assert settings(server, "edited")["version"] == 1
    dialog = edit(page)
    dialog.get_by_label("Visitors are split by weights").uncheck()
    dialog.get_by_label("These are all its goals").uncheck()
    while dialog.get_by_role("button", name="Remove this goal").count():
        dialog.get_by_role("button", name="Remove this goal").first.click()
    for label in ("Hypothesis", "Owner", "Link", "Smallest change", "Planned visitors"):
        dialog.get_by_label(label).fill("")
    dialog.get_by_label("Control").select_option("The first by name")
    save(dialog)
    expect(dialog).to_have_count(0)
    found = settings(server, "edited")
    assert found["version"] == 2
    assert not any(found[key] for key in wanted if key != "version")


def test_what_config_json_sets_is_shown_and_cannot_be_edited(server, opened):
    page = opened("fixed", "configured")
    dialog = edit(page)
    expect(dialog.get_by_text("set in config.json")).to_have_count(4)
    row = goal_row(dialog, "bought")
    expect(row.get_by_label("Role")).to_be_disabled()
    expect(row.get_by_label("Role")).to_have_value("goal")
    expect(row.get_by_role("button")).to_have_count(0)
    assert not goal_row(dialog, "clicked").get_by_role("option", name="Decides").is_enabled()
    for field in (dialog.get_by_label("Smallest change"), dialog.get_by_label("Weight", exact=True).first):
        expect(field).not_to_be_editable()
    expect(dialog.get_by_label("Smallest change")).to_have_value("5")
    expect(dialog.get_by_label("Visitors are split by weights")).to_be_disabled()
    expect(dialog.get_by_role("button", name="Add a variant")).to_have_count(0)
    dialog.get_by_label("Control").select_option("red")
    save(dialog)
    expect(dialog).to_have_count(0)
    found = settings(server, "fixed", "configured")
    assert (found["baseline"], found["goal"], found["weights"]) == ("red", "bought", CONFIGURED["weights"])


def test_a_variant_that_is_added_or_removed_is_saved(server, opened):
    page = opened("names")
    dialog = edit(page)
    dialog.get_by_role("button", name="Add a variant").click()
    page.keyboard.type("green")
    expect(dialog.get_by_label("These are all its variants")).to_be_checked()
    dialog.get_by_role("button", name="Remove this variant").first.click()
    save(dialog)
    expect(dialog).to_have_count(0)
    assert settings(server, "names")["variants"] == ["green", "red"]


def test_all_that_is_wrong_is_told_at_its_fields_and_nothing_typed_is_lost(server, opened):
    page = opened("wrong", failing=True)
    dialog = edit(page)
    dialog.get_by_label("Owner").fill("Tom")
    dialog.get_by_label("Smallest change").fill("a little")
    dialog.get_by_label("Planned visitors").fill("many")
    save(dialog)
    for key, typed in ("smallest_change", "a little"), ("planned_visitors", "many"):
        field = dialog.locator(f'[data-key="{key}"]')
        expect(field.locator(".problem")).to_contain_text("must be")
        expect(field.locator("input")).to_have_attribute("aria-invalid", "true")
        expect(field.locator("input")).to_have_value(typed)
    expect(dialog.get_by_role("alert").last).to_contain_text("2 of these settings are not valid")
    expect(dialog.get_by_label("Smallest change")).to_be_focused()
    dialog.get_by_label("Smallest change").fill("5 %")
    dialog.get_by_label("Planned visitors").fill("500")
    page.route("**/experiment?", lambda route: route.abort())
    save(dialog)
    expect(dialog.get_by_role("alert").last).to_contain_text("does not answer")
    expect(dialog.locator(".problem")).to_have_count(0)
    expect(dialog.get_by_label("Owner")).to_have_value("Tom")
    page.unroute("**/experiment?")
    save(dialog)
    expect(dialog).to_have_count(0)
    found = settings(server, "wrong")
    assert (found["owner"], found["smallest_change"], found["planned_visitors"]) == ("Tom", 0.05, 500)


def test_the_later_of_two_editors_is_told_what_changed_and_loses_no_typing(server, opened):
    page = opened("both", failing=True)
    dialog = edit(page)
    dialog.get_by_label("Owner").fill("Mine")
    dialog.get_by_label("Hypothesis").fill("My hypothesis")
    goal_row(dialog, "clicked").get_by_label("Role").select_option("Decides (primary goal)")
    put(server, "both", owner="Theirs", goal="bought", planned_visitors=5000, link="https://tracker.example/theirs")
    save(dialog)
    told = dialog.locator(".conflict")
    expect(told).to_contain_text("Somebody else changed these settings while you were editing")
    expect(told.locator("li").filter(has_text="Owner")).to_contain_text("theirs is “Theirs”, yours is “Mine”")
    expect(told.locator("li").filter(has_text="Goal that decides")).to_contain_text("“bought”, yours is “clicked”")
    expect(told).to_contain_text(re.compile("Also changed, and kept: (Link, Planned visitors|Planned visitors, Link)"))
    expect(dialog.get_by_label("Owner")).to_have_value("Mine")
    expect(dialog.get_by_label("Hypothesis")).to_have_value("My hypothesis")
    expect(goal_row(dialog, "clicked").get_by_label("Role")).to_have_value("goal")
    expect(dialog.get_by_label("Planned visitors")).to_have_value("5000")
    assert settings(server, "both")["owner"] == "Theirs"
    told.locator("li").filter(has_text="Goal that decides").get_by_role("button", name="Use theirs").click()
    expect(goal_row(dialog, "bought").get_by_label("Role")).to_have_value("goal")
    expect(dialog.get_by_label("Owner")).to_have_value("Mine")
    save(dialog)
    expect(dialog).to_have_count(0)
    found = settings(server, "both")
    wanted = {"owner": "Mine", "hypothesis": "My hypothesis", "goal": "bought", "planned_visitors": 5000}
    assert {key: found[key] for key in wanted} == wanted
    assert found["link"] == "https://tracker.example/theirs"
    dialog = edit(page)
    dialog.get_by_label("Owner").fill("Mine again")
    urlopen(Request(f"{server.url}/delete?namespace=both&experiment=button", method="DELETE")).close()
    for _ in range(2):
        save(dialog)
        expect(dialog.get_by_role("alert").last).to_contain_text("the experiment was deleted")
        expect(dialog.get_by_label("Owner")).to_have_value("Mine again")
    assert report(server, namespace="both") == {}


def test_escape_leaves_a_form_but_not_with_changes(opened):
    page = opened("escape")
    button = page.get_by_role("button", name="Settings…")
    button.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Hypothesis")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()
    button.press("Enter")
    page.keyboard.type("not to be lost")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(dialog.get_by_role("alert").last).to_contain_text("changes that are not saved")
    expect(dialog.get_by_label("Hypothesis")).to_have_value("not to be lost")
    expect(dialog.get_by_role("button", name="Discard changes")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    expect(page.locator(".life")).not_to_contain_text("not to be lost")


def test_from_running_to_decided_stopped_archived_and_back(server, opened):
    namespace = "whole life"
    page = opened(namespace)
    life = page.locator(".life")
    expect(life.locator(".tag.status")).to_have_text("running")
    expect(participants(page)).to_have_text(["40", "40"])
    expect(page.locator(BUTTONS)).to_have_text(["Settings…", "Decide…", "Stop…", "Delete…"])

    headline = page.locator(".headline > span").last.inner_text()
    page.get_by_role("button", name="Decide…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Save the decision")).to_be_disabled()
    dialog.get_by_label("red").check()
    dialog.get_by_label("Note").fill("Ship it.")
    dialog.get_by_role("button", name="Save the decision").click()
    expect(life).to_contain_text("Decision: red")
    expect(life).to_contain_text("Ship it.")
    expect(page.locator("#list .group")).to_have_text(["Nothing needs you today", "Decided and stopped 1"])
    expect(page.locator("#list .tag.status")).to_have_text("decided")
    expect(page.locator(BUTTONS)).to_have_text(["Settings…", "Change decision…", "Stop…", "Archive…", "Delete…"])
    visitors(server, "button", {"red": (60, {"bought": 55, "clicked": 55})}, namespace=namespace)
    page.get_by_role("button", name="Refresh").click()
    expect(participants(page)).to_have_text(["40", "60"])
    expect(page.locator(".headline > span")).to_have_text([headline])  # without the verdict of now

    page.get_by_role("button", name="Change decision…").click()
    expect(dialog.get_by_label("red", exact=True)).to_be_checked()
    dialog.get_by_label("It is not decided after all").check()
    dialog.get_by_role("button", name="Save the decision").click()
    expect(life.locator(".tag.status")).to_have_text("running")
    expect(life).not_to_contain_text("Decision")
    page.get_by_role("button", name="Decide…").click()
    dialog.get_by_label("Another decision").fill("both, by country")
    dialog.get_by_role("button", name="Save the decision").click()
    expect(life).to_contain_text("Decision: both, by country")

    confirm(page, "Stop…", "Stop")
    expect(life).to_contain_text("Later events are ignored. The figures are those of that moment.")
    expect(page.locator("#experiment-title")).to_be_focused()
    expect(page.locator(BUTTONS)).to_have_text(["Settings…", "Change decision…", "Start again…", "Archive…", "Delete…"])
    visitors(server, "button", {"red": (80, {"bought": 5})}, namespace=namespace)
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#ignored")).to_contain_text("1 request for experiments that are stopped")
    expect(participants(page)).to_have_text(["40", "60"])
    confirm(page, "Start again…", "Start")
    expect(life.locator(".tag.status")).to_have_text("running")
    visitors(server, "button", {"blue": (50, {})}, namespace=namespace)
    page.get_by_role("button", name="Refresh").click()
    expect(participants(page)).to_have_text(["50", "60"])
    confirm(page, "Stop…", "Stop")
    expect(life.locator(".tag.status")).to_have_text("stopped")

    confirm(page, "Archive…", "Archive")
    expect(life).to_contain_text("so it cannot run again")
    expect(page.locator(BUTTONS)).to_have_text(["Restore…", "Delete…"])
    expect(listed(page)).to_have_count(0)
    expect(page.locator(".filed a")).to_have_text(["button"])
    expect(participants(page)).to_have_text(["50", "60"])
    page.reload()
    expect(participants(page)).to_have_text(["50", "60"])
    assert report(server, namespace=namespace) == {}

    confirm(page, "Restore…", "Restore")
    expect(life).to_contain_text("It cannot run again")
    expect(page.locator(BUTTONS)).to_have_text(["Settings…", "Decide…", "Archive…", "Delete…"])
    expect(listed(page)).to_have_text(["button"])
    expect(page.locator(".filed")).to_have_count(0)


def test_a_variant_may_be_called_none(server, visit):
    visitors(server, "button", {"none": (3, {}), "shown": (3, {})}, namespace="none")
    put(server, "none", status="decided", decision="none")
    page = visit(address(server, namespace="none", experiment="button"))
    decision, dialog = page.locator(".decision"), page.get_by_role("dialog")
    expect(decision).to_have_text("Decision: none")
    page.get_by_role("button", name="Change decision…").click()
    chosen = dialog.locator("label:has(:checked)")
    expect(chosen).to_have_text(re.compile("^none"))
    dialog.get_by_label("None of the variants").check()
    dialog.get_by_role("button", name="Save the decision").click()
    expect(decision).to_have_text("Decision: none of the variants")
    page.get_by_role("button", name="Change decision…").click()
    expect(chosen).to_have_text("None of the variants")


def test_a_draft_waits_apart_and_runs_with_its_first_visitor(server, visit):
    put(server, "drafts", "planned", hypothesis="It will help.", variants=["a", "b"], goal="buy")
    page = visit(address(server, namespace="drafts"))
    expect(page.locator("#list .group")).to_have_text(["Nothing needs you today", "Drafts 1"])
    life = page.locator(".life")
    expect(life).to_contain_text("It starts by itself, with its first visitor.")
    expect(page.locator(BUTTONS)).to_have_text(["Settings…", "Start…", "Delete…"])
    expect(page.locator(".headline")).to_have_count(0)
    visitors(server, "planned", {"a": (1, {})}, namespace="drafts")
    page.get_by_role("button", name="Refresh").click()
    expect(life.locator(".tag.status")).to_have_text("running")
    put(server, "drafts", "other", owner="Kim", variants=["a", "b"], goal="buy")
    page.get_by_role("button", name="Refresh").click()
    page.get_by_role("link", name="other").click()
    confirm(page, "Start…", "Start")
    expect(life.locator(".tag.status")).to_have_text("running")
    page.get_by_role("button", name="Delete…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("its settings and its decision")
    dialog.get_by_label("Type its name to confirm").fill("other")
    dialog.get_by_role("button", name="Delete permanently").click()
    expect(listed(page)).to_have_text(["planned"])


def test_a_status_that_others_changed_is_told_before_it_is_changed_again(server, opened):
    page = opened("status of others", failing=True)
    expect(page.get_by_role("button", name="Stop…")).to_be_visible()
    put(server, "status of others", status="decided", decision="blue")
    page.get_by_role("button", name="Stop…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Stop", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("Status")
    expect(dialog.get_by_role("alert")).to_contain_text("is now “decided”")
    assert settings(server, "status of others")["status"] == "decided"
    dialog.get_by_role("button", name="Stop", exact=True).click()
    expect(dialog).to_have_count(0)
    assert settings(server, "status of others")["status"] == "stopped"


def test_an_archived_experiment_is_found_and_opened_from_the_list(server, opened):
    for name in ("old one", "old two"):
        visitors(server, name, ARMS, namespace="archive")
        put(server, "archive", name, status="stopped")
        put(server, "archive", name, status="archived")
    page = opened("archive")
    filed = page.locator(".filed")
    expect(filed.locator("summary")).to_have_text("Archived 2")
    expect(filed.get_by_role("link")).to_have_count(0)
    page.get_by_label("Search experiments").fill("two")
    filed.get_by_role("link").click()
    expect(page.locator("#experiment h2")).to_have_text("old two")
    expect(listed(page)).to_have_count(0)
    expect(participants(page)).to_have_text(["40", "40"])
    page.get_by_label("Search experiments").fill("nothing like it")
    expect(page.locator("#list")).to_contain_text("No experiment matches")


def test_a_reader_sees_the_life_of_an_experiment_and_can_change_nothing(server, opened, visit):
    put(server, "reader", status="draft", owner="Sara")
    visitors(server, "button", ARMS, namespace="reader")
    page = visit("about:blank")

    def as_reader(route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace('"access":"write"', '"access":"read"'))

    page.route("**/experiments?*", as_reader)
    page.goto(address(server, namespace="reader"))
    expect(page.locator(".life")).to_contain_text("Owner: Sara")
    expect(page.locator("#experiment button").filter(has_text="…")).to_have_count(0)


def test_what_people_write_stays_text(visit, tmp_path):
    script = "<script>window.taken = 1</script><img src=x onerror='window.taken = 1'>"
    said = {"hypothesis": script, "owner": script, "decision": script, "note": script}
    life = {"version": 1, "status": "decided", "dates": {}, "in_config": [], "can_start": False, **said}
    item = {"experiment": "button", **made(buy=WON), "settings": {**life, "link": "javascript:window.taken=1"}}
    file = tmp_path / "report.html"
    file.write_text(snapshot([item], "alephbet", NOW))
    page = visit(file.as_uri())
    expect(page.locator(".life")).to_contain_text(f"Decision: {script}")
    expect(page.locator(".life")).to_contain_text("javascript:window.taken=1")
    expect(page.locator(".life a, .life button, .life img, .life script")).to_have_count(0)
    assert page.evaluate("window.taken") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_dialog_is_accessible_and_fits_at_each_width(server, visit, scheme):
    namespace = f"looks {scheme}"
    visitors(server, "configured", ARMS, namespace=namespace)
    put(server, namespace, "configured", status="stopped", hypothesis="x" * 200, owner="ש" * 200)
    page = visit(address(server, namespace=namespace, experiment="configured"), color_scheme=scheme)
    expect(page.locator(".life")).to_be_visible()
    assert serious(page) == []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for button in ("Settings…", "Decide…", "Archive…"):
            page.locator(BUTTONS, has_text=button).press("Enter")
            expect(page.get_by_role("dialog")).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            outside = "all => all.filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.outerHTML)"
            assert page.locator("dialog, dialog li, dialog fieldset").evaluate_all(outside) == []
            if button == "Settings…":
                assert serious(page) == []
            page.keyboard.press("Escape")
            expect(page.get_by_role("dialog")).to_have_count(0)
