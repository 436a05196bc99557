"""Draws side by side, and what they say."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import raymetrics as rm
from raymetrics import results
from raymetrics.errors import RaymetricsError, ResultsFileError
from raymetrics.permissions import Permission
from raymetrics.reports.resampling_section import resampling_sections, resampling_table
from raymetrics.reports.sample_images import SampleImages, evenly_spaced
from raymetrics.results import Result, Side
from raymetrics.shards.view import Selection
from tests.reports.test_comparison_page import a_result, chosen

IMAGES = SampleImages(Permission())
SIDE = Side("nowhere", "digits", ("0-79",), 80, "f", "d", {})


def drawn(way: str, value: float, spread: float, space: str = "own", **how: object) -> Result:
    """Return a distance of a way of drawing."""
    counts = {"n": 1000, "seeds": 3, "candidates": how.get("candidates", 5000)}
    return a_result(
        SIDE, SIDE, label=f"FD {space}, {way}", value=value, spread=spread, space_name=space,
        space={"name": space, "output": "pre_logits", "dimension": 64},
        convention={"drawn": way, **counts, **how}, details={"shown": [1, 2]},
        subset={"scheme": way, **counts, **chosen(how)},
    )  # fmt: skip


def test_both_opinions_are_told_apart() -> None:
    results = [
        drawn("random", 10.0, 0.5),
        drawn("random", 4.0, 0.2, "other"),
        drawn("matched", 6.5, 0.1, matched_by="own"),
        drawn("matched", 4.3, 0.2, "other", matched_by="own"),
    ]
    found = resampling_table(results)
    assert found.schemes == ["random", "matched"]
    assert [(row.label, row.matched_or_second_opinion) for row in found.rows] == [
        ("FD own", "matched in this space"),
        ("FD other", "second opinion"),
    ]
    assert [cell.change if cell else None for cell in found.rows[0].cells] == ["", "\u221235 %"]
    assert found.summary_sentences == [
        "Matched: FD own falls by 35 %; the second opinion: FD other moves no more than the seeds "
        "differ."
    ]
    assert str(found).splitlines() == [
        "                                 random           matched",
        "FD own    matched in this space  10.000 ± 0.500   6.5000 ± 0.1000 \u221235 %",
        "FD other  second opinion         4.0000 ± 0.2000  4.3000 ± 0.2000 +7 %",
        "",
        found.summary_sentences[0],
    ]
    (section,) = resampling_sections(results, IMAGES)
    assert section.title == "3 draws of 1,000 from 5,000 generated samples"
    assert section.class_count_figure is None
    assert all(
        "no shard set at nowhere" in picture.why_no_images for picture in section.sample_grids
    )


def test_without_a_second_space_or_random_draws() -> None:
    one = resampling_table([drawn("random", 10, 0), drawn("worse", 12, 0.1, matched_by="own")])
    assert one.summary_sentences == ["Worse: FD own rises by 20 %; there is no second opinion."]
    alone = resampling_table([drawn("matched", 10, 0.1, matched_by="own")])
    assert (alone.summary_sentences, alone.rows[0].cells[0].change) == ([], "")  # type: ignore[union-attr]
    assert resampling_sections([a_result(SIDE, SIDE)], IMAGES) == []


def test_only_draws_of_the_same_candidates_are_compared() -> None:
    found = resampling_sections(
        [
            drawn("random", 5.6, 0.1, candidates=2200),
            drawn("matched", 5.3, 0.1, matched_by="own", candidates=2200),
            drawn("random", 9.0, 0.1),
            drawn("weighted", 4.5, 0.1, matched_by="own"),
        ],
        IMAGES,
    )
    assert [section.table.summary_sentences for section in found] == [
        ["Matched: FD own falls by 5 %; there is no second opinion."],
        ["Weighted: FD own falls by 50 %; there is no second opinion."],
    ]


def test_a_sweep_has_a_line_for_each_kind_and_space() -> None:
    (found,) = resampling_sections(
        [drawn("random", 10, 0.1), drawn("random", 2, 0.1, "other")]
        + [
            drawn(f"{kind}:{n}", 10 / n, 0.1, space, matched_by="own", match=f"{kind}:{n}")
            for kind in ("top_n", "middle_n")
            for n in (1, 2, 10)
            for space in ("own", "other")
        ],
        IMAGES,
    )
    assert found.class_count_figure is not None
    ElementTree.fromstring(found.class_count_figure)  # well-formed
    names = re.findall(r"FD (\w+), (\w+)", found.class_count_figure)
    assert sorted(set(names)) == sorted(
        (space, kind) for space in ("own", "other") for kind in ("top_n", "middle_n")
    )


def test_draws_on_the_way_have_a_line_for_each_space() -> None:
    def on_the_way(value: float, space: str) -> Result:
        points = [{"evaluations": n, "mean": value * 9 / n, "spread": 0.1} for n in (1, 5, 9)]
        drawn_last = drawn("weighted", value, 0.1, space, matched_by="own")
        return dataclasses.replace(drawn_last, details={**drawn_last.details, "trace": points})

    bases = [drawn("random", 10, 0.1), drawn("random", 2, 0.1, "other")]
    (found,) = resampling_sections([*bases, on_the_way(4, "own"), on_the_way(2, "other")], IMAGES)
    assert found.trace_figure is not None
    ElementTree.fromstring(found.trace_figure)
    names = set(re.findall(r"FD \w+, \w+", found.trace_figure))
    assert names == {"FD own, weighted", "FD other, weighted"}
    line = on_the_way(4, "own").to_json()
    assert Result.from_json(line).details["trace"][0]["evaluations"] == 1
    with pytest.raises(ResultsFileError, match="trace"):
        Result.from_json(line.replace('"evaluations": 1,', '"evaluations": 0,'))
    (without,) = resampling_sections([*bases, drawn("weighted", 4, 0.1)], IMAGES)
    assert without.trace_figure is None


def test_a_grid_shows_repeated_samples_as_often_as_they_were_drawn() -> None:
    """Each is made once, and 144 are a small part of a page."""
    made: list[list[int]] = []

    class Images(SampleImages):
        def regenerate_images(self, side: Side, ids: np.ndarray) -> np.ndarray:
            made.append(ids.tolist())
            return np.stack([np.full((3, 300, 200), 20 * i, np.uint8) for i in ids])

    ids = [1, 2, 2, 2, 7] * 8
    result = dataclasses.replace(drawn("weighted", 4, 0.1), details={"shown": ids})
    (section,) = resampling_sections([result], Images(Permission()))
    (grid,) = section.sample_grids
    assert made == [[1, 2, 7]]
    assert grid.grid_uri is not None
    picture = Image.open(io.BytesIO(base64.b64decode(grid.grid_uri.partition(",")[2])))
    assert picture.size == (16 * (37 + 2) - 2, 3 * (56 + 2) - 2)
    pixels = np.asarray(picture)[28, 18::39, 0]
    np.testing.assert_array_equal(pixels, [20 * i for i in ids[:16]])
    (none,) = resampling_sections([drawn("weighted", 4, 0.1)], IMAGES)
    assert none.sample_grids[0].grid_uri is None


def test_random_draws_of_distance_zero_have_no_percentages() -> None:
    """As those of a set against itself, without a spread."""
    (found,) = resampling_sections(
        [drawn("random", 0.0, 0.0)]
        + [drawn(f"top_n:{n}", 3.0, 0.1, matched_by="own", match=f"top_n:{n}") for n in (1, 2)],
        IMAGES,
    )
    assert found.class_count_figure is None
    sentence = found.table.summary_sentences[0]
    assert sentence == "Top_n:1: FD own rises from 0.0000 ± 0.0000; there is no second opinion."


def test_features_against_logits_over_three_sets(tmp_path: Path) -> None:
    for i, (features, logits) in enumerate([(1.0, 3.0), (2.0, 5.0), (4.0, 9.0)]):
        side = Side("nowhere", "digits", ("0-79",), 80, "f", f"set {i}", {})
        for output, value in (("pre_logits", features), ("logits", logits)):
            space = {"name": "digits", "output": output, "dimension": 64}
            made = a_result(SIDE, side, value=value, space=space, label=f"FD {output}")
            results.append_results([made], tmp_path / "r.jsonl")
        text = rm.report(tmp_path / "r.jsonl", to=tmp_path).read_text()
        assert ("Features against logits" in text) == (i == 2)
    assert "their correlation is 1.000" in text


def test_the_samples_of_a_selection(tmp_path: Path) -> None:
    path = tmp_path / "chosen.parquet"
    pq.write_table(pa.table({"sample_id": [9, 3, 7]}), path)
    chosen = {"file": str(path), "digest": Selection.from_ids(np.array([3, 7])).digest}
    side = Side("nowhere", "digits", (), 2, "f", "d", {}, chosen)
    np.testing.assert_array_equal(IMAGES.sample_ids(side, 9), [3, 7])
    pq.write_table(pa.table({"sample_id": [9, 3, 8]}), path)
    with pytest.raises(RaymetricsError, match="chosen.parquet holds other samples by now"):
        IMAGES.sample_ids(side, 9)
    with pytest.raises(RaymetricsError, match="is a file of statistics, which holds no samples"):
        IMAGES.sample_ids(Side("a.npz", "a.npz", (), None, "f", "d", {}), 9)


def test_evenly_spaced() -> None:
    np.testing.assert_array_equal(evenly_spaced(np.arange(10, 20), 4), [10, 13, 16, 19])
    np.testing.assert_array_equal(evenly_spaced(np.arange(3), 60), [0, 1, 2])
