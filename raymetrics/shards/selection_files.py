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
SUM_TOLERANCE = 1e-6  # of weights that another program wrote

MOST_SAMPLES = 10**8  # of a file, which may announce more rows than any memory holds


@dataclass(frozen=True, eq=False)
class Choice:
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

    def require_of(self, shards: ShardSet) -> Choice:
        """Itself. SpecMismatch if it was made from another set, ShardError if this one lacks
        some of its samples."""
        ours, of = shards.spec.fingerprint, self.metadata.get("fingerprint", None)
        if of not in (None, ours):
            raise SpecMismatch(
                f"{self.path} holds {self.kind or 'samples'} of another shard set, "
                f"{self.metadata.get('uri', '?')} ({str(of)[:12]}), not of {shards.uri} "
                f"({ours[:12]}); name the set that it was made from, or make it again"
            )
        there = View.of(shards).sample_ids
        foreign = np.setdiff1d(self.sample_ids, there)
        if len(foreign):
            some = ", ".join(map(str, foreign[:5])) + (", ..." if len(foreign) > 5 else "")
            raise ShardError(
                f"{self.path} holds {len(foreign)} samples that {shards.uri} does not have "
                f"({some}); name the set that it was made from, or extract them: "
                f"{shards.command()}"
            )
        return self


def made_of(kind: str, view: View, **more: Any) -> dict[str, Any]:
    """The metadata of a choice from a view, with whatever else there is to say."""
    of = view.shards
    return {
        "kind": kind,
        "uri": of.store.absolute_uri,
        "fingerprint": of.spec.fingerprint,
        "digest": view.digest(),
        **more,
    }


def write_choice(path: str, columns: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Writes the file whole, over an earlier one. columns: sample_id int64 [n] and others [n].
    StorageError leaves what was there."""
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    about = {METADATA_KEY: json.dumps({"complete": True, **metadata})}
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(about), buffer)
    folder, name = parts_of(path)
    Store(folder).replace(name, buffer.getvalue())


def read_choice(path: str, *, partial: bool = False) -> Choice:
    """The samples of a file, ours or any with a column `sample_id`. StorageError if there is
    none, ShardError if it is damaged, none of ours, or incomplete unless `partial` ones do."""
    folder, name = parts_of(path)
    data = Store(folder).read(name)
    if data is None:
        raise StorageError(f"no file {path}; expected Parquet with a column {SAMPLE_ID}")
    try:
        rows = pq.read_metadata(io.BytesIO(data)).num_rows
        if rows > MOST_SAMPLES:
            raise ShardError(f"{path} has {rows} rows, expected at most {MOST_SAMPLES}")
        table = pq.read_table(io.BytesIO(data))
        about = (table.schema.metadata or {}).get(METADATA_KEY, b"{}")
        metadata = json_fields.parse_object(about)
    except (pa.ArrowException, OSError, *json_fields.DAMAGES) as error:
        raise ShardError(
            f"cannot read {path}: {type(error).__name__}: {error}; make it again"
        ) from None
    there = ", ".join(f"{field.name} {field.type}" for field in table.schema)
    types = [field.type for field in table.schema if field.name == SAMPLE_ID]
    if len(types) != 1 or not pa.types.is_integer(types[0]) or types[0] == pa.uint64():
        raise ShardError(f"{path} has columns {there or 'none'}; expected {SAMPLE_ID} int64")
    if not all(pa.types.is_primitive(field.type) for field in table.schema):
        raise ShardError(f"{path} has columns {there}; expected one number a row in each")
    for column in table.column_names:
        if table[column].null_count:
            raise ShardError(f"{path} lacks {table[column].null_count} values of {column}")
    arrays = {column: table[column].to_numpy() for column in table.column_names}
    choice = Choice(path, arrays.pop(SAMPLE_ID).astype(np.int64), arrays, metadata)
    if not (choice.complete or partial):
        raise ShardError(
            f"{path} is only a part of the {choice.kind} that were asked for; run the command "
            "that made it again, or take it as it is where that is offered"
        )
    return choice


def read_weights(path: str) -> Choice:
    """The same with a column `weight`. ShardError unless they are at least 0 and sum to 1, one
    for each sample."""
    choice = read_choice(path)
    if WEIGHT not in choice.columns:
        there = ", ".join([SAMPLE_ID, *choice.columns])
        raise ShardError(f"{path} has columns {there}; expected {WEIGHT} too")
    weights = np.asarray(choice.columns[WEIGHT], np.float64)
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        first = choice.sample_ids[bad][0]
        raise ShardError(
            f"{path} has {bad.sum()} weights that are negative or no numbers, the first of "
            f"sample {first}; expected weights of at least 0 that sum to 1"
        )
    if abs(weights.sum() - 1) > SUM_TOLERANCE:
        raise ShardError(f"the weights of {path} sum to {weights.sum():.9g}, expected 1")
    if len(np.unique(choice.sample_ids)) != len(choice):
        raise ShardError(f"{path} has several weights of the same sample; expected one of each")
    return choice


def parts_of(path: str) -> tuple[str, str]:
    """The folder, or the prefix, of a file, and its name there."""
    folder, slash, name = path.rpartition("/")
    return (folder or slash or "."), name
