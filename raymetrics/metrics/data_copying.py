"""The data-copying test C_T (Meehan et al. 2020): are generated samples too near to training ones?

Generated and held-out test samples are compared by their distances to the nearest training sample.
If generated ones are systematically nearer, they copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import norm, rankdata

from raymetrics.errors import NotEnoughData
from raymetrics.statistics import Moments

COMPONENTS = 64  # principal components, of features with more dimensions
CELLS = 3  # clusters of training samples
CLUSTERINGS = 10  # from different centers, of which the best is taken
FEWEST_GENERATED = 20  # tau m: a cell counts if it has more generated samples


@dataclass(frozen=True, eq=False)
class CellDistances:
    """The distance of each sample to the nearest training sample of its cell."""

    distances: np.ndarray  # float64 [n]
    cells: np.ndarray  # int64 [n]


@dataclass(frozen=True, eq=False)
class CopyingTest:
    """C_T, and the tests in the cells that it is the weighted mean of.

    p_value: the probability of a C_T as low or lower where nothing is copied.
    """

    value: float
    p_value: float
    z_scores: np.ndarray  # float64 [cells]; NaN of cells with too few generated samples
    weights: np.ndarray  # float64 [cells], the shares of test samples, adding up to 1; 0 as above


@dataclass(frozen=True, eq=False)
class Projection:
    """The directions in which training samples vary most; all of them if there are few."""

    mean: np.ndarray  # float64 [d]
    directions: np.ndarray | None  # float64 [d, COMPONENTS]; None for all

    @classmethod
    def fit(cls, moments: Moments) -> Projection:
        """Find the principal components. NotEnoughData if there are fewer samples than they."""
        if len(moments.mean) <= COMPONENTS:
            return cls(moments.mean, None)
        if moments.count < COMPONENTS:
            raise NotEnoughData(
                f"C_T of {moments.count} training samples; its {COMPONENTS} principal components "
                f"take at least {COMPONENTS}"
            )
        return cls(moments.mean, np.linalg.eigh(moments.scatter)[1][:, : -COMPONENTS - 1 : -1])

    def project(self, features: np.ndarray) -> np.ndarray:
        """Project features, real [n, d], float64 [n, min(d, COMPONENTS)]."""
        if self.directions is None:
            return features.astype(np.float64)
        projected: np.ndarray = (features.astype(np.float64) - self.mean) @ self.directions
        return projected


def find_cells(training: np.ndarray, seed: int) -> np.ndarray:
    """Cluster training samples, float64 [n, d], by k-means; return the centers [CELLS, d].

    NotEnoughData if there are fewer samples than cells.
    """
    if len(training) < CELLS:
        raise NotEnoughData(
            f"C_T of {len(training)} training samples; its {CELLS} cells take at least {CELLS}"
        )
    # Slow to load, and used only here and for PRD.
    from sklearn.cluster import KMeans

    kmeans = KMeans(CELLS, n_init=CLUSTERINGS, random_state=seed)
    centers: np.ndarray = kmeans.fit(training).cluster_centers_
    return centers


def assign_cells(features: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return the cell of each sample, int64 [n]: that of the nearest center."""
    return cdist(features, centers, "sqeuclidean").argmin(axis=1)


def mann_whitney_z(generated: np.ndarray, test: np.ndarray) -> float:
    """Compute the z-score of the Mann-Whitney U of two sets of distances (section 3.1).

    U counts the pairs of which the generated distance is the larger one, and half of the equal
    ones: below 0, generated samples are nearer to training ones. The authors' program lowers the
    mean of U by 0.5, and does not correct the deviation for ties; so does this.
    """
    m, n = len(generated), len(test)
    ranks = rankdata(np.concatenate([generated, test]))
    u = ranks[:m].sum() - m * (m + 1) / 2
    return float((u - (m * n / 2 - 0.5)) / np.sqrt(m * n * (m + n + 1) / 12))


def c_t(*, generated: CellDistances, test: CellDistances) -> CopyingTest:
    """Compute C_T: the mean of the cells' z-scores, weighted by their shares of test samples.

    Definition in section 3.2 of the paper, over the cells with more than FEWEST_GENERATED generated
    samples. NotEnoughData if a cell has no test sample, or none has enough generated ones.
    """
    test_counts, generated_counts = (
        np.bincount(side.cells, minlength=CELLS) for side in (test, generated)
    )
    if not test_counts.all():
        raise NotEnoughData(
            f"C_T of {len(test.cells)} test samples, of which {test_counts.tolist()} lie in its "
            f"{CELLS} cells; each takes at least 1: give more test samples"
        )
    counts = generated_counts > FEWEST_GENERATED
    if not counts.any():
        raise NotEnoughData(
            f"C_T of {len(generated.cells)} generated samples, of which "
            f"{generated_counts.tolist()} lie in its {CELLS} cells; one takes at least "
            f"{FEWEST_GENERATED + 1}: generate more"
        )
    weights = np.where(counts, test_counts, 0) / test_counts[counts].sum()
    z_scores = np.full(CELLS, np.nan)
    for cell in np.flatnonzero(counts):
        z_scores[cell] = mann_whitney_z(
            generated.distances[generated.cells == cell], test.distances[test.cells == cell]
        )
    value = float(weights[counts] @ z_scores[counts])
    # Where nothing is copied the z-scores are independent, each with a deviation of 1.
    p_value = float(norm.cdf(value / np.linalg.norm(weights)))
    return CopyingTest(value, p_value, z_scores, weights)
