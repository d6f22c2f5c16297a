"""docs/evidence.md: the methods, then what the simulation measured, each table with the bar it must clear."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from .experiments import EXACT
from .measure import standard_error
from .plan import LOOKS, ONE_UUID, POWER_CASES, POWER_PRECISIONS, PRECISIONS, RATES, SIZES, VARIANTS, WEIGHTS, Task

INTRODUCTION = Path(__file__).with_name("introduction.md")


class Page:
    """Collects the sections, and the bars that were missed."""

    def __init__(self, results: Mapping[Any, Any], tasks: Iterable[Task], allowance: float) -> None:
        self.results = results
        self.allowance = allowance
        self.experiments = {task.key: task.arguments["experiments"] for task in tasks}
        self.parts: list[str] = []
        self.failures: list[str] = []

    def say(self, text: str) -> None:
        self.parts.append(text)

    def table(self, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        lines = [header, ["---"] * len(header), *rows]
        self.parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines))

    def share(self, key: tuple[Any, ...], name: str, bar: Callable[[float], bool] | None = None) -> str:
        """A measured share in percent; bold, and noted, where it misses its bar."""
        if key not in self.results:
            return "–"
        value = self.results[key][name]
        value = value[-1] if isinstance(value, list) else value
        text = percent(value)
        if bar is None or bar(value):
            return text
        slack = self.allowance * self.error(key, value)
        if bar(value - slack) or bar(value + slack):
            return text
        self.failures.append(f"{key} {name}: {text} % ± {percent(self.error(key, value))}")
        return f"**{text}**"

    def error(self, key: tuple[Any, ...], value: float) -> float:
        return standard_error(value, self.experiments[key])

    def times(self, kind: str) -> str:
        counts = sorted({count for key, count in self.experiments.items() if key[0] == kind and key in self.results})
        return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"

    def worst(
        self, kind: str, name: str, pick: Callable[..., float], keep: Callable[[Any], bool] = lambda key: True
    ) -> str:
        values = [numbers[name] for key, numbers in self.results.items() if key[0] == kind and keep(key)]
        return percent(pick(value[-1] if isinstance(value, list) else value for value in values))


def write(results: Mapping[Any, Any], tasks: Iterable[Task], allowance: float = 0.0) -> tuple[str, list[str]]:
    """The page's text, and the bars that were missed by more than so many Monte Carlo standard errors."""
    page = Page(results, tasks, allowance)
    if allowance:
        page.say(
            "*A quick run with a twentieth of the experiments: the figures below are rough. A bar counts as missed"
            f" only beyond {allowance:g} standard errors.*"
        )
    for section in (counting, false_positives, coverage, power, looking, splits, variants, one_uuid, real_redis):
        section(page)
    measured = "\n\n".join(part.strip() for part in page.parts)
    introduction = Template(INTRODUCTION.read_text(encoding="utf-8"))
    headings = re.findall("^## (.+)$", f"{introduction.template}\n{measured}", re.MULTILINE)
    text = introduction.substitute(contents=_contents(headings), summary=summary(page))
    return f"{text.strip()}\n\n{measured}\n", page.failures


def _contents(headings: Iterable[str]) -> str:
    """A list of links to these headings, with the anchors that GitHub gives them."""
    return "\n".join(f"- [{heading}](#{heading.lower().replace(' ', '-')})" for heading in headings)


