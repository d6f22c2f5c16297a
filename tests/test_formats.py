"""A report as a table and as CSV."""

import csv
import io
import re

import pytest
from rich.console import Console

from gimel.analysis import verdicts
from gimel.analysis.report import INTERVALS, ROW_FIELDS, experiment_report
from gimel.histories import DAY, HOUR, Change, History, as_moment
from gimel.ops import formats
from gimel.page import FOLDER
from gimel.plans import Ended
from gimel.settings import ExperimentSettings
from tests.counts import counted

BETTER, WORSE = {"blue": 2500, "red": 2960}, {"blue": 2500, "red": 2000}


def item(shards=0, participants=50_000, **goals):
    trials = dict.fromkeys(("blue", "red"), participants)
    counts = {
        name: {label: counted(value, shards) for label, value in values.items()}
        for name, values in {"participate": trials, **goals}.items()
    }
    return {"experiment": "button", **experiment_report(counts)}


def shown(*items, width=300):
    console = Console(file=io.StringIO(), width=width)
    console.print(formats.as_text(list(items), width))
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def rows(*items):
    return list(csv.DictReader(io.StringIO(formats.as_csv(list(items)))))


def test_the_headline_is_first_and_the_table_has_its_interval():
    report = item(buy=BETTER)
    assert shown(report).startswith(f"button\n  {report['headline']}\n  participants:")
    assert "Red wins on buy: +0.5 to +1.4 points" in report["headline"]
    assert re.search(r"^  red .* 5\.92 % +\+0\.9 \(\+0\.5 to \+1\.4\) +\+18 %$", shown(report), re.MULTILINE)


def test_without_a_primary_goal_the_one_of_the_headline_is_first():
    report = item(a_look={"blue": 2500, "red": 2500}, buy=BETTER)
    assert re.findall(r"^  (a_look|buy)   ", shown(report), re.MULTILINE) == ["buy", "a_look"]


def test_a_report_of_an_older_server_is_shown():
    report = item(buy=BETTER)
    del report["headline"], report["goals"][0]["digits"]
    assert "+0.92 (+0.46 to +1.38)" in shown(report)


def test_a_table_names_the_state_once_before_the_text():
    assert "buy   Winner: red beats blue\n" in shown(item(buy=BETTER))
    assert "buy   Collecting: about" in shown(item(participants=3000, buy={"blue": 150, "red": 160}))


def test_a_variant_that_wins_one_goal_and_loses_another_is_mixed_in_every_format():
    mixed = item(buy=BETTER, view=WORSE)
    text = "red wins buy but loses view"
    assert f"\n  R{text[1:]}. Decide which" in shown(mixed)
    for row in rows(mixed):
        assert (row["experiment_verdict"], row["experiment_verdict_text"]) == ("mixed", text)
        assert row["experiment_verdict_goal"] == ""


def test_a_goal_that_is_compared_within_periods_says_so_beside_its_rates():
    one = item(buy=BETTER)
    assert formats.WITHIN not in shown(one)
    one["goals"][0]["by_day"] = {"red": {"difference": 0.0}}
    assert shown(one).count(formats.WITHIN) == 1


def test_a_wrong_split_is_explained_once_and_shown_at_every_goal():
    counts = {"participate": {"a": counted(5240, 0), "b": counted(4760, 0)}}
    counts |= {goal: {"a": counted(100, 0)} for goal in ("buy", "view")}
    report = {"experiment": "button", **experiment_report(counts)}
    output = shown(report)
    assert output.count(report["sample_ratio"]["text"]) == output.count(report["sample_ratio"]["reason"]) == 1
    assert output.count("Do not trust: the visitors are not split as expected") == 2


