"""What to repeat to whoever asks how an experiment is doing: a sentence or two, from the figures of its report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from gimel.histories import DAY, as_moment, as_text
from gimel.plans import TIME

from .novelty import has_worn_off
from .wording import in_days, listed, named, points

WEEK = 7
"""Days. A verdict may come sooner, but visitors on Sundays are not those of Mondays."""

Item = Mapping[str, Any]


def headline(report: Item, now: int | None = None) -> str:
    """What the report of an experiment says, for people. Its intervals are those that decide, its days those of UTC.

    `now` is the moment of the report: days of another year are named with it, or all if it is None.
    """
    labels = {one["label"] for one in report["participants"]}
    return " ".join(f"{_capitalized(part, labels)}." for part in _parts(report, now))


def _parts(report: Item, now: int | None) -> Iterator[str]:
    verdict, control = report["verdict"], named(report["control"] or "")
    state, text = verdict["state"], verdict["text"]
    ended = (report["plan"] or {}).get("ended")
    goal = next((one for one in report["goals"] if one["goal"] == verdict["goal"]), None)
    if state == "do_not_trust":
        yield f"do not trust these figures: {text}{_since(report['sample_ratio'].get('since'), now)}"
        yield "find the cause first"
        return
    if state == "mixed":
        yield text
        yield f"{verdict['reason']} before you ship anything"
        return
    if goal is None or state == "no_data":
        yield text
        return
    on, rows = named(goal["goal"]), _rows(goal, state)
    who, one = listed([row["label"] for row in rows]), len(rows) == 1
    interval = _interval(rows[0], goal, report) if one else ""
    since = (goal.get("verdict_since") or {}).get("at") if one else None
    when = f", when its plan ended on {_day(ended['at'], now)}" if ended else _since(since, now)
    is_young, is_old = _age(report)
    is_short, is_young = is_young and bool(ended), is_young and not ended
    if state == "winner":
        best = max(rows, key=lambda row: row["difference"])  # rates may be of other days than those compared
        it = "it" if one else named(best["label"])
        yield f"{who} {'wins' if one else 'win'} on {on}{interval}{when}"
        if not one:
            yield f"{it} has the highest rate, but is not tested against the other winners"
        if unknown := _not_known(report, best["label"]):
            can_wait = not _is_over(report) and set(unknown.values()) == {"not_yet_known"}
            advice = " yet: wait, or take the risk" if can_wait else f": ship {it} only if you take that risk"
            yield f"whether {listed([*unknown])} got worse is not known{advice}"
        elif has_worn_off(report["notes"], goal["goal"], best["label"]):
            yield f"its effect became smaller with time: read the note before you ship {it}"
        elif is_young:
            yield f"let it run for whole weeks before you ship {it}"
        else:
            yield f"you can ship {it}{'' if is_old or is_short else ' if it has run for whole weeks'}"
    elif state == "loser":
        still_open = [row["label"] for each in ("leaning", "collecting") for row in _rows(goal, each)]
        yield f"{who} {'loses' if one else 'lose'} on {on}{interval}{when}"
        if is_young:
            yield "let it run for whole weeks before you decide"
        elif still_open:
            yield f"keep {control}, unless {listed(still_open)} should win: that is still open"
        else:
            yield f"keep {control}"
    elif state == "worse":
        yield f"{who} {'is' if one else 'are'} worse on {on}{interval}{when}"
        yield f"do not ship {'it' if one else 'them'} without a reason"
    elif state == "no_difference":
        yield f"no difference that matters on {on}{interval}{when}"
        yield "let it run for whole weeks before you decide" if is_young else "choose by other reasons, such as cost"
    elif state == "leaning":
        yield f"not decided on {on}, but {text}{interval}"
        days = goal.get("days_left")
        if _is_over(report):
            yield "it takes a new experiment to decide"
        elif days:
            yield f"if that is the true difference, it takes {in_days(days)} at the present rate"
        else:
            yield "wait, or take the risk"
    elif state == "collecting":
        yield f"too early to tell on {on}: {text}"
    elif state == "inconclusive" and _is_over(report):
        day = f" on {_day(ended['at'], now)}" if ended else ""
        yield f"the plan ended{day} without a verdict on {on}{interval}"
        yield "choose by other reasons, or plan a larger experiment"
    else:  # inconclusive, because of the counters, or per_visitor
        yield f"no verdict on {on}: {text}"
    if is_short and state in ("winner", "loser", "no_difference"):
        yield "the plan took less than a week: other weekdays may differ"


def _rows(goal: Item, state: str) -> list[Item]:
    return [row for row in goal["results"] if row["verdict"]["state"] == state]


def _interval(row: Item, goal: Item, report: Item) -> str:
    found = row["planned_interval" if report["plan"] else "always_valid_interval"] or {"low": None, "high": None}
    if found["low"] is None or found["high"] is None:
        return ""
    low, high = (points(found[end], goal["digits"]["points"], signed=True) for end in ("low", "high"))
    return f": {low} to {high} points"


def _not_known(report: Item, label: str) -> dict[str, str]:
    """The guardrails of which nobody knows whether this variant keeps them, as those that are not tested; its state."""
    guardrails = [goal for goal in report["goals"] if goal["role"] == "guardrail"]
    rows = [(goal["goal"], row) for goal in guardrails for row in goal["results"] if row["label"] == label]
    return {goal: row["verdict"]["state"] for goal, row in rows if row["verdict"]["state"] != "not_worse"}


def _age(report: Item) -> tuple[bool, bool]:
    """Whether it is younger than a week for certain, or was when its plan ended, and whether it is not."""
    days, known = report["days"], len(report["visitors_by_day"]) - 1  # today is not over
    if report["first_seen"] and (ended := (report["plan"] or {}).get("ended")):
        days = (as_moment(ended["at"]) - as_moment(report["first_seen"])) / DAY
    return days is not None and days < WEEK, (days or 0) >= WEEK or known >= WEEK


def _is_over(report: Item) -> bool:
    plan = report["plan"]
    return bool(plan) and not plan["missing"]


def _since(moment: str | None, now: int | None) -> str:
    return f", since {_day(moment, now)}" if moment else ""


def _day(moment: str, now: int | None) -> str:
    day = datetime.strptime(moment, TIME)
    is_of_this_year = now is not None and as_text(now).startswith(f"{day.year}-")
    return f"{day.day} {day:%B}" + ("" if is_of_this_year else f" {day.year}")


def _capitalized(text: str, labels: set[str]) -> str:
    """As a sentence begins. A name that has capitals of its own, or would become another one, stays as it is."""
    capital = text[:1].upper() + text[1:]
    own = next((label for label in sorted(labels, key=len, reverse=True) if label and text.startswith(label)), "")
    return text if own != own.lower() or capital[: len(own)] in labels - {own} else capital
