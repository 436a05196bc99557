"""Names that others have given are drawn and printed as they are, whatever is in them."""

from __future__ import annotations

import dataclasses
import html
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import raymetrics as rm
from raymetrics import results
from raymetrics.printable import escape_unprintable
from raymetrics.reports.figures import Curve, Line, curve_chart, line_chart
from raymetrics.reports.heatmap_page import NoisePoint, add_caption, noise_figure
from raymetrics.reports.resampling_section import resampling_table
from raymetrics.reports.sweep_section import tradeoffs_table
from raymetrics.reports.terminal import describe_shard_set, results_table
from raymetrics.results import Side
from tests.conftest import write_set
from tests.reports.test_comparison_page import a_result
from tests.reports.test_sweep_section import found

NAMES = [
    "a$x^$b", "cost$x^{1}$", "$", r"\$a\$b$", "_hidden", "__", "_nolegend_", "a\nsealed  yes",
    "日本", "\x1b[31mred\x1b[0m", "left\u202eright", "photos\udcff", "\x00", "tab\there",
    "<b>&amp;</b>", "]]>",
]  # fmt: skip


def texts(figure: str) -> list[str]:
    """Return the texts in a figure."""
    tree = ElementTree.fromstring(figure)
    return ["".join(text.itertext()) for text in tree.iter("{http://www.w3.org/2000/svg}text")]


@given(st.text())
@example("\udcff\u202e\x1b\n")
def test_what_can_be_printed_is_one_line_and_loses_nothing(text: str) -> None:
    shown = escape_unprintable(text)
    assert shown.isprintable()
    assert escape_unprintable(shown) == shown
    if "\\" not in text:
        assert shown.encode("latin-1", "backslashreplace").decode("unicode_escape") == text


def test_figures_have_names_as_they_are() -> None:
    every = "".join(NAMES)
    lines = [Line(name, [1.0, 2.0], [1.0, 2.0], i, texts=[name]) for i, name in enumerate(NAMES)]
    drawn = texts(line_chart(lines, every, f"y {every}"))
    for name in NAMES:
        assert drawn.count(escape_unprintable(name)) == 2  # in the legend, and beside a point
    assert {escape_unprintable(every), f"y {escape_unprintable(every)}"} <= set(drawn)
    drawn = texts(
        curve_chart([Curve(name, [1, 2], [1, 2], [0, 0], 0, False) for name in NAMES], "", "")
    )
    assert set(map(escape_unprintable, NAMES)) <= set(drawn)
    points = [NoisePoint(where, 0.1, 1.0) for where in ("important", "unimportant", "everywhere")]
    assert {escape_unprintable(every), "important", "everywhere"} <= set(
        texts(noise_figure(points, every))
    )


@settings(max_examples=5)
@given(st.lists(st.text(max_size=8).filter(bool), min_size=1, max_size=3))
def test_legends_have_every_name_in_its_order(names: list[str]) -> None:
    lines = [Line(name, [1.0, 2.0], [1.0, 2.0], i) for i, name in enumerate(names)]
    drawn = [text for text in texts(line_chart(lines, "", "")) if not re.fullmatch(r"[\d.]+", text)]
    expected = [escape_unprintable(name) for name in names]
    assert drawn == [text for text in expected if not re.fullmatch(r"[\d.]+", text)]


@pytest.mark.parametrize("name", NAMES)
def test_tables_and_descriptions_have_one_line_for_each_row(tmp_path: Path, name: str) -> None:
    real, generated = (
        Side("nowhere", side, ("0-79",), 80, "f", side, {}) for side in (name, f"{name}2")
    )
    subset = {"scheme": name, "n": 1, "seeds": 1, "candidates": 1}
    one = a_result(
        real, generated, label=name, short_name="", space_name=name, subset=subset,
        convention={name: name, "drawn": name},
    )  # fmt: skip
    shards = write_set(str(tmp_path / "set"), {"pre_logits": np.zeros((3, 2), np.float32)})
    shards = dataclasses.replace(shards, spec=dataclasses.replace(shards.spec, source=name))
    printed = {
        results_table([one]): 3,
        str(resampling_table([one])): 3,
        str(tradeoffs_table([one])): 2,
        describe_shard_set(shards): 8,
    }
    for text, count in printed.items():
        lines = text.split("\n")
        assert len(lines) == count
        assert all(map(str.isprintable, lines))
        assert escape_unprintable(name) in text


def test_a_page_takes_any_name(tmp_path: Path) -> None:
    made = []
    for step in (50, 400, 5000):
        for name in NAMES:
            made += found(f"{name}?snapshot={step}", 0.3, 0.2 + step / 1e5, 99 - step / 100)
        all_names = "".join(NAMES)
        made += found(f"{all_names}?truncate=clamp:{step / 1e4}", 0.3, 0.2, 99 - step / 100)
    results.append_results(made, tmp_path / "results.jsonl")
    text = rm.report(tmp_path / "results.jsonl", to=tmp_path / "page").read_text(encoding="utf-8")
    assert all(line.isprintable() for line in text.split("\n"))
    assert all(escape_unprintable(name) in html.unescape(text) for name in NAMES)


def test_pages_below_are_found_by_names_that_are_no_text(tmp_path: Path) -> None:
    side = Side("nowhere", "digits", ("0-79",), 80, "f", "d", {})
    results.append_results([a_result(side, side)], tmp_path / "results.jsonl")
    folder = tmp_path / os.fsdecode(b"a b\xff<")
    folder.mkdir()
    (folder / "index.html").touch()
    text = rm.report(tmp_path / "results.jsonl", to=tmp_path).read_text()
    assert '<a href="a%20b%FF%3C/index.html">a b\\udcff&lt;</a>' in text


@pytest.mark.parametrize("name", NAMES)
def test_pictures_take_any_name(name: str) -> None:
    assert add_caption(np.zeros((64, 64, 3), np.uint8), name).shape == (64, 64, 3)
