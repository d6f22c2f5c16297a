"""docs/evidence.md: the methods, then what the simulation measured, each table with the bar it must clear."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from .experiments import EXACT, Kind, reading
from .measure import INTERVALS, POWER, quantile_until, standard_error
from .plan import (
    FINEST,
    LOOK_LIFT,
    LOOK_RATES,
    LOOK_WEIGHTS,
    LOOKED_AT,
    LOOKS,
    NEEDED_WEIGHTS,
    ONE_UUID,
    POWER_CASES,
    POWER_PRECISIONS,
    PRECISIONS,
    RATES,
    SIZES,
    VARIANTS,
    WEIGHTS,
    Task,
)

Bar = Callable[[float], bool]

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

    def share(self, key: tuple[Any, ...], name: str, bar: Bar | None = None, allowance: float = 0.0) -> str:
        """A measured share in percent; bold, and noted, where it misses its bar, by more than so many standard errors
        if the table says so."""
        if key not in self.results:
            return "–"
        value = self.results[key][name]
        value = value[-1] if isinstance(value, list) else value
        text = percent(value)
        if bar is None or bar(value):
            return text
        slack = max(self.allowance, allowance) * self.error(key, value)
        if bar(value - slack) or bar(value + slack):
            return text
        self.failures.append(f"{key} {name}: {text} % ± {percent(self.error(key, value))}")
        return f"**{text}**"

    def figure(self, name: str, text: str, holds: bool) -> str:
        """A figure that is no share; bold, and noted, where it misses its bar."""
        if holds:
            return text
        self.failures.append(f"{name}: {text}")
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
    for section in (counting, false_positives, coverage, power, until, looking, splits, variants, goals):
        section(page)
    one_uuid(page)
    real_redis(page)
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

    def false_positive(visitors: int, precision: Kind, name: str = "p_value") -> str:
        return page.share(("false positives", visitors, 0.05, precision), name)

    looks, until = ("looks", 100_000, 0.05, 1), page.results["until", EXACT]
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
            f" of the experiments, a false winner by the always-valid verdict in"
            f" {page.share(looks, 'always_valid')} %, and"
            f" by the planned one in {page.share(looks, 'planned')} %.",
            "- **A plan decides sooner.** To tell 5.5 % from 5 %, an experiment of fixed size that is read once takes"
            f" {until['visitors']:,.0f} visitors per variant. A planned one may be read all the time and takes"
            f" {until['planned_mean']:.2f} times as many on average; without a plan it is"
            f" {until['always_valid_mean']:.2f} times as many.",
            "- **A higher precision makes small differences visible.** A million visitors per variant with 5 % against"
            f" 5.15 % get a winner in {_found(page, 1)} % of the experiments at precision 1, {_found(page, 16)} % at"
            f" precision 16, {_found(page, 64)} % at precision 64, {_found(page, 'bitmap')} % with bitmaps and"
            f" {_found(page, EXACT)} % with exact counts.",
        ]
    )


def _found(page: Page, precision: Kind) -> str:
    return page.share(("power", 1_000_000, 0.05, 0.03, precision), "always_valid")


def counting(page: Page) -> None:
    kinds: tuple[Kind, ...] = (1, 16, "bitmap", FINEST)
    page.say("## Counting error")
    page.say(
        f"The relative standard error of a count: measured ({page.times('counting')} counters each), and in brackets as"
        " the report states it. A standard error that is measured so often is itself off by about 0.5 % of its size."
        " Bar: bitmaps within 10 % of what is stated from 1,000 to 10,000,000."
    )
    sizes = sorted({key[1] for key in page.results if key[0] == "counting"})
    page.table(
        ["items", *map(_name, kinds)], [[f"{n:,}", *(_counting(page, n, kind) for kind in kinds)] for n in sizes]
    )
    page.say(
        "Around two items per register the true error of a HyperLogLog is up to a fifth smaller than stated; there the"
        " report is cautious. Beside each bitmap there is a HyperLogLog under Gimel 1.x's key, and the report reads the"
        " more exact of the two: at 30 million, a bitmap of 192 KB is full, and the HyperLogLog is read."
    )


def _counting(page: Page, items: int, kind: Kind) -> str:
    measured, stated = page.results["counting", items, kind]["error"], reading(items, kind).error
    within = 0.2 if page.allowance else 0.1  # a quick run has too few counters
    holds = isinstance(kind, int) or not 1000 <= items <= 10_000_000 or abs(measured / stated - 1) <= within
    text = page.figure(f"counting error, {_name(kind)}, {items:,}", f"{100 * measured:.3f}", holds)
    return f"{text} ({100 * stated:.3f})"


def false_positives(page: Page) -> None:
    kind = "false positives"
    shown = (*PRECISIONS[:-1], FINEST, EXACT)
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
            *map(_name, shown),
        ],
        [
            [f"{n:,}", f"{100 * rate:g} %", page.share((kind, n, rate, 1), "naive")]
            + [page.share((kind, n, rate, k), "p_value", _false_positive_bar(n, rate)) for k in shown]
            for n in SIZES
            for rate in RATES
        ],
    )
    page.say(
        f"The highest is {page.worst(kind, 'p_value', max)}. Far below 5 are only cells with a handful of conversions:"
        " with so few possible outcomes, no test can come closer to 5 without exceeding it elsewhere."
    )


def _false_positive_bar(visitors: int, rate: float) -> Bar:
    return between(0.015 if visitors * rate >= 30 else 0.0, 0.06)


def coverage(page: Page) -> None:
    page.say("## Coverage of the intervals")
    page.say(
        "How often a 95 % interval contains the true value, with the counters with which that is least often, of"
        f" {_list(PRECISIONS)}. The variant's conversion rate is 20 % higher than the control's; *planned* and"
        f" *always-valid* are the intervals of the difference ({page.times('coverage')} experiments per cell and kind"
        " of counter). Bar: at least 93.5 for every interval and kind of counter, where 5 or more conversions per"
        " variant are expected."
    )
    rows = []
    for visitors, rate in sorted({key[1:3] for key in page.results if key[0] == "coverage"}):
        cells = [f"{visitors:,}", f"{100 * rate:g} %"]
        for name in INTERVALS:
            bar = at_least(0.935) if visitors * rate >= 5 else None
            keys = [("coverage", visitors, rate, precision) for precision in PRECISIONS]
            shares = [(page.results[key][name], page.share(key, name, bar)) for key in keys if key in page.results]
            cells.append(min(shares)[1])
        rows.append(cells)
    header = ["rate", "difference", "uplift", "planned", "always-valid"]
    page.table(["visitors per variant", "control's conversion rate", *header], rows)
    keep = _expects(5)
    page.say(
        "In the A/A tests above, wherever 5 conversions are expected, the lowest coverage of a rate is"
        f" {page.worst('false positives', 'rate', min, keep)}, and of a difference"
        f" {page.worst('false positives', 'difference', min, keep)}. How often the planned and the always-valid"
        " intervals hold at all of 100 looks is [below](#looking-a-hundred-times)."
    )


def _expects(successes: int) -> Callable[[Any], bool]:
    return lambda key: key[1] * key[2] >= successes - 1e-9


def power(page: Page) -> None:
    page.say("## Power")
    page.say(
        "How often a true difference is found: by the p-value at one look; by the verdict of an experiment that was"
        " planned for this many visitors, and may be looked at before; and by the always-valid verdict at the same"
        f" moment ({page.times('power')} experiments, a standard error of at most 0.8). Bars: at one look, 1,000,000"
        " visitors, 5 % and an uplift of 3 %, precision 16 is within 3 points of exact counts; at any look, 1,000,000"
        f" visitors, 20 % and an uplift of 1.5 %, {FINEST} is."
    )
    page.say("![Power by visitors per variant](power.png)")
    barred: dict[tuple[Any, ...], str] = {
        (1_000_000, 0.05, 0.03, 16): "p_value",
        (1_000_000, 0.2, 0.015, FINEST): "always_valid",
    }
    rows = []
    for rule, title in (("p_value", "one look"), ("planned", "planned"), ("always_valid", "any look")):
        for case in POWER_CASES:
            visitors, rate, lift = case
            cells = [title, f"{visitors:,}", f"{100 * rate:g} %", f"{100 * lift:g} %"]
            exact = page.results[("power", *case, EXACT)][rule]
            for precision in POWER_PRECISIONS:
                bar = at_least(exact - 0.03) if barred.get((*case, precision)) == rule else None
                cells.append(page.share(("power", *case, precision), rule, bar))
            rows.append(cells)
    page.table(["", "visitors per variant", "conversion rate", "uplift", *map(_name, POWER_PRECISIONS)], rows)
    page.say(
        "Where conversion rates are high or experiments large, sampling noise is so small that even precision 16 limits"
        " what can be seen. Bitmaps move that limit with a quarter of the memory, up to some million visitors: bitmap"
        " takes as much as precision 16"
        f" (192 KB per counter), {FINEST} as much as precision 64. The always-valid verdict takes more visitors, as"
        " [the next section](#visitors-until-a-verdict) shows, and still more where the counting error is as large as"
        " the sampling error: both are then multiplied by 3 to 4 standard errors, because either may be far off at one"
        " of many looks."
    )


def until(page: Page) -> None:
    found = page.results["until", EXACT]
    page.say("## Visitors until a verdict")
    page.say(
        "How long an experiment takes, if it is looked at all the time and ends with its verdict: conversion rates of"
        f" 5 % and 5.5 % ({page.times('until')} experiments). Durations are multiples of the size of a test that is"
        f" read once, {found['visitors']:,.0f} visitors per variant for {100 * POWER:.0f} % power. The plan is for"
        f" {found['planned_end']:.2f} times as many, where the planned verdict has that power if its only look is the"
        " last, and ends then, with or without a winner. GrowthBook's sequential test (gbstats 0.8.0) is the asymptotic"
        " confidence sequence of the relative difference, tuned for 5,000 visitors. Bars: the planned verdict within"
        " 1.25 for 80 %, on average at most 1.0, and sooner than GrowthBook's."
    )
    page.say("![Share of experiments decided by visitors](until-a-verdict.png)")
    rules = {
        "planned": "planned verdict",
        "always_valid": "always-valid verdict",
        "growthbook": "GrowthBook's sequential test",
    }
    rows = []
    for precision in ("bitmap", EXACT):
        numbers = page.results["until", precision]
        rows.append(["one look at the fixed size", _name(precision), "1.00", "1.00", percent(numbers["single"])])
        durations = {
            rule: (numbers[f"{rule}_mean"], quantile_until(numbers["multiples"], numbers[rule])) for rule in rules
        }
        for rule, title in rules.items():
            mean, most = durations[rule]
            texts = [f"{mean:.2f}", f"{most:.2f}"]
            if rule == "planned":
                name = f"visitors until a planned verdict, {_name(precision)}"
                rival = durations["growthbook"]
                texts = [
                    page.figure(f"{name}, on average", texts[0], mean <= min(1.0, rival[0])),
                    page.figure(f"{name}, for 80 %", texts[1], most <= min(1.25, rival[1])),
                ]
            rows.append([title, _name(precision), *texts, percent(numbers[rule][-1])])
    page.table(["", "counters", "on average", "until 80 % have a winner", "have one at the end"], rows)
    page.say(
        "The averages count experiments without a winner at their end: that of the plan, or four times the fixed size"
        " for the two that have none."
    )
    kind = "needed"
    page.say("### What `visitors_needed` promises")
    page.say(
        "At 4,000 visitors in all and a conversion rate of 5 %, the report says how many more it takes to detect an"
        " uplift of 10 %. How often such an uplift has its always-valid verdict once they have come, by then at any of"
        f" 100 looks and at the last ({page.times(kind)} experiments). Bar: 78 to 84 by then, within two"
        " standard errors."
    )
    rows = []
    for weights in NEEDED_WEIGHTS:
        for precision in PRECISIONS:
            key = (kind, weights, precision)
            rows.append(
                [
                    _weights(weights),
                    _name(precision),
                    f"{page.results[key]['more']:,.0f}",
                    page.share(key, "by_then", between(0.78, 0.84), allowance=2),
                    percent(page.error(key, page.results[key]["by_then"])),
                    page.share(key, "then"),
                ]
            )
    page.table(["control : variant", "counters", "more visitors, in all", "by then", "±", "at the last look"], rows)


def looking(page: Page) -> None:
    page.say("## Looking a hundred times")
    page.say(
        f"A/A tests that grow to this size and are read 100 times on the way ({page.times('looks')} experiments, new"
        " visitors at every look, the same growing counters): the share in which at least one look announced a"
        " difference. *Planned* is the verdict of an experiment planned for just this size. Bar: at most 5.5 by either"
        " verdict; where less than 3,000 experiments could be simulated, within two standard errors."
    )
    page.say("![False winners by number of looks](looking.png)")
    bar = at_most(0.055)
    page.table(
        [
            "visitors per variant",
            "conversion rate",
            "counters",
            "Gimel 1.x: p < 0.05",
            "p-value < 0.05",
            "planned verdict",
            "always-valid verdict",
            "±",
        ],
        [
            [
                f"{n:,}",
                f"{100 * rate:g} %",
                _name(precision),
                page.share(key, "naive"),
                page.share(key, "p_value"),
                page.share(key, "planned", bar, 2 * (page.experiments[key] < 3000)),
                page.share(key, "always_valid", bar, 2 * (page.experiments[key] < 3000)),
                percent(page.error(key, page.results[key]["planned"][-1])),
            ]
            for n, rate, precision in LOOKS
            if (key := ("looks", n, rate, precision)) in page.results
        ],
    )
    page.say("### With weights")
    page.say(
        f"The same with {LOOKED_AT:,} visitors in all ({LOOKED_AT * 2 // 5:,} with precision 1 and 16), by the planned"
        f" verdict / by the always-valid one ({page.times('weights')} experiments, so the standard error of 5 % is"
        f" {percent(standard_error(0.05, 10_000))} to {percent(standard_error(0.05, 3000))}). Bar: at most 5.5."
    )
    page.table(["control : variant", "conversion rate", *map(_name, PRECISIONS)], _by_weights(page, "weights", bar))
    page.say(
        "The same where the last look comes late, after 1.25 times the planned visitors"
        f" ({page.times('late look')} experiments). Bar: at most 5.5."
    )
    page.table(["control : variant", "conversion rate", *map(_name, PRECISIONS)], _by_weights(page, "late look", bar))
    page.say(
        f"With a true uplift of {100 * LOOK_LIFT:.0f} %: the share of experiments in which the interval did not contain"
        f" the true difference at some look ({page.times('all looks')} experiments). Bar: at most 6.5, which is a"
        " coverage of 93.5 % over all looks together."
    )
    header = ["control : variant", "conversion rate", *map(_name, PRECISIONS)]
    page.table(header, _by_weights(page, "all looks", at_most(0.065)))


def _by_weights(page: Page, kind: str, bar: Bar) -> list[list[str]]:
    rows = []
    for weights in LOOK_WEIGHTS:
        for rate in LOOK_RATES:
            keys = [(kind, weights, rate, precision) for precision in PRECISIONS]
            if any(key in page.results for key in keys):
                cells = [
                    f"{page.share(key, 'planned', bar)} / {page.share(key, 'always_valid', bar)}"
                    if key in page.results
                    else "–"
                    for key in keys
                ]
                rows.append([_weights(weights), f"{100 * rate:g} %", *cells])
    return rows


def splits(page: Page) -> None:
    page.say("## Sample ratio mismatch")
    page.say(
        f"False alarms (p < 0.001) where visitors are split as the weights say ({page.times('split')} experiments per"
        " cell). Bar: at most 0.3. *Taken as exact* is the same test without the counting error, at precision 1."
    )
    page.table(
        ["weights", "visitors per variant", "taken as exact", *map(_name, PRECISIONS)],
        [
            [_weights(weights), f"{n:,}", page.share(("split", n, weights, 1), "naive")]
            + [page.share(("split", n, weights, k), "alarms", at_most(0.003)) for k in PRECISIONS]
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
                page.share(("wrong split", n, k), "alarms", at_least(0.99) if n == 100_000 else None)
                for k in PRECISIONS
            ]
            for n in sorted({key[1] for key in page.results if key[0] == "wrong split"})
        ],
    )
    page.say(
        "The alarm itself is raised by a test that may be read as often as one likes. False alarms at any of 100 looks,"
        f" with an equal split ({page.times('honest split')} experiments), and alarms by then where the split of"
        f" 100,000 is 52 : 48 ({page.times('wrong split, looks')} experiments). Bars: at most 0.1, at least 99."
    )
    honest, wrong = "honest split", "wrong split, looks"
    page.table(
        ["counters", "p < 0.001 at some look", "false alarm", "±", "52 : 48 caught"],
        [
            [
                _name(k),
                page.share((honest, k), "split"),
                page.share((honest, k), "always_valid_split", at_most(0.001)),
                percent(page.error((honest, k), page.results[honest, k]["always_valid_split"][-1])),
                page.share((wrong, k), "always_valid_split", at_least(0.99)),
            ]
            for k in PRECISIONS
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
                page.share((kind, number, k), "p_value", at_most(0.06)),
                page.share((kind, number, k), "always_valid_p_value"),
            ]
            for number in VARIANTS
            for k in (1, EXACT)
        ],
    )


def goals(page: Page) -> None:
    page.say("## Several goals and guardrails")
    page.say(
        f"A/A tests of 100,000 visitors in all with ten goals of 5 % each, read 100 times ({page.times('goals')}"
        " experiments): how often some goal has a false always-valid verdict at some look. Without a primary goal each"
        " goal is tested at 5 %; with one, the nine others share 5 %. Bar: at most 5.5 for the primary goal and for the"
        " others together."
    )
    bar = at_most(0.055)
    page.table(
        ["counters", "ten goals, none primary", "the primary goal", "the nine others"],
        [
            [
                _name(k),
                page.share(("goals", k), "uncorrected"),
                page.share(("goals", k), "primary", bar),
                page.share(("goals", k), "secondary", bar),
            ]
            for k in ("bitmap", EXACT)
        ],
    )
    page.say(
        "Experiments that grow to 200,000 visitors in all at 5 %, read 100 times: how often a report ever said *no"
        " difference* where the rate was higher by `smallest_change`, 10 %; and how often it ever called a guardrail"
        f" *not worse* that was worse by just its margin, 10 % ({page.times('guardrail')} experiments). Bar: at most 5."
    )
    page.table(
        ["counters", '"no difference"', '"not worse"', "±"],
        [
            [
                _name(k),
                page.share(("no difference", k), "said", at_most(0.05)),
                page.share(("guardrail", k), "said", at_most(0.05)),
                percent(page.error(("guardrail", k), page.results["guardrail", k]["said"])),
            ]
            for k in PRECISIONS
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
                page.share(key, "p_value", at_most(0.06)),
            ]
            + [page.share(key, name, at_least(0.935)) for name in ("rate", "difference")]
            for n, rate in ONE_UUID
            for k in (1, 16)
            if (key := ("one uuid", n, rate, k)) in page.results
        ],
    )


def real_redis(page: Page) -> None:
    page.say("## A real Redis")
    page.say(
        "A/A tests with 3,000 real uuids per variant went through `gimel.track` into a real Redis, came back through"
        " `gimel.all`, and were also counted by the simulation's own counters."
    )
    kinds: tuple[Kind, ...] = (1, 16, "bitmap")
    for precision in kinds:
        found = page.results["real redis", precision]
        page.say(
            f"{_name(precision).capitalize()}: in {found['equal']} of {found['experiments']} experiments all four"
            f" counts were identical; {found['false_positives']} experiments had p < 0.05."
        )
        if found["equal"] != found["experiments"]:
            page.failures.append(f"the simulation's counter differs from Redis': {_name(precision)}")


def percent(share: float) -> str:
    return f"{100 * share:.2f}" if share < 0.995 and share > 0.00005 else f"{100 * share:.1f}"


def at_most(most: float) -> Bar:
    return lambda share: share <= most


def at_least(least: float) -> Bar:
    return lambda share: share >= least


def between(least: float, most: float) -> Bar:
    return lambda share: least <= share <= most


def _list(kinds: Sequence[Kind]) -> str:
    names = [_name(kind) for kind in kinds]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _name(precision: Kind) -> str:
    if precision == EXACT:
        return "exact"
    return precision if isinstance(precision, str) else f"precision {precision}"


def _weights(weights: Sequence[float]) -> str:
    return " : ".join(f"{weight:g}" for weight in weights) if len(weights) < 5 else f"{len(weights)} equal"
