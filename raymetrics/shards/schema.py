"""What is in a shard: sample ids, labels and prompts where known, and a tensor column per space.

Only Arrow's own types: int64, string, and the canonical fixed-shape tensor of float32, whose
storage is a fixed-size list. PyArrow, pandas, DuckDB and Polars read them without raymetrics.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raymetrics.errors import ExtractorError, ShardError
from raymetrics.shards import json_fields
from raymetrics.shards.json_fields import DIGEST, TEXT, object_of, whole_number

VERSION = 2
SAMPLE_ID = "sample_id"
LABEL = "label"
PROMPT = "prompt"
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


def require_distinct_names(columns: Sequence[Column]) -> None:
    """Raise ShardError unless every column has a name of its own, of letters, digits, _ and -.

    The names become those of files, and of columns in other programs.
    """
    for column in columns:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", f"{column.extractor}{column.output}"):
            raise ShardError(
                f"a column cannot be called {column.name!r}; expected letters, digits, _ and -"
            )
    names = [column.name for column in columns]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ShardError(
            f"several columns are called {', '.join(sorted(repeated))}; give one of the extractors "
            "another name: '?name=...'"
        )


def make_columns(extractor: str, outputs: Mapping[str, int]) -> tuple[Column, ...]:
    """Make one column for each output of an extractor."""
    return tuple(Column(extractor, output, d) for output, d in outputs.items())


def to_tensor_array(values: np.ndarray) -> pa.ExtensionArray:
    """Convert float32 [n, d] to Arrow's fixed-shape tensor, without copying."""
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
    prompts: Sequence[str] | None = None,
) -> pa.Table:
    """Make a table of samples. sample_ids int64 [n]; labels int64 [n] or None;
    features float32 [n, d] by column name; prompts n texts or None. ExtractorError if a feature is
    not finite, ShardError for another number of prompts."""
    arrays: dict[str, pa.Array] = {SAMPLE_ID: pa.array(sample_ids, pa.int64())}
    if labels is not None:
        arrays[LABEL] = pa.array(labels, pa.int64())
    if prompts is not None:
        if len(prompts) != len(sample_ids):
            raise ShardError(
                f"{len(prompts)} of {len(sample_ids)} samples have a prompt, expected one for each"
            )
        arrays[PROMPT] = pa.array(prompts, pa.string())
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
        arrays[column.name] = to_tensor_array(values)
    return pa.table(arrays)


def to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """Convert a column to numpy: int64 [n], objects of str [n], or float32 [n, d] of tensors."""
    if isinstance(column.type, pa.FixedShapeTensorType):
        chunks = [chunk.to_numpy_ndarray() for chunk in column.chunks]
        width = tuple(column.type.shape)
        return np.concatenate(chunks) if chunks else np.empty((0, *width), np.float32)
    if pa.types.is_string(column.type):
        return np.array(column.to_pylist(), object)
    if column.null_count or not column.chunks:
        values: np.ndarray = column.to_numpy()
        return values
    # `to_numpy` of integers loads pandas, for half a second; `from_dlpack` does not.
    return np.concatenate([np.from_dlpack(chunk) for chunk in column.chunks])


def table_digest(table: pa.Table) -> str:
    """Compute the SHA-256 of the values of a shard, whichever program wrote the file."""
    total = hashlib.sha256()
    for name in table.column_names:
        values = to_numpy(table[name])
        if values.dtype == object:
            total.update(f"{name} utf8 {values.shape};".encode())
            for text in values:
                encoded = text.encode()
                total.update(len(encoded).to_bytes(8, "little") + encoded)
            continue
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
    # Of a shard that lacks samples which could not be made: which, and why.
    left_out: Mapping[str, str] | None = None
    # The kinds of machine that it was made on; equal bits are promised on equal ones.
    made_on: Sequence[str] = ()

    @property
    def ids(self) -> range:
        """The samples that the shard stands for."""
        return range(self.first, self.last + 1)

    def within(self, ids: range) -> Footer:
        """Return the footer with only those left-out samples that lie in `ids`."""
        lacks = {s: why for s, why in (self.left_out or {}).items() if int(s) in ids}
        return replace(self, left_out=lacks or None)


