"""The seven truncation strategies of Kynkaanniemi et al. (2019), section 4.2, as pure functions.

The paper names them by letters. Each takes an amount in 0..1: with 1 nothing is truncated, and
the latents come back bit for bit; with 0 all are the mean. Between them it is the share of the
way to a latent that is kept (D, E), or of the samples that are left alone (A, B, C, G), or of each
coordinate's distribution (F). Latents are float32 [n, d]; all is computed in float64.
"""

from __future__ import annotations

import numpy as np

from raymetrics.generators.latents.ellipsoid import closest_points
from raymetrics.generators.latents.w_distribution import Distribution


def within_distance(w: np.ndarray, distribution: Distribution, amount: float) -> np.ndarray:
    """Which samples A keeps: those not too far from the mean in W. bool [n].

    The threshold is the distance within which the share `amount` of all samples lies. What is
    rejected is drawn again; see `rejection`.
    """
    return distribution.distance(w) <= distribution.distance_quantile(amount)


def within_density(w: np.ndarray, distribution: Distribution, amount: float) -> np.ndarray:
    """Which samples B keeps: those of high density under a Gaussian with W's moments. bool [n].

    Density falls with the Mahalanobis distance; the threshold is the one within which the share
    `amount` of all samples lies. What is rejected is drawn again; see `rejection`.
    """
    return distribution.mahalanobis(w) <= distribution.mahalanobis_quantile(amount)


def clamp(w: np.ndarray, distribution: Distribution, amount: float) -> np.ndarray:
    """C: latents of low density are moved to the closest point of higher density.

    That is a point of the hyperellipsoid of equal density that holds the share `amount` of all
    samples; latents inside stay.
    """
    if amount == 0:
        return interpolate(w, distribution.mean, 0)
    radius = distribution.mahalanobis_quantile(amount)
    outliers = np.flatnonzero(distribution.mahalanobis(w) > radius)
    if not len(outliers):
        return w
    coordinates = distribution.axis_coordinates(w[outliers])
    clamped = w.copy()
    clamped[outliers] = distribution.from_axis_coordinates(
        closest_points(coordinates, radius * distribution.deviations)
    )
    return clamped


def interpolate(latents: np.ndarray, mean: np.ndarray | float, amount: float) -> np.ndarray:
    """D: all latents go linearly towards the mean of W. E: towards the mean of Z, which is 0.

    amount is Karras et al.'s psi (2019, appendix B): mean + amount (latent - mean).
    """
    # Of two products, so that both ends are met exactly.
    return (amount * latents.astype(np.float64) + (1 - amount) * mean).astype(np.float32)


def truncate_axes(z: np.ndarray, uniforms: np.ndarray, amount: float) -> np.ndarray:
    """F: z's normal distribution is truncated along the coordinate axes (Brock et al. 2019).

    The central share `amount` of every coordinate's distribution is kept. Values beyond are
    replaced by draws of the truncated normal, made of uniforms float64 [n, z] in 0..1.
    """
    from scipy.special import ndtri

    if amount == 1:
        return z
    limit = ndtri((1 + amount) / 2)
    drawn = ndtri((1 - amount) / 2 + amount * uniforms)
    truncated = np.where(np.abs(z) <= limit, z, np.clip(drawn, -limit, limit))
    return truncated.astype(np.float32)


def replace(w: np.ndarray, mean: np.ndarray, uniforms: np.ndarray, amount: float) -> np.ndarray:
    """G: a random subset of the latents is replaced by the mean of W.

    A latent stays if its uniform number, float64 [n] in 0..1, is less than the amount.
    """
    return np.where((uniforms < amount)[:, None], w, mean.astype(np.float32))
