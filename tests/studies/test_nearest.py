"""The nearest training samples: ids, numbers, resumption, the page, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from numpy.testing import assert_allclose, assert_array_equal

import raymetrics as rm
from raymetrics import results
from raymetrics.cli import main
from raymetrics.distributed import nearest_views as nearest_module
from raymetrics.distributed import neighbors
from raymetrics.distributed.nearest_views import nearest_training, nearest_views
from raymetrics.errors import NotEnoughData, RaymetricsError
from raymetrics.evaluator import compute_from_rows
from raymetrics.metrics import Convention
from raymetrics.metrics.registry import find_metric
from raymetrics.neighbors import ENGINES
from raymetrics.reports.nearest_page import picture_uri
from raymetrics.shards.open_view import open_view
from raymetrics.shards.view import View
from raymetrics.studies.nearest.study import nearest
from tests.conftest import write_set
from tests.helpers import ring_world
from tests.helpers.exact_search import ExactSearch

pytestmark = pytest.mark.usefixtures("no_actors")

COLUMN = "made_up_pre_logits"
EXACT = ExactSearch()


@pytest.fixture
def features(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Training, held-out and generated features; with copies, and ties among duplicates."""
    real = rng.normal(size=(330, 12)).astype(np.float32)
    real[300:310], real[310:320] = real[:10], real[:10]
    generated = rng.normal(scale=1.1, size=(140, 12)).astype(np.float32)
    generated[[7, 70, 139]] = real[[5, 320, 305]]
    test = rng.normal(size=(120, 12)).astype(np.float32)
    return {"real": real, "generated": generated, "test": test}


@pytest.fixture
def sides(features: dict[str, np.ndarray], tmp_path: Path) -> dict[str, str]:
    for side, x in features.items():
        write_set(str(tmp_path / side), {"pre_logits": x}, shard_rows=50)
    return {side: str(tmp_path / side) for side in features}


def both(sides: dict[str, str]) -> dict[str, str]:
    return {side: sides[side] for side in ("real", "generated")}


