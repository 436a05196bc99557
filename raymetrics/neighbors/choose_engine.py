"""Which engine will be the fastest, from a look at a thousand features. All answer the same."""

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

# In passes (2 n m d operations of a matrix product), as `benchmarks/neighbors.py` shows them.
_FLAT_PASSES, _TILE_PASSES = 4.2, 2.4
# What a search costs a pair beside its products, and a candidate beside its search; as many
# operations of a matrix product take as long.
_SELECTION_COST, _CANDIDATE_COST = 450, 25
_SEARCHES = 4


def fastest_engine(
    *, real: np.ndarray, generated: np.ndarray, k: int = 3, rows: int | None = None
) -> Any:
    """The engine that should be the fastest for these features, real [n, d], [m, d].

    rows: how many there are on both sides, where these are only a sample of them.
    An index of lower bounds where few directions tell neighbours apart; otherwise tiles, or the
    whole features where there is a GPU, which the tiles do not use.
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
    """`raymetrics.metrics.survey` as a convention asks for it, by the engine that is chosen.

    real, generated: real [n, d], [m, d]. NotEnoughData if a side has not more than the largest k.
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
    """Of n features, how many others of each are not ruled out as its k nearest, on average, by
    lower bounds of so many dimensions."""
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
    """float64 [n, n]; about 0 on the diagonal."""
    norms = squared_norms(x)
    return (norms[:, None] + norms - 2 * x @ x.T).clip(min=0)


def estimate_passes(rows: int, dimension: int, dimensions: int, candidates: float) -> float:
    """Passes that all searches together take, of `rows` rows on both sides.

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
    """The engine of this name, "faiss-lower-bound-128" of so many dimensions."""
    kind, _, dimensions = name.rpartition("-")
    return ENGINES[kind](int(dimensions)) if kind in ENGINES else ENGINES[name]()