_NEEDED = {"fingerprint": DIGEST, "first": whole_number(), "last": whole_number(), "digest": DIGEST}
_OPTIONAL = {
    "left_out": object_of(TEXT, str.isdecimal),
    "made_on": json_fields.list_of(TEXT),
}


def encode_shard(
    table: pa.Table,
    fingerprint: str,
    ids: range | None = None,
    left_out: Mapping[int, str] | None = None,
    made_on: Sequence[str] = (),
) -> bytes:
    """Encode one shard as Parquet. The same table, made on the same kinds of machine, gives the
    same bytes.

    ids: the samples that it stands for, if it lacks some of them, which are left out.
    """
    if ids is None:
        sample_ids = to_numpy(table[SAMPLE_ID])
        ids = range(int(sample_ids[0]), int(sample_ids[-1]) + 1)
    lacks = {str(sample): why for sample, why in sorted((left_out or {}).items())} or None
    machines = sorted(set(made_on))
    footer = Footer(
        fingerprint,
        ids.start,
        ids.stop - 1,
        table_digest(table),
        lacks,
        machines,
    )
    footer_fields = {
        name: value for name, value in asdict(footer).items() if value not in (None, [])
    }
    metadata = {METADATA_KEY: json.dumps(footer_fields)}
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


def read_footer(schema: pa.Schema, where: str) -> Footer:
    """Read the footer of a shard's schema. ShardError if it is damaged, or the file not ours."""
    metadata = (schema.metadata or {}).get(METADATA_KEY)
    if metadata is None:
        raise ShardError(f"{where} is a Parquet file, but not a shard that raymetrics wrote")
    try:
        value = json_fields.parse_object(metadata)
        json_fields.require_fields(value, _NEEDED, _OPTIONAL)
    except json_fields.PARSE_ERRORS as error:
        raise ShardError(
            f"{where} has a damaged footer ({error}); remove it and extract again"
        ) from None
    known_fields = Footer.__dataclass_fields__  # a later version may tell more
    return Footer(**{name: content for name, content in value.items() if name in known_fields})


def require_column_types(
    schema: pa.Schema,
    columns: Sequence[Column],
    facts: Mapping[str, bool],
    names: Sequence[str],
    where: str,
) -> None:
    """Raise ShardError unless the named fields of a shard are there, once each, and of the types
    that the columns of the set have.

    facts: whether the set has each of the columns LABEL and PROMPT.
    """
    optional = {LABEL: pa.int64(), PROMPT: pa.string()}
    types = {SAMPLE_ID: pa.int64()} | {name: optional[name] for name in facts if facts[name]}
    types |= {c.name: pa.fixed_shape_tensor(pa.float32(), [c.dimension]) for c in columns}
    absent = [name for name in names if name not in schema.names]
    if absent:
        raise ShardError(
            f"{where} has no column {', '.join(absent)}; it has {', '.join(schema.names)}; name "
            "one of these, or extract to another place with extractors that give it"
        )
    for name in names:
        column_types = [field.type for field in schema if field.name == name]
        if column_types != [types.get(name)]:
            expected = _describe_type(types[name]) if name in types else "no such column"
            raise ShardError(
                f"{name} in {where} is {', '.join(map(_describe_type, column_types))}, expected "
                f"{expected}; it is not as it was written: remove it and extract again"
            )


def _describe_type(arrow_type: pa.DataType) -> str:
    if isinstance(arrow_type, pa.FixedShapeTensorType):
        return f"{arrow_type.value_type} {arrow_type.shape}"
    return str(arrow_type)


def require_no_nulls(table: pa.Table, where: str) -> None:
    """Raise ShardError if any value is null."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        null_count = sum(map(_count_nulls, column.chunks))
        if null_count:
            raise ShardError(
                f"{where} lacks {null_count} values of {name}, expected none; it is not as it was "
                "written: remove it and extract again"
            )


def _count_nulls(chunk: pa.Array) -> int:
    """Count the null rows of a column, and the null numbers in them."""
    inner = chunk.storage.flatten().null_count if isinstance(chunk, pa.ExtensionArray) else 0
    return int(chunk.null_count or inner)
