"""The numbers of `nearest`: what distances to training samples say of all generated ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from raymetrics.metrics import CopyingTest, neighbor_ratios
from raymetrics.metrics.data_copying import (
    CELLS,
    CLUSTERINGS,
    COMPONENTS,
    FEWEST_GENERATED,
)
from raymetrics.metrics.metric import MetricValue
from raymetrics.statistics import NearestNeighbors

_QUANTILES = (0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
_BINS = 50  # of histograms


def ratio_value(
    found: NearestNeighbors, closest: list[list[Any]], fields: dict[str, Any]
) -> MetricValue:
    """Compute the median of the ratios; the details hold the closest pairs and a histogram.

    closest: of `closest_pairs`. Ratios that are 0 / 0 are counted as undefined; one at least must
    be defined.
    """
    ratios = neighbor_ratios(found.distances)
    defined = ratios[np.isfinite(ratios)]
    counts, edges = np.histogram(defined, _BINS, (0, 1))
    details = {
        "closest": closest,
        "copies": int((found.distances[:, 0] == 0).sum()),
        "undefined": len(ratios) - len(defined),
        "quantiles": [[q, float(np.quantile(defined, q))] for q in _QUANTILES],
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }
    return MetricValue(
        "nearest_ratio", "nearest / next", float(np.median(defined)), "higher",
        {**fields, "next": found.distances.shape[1] - 1, "value": "median"}, None, details,
    )  # fmt: skip


def cosine_value(cosines: np.ndarray, threshold: float, fields: dict[str, Any]) -> MetricValue:
    """Compute the share of generated samples with a training sample above a cosine."""
    share = float((cosines > threshold).mean())
    convention = {**fields, "threshold": threshold}
    details = {"above": int((cosines > threshold).sum()), "largest": float(cosines.max())}
    return MetricValue(
        "share_above_cosine", f"share cosine > {threshold:g}", share, "lower", convention, None,
        details,
    )  # fmt: skip


def copying_value(test: CopyingTest, seed: int, fields: dict[str, Any]) -> MetricValue:
    """Return C_T with its test as a value; the details hold the cells."""
    convention = {
        **fields, "components": COMPONENTS, "cells": CELLS, "clusterings": CLUSTERINGS,
        "generated in a cell": f"more than {FEWEST_GENERATED}", "continuity": 0.5, "seed": seed,
    }  # fmt: skip
    details = {
        "p_value": test.p_value,
        "z_scores": [float(z) if np.isfinite(z) else None for z in test.z_scores],
        "weights": test.weights.tolist(),
    }
    return MetricValue("c_t", "C_T", test.value, "higher", convention, None, details)


def closest_pairs(
    found: NearestNeighbors, generated_ids: np.ndarray, real_ids: np.ndarray, count: int
) -> list[list[Any]]:
    """List the closest pairs, [generated id, training id, distance, ratio], nearest first.

    A ratio is None where it is 0 / 0. Of equal distances the smaller id comes first.
    """
    ratios = neighbor_ratios(found.distances)
    order = np.argsort(found.distances[:, 0], kind="stable")[:count]
    return [
        [
            int(generated_ids[row]),
            int(real_ids[found.rows[row, 0]]),
            float(found.distances[row, 0]),
            float(ratios[row]) if np.isfinite(ratios[row]) else None,
        ]
        for row in order
    ]
