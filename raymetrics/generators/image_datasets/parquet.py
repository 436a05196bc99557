"""Parquet: a file, or a folder of them, with one image a row, as Hugging Face's data sets are.

The column `image` (or `column=NAME`) holds image files: as binary, or as a struct with a
field `bytes`. The column `label` (or `label=NAME`), if there is one, holds whole numbers or
names of classes. The order is that of the files' paths, then of their rows.

One row group at a time is in memory, so that ids in order read each group once.
"""

from __future__ import annotations

import bisect
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from raymetrics.errors import SourceError
from raymetrics.generators.image_datasets.decode import MAX_BYTES, BrokenImage
from raymetrics.generators.image_datasets.file_access import COPIED, Place
from raymetrics.generators.image_datasets.image_list import (
    Entries,
    checked_size,
    require_plausible_count,
)
from raymetrics.safe_archives.damage import refuse_damage

MAX_GROUP_BYTES = 2**31
# Of the classes of a row group: names, each once, and a number for each row.
MAX_LABEL_BYTES, BYTES_OF_NUMBER = 2**26, 16
GROUPS_HELD = 2  # so that threads on both sides of a border do not take turns


@dataclass(frozen=True)
class Group:
    """A row group: `first` is the index of its first image."""

    file: str
    index: int
    first: int
    rows: int
    leaf: str  # the path of the column that holds the bytes


def open_parquet(place: Place, column: str = "image", label: str | None = None) -> Entries:
    """The rows of Parquet files; SourceError for a column or a size that cannot be."""
    files = {name: n for name, n in place.files.items() if not name or name.endswith(".parquet")}
    names: list[str] = []
    labels: list[int | str | None] = []
    groups: list[Group] = []
    for file in files:
        where = place.where(file)
        damage = refuse_damage(SourceError, f"{where} is no whole Parquet file", COPIED)
        with place.open(file) as opened, damage:
            table = parquet_file(opened)
            leaf = leaf_of(table, column, where)
            counts = row_counts(table, place.files[file], where)
            for index, rows in enumerate(counts):
                require_small_group(table, index, where)
                groups.append(Group(file, index, len(labels), rows, leaf))
                labels += labels_of(opened, table, groups[-1], label, where)
        names += [f"{file}/{row}" if file else str(row) for row in range(sum(counts))]
    if not names:
        raise SourceError(f"no rows in {place.uri}")

    held = Held(lambda group: cells(place, group))

    def read(index: int) -> bytes:
        group = groups[bisect.bisect_right(groups, index, key=lambda g: g.first) - 1]
        column = held(group)
        if isinstance(column, BrokenImage):
            raise BrokenImage(column.message)
        data: bytes | None = column[index - group.first].as_py()
        if data is None:
            raise BrokenImage("its row holds no bytes, only a path or nothing")
        checked_size(len(data), MAX_BYTES)
        return data

    options = {"column": column} if label is None else {"column": column, "label": label}
    return Entries("parquet", place, files, names, labels, read, options)


def parquet_file(opened: object, **options: Any) -> Any:
    """A pyarrow.parquet.ParquetFile; pyarrow's errors if it is none."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(opened, **options)


def leaf_of(table: Any, column: str, where: str) -> str:
    """The path of the column that holds the bytes of the images; SourceError without one."""
    import pyarrow as pa

    schema = table.schema_arrow
    if column not in schema.names:
        raise SourceError(
            f"{where} has no column {column!r}, but {', '.join(schema.names)}; choose the one "
            "that holds image files with ?column="
        )
    kind = schema.field(column).type
    leaf = column
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        leaf, kind = f"{column}.bytes", kind.field("bytes").type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise SourceError(
            f"the column {column!r} of {where} holds {kind}; expected the bytes of image files, "
            "as binary or as struct<bytes: binary, path: string>"
        )
    return leaf


def row_counts(table: Any, size: int, where: str) -> list[int]:
    """The rows of every row group of a file of `size` bytes; ValueError if they contradict the
    file's own count, SourceError if there are more than it can hold."""
    announced = table.metadata.num_rows
    counts = [table.metadata.row_group(i).num_rows for i in range(table.num_row_groups)]
    if min(counts, default=0) < 0 or sum(counts) != announced:
        raise ValueError(f"its row groups do not have the {announced} rows that it announces")
    require_plausible_count(announced, size, where)
    return counts


