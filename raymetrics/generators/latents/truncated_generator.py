"""Truncate the samples of a latent generator: `source?truncate=NAME:AMOUNT`.

    name             letter  what it does
    reject-distance  A       draws latents again that are far from the mean in W
    reject-density   B       draws latents again of low density
    clamp            C       moves latents of low density to the closest point of higher density
    interpolate-w    D       moves all latents towards the mean in W
    interpolate-z    E       moves all latents towards 0 in Z
    truncate-z       F       keeps every coordinate of z near 0
    replace          G       replaces some of the latents by the mean

NAME is a name or a letter of the table; the letters are those of Kynkaanniemi et al. (2019),
section 4.2. AMOUNT is in 0..1: 1 truncates nothing, 0 gives the same image for all samples (of a
class); see `strategies`. For a generator with classes, the mean and the densities are computed for
each class; with `mean=all` they are computed for all classes together, as in NVIDIA's programs.

For small amounts, E and F do not approach the mean in W, but the network's w of z near 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from raymetrics.errors import SourceError
from raymetrics.generators.base import Generator, require_latent_generator
from raymetrics.generators.latents import strategies
from raymetrics.generators.latents.latent_batches import (
    map_at_places,
    sample_w,
    synthesize_samples,
    synthesize_tensors,
)
from raymetrics.generators.latents.random_streams import Purpose, uniforms
from raymetrics.generators.latents.rejection import SampleCandidates, first_accepted
from raymetrics.generators.latents.strategies import STRATEGY_BY_LETTER, Z_STRATEGIES
from raymetrics.generators.latents.w_distribution import Distribution
from raymetrics.generators.latents.w_estimation import DistributionCache, estimation_settings
from raymetrics.generators.tensor_generator import TensorGenerator

if TYPE_CHECKING:
    from torch import Tensor

_ACCEPTANCE = {
    "reject-distance": strategies.within_distance,
    "reject-density": strategies.within_density,
}
_MEANS = ("class", "all")


@dataclass(frozen=True)
class Truncation:
    """The options of a truncation.

    mean: "class" or "all", the samples whose mean and densities are used.
    """

    strategy: str
    amount: float
    mean: str

    @classmethod
    def parse(cls, text: str, mean: str | None) -> Truncation:
        """Parse the options `truncate` and `mean`; raise SourceError for values not allowed."""
        name, _, number = text.partition(":")
        strategy = STRATEGY_BY_LETTER.get(name, name)
        if strategy not in STRATEGY_BY_LETTER.values():
            known = ", ".join(f"{letter} {name}" for letter, name in STRATEGY_BY_LETTER.items())
            raise SourceError(f"no truncation {name!r}; expected name:amount, of {known}")
        if mean not in (None, *_MEANS):
            raise SourceError(f"mean is {mean!r}, expected one of {', '.join(_MEANS)}")
        if mean is not None and strategy in Z_STRATEGIES:
            raise SourceError(f"{strategy} has no use for a mean of W; leave out mean={mean}")
        return cls(strategy, _parse_amount(text, number), mean or _MEANS[0])

    @property
    def spec(self) -> dict[str, object]:
        """Everything in these options that changes pixels."""
        settings = {"strategy": self.strategy, "amount": self.amount}
        return (
            settings
            if self.strategy in Z_STRATEGIES
            else {**settings, "mean": self.mean, "distribution": estimation_settings()}
        )


def _parse_amount(text: str, number: str) -> float:
    """Parse an amount in 0..1; raise SourceError, which names `text`, for anything else."""
    try:
        amount = float(number)
    except ValueError:
        amount = float("nan")
    if not 0 <= amount <= 1:
        raise SourceError(
            f"truncate is {text!r}, expected an amount from 0 to 1 after the name, as in "
            "clamp:0.7; 1 truncates nothing"
        )
    return amount


class TruncatedGenerator(TensorGenerator):
    """A generator of another generator's samples, truncated; sample k still depends on k alone."""

    def __init__(self, generator: Generator, truncation: Truncation) -> None:
        self.inner = require_latent_generator(generator)
        self.truncation = truncation
        self.block = self.inner.block
        self.block_by_device = getattr(self.inner, "block_by_device", False)
        self.distributions = DistributionCache(self.inner)
        if truncation.strategy == "interpolate-z" and 0 < truncation.amount < 1:
            self._require_length_matters()

    def _require_length_matters(self) -> None:
        first = np.arange(1)
        z, labels = self.inner.draw(first), self.inner.labels(first)
        whole, half = (map_at_places(self.inner, first, part, labels) for part in (z, z / 2))
        if np.allclose(whole, half, rtol=1e-4, atol=1e-4 * np.abs(whole).max()):
            raise SourceError(
                f"{self.inner.name} normalises z, so that moving it towards 0 changes nothing; "
                "take interpolate-w, or truncate-z"
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
        return {"name": "truncated", "of": dict(self.inner.spec), **self.truncation.spec}

    def labels(self, sample_ids: np.ndarray) -> np.ndarray | None:
        """Return the classes of the samples, which truncation does not change."""
        return self.inner.labels(sample_ids)

    def synthesize(self, w: np.ndarray) -> np.ndarray:
        """Synthesize images uint8 [n, 3, h, w] from w float32 [n, w]."""
        return self.inner.synthesize(w)

    def synthesize_tensors(self, w: np.ndarray) -> Tensor:
        """Synthesize images uint8 [n, 3, h, w] on the generator's device from w float32 [n, w]."""
        return synthesize_tensors(self.inner, w)

    def tensors(self, sample_ids: np.ndarray) -> Tensor:
        """Generate images uint8 [n, 3, h, w] on the generator's device from ids int64 [n]."""
        return synthesize_samples(self.inner, sample_ids, self.latents(sample_ids))

    def latents(self, sample_ids: np.ndarray) -> np.ndarray:
        """Compute the truncated w, float32 [n, w], of sample ids int64 [n].

        Raises SourceError if a strategy of rejection accepts no candidate; see `rejection`.
        """
        if self.truncation.strategy in Z_STRATEGIES:
            z = self._truncate_z(self.inner.draw(sample_ids), sample_ids)
            places = sample_ids % self.block
            return map_at_places(self.inner, places, z, self.inner.labels(sample_ids))
        w = sample_w(self.inner, sample_ids)
        if self.truncation.amount < 1:
            for label, rows in self._rows_by_class(sample_ids):
                w[rows] = self._truncate_w(
                    w[rows], sample_ids[rows], self.distributions.for_class(label)
                )
        return w

    def _truncate_z(self, z: np.ndarray, sample_ids: np.ndarray) -> np.ndarray:
        amount = self.truncation.amount
        if self.truncation.strategy == "interpolate-z":
            return strategies.interpolate(z, 0, amount)
        drawn = uniforms(sample_ids, Purpose.TRUNCATED_NORMALS, z.shape[1])
        return strategies.truncate_axes(z, drawn, amount)

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
