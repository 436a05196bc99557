"""Which engine will be the fastest, from a look at a thousand features. All answer the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from raymetrics.metrics import Convention, Survey, require, survey
from raymetrics.neighbors.brute_force import ExactSearch
from raymetrics.neighbors.faiss_engines import FlatSearch, LowerBoundSearch
from raymetrics.neighbors.faiss_indexes import gpus, load_faiss
from raymetrics.neighbors.projections import (
    LowerBound,
    joint_mean,
    leading_directions,
    sample,
    squared_norms,
)
from raymetrics.neighbors.tiles import TileSearch

PROBE = 1000
DIMENSIONS = (64, 128)

# In passes (2 n m d operations of a matrix product), as `benchmarks/neighbors.py` shows them.
FLAT, TILES = 4.2, 2.4
# What a search costs a pair beside its products, and a candidate beside its search; as many
# operations of a matrix product take as long.
SELECTION, CANDIDATE = 450, 25
SEARCHES = 4


def choose(*, real: np.ndarray, generated: np.ndarray, k: int = 3, rows: int | None = None) -> Any:
    """The engine that should be the fastest for these features, real [n, d], [m, d].

    rows: how many there are on both sides, where these are only a sample of them.
    An index of lower bounds where few directions tell neighbours apart; otherwise tiles, or the
    whole features where there is a GPU, which the tiles do not use.
    """
    half = PROBE // 2
    some = np.concatenate([sample(real, half), sample(generated, half)])
    costs: dict[float, Any] = {}
    if len(some) > max(DIMENSIONS):
        for dimensions, candidates in survivors(some, k).items():
            total = rows or len(real) + len(generated)
            cost = estimate(total, real.shape[1], dimensions, candidates)
            costs[cost] = dimensions
    best = min(costs, default=np.inf)
    with_gpu = bool(gpus(load_faiss()))
    if best < (FLAT if with_gpu else TILES):
        return LowerBoundSearch(costs[best])
    return FlatSearch() if with_gpu else TileSearch()


def survey_fast(
    *, real: np.ndarray, generated: np.ndarray, convention: Convention, count: bool, realism: bool
) -> Survey:
    """`raymetrics.metrics.survey` as a convention asks for it, by the engine that is chosen.

    real, generated: real [n, d], [m, d]. NotEnoughData if a side has not more than the largest k.
    """
    for side, features in (("real", real), ("generated", generated)):
        require(len(features), convention.ks[-1], side)
    real, generated = convention.rounded(real), convention.rounded(generated)
    return survey(
        real=real,
        generated=generated,
        ks=convention.ks,
        search=choose(real=real, generated=generated, k=convention.ks[0]),
        reach=convention.reach,
        count=count,
        realism=realism,
    )


def survivors(features: np.ndarray, k: int) -> dict[int, float]:
    """Of n features, how many others of each are not ruled out as its k nearest, on average, by
    lower bounds of so many dimensions."""
    k = min(k, len(features) - 1)
    centre = joint_mean(features)
    directions = leading_directions(features, centre, max(DIMENSIONS))
    x = features.astype(np.float64) - centre
    radii = np.sqrt(np.partition(squared_distances(x), k, axis=1)[:, k])[:, None]
    found = {}
    for dimensions in DIMENSIONS:
        if 4 * dimensions <= features.shape[1]:
            z = LowerBound(centre, directions[:, :dimensions])(features).astype(np.float64)
            found[dimensions] = float((squared_distances(z) <= radii**2).sum(axis=1).mean())
    return found


def squared_distances(x: np.ndarray) -> np.ndarray:
    """float64 [n, n]; about 0 on the diagonal."""
    norms = squared_norms(x)
    return (norms[:, None] + norms - 2 * x @ x.T).clip(min=0)


def estimate(rows: int, dimension: int, dimensions: int, candidates: float) -> float:
    """Passes that all searches together take, of `rows` rows on both sides.

    Candidates grow with the 0.7th power of the rows (measured from 2,500 to 40,000).
    """
    side = max(rows / 2, 1)
    expected = candidates * max(1, side / PROBE) ** 0.7
    search = (2 * (dimensions + 1) + SELECTION) / (2 * dimension)
    return SEARCHES * (search + CANDIDATE * expected / (2 * side))


ENGINES: Mapping[str, Any] = {
    "faiss-flat": FlatSearch,
    "faiss-lower-bound": LowerBoundSearch,
    "tiles": TileSearch,
    "exact-float64": ExactSearch,
}


def engine(name: str) -> Any:
    """The engine of this name, "faiss-lower-bound-128" of so many dimensions."""
    kind, _, dimensions = name.rpartition("-")
    return ENGINES[kind](int(dimensions)) if kind in ENGINES else ENGINES[name]()
