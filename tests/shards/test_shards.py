"""Shard sets on disk: read by other programs, whole or absent, never of two makes."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raymetrics import sample_ranges
from raymetrics.errors import ExtractorError, ShardError, SpecMismatch, StorageError
from raymetrics.shards import layout, schema
from raymetrics.shards.seal import seal_set
from raymetrics.shards.shard_set import open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.writer import commit_shard
from tests.conftest import write_set


@pytest.fixture
def features(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(250, 6)).astype(np.float32)


@pytest.fixture
def shard_set(tmp_path: Path, features: np.ndarray):
    labels = np.arange(250) % 3
    return write_set(str(tmp_path / "set"), {"pre_logits": features}, labels=labels)


NAME = "made_up_pre_logits"


def test_read_back(shard_set, features) -> None:
    assert len(shard_set) == 250
    assert [len(r) for r in shard_set.present] == [100, 100, 50]
    np.testing.assert_array_equal(shard_set.read(NAME), features)
    with pytest.raises(ShardError, match=f"no column 'x'; it has {NAME}"):
        shard_set.read("x")
    with pytest.raises(ShardError, match=rf"has no column x; it has sample_id, label, {NAME}; nam"):
        shard_set.block(range(100), ["x"])


def test_plain_pyarrow(shard_set, features) -> None:
    table = pq.read_table(shard_set.uri + "/samples-000000000000-000000000099.parquet")
    assert table.schema.field("sample_id").type == pa.int64()
    assert isinstance(table.schema.field(NAME).type, pa.FixedShapeTensorType)
    found = table[NAME].chunk(0).to_numpy_ndarray()
    np.testing.assert_array_equal(found, features[:100])
    assert table["label"].to_pylist() == [i % 3 for i in range(100)]


def test_pandas(shard_set, features) -> None:
    files = sorted(Path(shard_set.uri).glob("*.parquet"))
    frame = pd.concat([pd.read_parquet(file) for file in files])
    np.testing.assert_array_equal(np.stack(frame[NAME].to_numpy()), features)
    assert frame["sample_id"].tolist() == list(range(250))


def test_duckdb(shard_set, features) -> None:
    query = f"select sample_id, {NAME} as x, label from '{shard_set.uri}/*.parquet' order by 1"
    rows = duckdb.sql(query).fetchall()
    np.testing.assert_array_equal(np.array([x for _, x, _ in rows], np.float32), features)
    mean = duckdb.sql(f"select avg({NAME}[1]) from '{shard_set.uri}/*.parquet'").fetchall()
    assert mean[0] == pytest.approx((features[:, 0].mean(dtype=np.float64),))


def test_polars_in_a_process_without_raymetrics(shard_set, features, tmp_path) -> None:
    code = (
        "import sys, numpy, polars; "
        f"frame = polars.read_parquet({shard_set.uri + '/*.parquet'!r}).sort('sample_id'); "
        f"numpy.save({str(tmp_path / 'x.npy')!r}, frame[{NAME!r}].ext.storage().to_numpy()); "
        "assert not [m for m in sys.modules if m.startswith(('raymetrics', 'ray', 'torch'))]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), features)
    assert pl.read_parquet(shard_set.uri + "/*.parquet")["label"].dtype == pl.Int64


def test_the_same_features_are_the_same_bytes(tmp_path, features) -> None:
    folders = [write_set(str(tmp_path / name), {"pre_logits": features}) for name in ("a", "b")]
    first, second = (
        {file.name: file.read_bytes() for file in Path(s.uri).glob("*.parquet")} for s in folders
    )
    assert first == second
    assert folders[0].digest == folders[1].digest


def test_first_writer_wins(tmp_path) -> None:
    store = Store(str(tmp_path / "set"))
    assert store.create("x", b"first")
    assert not store.create("x", b"second")
    assert store.read("x") == b"first"
    store.replace("x", b"third")
    assert store.read("x") == b"third"
    assert store.names() == {"x": 5}


def test_another_scheme(features) -> None:
    """The path that object stores take, on fsspec's file system in memory."""
    shards = write_set("memory://of-shards/set", {"pre_logits": features})
    np.testing.assert_array_equal(shards.read(NAME), features)
    assert shards.seal is not None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_nothing_behind(shard_set, features, monkeypatch, code) -> None:
    store = shard_set.store
    before = store.names()

    def full(_: int) -> None:
        raise OSError(code, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="no space left.*run the same command again"):
        store.create("samples-000000000250-000000000299.parquet", b"x" * 100)
    with pytest.raises(StorageError, match="no space left"):
        store.replace("manifest.json", b"")
    monkeypatch.undo()
    assert store.names() == before
    assert open_shards(shard_set.uri).seal is not None


