"""Files of chosen samples: read as they were written, or refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raymetrics.errors import ShardError, SpecMismatch, StorageError
from raymetrics.shards.schema import METADATA_KEY
from raymetrics.shards.selection_files import (
    read_selection,
    read_weights,
    selection_metadata,
    write_selection,
)
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.view import View
from tests.conftest import write_set

IDS = np.array([3, 5, 8, 9])
WEIGHTS = np.array([0.1, 0.2, 0.3, 0.4])


@pytest.fixture
def shards(tmp_path: Path, rng: np.random.Generator) -> ShardSet:
    features = {"pre_logits": rng.normal(size=(10, 3)).astype(np.float32)}
    write_set(str(tmp_path / "set"), features, shard_rows=4)
    return open_shards(str(tmp_path / "set"))


@pytest.fixture
def file(shards: ShardSet, tmp_path: Path) -> str:
    """Weights of four of the ten samples."""
    path = str(tmp_path / "chosen" / "weights.parquet")
    columns = {"sample_id": IDS, "weight": WEIGHTS}
    write_selection(
        path, columns, selection_metadata("weights", View.from_shards(shards), trace=[1.5, 1.25])
    )
    return path


def test_read_as_written(file, shards) -> None:
    choice = read_weights(file)
    np.testing.assert_array_equal(choice.sample_ids, IDS)
    np.testing.assert_array_equal(choice.columns["weight"], WEIGHTS)
    assert choice.metadata["trace"] == [1.5, 1.25]
    assert (choice.kind, choice.complete, len(choice)) == ("weights", True, 4)
    assert choice.require_made_from(shards) is choice
    assert [path.name for path in Path(file).parent.iterdir()] == ["weights.parquet"]
    # Any program reads it.
    assert pq.read_table(file).to_pydict() == {"sample_id": [3, 5, 8, 9], "weight": [*WEIGHTS]}


def test_of_another_set_and_of_samples_that_are_not_there(file, tmp_path, shards, rng) -> None:
    features = {"pre_logits": rng.normal(size=(9, 3)).astype(np.float32)}
    other = write_set(str(tmp_path / "other"), features, extractor="other")
    with pytest.raises(SpecMismatch, match=rf"{shards.uri} \(\w{{12}}\), not of {other.uri} "):
        read_weights(file).require_made_from(other)
    fewer = write_set(str(tmp_path / "fewer"), {"pre_logits": features["pre_logits"]})
    with pytest.raises(ShardError, match=r"1 samples that .*fewer does not have \(9\)"):
        read_weights(file).require_made_from(fewer)


def test_a_partial_choice_is_taken_only_where_it_is_asked_for(file, shards) -> None:
    write_selection(
        file,
        {"sample_id": IDS},
        selection_metadata("accepted", View.from_shards(shards), complete=False),
    )
    with pytest.raises(ShardError, match="only a part of the accepted"):
        read_selection(file)
    assert not read_selection(file, partial=True).complete


def test_files_of_other_programs_need_no_metadata(tmp_path, shards) -> None:
    path = tmp_path / "ids.parquet"
    pq.write_table(pa.table({"sample_id": pa.array([2, 2, 7], pa.int32())}), path)
    choice = read_selection(str(path)).require_made_from(shards)
    assert choice.sample_ids.dtype == np.int64
    assert choice.sample_ids.tolist() == [2, 2, 7]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"sample_id": [1, 2], "weight": [0.5, float("nan")]}, "1 weights that are negative or no"),
        ({"sample_id": [1, 2], "weight": [1.5, -0.5]}, "the first of sample 2"),
        ({"sample_id": [1, 2], "weight": [0.5, 0.6]}, "sum to 1.1, expected 1"),
        ({"sample_id": [1, 1], "weight": [0.5, 0.5]}, "several weights of the same sample"),
        ({"sample_id": [1, None], "weight": [0.5, 0.5]}, "lacks 1 values of sample_id"),
        ({"sample_id": ["a", "b"], "weight": [0.5, 0.5]}, "sample_id string.*expected sample_id i"),
        ({"sample_id": [1, 2], "weight": ["a", "b"]}, "one number a row in each"),
        ({"sample_id": [1, 2], "p": [0.5, 0.5]}, "expected weight too"),
        ({"weight": [1.0]}, "has columns weight double; expected sample_id"),
    ],
)
def test_what_is_no_file_of_weights(tmp_path, columns, message) -> None:
    path = tmp_path / "weights.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(ShardError, match=message):
        read_weights(str(path))


def test_missing_and_truncated_files(file, tmp_path) -> None:
    with pytest.raises(StorageError, match=r"no file .*nothing\.parquet"):
        read_weights(str(tmp_path / "nothing.parquet"))
    Path(file).write_bytes(Path(file).read_bytes()[:-20])
    with pytest.raises(ShardError, match="cannot read .*weights.parquet: ArrowInvalid"):
        read_weights(file)


def test_a_place_that_cannot_be_written_keeps_what_was_there(file, shards, tmp_path) -> None:
    before = Path(file).read_bytes()
    metadata = selection_metadata("weights", View.from_shards(shards))
    with pytest.raises(StorageError, match="cannot write"):
        write_selection(f"{file}/weights.parquet", {"sample_id": IDS}, metadata)
    assert Path(file).read_bytes() == before


TWO_IDS = pa.table({"sample_id": pa.array([1, 2], pa.int64())})
TWICE = pa.Table.from_arrays(
    [TWO_IDS["sample_id"], TWO_IDS["sample_id"]], ["sample_id", "sample_id"]
)
WEIGHTS_TWICE = pa.Table.from_arrays([TWO_IDS["sample_id"]] * 3, ["sample_id", "weight", "weight"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            TWO_IDS.replace_schema_metadata({METADATA_KEY: b"[]"}),
            "it holds a list, expected an object",
        ),
        (TWO_IDS.replace_schema_metadata({METADATA_KEY: b"[" * 100_000}), "RecursionError"),
        (TWICE, "Multiple matches"),
        (WEIGHTS_TWICE, "Multiple matches"),
        (pa.table({"sample_id": pa.array([2**63 + 1], pa.uint64())}), "expected sample_id int64"),
    ],
    ids=["a list", "a tower", "ids twice", "weights twice", "ids beyond 63 bits"],
)
def test_what_is_no_selection(tmp_path: Path, table: pa.Table, message: str) -> None:
    pq.write_table(table, tmp_path / "ids.parquet")
    with pytest.raises(ShardError, match=message):
        read_selection(str(tmp_path / "ids.parquet"))


def test_a_small_file_of_more_rows_than_memory_holds(tmp_path: Path) -> None:
    path = tmp_path / "ids.parquet"
    ids = pa.table({"sample_id": np.zeros(10**7, np.int64)})
    with pq.ParquetWriter(path, ids.schema) as writer:
        for _ in range(11):
            writer.write_table(ids)
    assert path.stat().st_size < 10**6
    with pytest.raises(ShardError, match="has 110000000 rows, expected at most 100000000"):
        read_selection(str(path))