def summary(page: Page) -> str:
    """The answers to the three questions that readers ask first."""

    def false_positive(visitors: int, precision: int, name: str = "p_value") -> str:
        return page.share(("false positives", visitors, 0.05, precision), name)

    looks = ("looks", 100_000, 0.05, 1)
    return "\n".join(
        [
            "- **Counts taken as exact mislead.** In A/A tests, with no true difference, at a conversion rate of 5 %,"
            f" the pooled z test on plain HyperLogLog counts calls {false_positive(100_000, 1, 'naive')} % of the"
            f" experiments significant at 100,000 visitors per variant and {false_positive(1_000_000, 1, 'naive')} %"
            f" at a million, where 5 % is promised. The report's p-value: {false_positive(100_000, 1)} % and"
            f" {false_positive(1_000_000, 1)} % at precision 1, {false_positive(100_000, 16)} % and"
            f" {false_positive(1_000_000, 16)} % at precision 16.",
            "- **The verdict holds no matter how often you check.** Over 100 looks at a growing A/A test of 100,000"
            f" visitors per variant at precision 1, p < 0.05 turns up at some look in {page.share(looks, 'p_value')} %"
            f" of the experiments, a false winner in {page.share(looks, 'always_valid')} %.",
            "- **A higher precision makes small differences visible.** A million visitors per variant with 5 % against"
            f" 5.15 % get a winner in {_found(page, 1)} % of the experiments at precision 1, {_found(page, 16)} % at"
            f" precision 16, {_found(page, 64)} % at precision 64 and {_found(page, EXACT)} % with exact counts.",
        ]
    )


def _found(page: Page, precision: int) -> str:
    return page.share(("power", 1_000_000, 0.05, 0.03, precision), "always_valid")


def counting(page: Page) -> None:
    from gimel.hyperloglog import hyperloglog_error

    page.say("## Counting error")
    page.say(
        "The relative standard error of a count: measured, and as the report states it"
        f" ({page.times('counting')} counters each)."
    )
    sizes = sorted({key[1] for key in page.results if key[0] == "counting"})
    page.table(
        ["items", "precision 1", "stated", "precision 16", "stated"],
        [
            [f"{n:,}"]
            + [
                text
                for k in (1, 16)
                for text in (
                    f"{100 * page.results['counting', n, k]['error']:.3f}",
                    f"{100 * hyperloglog_error(n, k):.3f}",
                )
            ]
            for n in sizes
        ],
    )
    page.say(
        "Around two items per register the true error is up to a fifth smaller than stated; there the report is"
        " cautious."
    )


def false_positives(page: Page) -> None:
    kind = "false positives"
    page.say("## False positives")
    page.say(
        f"The share of A/A tests (no true difference) with p < 0.05. {page.times(kind)} experiments per cell, so the"
        f" standard error of a cell is about {percent(standard_error(0.05, 10_000))}. Bar: at most 6 everywhere, and at"
        " least 1.5 where 30 or more conversions per variant are expected."
    )
    page.say("![False positives by visitors per variant](false-positives.png)")
    page.table(
        [
            "visitors per variant",
            "conversion rate",
            "Gimel 1.x",
            "precision 1",
            "precision 16",
            "exact",
        ],
        [
            [f"{n:,}", f"{100 * rate:g} %", page.share((kind, n, rate, 1), "naive")]
            + [page.share((kind, n, rate, k), "p_value", _false_positive_bar(n, rate)) for k in PRECISIONS]
            for n in SIZES
            for rate in RATES
        ],
    )
    page.say(
        f"The highest is {page.worst(kind, 'p_value', max)}. Far below 5 are only cells with a handful of conversions:"
        " with so few possible outcomes, no test can come closer to 5 without exceeding it elsewhere."
    )


def _false_positive_bar(visitors: int, rate: float) -> Callable[[float], bool]:
    lowest = 0.015 if visitors * rate >= 30 else 0.0
    return lambda share: lowest <= share <= 0.06


def coverage(page: Page) -> None:
    page.say("## Coverage of the intervals")
    page.say(
        "How often a 95 % interval contains the true value. The variant's conversion rate is 20 % higher than the"
        f" control's ({page.times('coverage')} experiments per cell). Bar: at least 93.5 for rate and difference,"
        " where 5 or more conversions per variant are expected."
    )
    rows = []
    for visitors, rate in sorted({key[1:3] for key in page.results if key[0] == "coverage"}):
        bar = (lambda share: share >= 0.935) if visitors * rate >= 5 else None
        cells = [f"{visitors:,}", f"{100 * rate:g} %"]
        for precision in PRECISIONS:
            key = ("coverage", visitors, rate, precision)
            cells += [
                page.share(key, "rate", bar),
                page.share(key, "difference", bar),
                page.share(key, "uplift"),
            ]
        rows.append(cells)
    header = [f"{name}, {_name(precision)}" for precision in PRECISIONS for name in ("rate", "difference", "uplift")]
    page.table(["visitors per variant", "control's conversion rate", *header], rows)
    keep = _expects(5)
    page.say(
        "In the A/A tests above, wherever 5 conversions are expected, the lowest coverage of a rate is"
        f" {page.worst('false positives', 'rate', min, keep)}, and of a difference"
        f" {page.worst('false positives', 'difference', min, keep)}."
    )


