"""Files of chosen samples beside a shard set: which ones, and how much each of them counts.

A Parquet file with a column `sample_id`, others of one number a row, and in the schema's metadata
JSON of how they were chosen and from what: `kind`, the `fingerprint` and `uri` of the set, the
`digest` of its values, and whether the choice is `complete`. Other programs read it without us.

    accepted.parquet   sample_id int64, class int64, draw int64
    weights.parquet    sample_id int64, weight float64 (they sum to 1)
    drawn.parquet      sample_id int64, as often as it was drawn
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raymetrics.errors import ShardError, SpecMismatch, StorageError
from raymetrics.shards import json_fields
from raymetrics.shards.schema import METADATA_KEY, SAMPLE_ID
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.store import Store
from raymetrics.shards.view import View

WEIGHT = "weight"
_SUM_TOLERANCE = 1e-6  # of weights that another program wrote

_MAX_SAMPLES = 10**8  # of a file, which may announce more rows than any memory holds


@dataclass(frozen=True, eq=False)
class SelectionFile:
    """Some samples of a shard set."""

    path: str
    sample_ids: np.ndarray  # int64 [n]
    columns: Mapping[str, np.ndarray]  # the other columns, [n]
    metadata: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.sample_ids)

    @property
    def complete(self) -> bool:
        """False of what ended before all that was asked for was found."""
        return bool(self.metadata.get("complete", True))

    @property
    def kind(self) -> str:
        """ "accepted", "weights", "drawn"; "" of another program's file."""
        return str(self.metadata.get("kind", ""))

    def require_made_from(self, shards: ShardSet) -> SelectionFile:
        """Return the file itself.

        SpecMismatch if it was made from another set, ShardError if this set lacks some of the
        samples.
        """
        set_fingerprint, made_from = shards.spec.fingerprint, self.metadata.get("fingerprint", None)
        if made_from not in (None, set_fingerprint):
            raise SpecMismatch(
                f"{self.path} holds {self.kind or 'samples'} of another shard set, "
                f"{self.metadata.get('uri', '?')} ({str(made_from)[:12]}), not of {shards.uri} "
                f"({set_fingerprint[:12]}); name the set that it was made from, or make it again"
            )
        present_ids = View.from_shards(shards).sample_ids
        foreign = np.setdiff1d(self.sample_ids, present_ids)
        if len(foreign):
            first_ids = ", ".join(map(str, foreign[:5])) + (", ..." if len(foreign) > 5 else "")
            raise ShardError(
                f"{self.path} holds {len(foreign)} samples that {shards.uri} does not have "
                f"({first_ids}); name the set that it was made from, or extract them: "
                f"{shards.extraction_command()}"
            )
        return self


def selection_metadata(kind: str, view: View, **more: Any) -> dict[str, Any]:
    """Return the metadata of a choice from a view, with further fields."""
    shards = view.shards
    return {
        "kind": kind,
        "uri": shards.store.absolute_uri,
        "fingerprint": shards.spec.fingerprint,
        "digest": view.digest(),
        **more,
    }


def write_selection(
    path: str, columns: Mapping[str, np.ndarray], metadata: Mapping[str, Any]
) -> None:
    """Write the file whole, over an earlier one. columns: sample_id int64 [n] and others [n].
    StorageError leaves what was there."""
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    schema_metadata = {METADATA_KEY: json.dumps({"complete": True, **metadata})}
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(schema_metadata), buffer)
    folder, name = split_path(path)
    Store(folder).replace(name, buffer.getvalue())


def read_selection(path: str, *, partial: bool = False) -> SelectionFile:
    """Read the samples of a file, ours or any with a column `sample_id`. StorageError if there is
    none, ShardError if it is damaged, none of ours, or incomplete unless `partial` ones do."""
    folder, name = split_path(path)
    data = Store(folder).read(name)
    if data is None:
        raise StorageError(f"no file {path}; expected Parquet with a column {SAMPLE_ID}")
    try:
        rows = pq.read_metadata(io.BytesIO(data)).num_rows
        if rows > _MAX_SAMPLES:
            raise ShardError(f"{path} has {rows} rows, expected at most {_MAX_SAMPLES}")
        table = pq.read_table(io.BytesIO(data))
        metadata_json = (table.schema.metadata or {}).get(METADATA_KEY, b"{}")
        metadata = json_fields.parse_object(metadata_json)
    except (pa.ArrowException, OSError, *json_fields.PARSE_ERRORS) as error:
        raise ShardError(
            f"cannot read {path}: {type(error).__name__}: {error}; make it again"
        ) from None
    columns_text = ", ".join(f"{field.name} {field.type}" for field in table.schema)
    types = [field.type for field in table.schema if field.name == SAMPLE_ID]
    if len(types) != 1 or not pa.types.is_integer(types[0]) or types[0] == pa.uint64():
        raise ShardError(f"{path} has columns {columns_text or 'none'}; expected {SAMPLE_ID} int64")
    if not all(pa.types.is_primitive(field.type) for field in table.schema):
        raise ShardError(f"{path} has columns {columns_text}; expected one number a row in each")
    for column in table.column_names:
        if table[column].null_count:
            raise ShardError(f"{path} lacks {table[column].null_count} values of {column}")
    arrays = {column: table[column].to_numpy() for column in table.column_names}
    selection_file = SelectionFile(path, arrays.pop(SAMPLE_ID).astype(np.int64), arrays, metadata)
    if not (selection_file.complete or partial):
        raise ShardError(
            f"{path} is only a part of the {selection_file.kind} that were asked for; run the "
            "command that made it again, or take it as it is where that is offered"
        )
    return selection_file


def read_weights(path: str) -> SelectionFile:
    """Read a file with a column `weight`. Raise ShardError unless weights are at least 0 and sum
    to 1, one for each sample."""
    selection_file = read_selection(path)
    if WEIGHT not in selection_file.columns:
        column_names = ", ".join([SAMPLE_ID, *selection_file.columns])
        raise ShardError(f"{path} has columns {column_names}; expected {WEIGHT} too")
    weights = np.asarray(selection_file.columns[WEIGHT], np.float64)
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        first = selection_file.sample_ids[bad][0]
        raise ShardError(
            f"{path} has {bad.sum()} weights that are negative or no numbers, the first of "
            f"sample {first}; expected weights of at least 0 that sum to 1"
        )
    if abs(weights.sum() - 1) > _SUM_TOLERANCE:
        raise ShardError(f"the weights of {path} sum to {weights.sum():.9g}, expected 1")
    if len(np.unique(selection_file.sample_ids)) != len(selection_file):
        raise ShardError(f"{path} has several weights of the same sample; expected one of each")
    return selection_file


def split_path(path: str) -> tuple[str, str]:
    """Split the path of a file into its folder, or prefix, and its name there."""
    folder, slash, name = path.rpartition("/")
    return (folder or slash or "."), name
