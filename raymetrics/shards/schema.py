"""What is in a shard: sample ids, labels where known, and one tensor column per feature space.

Only Arrow's own types: int64, and the canonical fixed-shape tensor of float32, whose storage
is a fixed-size list. PyArrow, pandas, DuckDB and Polars read them without raymetrics.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raymetrics.errors import ExtractorError, ShardError

VERSION = 2
SAMPLE_ID = "sample_id"
LABEL = "label"
# Outputs of extractors that are no features, unless somebody takes them as such.
LOGITS = ("logits", "logits_unbiased")
SPATIAL = "spatial"
METADATA_KEY = b"raymetrics"


@dataclass(frozen=True)
class Column:
    """A feature space in a shard: which extractor made it, and which of its outputs it is."""

    extractor: str
    output: str
    dimension: int

    @property
    def name(self) -> str:
        """The name in the file; letters, digits and underscores, so that SQL needs no quotes."""
        return f"{self.extractor}_{self.output}".replace("-", "_")


def require_names(columns: Sequence[Column]) -> None:
    """ShardError unless every column has a name of its own, made of letters, digits, _ and -.

    The names become those of files, and of columns in other programs.
    """
    for column in columns:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", f"{column.extractor}{column.output}"):
            raise ShardError(
                f"a column cannot be called {column.name!r}; expected letters, digits, _ and -"
            )
    names = [column.name for column in columns]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ShardError(
            f"several columns are called {', '.join(sorted(twice))}; give one of the extractors "
            "another name: '?name=...'"
        )


def columns_of(extractor: str, outputs: Mapping[str, int]) -> tuple[Column, ...]:
    """One column per output of an extractor."""
    return tuple(Column(extractor, output, d) for output, d in outputs.items())


def tensors(values: np.ndarray) -> pa.ExtensionArray:
    """float32 [n, d] as Arrow's fixed-shape tensor, without copying."""
    _rows, dimension = values.shape
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    storage = pa.FixedSizeListArray.from_arrays(flat, dimension)
    tensor_type = pa.fixed_shape_tensor(pa.float32(), [dimension])
    return pa.ExtensionArray.from_storage(tensor_type, storage)


def to_table(
    columns: Sequence[Column],
    sample_ids: np.ndarray,
    labels: np.ndarray | None,
    features: Mapping[str, np.ndarray],
) -> pa.Table:
    """A table of samples. sample_ids int64 [n]; labels int64 [n] or None;
    features float32 [n, d] by column name. ExtractorError if a feature is not finite."""
    arrays: dict[str, pa.Array] = {SAMPLE_ID: pa.array(sample_ids, pa.int64())}
    if labels is not None:
        arrays[LABEL] = pa.array(labels, pa.int64())
    for column in columns:
        values = features[column.name]
        if values.dtype != np.float32 or values.shape != (len(sample_ids), column.dimension):
            raise ExtractorError(
                f"{column.extractor} gave {column.output} as {values.dtype} {list(values.shape)}, "
                f"expected float32 [{len(sample_ids)}, {column.dimension}]"
            )
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            bad = sample_ids[~finite]
            raise ExtractorError(
                f"{column.output} of {column.extractor} is NaN or infinite for {len(bad)} of "
                f"{len(finite)} samples, the first is sample {bad[0]}; look at that image and at "
                "the extractor's weights"
            )
        arrays[column.name] = tensors(values)
    return pa.table(arrays)


def to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """A column as numpy: int64 [n], or float32 [n, d] for a tensor column."""
    if isinstance(column.type, pa.FixedShapeTensorType):
        chunks = [chunk.to_numpy_ndarray() for chunk in column.chunks]
        width = tuple(column.type.shape)
        return np.concatenate(chunks) if chunks else np.empty((0, *width), np.float32)
    values: np.ndarray = column.to_numpy()
    return values


def digest(table: pa.Table) -> str:
    """SHA-256 of the values of a shard, whatever wrote the file."""
    total = hashlib.sha256()
    for name in table.column_names:
        values = to_numpy(table[name])
        total.update(f"{name} {values.dtype.str} {values.shape};".encode())
        total.update(np.ascontiguousarray(values).data)
    return total.hexdigest()


@dataclass(frozen=True)
class Footer:
    """What a shard says of itself, in the metadata of its Parquet schema."""

    fingerprint: str
    first: int
    last: int
    digest: str
    # Of a shard whose rejected rows were dropped: how many are left, and how many samples of each
    # class were drawn, by class.
    rows: int | None = None
    drawn: Mapping[str, int] | None = None
    # Of a shard that lacks samples which could not be made: which, and why.
    left_out: Mapping[str, str] | None = None


def encode(
    table: pa.Table,
    fingerprint: str,
    ids: range | None = None,
    drawn: Mapping[str, int] | None = None,
    left_out: Mapping[int, str] | None = None,
) -> bytes:
    """The Parquet file of one shard. The same table gives the same bytes.

    ids: the samples that it stands for, if it lacks some of them: because they are left out, or,
    with drawn, because they are not accepted.
    """
    if ids is None:
        sample_ids = to_numpy(table[SAMPLE_ID])
        ids = range(int(sample_ids[0]), int(sample_ids[-1]) + 1)
    rows = None if drawn is None else table.num_rows
    lacks = {str(sample): why for sample, why in sorted((left_out or {}).items())} or None
    footer = Footer(fingerprint, ids.start, ids.stop - 1, digest(table), rows, drawn, lacks)
    told = {name: value for name, value in asdict(footer).items() if value is not None}
    metadata = {METADATA_KEY: json.dumps(told)}
    buffer = io.BytesIO()
    # Dictionaries and statistics of float vectors cost much and tell nothing.
    pq.write_table(
        table.replace_schema_metadata(metadata),
        buffer,
        compression="none",
        use_dictionary=False,
        write_statistics=[SAMPLE_ID],
        row_group_size=16_384,
    )
    return buffer.getvalue()


def footer_of(schema: pa.Schema, where: str) -> Footer:
    """The footer in a shard's schema; ShardError if the file is none of ours."""
    metadata = (schema.metadata or {}).get(METADATA_KEY)
    if metadata is None:
        raise ShardError(f"{where} is a Parquet file, but not a shard that raymetrics wrote")
    return Footer(**json.loads(metadata))
