"""Shard sets as other programs take them: whole or not at all, shard by shard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from raymetrics.errors import NotEnoughData, RaymetricsError, ShardError, StorageError
from raymetrics.output_names import NOT_FEATURES
from raymetrics.shards.foreign.atomic_folder import new_folder
from raymetrics.shards.foreign.huggingface_export import write_huggingface
from raymetrics.shards.foreign.npy_export import write_npy
from raymetrics.shards.foreign.npz_export import statistics_npz
from raymetrics.shards.foreign.shard_set_export import write_shard_set
from raymetrics.shards.foreign.webdataset_export import write_webdataset
from raymetrics.shards.open_view import open_view
from raymetrics.shards.schema import Column
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.store import Store
from raymetrics.shards.view import View
from raymetrics.shards.writable import require_writable_store

_FOLDER_WRITERS: Mapping[str, Callable[..., None]] = {
    "npy": write_npy,
    "huggingface": write_huggingface,
    "webdataset": write_webdataset,
    "shards": write_shard_set,
}
_FORMATS = ("npz", *_FOLDER_WRITERS)


def export(
    shards: str | ShardSet,
    *,
    to: str,
    format: str,
    columns: Sequence[str] | None = None,
    samples: int | None = None,
    ddof: int = 1,
) -> str:
    """Write a complete shard set in another format, and return `to`, which must not exist yet.

    format: "npz", one file with mu and sigma of one column, as pytorch-fid and its kin read it;
    or a local folder: "npy", a float32 array [n, d] for each column, beside sample_id.npy;
    "huggingface", what `datasets.load_dataset` reads; "webdataset", tar files; "shards", a sealed
    shard set of these samples, whose ids are counted anew from 0.
    columns: only these; by default all, or of npz the only one that is not logits.
    samples: only the first so many, by sample id.
    ddof: of npz, whose covariance is divided by count - ddof.

    No more than a shard is in memory. StorageError if `to` is there or cannot be written,
    ShardError for an incomplete set or a column that is not there, NotEnoughData.
    """
    if format not in _FORMATS:
        raise RaymetricsError(f"no format {format!r}; there are {', '.join(_FORMATS)}")
    view = open_view(shards if isinstance(shards, str) else shards.uri)
    shard_set = view.shards
    if samples is not None and not 1 <= samples <= len(view):
        raise NotEnoughData(
            f"the first {samples} samples are asked for, {shard_set.uri} has {len(view)}; ask for "
            f"1 to {len(view)}, or extract more"
        )
    view = view if samples is None else view.first(samples)
    chosen = _select_columns(shard_set, columns)
    if format == "npz":
        _write_npz(view, _single_column(chosen, shard_set), to, ddof)
        return to
    with new_folder(to) as folder:
        _FOLDER_WRITERS[format](view, chosen, folder)
    return to


def _select_columns(shards: ShardSet, names: Sequence[str] | None) -> list[Column]:
    """Return the columns of these names; all by default. Raise ShardError for an unknown name."""
    for name in names or ():
        if name not in shards.columns:
            raise ShardError(
                f"{shards.uri} has no column {name!r}; it has {', '.join(shards.columns)}"
            )
    return [shards.columns[name] for name in dict.fromkeys(names or shards.columns)]


def _single_column(columns: Sequence[Column], shards: ShardSet) -> Column:
    """Return the only column, or the only one of features. Raise ShardError for several."""
    features = [column for column in columns if column.output not in NOT_FEATURES]
    for candidates in (columns, features):
        if len(candidates) == 1:
            return candidates[0]
    raise ShardError(
        f"npz holds one column, {shards.uri} has {', '.join(c.name for c in columns)}; name one "
        "of them (--column)"
    )


def _write_npz(view: View, column: Column, destination: str, ddof: int) -> None:
    """Write one file, also to an object store."""
    folder, _, name = destination.rpartition("/")
    store = Store(folder or ("/" if destination.startswith("/") else "."))
    if not name.endswith(".npz"):
        raise StorageError(
            f"{destination} is no name of a .npz file, by which other programs know it"
        )
    require_writable_store(store.uri)
    exists_error = StorageError(
        f"{destination} is there already; remove it, or export to another place"
    )
    if name in store.names():
        raise exists_error
    if not store.create(name, statistics_npz(view, column, ddof)):
        raise exists_error
