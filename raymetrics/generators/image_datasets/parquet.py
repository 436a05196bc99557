"""Open Parquet files with one image in each row as a data set, like those of Hugging Face.

The set is one file or a folder of files. The column `image` (or `column=NAME`) holds image files,
as binary or as a struct with a field `bytes`. The column `label` (or `label=NAME`) holds whole
numbers or names of classes; a set without it has no classes. With `prompts=NAME` a column of text
holds the prompts. The order is that of the files' paths, then of their rows.

Whole row groups are read, and the last few are kept in memory, so that ascending ids read each
group once.
"""

from __future__ import annotations

import bisect
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from raymetrics.errors import SourceError
from raymetrics.generators.image_datasets.decode import BrokenImage
from raymetrics.generators.image_datasets.file_access import COPY_HINT, DataLocation
from raymetrics.generators.image_datasets.image_list import (
    ImageList,
    require_encoded_size,
    require_plausible_count,
)
from raymetrics.generators.image_datasets.prompts import require_prompt
from raymetrics.safe_archives.damage import require_undamaged

MAX_GROUP_BYTES = 2**31
# Limits for the classes of a row group: all names, each once, and a number for each row.
_MAX_LABEL_BYTES, _BYTES_PER_NUMBER = 2**26, 16
_MAX_GROUPS = 2  # in memory; with one, threads on both sides of a border would reload in turns


@dataclass(frozen=True)
class RowGroup:
    """A row group of a file; `first` is the index in the set of the group's first image."""

    file: str
    index: int
    first: int
    rows: int
    bytes_column: str  # the path of the column that holds the bytes


def open_parquet(
    location: DataLocation,
    column: str = "image",
    label: str | None = None,
    prompts: str | None = None,
) -> ImageList:
    """List the images in Parquet files.

    Raises SourceError for damaged files, for a column that is missing or of another type, and for
    row groups that are too large.
    """
    files = {name: n for name, n in location.files.items() if not name or name.endswith(".parquet")}
    names: list[str] = []
    labels: list[int | str | None] = []
    texts: list[str] = []
    groups: list[RowGroup] = []
    for file in files:
        where = location.display_path(file)
        damage = require_undamaged(SourceError, f"{where} is no whole Parquet file", COPY_HINT)
        with location.open(file) as opened, damage:
            table = _open_parquet_file(opened)
            bytes_column = _find_bytes_column(table, column, where)
            counts = _row_counts(table, location.files[file], where)
            for index, rows in enumerate(counts):
                _require_small_group(table, index, where)
                groups.append(RowGroup(file, index, len(labels), rows, bytes_column))
                labels += _read_labels(opened, table, groups[-1], label, where)
                if prompts is not None:
                    texts += _read_prompts(opened, table, groups[-1], prompts, where)
        names += [f"{file}/{row}" if file else str(row) for row in range(sum(counts))]
    if not names:
        raise SourceError(f"no rows in {location.uri}")

    cache = _RowGroupCache(lambda group: image_cells(location, group))

    def read(index: int) -> bytes:
        group = groups[bisect.bisect_right(groups, index, key=lambda g: g.first) - 1]
        column = cache(group)
        if isinstance(column, BrokenImage):
            raise BrokenImage(column.message)
        data: bytes | None = column[index - group.first].as_py()
        if data is None:
            raise BrokenImage("its row holds no bytes, only a path or nothing")
        require_encoded_size(len(data))
        return data

    options = {"column": column} if label is None else {"column": column, "label": label}
    if prompts is None:
        return ImageList("parquet", location, files, names, labels, read, options)
    options |= {"prompts": prompts}
    return ImageList("parquet", location, files, names, labels, read, options, texts)


