"""Exact neighbours with FAISS flat indexes: float32 for speed, float64 where it matters.

FAISS computes |x|^2 + |y|^2 - 2 x.y in float32, which is wrong by a little. Every answer is
therefore certified: an answer that the error could change is computed again from differences
in float64. So radii and flags are those of `ExactSearch`, whatever the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from raymetrics.errors import RaymetricsError
from raymetrics.search.exact import ExactSearch, distances

SPARE = 8  # neighbours fetched beyond the k-th
CANDIDATES = 64  # balls looked at where one was not enough
UNIT = 2.0**-24  # of float32 rounding


def load_faiss() -> Any:
    """The module. RaymetricsError says which of the two packages to install."""
    try:
        import faiss
    except ImportError:
        raise RaymetricsError(
            "FAISS is not installed: pip install 'raymetrics[cpu]', or 'raymetrics[gpu]' where "
            "there is an NVIDIA GPU; never both"
        ) from None
    return faiss


def centred(features: np.ndarray, centre: np.ndarray, scale: float) -> np.ndarray:
    """float32 [n, d], close to the origin: what float32 loses grows with the distance to it."""
    return np.ascontiguousarray((features.astype(np.float64) - centre) * scale, np.float32)


def unit_scale(largest: float) -> float:
    """The power of two that brings numbers up to `largest` near 1, where squares neither
    overflow nor underflow; multiplying by it rounds nothing."""
    return float(2.0 ** -np.floor(np.log2(largest))) if largest > 0 else 1.0


def chunks(rows: int, size: int = 256) -> Iterator[slice]:
    """Slices that cover `rows` rows, `size` at a time."""
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def squared_norms(features: np.ndarray) -> np.ndarray:
    """float64 [n]."""
    return np.einsum("nd,nd->n", features, features, dtype=np.float64)


def error_bound(dimension: int, squared_scale: np.ndarray | float) -> np.ndarray:
    """By how much a squared float32 distance can be wrong, where no squared norm exceeds the
    scale: the usual bound for sums of products (Higham 2002, section 3.1), with room for the
    rounding of the inputs."""
    bound: np.ndarray = 8 * (dimension + 8) * UNIT * np.asarray(squared_scale)
    return bound


class FlatSearch:
    """`faiss.IndexFlatL2` for radii, `faiss.IndexFlatIP` for membership."""

    name = "faiss-flat"

    def __init__(self) -> None:
        self.faiss = load_faiss()

    def radii(self, features: np.ndarray, k: int) -> np.ndarray:
        """The distance of each row to its k-th nearest other row, float64 [n]."""
        count, dimension = features.shape
        centre = features.mean(axis=0, dtype=np.float64)
        scale = unit_scale(float(np.abs(features - centre).max()))
        x = centred(features, centre, scale)
        norms = squared_norms(x)
        index = self.faiss.IndexFlatL2(dimension)
        index.add(x)
        fetched = min(k + 1 + SPARE, count)
        approximate, ids = index.search(x, fetched)
        found = np.empty(count)
        for i, candidates in enumerate(ids):
            others = candidates[candidates != i]  # by id: a duplicate may come before the row
            exact = np.sort(distances(features[i], features[others]))
            found[i] = exact[k - 1]
        # A row y that was not fetched seemed at least as far as the last one that was; and
        # |y|^2 <= 2 |x|^2 + 2 |x - y|^2 bounds by how much that can be wrong.
        last = approximate[:, -1].astype(np.float64)
        beyond = last - error_bound(dimension, 3 * norms + 2 * last)
        unsure = (beyond < (found * scale) ** 2) & (fetched < count)
        for i in np.flatnonzero(unsure).tolist():
            others = np.sort(distances(features[i], features))
            found[i] = others[k]  # the row itself is at 0
        return found

    def covered(self, queries: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
        """Whether each query lies in a closed ball around some centre, bool [n].

        |q - c|^2 <= r^2 for some c is max over c of 2 q.c - |c|^2 + r^2 >= |q|^2: one search
        for the greatest inner product, with one more coordinate (the power distance).
        """
        total = len(queries) + len(centres)
        mean = (
            queries.sum(axis=0, dtype=np.float64) + centres.sum(axis=0, dtype=np.float64)
        ) / total
        largest = max(np.abs(queries - mean).max(), np.abs(centres - mean).max(), radii.max())
        scale = unit_scale(float(largest))
        q, c, r = centred(queries, mean, scale), centred(centres, mean, scale), radii * scale
        of_queries, of_centres = squared_norms(q), squared_norms(c)
        index = self.faiss.IndexFlatIP(c.shape[1] + 1)
        index.add(np.column_stack([c, (r**2 - of_centres) / 2]).astype(np.float32))
        q = np.column_stack([q, np.ones(len(q), np.float32)])
        error = error_bound(q.shape[1], of_queries + of_centres.max() + np.square(r).max())

        best, _ = index.search(q, 1)
        margin = 2 * best[:, 0].astype(np.float64) - of_queries
        flags = margin > 0
        unsure = np.flatnonzero(np.abs(margin) <= error)
        for rows in chunks(len(unsure)):
            some = unsure[rows]
            best, ids = index.search(q[some], min(CANDIDATES, len(centres)))
            beyond = 2 * best[:, -1].astype(np.float64) - of_queries[some]
            for i, candidates, rest in zip(some, ids, beyond, strict=True):
                flags[i] = (distances(queries[i], centres[candidates]) <= radii[candidates]).any()
                if not flags[i] and rest >= -error[i] and len(candidates) < len(centres):
                    flags[i] = ExactSearch().covered(queries[i : i + 1], centres, radii)[0]
        return flags
