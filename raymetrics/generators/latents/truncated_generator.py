"""Truncate the samples of a latent generator: `source?truncate=NAME:AMOUNT`.

    name               letter  what it does
    reject-distance    A       draws latents again that are far from the mean in W
    reject-density     B       draws latents again of low density
    clamp              C       moves latents of low density to the closest point of higher density
    interpolate-w      D       moves all latents towards the mean in W
    interpolate-z      E       moves all latents towards 0 in Z
    truncate-z         F       keeps the central share of every coordinate of z
    replace            G       replaces some of the latents by the mean
    truncate-z-at              draws coordinates of z beyond a threshold again
    scale-truncated-z          multiplies coordinates of z, drawn again beyond 2, by psi

NAME is a name or a letter of the table; the letters are those of Kynkaanniemi et al. (2019),
section 4.2. AMOUNT is in 0..1: 1 truncates nothing, 0 gives the same image for all samples (of a
class); see `strategies`. The last two are of BigGAN (Brock et al. 2019), and 1 truncates too: the
amount of `truncate-z-at` is the threshold, from 0 on; that of `scale-truncated-z` is psi.

For a generator with classes, the mean and the densities are computed for each class; with
`mean=all` they are computed for all classes together, as in NVIDIA's programs. With `cutoff=8` only
the first 8 layers get the truncated w (Karras et al. 2019, appendix B), if the generator takes w by
layers; strategies in Z have no cutoff.

For small amounts, strategies in Z do not approach the mean in W, but the network's w of z near 0.
A mapping that divides z by its length would undo E: `map_scaled` of
`raymetrics.generators.base.LatentGenerator` moves z after the division.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from raymetrics.errors import SourceError
from raymetrics.generators.base import (
    Generator,
    LatentGenerator,
    find_prompts,
    require_latent_generator,
)
from raymetrics.generators.latents import strategies
from raymetrics.generators.latents.latent_batches import (
    map_at_places,
    sample_w,
    synthesize_samples,
    synthesize_tensors,
)
from raymetrics.generators.latents.random_streams import Purpose, uniforms
from raymetrics.generators.latents.rejection import SampleCandidates, first_accepted
from raymetrics.generators.latents.strategies import Z_STRATEGIES
from raymetrics.generators.latents.truncation_options import Truncation
from raymetrics.generators.latents.w_distribution import Distribution
from raymetrics.generators.latents.w_estimation import DistributionCache
from raymetrics.generators.tensor_generator import TensorGenerator

if TYPE_CHECKING:
    from torch import Tensor

_ACCEPTANCE = {
    "reject-distance": strategies.within_distance,
    "reject-density": strategies.within_density,
}
_Z_REDRAWS = {
    "truncate-z": strategies.truncate_axes,
    "truncate-z-at": strategies.truncate_axes_at,
    "scale-truncated-z": strategies.scale_truncated_axes,
}


class TruncatedGenerator(TensorGenerator):
    """A generator of another generator's samples, truncated; sample k still depends on k alone."""

    def __init__(self, generator: Generator, truncation: Truncation) -> None:
        self.inner = require_latent_generator(generator)
        self.truncation = truncation
        self.block = self.inner.block
        self.block_by_device = getattr(self.inner, "block_by_device", False)
        self.distributions = DistributionCache(self.inner)
        self._map_scaled = _find_map_scaled(self.inner, truncation)
        if truncation.strategy == "interpolate-z" and 0 < truncation.amount < 1:
            self._require_length_matters()
        self._layer_count: int | None = getattr(self.inner, "layer_count", None)
        self._require_layers()

    def _require_layers(self) -> None:
        cutoff, layers = self.truncation.cutoff, self._layer_count
        if cutoff is not None and layers is None:
            raise SourceError(
                f"{self.inner.name} does not take w by layers, so all of w is truncated; leave out "
                f"cutoff={cutoff}"
            )
        if cutoff is not None and layers is not None and cutoff > layers:
            raise SourceError(f"cutoff is {cutoff}, but {self.inner.name} has {layers} layers")

    def _require_length_matters(self) -> None:
        if self._map_scaled is not None:
            return
        first = np.arange(1)
        z, labels = self.inner.draw(first), self.inner.labels(first)
        whole, half = (map_at_places(self.inner, first, part, labels) for part in (z, z / 2))
        if np.allclose(whole, half, rtol=1e-4, atol=1e-4 * np.abs(whole).max()):
            raise SourceError(
                f"{self.inner.name} normalises z, so that moving it towards 0 changes nothing; "
                "take interpolate-w or truncate-z, or give a class of yours the method map_scaled"
            )

    @property
    def name(self) -> str:
        return f"{self.inner.name} {self.truncation.strategy}:{self.truncation.amount:g}"

    @property
    def length(self) -> int | None:
        return self.inner.length

    @property
    def seeds(self) -> int | None:
        """The number of seeds of the generator; None if any id is a seed."""
        return getattr(self.inner, "seeds", None)

    @property
    def spec(self) -> dict[str, object]:
        moved = {} if self._map_scaled is None else {"interpolates": "normalized z"}
        return {"name": "truncated", "of": dict(self.inner.spec), **self.truncation.spec, **moved}

    def labels(self, sample_ids: np.ndarray) -> np.ndarray | None:
        """Return the classes of the samples, which truncation does not change."""
        return self.inner.labels(sample_ids)

    def prompts(self, sample_ids: np.ndarray) -> list[str] | None:
        """Return the texts of the samples, which truncation does not change."""
        return find_prompts(self.inner, sample_ids)

    def synthesize(self, w: np.ndarray) -> np.ndarray:
        """Synthesize images uint8 [n, 3, h, w] from w float32 [n, w] or [n, layers, w]."""
        return self.inner.synthesize(w)

    def synthesize_tensors(self, w: np.ndarray) -> Tensor:
        """Synthesize images uint8 [n, 3, h, w] on the generator's device.

        w: float32 [n, w] or [n, layers, w].
        """
        return synthesize_tensors(self.inner, w)

    def tensors(self, sample_ids: np.ndarray) -> Tensor:
        """Generate images uint8 [n, 3, h, w] on the generator's device from ids int64 [n]."""
        return synthesize_samples(self.inner, sample_ids, self.latents(sample_ids))

    def latents(self, sample_ids: np.ndarray) -> np.ndarray:
        """Compute the truncated w, float32 [n, w], of sample ids int64 [n].

        With a cutoff, returns the w of each layer, float32 [n, layers, w]. Raises SourceError if a
        strategy of rejection accepts no candidate; see `rejection`.
        """
        if self.truncation.strategy in Z_STRATEGIES:
            return self._map_truncated_z(sample_ids)
        w = sample_w(self.inner, sample_ids)
        truncated = w.copy()
        if self.truncation.amount < 1:
            for label, rows in self._rows_by_class(sample_ids):
                truncated[rows] = self._truncate_w(
                    w[rows], sample_ids[rows], self.distributions.for_class(label)
                )
        return self._by_layers(truncated, w)

    def _by_layers(self, truncated: np.ndarray, w: np.ndarray) -> np.ndarray:
        """Give the first layers the truncated w, and the others w, float32 [n, layers, w]; return
        the truncated w, float32 [n, w], where all layers share it.
        """
        if self.truncation.cutoff is None or self._layer_count is None:
            return truncated
        by_layers = np.repeat(w[:, None], self._layer_count, axis=1)
        by_layers[:, : self.truncation.cutoff] = truncated[:, None]
        return by_layers

    def _map_truncated_z(self, sample_ids: np.ndarray) -> np.ndarray:
        z, labels = self.inner.draw(sample_ids), self.inner.labels(sample_ids)
        places = sample_ids % self.block
        if self._map_scaled is not None:
            return map_at_places(self.inner, places, z, labels, self._map_scaled)
        return map_at_places(self.inner, places, self._truncate_z(z, sample_ids), labels)

    def _truncate_z(self, z: np.ndarray, sample_ids: np.ndarray) -> np.ndarray:
        strategy, amount = self.truncation.strategy, self.truncation.amount
        if strategy == "interpolate-z":
            return strategies.interpolate(z, 0, amount)
        drawn = uniforms(sample_ids, Purpose.TRUNCATED_NORMALS, z.shape[1])
        return _Z_REDRAWS[strategy](z, drawn, amount)

    def _rows_by_class(self, sample_ids: np.ndarray) -> Iterator[tuple[int | None, np.ndarray]]:
        """Yield each class and its rows; None and all rows if all classes share one mean."""
        labels = self.inner.labels(sample_ids) if self.truncation.mean == "class" else None
        if labels is None:
            yield None, np.arange(len(sample_ids))
            return
        for label in np.unique(labels):
            yield int(label), np.flatnonzero(labels == label)

    def _truncate_w(self, w: np.ndarray, ids: np.ndarray, distribution: Distribution) -> np.ndarray:
        strategy, amount = self.truncation.strategy, self.truncation.amount
        if strategy == "clamp":
            return strategies.clamp(w, distribution, amount)
        if strategy == "replace":
            drawn = uniforms(ids, Purpose.REPLACEMENT, 1)[:, 0]
            return strategies.replace(w, distribution.mean, drawn, amount)
        if strategy == "interpolate-w" or amount == 0:
            return strategies.interpolate(w, distribution.mean, amount)
        accepts = partial(_ACCEPTANCE[strategy], distribution=distribution, amount=amount)
        return first_accepted(w, accepts, SampleCandidates(self.inner, ids))


def _find_map_scaled(
    generator: LatentGenerator, truncation: Truncation
) -> Callable[[np.ndarray, np.ndarray | None], Any] | None:
    """Return the mapping that moves a normalized z by the amount of strategy E; None without."""
    map_scaled = getattr(generator, "map_scaled", None)
    if map_scaled is None or truncation.strategy != "interpolate-z":
        return None
    return partial(map_scaled, scale=truncation.amount)
