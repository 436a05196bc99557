"""Lines of results from elsewhere: each is read as what it is, or refused in words."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raymetrics import results
from raymetrics.errors import RaymetricsError, ResultsFileError
from raymetrics.reports.comparison_page import report
from raymetrics.results import Failure, Result, Side

HOSTILE = (
    "x", "", None, {}, [], [[]], True, -1, 0, 1e308, 10**20, "0-99999999999999", "5-1", {"a": 1},
    ["x"], [-1],
)  # fmt: skip


def a_side(name: str, **changes: Any) -> Side:
    """One whose shards are nowhere."""
    side = Side(f"nowhere/{name}", "mnist", ("0-59",), 60, f"{name} made", name, {"sealed_by": {}})
    return dataclasses.replace(side, **changes)


def a_result(**changes: Any) -> Result:
    result = Result(
        "frechet_distance", "FD digits", 1.5, 0.1, "lower",
        {"name": "digits", "output": "pre_logits", "dimension": 64}, {"ddof": 1, "label": 3},
        a_side("real"), a_side("generated"), {"versions": {}}, 0.5, {}, {"name": "a", "psi": "0.5"},
        "FD", "digits", {"label": 3, "name": "cat"},
        {"base": "mnist", "truncate": "clamp", "amount": 0.5, "run": "m*", "snapshot": 400},
    )  # fmt: skip
    return dataclasses.replace(result, **changes)


COUNTS = {"real": [1, 2], "generated": [0, 3], "class_names": ["cat", "dog"]}
DRAWN = {"scheme": "random", "n": 10, "seeds": 2, "candidates": 60}
MATCHED = {**DRAWN, "matched_by": "digits", "match": "top_n", "classes": 5}
NOISE = {"where": "important", "scale": 0.05}
CHOSEN = a_side("chosen", samples=(), selection={"file": "nowhere.parquet", "digest": "d"})
RESULTS = [
    a_result(),
    a_result(metric="top1_distance", label="Top-1 distance digits", details=COUNTS, row={}),
    a_result(subset=DRAWN, details={"shown": [1, 2], "smallest": [1], "largest": [2]}),
    a_result(subset=MATCHED, setting=NOISE, details={"shown": [1, 2]}),
    a_result(generated=CHOSEN, spread=None),
]


def mutations(value: Any) -> Iterator[Any]:
    """Yield the value with a part replaced, left out or added."""
    yield from (hostile for hostile in HOSTILE if hostile != value)
    if isinstance(value, dict):
        yield {**value, "of_another_kind": 1}
        for key, part in value.items():
            yield {k: v for k, v in value.items() if k != key}
            yield from ({**value, key: mutated} for mutated in mutations(part))
    elif isinstance(value, list):
        for i, part in enumerate(value):
            yield from ([*value[:i], mutated, *value[i + 1 :]] for mutated in mutations(part))


def lines() -> list[str]:
    """Mutated lines of every kind of result, each once."""
    values = [json.loads(result.to_json()) for result in RESULTS]
    return list(dict.fromkeys(json.dumps(m) for value in values for m in mutations(value)))


def reported_or_refused(line: str, folder: Path) -> bool:
    """Whether there is a page of a file with this line between two others; else its number is in
    the one line that says why not."""
    file = folder / "results.jsonl"
    sound = RESULTS[0].to_json()
    file.write_text(f"{sound}\n{line}\n{sound}\n")
    try:
        report(file, to=folder / "page")
    except ResultsFileError as error:
        message = str(error)
    else:
        return True
    assert f"line 2 of {file} is not a result of raymetrics (" in message, line
    assert len(message) < 600
    return False


def some(share: float) -> list[str]:
    return [
        line
        for line in lines()
        if int(hashlib.sha256(line.encode()).hexdigest()[:8], 16) < share * 2**32
    ]


def test_sound_lines_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    file.write_text("".join(result.to_json() + "\n" for result in RESULTS))
    assert results.read_results(file) == RESULTS
    for result in RESULTS:
        assert reported_or_refused(result.to_json(), tmp_path)


def test_some_mutated_lines_are_reported_or_refused(tmp_path: Path) -> None:
    found = [reported_or_refused(line, tmp_path) for line in some(0.02)]
    assert 0 < sum(found) < len(found)


@pytest.mark.slow
def test_every_mutated_line_is_reported_or_refused(tmp_path: Path) -> None:
    found = [reported_or_refused(line, tmp_path) for line in lines()]
    assert 0 < sum(found) < len(found)


def old_line(**changes: Any) -> str:
    """Return a line of format 1."""
    value = json.loads(RESULTS[1].to_json())
    new = ("format", "short_name", "space_name", "subset", "setting")
    return json.dumps({k: v for k, v in value.items() if k not in new} | changes)


def mutated(**changes: Any) -> str:
    value = copy.deepcopy(json.loads(RESULTS[1].to_json()))
    for path, part in changes.items():
        *way, last = path.split("__")
        inner = value
        for key in way:
            inner = inner[key]
        inner[last] = part
    return json.dumps(value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (mutated(value="x"), "value: 'x' is not"),
        (mutated(value=float("nan")), "NaN is no finite number"),
        (mutated(value=1.5).replace("1.5", "1e400"), "1e400 is no finite number"),
        (mutated(space={}), "space: 'name' is a required property"),
        (mutated(convention=None), "convention: None is not"),
        (mutated(better="higher than"), "better: 'higher than' is not one of"),
        (mutated(real__samples=["5-1"]), "samples '5-1' is empty"),
        (mutated(real__samples=["0-99999999999999"]), "goes beyond 999999999999"),
        (mutated(real__count=-5), "real.count: -5"),
        (mutated(generated__selection={"file": "x"}), "generated.selection: "),
        (mutated(format=3), "format: 2 was expected"),
        (mutated(subset={"scheme": "x"}), "subset: 'n' is a dependency of 'scheme'"),
        (mutated(subset={"label": 3}), "subset: 'name' is a dependency of 'label'"),
        (mutated(setting={"amount": "x"}), "setting.amount: 'x' is not of type 'number'"),
        (mutated(setting={"truncate": "clamp"}), "setting: 'amount' is a dependency of 'truncate'"),
        (old_line(convention={"drawn": "x"}), "convention: 'n' is a required property"),
        (old_line(subset={}), "'subset' was unexpected"),
        (mutated(details={}), "details: 'real' is a required property"),
        (mutated(details__real=[0, 0]), "details.real: [0, 0] does not contain"),
        (mutated(row={"psi": 1}), "row.psi: 1 is not of type 'string'"),
        (mutated(other=1), "'other' was unexpected"),
        ("[" * 100_000, "it is nested too deeply"),
        ("[1]", "[1] is not of type 'object'"),
        ("{x", "Expecting property name"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_what_is_wrong_is_named(line: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    file.write_text(f"{RESULTS[0].to_json()}\n{line}\n")
    with pytest.raises(ResultsFileError) as raised:
        results.read_results(file)
    assert message in str(raised.value)
    assert f"line 2 of {file} is not a result of raymetrics (" in str(raised.value)
    assert str(raised.value).endswith("); remove that line")


@pytest.mark.parametrize("line", ["", "{}", "[]", '{"name": 1}', "\x00"])
def test_what_failed_is_checked_too(line: str, tmp_path: Path) -> None:
    failure = Failure("a", "mnist", {"psi": "1"}, "SourceError", "no such source")
    file = tmp_path / "failed.jsonl"
    file.write_text(failure.to_json() + "\n")
    assert results.read_failures(tmp_path / "results.jsonl") == [failure]
    file.write_text(f"{failure.to_json()}\n{line}\n")
    with pytest.raises(ResultsFileError, match="does not say what failed"):
        results.read_failures(tmp_path / "results.jsonl")


def test_billions_of_samples_are_reported_in_no_memory(tmp_path: Path) -> None:
    """They are named by their ends, and a page shows sixty."""
    many = a_side("many", samples=("0-999999999999",), count=10**12)
    assert reported_or_refused(a_result(generated=many).to_json(), tmp_path)


@pytest.mark.parametrize("name", ["nowhere.jsonl", "\0", "n" * 5000, "."])
def test_files_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(RaymetricsError, match="cannot read results from"):
        results.read_results(tmp_path / name)
