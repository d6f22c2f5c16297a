"""docs/statistics.md: the figures explained, then what the simulation measured, each table with its bar."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .experiments import EXACT
from .measure import standard_error
from .plan import LOOKS, ONE_UUID, POWER_CASES, POWER_PRECISIONS, PRECISIONS, RATES, SIZES, VARIANTS, WEIGHTS, Task

INTRODUCTION = Path(__file__).with_name("introduction.md")


class Page:
    """Collects the text, and the bars that were missed."""

    def __init__(self, results: Mapping[Any, Any], tasks: Iterable[Task], allowance: float) -> None:
        self.results = results
        self.allowance = allowance
        self.experiments = {task.key: task.arguments["experiments"] for task in tasks}
        self.parts: list[str] = [INTRODUCTION.read_text(encoding="utf-8")]
        self.failures: list[str] = []

    def say(self, text: str) -> None:
        self.parts.append(text)

    def table(self, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        lines = [header, ["---"] * len(header), *rows]
        self.parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines))

    def share(self, key: tuple[Any, ...], name: str, bar: Callable[[float], bool] | None = None) -> str:
        """A measured share in percent; bold, and noted, where it misses its bar."""
        if key not in self.results:
            return "-"
        value = self.results[key][name]
        value = value[-1] if isinstance(value, list) else value
        text = percent(value)
        if bar is None or bar(value):
            return text
        slack = self.allowance * self.error(key, value)
        if bar(value - slack) or bar(value + slack):
            return text
        self.failures.append(f"{key} {name}: {text} % +- {percent(self.error(key, value))}")
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
    page.say("# How well they keep their word")
    if allowance:
        page.say(
            "*A quick run with a twentieth of the experiments: the figures below are rough. A bar counts as"
            " missed"
            f" here only beyond {allowance:g} standard errors.*"
        )
    page.say(
        "All shares are in percent. The simulated visitors are hashed, counted and estimated exactly as"
        " Redis does it (`tests/test_hyperloglog.py` shows equal counts for real uuids), or, for many"
        " visitors, the registers of a HyperLogLog are drawn from their distribution. The counts then go"
        " through the project's own report. A figure in **bold** misses its bar."
    )
    for section in (
        counting,
        false_positives,
        coverage,
        power,
        looking,
        splits,
        variants,
        one_uuid,
        real_redis,
    ):
        section(page)
    return "\n\n".join(part.strip() for part in page.parts) + "\n", page.failures


def counting(page: Page) -> None:
    from gimel.hyperloglog import hyperloglog_error

    page.say("## The counters")
    page.say(
        f"Relative standard error of a count, measured and as the report states it ({page.times('counting')}"
        " counters each)."
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
        "Around two items per register the true error is up to a fifth smaller than stated: there the"
        " report is cautious."
    )


def false_positives(page: Page) -> None:
    kind = "false positives"
    page.say("## False positives")
    page.say(
        f"A/A experiments (no difference) with p < 0.05, {page.times(kind)} for each cell, so the standard"
        f" error of a cell is about {percent(standard_error(0.05, 10_000))}. Bar: at most 6 everywhere, at"
        " least 1.5 where 30 or more successes per variant are expected."
    )
    page.say("![False positives against visitors](false-positives.png)")
    page.table(
        [
            "visitors per variant",
            "rate",
            "Gimel 1.x (pooled z, HyperLogLogs taken for exact)",
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
        f"The highest: {page.worst(kind, 'p_value', max)}. Far below 5 stand only cells where a handful of"
        " successes is all there is: with so few outcomes no test can do better without breaking its"
        " promise elsewhere."
    )


def _false_positive_bar(visitors: int, rate: float) -> Callable[[float], bool]:
    lowest = 0.015 if visitors * rate >= 30 else 0.0
    return lambda share: lowest <= share <= 0.06


def coverage(page: Page) -> None:
    page.say("## Coverage of the intervals")
    page.say(
        "How often an interval of 95 % holds the truth. The variant's rate is 20 % higher than the"
        f" control's ({page.times('coverage')} experiments for each cell). Bar: at least 93.5 for rate and"
        " difference, where 5 or more successes per variant are expected."
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
    page.table(["visitors per variant", "control's rate", *header], rows)
    keep = _expects(5)
    page.say(
        "In the A/A experiments above, wherever 5 successes are expected, the lowest coverage of a rate is"
        f" {page.worst('false positives', 'rate', min, keep)}, of a difference"
        f" {page.worst('false positives', 'difference', min, keep)}."
    )


def _expects(successes: int) -> Callable[[Any], bool]:
    return lambda key: key[1] * key[2] >= successes - 1e-9


def power(page: Page) -> None:
    page.say("## Power")
    page.say(
        "How often a true difference is found: by the p-value at one look, and by the always-valid verdict"
        f" at the same moment ({page.times('power')} experiments). Bar: at 1,000,000 visitors, 5 % and a"
        " lift of 3 %, precision 16 within 3 points of exact counts at one look."
    )
    page.say("![Power against visitors](power.png)")
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
        ["", "visitors per variant", "rate", "lift", *(_name(precision) for precision in POWER_PRECISIONS)],
        rows,
    )
    page.say(
        "Where rates are high or experiments large, sampling noise is so small that even precision 16"
        " limits what can be seen; 64 and 256 (768 KB and 3 MB per counter) move that limit. The"
        " always-valid verdict pays for unlimited looks with about twice the visitors, and with more where"
        " the counters' error is as large as the sampling error: a multiple of 3 to 4 standard errors then"
        " applies to both, as at some of many looks either may be far out."
    )


def looking(page: Page) -> None:
    page.say("## Looking a hundred times")
    page.say(
        f"A/A experiments that grow to this size and are read at 100 moments ({page.times('looks')}"
        " experiments, new visitors at every look, the same growing counters). Share in which a difference,"
        " or a wrong split, was announced at some look. Bar: at most 5.5 by the always-valid verdict."
    )
    page.say("![False winners against looks](looking.png)")
    page.table(
        [
            "visitors per variant",
            "rate",
            "counters",
            "Gimel 1.x p < 0.05",
            "p-value < 0.05",
            "always-valid verdict",
            "+-",
            "sample-ratio alarm",
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
    page.say("## The sample-ratio check")
    page.say(
        f"Alarms (p < 0.001) where visitors are split as the weights say ({page.times('split')} experiments"
        " for each cell). Bar: at most 0.3. *Taken for exact* is the same test without the counters' error,"
        " at precision 1."
    )
    page.table(
        ["weights", "visitors per variant", "taken for exact", "precision 1", "precision 16", "exact"],
        [
            [_weights(weights), f"{n:,}", page.share(("split", n, weights, 1), "naive")]
            + [page.share(("split", n, weights, k), "alarms", lambda share: share <= 0.003) for k in PRECISIONS]
            for weights in WEIGHTS
            for n in sorted({key[1] for key in page.results if key[0] == "split"})
        ],
    )
    page.say(
        f"Alarms where 52 : 48 are sent and 50 : 50 expected ({page.times('wrong split')} experiments). Bar:"
        " at least 99 at 100,000 visitors."
    )
    page.table(
        ["visitors in all", *(_name(precision) for precision in PRECISIONS)],
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
        f"A/A/... experiments with 20,000 visitors per variant at 5 % ({page.times(kind)}): how often any"
        " variant at all seems to differ from the control."
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
        "Alephbet's GimelAdapter sends one uuid per visitor for every goal if it is given a `user_id`. The"
        " errors of participants and successes then go up and down together, which a rate partly cancels:"
        f" the report, which cannot know, is cautious ({page.times('one uuid')} A/A experiments). Bar: p <"
        " 0.05 in at most 6, coverage at least 93.5."
    )
    page.table(
        [
            "visitors per variant",
            "rate",
            "counters",
            "Gimel 1.x p < 0.05",
            "p-value < 0.05",
            "coverage of the rate",
            "of the difference",
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
        "A/A experiments with 3,000 real uuids per variant went through `gimel.track` into a real Redis, came back by"
        " `gimel.all`, and were counted by the simulation's HyperLogLog too."
    )
    for precision in (1, 16):
        found = page.results["real redis", precision]
        page.say(
            f"Precision {precision}: {found['equal']} of {found['experiments']} times all four counts were equal to the"
            f" last digit; {found['false_positives']} experiments had p < 0.05."
        )
        if found["equal"] != found["experiments"]:
            page.failures.append(f"the simulation's HyperLogLog differs from Redis' at precision {precision}")


def percent(share: float) -> str:
    return f"{100 * share:.2f}" if share < 0.995 and share > 0.00005 else f"{100 * share:.1f}"


def _name(precision: int) -> str:
    return "exact" if precision == EXACT else f"precision {precision}"


def _weights(weights: Sequence[float]) -> str:
    return " : ".join(f"{weight:g}" for weight in weights) if len(weights) < 5 else f"{len(weights)} equal"