def require_small_group(table: Any, index: int, where: str) -> None:
    """Raise SourceError if a row group would take more memory than a worker should give.

    The size is that of all columns: to ask for one, by RowGroupMetaData.column, ends the process
    where its statistics are damaged, as pyarrow does not catch that ParquetException.
    """
    size = table.metadata.row_group(index).total_byte_size
    if size > MAX_GROUP_BYTES:
        raise SourceError(
            f"row group {index} of {where} holds {size / 2**30:.1f} GiB, at most "
            f"{MAX_GROUP_BYTES / 2**30:.0f} are read; write the file again in smaller row groups"
        )


def labels_of(
    opened: object, table: Any, group: Group, label: str | None, where: str
) -> list[int | str | None]:
    """The classes of a row group, None where there is no column of them."""
    name = label or "label"
    if name not in table.schema_arrow.names:
        if label is not None:
            raise SourceError(f"{where} has no column {label!r} for the labels")
        return [None] * group.rows
    _require_classes(table.schema_arrow.field(name).type, f"the column {name!r} of {where}")
    column = whole_column(opened, group, name, table.metadata)
    limit = MAX_LABEL_BYTES + BYTES_OF_NUMBER * group.rows
    if column.nbytes > limit:
        raise SourceError(
            f"the column {name!r} of {where} holds {column.nbytes} bytes in row group "
            f"{group.index}, at most {limit} are read as classes; choose another with ?label="
        )
    return [value for chunk in column.chunks for value in _values_of(chunk)]


def _require_classes(kind: Any, what: str) -> None:
    """Raise SourceError unless this type of Arrow is that of whole numbers or of names."""
    import pyarrow as pa

    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_integer(plain) or pa.types.is_string(plain)
            or pa.types.is_large_string(plain)):  # fmt: skip
        raise SourceError(f"{what} holds {plain}; expected whole numbers or names")


def _values_of(chunk: Any) -> list[int | str | None]:
    """The values of an array; those of a dictionary are shared, not made again for every row."""
    import pyarrow as pa

    if not pa.types.is_dictionary(chunk.type):
        values: list[int | str | None] = chunk.to_pylist()
        return values
    names = chunk.dictionary.to_pylist()
    return [None if i is None else names[i] for i in chunk.indices.to_pylist()]


def whole_column(opened: object, group: Group, name: str, metadata: Any = None) -> Any:
    """A column of a row group, every value of which can be read, and is in memory once however
    often it is repeated; ValueError or an error of pyarrow's if it is not whole."""
    table = parquet_file(opened, metadata=metadata, read_dictionary=[name])
    column = table.read_row_group(group.index, columns=[name]).flatten().column(0)
    column.validate(full=True)
    if len(column) != group.rows:
        raise ValueError(f"{len(column)} values in a row group of {group.rows}")
    return column


def cells(place: Place, group: Group) -> Any:
    """The bytes of a group's images, as an Arrow column; or, as a BrokenImage that is not raised,
    what is wrong with all of them."""
    damage = refuse_damage(BrokenImage, f"its row group {group.index} cannot be read")
    try:
        with place.open(group.file) as opened, damage:
            return whole_column(opened, group, group.leaf)
    except BrokenImage as error:
        return error


class Held:
    """The last few row groups, each read once whichever thread asks first."""

    def __init__(self, load: Callable[[Group], Any]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._groups: OrderedDict[Group, Any] = OrderedDict()

    def __call__(self, group: Group) -> Any:
        with self._lock:
            if group not in self._groups:
                while len(self._groups) >= GROUPS_HELD:
                    self._groups.popitem(last=False)
                self._groups[group] = self._load(group)
            self._groups.move_to_end(group)
            return self._groups[group]