def test_places_that_cannot_be_used(tmp_path) -> None:
    with pytest.raises(StorageError, match="'nosuch://x'.*expected a path or an s3:// prefix"):
        Store("nosuch://x")
    with pytest.raises(StorageError, match="no shard set at .*found nothing.*raymetrics extract"):
        open_shards(str(tmp_path / "absent"))
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="is a file"):
        open_shards(str(tmp_path / "file"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("")
    with pytest.raises(StorageError, match=r"1 files but no dataset\.json"):
        open_shards(str(tmp_path / "other"))


def test_nan_is_refused_on_the_way_in_and_on_the_way_out(shard_set, features) -> None:
    bad = features[:10].copy()
    bad[3, 2] = np.nan
    with pytest.raises(ExtractorError, match="1 of 10 samples, the first is sample 253"):
        schema.to_table(shard_set.spec.columns, np.arange(250, 260), None, {NAME: bad})
    # Somebody else's writer may not have looked.
    path = shard_set.uri + "/samples-000000000000-000000000099.parquet"
    table = pq.read_table(path)
    values = features[:100].copy()
    values[7] = np.inf
    index = table.schema.get_field_index(NAME)
    pq.write_table(
        table.set_column(index, table.schema.field(NAME), schema.to_tensor_array(values)), path
    )
    with pytest.raises(ShardError, match=r"NaN or infinite for 1 samples \(7\); remove"):
        list(shard_set.blocks([NAME]))


def test_wrong_shapes_are_refused(shard_set, features) -> None:
    columns, ids = shard_set.spec.columns, np.arange(10)
    for wrong in (features[:10].astype(np.float64), features[:10, :5], features[:9]):
        with pytest.raises(ExtractorError, match=r"expected float32 \[10, 6\]"):
            schema.to_table(columns, ids, None, {NAME: wrong})


def test_a_lost_block_never_becomes_a_short_shard(shard_set, features) -> None:
    ids = np.array([300, 301, 303])
    table = schema.to_table(shard_set.spec.columns, ids, None, {NAME: features[:3]})
    before = shard_set.store.names()
    with pytest.raises(ShardError, match="unbroken range"):
        commit_shard(shard_set.store, table, shard_set.spec.fingerprint)
    with pytest.raises(ShardError, match="unbroken range"):
        commit_shard(shard_set.store, table.slice(0, 0), shard_set.spec.fingerprint)
    assert shard_set.store.names() == before


def test_missing_shards_are_named_with_the_command_that_makes_them(shard_set) -> None:
    Path(shard_set.uri, "samples-000000000100-000000000199.parquet").unlink()
    shards = open_shards(shard_set.uri)
    assert shards.missing == [range(100, 200)]
    assert shards.seal is None
    with pytest.raises(
        ShardError, match=r"lacks samples 100-199; make them with: raymetrics extract"
    ):
        shards.require_complete()
    with pytest.raises(ShardError, match="lacks"):
        seal_set(shards)


def test_a_damaged_shard_is_found(shard_set, features) -> None:
    path = Path(shard_set.uri, "samples-000000000000-000000000099.parquet")
    whole = path.read_bytes()
    place = whole.index(features[0].tobytes())
    path.write_bytes(whole[:place] + b"\x00\x00\x00\x00" + whole[place + 4 :])
    with pytest.raises(ShardError, match="1 shards.*digest.*extract again"):
        open_shards(shard_set.uri).verify()
    path.write_bytes(whole[:-9])
    with pytest.raises(ShardError, match="cannot read"):
        open_shards(shard_set.uri).read(NAME)


def test_a_shard_of_another_set_is_found(shard_set, tmp_path, features) -> None:
    spec = {"name": "made-up", "resize": "other"}
    other = write_set(str(tmp_path / "other"), {"pre_logits": features}, spec=spec)
    name = "samples-000000000000-000000000099.parquet"
    Path(shard_set.uri, name).write_bytes(Path(other.uri, name).read_bytes())
    with pytest.raises(ShardError, match="not of this set|of set"):
        open_shards(shard_set.uri).read(NAME)
    (Path(shard_set.uri) / "manifest.json").unlink()
    with pytest.raises(ShardError, match="not of this set"):
        _ = open_shards(shard_set.uri).digest


def test_a_shard_under_another_name_is_found(shard_set) -> None:
    first = Path(shard_set.uri, "samples-000000000000-000000000099.parquet")
    first.with_name("samples-000000000300-000000000399.parquet").write_bytes(first.read_bytes())
    with pytest.raises(ShardError, match="holds samples 0-99 of set .*expected 300-399"):
        open_shards(shard_set.uri).read(NAME)


def test_a_set_of_keep_accepted_is_refused(shard_set) -> None:
    """Its shards lack rows that a reader would call damage."""
    dataset = Path(shard_set.uri, layout.DATASET)
    dataset.write_text(
        json.dumps({**json.loads(dataset.read_text()), "accepted": {"column": NAME}})
    )
    with pytest.raises(ShardError, match="was written by match --keep accepted, .*--as shards"):
        open_shards(shard_set.uri)


def test_empty_shards_and_damaged_seals_are_errors_of_ours(shard_set) -> None:
    manifest = Path(shard_set.uri, "manifest.json")
    for text in ("{", "[]", '{"shards": 3}'):
        manifest.write_text(text)
        assert open_shards(shard_set.uri).seal is None
    Path(shard_set.uri, "samples-000000000100-000000000199.parquet").write_bytes(b"")
    with pytest.raises(ShardError, match="cannot read .*remove it and extract again"):
        _ = open_shards(shard_set.uri).digest


def test_every_gap_has_its_own_command(shard_set) -> None:
    for ids in ("000000000000-000000000099", "000000000200-000000000249"):
        Path(shard_set.uri, f"samples-{ids}.parquet").unlink()
    first, second = open_shards(shard_set.uri).extraction_command().split(" && ")
    assert first.endswith("--samples 0-99")
    assert second.endswith("--samples 200-249")


def test_what_the_file_system_raises_is_told_in_one_kind(shard_set, monkeypatch) -> None:
    class NoCredentialsError(Exception):
        """Not an OSError, like botocore's."""

    def fails(*_: object, **__: object) -> None:
        raise NoCredentialsError("Unable to locate credentials")

    monkeypatch.setattr(shard_set.store.fs, "ls", fails)
    with pytest.raises(StorageError, match="cannot list .*NoCredentialsError: Unable to locate"):
        shard_set.store.names()


def test_a_set_of_another_make_is_refused_field_by_field(shard_set, features) -> None:
    with pytest.raises(
        SpecMismatch, match=r'extractors\.0\.resize: there "none", asked for "clean"'
    ):
        write_set(
            shard_set.uri, {"pre_logits": features}, spec={"name": "made-up", "resize": "clean"}
        )
    assert open_shards(shard_set.uri).seal is not None


def test_a_set_that_was_begun_and_never_filled_may_become_another(tmp_path, features) -> None:
    folder = tmp_path / "set"
    shards = write_set(str(folder), {"pre_logits": features})
    for file in folder.glob("*.parquet"):
        file.unlink()
    # Fewer samples than the one that was begun wanted.
    again = write_set(str(folder), {"pre_logits": features[:50]}, spec={"name": "other"})
    assert again.spec.samples == (range(50),)
    assert again.spec.fingerprint != shards.spec.fingerprint
    assert again.seal is not None


def test_dataset_json_of_another_version_or_damaged(shard_set) -> None:
    path = Path(shard_set.uri, layout.DATASET)
    value = json.loads(path.read_text())
    path.write_text(json.dumps({**value, "schema": 99}))
    with pytest.raises(ShardError, match=f"schema 99, this raymetrics reads {schema.VERSION}"):
        open_shards(shard_set.uri)
    path.write_text("{")
    with pytest.raises(ShardError, match=r"dataset\.json is damaged"):
        open_shards(shard_set.uri)


def test_spec_round_trip(shard_set) -> None:
    text = shard_set.spec.to_json()
    again = layout.DatasetSpec.from_json(text, "there")
    assert again == shard_set.spec
    assert again.to_json() == text
    assert sample_ranges.count_ids(again.samples) == 250
