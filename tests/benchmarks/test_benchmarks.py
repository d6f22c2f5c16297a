"""That everything is measured which the page shows, and that the page is what the present code makes of its figures."""

from __future__ import annotations

import json

import pytest

from tests.parts import ROOT

from . import __main__ as benchmarks
from . import page, plot, tracking


@pytest.mark.slow
def test_every_part_measures_every_subject(tmp_path):
    results = benchmarks.measure(list(benchmarks.SECTIONS), quick=True)
    assert tuple(results["a"]) == tracking.ALSO_QUICK
    for figures in results["a"].values():
        assert figures["seconds"].keys() == tracking.SUBJECTS.keys()
    assert results["b"]["cold start"]["seconds"].keys() == {"bare", "gimel", "gimel 1.5"}
    assert {"precision 1", "precision exact", "counts", "gimel 1.5"} < results["c"]["10 experiments, + 1 ms"][
        "seconds"
    ].keys()
    assert {"1 a list", "500 a list", "gimel 1.5"} < results["d"]["all"]["events a second"].keys()
    assert results["e"]["8"]["99 %, seconds"].keys() == {"gimel", "answer", "pfadd"}
    assert {"precision 1", "precision exact", "gimel 1.5"} < results["f"]["one by one"]["seconds of CPU"].keys()
    assert results["g"]["20 experiments"]["events a second"].keys() == {"one node", "three nodes"}
    text = page.write({"run": benchmarks.describe(), **results})
    assert "$" not in text
    for title, *_ in page.SECTIONS.values():
        assert f"## {title}" in text
    plot.draw(results["a"], tmp_path / "plot.png")


def test_the_page_names_the_bars_that_are_missed():
    ours = {"gimel rest": [1.5, 1.7], "gimel flat": [1.2, 1.2]}
    blocks = {"pfadd": [1.0, 1.0], **ours, "gimel 1.5": [3.0, 3.0], "lamed": [12.0, 12.0]}
    results = {"a": {"direct": {"seconds": blocks}}}
    assert [each.partition(":")[0] for each in page.missed(results)] == ["`track` warm, faster than Gimel 1.5"]
    assert "| `track` warm, faster than Gimel 1.5: at least 2 × | **1.88 (1.79–1.98)** | **missed** |" in page.write(
        results
    )


def test_the_page_was_made_from_its_figures_by_this_code():
    results = json.loads((ROOT / "docs" / "benchmark.json").read_text(encoding="utf-8"))
    assert page.write(results) == (ROOT / "docs" / "benchmark.md").read_text(encoding="utf-8")