def _expects(successes: int) -> Callable[[Any], bool]:
    return lambda key: key[1] * key[2] >= successes - 1e-9


def power(page: Page) -> None:
    page.say("## Power")
    page.say(
        "How often a true difference is found: by the p-value at one look, and by the always-valid verdict at the same"
        f" moment ({page.times('power')} experiments). Bar: at 1,000,000 visitors, 5 % and an uplift of 3 %, precision"
        " 16 is within 3 points of exact counts at one look."
    )
    page.say("![Power by visitors per variant](power.png)")
    exact = page.results["power", 1_000_000, 0.05, 0.03, EXACT]["p_value"]
    rows = []
    for rule, title in (("p_value", "one look"), ("always_valid", "any look")):
        for visitors, rate, lift in POWER_CASES:
            cells = [title, f"{visitors:,}", f"{100 * rate:g} %", f"{100 * lift:g} %"]
            for precision in POWER_PRECISIONS:
                barred = (rule, visitors, rate, precision) == ("p_value", 1_000_000, 0.05, 16)
                bar = (lambda share: share >= exact - 0.03) if barred else None
                cells.append(page.share(("power", visitors, rate, lift, precision), rule, bar))
            rows.append(cells)
    page.table(
        [
            "",
            "visitors per variant",
            "conversion rate",
            "uplift",
            *(_name(precision) for precision in POWER_PRECISIONS),
        ],
        rows,
    )
    page.say(
        "Where conversion rates are high or experiments large, sampling noise is so small that even precision 16 limits"
        " what can be seen; 64 and 256 (768 KB and 3 MB per counter) move that limit. Unlimited looks cost the"
        " always-valid verdict about twice the visitors, and more where the counting error is as large as the sampling"
        " error: both are then multiplied by 3 to 4 standard errors, because either may be far off at one of many"
        " looks."
    )


def looking(page: Page) -> None:
    page.say("## Looking a hundred times")
    page.say(
        f"A/A tests that grow to this size and are read 100 times on the way ({page.times('looks')} experiments, new"
        " visitors at every look, the same growing counters): the share in which at least one look announced a"
        " difference, or a sample ratio mismatch. Bar: at most 5.5 by the always-valid verdict."
    )
    page.say("![False winners by number of looks](looking.png)")
    page.table(
        [
            "visitors per variant",
            "conversion rate",
            "counters",
            "Gimel 1.x: p < 0.05",
            "p-value < 0.05",
            "always-valid verdict",
            "±",
            "sample ratio mismatch",
        ],
        [
            [
                f"{n:,}",
                f"{100 * rate:g} %",
                _name(precision),
                page.share(key, "naive"),
                page.share(key, "p_value"),
                page.share(key, "always_valid", lambda share: share <= 0.055),
                percent(page.error(key, page.results[key]["always_valid"][-1])),
                page.share(key, "split"),
            ]
            for n, rate, precision in LOOKS
            if (key := ("looks", n, rate, precision)) in page.results
        ],
    )


