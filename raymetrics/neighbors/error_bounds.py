"""From bounds to exact answers: float64 decides what the rounding of float32 leaves open.

An engine knows a few candidates for each query, and bounds on their distances. The functions here
decide by the bounds where the bounds suffice, compute the distances of the few remaining pairs from
differences in float64, and thus return the answer of brute force. A missing candidate has id -1 and
infinite bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raymetrics.neighbors.brute_force import pair_distances, radius_ratios

ROUNDOFF32, ROUNDOFF64 = 2.0**-24, 2.0**-53  # unit roundoff
SMALLEST_NORMAL32 = 2.0**-126  # smaller numbers have fewer digits in float32, or none


def squared_error_bound(
    terms: int, squared_norms: np.ndarray, unit: float = ROUNDOFF32
) -> np.ndarray:
    """Bound the rounding error of |x|^2 + |y|^2 - 2 x.y, given the sum of the squared norms.

    (terms + 3) units times (|x| + |y|)^2 for the sums of products (Higham 2002, section 3.1, for
    any order of summation), 4 units more for inputs that were rounded; and (|x| + |y|)^2 is at most
    2 (|x|^2 + |y|^2). The other 9 units are a margin. Each term may also underflow.
    """
    bound: np.ndarray = 2 * (terms + 16) * (unit * squared_norms + SMALLEST_NORMAL32)
    return bound


def clipped_sqrt(squared: np.ndarray) -> np.ndarray:
    """Compute the square root; a number that rounding made negative counts as 0."""
    return np.sqrt(squared.clip(min=0))


@dataclass(frozen=True, eq=False)
class BoundedCandidates:
    """The c candidates of each of b queries, with bounds on their distances."""

    queries: np.ndarray  # real [b, d]
    base: np.ndarray  # real [m, d]; ids are its rows
    ids: np.ndarray  # int64 [b, c]; -1 if missing
    low: np.ndarray  # float64 [b, c]
    high: np.ndarray  # float64 [b, c]

    def compute_exactly(self, open_pairs: np.ndarray) -> BoundedCandidates:
        """Replace the bounds by exact distances for the pairs whose flag, bool [b, c], is set."""
        rows, columns = np.nonzero(open_pairs)
        exact = pair_distances(self.queries, self.base, rows, self.ids[rows, columns])
        low, high = self.low.copy(), self.high.copy()
        low[rows, columns] = high[rows, columns] = exact
        return BoundedCandidates(self.queries, self.base, self.ids, low, high)


def kth_distance_bound(high: np.ndarray, k: int) -> np.ndarray:
    """Bound the k-th smallest distance from above, float64 [b, 1]; infinite if c < k."""
    if high.shape[1] < k:
        return np.full((len(high), 1), np.inf)
    return np.partition(high, k - 1, axis=1)[:, k - 1 : k]


def nearest_distances(candidates: BoundedCandidates, k: int) -> np.ndarray:
    """Compute the k smallest distances, float64 [b, k], ascending; infinite where c < k."""
    limit = kth_distance_bound(candidates.high, k)
    open_pairs = (candidates.low <= limit) & (candidates.ids >= 0)
    exact = np.where(open_pairs, candidates.compute_exactly(open_pairs).high, np.inf)
    smallest = np.full((len(exact), k), np.inf)
    smallest[:, : exact.shape[1]] = np.sort(exact, axis=1)[:, :k]
    return smallest


def inside_balls(candidates: BoundedCandidates, radii: np.ndarray) -> np.ndarray:
    """Compute whether each candidate's closed ball contains the query, bool [b, c, K].

    radii: float64 [m, K], of all base rows; a ball with a radius below 0 is empty.
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
    """Compute the largest radius / distance of the candidates, float64 [b]; radii: float64 [m]."""
    candidate_radii = np.where(candidates.ids >= 0, radii[candidates.ids], -1.0)
    lower_bound = radius_ratios(candidate_radii, candidates.high).max(axis=1, initial=0.0)
    open_pairs = (radius_ratios(candidate_radii, candidates.low) >= lower_bound[:, None]) & (
        candidate_radii >= 0
    )
    exact = radius_ratios(candidate_radii, candidates.compute_exactly(open_pairs).high)
    best: np.ndarray = np.where(open_pairs, exact, 0.0).max(axis=1, initial=0.0)
    return best
