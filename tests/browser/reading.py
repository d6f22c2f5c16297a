"""What a person reads off the dashboard, as values that a test can compare with the report."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from playwright.sync_api import Locator, Page, expect

from tests.parts import wait_for


def visitors(server, experiment: str, arms: dict[str, tuple[int, dict[str, int]]], namespace: str = "alephbet") -> None:
    """Track visitors of each variant, so many of whom reach each goal, as a page would."""
    common = {"experiment": experiment, "namespace": namespace}
    events = [
        {**common, "variant": variant, "event": event, "uuid": f"{number}"}
        for variant, (everyone, goals) in arms.items()
        for event, count in {"participate": everyone, **goals}.items()
        for number in range(count)
    ]
    for start in range(0, len(events), 500):
        body = json.dumps(events[start : start + 500]).encode()
        with urlopen(Request(f"{server.url}/track", body, {"Content-Type": "application/json"})) as answer:
            assert json.load(answer) is None


def address(server, **view: str) -> str:
    """The dashboard's address of a view."""
    return f"{server.url}/#{urlencode(view)}"


def report(server, **params: str) -> dict[str, dict]:
    """The report's experiments by name."""
    with urlopen(f"{server.url}/experiments?{urlencode(params)}") as answer:
        items = json.load(answer)
    return {item["experiment"]: item for item in items if "experiment" in item}


@dataclass(frozen=True)
class Shown:
    """A number on the page, and the half of its last digit."""

    value: float
    slack: float

    def is_(self, true: float) -> bool:
        return abs(self.value - true) <= self.slack * 1.000001


def numbers(text: str) -> list[Shown]:
    """All numbers in a text; those in percent as percent."""
    found = []
    for sign, whole, fraction in re.findall(r"([\u2212+-]?)(\d[\d,]*)(?:\.(\d+))?", text):
        value = float(f"{whole.replace(',', '')}.{fraction or 0}")
        found.append(Shown(-value if sign in ("\u2212", "-") else value, 0.5 * 10 ** -len(fraction or "")))
    return found


def words(part: Locator) -> str:
    """What a part of the page says, in small letters and with usual spaces."""
    return part.inner_text().replace("\u202f", " ").lower()


def goal(page: Page, name: str) -> Locator:
    """The part of the page about one goal."""
    return page.locator("section.goal").filter(has=page.get_by_role("heading", name=name, exact=True))


def row(part: Locator, label: str) -> Locator:
    """The first row about a variant."""
    return (
        part.locator("tbody tr")
        .filter(has=part.page.locator("bdi", has_text=re.compile(f"^{re.escape(label)}$")))
        .first
    )


def cell(line: Locator, label: str) -> Locator:
    """A figure of a row, by its heading."""
    return line.locator(f'td[data-label="{label}"]')


def copied(button: Locator) -> str:
    """What a button puts on the clipboard, which takes it a moment."""
    page = button.page
    page.evaluate("navigator.clipboard.writeText('')")
    button.click()
    found = wait_for(lambda: page.evaluate("navigator.clipboard.readText()"), "the clipboard")
    expect(page.locator("#copied")).to_have_text("Copied")
    return str(found)


LIST = "#list tbody tr:not(.group)"
"""The rows of experiments on the list."""


def listed(page: Page) -> Locator:
    """The names of the experiments on the list, from above."""
    return page.locator("#list tbody th bdi")