def _open_parquet_file(opened: object, **options: Any) -> Any:
    """Open a pyarrow.parquet.ParquetFile; raises pyarrow's errors if the file is none."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(opened, **options)


def _find_bytes_column(table: Any, column: str, where: str) -> str:
    """Return the path of the column with the bytes of the images; SourceError without one."""
    import pyarrow as pa

    schema = table.schema_arrow
    if column not in schema.names:
        raise SourceError(
            f"{where} has no column {column!r}, but {', '.join(schema.names)}; choose the one "
            "that holds image files with ?column="
        )
    kind = schema.field(column).type
    bytes_column = column
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        bytes_column, kind = f"{column}.bytes", kind.field("bytes").type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise SourceError(
            f"the column {column!r} of {where} holds {kind}; expected the bytes of image files, "
            "as binary or as struct<bytes: binary, path: string>"
        )
    return bytes_column


def _row_counts(table: Any, size: int, where: str) -> list[int]:
    """Return the number of rows of each row group of a file of `size` bytes.

    Raises ValueError if they contradict the file's own count, SourceError if the file announces
    more rows than it can hold.
    """
    announced = table.metadata.num_rows
    counts = [table.metadata.row_group(i).num_rows for i in range(table.num_row_groups)]
    if min(counts, default=0) < 0 or sum(counts) != announced:
        raise ValueError(f"its row groups do not have the {announced} rows that it announces")
    require_plausible_count(announced, size, where)
    return counts


def _require_small_group(table: Any, index: int, where: str) -> None:
    """Raise SourceError if a row group would take more than `MAX_GROUP_BYTES` of memory.

    The size is that of all columns. The size of one column is not read: for damaged statistics
    RowGroupMetaData.column ends the process, as pyarrow does not catch that ParquetException.
    """
    size = table.metadata.row_group(index).total_byte_size
    if size > MAX_GROUP_BYTES:
        raise SourceError(
            f"row group {index} of {where} holds {size / 2**30:.1f} GiB, at most "
            f"{MAX_GROUP_BYTES / 2**30:.0f} are read; write the file again in smaller row groups"
        )


def _read_labels(
    opened: object, table: Any, group: RowGroup, label: str | None, where: str
) -> list[int | str | None]:
    """Read the classes of a row group; None for each row if the file has no column of classes.

    Raises SourceError for a column of another type, or of too many bytes.
    """
    name = label or "label"
    if name not in table.schema_arrow.names:
        if label is not None:
            raise SourceError(f"{where} has no column {label!r} for the labels")
        return [None] * group.rows
    _require_classes(table.schema_arrow.field(name).type, f"the column {name!r} of {where}")
    column = _read_column(opened, group, name, table.metadata)
    limit = _MAX_LABEL_BYTES + _BYTES_PER_NUMBER * group.rows
    if column.nbytes > limit:
        raise SourceError(
            f"the column {name!r} of {where} holds {column.nbytes} bytes in row group "
            f"{group.index}, at most {limit} are read as classes; choose another with ?label="
        )
    return [value for chunk in column.chunks for value in _column_values(chunk)]


def _read_prompts(opened: object, table: Any, group: RowGroup, name: str, where: str) -> list[str]:
    """Read the prompts of a row group. SourceError for a column that is missing or no text."""
    import pyarrow as pa

    if name not in table.schema_arrow.names:
        raise SourceError(
            f"{where} has no column {name!r} for the prompts, but "
            f"{', '.join(table.schema_arrow.names)}; choose one with ?prompts="
        )
    kind = table.schema_arrow.field(name).type
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(plain) or pa.types.is_large_string(plain)):
        raise SourceError(f"the column {name!r} of {where} holds {plain}; expected text")
    column = _read_column(opened, group, name, table.metadata)
    values = [value for chunk in column.chunks for value in _column_values(chunk)]
    return [require_prompt(value, f"row {i} of {where}") for i, value in enumerate(values)]


def _require_classes(kind: Any, what: str) -> None:
    """Raise SourceError unless an Arrow type is that of whole numbers or of text."""
    import pyarrow as pa

    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    checks = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string)
    if not any(check(plain) for check in checks):
        raise SourceError(f"{what} holds {plain}; expected whole numbers or names")


def _column_values(chunk: Any) -> list[int | str | None]:
    """Return the values of an Arrow array; rows share the text of a dictionary's values."""
    import pyarrow as pa

    if not pa.types.is_dictionary(chunk.type):
        values: list[int | str | None] = chunk.to_pylist()
        return values
    names = chunk.dictionary.to_pylist()
    return [None if i is None else names[i] for i in chunk.indices.to_pylist()]


def _read_column(opened: object, group: RowGroup, name: str, metadata: Any = None) -> Any:
    """Read and validate a column of a row group, as a dictionary that holds each value once.

    Raises ValueError, or an error of pyarrow's, if the column is damaged.
    """
    table = _open_parquet_file(opened, metadata=metadata, read_dictionary=[name])
    column = table.read_row_group(group.index, columns=[name]).flatten().column(0)
    column.validate(full=True)
    if len(column) != group.rows:
        raise ValueError(f"{len(column)} values in a row group of {group.rows}")
    return column


def image_cells(location: DataLocation, group: RowGroup) -> Any:
    """Read the bytes of a row group's images, as an Arrow column.

    Returns, and does not raise, a BrokenImage if the group is damaged: so a cache keeps the error,
    which then belongs to each image of the group.
    """
    damage = require_undamaged(BrokenImage, f"its row group {group.index} cannot be read")
    try:
        with location.open(group.file) as opened, damage:
            return _read_column(opened, group, group.bytes_column)
    except BrokenImage as error:
        return error


class _RowGroupCache:
    """A cache of the last few row groups; threads that need the same group read it once."""

    def __init__(self, load: Callable[[RowGroup], Any]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._groups: OrderedDict[RowGroup, Any] = OrderedDict()

    def __call__(self, group: RowGroup) -> Any:
        with self._lock:
            if group not in self._groups:
                while len(self._groups) >= _MAX_GROUPS:
                    self._groups.popitem(last=False)
                self._groups[group] = self._load(group)
            self._groups.move_to_end(group)
            return self._groups[group]
