"""The Frechet distance between two Gaussians fitted to features (Heusel et al. 2017).

With the pre-logits of TensorFlow's Inception-V3 it is FID. With any other features it is
named after them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cholesky, eigh, eigvalsh

from raymetrics.statistics import Moments

# Added to eigenvalues relative to the largest, before one divides by them.
_GUARD = 1e-14


@dataclass(frozen=True, eq=False)
class Gaussian:
    """What is left of features where only their mean and a finished covariance were kept."""

    mean: np.ndarray  # float64 [d]
    covariance: np.ndarray  # float64 [d, d]

    @classmethod
    def from_moments(cls, moments: Moments | Gaussian, ddof: int) -> Gaussian:
        """With the covariance divided by count - ddof; one that is finished stays what it is.

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

    It is at least 0; where the terms cancel but for rounding errors, and these leave less than
    that, it is given as 0. ddof: what the covariances of moments are divided by, count - ddof; 1 as
    in Heusel et al.'s program, 0 as in NVIDIA's. NotEnoughData for fewer than ddof + 1 samples on a
    side.
    """
    a, b = Gaussian.from_moments(real, ddof), Gaussian.from_moments(generated, ddof)
    shift = a.mean - b.mean
    overlap = _trace_of_root(a.covariance, b.covariance)
    distance = float(shift @ shift + np.trace(a.covariance) + np.trace(b.covariance) - 2 * overlap)
    return 0.0 if distance < 0 else distance


def _trace_of_root(a: np.ndarray, b: np.ndarray) -> float:
    """tr (a b)^1/2 for two covariances, float64 [d, d].

    As the sum of the roots of the eigenvalues of L^T b L, where a = L L^T: they are those of
    a b, but of a symmetric matrix, so real by construction, and many times faster to find.
    """
    root = covariance_factor(a)
    eigenvalues = eigvalsh(root.T @ b @ root)
    # Those that should be 0 come out as rounding errors of either sign.
    return float(np.sqrt(eigenvalues.clip(min=0)).sum())


def covariance_factor(a: np.ndarray) -> np.ndarray:
    """Some L [d, rank] with a = L L^T for a covariance, float64 [d, d]."""
    try:
        root: np.ndarray = cholesky(a, lower=True)
    except LinAlgError:
        # Singular, as of fewer samples than dimensions. Without the eigenvalues that are rounding
        # errors: their roots are not small.
        eigenvalues, vectors = eigh(a)
        rounding = len(a) * np.finfo(np.float64).eps * eigenvalues[-1]
        significant = eigenvalues > rounding
        significant[-1] = True  # if only to have a column
        root = vectors[:, significant] * np.sqrt(eigenvalues[significant].clip(min=0))
    return root


class OptimalMap(NamedTuple):
    """T = root root^T, the linear map that takes N(0, b) to N(0, a)."""

    root: np.ndarray  # float64 [d, r]
    overlap: float  # tr (a b)^1/2


def optimal_map(factor: np.ndarray, trace: float, b: np.ndarray) -> OptimalMap:
    """T = L (L^T b L)^-1/2 L^T (Olkin & Pukelsheim 1982), in float64.

    The derivative of the distance by b is I - T. factor: L [d, r] with a = L L^T; trace: of a.
    Directions in which b does not vary get a steep map, but a finite one.
    """
    values, vectors = eigh(factor.T @ b @ factor, driver="evd")
    values = values.clip(min=0)
    guarded = values + _GUARD * max(values[-1], _GUARD * trace**2) + np.finfo(np.float64).tiny
    return OptimalMap((factor @ vectors) * guarded**-0.25, float(np.sqrt(values).sum()))
