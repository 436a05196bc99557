"""Truncate latents by the seven strategies of Kynkaanniemi et al. (2019), section 4.2, and by two
forms of the truncation in Z of BigGAN (Brock et al. 2019).

The paper names its strategies by letters. All functions are pure. Those of the paper's take an
amount in 0..1. With amount 1 nothing is truncated, and the latents keep their bits; with 0 all
latents are the mean. In between, the amount is a share: of the distance to the mean that is kept
(D, E), of the samples that do not change (A, B, C, G), or of the distribution of each coordinate
(F). Latents are float32 [n, d]; computations are in float64.
"""

from __future__ import annotations

import numpy as np

from raymetrics.generators.latents.ellipsoid import closest_points
from raymetrics.generators.latents.w_distribution import Distribution

# The letters of Kynkaanniemi et al. (2019), section 4.2.
STRATEGY_BY_LETTER = {
    "A": "reject-distance",
    "B": "reject-density",
    "C": "clamp",
    "D": "interpolate-w",
    "E": "interpolate-z",
    "F": "truncate-z",
    "G": "replace",
}
THRESHOLD_STRATEGY = "truncate-z-at"  # its amount is a threshold, which may be above 1
BIGGAN_STRATEGIES = (THRESHOLD_STRATEGY, "scale-truncated-z")  # with amount 1 they truncate too
STRATEGIES = (*STRATEGY_BY_LETTER.values(), *BIGGAN_STRATEGIES)
Z_STRATEGIES = ("interpolate-z", "truncate-z", *BIGGAN_STRATEGIES)
# Those with a threshold in W, within which the share `amount` of all samples lies.
REGION_STRATEGIES = ("reject-distance", "reject-density", "clamp")
_HUB_LIMIT = 2  # of the truncated normal in the examples of BigGAN's module


def within_distance(w: np.ndarray, distribution: Distribution, amount: float) -> np.ndarray:
    """Select the samples that strategy A accepts, those close to the mean in W; bool [n].

    The threshold is the distance within which the share `amount` of all samples lies. Rejected
    samples are drawn again; see `rejection`.
    """
    return distribution.distance(w) <= distribution.distance_quantile(amount)


def within_density(w: np.ndarray, distribution: Distribution, amount: float) -> np.ndarray:
    """Select the samples that strategy B accepts, those of high density; bool [n].

    The density is that of a Gaussian with W's moments, which falls with the Mahalanobis distance.
    The threshold is the distance within which the share `amount` of all samples lies. Rejected
    samples are drawn again; see `rejection`.
    """
    return distribution.mahalanobis(w) <= distribution.mahalanobis_quantile(amount)


def clamp(w: np.ndarray, distribution: Distribution, amount: float) -> np.ndarray:
    """Apply strategy C: move latents of low density to the closest point of higher density.

    That point lies on the hyperellipsoid of equal density that contains the share `amount` of all
    samples. Latents inside of the hyperellipsoid do not change.
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
    """Apply strategy D or E: move all latents linearly towards the mean, of W for D, of Z for E.

    The mean of Z is 0. The amount is psi of Karras et al. (2019, appendix B):
    mean + amount (latent - mean).
    """
    # As a sum of two products, the result is exact for the amounts 0 and 1.
    return (amount * latents.astype(np.float64) + (1 - amount) * mean).astype(np.float32)


def truncate_axes(z: np.ndarray, uniforms: np.ndarray, amount: float) -> np.ndarray:
    """Apply strategy F: truncate z's normal distribution along the axes (Brock et al. 2019).

    Coordinates in the central share `amount` of their distribution do not change. Others are
    replaced by draws of the truncated normal, computed from uniforms float64 [n, z] in 0..1.
    """
    from scipy.special import ndtri

    return z if amount == 1 else _redraw_axes(z, uniforms, ndtri((1 + amount) / 2), amount)


def truncate_axes_at(z: np.ndarray, uniforms: np.ndarray, threshold: float) -> np.ndarray:
    """Replace coordinates of z outside -threshold..threshold by draws of the truncated normal.

    Brock et al. (2019), section 3.1: values above a threshold are drawn again. uniforms: float64
    [n, z] in 0..1.
    """
    from scipy.special import erf

    return _redraw_axes(z, uniforms, threshold, erf(threshold / np.sqrt(2)))


def scale_truncated_axes(z: np.ndarray, uniforms: np.ndarray, psi: float) -> np.ndarray:
    """Multiply normals that are truncated at -2 and 2 by psi, as users of BigGAN's module do.

    uniforms: float64 [n, z] in 0..1.
    """
    return interpolate(truncate_axes_at(z, uniforms, _HUB_LIMIT), 0, psi)


def _redraw_axes(z: np.ndarray, uniforms: np.ndarray, limit: float, share: float) -> np.ndarray:
    """Draw coordinates outside -limit..limit again; inside lies this share of a normal."""
    from scipy.special import ndtri

    drawn = ndtri((1 - share) / 2 + share * uniforms)
    truncated = np.where(np.abs(z) <= limit, z, np.clip(drawn, -limit, limit))
    return truncated.astype(np.float32)


def replace(w: np.ndarray, mean: np.ndarray, uniforms: np.ndarray, amount: float) -> np.ndarray:
    """Apply strategy G: replace a random subset of the latents by the mean of W.

    A latent does not change if its uniform number, float64 [n] in 0..1, is less than the amount.
    """
    return np.where((uniforms < amount)[:, None], w, mean.astype(np.float32))
