"""Shards, seals and specifications that are not as they were written: one line names which."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from raymetrics.cli import main
from raymetrics.errors import RaymetricsError, ShardError
from raymetrics.reports.terminal import describe_shard_set
from raymetrics.shards import schema
from raymetrics.shards.foreign.export import export
from raymetrics.shards.layout import DATASET, MANIFEST, create_or_extend_spec, shard_name
from raymetrics.shards.seal import seal_set
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.writer import commit_shard
from tests.conftest import write_set

NAME = "made_up_pre_logits"
SECOND = shard_name(range(100, 200))


@pytest.fixture
def features(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(250, 6)).astype(np.float32)


@pytest.fixture
def shards(tmp_path: Path, features: np.ndarray) -> ShardSet:
    labels = np.arange(250) % 3
    return write_set(str(tmp_path / "set"), {"pre_logits": features}, labels=labels)


def rewrite(shards: ShardSet, change: Callable[[pa.Table], pa.Table]) -> None:
    """Another program writes the second shard anew, and keeps its footer."""
    path = Path(shards.uri, SECOND)
    table = pq.read_table(path)
    changed = change(table)
    metadata = {**(changed.schema.metadata or {}), **table.schema.metadata}
    pq.write_table(changed.replace_schema_metadata(metadata), path)


def with_ids(ids: list[int | None]) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(0, "sample_id", pa.array(ids, pa.int64()))


def with_features(column: pa.Array) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.column_names.index(NAME), NAME, column)


def tensors(values: np.ndarray) -> pa.Array:
    kind = pa.fixed_shape_tensor(pa.from_numpy_dtype(values.dtype), [values.shape[1]])
    flat = pa.array(values.reshape(-1))
    storage = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return pa.ExtensionArray.from_storage(kind, storage)


def with_nulls() -> pa.Array:
    flat = pa.array([None, *range(599)], pa.float32())
    storage = pa.FixedSizeListArray.from_arrays(flat, 6)
    return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), [6]), storage)


ONCE = "does not hold the samples 100-199 once each and in order"
DAMAGES = {
    "ids twice": (with_ids([100, *range(100, 199)]), ONCE),
    "ids in another order": (with_ids([*range(199, 99, -1)]), ONCE),
    "ids of others": (with_ids([*range(100)]), ONCE),
    "ids null": (with_ids([None, *range(101, 200)]), "lacks 1 values of sample_id"),
    "float16": (with_features(tensors(np.zeros((100, 6), np.float16))), r"is halffloat \[6\]"),
    "width": (with_features(tensors(np.zeros((100, 4), np.float32))), r"is float \[4\], expected"),
    "numbers null": (with_features(with_nulls()), f"lacks 1 values of {NAME}"),
    "rows null": (
        with_features(pa.nulls(100, pa.fixed_shape_tensor(pa.float32(), [6]))),
        f"lacks 100 values of {NAME}",
    ),
    "one number": (with_features(pa.array(np.zeros(100))), "is double, expected float"),
    "rows": (lambda table: table.slice(0, 99), "has 99 rows, expected 100"),
    "two columns": (
        lambda table: table.append_column(NAME, table[NAME]),
        r"is float \[6\], float \[6\], expected",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_shard_of_the_wrong_form_is_named_by_who_reads_it(shards, tmp_path, damage) -> None:
    change, words = DAMAGES[damage]
    rewrite(shards, change)
    with pytest.raises(ShardError, match=f"{SECOND}.*{words}|{NAME} in .*{SECOND} {words}"):
        open_shards(shards.uri).read(NAME)
    with pytest.raises(ShardError, match=SECOND):
        open_shards(shards.uri).verify()
    for form in ("npy", "npz", "huggingface", "webdataset"):
        to = tmp_path / f"exported.{form}"
        with pytest.raises(ShardError, match=SECOND):
            export(shards.uri, to=str(to), format=form)
        assert not to.exists()


def test_labels_are_read_as_they_were_written(shards) -> None:
    labels = pa.array([0.5] * 100)
    rewrite(shards, lambda table: table.set_column(1, "label", labels))
    with pytest.raises(ShardError, match=f"label in .*{SECOND} is double, expected int64"):
        open_shards(shards.uri).block(range(100, 200), ["label"])


def test_a_shard_of_another_run_in_the_place_of_a_sealed_one(shards, tmp_path, features) -> None:
    """It has the same fingerprint and range; whoever reads it, a worker too, knows the seal."""
    swapped = write_set(
        str(tmp_path / "another"), {"pre_logits": features + 1}, labels=np.zeros(250, int)
    )
    assert swapped.spec.fingerprint == shards.spec.fingerprint
    Path(shards.uri, SECOND).write_bytes(Path(swapped.uri, SECOND).read_bytes())
    words = f"{SECOND} holds values of digest .*, manifest.json promises .*--samples 100-199"
    for known in (None, [range(100, 200)]):
        with pytest.raises(ShardError, match=words):
            open_shards(shards.uri, known).block(range(100, 200), [NAME])
    done = CliRunner().invoke(main, ["inspect", shards.uri, "--verify"])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert SECOND in done.stderr


def test_a_sealed_shard_that_is_made_again_is_not_held_against_the_old_seal(
    shards, tmp_path, features
) -> None:
    """On another kind of machine the last bits may be others."""
    Path(shards.uri, SECOND).unlink()
    create_or_extend_spec(shards.store, shards.spec)
    found = open_shards(shards.uri)
    assert found.promises == {}
    labels, ids = np.arange(250) % 3, np.arange(100, 200)
    table = schema.to_table(
        shards.spec.columns, ids, labels[100:200], {NAME: np.nextafter(features[100:200], 9)}
    )
    commit_shard(shards.store, table, shards.spec.fingerprint, made_on=["another"])
    again = seal_set(open_shards(shards.uri))
    again.verify()
    assert again.digest != shards.digest
    assert again.manifest["made_on"] == ["another"]


def test_a_seal_whose_digest_is_not_of_its_shards_is_none(shards) -> None:
    manifest = json.loads(Path(shards.uri, MANIFEST).read_text())
    manifest["digest"] = "0" * 64
    Path(shards.uri, MANIFEST).write_text(json.dumps(manifest))
    found = open_shards(shards.uri)
    assert found.seal is None
    assert found.digest == shards.digest


def test_a_manifest_of_an_earlier_version_is_read(shards) -> None:
    manifest = json.loads(Path(shards.uri, MANIFEST).read_text())
    del manifest["made_on"]
    Path(shards.uri, MANIFEST).write_text(json.dumps(manifest))
    found = open_shards(shards.uri)
    assert found.seal == manifest
    assert "made on" not in describe_shard_set(found)


WRONG = [
    None,
    True,
    -1,
    1.5,
    "x",
    "",
    [],
    [1],
    {},
    {"": 1},
    {"x": {}},
    float("nan"),
    10**30,
    "0-" + "9" * 20,
]


def mutations(value: Any) -> list[Any]:
    """The same with a field that is lost, or that holds something else; at every depth."""
    found: list[Any] = []
    for key in value if isinstance(value, dict) else range(len(value)):
        for wrong in WRONG:
            changed = copy.copy(value)
            changed[key] = wrong
            found.append(changed)
        if isinstance(value, dict):
            found.append({name: v for name, v in value.items() if name != key})
        if isinstance(value[key], dict | list):
            for inner in mutations(value[key]):
                changed = copy.copy(value)
                changed[key] = inner
                found.append(changed)
    return found


def test_any_dataset_json_is_read_or_refused_in_one_line(shards) -> None:
    path = Path(shards.uri, DATASET)
    for changed in [*mutations(json.loads(path.read_text())), [], 3, "x", None]:
        path.write_text(json.dumps(changed))
        require_read_or_refused(shards.uri)
    for text in (b"\xff", b"", b"[" * 100_000, b'{"schema": 2, "schema": NaN}'):
        path.write_bytes(text)
        with pytest.raises(ShardError, match=r"dataset\.json is damaged.*restore it"):
            open_shards(shards.uri)


def test_any_manifest_json_is_read_or_ignored(shards) -> None:
    path = Path(shards.uri, MANIFEST)
    for changed in [*mutations(json.loads(path.read_text())), [], 3, "x", None]:
        path.write_text(json.dumps(changed))
        require_read_or_refused(shards.uri)


def test_any_footer_is_read_or_refused_in_one_line(shards) -> None:
    path = Path(shards.uri, SECOND)
    table = pq.read_table(path)
    footer = json.loads(table.schema.metadata[schema.METADATA_KEY])
    footer |= {"left_out": {}, "drawn": {"0": 3}, "rows": 3, "made_on": ["here"]}
    texts = [json.dumps(changed) for changed in [*mutations(footer), [], 3, None, {"a": 1}]]
    for text in [*texts, "", "{", "[" * 100_000]:
        pq.write_table(table.replace_schema_metadata({schema.METADATA_KEY: text}), path)
        require_read_or_refused(shards.uri)
    with pytest.raises(
        ShardError, match=f"{SECOND} has a damaged footer .*; remove it and extract"
    ):
        open_shards(shards.uri).read(NAME)


def require_read_or_refused(uri: str) -> None:
    """One line, if anything is wrong; never an error that is not ours."""
    refused = ""
    try:
        found = open_shards(uri)
        describe_shard_set(found)
        found.verify()
    except RaymetricsError as error:
        refused = error.message
    assert "\n" not in refused
    assert not refused or uri in refused