def test_when_and_how_fast_is_in_every_format():
    now = as_moment("2026-11-30T10:20:00Z")
    moments = (now - 4 * DAY, *range(now - 4 * DAY + HOUR, now, HOUR))
    series = {label: tuple(range(0, 20 * len(moments), 20)) for label in ("blue", "red")}
    history = History(moments, {"participate": series}, (Change(now - 3 * DAY, "buy", "leaning"),))
    counts = {
        "participate": {label: counted(values[-1], 0) for label, values in series.items()},
        "buy": {"blue": counted(90, 0), "red": counted(100, 0)},
    }
    report = {"experiment": "button", **experiment_report(counts, history=history, now=now)}
    output = shown(report)
    assert "since 26 November 2026, about 960 visitors a day, the last event on 30 November 2026, 10:00 UTC" in output
    assert "since 30 November 2026; before that: Leaning\n" in output
    assert "about 640 visitors a day" in shown({**report, "visitors_per_day": {"blue": 641.0}})
    assert "visitors a day" not in shown({**report, "visitors_per_day": {"blue": 0.0, "red": 0.0}})
    row = rows(report)[0]
    assert (row["first_seen"], row["last_seen"]) == ("2026-11-26T11:00:00Z", "2026-11-30T10:00:00Z")
    assert (float(row["days"]), float(row["visitors_per_day"])) == (report["days"], 480)
    assert (row["goal_verdict_since"], row["goal_verdict_before"]) == ("2026-11-30T10:00:00Z", "leaning")
    assert float(row["days_left"]) == report["goals"][0]["days_left"] > 10
    assert row["experiment_verdict_before"] == row["sample_ratio_since"] == ""


def test_what_a_higher_precision_would_change_is_in_every_format():
    hidden = item(shards=1, participants=10**6, buy={"blue": 200_000, "red": 200_100})
    assert hidden["counting_note"] in shown(hidden, width=500)
    assert rows(hidden)[0]["counting_note"] == hidden["counting_note"]


def test_the_csv_has_every_figure_of_a_row():
    columns = rows(item(buy=BETTER))[0].keys()
    renamed = {"label": "variant", "trials": "participants"}
    for field in ROW_FIELDS:
        expected = [f"{field}_low", f"{field}_high"] if field in INTERVALS else [renamed.get(field, field)]
        assert columns >= set(expected)


@pytest.mark.parametrize(
    ("name", "inert"),
    [
        *((sign + "1", f"'{sign}1") for sign in "=+-@＝＋－＠"),
        ("\t=1", "'\t'=1"),
        ("\r1", "'\n1"),
        ("\n1", "'\n1"),
        (" =1", "' =1"),
        ("\u3000＝1", "'\u3000＝1"),
        ("\0=1", "\ufffd=1"),
        ('"=1', "'\"=1"),
        ("a;=1", "a;'=1"),
        ("a,＠b", "a,'＠b"),
        ("a\t+1", "a\t'+1"),
        ("a\r\n-1", "a\n'-1"),
        ("a\r=1", "a\n'=1"),
        ('a;"=1', "a;'\"=1"),
        ("a; -b; @c", "a;' -b;' @c"),
        ("a-b+c=d@e", "a-b+c=d@e"),
        ("a, b; c", "a, b; c"),
        ("", ""),
    ],
)
def test_a_spreadsheet_finds_no_formula_wherever_it_begins_a_cell(name, inert):
    named = item(buy=BETTER) | {"experiment": name}
    assert {row["experiment"] for row in rows(named)} == {inert}


def test_the_sentences_of_a_report_are_written_as_they_are():
    wrong_split = {"participate": {"a": counted(5240, 0), "b": counted(4760, 0)}, "buy": {"a": counted(100, 0)}}
    for one in (item(buy=BETTER, view=WORSE), {"experiment": "split", **experiment_report(wrong_split)}):
        for row in rows(one):
            assert row["experiment_verdict_reason"] == one["verdict"]["reason"]


