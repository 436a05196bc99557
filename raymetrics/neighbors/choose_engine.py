"""Choose the engine that will be the fastest, from a thousand features. All give equal results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from raymetrics.metrics import Convention, ManifoldSurvey, require_neighbors, survey_manifolds
from raymetrics.neighbors.brute_force import ExactSearch
from raymetrics.neighbors.faiss_engines import FlatSearch, LowerBoundSearch
from raymetrics.neighbors.faiss_indexes import count_gpus, load_faiss
from raymetrics.neighbors.projections import (
    LowerBoundSketch,
    evenly_spaced_rows,
    joint_mean,
    leading_directions,
    squared_norms,
)
from raymetrics.neighbors.tiles import TileSearch

_PROBE_ROWS = 1000
DIMENSIONS = (64, 128)

# In passes (2 n m d operations of a matrix product), as measured by `benchmarks/neighbors.py`.
_FLAT_PASSES, _TILE_PASSES = 4.2, 2.4
# The cost of a pair beside its products, and of a candidate beside its search, in operations of a
# matrix product that take as long.
_SELECTION_COST, _CANDIDATE_COST = 450, 25
_SEARCHES = 4


def fastest_engine(
    *, real: np.ndarray, generated: np.ndarray, k: int = 3, rows: int | None = None
) -> Any:
    """Choose the engine that should be the fastest for these features, real [n, d] and [m, d].

    rows: the number of rows on both sides together, if `real` and `generated` are only samples of
    them. The choice is an index of lower bounds if few directions tell neighbors apart; otherwise
    tiles, or whole features in an index if there is a GPU, because tiles do not use it.
    """
    half = _PROBE_ROWS // 2
    probe_rows = np.concatenate(
        [evenly_spaced_rows(real, half), evenly_spaced_rows(generated, half)]
    )
    costs: dict[float, Any] = {}
    if len(probe_rows) > max(DIMENSIONS):
        for dimensions, candidates in candidates_left(probe_rows, k).items():
            total = rows or len(real) + len(generated)
            cost = estimate_passes(total, real.shape[1], dimensions, candidates)
            costs[cost] = dimensions
    best = min(costs, default=np.inf)
    with_gpu = bool(count_gpus(load_faiss()))
    if best < (_FLAT_PASSES if with_gpu else _TILE_PASSES):
        return LowerBoundSearch(costs[best])
    return FlatSearch() if with_gpu else TileSearch()


def survey_arrays(
    *, real: np.ndarray, generated: np.ndarray, convention: Convention, count: bool, realism: bool
) -> ManifoldSurvey:
    """Run `survey_manifolds` for a convention, with the fastest engine.

    real, generated: real [n, d] and [m, d]. Raise NotEnoughData if a side has at most as many rows
    as the largest k.
    """
    for side, features in (("real", real), ("generated", generated)):
        require_neighbors(len(features), convention.ks[-1], side)
    real, generated = convention.round_features(real), convention.round_features(generated)
    return survey_manifolds(
        real=real,
        generated=generated,
        ks=convention.ks,
        search=fastest_engine(real=real, generated=generated, k=convention.ks[0]),
        radius_rule=convention.effective_radii,
        count=count,
        realism=realism,
    )


def candidates_left(features: np.ndarray, k: int) -> dict[int, float]:
    """Count the candidates that lower bounds leave for the k nearest neighbors, by dimensions.

    The mean over the n features, real [n, d], of the other features that a lower bound of so many
    dimensions does not rule out.
    """
    k = min(k, len(features) - 1)
    center = joint_mean(features)
    directions = leading_directions(features, center, max(DIMENSIONS))
    x = features.astype(np.float64) - center
    radii = np.sqrt(np.partition(_squared_distances(x), k, axis=1)[:, k])[:, None]
    counts = {}
    for dimensions in DIMENSIONS:
        if 4 * dimensions <= features.shape[1]:
            z = LowerBoundSketch(center, directions[:, :dimensions])(features).astype(np.float64)
            counts[dimensions] = float((_squared_distances(z) <= radii**2).sum(axis=1).mean())
    return counts


def _squared_distances(x: np.ndarray) -> np.ndarray:
    """Compute squared distances between rows, float64 [n, n]; about 0 on the diagonal."""
    norms = squared_norms(x)
    return (norms[:, None] + norms - 2 * x @ x.T).clip(min=0)


def estimate_passes(rows: int, dimension: int, dimensions: int, candidates: float) -> float:
    """Estimate the passes that all searches of `rows` rows on both sides take together.

    Candidates grow with the 0.7th power of the rows (measured from 2,500 to 40,000).
    """
    side = max(rows / 2, 1)
    expected = candidates * max(1, side / _PROBE_ROWS) ** 0.7
    search = (2 * (dimensions + 1) + _SELECTION_COST) / (2 * dimension)
    return _SEARCHES * (search + _CANDIDATE_COST * expected / (2 * side))


ENGINES: Mapping[str, Any] = {
    "faiss-flat": FlatSearch,
    "faiss-lower-bound": LowerBoundSearch,
    "tiles": TileSearch,
    "exact-float64": ExactSearch,
}


def make_engine(name: str) -> Any:
    """Make the engine with this name; "faiss-lower-bound-128" has 128 dimensions."""
    kind, _, dimensions = name.rpartition("-")
    return ENGINES[kind](int(dimensions)) if kind in ENGINES else ENGINES[name]()
