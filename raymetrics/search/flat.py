"""Exact neighbours with FAISS flat indexes: float32 for speed, float64 where it matters.

FAISS computes |x|^2 + |y|^2 - 2 x.y in float32, which is wrong by a little. Every answer is
therefore certified: an answer that the error could change is computed again from differences
in float64. So radii and flags are those of `ExactSearch`, whatever the machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from raymetrics.search.exact import ExactSearch, chunks, distances

SPARE = 8  # neighbours fetched beyond the k-th
CANDIDATES = 64  # balls looked at where one was not enough
UNIT = 2.0**-24  # of float32 rounding


def load_faiss() -> Any:
    """The module. ImportError says which of the two packages to install."""
    try:
        import faiss
    except ImportError:
        raise ImportError(
            "FAISS is not installed: pip install 'raymetrics[cpu]', or 'raymetrics[gpu]' where "
            "there is an NVIDIA GPU; never both"
        ) from None
    return faiss


def centred(features: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """float32 [n, d], close to the origin: what float32 loses grows with the distance to it."""
    return np.ascontiguousarray(features.astype(np.float64) - centre, np.float32)


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
        x = centred(features, features.mean(axis=0, dtype=np.float64))
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
        # Every row that was not fetched is at least as far as the last one that was.
        beyond = approximate[:, -1] - error_bound(dimension, norms + norms.max())
        for i in np.flatnonzero((beyond < found**2) & (fetched < count)).tolist():
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
        q, c = centred(queries, mean), centred(centres, mean)
        of_queries, of_centres = squared_norms(q), squared_norms(c)
        index = self.faiss.IndexFlatIP(c.shape[1] + 1)
        index.add(np.column_stack([c, (radii**2 - of_centres) / 2]).astype(np.float32))
        q = np.column_stack([q, np.ones(len(q), np.float32)])
        scale = of_queries + of_centres.max() + np.square(radii).max()
        error = error_bound(q.shape[1], scale)

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
