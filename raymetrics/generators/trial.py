"""Try a user's own generator before a command starts: generate a few samples twice and compare.

An image that depends on more than its sample id makes every number wrong without an error: workers
that start from the same seed generate the same images, and another number of workers generates
another set.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from raymetrics.errors import SourceError
from raymetrics.generators.base import Generator, find_prompts
from raymetrics.generators.user_function import UserFunctionGenerator, UserLatentGenerator

# How many grey levels two images of one sample may differ by: floats that are computed in another
# batch differ in their last digits, and are sometimes rounded to the next level.
_ROUNDING = 2

_SEEDING_HINT = (
    "give each image noise of its own that its sample id seeds, as np.random.default_rng(k) or "
    "torch.Generator().manual_seed(int(k)) for id k"
)
_RENEWAL_SEEDING_HINT = (
    f"{_SEEDING_HINT}, and seed or load whatever else the class draws when it is made"
)


class _TrialSamples(NamedTuple):
    """Some samples with their images, labels and latents.

    sample_ids: int64 [n], in any order. images: uint8 [n, 3, h, w]. labels: int64 [n] or None.
    latents: float32 [n, z] of a latent generator, else None. prompts: texts, or None.
    """

    sample_ids: np.ndarray
    images: np.ndarray
    labels: np.ndarray | None
    latents: np.ndarray | None
    prompts: list[str] | None


def find_user_generator(generator: Generator) -> UserFunctionGenerator | None:
    """Return the user's own generator, if this generator is one or truncates one; else None.

    A generator of the user's own that refuses trials, with `trial = False`, gives None too.
    """
    inner = getattr(generator, "inner", generator)
    return inner if isinstance(inner, UserFunctionGenerator) and inner.trial else None


def try_out(generator: Generator, samples: range) -> tuple[int, int] | None:
    """Generate a few samples of a user's own generator twice; return height and width of images.

    samples: the samples of the command; the first two and the last are generated, then generated
    again in another order and number, and again by a new object. Raises SourceError if images,
    labels or latents differ by more than rounding, or have another shape or type than a generator's
    must have. Returns None, without generating, for generators of raymetrics and for a callable
    with `trial = False`.
    """
    function = find_user_generator(generator)
    if function is None:
        return None
    first = _make_samples(function, _some_ids(samples, function.length))
    _require_same(function, first, first.sample_ids[::-2], "among other ids", _SEEDING_HINT)
    function.renew()
    _require_same(
        function, first, first.sample_ids[1::-1], "by an object made anew", _RENEWAL_SEEDING_HINT
    )
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # workers need this memory
    height, width = first.images.shape[2:]
    return height, width


def _some_ids(samples: range, length: int | None) -> np.ndarray:
    """Return the first two and the last of the samples, ascending.

    The second is included even if the range has only one sample, if the generator has a second.
    """
    second = samples.start + 1
    ids = {samples.start, samples[-1], *([second] if length is None or second < length else [])}
    return np.array(sorted(ids))


def _make_samples(function: UserFunctionGenerator, sample_ids: np.ndarray) -> _TrialSamples:
    latents = function.draw(sample_ids) if isinstance(function, UserLatentGenerator) else None
    images, labels = function(sample_ids), function.labels(sample_ids)
    return _TrialSamples(sample_ids, images, labels, latents, find_prompts(function, sample_ids))


def _require_same(
    function: UserFunctionGenerator,
    first: _TrialSamples,
    sample_ids: np.ndarray,
    how: str,
    remedy: str,
) -> None:
    """Generate samples again; raise SourceError if they differ from the first time.

    how: the circumstances of the second time, and remedy: what to change, for the message.
    """
    again = _make_samples(function, sample_ids)
    rows = np.searchsorted(first.sample_ids, sample_ids)
    apart = np.abs(again.images.astype(np.int16) - first.images[rows]).max(axis=(1, 2, 3))
    if apart.max() > _ROUNDING:
        k = sample_ids[apart.argmax()]
        raise SourceError(
            f"image {k} of {function.name} depends on more than its id: asked for again {how}, it "
            f"is another one (up to {apart.max()} of 255 grey levels apart); {remedy}"
        )
    texts = None if first.prompts is None else [first.prompts[row] for row in rows]
    if texts != again.prompts:
        raise SourceError(
            f"the prompts of {function.name} depend on more than the sample ids: asked for again "
            f"{how}, those of {', '.join(map(str, sample_ids))} are others; {remedy}"
        )
    labels, latents = (first.labels, again.labels), (first.latents, again.latents)
    for name, (before, now) in {"label": labels, "latent": latents}.items():
        if not _nearly_equal(None if before is None else before[rows], now):
            raise SourceError(
                f"the {name}s of {function.name} depend on more than the sample ids: asked for "
                f"again {how}, those of {', '.join(map(str, sample_ids))} are others; {remedy}"
            )


def _nearly_equal(before: np.ndarray | None, now: np.ndarray | None) -> bool:
    if before is None or now is None:
        return before is now
    return before.shape == now.shape and np.allclose(before, now, rtol=1e-4, atol=1e-4)
