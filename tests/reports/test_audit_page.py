"""The page of an audit says what its results say, and loads nothing."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from raymetrics.reports.audit_page import audit_table, change_figure, write_audit_page
from raymetrics.results import Result, Side

SIDE = Side("uri", "photos", ("0-99",), 100, "", "", {})
VERDICT = ("FID does not distinguish <b>A</b> and B.", "Matching: nothing.")


def a_result(generator: str, space: str, scheme: str, value: float, **more: Any) -> Result:
    subset = {"scheme": scheme, "n": 50, "seeds": 4, "candidates": 100}
    return Result(
        "frechet_distance", f"{space}, {scheme}", value, 0.05, "lower",
        {"name": "inception", "output": "pre_logits"}, {"ddof": 1}, SIDE, SIDE, {}, 0.0,
        {"generator": generator, **more}, short_name=space, subset=subset,
    )  # fmt: skip


def attacked(generator: str, space: str, scheme: str, value: float, change: float) -> Result:
    attack = "matching" if "matched" in scheme else "reweighting"
    return a_result(generator, space, scheme, value, attack=attack, relative_change=[change, 0.01])


@pytest.fixture
def found() -> list[Result]:
    """Two generators; the first is matched in part, beside random draws of that size."""
    results = []
    for name, part in (("A", ", in part"), ("<b>B</b>", "")):
        for space in ("FID", "FD clip"):
            results += [a_result(name, space, "random", 7.25)] if part else []
            results += [
                a_result(name, space, "random", 5.5),
                attacked(name, space, f"Top-1 matched{part}", 4.5, -0.18),
                attacked(name, space, "reweighted", 2.5, -0.55),
            ]
        for attack in ("matching", "reweighting"):
            result = a_result(name, "null-space share", "random", 0.17, attack=attack)
            results.append(replace(result, metric="null_space_share"))
    return results


def test_the_table_has_every_number(found: list[Result]) -> None:
    header, *rows = audit_table(found).splitlines()
    assert re.split(r"  +", header.strip()) == ["random", "Top-1 matched, in part", "reweighted"]
    assert len(rows) == 6
    cells = re.split(r"  +", rows[0])
    assert cells == [
        "A", "FID", "5.5000 ± 0.0500", "4.5000 ± 0.0500 (\u221218 ± 1 %)",
        "2.5000 ± 0.0500 (\u221255 ± 1 %)",
    ]  # fmt: skip
    assert " ".join(rows[2].split()) == "A in the perceptual null space 17 ± 5 % 17 ± 5 %"


def test_the_page_escapes_names_and_loads_nothing(found: list[Result], tmp_path: Path) -> None:
    page = write_audit_page(found, VERDICT, to=tmp_path).read_text()
    for text in (*VERDICT, "<b>B</b>", "4 draws of 50 from 100 samples of photos"):
        assert html.escape(text) in page
    assert "<b>" not in page
    assert not re.search(r'(?:src|href)="(?!#)', page)


def test_the_figure_has_a_bar_for_every_change(found: list[Result]) -> None:
    tree = ElementTree.fromstring(change_figure(found))
    texts = ["".join(t.itertext()) for t in tree.iter("{http://www.w3.org/2000/svg}text")]
    for label in ("FID, A", "FD clip, A", "FID, <b>B</b>", "FD clip, <b>B</b>"):
        assert texts.count(label) == 1
    for attack in ("Top-1 matched, in part", "reweighted"):
        assert texts.count(attack) == 1
