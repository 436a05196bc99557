"""Improved precision and recall (Kynkaanniemi et al. 2019)."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from raymetrics.errors import NotEnoughData


class Neighbours(Protocol):
    """A search among neighbours; see `raymetrics.search`."""

    def radii(self, features: np.ndarray, k: int) -> np.ndarray:
        """The distance of each row to its k-th nearest other row, float64 [n]."""

    def covered(self, queries: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
        """Whether each query lies in a ball around some centre, bool [n]."""


class PrecisionRecall(NamedTuple):
    """Both in 0..1."""

    precision: float
    recall: float


def precision_recall(
    *, real: np.ndarray, generated: np.ndarray, k: int, search: Neighbours
) -> PrecisionRecall:
    """Equation 2: the share of each side that lies in the manifold of the other.

    real, generated: float32 [n, d], [m, d]. A manifold is the union of the closed balls around
    the features, each reaching its k-th nearest neighbour of the same side, the centre itself
    not counted (Eq. 1, and the authors' program). NotEnoughData for k or fewer on a side.
    """
    for side, features in (("real", real), ("generated", generated)):
        if len(features) <= k:
            raise NotEnoughData(
                f"the {k} nearest neighbours of each of {len(features)} {side} samples; "
                f"it takes at least {k + 1}"
            )
    of_real, of_generated = search.radii(real, k), search.radii(generated, k)
    return PrecisionRecall(
        precision=float(search.covered(generated, real, of_real).mean()),
        recall=float(search.covered(real, generated, of_generated).mean()),
    )
