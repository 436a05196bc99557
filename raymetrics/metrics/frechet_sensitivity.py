"""The sensitivity of the Frechet distance to one generated image, and to the parts of the image.

Kynkaanniemi et al. 2023, section 2.1: the moments of N - 1 generated images are updated by one
more, and the distance's gradient goes back to the last map A of the network, [c, h, w], whose
spatial mean the features f are. Neither a backward pass nor a root's derivative is needed. With the
updated mean m', the mean m of the others, and T' the optimal map from the updated covariance to
the real one (`raymetrics.metrics.frechet.optimal_map`; covariances are divided by count - 1),

    dF/df = 2/N (m' - m_r) + 2/N (I - T')(f - m)

and since f is a mean, dF/dA is the same at each of the h w places of a channel: dF/df / (h w).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from raymetrics.errors import NotEnoughData
from raymetrics.metrics.frechet import Gaussian, covariance_factor, optimal_map
from raymetrics.statistics import Moments


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """dF/df = shift + matrix (f - mean), for every image that is looked at against two sets."""

    mean: np.ndarray  # float64 [d]
    shift: np.ndarray  # float64 [d]
    matrix: np.ndarray  # float64 [d, d], symmetric

    @classmethod
    def for_members(cls, real: Gaussian, generated: Moments) -> Sensitivity:
        """Return the sensitivity to images of the generated set, each against all others. Exact.

        The updated moments are those of the whole set, whichever image came last.
        NotEnoughData for fewer than two images.
        """
        n = generated.count
        transport = _optimal_map_to_real(real, generated)
        shift = (generated.mean - real.mean) * (2 / n)
        return cls(generated.mean, shift, (np.eye(len(shift)) - transport) * (2 / (n - 1)))

    @classmethod
    def for_new_images_approximately(cls, real: Gaussian, base: Moments) -> Sensitivity:
        """Return the sensitivity to images outside of the set, with T of the set without them.

        It is an approximation, which is near for a set of many images.
        NotEnoughData unless the set has more images than dimensions: in a direction in which no
        image of the set varies, the map without the new one is arbitrarily steep.
        """
        if base.count <= len(base.mean):
            raise NotEnoughData(
                f"images are added to a set of {base.count}, of {len(base.mean)} dimensions, whose "
                "covariance is singular; ask for exact ones (--exact), or extract more samples"
            )
        return cls._for_new_image(real, base, _optimal_map_to_real(real, base))

    @classmethod
    def for_new_image_exactly(
        cls, real: Gaussian, base: Moments, features: np.ndarray
    ) -> Sensitivity:
        """Return the sensitivity to one image outside of the set, with T of both. Exact.

        features: float [d]. Takes an eigendecomposition for every image.
        """
        updated = base.merge(Moments.from_samples(features[None]))
        return cls._for_new_image(real, base, _optimal_map_to_real(real, updated))

    @classmethod
    def _for_new_image(cls, real: Gaussian, base: Moments, transport: np.ndarray) -> Sensitivity:
        n = base.count + 1
        shift = (base.mean - real.mean) * (2 / n)
        # The updated mean is m + (f - m) / N.
        return cls(base.mean, shift, (np.eye(len(shift)) * (1 + 1 / n) - transport) * (2 / n))


def _optimal_map_to_real(real: Gaussian, generated: Moments) -> np.ndarray:
    """Compute T from the generated covariance to the real one, float64 [d, d]."""
    covariance = generated.covariance(ddof=1)
    root = optimal_map(
        covariance_factor(real.covariance), float(np.trace(real.covariance)), covariance
    ).root
    return np.asarray(root @ root.T)


def gradient(features: Any, mean: Any, shift: Any, matrix: Any) -> Any:
    """Compute dF/df of every image, [n, d]; features: [n, d], all of numpy or all of torch."""
    return shift + (features - mean) @ matrix


def channel_weights(gradients: Any, positions: int) -> Any:
    """Compute alpha_k of Eq. 2: the mean over all positions of (dF/dA_k)^2, [n, c].

    gradients: by the features, [n, c]; positions: h w of the map.
    """
    return (gradients / positions) ** 2


def importance(weights: Any, activations: Any) -> Any:
    """Compute sum_k alpha_k A_k, [n, h, w], without a ReLU; activations: [n, c, h, w]."""
    return (weights[:, :, None, None] * activations).sum(1)
