"""The table of all numbers, in every format; ties are ties."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from raymetrics.cli import main
from raymetrics.errors import RaymetricsError
from raymetrics.metrics import registry
from raymetrics.reports.comparison_page import report
from raymetrics.reports.evaluate_command import METRIC_NAMES, evaluate_command
from raymetrics.reports.number_cards import make_cards
from raymetrics.reports.number_table import FORMATS, format_table, number_table
from raymetrics.results import Result, Side, append_results
from tests.reports.test_comparison_page import a_result


def result(generated: str, metric: str, value: float, **changes: object) -> Result:
    """A number of a set; the digest of a set is its name."""
    real = Side("real", "mnist", ("0-99",), 100, "f", "real", {})
    side = replace(real, uri="generated", source=generated, digest=generated)
    plain = a_result(real, side)
    name = {"frechet_distance": "FD", "precision": "precision"}[metric]
    better = {"frechet_distance": "lower", "precision": "higher"}[metric]
    return replace(plain, metric=metric, value=value, short_name=name,
                   label=f"{name} made-up", better=better, **changes)  # type: ignore[arg-type]  # fmt: skip


RESULTS = [
    result("my_model:a", "frechet_distance", 12.5, spread=0.25),
    result("my_model:a", "precision", 0.0),
    result("my_model:b_1", "frechet_distance", 11.25),
    result("my_model:b_1", "precision", 0.0),
]


def test_the_best_is_marked_and_ties_are_not() -> None:
    table = number_table(RESULTS)
    best = [[bool(cell and cell.best) for cell in row.cells] for row in table.rows]
    assert best == [[False, False], [True, False]]
    alone = number_table(RESULTS[:2])
    assert not any(cell and cell.best for row in alone.rows for cell in row.cells)
    assert str(table).splitlines()[-1] == "* the best of its column"
    assert "*" not in str(alone)


def test_sets_against_other_real_samples_are_no_rivals() -> None:
    elsewhere = replace(RESULTS[2].real, digest="another")
    table = number_table([RESULTS[0], replace(RESULTS[2], real=elsewhere)])
    assert not any(cell and cell.best for row in table.rows for cell in row.cells)


def test_the_newest_of_repeated_numbers_counts() -> None:
    newer = replace(RESULTS[0], value=3.0)
    (row, _) = number_table([*RESULTS, newer]).rows
    assert row.cells[0] is not None
    assert row.cells[0].value == 3.0


def test_numbers_of_labels_are_left_out() -> None:
    by_label = replace(RESULTS[0], subset={"label": 3, "name": "cat"})
    assert number_table([by_label]).rows == ()


def test_csv_has_every_digit() -> None:
    rows = list(csv.reader(io.StringIO(format_table(number_table(RESULTS), "csv"))))
    measure = RESULTS[0].measure_name
    assert rows[0] == ["generated", "real", measure, f"{measure} (deviation)",
                       RESULTS[1].measure_name]  # fmt: skip
    assert [row[2:] for row in rows[1:]] == [["12.5", "0.25", "0.0"], ["11.25", "", "0.0"]]


def test_latex_markdown_and_json() -> None:
    table = number_table(RESULTS)
    latex = format_table(table, "latex")
    assert r"b\_1" in latex
    assert r"\textbf{11.250}" in latex
    assert r"12.500 $\pm$ 0.250" in latex
    assert latex.count(r"\\") == 3
    markdown = format_table(table, "markdown").splitlines()
    assert markdown[1] == "| --- | --- | --- |"
    assert "**11.250**" in markdown[3]
    rows = json.loads(format_table(table, "json"))
    assert rows[1][RESULTS[0].measure_name] == {"value": 11.25, "deviation": None, "best": True}
    with pytest.raises(RaymetricsError, match="no format 'excel'; there are text, csv"):
        format_table(table, "excel")


@pytest.mark.parametrize("name", FORMATS)
def test_the_command_reads_several_files(name: str, tmp_path: Path) -> None:
    for i in range(2):
        append_results(RESULTS[2 * i : 2 * i + 2], tmp_path / f"{i}.jsonl")
    files = [str(tmp_path / f"{i}.jsonl") for i in range(2)]
    done = CliRunner().invoke(main, ["table", *files, "--as", name])
    assert done.exit_code == 0, done.output
    assert "11.25" in done.output
    done = CliRunner().invoke(main, ["report", *files, "--to", str(tmp_path / "page")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "page" / "index.html").read_text().count("<tr>") >= 3


def test_the_page_has_table_warnings_and_meanings(tmp_path: Path) -> None:
    warned = [replace(r, warnings=("look out for <this>",)) for r in RESULTS]
    append_results(warned, tmp_path / "results.jsonl")
    page = report(tmp_path / "results.jsonl", to=tmp_path).read_text()
    assert "look out for &lt;this&gt;" in page
    assert page.index("Before you trust these numbers") < page.index("how far means and cov")
    assert 'href="data:text/csv;charset=utf-8,generated%2Creal%2C' in page
    assert "<title>2 sets against" in page


def test_cards_say_what_stands_beside_a_number() -> None:
    score = replace(RESULTS[0], metric="inception_score",
                    details={"real": {"mean": 7.0, "std": 0.5}})  # fmt: skip
    (card,) = make_cards([score])
    assert card.notes[0] == "the real side's own: 7.0000 ± 0.5000"
    halves = replace(RESULTS[1], metric="frechet_distance", details={"real_halves": 4.25})
    (card,) = make_cards([halves])
    assert card.notes == [
        "two halves of the real samples: 4.2500, all of it bias of half the count"
    ]
    curve = replace(RESULTS[1], metric="prd_f_8",
                    details={"precision": [1.0, 0.5], "recall": [0.0, 1.0]})  # fmt: skip
    fit = replace(RESULTS[1], metric="frechet_infinity", value=2.0,
                  details={"counts": [100, 200], "distances": [4.0, 3.0]})  # fmt: skip
    for card in make_cards([curve, fit]):
        assert card.figure.startswith("<svg")
    pair = [replace(RESULTS[1], convention={"k": k}) for k in (3, 5)]
    assert [card.title for card in make_cards(pair)] == [
        "precision made-up, k = 3", "precision made-up, k = 5",
    ]  # fmt: skip


def test_the_command_that_computes_the_numbers_again(tmp_path: Path) -> None:
    of_k = replace(RESULTS[1], convention={"k": 5, "program": "prdc"})
    pair = [replace(RESULTS[0], convention={"program": "prdc", "changed": "k=5"}), of_k]
    assert evaluate_command(pair) == (
        "raymetrics evaluate --real real --generated generated --metrics fid,pr "
        "--convention prdc --k 5 --real-samples 0-99 --samples 0-99 --set k=5"
    )
    protocol = replace(RESULTS[0], convention={"protocol": "fid50k_full"})
    assert evaluate_command([protocol]).endswith("--protocol fid50k_full")
    own = replace(RESULTS[0], metric="rank_distance")
    assert evaluate_command([own]) == ""
    append_results(pair, tmp_path / "results.jsonl")
    assert evaluate_command(pair) in report(tmp_path / "results.jsonl", to=tmp_path).read_text()


def test_every_number_of_the_package_has_a_command() -> None:
    """Its name in results is one that the command knows."""
    files = Path(registry.__file__).parent.glob("*.py")
    code = "".join(file.read_text() for file in files)
    named = set(re.findall(r'MetricValue\(\s*"(\w+)"', code))
    assert named <= METRIC_NAMES.keys() | {"inception_score"}
    assert len(named) > 10


INTERVAL = {
    "low": 12.25, "high": 12.75, "level": 0.95, "standard_error": 0.1, "method": "influences",
    "groups": None, "varies": ["real", "generated"],
}  # fmt: skip


def test_intervals_stand_beside_numbers() -> None:
    with_interval = replace(RESULTS[0], interval=INTERVAL)
    table = number_table([with_interval, RESULTS[2]])
    assert "12.500 ± 0.250 [12.250, 12.750]" in str(table)
    name = table.measures[0].name
    rows = list(csv.DictReader(io.StringIO(format_table(table, "csv"))))
    assert [row[f"{name} (low)"] for row in rows] == ["12.25", ""]
    cells = [row[name] for row in json.loads(format_table(table, "json"))]
    assert [cell.get("interval") for cell in cells] == [[12.25, 12.75], None]
    (card,) = make_cards([with_interval])
    assert card.value.endswith("[12.250, 12.750]")
    assert "95 % interval of the mean over other real and generated samples" in card.notes[-1]
