"""The Pareto frontier of several tradeoffs."""

from __future__ import annotations

import numpy as np

from raymetrics.errors import RaymetricsError


def pareto_frontier(points: np.ndarray) -> np.ndarray:
    """Return the points that no other point dominates, int64 [m], ascending indices.

    points: real [n, d], e.g. precision and recall of n snapshots (Kynkaanniemi et al. 2019,
    section 4.1); larger is better. A point dominates another one if it is at least as good in every
    dimension, and better in one; so all of several equal points are kept. Holds n x n x d flags.
    RaymetricsError for another shape, and for NaN.
    """
    if points.ndim != 2 or np.isnan(points).any():
        raise RaymetricsError(
            f"a Pareto frontier takes numbers [points, dimensions], found shape {points.shape} "
            f"with {np.isnan(points).sum()} NaN; leave out what was not measured"
        )
    at_least = (points[:, None] >= points).all(axis=2)  # [i, j]: i as good as j in everything
    dominated = (at_least & ~at_least.T).any(axis=0)
    return np.flatnonzero(~dominated)
