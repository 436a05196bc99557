"""The Pareto frontier: which of several tradeoffs are worth a choice."""

from __future__ import annotations

import numpy as np

from raymetrics.errors import RaymetricsError


def pareto_frontier(points: np.ndarray) -> np.ndarray:
    """The points that no other dominates, int64 [m], ascending indices; larger is better.

    points: real [n, d], e.g. precision and recall of n snapshots (Kynkaanniemi et al. 2019,
    section 4.1). A point dominates another if it is at least as good in everything, and better
    in something; so of equal points all are kept. Holds n x n x d flags. RaymetricsError for
    another shape, and for values that are not numbers, which cannot be compared.
    """
    if points.ndim != 2 or np.isnan(points).any():
        raise RaymetricsError(
            f"a Pareto frontier takes numbers [points, dimensions], found shape {points.shape} "
            f"with {np.isnan(points).sum()} NaN; leave out what was not measured"
        )
    at_least = (points[:, None] >= points).all(axis=2)  # [i, j]: i as good as j in everything
    dominated = (at_least & ~at_least.T).any(axis=0)
    return np.flatnonzero(~dominated)
