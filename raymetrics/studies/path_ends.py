"""Choose the ends of interpolation paths, and write them to a file."""

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
from raymetrics.generators.base import LatentGenerator
from raymetrics.generators.latents.interpolated_paths import require_latents_source
from raymetrics.generators.latents.latent_batches import LatentsSource
from raymetrics.provenance import fingerprint
from raymetrics.shards.layout import holds_shard_set
from raymetrics.shards.store import Store
from raymetrics.shards.view import View

_ENDS_FILE, SHARDS_FOLDER = "ends.parquet", "shards"


@dataclass(frozen=True, eq=False)
class PathEnds:
    """Pairs of samples, and R of each."""

    ids: np.ndarray  # int64 [paths, 2], start and end
    realism: np.ndarray  # float64 [paths, 2]


def choose_ends(
    ids: np.ndarray,
    realism: np.ndarray,
    paths: int,
    minimum: float,
    on_message: Callable[[str], None],
    *,
    advice: str = "extract more",
    on_unfilled: str = "stop",
) -> PathEnds:
    """Pair the first samples with R >= minimum.

    ids: int64 [n], ascending; realism: float64 [n]. paths: how many pairs; if there are fewer,
    on_message says so, or NotEnoughData is raised where on_unfilled is "fail". advice: how there
    would be more. Raise NotEnoughData for no pair.
    """
    rows = np.flatnonzero(realism >= minimum)
    count = min(paths, len(rows) // 2)
    shortage = f"{len(rows)} of {len(ids)} samples have R >= {minimum:g}, {2 * paths} are needed"
    if not count:
        raise NotEnoughData(f"no path has two ends: {shortage} for {paths} paths; {advice}")
    if count < paths:
        line = f"only {count} of {paths} paths: {shortage}; {advice} for the rest"
        if on_unfilled == "fail":
            raise NotEnoughData(line)
        on_message(line)
    pairs = rows[: 2 * count].reshape(count, 2)
    return PathEnds(ids[pairs], realism[pairs])


def write_ends(to: str, ends: PathEnds) -> str:
    """Write start and end of every path to ends.parquet, int64, one row a path; return its path.

    A file of the same ends stays as it is, because the shards depend on its bytes. Raise ShardError
    if there are shards of other ends.
    """
    store = Store(to)
    path = f"{store.absolute_uri}/{_ENDS_FILE}"
    table = pa.table({"start": ends.ids[:, 0], "end": ends.ids[:, 1]})
    existing = _read_table_or_none(store.read(_ENDS_FILE))
    if existing is not None and existing.equals(table):
        return path
    if holds_shard_set(Store(f"{to}/{SHARDS_FOLDER}")):
        rows = "unreadable" if existing is None else f"{existing.num_rows}"
        raise ShardError(
            f"{path} holds {rows} paths and {to}/{SHARDS_FOLDER} their images, but "
            f"{table.num_rows} paths between other samples are asked for; choose another --to, or "
            f"remove {to}/{SHARDS_FOLDER}"
        )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    store.replace(_ENDS_FILE, buffer.getvalue())
    return path


def _read_table_or_none(data: bytes | None) -> pa.Table | None:
    """Read a Parquet file; None for a missing or a damaged one."""
    try:
        return None if data is None else pq.read_table(io.BytesIO(data))
    except pa.ArrowException:
        return None


def open_latent_source(source: str) -> LatentGenerator | LatentsSource:
    """Open a source on the CPU. Raise SourceError unless it can be interpolated."""
    return require_latents_source(open_source(source, torch.device("cpu")))


def latent_source(view: View) -> str:
    """Return the source of a set.

    Raise SourceError if the source makes other images now, or cannot be interpolated.
    """
    spec = view.shards.spec
    if fingerprint(open_latent_source(spec.source).spec) != fingerprint(spec.generator):
        raise SourceError(
            f"{spec.source} is no longer what {view.shards.uri} was made from, so the ends would "
            "be other images; extract again to another place"
        )
    return spec.source
