"""The plan of a sweep: what its rows are, and what is wrong with it."""

from __future__ import annotations

import re
from pathlib import Path

import fsspec
import numpy as np
import pytest

from raymetrics.errors import RaymetricsError
from raymetrics.studies.sweep_table import PlanRow, read_plan

HEADER = "name,source,step,psi,samples\n"
PLAN = f"{HEADER}run {{step}} at {{psi}},runs/{{step}}.pkl,1000|2000,0.5|1,0-9\n"


def table(folder: Path, text: str) -> str:
    """A file of this text."""
    path = folder / "plan.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_line_stands_for_all_its_values(tmp_path: Path) -> None:
    rows = read_plan(table(tmp_path, PLAN))
    assert [(row.name, row.source, row.samples) for row in rows] == [
        (f"run {step} at {psi}", f"runs/{step}.pkl?psi={psi}", "0-9")
        for step in ("1000", "2000")
        for psi in ("0.5", "1")
    ]
    assert rows[1].cells == {
        "name": "run 1000 at 1", "source": "runs/{step}.pkl", "step": "1000", "psi": "1",
        "samples": "0-9",
    }  # fmt: skip


def test_options_join_those_of_the_source(tmp_path: Path) -> None:
    text = (
        "\ufeff source , psi, samples ,prompt\n\n"
        'digits?snapshot=50,0.5,,"a cat, & a dog"\n'
        "digits|mnist,,5-9|0-4,\n"
        "tars/a-{000..009}.tar,,,\n"
    )
    rows = read_plan(table(tmp_path, text))
    assert [(row.source, row.samples, row.name) for row in rows] == [
        (
            "digits?snapshot=50&psi=0.5&prompt=a%20cat,%20%26%20a%20dog", None,
            "digits?snapshot=50&psi=0.5&prompt=a%20cat,%20%26%20a%20dog",
        ),
        ("digits", "5-9", "digits, samples 5-9"),
        ("digits", "0-4", "digits, samples 0-4"),
        ("mnist", "5-9", "mnist, samples 5-9"),
        ("mnist", "0-4", "mnist, samples 0-4"),
        ("tars/a-{000..009}.tar", None, "tars/a-{000..009}.tar"),
    ]  # fmt: skip


def test_a_plan_may_lie_anywhere() -> None:
    fsspec.filesystem("memory").pipe_file("/plans/p.csv", b"source\ndigits\n")
    assert read_plan("memory://plans/p.csv") == [PlanRow("digits", None, {"source": "digits"})]


def test_dictionaries_are_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe is the same plan; its text is taken as it is, bars and all."""
    (tmp_path / "a_recipe.py").write_text(
        "def rows():\n"
        "    yield dict(name='run {step} at {psi}', source='runs/{step}.pkl',\n"
        "               step=[1000, 2000], psi=(0.5, 1), samples=range(10))\n"
        "def broken():\n    return [1 / 0]\n"
        "def number():\n    return 7\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert read_plan("a_recipe:rows") == read_plan(table(tmp_path, PLAN))
    (row,) = read_plan(
        [{"source": "x.pkl", "prompt": "a|b", "psi": np.float32(0.5), "label": None}]
    )
    assert row.source == "x.pkl?prompt=a%7Cb&psi=0.5"
    assert read_plan(["digits", "mnist"]) == [PlanRow("digits"), PlanRow("mnist")]
    with pytest.raises(RaymetricsError, match=r"ZeroDivisionError.*a_recipe.py, line 5"):
        read_plan("a_recipe:broken")
    with pytest.raises(RaymetricsError, match="'a_recipe:number' gives no rows"):
        read_plan("a_recipe:number")
    with pytest.raises(RaymetricsError, match="has no 'nothing'"):
        read_plan("a_recipe:nothing")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "has no rows"),
        ("source\n", "has no rows"),
        ("sauce\nx\n", "line 1: no column 'source', there are 'sauce'"),
        ("source,psi,psi\nx,1,2\n", "line 1: column 2 is called 'psi'"),
        ("source,\nx,\n", "line 1: column 2 is called ''"),
        ("source,psi\nx\n", "line 2 has 1 cells, the header has 2"),
        ("source,psi\nx,a,b\n", "line 2 has 3 cells, the header has 2"),
        ("source,psi\n\n,0.5\n", "line 3, column 'source': empty"),
        ("source\n'a{stpe}'\n", "line 2, column 'source': \"'a{stpe}'\" has the field {stpe}"),
        ("source,step\na{step},\n", "line 2, column 'source': 'a{step}' has the field {step}"),
        ("source,name\nx,{psi}\n", "line 2, column 'name': '{psi}' has the field {psi}"),
        ("source,psi\nx?psi=1,0.5\n", "line 2, column 'psi': the source 'x?psi=1' has this"),
        ("source\nx?psi=1&psi=2\n", "line 2, column 'source': option 'psi' of x is given twice"),
        ("source,samples\nx,9\n", "line 2, column 'samples': samples '9' is not a range"),
        ("source,psi\nx,1\ny,1\nx,0|1\n", "line 4: x?psi=1, with the same samples, stands in "),
        ("source,name,psi\nx,a,0|1\n", "line 2: another row, in "),
        ('source\n"x\n', "line 2: unexpected end of data"),
        (
            "source,a,b,c\nx" + 3 * f",{'|'.join(map(str, range(100)))}" + "\n",
            "line 2 stands for 1e+06 rows, expected at most 100000",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    path = table(tmp_path, text)
    with pytest.raises(RaymetricsError, match=re.escape(expected)) as caught:
        read_plan(path)
    assert str(caught.value).startswith(path)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ([], "the plan has no rows"),
        ([3], "the plan, row 1 is int"),
        ([{"source": "x"}, {"psi": 1}], "the plan, row 2: no column 'source'"),
        ([{"source": "x", "psi": {}}], "the plan, row 1, column 'psi': {}"),
        ([{"source": "x", "samples": range(0, 9, 2)}], "column 'samples': range(0, 9, 2)"),
        (["x", "x"], "x, with the same samples, stands in the plan, row 1"),
        ("nowhere/plan.csv", "no plan at nowhere/plan.csv"),
    ],
)
def test_what_is_wrong_with_rows(plan: object, expected: str) -> None:
    with pytest.raises(RaymetricsError, match=re.escape(expected)):
        read_plan(plan)  # type: ignore[arg-type]


def test_what_is_no_text_is_no_plan(tmp_path: Path) -> None:
    (tmp_path / "plan.csv").write_bytes(b"source\n\xff\xfe\n")
    with pytest.raises(RaymetricsError, match="plan.csv is not text"):
        read_plan(str(tmp_path / "plan.csv"))
