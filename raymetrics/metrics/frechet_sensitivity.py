"""The sensitivity of the Frechet distance to one generated image, and to the parts of the image.

Kynkaanniemi et al. 2023, section 2.1: the moments of N - 1 generated images are updated by one
more, and the distance's gradient goes back to the last map A of the network, [c, h, w], whose
spatial mean the features f are. Neither a backward pass nor a root's derivative is needed. With the
updated mean m', the mean m of the others, and T' the optimal map from the updated covariance to
the real one (`raymetrics.metrics.frechet.optimal_map`; covariances are divided by count - 1),

    dF/df = 2/N (m' - m_r) + 2/N (I - T')(f - m)

and since f is a mean, dF/dA is the same at each of the h w places of a channel: dF/df / (h w).

Arrays are of numpy, or tensors of torch on one device.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np

from raymetrics.errors import NotEnoughData
from raymetrics.metrics.frechet import Gaussian, covariance_factor, optimal_map, overlap_spectrum
from raymetrics.metrics.inverse_roots import quadrature_nodes, updated_inverse_root
from raymetrics.statistics import Moments
from raymetrics.statistics.processors import cast_like


class Derivative(Protocol):
    """dF/df as a function of the features f of an image."""

    def gradient(self, features: Any) -> Any:
        """Compute dF/df of every image, [n, d]; features: float64 [n, d]."""

    def cast_like(self, features: Any) -> Self:
        """Return the same derivative, with its arrays in the library and on the device of
        features, float64."""


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """dF/df = shift + matrix (f - mean), for every image that is looked at against two sets."""

    mean: Any  # float64 [d]
    shift: Any  # float64 [d]
    matrix: Any  # float64 [d, d], symmetric

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
        n = base.count + 1
        shift = (base.mean - real.mean) * (2 / n)
        matrix = np.eye(len(shift)) * (1 + 1 / n) - _optimal_map_to_real(real, base)
        # The updated mean is m + (f - m) / N.
        return cls(base.mean, shift, matrix * (2 / n))

    def gradient(self, features: Any) -> Any:
        """Compute dF/df of every image; see `Derivative`."""
        return self.shift + (features - self.mean) @ self.matrix

    def cast_like(self, features: Any) -> Sensitivity:
        """Return the same derivative on another device; see `Derivative`."""
        return _cast_arrays(self, features)


@dataclass(frozen=True, eq=False)
class AddedSensitivity:
    """The sensitivity to images outside of the set, each with T' of the set and that image. Exact.

    With u = f - m, S the set's covariance divided by N - 1, S_r = L L^T, and L^T S L = V E V^T, the
    updated covariance is S + u u^T / N, and T' u = L V (E + z z^T / N)^-1/2 z for z = V^T L^T u.
    So one eigendecomposition serves all images.
    """

    mean: Any  # float64 [d]
    shift: Any  # float64 [d]
    root: Any  # float64 [d, r]: L V
    eigenvalues: Any  # float64 [r]: of E, all above 0
    nodes: tuple[float, ...]  # of the quadrature for the inverse root
    count: int  # N, with the image

    @classmethod
    def from_moments(cls, real: Gaussian, base: Moments) -> AddedSensitivity:
        """Prepare for images that are added to a set."""
        count, trace = base.count + 1, float(np.trace(real.covariance))
        factor = covariance_factor(real.covariance)
        spectrum = overlap_spectrum(factor, trace, base.covariance(ddof=0))
        eigenvalues = spectrum.guarded
        # |z|^2 is at most tr S_r |u|^2; where u is typical, that is about the trace squared.
        nodes = quadrature_nodes(float(eigenvalues[0]), max(float(eigenvalues[-1]), trace**2))
        shift = (base.mean - real.mean) * (2 / count)
        return cls(base.mean, shift, factor @ spectrum.vectors, eigenvalues, nodes, count)

    def gradient(self, features: Any) -> Any:
        """Compute dF/df of every image; see `Derivative`."""
        apart = features - self.mean
        rotated = apart @ self.root
        inverse = updated_inverse_root(self.eigenvalues, rotated, 1 / self.count, self.nodes)
        moved = inverse @ self.root.T
        return self.shift + (apart * (1 + 1 / self.count) - moved) * (2 / self.count)

    def cast_like(self, features: Any) -> AddedSensitivity:
        """Return the same derivative on another device; see `Derivative`."""
        return _cast_arrays(self, features)


def _cast_arrays(derivative: Any, features: Any) -> Any:
    """Return the record with its arrays in the library, type and device of features."""
    arrays = {
        name: cast_like(value, features)
        for name, value in vars(derivative).items()
        if isinstance(value, np.ndarray)
    }
    return replace(derivative, **arrays)


def _optimal_map_to_real(real: Gaussian, generated: Moments) -> np.ndarray:
    """Compute T from the generated covariance to the real one, float64 [d, d]."""
    covariance = generated.covariance(ddof=1)
    root = optimal_map(
        covariance_factor(real.covariance), float(np.trace(real.covariance)), covariance
    ).root
    return np.asarray(root @ root.T)


def channel_weights(gradients: Any, positions: int) -> Any:
    """Compute alpha_k of Eq. 2: the mean over all positions of (dF/dA_k)^2, [n, c].

    gradients: by the features, [n, c]; positions: h w of the map.
    """
    return (gradients / positions) ** 2


def importance(weights: Any, activations: Any) -> Any:
    """Compute sum_k alpha_k A_k, [n, h, w], without a ReLU; activations: [n, c, h, w]."""
    return (weights[:, :, None, None] * activations).sum(1)
