"""Rows of a plan on the page: as the plan has them, and over their settings."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from raymetrics import results
from raymetrics.errors import ResultsFileError
from raymetrics.reports import comparison_page as pages
from raymetrics.reports.sweep_charts import (
    MAX_LINES,
    charts_over_setting,
    group_by_other_settings,
    setting_chart_groups,
)
from raymetrics.reports.sweep_points import group_sweeps
from raymetrics.reports.sweep_section import tradeoff_sections, tradeoffs_table
from raymetrics.results import Failure, Result
from tests.reports.test_comparison_page import PHONE, seen
from tests.reports.test_sweep_section import found


def row(said: dict[str, str], *values: float, samples: str = "0-79") -> list[Result]:
    """Return the results of a row: precision, recall and a distance."""
    source = f"{said['source']}?{said}"
    return [
        dataclasses.replace(
            result, row=said, generated=dataclasses.replace(result.generated, samples=(samples,))
        )
        for result in found(source, *values)
    ]


PLAN = [
    *row({"name": "b", "source": "x.pkl", "psi": "1", "label": "cat"}, 0.5, 0.4, 9),
    *row({"name": "a", "source": "x.pkl", "psi": "0.5", "label": "cat"}, 0.6, 0.3, 8),
    *row({"name": "c", "source": "x.pkl", "psi": "", "label": "cat"}, 0.1, 0.1, 20),
    *row({"name": "e", "source": "y.pkl", "psi": "1", "label": "cat"}, 0.7, 0.2, 7),
    *row({"name": "d", "source": "y.pkl", "psi": "0.5", "label": "dog"}, 0.8, 0.1, 6),
]


def test_the_table_has_the_plans_order_and_settings() -> None:
    assert [line.rstrip() for line in str(tradeoffs_table(PLAN)).splitlines()] == [
        "   psi  label  precision digits  recall digits  FD digits",
        "b  1    cat    0.50000           0.40000*       9.0000",
        "a  0.5  cat    0.60000           0.30000        8.0000",
        "c       cat    0.10000           0.10000        20.000",
        "e  1    cat    0.70000           0.20000        7.0000",
        "d  0.5  dog    0.80000*          0.10000        6.0000*",
        "",
        "* the best of its column",
    ]


def test_of_other_counts_none_is_the_best() -> None:
    unlike = [
        *row({"source": "x", "samples": ""}, 0.5, 0.4, 9),
        *row({"source": "x", "samples": "0-9"}, 0.6, 0.3, 8, samples="0-9"),
    ]
    assert [line.rstrip() for line in str(tradeoffs_table(unlike)).splitlines()] == [
        "   samples  precision digits  recall digits  FD digits",
        "x  0-79     0.50000           0.40000        9.0000",
        "x  0-9      0.60000           0.30000        8.0000",
    ]
    (section,) = tradeoff_sections(unlike)
    assert section.title == "2 generated sets against mnist"
    assert not section.chart_groups


def test_a_line_is_of_rows_that_differ_in_one_setting() -> None:
    (swept,) = group_sweeps(PLAN)
    ((name, points),) = group_by_other_settings(swept.points, "psi")
    assert (name, [point.row["name"] for point in points]) == ("", ["a", "b"])
    assert group_by_other_settings(swept.points, "label") == []  # no numbers
    (part,) = setting_chart_groups(swept)
    assert part.title == "psi"
    assert [chart.title for chart in part.charts] == [
        "Precision against recall, digits", "precision digits", "recall digits", "FD digits",
    ]  # fmt: skip
    two = [*PLAN, *row({"name": "f", "source": "y.pkl", "psi": "2", "label": "cat"}, 0.6, 0.1, 9)]
    (swept,) = group_sweeps(two)
    assert [name for name, _ in group_by_other_settings(swept.points, "psi")] == ["x.pkl", "y.pkl"]


def test_rows_of_other_samples_are_on_no_line() -> None:
    of_two_counts = [
        *row({"source": "x", "psi": "1", "samples": ""}, 0.5, 0.4, 9),
        *row({"source": "x", "psi": "0.5", "samples": "0-9"}, 0.6, 0.3, 8, samples="0-9"),
    ]
    (swept,) = group_sweeps(of_two_counts)
    assert group_by_other_settings(swept.points, "psi") == []


def test_of_many_lines_some_are_drawn() -> None:
    many = [
        result
        for i in range(MAX_LINES + 2)
        for psi in ("0.5", "1")
        for result in row({"source": f"x{i}", "psi": psi}, 0.5, i / 20, i)
    ]
    (swept,) = group_sweeps(many)
    charts = list(charts_over_setting(swept, "psi"))
    assert {chart.note for chart in charts} == {"The first 10 of 12 lines."}
    assert "x9" in charts[0].figure
    assert "x10" not in charts[0].figure


def test_truncation_and_snapshots_of_a_plan_are_drawn_as_elsewhere() -> None:
    plan = [
        dataclasses.replace(result, row={"source": "digits", "truncate": amount})
        for amount in ("D:0.5", "D:1")
        for result in found(f"digits?truncate={amount}", 0.5, float(amount[2:]), 9)
    ]
    (section,) = tradeoff_sections(plan)
    assert section.chart_groups[0].title == "Truncation of digits"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the page of a table with a row that failed."""
    folder = tmp_path_factory.mktemp("plan")
    results.append_results(PLAN, folder / "results.jsonl")
    long = Failure("long" * 40, "x", {}, "SourceError", f"no source '{'folder/' * 40}'")
    (folder / results.FAILURES_FILE).write_text(long.to_json())
    return pages.report(folder / "results.jsonl", to=folder / "page")


def test_the_page_has_the_rows_before_the_charts(page: Path) -> None:
    text = page.read_text()
    order = ["<h2>Failed</h2>", "longlong", "5 generated sets of 80", "All numbers", "psi</b>"]
    places = [text.index(what) for what in order]
    assert places == sorted(places)
    assert re.search(r"<td>b</td>\s*<td>1</td>\s*<td>cat</td>", text)


def test_nothing_of_it_overflows(page: Path, tmp_path: Path) -> None:
    shown = seen(page.read_text().replace("<details>", "<details open>"), tmp_path, PHONE)
    assert (shown["width"], shown["wide"], shown["requests"]) == (PHONE, [], [])
    assert shown["content"] <= PHONE


def test_a_page_of_many_sets_has_pictures_of_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MAX_FOLDED_WITH_IMAGES", 2)
    results.append_results(PLAN, tmp_path / "results.jsonl")
    text = pages.report(tmp_path / "results.jsonl", to=tmp_path).read_text()
    assert text.count("only the first 2 sets have pictures here") == 2 * 3


def test_a_damaged_list_of_failures_is_named(tmp_path: Path) -> None:
    (tmp_path / results.FAILURES_FILE).write_text("{}\n")
    with pytest.raises(ResultsFileError, match="failed.jsonl does not say what failed"):
        results.read_failures(tmp_path / "results.jsonl")
    assert results.read_failures(tmp_path / "other" / "results.jsonl") == []
