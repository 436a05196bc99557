"""From bounds to exact answers: what the rounding of float32 leaves open is computed in float64.

An engine looks at some candidates for each query and knows between which bounds their distances
lie. The three functions here settle from the bounds whatever can be settled, compute the distances
of the few remaining pairs from differences in float64, and so give the answer of brute force.
Candidates that are none have id -1 and infinite bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raymetrics.neighbors.brute_force import pair_distances, radius_ratios

ROUNDOFF32, ROUNDOFF64 = 2.0**-24, 2.0**-53  # of rounding
SMALLEST_NORMAL32 = 2.0**-126  # what is smaller has fewer digits, or none, in float32


def squared_error_bound(
    terms: int, squared_norms: np.ndarray, unit: float = ROUNDOFF32
) -> np.ndarray:
    """By how much |x|^2 + |y|^2 - 2 x.y can be wrong, where the sum of the squared norms is given.

    (terms + 3) units times (|x| + |y|)^2 for the sums of products (Higham 2002, section 3.1, for
    any order of summation), 4 units more for inputs that were rounded; and (|x| + |y|)^2 is at
    most 2 (|x|^2 + |y|^2). The rest is room; and each term may vanish.
    """
    bound: np.ndarray = 2 * (terms + 16) * (unit * squared_norms + SMALLEST_NORMAL32)
    return bound


def clipped_sqrt(squared: np.ndarray) -> np.ndarray:
    """Of what may be negative by rounding."""
    return np.sqrt(squared.clip(min=0))


@dataclass(frozen=True, eq=False)
class BoundedCandidates:
    """For a block of b queries, c candidates each, with bounds on their distances."""

    queries: np.ndarray  # real [b, d]
    base: np.ndarray  # real [m, d], what the ids count
    ids: np.ndarray  # int64 [b, c]; -1 is none
    low: np.ndarray  # float64 [b, c]
    high: np.ndarray  # float64 [b, c]

    def compute_exactly(self, open_pairs: np.ndarray) -> BoundedCandidates:
        """The same with exact distances for the pairs where the flag, bool [b, c], is set."""
        rows, columns = np.nonzero(open_pairs)
        exact = pair_distances(self.queries, self.base, rows, self.ids[rows, columns])
        low, high = self.low.copy(), self.high.copy()
        low[rows, columns] = high[rows, columns] = exact
        return BoundedCandidates(self.queries, self.base, self.ids, low, high)


def kth_distance_bound(high: np.ndarray, k: int) -> np.ndarray:
    """No less than the k-th smallest distance, float64 [b, 1]; infinite of fewer candidates."""
    if high.shape[1] < k:
        return np.full((len(high), 1), np.inf)
    return np.partition(high, k - 1, axis=1)[:, k - 1 : k]


def nearest_distances(candidates: BoundedCandidates, k: int) -> np.ndarray:
    """The k smallest distances, float64 [b, k] ascending; infinite where there are fewer."""
    limit = kth_distance_bound(candidates.high, k)
    open_pairs = (candidates.low <= limit) & (candidates.ids >= 0)
    exact = np.where(open_pairs, candidates.compute_exactly(open_pairs).high, np.inf)
    smallest = np.full((len(exact), k), np.inf)
    smallest[:, : exact.shape[1]] = np.sort(exact, axis=1)[:, :k]
    return smallest


def inside_balls(candidates: BoundedCandidates, radii: np.ndarray) -> np.ndarray:
    """Whether each candidate's closed ball holds the query, bool [b, c, K].

    radii: float64 [m, K], of all the base; below 0 a ball is empty.
    """
    candidate_radii = radii[candidates.ids]
    possibly_inside = candidates.low[..., None] <= candidate_radii
    surely_inside = candidates.high[..., None] <= candidate_radii
    settled = candidates.compute_exactly((possibly_inside & ~surely_inside).any(axis=2))
    is_inside: np.ndarray = (settled.high[..., None] <= candidate_radii) & (candidates.ids >= 0)[
        ..., None
    ]
    return is_inside


def largest_ratios(candidates: BoundedCandidates, radii: np.ndarray) -> np.ndarray:
    """The largest radius / distance among the candidates, float64 [b]; radii: float64 [m]."""
    candidate_radii = np.where(candidates.ids >= 0, radii[candidates.ids], -1.0)
    lower_bound = radius_ratios(candidate_radii, candidates.high).max(axis=1, initial=0.0)
    open_pairs = (radius_ratios(candidate_radii, candidates.low) >= lower_bound[:, None]) & (
        candidate_radii >= 0
    )
    exact = radius_ratios(candidate_radii, candidates.compute_exactly(open_pairs).high)
    best: np.ndarray = np.where(open_pairs, exact, 0.0).max(axis=1, initial=0.0)
    return best