def splits(page: Page) -> None:
    page.say("## Sample ratio mismatch")
    page.say(
        f"False alarms (p < 0.001) where visitors are split as the weights say ({page.times('split')} experiments per"
        " cell). Bar: at most 0.3. *Taken as exact* is the same test without the counting error, at precision 1."
    )
    page.table(
        ["weights", "visitors per variant", "taken as exact", "precision 1", "precision 16", "exact"],
        [
            [_weights(weights), f"{n:,}", page.share(("split", n, weights, 1), "naive")]
            + [page.share(("split", n, weights, k), "alarms", lambda share: share <= 0.003) for k in PRECISIONS]
            for weights in WEIGHTS
            for n in sorted({key[1] for key in page.results if key[0] == "split"})
        ],
    )
    page.say(
        f"Alarms where the split is 52 : 48 and should be 50 : 50 ({page.times('wrong split')} experiments). Bar: at"
        " least 99 at 100,000 visitors."
    )
    page.table(
        ["visitors in total", *(_name(precision) for precision in PRECISIONS)],
        [
            [f"{n:,}"]
            + [
                page.share(("wrong split", n, k), "alarms", (lambda share: share >= 0.99) if n == 100_000 else None)
                for k in PRECISIONS
            ]
            for n in sorted({key[1] for key in page.results if key[0] == "wrong split"})
        ],
    )


def variants(page: Page) -> None:
    kind = "several variants"
    page.say("## Several variants")
    page.say(
        f"A/A tests with several variants, 20,000 visitors per variant and a conversion rate of 5 % ({page.times(kind)}"
        " experiments): how often at least one variant seems to differ from the control."
    )
    page.table(
        [
            "variants",
            "counters",
            "`unadjusted_p_value` < 0.05",
            "`p_value` < 0.05",
            "`always_valid_p_value` < 0.05",
        ],
        [
            [
                str(number),
                _name(k),
                page.share((kind, number, k), "unadjusted_p_value"),
                page.share((kind, number, k), "p_value", lambda share: share <= 0.06),
                page.share((kind, number, k), "always_valid_p_value"),
            ]
            for number in VARIANTS
            for k in (1, EXACT)
        ],
    )


def one_uuid(page: Page) -> None:
    page.say("## One uuid for every goal")
    page.say(
        "Given a `user_id`, Alephbet's GimelAdapter sends the same uuid for every goal of a visitor. The errors of"
        " participants and conversions then rise and fall together and partly cancel out in a rate. The report cannot"
        f" know this, and is cautious ({page.times('one uuid')} A/A tests). Bar: p < 0.05 in at most 6, coverage at"
        " least 93.5."
    )
    page.table(
        [
            "visitors per variant",
            "conversion rate",
            "counters",
            "Gimel 1.x: p < 0.05",
            "p-value < 0.05",
            "coverage of the rate",
            "coverage of the difference",
        ],
        [
            [
                f"{n:,}",
                f"{100 * rate:g} %",
                _name(k),
                page.share(key, "naive"),
                page.share(key, "p_value", lambda share: share <= 0.06),
            ]
            + [page.share(key, name, lambda share: share >= 0.935) for name in ("rate", "difference")]
            for n, rate in ONE_UUID
            for k in (1, 16)
            if (key := ("one uuid", n, rate, k)) in page.results
        ],
    )


def real_redis(page: Page) -> None:
    page.say("## A real Redis")
    page.say(
        "A/A tests with 3,000 real uuids per variant went through `gimel.track` into a real Redis, came back through"
        " `gimel.all`, and were also counted by the simulation's own HyperLogLog."
    )
    for precision in (1, 16):
        found = page.results["real redis", precision]
        page.say(
            f"Precision {precision}: in {found['equal']} of {found['experiments']} experiments all four counts were"
            f" identical; {found['false_positives']} experiments had p < 0.05."
        )
        if found["equal"] != found["experiments"]:
            page.failures.append(f"the simulation's HyperLogLog differs from Redis' at precision {precision}")


def percent(share: float) -> str:
    return f"{100 * share:.2f}" if share < 0.995 and share > 0.00005 else f"{100 * share:.1f}"


def _name(precision: int) -> str:
    return "exact" if precision == EXACT else f"precision {precision}"


def _weights(weights: Sequence[float]) -> str:
    return " : ".join(f"{weight:g}" for weight in weights) if len(weights) < 5 else f"{len(weights)} equal"
