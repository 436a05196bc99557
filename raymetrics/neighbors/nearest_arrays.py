"""The nearest training samples of generated ones, of arrays in memory."""

from __future__ import annotations

import numpy as np

from raymetrics.errors import NotEnoughData
from raymetrics.metrics import (
    CellDistances,
    NearestTraining,
    assign_cells,
    find_cells,
    require_neighbors,
)
from raymetrics.neighbors.choose_engine import DEFAULT_ENGINE, make_engine
from raymetrics.statistics import NearestNeighbors


def nearest_rows(
    *, real: np.ndarray, generated: np.ndarray, k: int, engine: str = DEFAULT_ENGINE
) -> NearestNeighbors:
    """Find the k nearest real rows of every generated row; see `NearestNeighbors`.

    real, generated: real [n, d], [m, d]. NotEnoughData if there are fewer real rows than k, or
    k is 0.
    """
    if not 1 <= k <= len(real):
        raise NotEnoughData(
            f"the {k} nearest of {len(real)} real samples; give more, or ask for 1 to {len(real)}"
        )
    search = make_engine(engine)
    found: NearestNeighbors = search.nearest_neighbors(*search.prepare(generated, real), k)
    return found


def nearest_training_rows(
    *, real: np.ndarray, generated: np.ndarray, engine: str = DEFAULT_ENGINE
) -> NearestTraining:
    """Find how far generated rows are from their nearest real ones, and these from others.

    NotEnoughData for fewer than 2 real rows.
    """
    require_neighbors(len(real), 1, "real")
    nearest = nearest_rows(real=real, generated=generated, k=1, engine=engine)
    wanted, position = np.unique(nearest.rows[:, 0], return_inverse=True)
    others = nearest_rows(real=real, generated=real[wanted], k=2, engine=engine)
    # The nearest of a row is itself or its copy, at 0; the second is the nearest other one.
    return NearestTraining(nearest.distances[:, 0], others.distances[:, 1][position])


def cell_distances(
    *,
    real: np.ndarray,
    test: np.ndarray,
    generated: np.ndarray,
    seed: int,
    engine: str = DEFAULT_ENGINE,
) -> dict[str, CellDistances]:
    """Find the distances that C_T compares: within the cells of the real, the training, rows.

    real, test, generated: float64 [n, d], projected. Returns "test" and "generated".
    """
    centers = find_cells(real, seed)
    real_cells = assign_cells(real, centers)
    found = {}
    for side, features in (("test", test), ("generated", generated)):
        cells = assign_cells(features, centers)
        distances = np.empty(len(features))
        for cell in np.unique(cells):
            inside = cells == cell
            distances[inside] = nearest_rows(
                real=real[real_cells == cell], generated=features[inside], k=1, engine=engine
            ).distances[:, 0]
        found[side] = CellDistances(distances, cells)
    return found
