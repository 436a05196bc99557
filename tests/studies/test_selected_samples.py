"""Selections: some samples of a set, one by one, in every verb that takes a set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import raymetrics as rm
from raymetrics.errors import RaymetricsError, ShardError, SpecMismatch, StorageError
from raymetrics.metrics import Convention
from raymetrics.shards.open_view import open_view
from raymetrics.shards.selection_files import selection_metadata, write_selection
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.view import Selection, View
from raymetrics.statistics import ColumnStatistic, Moments
from raymetrics.studies.resampled_metrics import Resampling, evaluate_resamplings
from tests.conftest import write_set

NAME = "made_up_pre_logits"


@pytest.fixture
def features(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        name: rng.normal(size=(200, d)).astype(np.float32)
        for name, d in (("pre_logits", 4), ("logits", 3))
    }


@pytest.fixture
def generated(tmp_path: Path, features: dict[str, np.ndarray]) -> ShardSet:
    return write_set(
        str(tmp_path / "generated"), features, labels=np.arange(200) % 7, shard_rows=30
    )


@pytest.fixture
def real(tmp_path: Path, rng: np.random.Generator) -> ShardSet:
    made = {
        "pre_logits": rng.normal(0.3, 1.2, (150, 4)).astype(np.float32),
        "logits": rng.normal(size=(150, 3)).astype(np.float32),
    }
    return write_set(str(tmp_path / "real"), made, shard_rows=64)


def chosen_by(path: Path, ids: list[int]) -> str:
    """A file that any program could have written."""
    pq.write_table(pa.table({"sample_id": ids}), path)
    return str(path)


# Of one shard, of several, in no order, drawn repeatedly, across a border, all.
@pytest.mark.parametrize(
    "ids",
    [[3], [3, 29, 30], [150, 2, 61], [5, 5, 5, 199, 199], list(range(25, 35)), list(range(200))],
)
def test_a_selection_is_read_as_a_set(
    generated: ShardSet, features: dict[str, np.ndarray], ids: list[int]
) -> None:
    view = View.from_shards(generated, selection=Selection.from_ids(np.array(ids)))
    ascending = np.sort(ids)
    assert len(view) == len(ids)
    assert view.repeats == (len(set(ids)) < len(ids))
    np.testing.assert_array_equal(view.sample_ids, ascending)
    np.testing.assert_array_equal(view.read(NAME), features["pre_logits"][ascending])
    np.testing.assert_array_equal(view.labels(), ascending % 7)
    assert sum(map(view.count, view.present)) == len(ids)
    assert all(map(view.count, view.present))
    first = view.first(2)
    np.testing.assert_array_equal(first.read(NAME), features["pre_logits"][ascending[:2]])


def test_digests_tell_selections_apart(generated: ShardSet) -> None:
    def digest(*ids: int) -> str:
        return View.from_shards(generated, selection=Selection.from_ids(np.array(ids))).digest()

    assert digest(1, 2) == digest(2, 1)
    assert len({digest(1, 2), digest(1, 3), digest(1, 2, 2), digest(1), digest(31)}) == 5
    assert View.from_shards(generated, 2).digest() != digest(0, 1)


def test_samples_that_are_not_there(generated: ShardSet, tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="does not have .*200, 300"):
        open_view(f"{generated.uri}?ids={chosen_by(tmp_path / 'x.parquet', [1, 200, 300])}")
    with pytest.raises(StorageError, match="no file .*nothing.parquet"):
        open_view(f"{generated.uri}?ids={tmp_path}/nothing.parquet")
    with pytest.raises(ShardError, match="has only the options ids=FILE"):
        open_view(f"{generated.uri}?first=3")


def test_files_of_other_sets_partial_ones_and_weights(
    generated: ShardSet, real: ShardSet, tmp_path: Path
) -> None:
    path = str(tmp_path / "chosen.parquet")
    ids = {"sample_id": np.arange(5)}
    other = write_set(
        str(tmp_path / "other"), {"pre_logits": np.zeros((9, 4), np.float32)}, extractor="other"
    )
    write_selection(path, ids, selection_metadata("accepted", View.from_shards(other)))
    with pytest.raises(SpecMismatch, match="accepted of another shard set, .*other"):
        open_view(f"{generated.uri}?ids={path}")
    write_selection(
        path, ids, selection_metadata("accepted", View.from_shards(generated), complete=False)
    )
    with pytest.raises(ShardError, match="only a part of the accepted"):
        open_view(f"{generated.uri}?ids={path}")
    assert len(open_view(f"{generated.uri}?ids={path}&partial=yes")) == 5
    write_selection(
        path,
        {**ids, "weight": np.full(5, 0.2)},
        selection_metadata("weights", View.from_shards(generated)),
    )
    with pytest.raises(ShardError, match="weights of all candidates and chooses none"):
        open_view(f"{generated.uri}?ids={path}")


def test_export_of_a_selection(
    generated: ShardSet, features: dict[str, np.ndarray], tmp_path: Path
) -> None:
    uri = f"{generated.uri}?ids={chosen_by(tmp_path / 'x.parquet', [190, 7, 7])}"
    rm.export(uri, to=str(tmp_path / "arrays"), format="npy")
    np.testing.assert_array_equal(np.load(tmp_path / "arrays" / "sample_id.npy"), [7, 7, 190])
    found = np.load(tmp_path / "arrays" / f"{NAME}.npy")
    np.testing.assert_array_equal(found, features["pre_logits"][[7, 7, 190]])


@pytest.mark.usefixtures("ray_session")
class TestEvaluation:
    def test_of_a_selection_equals_that_of_the_arrays(
        self,
        generated: ShardSet,
        real: ShardSet,
        features: dict[str, np.ndarray],
        tmp_path: Path,
        rng: np.random.Generator,
    ) -> None:
        ids = np.sort(rng.choice(200, 90, replace=False))
        uri = f"{generated.uri}?ids={chosen_by(tmp_path / 'x.parquet', ids.tolist())}"
        small = Convention(kid_subsets=5, kid_subset_size=40)
        found = rm.evaluate(
            real=real.uri, generated=uri, metrics=["fid", "kid", "pr", "is"], convention=small
        )
        values = {result.metric: result.value for result in found}
        sides = {"real": real.read(NAME), "generated": features["pre_logits"][ids]}
        assert values["frechet_distance"] == pytest.approx(rm.frechet_distance(**sides), rel=1e-9)
        kernel = rm.kernel_distance(**sides, subsets=5, subset_size=40)
        assert values["kernel_distance"] == pytest.approx(kernel.mean, rel=1e-9)
        assert values["precision"] == rm.precision_recall(**sides).precision
        assert values["recall"] == rm.precision_recall(**sides).recall
        side = found[0].generated
        assert (side.count, side.samples) == (90, ())
        assert side.selection["file"] == str(tmp_path / "x.parquet")
        assert side.selection["digest"] == Selection.from_ids(ids).digest
        assert rm.Result.from_json(found[0].to_json()) == found[0]

    def test_of_repeated_samples(
        self, generated: ShardSet, real: ShardSet, features: dict[str, np.ndarray], tmp_path: Path
    ) -> None:
        ids = np.sort(np.random.default_rng(3).choice(200, 90))
        uri = f"{generated.uri}?ids={chosen_by(tmp_path / 'x.parquet', ids.tolist())}"
        small = Convention(kid_subsets=5, kid_subset_size=40)
        metrics = ["fid", "kid", "top1", "vendi"]
        found = rm.evaluate(real=real.uri, generated=uri, metrics=metrics, convention=small)
        values = {result.metric: result.value for result in found}
        sides = {"real": real.read(NAME), "generated": features["pre_logits"][ids]}
        assert values["frechet_distance"] == pytest.approx(rm.frechet_distance(**sides), rel=1e-9)
        kernel = rm.kernel_distance(**sides, subsets=5, subset_size=40)
        assert values["kernel_distance"] == pytest.approx(kernel.mean, rel=1e-9)
        with pytest.raises(RaymetricsError, match="drawn with repetitions, of which is, pr cannot"):
            rm.evaluate(real=real.uri, generated=uri, metrics=["fid", "pr", "is"])

    def test_draws_are_the_mean_over_seeds(
        self, generated: ShardSet, real: ShardSet, features: dict[str, np.ndarray]
    ) -> None:
        """One pass for all of them gives what a set of each would."""
        rng = np.random.default_rng(5)
        draws = [
            Resampling("random", [np.sort(rng.choice(200, 80, replace=False)) for _ in range(3)]),
            Resampling("drawn again", [np.sort(rng.choice(200, 80))], {"scheme": "any"}),
        ]
        small = Convention(kid_subsets=5, kid_subset_size=40)
        found = evaluate_resamplings(
            real=real.uri, generated=generated.uri, resamplings=draws, convention=small
        )
        by_label = {result.label: result for result in found}
        assert len(by_label) == 8
        for way in draws:
            sides = [
                {"real": real.read(NAME), "generated": features["pre_logits"][ids]}
                for ids in way.ids
            ]
            expected = [rm.frechet_distance(**of_seed) for of_seed in sides]
            result = by_label[f"FD made-up, {way.name}"]
            np.testing.assert_allclose(result.details["values"], expected, rtol=1e-9)
            assert result.value == pytest.approx(np.mean(expected), rel=1e-9)
            spread = None if len(expected) == 1 else pytest.approx(np.std(expected, ddof=1))
            assert result.spread == spread
            kernels = [
                rm.kernel_distance(**of_seed, subsets=5, subset_size=40, seed=seed).mean
                for seed, of_seed in enumerate(sides)
            ]
            result = by_label[f"KD made-up, {way.name}"]
            np.testing.assert_allclose(result.details["values"], kernels, rtol=1e-9)
            result = by_label[f"MIND made-up, {way.name}"]
            minds = [rm.in_memory.mind(**of_seed) for of_seed in sides]
            np.testing.assert_allclose(result.details["values"], minds, rtol=1e-6)
            assert result.convention["compared"] == 80
            result = by_label[f"Top-1 distance made-up, {way.name}"]
            counts = np.bincount(features["logits"][way.ids[0]].argmax(axis=1), minlength=3)
            assert result.details["generated"] == counts.tolist()
            assert result.generated.count == 80
        assert by_label["FD made-up, drawn again"].convention["scheme"] == "any"

    def test_draws_that_cannot_be_compared(self, generated: ShardSet, real: ShardSet) -> None:
        sides = {"real": real.uri, "generated": generated.uri}
        uneven = [Resampling("a", [np.arange(5)]), Resampling("b", [np.arange(6)])]
        with pytest.raises(RaymetricsError, match=r"draws of \[5, 6\] samples"):
            evaluate_resamplings(**sides, resamplings=uneven)
        with pytest.raises(RaymetricsError, match="which take 1000; ask for more, or leave kid"):
            evaluate_resamplings(**sides, resamplings=[Resampling("a", [np.arange(5)])])
        with pytest.raises(RaymetricsError, match="does not hold sample 200, nor 0 more"):
            evaluate_resamplings(**sides, resamplings=[Resampling("a", [np.array([3, 200])])])
        with pytest.raises(RaymetricsError, match="there are fid, kid, top1, mind, not pr"):
            evaluate_resamplings(
                **sides, resamplings=[Resampling("a", [np.arange(5)])], metrics=["pr"]
            )


@pytest.mark.parametrize("copies", [1, 2])
def test_the_samples_of_a_draw_among_those_of_a_shard(copies: int) -> None:
    """A sample counts as often as it was drawn, however often the set repeats it."""
    among = ColumnStatistic("x", lambda ids, x: Moments.from_samples(x), np.array([2, 2, 5, 9]))
    values = np.arange(6.0)[:, None]
    block = {"sample_id": np.repeat([1, 2, 4, 5, 6, 8], copies), "x": np.repeat(values, copies, 0)}
    assert among(block).count == 3
    np.testing.assert_array_equal(among(block).mean, values[[1, 1, 3]].mean(axis=0))
    assert among({"sample_id": np.array([30, 31]), "x": values[:2]}).count == 0


@given(st.lists(st.integers(0, 30)), st.lists(st.integers(0, 30)))
def test_a_draw_takes_the_first_row_of_every_id_that_it_names(
    present: list[int], drawn: list[int]
) -> None:
    """Whatever a block repeats, lacks, or has beside them."""
    ids, subset = np.sort(np.array(present, np.int64)), np.sort(np.array(drawn, np.int64))
    rows = ColumnStatistic("x", lambda ids, x: x, subset)(
        {"sample_id": ids, "x": np.arange(len(ids))}
    )
    found = ids.tolist()
    assert rows.tolist() == [found.index(k) for k in subset.tolist() if k in found]
