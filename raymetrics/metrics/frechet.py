"""The Frechet distance between two Gaussians fitted to features (Heusel et al. 2017).

With the pre-logits of TensorFlow's Inception-V3 it is FID. With other features it is called the
Frechet distance of those features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cholesky, eigvalsh
from scipy.linalg.lapack import dpstrf

from raymetrics.statistics import Moments
from raymetrics.statistics.processors import symmetric_eigen

# Added to eigenvalues before a division by them, relative to the largest.
_GUARD = 1e-14


@dataclass(frozen=True, eq=False)
class Gaussian:
    """The mean and covariance of features whose samples are not known."""

    mean: np.ndarray  # float64 [d]
    covariance: np.ndarray  # float64 [d, d]

    @classmethod
    def from_moments(cls, moments: Moments | Gaussian, ddof: int) -> Gaussian:
        """Divide the scatter of moments by count - ddof; a Gaussian is returned unchanged.

        NotEnoughData for fewer than ddof + 1 samples.
        """
        return (
            moments
            if isinstance(moments, Gaussian)
            else cls(moments.mean, moments.covariance(ddof))
        )


def frechet_distance(
    *, real: Moments | Gaussian, generated: Moments | Gaussian, ddof: int = 1
) -> float:
    """Compute |m_r - m_g|^2 + tr S_r + tr S_g - 2 tr (S_r S_g)^1/2, in float64.

    The distance is at least 0; a negative sum, which only rounding errors give, is returned as 0.
    ddof: covariances of moments are divided by count - ddof, with 1 as in Heusel et al.'s program,
    or 0 as in NVIDIA's. NotEnoughData for fewer than ddof + 1 samples on a side.
    """
    a, b = Gaussian.from_moments(real, ddof), Gaussian.from_moments(generated, ddof)
    shift = a.mean - b.mean
    overlap = _trace_of_root(a.covariance, b.covariance)
    distance = float(shift @ shift + np.trace(a.covariance) + np.trace(b.covariance) - 2 * overlap)
    return 0.0 if distance < 0 else distance


def _trace_of_root(a: np.ndarray, b: np.ndarray) -> float:
    """Compute tr (a b)^1/2 for two covariances, float64 [d, d].

    It is the sum of the square roots of the eigenvalues of L^T b L, where a = L L^T. These are the
    eigenvalues of a b; but L^T b L is symmetric, so that they are real, and many times faster to
    compute.
    """
    root = covariance_factor(a)
    eigenvalues = eigvalsh(root.T @ b @ root)
    # Eigenvalues that should be 0 are rounding errors of either sign.
    return float(np.sqrt(eigenvalues.clip(min=0)).sum())


def covariance_factor(a: np.ndarray) -> np.ndarray:
    """Compute an L [d, rank] with a = L L^T for a covariance, float64 [d, d]."""
    try:
        root: np.ndarray = cholesky(a, lower=True)
    except LinAlgError:
        root = _pivoted_factor(a)
    return root


def _pivoted_factor(a: np.ndarray) -> np.ndarray:
    """Compute an L [d, rank] with a = L L^T for a singular covariance, by a pivoted Cholesky.

    With fewer samples than dimensions it takes a part of the time of an eigendecomposition, as it
    ends at the rank. Pivots that are rounding errors, below d times the precision of the largest
    variance, are left out: their square roots are not small.
    """
    factor, pivots, rank, _ = dpstrf(a, lower=True)
    root = np.empty((len(a), max(1, rank)))  # at least one column, of zeros for no variance
    root[pivots - 1] = np.tril(factor)[:, : root.shape[1]]
    return root


class OptimalMap(NamedTuple):
    """T = root root^T, the linear map that takes N(0, b) to N(0, a)."""

    root: Any  # float64 [d, r]
    overlap: Any  # tr (a b)^1/2, a number or a tensor float64 []


class OverlapSpectrum(NamedTuple):
    """The eigenvalues and eigenvectors of L^T b L, where a = L L^T."""

    values: Any  # float64 [r], ascending, at least 0
    guarded: Any  # float64 [r]: with a little of the largest, to divide by
    vectors: Any  # float64 [r, r]


def overlap_spectrum(factor: Any, trace: float, b: Any) -> OverlapSpectrum:
    """Compute the spectrum of L^T b L; factor: L, float64 [d, r]; trace: of a; b: [d, d]."""
    values, vectors = symmetric_eigen(factor.T @ b @ factor)
    values = values.clip(min=0)
    largest = values[-1].clip(min=_GUARD * trace**2)
    guarded = values + _GUARD * largest + np.finfo(np.float64).tiny
    return OverlapSpectrum(values, guarded, vectors)


def optimal_map(factor: Any, trace: float, b: Any) -> OptimalMap:
    """Compute T = L (L^T b L)^-1/2 L^T (Olkin & Pukelsheim 1982), in float64.

    The derivative of the distance by b is I - T. factor: L [d, r] with a = L L^T; trace: of a; both
    matrices are arrays of numpy, or tensors on one device, which then computes all of it.
    In directions in which b does not vary, the map is steep but finite.
    """
    values, guarded, vectors = overlap_spectrum(factor, trace, b)
    return OptimalMap((factor @ vectors) * guarded**-0.25, (values**0.5).sum())
