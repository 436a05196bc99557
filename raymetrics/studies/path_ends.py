"""The ends of interpolation paths: chosen, kept in a file, and of a source that has latents."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from raymetrics.errors import NotEnoughData, ShardError, SourceError
from raymetrics.generators import open_source
from raymetrics.generators.latents.interpolated_paths import from_latents
from raymetrics.provenance import fingerprint
from raymetrics.shards.layout import holds_set
from raymetrics.shards.store import Store
from raymetrics.shards.view import View

ENDS, SHARDS = "ends.parquet", "shards"


@dataclass(frozen=True, eq=False)
class Ends:
    """Pairs of samples, and R of each."""

    ids: np.ndarray  # int64 [paths, 2], start and end
    realism: np.ndarray  # float64 [paths, 2]


def ends_of(
    ids: np.ndarray, realism: np.ndarray, paths: int, least: float, told: Callable[[str], None]
) -> Ends:
    """The first samples with R >= least, in pairs: as many paths as are asked for, or as there are,
    which is told. ids: int64 [n], ascending; realism: float64 [n]. NotEnoughData for no path."""
    rows = np.flatnonzero(realism >= least)
    there = min(paths, len(rows) // 2)
    said = f"{len(rows)} of {len(ids)} samples have R >= {least:g}, {2 * paths} are needed"
    if not there:
        raise NotEnoughData(f"no path has two ends: {said} for {paths} paths; extract more")
    if there < paths:
        told(f"only {there} of {paths} paths: {said}; extract more for the rest")
    pairs = rows[: 2 * there].reshape(there, 2)
    return Ends(ids[pairs], realism[pairs])


def write_ends(to: str, ends: Ends) -> str:
    """The path of ends.parquet: start and end, int64, one row a path.

    A file of the same ends stays as it is, as the shards are of these very bytes. ShardError if
    there are shards of other ends.
    """
    store = Store(to)
    path = f"{store.absolute_uri}/{ENDS}"
    table = pa.table({"start": ends.ids[:, 0], "end": ends.ids[:, 1]})
    there = table_of(store.read(ENDS))
    if there is not None and there.equals(table):
        return path
    if holds_set(Store(f"{to}/{SHARDS}")):
        rows = "unreadable" if there is None else f"{there.num_rows}"
        raise ShardError(
            f"{path} holds {rows} paths and {to}/{SHARDS} their images, but {table.num_rows} "
            "paths between other samples are asked for; choose another --to"
        )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    store.replace(ENDS, buffer.getvalue())
    return path


def table_of(data: bytes | None) -> pa.Table | None:
    """What a Parquet file holds; None if there is none, or if it is damaged."""
    try:
        return None if data is None else pq.read_table(io.BytesIO(data))
    except pa.ArrowException:
        return None


def require_latent(source: str) -> str:
    """The fingerprint of a source. SourceError if its samples cannot be interpolated."""
    return fingerprint(from_latents(open_source(source, torch.device("cpu"))).spec)


def interpolated(view: View) -> str:
    """The source of a set. SourceError if it makes other images by now, or cannot be
    interpolated."""
    spec = view.shards.spec
    if require_latent(spec.source) != fingerprint(spec.generator):
        raise SourceError(
            f"{spec.source} is no longer what {view.shards.uri} was made from, so the ends would "
            "be other images; extract again to another place"
        )
    return spec.source
