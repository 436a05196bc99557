"""A file of results that a writer was killed in keeps what is whole; secrets are not kept."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymetrics import results
from raymetrics.errors import ResultsFileError
from raymetrics.results import Failure, Result, Side
from tests.reports.test_comparison_page import a_result

SIDE = Side("nowhere", "digits", ("0-79",), 80, "f", "d", {})
LINE = a_result(SIDE, SIDE).to_json()
TORN = "results.jsonl: its end is missing"


def value(result: Result) -> float:
    return result.value


def a_file(folder: Path, *values: float) -> Path:
    """Results of these values."""
    path = folder / "results.jsonl"
    results.append_results([a_result(SIDE, SIDE, value=value) for value in values], path)
    return path


@given(left=st.integers(1, len(LINE)))
def test_what_is_whole_is_read_wherever_the_last_line_is_torn(
    tmp_path_factory: pytest.TempPathFactory, left: int
) -> None:
    path = a_file(tmp_path_factory.mktemp("torn"), 1.0, 2.0)
    with path.open("a") as file:
        file.write(LINE[:left])
    whole = [1.0, 2.0] + [12.345678] * (left == len(LINE))  # without its end of line alone
    assert list(map(value, results.read_results(path))) == whole
    a_file(path.parent, 4.0, 5.0)
    assert list(map(value, results.read_results(path))) == [*whole, 4.0, 5.0]
    a_file(path.parent, 6.0)
    assert list(map(value, results.read_results(path))) == [*whole, 4.0, 5.0, 6.0]


def test_a_torn_line_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = a_file(tmp_path, 1.0)
    results.read_results(path)
    assert caplog.messages == []
    path.write_text(path.read_text() + LINE[:100])
    with caplog.at_level(logging.WARNING):
        results.read_results(path)
    assert caplog.messages == [f"left out line 2 of {tmp_path}/{TORN}"]


@pytest.mark.parametrize("start", ['{"for', '{"format": 2, "metric"', '{"met', '{"metric": "fr'])
def test_a_torn_line_of_either_format_is_left_out(tmp_path: Path, start: str) -> None:
    path = a_file(tmp_path, 1.0)
    path.write_text(path.read_text() + start)
    assert list(map(value, results.read_results(path))) == [1.0]


@pytest.mark.parametrize("line", ["[1]", "{}", '{"metric": "x"}', "metric,value", LINE[1:]])
def test_other_lines_are_refused(tmp_path: Path, line: str) -> None:
    path = a_file(tmp_path, 1.0)
    path.write_text(path.read_text() + line)
    with pytest.raises(ResultsFileError, match="line 2 of .* is not a result of raymetrics"):
        results.read_results(path)


def test_nothing_but_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(LINE[:50])
    with pytest.raises(ResultsFileError, match="is empty; expected one result a line"):
        results.read_results(path)


def test_separators_of_unicode_are_no_ends_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    side = Side("nowhere", "a\u2028b\x85c", ("0-79",), 80, "f", "d", {})
    said = json.loads(a_result(side, side).to_json())
    path.write_text(json.dumps(said, ensure_ascii=False) + "\n", encoding="utf-8")
    assert results.read_results(path)[0].real.source == "a\u2028b\x85c"


def test_secrets_that_another_version_wrote_are_not_shown(tmp_path: Path) -> None:
    address = "https://host/x.zip?key=hunter2"
    said = json.loads(LINE)
    said["generated"]["source"] = address
    found = Result.from_json(json.dumps(said))
    failure = {
        "name": address, "source": address, "row": {"source": address, "pwd": "hunter2",
        "psi": "1"},
        "error": "SourceError", "message": f"cannot open {address}: 403",
    }  # fmt: skip
    failed = Failure.from_json(json.dumps(failure))
    assert "hunter2" not in found.to_json() + failed.to_json()
    assert failed.row == {"psi": "1"}
    assert found.generated.source == failed.name == (
        "(not shown, as it has a secret in it: key)"
    )  # fmt: skip


def test_an_interval_is_read_again_and_lines_without_one_are_as_before() -> None:
    interval = {"low": 1.0, "high": 2.0, "level": 0.95, "standard_error": 0.25,
                "method": "groups", "groups": 20, "varies": ["generated"]}  # fmt: skip
    result = a_result(SIDE, SIDE)
    assert "interval" not in json.loads(result.to_json())
    line = replace(result, interval=interval).to_json()
    assert Result.from_json(line).interval == interval
    with pytest.raises(ResultsFileError, match=r"interval.varies\[0\]: 'both' is not one of"):
        Result.from_json(line.replace('["generated"]', '["both"]'))
