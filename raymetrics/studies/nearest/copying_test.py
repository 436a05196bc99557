"""C_T of shard sets: the training set is read in parts, and kept in 64 dimensions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from raymetrics import metrics
from raymetrics.distributed.fold import fold_shards, map_in_order
from raymetrics.distributed.memory_limits import require_free_memory
from raymetrics.in_memory.memorization import require_held_out
from raymetrics.metrics import CopyingTest, Projection, normalize_rows
from raymetrics.metrics.data_copying import COMPONENTS
from raymetrics.metrics.required_statistics import FeatureMoments, NormalizedMoments
from raymetrics.neighbors.nearest_arrays import cell_distances
from raymetrics.shards.shard_set import open_shards
from raymetrics.shards.view import Selection, View
from raymetrics.statistics import ColumnStatistic

_COPIES = 4  # of projected features: those of all cells, of one, and those that are searched


def copying_test(
    views: Mapping[str, View], column: str, *, seed: int, unit_length: bool, engine: str
) -> CopyingTest:
    """Compute C_T of the views "real", "test" and "generated"; see `raymetrics.in_memory.c_t`.

    Raises what that raises, and InsufficientResources before anything is read.
    """
    dimension = min(COMPONENTS, views["real"].shards.columns[column].dimension)
    rows = sum(map(len, views.values()))
    require_free_memory(
        8 * _COPIES * dimension * rows,
        f"C_T of {rows} samples in {dimension} dimensions needs",
        "leave out --test, or take fewer training samples",
    )
    statistic = NormalizedMoments() if unit_length else FeatureMoments()
    size = statistic.estimated_bytes(views["real"].shards.columns[column].dimension, 0)
    folded = fold_shards(views["real"], {"moments": ColumnStatistic(column, statistic)}, size)
    projection = Projection.fit(folded["moments"])
    projected = {
        side: project_view(view, column, projection, unit_length=unit_length)
        for side, view in views.items()
    }
    found = cell_distances(**projected, seed=seed, engine=engine)
    require_held_out(found["test"].distances)
    return metrics.c_t(**found)


def project_view(
    view: View, column: str, projection: Projection, *, unit_length: bool
) -> np.ndarray:
    """Project the samples of a view, shard by shard, float64 [n, dimensions]."""
    place = view.shards.store.absolute_uri, view.samples
    return np.concatenate(
        [*map_in_order(_project_shard, view.present, *place, column, projection, unit_length)]
    )


def _project_shard(
    shard: range,
    uri: str,
    samples: tuple[range, ...] | Selection,
    column: str,
    projection: Projection,
    unit_length: bool,
) -> np.ndarray:
    view = View(open_shards(uri, [shard]), samples)
    features = view.block(shard, [column])[column]
    return projection.project(normalize_rows(features) if unit_length else features)
