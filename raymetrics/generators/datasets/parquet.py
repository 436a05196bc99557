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
from raymetrics.generators.datasets.entries import Entries, checked_size
from raymetrics.generators.datasets.files import Place
from raymetrics.generators.datasets.images import MAX_BYTES, BrokenImage

MAX_GROUP_BYTES = 2**31
GROUPS_HELD = 2  # so that threads on both sides of a border do not take turns


@dataclass(frozen=True)
class Group:
    """A row group: `first` is the index of its first image."""

    file: str
    index: int
    first: int
    leaf: str  # the path of the column that holds the bytes


def open_parquet(place: Place, column: str = "image", label: str | None = None) -> Entries:
    """The rows of Parquet files; SourceError for a column or a size that cannot be."""
    files = {name: n for name, n in place.files.items() if not name or name.endswith(".parquet")}
    names: list[str] = []
    labels: list[int | str | None] = []
    groups: list[Group] = []
    for file in files:
        with place.open(file) as opened:
            table = parquet_file(opened, place.where(file))
            leaf = leaf_of(table, column, place.where(file))
            for index in range(table.num_row_groups):
                check_group(table, index, leaf, place.where(file))
                groups.append(Group(file, index, len(labels), leaf))
                labels += labels_of(table, index, label, place.where(file))
        rows = table.metadata.num_rows
        names += [f"{file}/{row}" if file else str(row) for row in range(rows)]
    if not names:
        raise SourceError(f"no rows in {place.uri}")

    held = Held(lambda group: cells(place, group))

    def read(index: int) -> bytes:
        group = groups[bisect.bisect_right(groups, index, key=lambda g: g.first) - 1]
        data: bytes | None = held(group)[index - group.first].as_py()
        if data is None:
            raise BrokenImage("its row holds no bytes, only a path or nothing")
        checked_size(len(data), MAX_BYTES)
        return data

    options = {"column": column} if label is None else {"column": column, "label": label}
    return Entries("parquet", place, files, names, labels, read, options)


def parquet_file(opened: object, where: str) -> Any:
    """A pyarrow.parquet.ParquetFile; SourceError if it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(opened)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{where} is no whole Parquet file: {error}") from None


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


def check_group(table: Any, index: int, leaf: str, where: str) -> None:
    """SourceError if a row group's images would take more memory than a worker should give."""
    group = table.metadata.row_group(index)
    columns = [group.column(i) for i in range(group.num_columns)]
    size = sum(c.total_uncompressed_size for c in columns if c.path_in_schema == leaf)
    if size > MAX_GROUP_BYTES:
        raise SourceError(
            f"row group {index} of {where} holds {size / 2**30:.1f} GiB of images, at most "
            f"{MAX_GROUP_BYTES / 2**30:.0f} are read; write the file again in smaller row groups"
        )


def labels_of(table: Any, index: int, label: str | None, where: str) -> list[int | str | None]:
    """The classes of a row group, None where there is no column of them."""
    import pyarrow as pa

    name = label or "label"
    if name not in table.schema_arrow.names:
        if label is not None:
            raise SourceError(f"{where} has no column {label!r} for the labels")
        return [None] * table.metadata.row_group(index).num_rows
    kind = table.schema_arrow.field(name).type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (pa.types.is_integer(kind) or text):
        raise SourceError(
            f"the column {name!r} of {where} holds {kind}; expected whole numbers or names"
        )
    found: list[int | str | None] = table.read_row_group(index, columns=[name])[0].to_pylist()
    return found


def cells(place: Place, group: Group) -> Any:
    """The bytes of a group's images, as an Arrow column."""
    import pyarrow as pa

    where = place.where(group.file)
    with place.open(group.file) as opened:
        table = parquet_file(opened, where)
        try:
            return table.read_row_group(group.index, columns=[group.leaf]).flatten().column(0)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"cannot read row group {group.index} of {where}: {error}") from None


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