def test_unexpected_labels_stand_apart_below_the_variants():
    counts = {"participate": {"!evil": counted(1, 0), "blue": counted(5000, 0), "red": counted(5000, 0)}}
    counts["buy"] = {"!evil": counted(1, 0), "blue": counted(500, 0), "red": counted(700, 0)}
    stray = {"experiment": "button", **experiment_report(counts)}
    output = shown(stray)
    assert "  participants: 5,000 blue, 5,000 red\n  unexpected: 1 !evil\n" in output
    assert re.findall(r"^  (blue|red|!evil)(?: \(control\))? +[\d,]+ ", output, re.MULTILINE) == [
        "blue",
        "red",
        "!evil",
    ]
    assert [(row["variant"], row["unexpected"]) for row in rows(stray)] == [
        ("!evil", "true"),
        ("blue", "false"),
        ("red", "false"),
    ]


def test_what_was_ignored_is_told_by_its_reason():
    def lines(**counts):
        return [line.plain for line in formats.ignored_today(counts)]

    assert lines() == lines(bot=0, limit=0) == []
    assert lines(bot=1) == ["1 request from bots ignored today"]
    assert lines(origin=2, bot=1204, limit=0) == [
        "1,204 requests from bots, 2 requests from other origins ignored today"
    ]
    assert lines(**{"new\x1b": 5}) == ["5 requests (new\N{REPLACEMENT CHARACTER}) ignored today"]
    assert lines(limit=1) == [
        "1 request beyond a limit ignored today: delete experiments that are no longer needed, or raise limits in"
        " config.json"
    ]


def test_a_csv_without_rows_has_the_same_header():
    assert formats.as_csv([]).strip() == formats.as_csv([item(buy=BETTER)]).splitlines()[0]


def test_negative_figures_have_true_minus_signs():
    output = shown(item(buy=WORSE))
    assert "\N{MINUS SIGN}20 %" in output
    assert " -" not in output


def test_a_narrow_terminal_breaks_names_and_no_figures():
    narrow = item(buy=BETTER) | {"experiment": "a rather long name"}
    for result in narrow["goals"][0]["results"]:
        result["label"] = f"the {result['label']} button in the upper right corner"
    assert re.search(r"5\.92 % +\+0\.9 \(\+0\.5 to \+1\.4\) +\+18 %$", shown(narrow, width=80), re.MULTILINE)


def test_a_narrower_terminal_breaks_figures_and_cuts_none_off():
    output = shown(item(buy=BETTER), width=70)
    assert "\N{HORIZONTAL ELLIPSIS}" not in output
    assert re.search("^  red ", output, re.MULTILINE)
    assert "+18 %" in output


def test_the_page_tells_the_same_reasons_in_the_same_words():
    script = (FOLDER / "ignored.js").read_text()
    assert dict(re.findall(r'^  (\w+): "(.*)",$', script, re.MULTILINE)) == formats.IGNORED
    assert f'"{formats.RAISE_IT}"' in script


def test_the_page_reads_no_field_that_a_row_lacks():
    # Methods are those of the row of a form.
    read = {field for path in FOLDER.glob("*.js") for field in re.findall(r"\brow\.(\w+)\b(?!\()", path.read_text())}
    assert "uplift_interval" in read
    assert read <= set(ROW_FIELDS)


def test_the_page_has_the_states_of_the_report_in_their_order_and_the_same_labels():
    script = (FOLDER / "verdicts.js").read_text()
    page = dict(re.findall(r'^  (\w+): \{short: "(.*?)"', script, re.MULTILINE))
    assert tuple(page) == verdicts.STATES
    assert [*formats.STATES, "not_compared", "control"] == list(page)
    for state, (label, _) in formats.STATES.items():
        assert label in (page[state], "")


def planned(counts, ended=None, **settings):
    own = ExperimentSettings(planned_visitors=20_000, **settings)
    return {"experiment": "planned", **experiment_report(counts, own, ended=ended)}