def views(sides: dict[str, str]) -> dict[str, View]:
    return {side: open_view(uri) for side, uri in sides.items()}


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pairs of partitions each search had to find."""
    counts: list[int] = []
    find_all = neighbors.LocalSearch.find_all

    def counted(self, pairs, partitions) -> Iterator:
        counts.append(len(pairs))
        return find_all(self, pairs, partitions)

    monkeypatch.setattr(neighbors.LocalSearch, "find_all", counted)
    return counts


@pytest.mark.parametrize("engine", ENGINES)
def test_partitions_give_the_neighbors_of_brute_force(sides, features, engine) -> None:
    view = views(sides)
    expected = EXACT.nearest_neighbors(features["generated"], features["real"], 5)
    for max_rows in (None, 60, 120):
        found = nearest_views(
            queries=view["generated"], base=view["real"], column=COLUMN, k=5, max_rows=max_rows,
            engine=engine,
        )  # fmt: skip
        assert_array_equal(found.distances, expected.distances)
        assert_array_equal(found.rows, expected.rows)
    assert found.rows[7, :3].tolist() == [5, 305, 315]  # copies, of which the first is the nearest


def test_a_killed_search_goes_on(sides, features, searched, monkeypatch) -> None:
    """After three pairs of partitions; a damaged file and a false one are found again."""
    view = views(sides)
    request = {
        "queries": view["generated"], "base": view["real"], "column": COLUMN, "k": 5,
        "max_rows": 100,
    }  # fmt: skip
    write, written = neighbors.write_neighbor_file, []

    def killed(*arguments) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(write(*arguments))

    monkeypatch.setattr(neighbors, "write_neighbor_file", killed)
    with pytest.raises(KeyboardInterrupt):
        nearest_views(**request)
    monkeypatch.setattr(neighbors, "write_neighbor_file", write)
    found = nearest_views(**request)
    expected = EXACT.nearest_neighbors(features["generated"], features["real"], 5)
    assert_array_equal(found.rows, expected.rows)
    assert searched == [8, 5]

    cells = sorted(Path(sides["generated"], "neighbours").glob("cell-*"))
    cells[0].write_bytes(cells[0].read_bytes()[:100])
    arrays = dict(np.load(cells[1]))
    arrays.pop("digest")
    store = nearest_module.Store(str(cells[1].parent))
    write(store, cells[1].name, {**arrays, "rows": arrays["rows"] + 1000})
    assert_array_equal(nearest_views(**request).rows, expected.rows)
    assert searched == [8, 5, 2]
    assert_array_equal(nearest_views(**request).distances, expected.distances)
    assert searched == [8, 5, 2, 0]


def test_neighbors_of_neighbors_in_parts(sides, features) -> None:
    """Without a search of the training set in itself: only of the samples that are nearest."""
    view = views(both(sides))
    found = nearest_training(**view, column=COLUMN, max_rows=100)
    among = EXACT.nearest(features["real"], features["real"], 1)[:, 0]
    nearest_rows = EXACT.nearest_neighbors(features["generated"], features["real"], 1).rows[:, 0]
    assert_array_equal(found.neighbor_distances, among[nearest_rows])
    assert found.neighbor_distances[7] == 0  # its neighbor has copies in the training set


def test_numbers_and_file(sides, features, tmp_path) -> None:
    done = nearest(**sides, to=str(tmp_path / "to"), neighbors=10, count=4)
    table = pq.read_table(done.path).to_pydict()
    expected = EXACT.nearest_neighbors(features["generated"], features["real"], 10)
    ratios = expected.distances[:, 0] / expected.distances[:, 1:].mean(axis=1)
    assert table["sample_id"] == list(range(140))
    assert table[f"nearest_id_{COLUMN}"] == expected.rows[:, 0].tolist()
    assert table[f"distance_{COLUMN}"] == expected.distances[:, 0].tolist()
    assert_allclose(table[f"ratio_{COLUMN}"], ratios, rtol=1e-14)

    authentic, ratio, copying = done.results
    arrays = {side: features[side] for side in ("real", "generated")}
    assert authentic.value == rm.in_memory.auth_pct(**arrays)
    assert ratio.value == np.median(ratios)
    closest = ratio.details["closest"]
    assert [pair[:3] for pair in closest[:3]] == [[7, 5, 0.0], [70, 320, 0.0], [139, 5, 0.0]]
    assert ratio.details["copies"] == 3
    assert sum(ratio.details["histogram"]["counts"]) == 140
    expected_test = rm.in_memory.c_t(**features)
    assert copying.value == pytest.approx(expected_test.value, rel=1e-12)
    assert copying.details["p_value"] == pytest.approx(expected_test.p_value)
    assert copying.convention["test"] == sides["test"]


def test_a_large_set_is_searched_in_parts(sides, tmp_path, monkeypatch, searched) -> None:
    whole = nearest(**both(sides), to=str(tmp_path / "to"), neighbors=10)
    for file in Path(sides["generated"], "neighbours").iterdir():
        file.unlink()
    monkeypatch.setattr(nearest_module, "fits_in_driver", lambda *_: False)
    monkeypatch.setattr(nearest_module, "partition_rows", lambda *_: 50)
    searched.clear()
    parts = nearest(**both(sides), to=str(tmp_path / "parts"), neighbors=10)
    assert searched[0] == 21
    assert pq.read_table(parts.path).equals(pq.read_table(whole.path))
    assert [r.value for r in parts.results] == [r.value for r in whole.results]
    assert [r.details for r in parts.results] == [r.details for r in whole.results]


def test_cosines_above_a_threshold(tmp_path, rng) -> None:
    """In spaces of unit length by default; in others if features are divided by their length."""
    arrays = {"real": rng.normal(size=(90, 8)), "generated": rng.normal(size=(60, 8))}
    cosines = {side: x / np.linalg.norm(x, axis=1)[:, None] for side, x in arrays.items()}
    largest = (cosines["generated"] @ cosines["real"].T).max(axis=1)
    for side in arrays:
        for name, x in (("unit", cosines), ("plain", arrays)):
            write_set(str(tmp_path / f"{name}-{side}"), {"pre_logits": x[side].astype(np.float32)})
    plain, unit = (
        {side: str(tmp_path / f"{name}-{side}") for side in arrays} for name in ("plain", "unit")
    )
    for sets, options, threshold in (
        (unit, {}, 0.5),
        (unit, {"threshold": 0.8}, 0.8),
        (plain, {"normalize": True}, 0.5),
        (plain, {"normalize": True, "threshold": 0.7}, 0.7),
    ):
        done = nearest(**sets, to=str(tmp_path / "to"), neighbors=5, **options)
        found = next(r for r in done.results if r.metric == "share_above_cosine")
        assert found.value == (largest > threshold).mean()
        assert found.convention["threshold"] == threshold
        table = pq.read_table(done.path)
        assert_allclose(table[f"cosine_{COLUMN}"], largest, atol=1e-6)
    metrics = {r.metric for r in nearest(**plain, to=str(tmp_path), neighbors=5).results}
    assert metrics == {"auth_pct", "nearest_ratio"}


def test_evaluate_computes_auth_pct(sides, features, monkeypatch) -> None:
    arrays = {side: features[side] for side in ("real", "generated")}
    expected = rm.in_memory.auth_pct(**arrays)
    (found,) = rm.evaluate(**both(sides), metrics="auth-pct")
    assert (found.metric, found.value, found.details["copies"]) == ("auth_pct", expected, 3)
    (found,) = rm.evaluate(**both(sides), metrics="auth-pct?program=fld", engine="faiss-flat")
    assert found.value == expected - 50
    assert found.convention["as"] == "fld"
    (value,) = compute_from_rows(find_metric("auth-pct"), **arrays, convention=Convention())
    assert value.value == expected


def test_auth_pct_of_every_label(features, tmp_path) -> None:
    arrays = {side: features[side] for side in ("real", "generated")}
    labels = {side: np.arange(len(x)) % 2 for side, x in arrays.items()}
    for side, x in arrays.items():
        write_set(str(tmp_path / side), {"pre_logits": x}, labels=labels[side])
    uris = {side: str(tmp_path / side) for side in arrays}
    found = rm.evaluate(**uris, metrics="auth-pct", by="label")
    assert [result.value for result in found if "label" in result.subset] == [
        rm.in_memory.auth_pct(**{side: x[labels[side] == i] for side, x in arrays.items()})
        for i in (0, 1)
    ]


def test_a_planted_copy_is_found_and_pictured(tmp_path: Path) -> None:
    """The page shows the images of the ids, generated beside training, if it may."""
    uris = {side: str(tmp_path / side) for side in ("real", "generated")}
    for side, source in (("real", "RealSource"), ("generated", "CopyingSource")):
        rm.extract(f"ring_world:{source}", [ring_world.EXTRACTOR], uris[side], "0-129")
    to = tmp_path / "to"
    words = ["nearest", "--real", uris["real"], "--generated", uris["generated"], "--to", str(to)]
    done = CliRunner().invoke(main, [*words, "--count", "3", "--neighbors", "5", "--run-code"])
    assert done.exit_code == 0, done.output
    assert "is generated sample 17 and training sample 123, at distance 0" in done.output
    pairs = results.read_results(to / "results.jsonl")[1].details["closest"]
    assert pairs[0] == [17, 123, 0.0, 0.0]

    expected = []
    for generated_id, real_id, *_ in pairs:
        expected.append(picture_uri(ring_world.CopyingSource()(np.array([generated_id]))[0]))
        expected.append(picture_uri(ring_world.RealSource()(np.array([real_id]))[0]))
    text = (to / "index.html").read_text()
    assert re.findall(r'<img src="(.*?)"', text) == expected
    assert "generated 17, training 123<br>distance 0, ratio 0.000" in text
    assert CliRunner().invoke(main, [*words, "--neighbors", "5"]).exit_code == 0
    text = (to / "index.html").read_text()
    assert "ring_world:CopyingSource, which runs Python code" in text
    assert "<img" not in text


def command(sides: dict[str, str], to: Path, *words: str) -> str:
    """The one line of a command that is refused and writes nothing."""
    asked = ["nearest", "--real", sides["real"], "--generated", sides["generated"]]
    done = CliRunner().invoke(main, [*asked, "--to", str(to), *words], catch_exceptions=False)
    assert (done.exit_code, done.output.count("\n")) == (2, 1), done.output
    assert not to.exists()
    return done.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--neighbors", "1"], "neighbors is 1, expected at least 2"),
        (["--neighbors", "331"], "has 330 training samples; the ratio takes at least 331"),
        (["--count", "0"], "count is 0, expected at least 1"),
        (["--threshold", "1.5"], "threshold is 1.5, expected a cosine, from -1 to 1"),
        (["--threshold", "0.5"], "and a threshold is a cosine of features of length 1"),
        (["--column", "x"], "column 'x' is not in both sets"),
        (["--extractor", "x"], "extractor 'x' is not in both sets"),
        (["--engine", "x"], "no engine is called 'x'"),
        (["--generated", "nowhere"], "no shard set at nowhere"),
        (["--test", "nowhere"], "no shard set at nowhere"),
    ],
)
def test_errors_are_one_line_before_any_search(sides, tmp_path, searched, words, message) -> None:
    assert message in command(sides, tmp_path / "to", *words)
    assert not searched


def test_common_samples_are_refused(sides, features, tmp_path, searched) -> None:
    """Of one set by its ids; of two sets by the digests of their shards."""
    real = sides["real"]
    same = {"real": f"{real}?random=200&seed=1", "generated": f"{real}?random=200&seed=2"}
    assert re.search(
        r"\d+ generated samples of .* are training samples too", command(same, tmp_path / "to")
    )
    copied = str(tmp_path / "copied")
    test = np.concatenate([features["real"][:50], features["test"]])
    write_set(copied, {"pre_logits": test}, shard_rows=50)
    line = command(sides, tmp_path / "to", "--test", copied)
    assert f"50 test samples of {copied} are training samples too, of {real}" in line
    assert not searched


def test_generated_samples_that_are_all_copies(sides, features, tmp_path) -> None:
    """In another order, which no digest tells."""
    write_set(str(tmp_path / "copies"), {"pre_logits": features["real"][290:40:-1]})
    line = command({**sides, "generated": str(tmp_path / "copies")}, tmp_path / "to")
    assert "all 250 generated samples" in line
    assert "are training samples of" in line


def test_few_samples(sides, tmp_path) -> None:
    few = {**sides, "generated": f"{sides['generated']}?random=20&seed=1"}
    with pytest.raises(NotEnoughData, match="20 generated samples; C_T takes at least 21"):
        nearest(**few, to=str(tmp_path), neighbors=5)
    with pytest.raises(NotEnoughData, match="the 7 nearest of 5 training samples"):
        nearest_views(
            queries=views(sides)["generated"], base=views(sides)["real"].first(5), column=COLUMN,
            k=7,
        )  # fmt: skip


def test_a_row_without_a_direction(sides, features, tmp_path) -> None:
    features["generated"][3] = 0
    write_set(str(tmp_path / "zeros"), {"pre_logits": features["generated"]})
    zeros = {**both(sides), "generated": str(tmp_path / "zeros")}
    with pytest.raises(RaymetricsError, match="1 of 140 rows of features have no direction"):
        nearest(**zeros, to=str(tmp_path / "to"), normalize=True)
