"""Distances by brute force in float64: what decides where bounds do not."""

from __future__ import annotations

from typing import Any

import numpy as np

_PAIRS_AT_ONCE = 64  # few enough to stay in the processor's cache


def sum_by_halves(terms: Any) -> Any:
    """Sum the columns of float64 [n, d], in place, by adding one half to the other; return [n].

    Takes an array of numpy or a tensor. Every addition is rounded by itself and their order is
    fixed, so the bits are the same on every processor and GPU.
    """
    width = terms.shape[1]
    while width > 1:
        half = width // 2
        terms[:, :half] += terms[:, width - half : width]
        width -= half
    return terms[:, :1].sum(axis=1)  # 0 without columns


def euclidean_distances(query: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Compute |c - q| for one query q [d] and centers c [m, d], float64 [m].

    Differences make the distance exact to rounding, 0 for equal points, and equal to the bit in
    both directions.
    """
    distances: np.ndarray = np.sqrt(sum_by_halves(np.square(centers.astype(np.float64) - query)))
    return distances


def pair_distances(left: np.ndarray, right: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Compute |left[i] - right[j]| for pairs of rows, float64 [pairs].

    The bits equal those of `euclidean_distances`.
    """
    squared = np.empty(len(i))
    for start in range(0, len(i), _PAIRS_AT_ONCE):
        block = slice(start, start + _PAIRS_AT_ONCE)
        difference = right[j[block]].astype(np.float64)
        difference -= left[i[block]]
        squared[block] = sum_by_halves(np.square(difference, out=difference))
    return np.sqrt(squared)


def radius_ratios(radii: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Compute radius / distance: infinite at the center of a ball, 0 if the radius is below 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotients = np.where(distances > 0, radii / distances, np.inf)
    return np.where(radii >= 0, quotients, 0.0)