def made(**goals):
    return {name: {label: counted(value, 0) for label, value in found.items()} for name, found in goals.items()}


def test_the_goal_that_decides_is_first_and_guardrails_follow():
    goals = made(participate={"a": 6200, "b": 6200}, **{goal: {"a": 310, "b": 312} for goal in ("add", "buy", "call")})
    output = shown(planned(goals, goal="buy", guardrails={"call": 0.02}))
    assert re.findall(r"^  (add|buy|call)( \(.*?\))?   ", output, re.MULTILINE) == [
        ("buy", " (primary goal)"),
        ("call", " (guardrail)"),
        ("add", ""),
    ]


def test_a_plan_says_how_far_it_is_and_how_it_ended():
    now = made(participate={"a": 6200, "b": 6200}, buy={"a": 310, "b": 372})
    assert "\n  12,400 of 40,000 planned visitors, 31 %; the verdict is final when they have come\n" in shown(
        planned(now)
    )
    (row, _) = rows(planned(now))
    assert (row["planned_participants"], row["plan_reached"], row["plan_ended"]) == ("40000", "0.31", "")
    ended = Ended(40_000, "2026-11-30T23:59:00Z", made(participate={"a": 20_000, "b": 20_010}, buy={"a": 900}))
    over = planned(made(participate={"a": 21_000, "b": 21_000}, buy={"a": 950, "b": 1}), ended)
    said = "the plan for 40,000 visitors ended on 30 November 2026 at 40,010: its verdict is final"
    assert f"\n  {said}\n" in shown(over)
    (row, _) = rows(over)
    assert (row["plan_ended"], row["plan_ended_participants"]) == ("2026-11-30T23:59:00Z", "40010")


def test_what_came_since_a_plan_ended_looks_like_no_formula():
    ended = Ended(40_000, "2026-11-30T23:59:00Z", made(participate={"a": 20_000, "b": 20_010}, buy={"a": 900, "b": 1}))
    over = planned(made(participate={"a": 21_000, "b": 21_000}, buy={"a": 1, "b": 950}), ended)
    (_, row) = rows(over)
    assert "from +" in row["verdict_reason"]
    assert "'" not in row["verdict_reason"]


def test_a_goal_that_decides_and_was_never_reached_is_missed():
    goals = made(participate={"a": 6200, "b": 6200}, buy={"a": 310, "b": 312})
    assert "\n  No one has reached the primary goal, order, yet.\n" in shown(planned(goals, goal="order"))
    assert "no one has reached" not in shown(planned(goals))


def test_a_goal_beside_the_primary_one_has_the_interval_of_its_level():
    goals = made(participate={"a": 6200, "b": 6200}, **{goal: {"a": 310, "b": 312} for goal in ("add", "buy", "call")})
    output = shown(planned(goals, goal="buy"))
    assert (output.count("(95 % interval)"), output.count("(97.5 % interval)")) == (1, 2)


def test_the_table_says_where_an_experiment_stands():
    dates = {"decided": "2026-11-29T10:00:00Z", "stopped": "2026-11-30T10:00:00Z"}
    told = {
        "a draft: it starts with its first visitor": {"status": "draft", "dates": {}},
        "decided on 29 November 2026; decision: red (cheap)": {"status": "decided", "decision": "red", "note": "cheap"},
        "stopped on 30 November 2026; decision: none": {"status": "stopped", "decision": "none", "note": ""},
        "archived": {"status": "archived", "decision": None},
        "": {"status": "running", "decision": None, "note": "no matter"},
    }
    for text, settings in told.items():
        report = {"experiment": "e", "headline": "It is so.", "goals": [], "settings": {"dates": dates, **settings}}
        is_draft = settings["status"] == "draft"
        expected = ["e", *([f"  {text}"] if text else []), *([] if is_draft else ["  It is so."])]
        assert shown(report).splitlines()[: len(expected)] == expected
        assert ("participants:" in shown(report)) != is_draft
