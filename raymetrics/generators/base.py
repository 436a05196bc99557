"""Define the interface of a generator; a data set is a generator whose ids are indices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from raymetrics.errors import SampleRangeError, SourceError
from raymetrics.generators.tensor_generator import as_tensor

if TYPE_CHECKING:
    from torch import Tensor

SEED_COUNT = 2**32  # RandomState takes the seeds 0 to 2^32 - 1


class Generator(Protocol):
    """A pure function from sample ids to images: image k depends on k alone.

    One whose source has the option `block`, and whose device chooses the block without it, has
    `block_by_device = True`; see `device_block`.

    An endless generator whose sample ids are seeds of a limited range has an attribute `seeds`, the
    number of these seeds. One that several threads may call at a time, as it keeps nothing between
    calls and draws no random numbers that threads share, has `thread_safe = True`.

    One that computes on a device may have a method `tensors(sample_ids)` that returns the images
    uint8 [n, 3, h, w] as a tensor on that device, with the bits of a call; see `generate_tensors`.

    One whose samples were made from texts may have a method `prompts(sample_ids)` that returns the
    text of each, or None if they are not known; see `find_prompts`.

    One that decodes images may have an attribute `threads`, the number of threads that a call uses,
    which a worker sets to its share of the processors; no bit depends on it.
    """

    @property
    def name(self) -> str: ...

    @property
    def spec(self) -> Mapping[str, object]:
        """Everything that changes the pixels, as JSON values: digest of the weights, options."""

    @property
    def length(self) -> int | None:
        """The number of samples; None for an endless generator."""

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        """Generate images uint8 [n, 3, h, w] from sample ids int64 [n]."""

    def labels(self, sample_ids: np.ndarray) -> np.ndarray | None:
        """Return the classes of the samples, int64 [n]; None if they are not known."""


def generate_tensors(generator: Generator, sample_ids: np.ndarray) -> Tensor:
    """Generate images uint8 [n, 3, h, w] as a tensor, on the generator's device if it has one.

    sample_ids: int64 [n].
    """
    tensors = getattr(generator, "tensors", None)
    if tensors is not None:
        images: Tensor = tensors(sample_ids)
        return images
    return as_tensor(generator(sample_ids))


def find_prompts(generator: Generator, sample_ids: np.ndarray) -> list[str] | None:
    """Return the texts that samples were made from; None if the generator does not know them.

    sample_ids: int64 [n]. SourceError for anything but n texts.
    """
    method = getattr(generator, "prompts", None)
    prompts = None if method is None else method(sample_ids)
    if prompts is None:
        return None
    texts = list(prompts)
    if len(texts) != len(sample_ids) or not all(isinstance(text, str) for text in texts):
        kinds = ", ".join(sorted({type(text).__name__ for text in texts}))
        raise SourceError(
            f"prompts of {generator.name} are {len(texts)} of type {kinds or 'none'} for "
            f"{len(sample_ids)} sample ids, expected one str for each"
        )
    return texts


def device_block(generator: Generator) -> int | None:
    """Return the block that a generator has chosen by its device; None if it does not choose."""
    if not getattr(generator, "block_by_device", False):
        return None
    block: int = generator.block  # type: ignore[attr-defined]
    return block


@runtime_checkable
class LatentGenerator(Generator, Protocol):
    """A generator z -> w -> image, whose samples can be truncated and interpolated.

    Sample k is `synthesize(map(draw([k]), labels([k])))`. A generator without an intermediate space
    W uses Z as W: its `map` returns z. `map` and `synthesize` compute row i at place i % block of a
    batch (see `raymetrics.fixed_batches`), so a caller that puts a sample at its own place gets the
    same bits as from a call of the generator.

    One that computes on a device may have a method `synthesize_tensors(w)` that returns the images
    as a tensor on that device, with the bits of `synthesize`; see `latents.latent_batches`.

    One whose `map` divides z by its length before the first layer should have a method
    `map_scaled(z, labels, scale)`: `map` with the divided z multiplied by a float, and the class
    left as it is. With scale 1 it gives the bits of `map`, and with 0 one w (of a class); strategy
    E of truncation needs it. It may be None, as where z and the class are divided together, and z
    can move to 0 before.

    One whose layers may have different w has an attribute `layer_count`, and its `synthesize` also
    takes the w of each layer, float32 [n, layers, w]; `cutoff` of truncation needs it.

    The generator may have an attribute `not_latent_because`: the reason why, with its options, no
    single w determines a sample's image, and what to change; or None. See
    `require_latent_generator`.
    """

    @property
    def block(self) -> int:
        """The only batch size on which the networks run."""

    def draw(self, sample_ids: np.ndarray) -> np.ndarray:
        """Draw z float32 [n, z], standard normal, for sample ids int64 [n]."""

    def map(self, z: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        """Map z float32 [n, z] to w float32 [n, w]; labels: int64 [n], None without classes."""

    def synthesize(self, w: np.ndarray) -> np.ndarray:
        """Synthesize images uint8 [n, 3, h, w] from w float32 [n, w]."""


def require_latent_generator(generator: Generator) -> LatentGenerator:
    """Return the generator; raise SourceError if its samples are no images of latents."""
    if not isinstance(generator, LatentGenerator):
        raise SourceError(
            f"{generator.name} is no latent generator, so its samples cannot be truncated or "
            "interpolated; expected digits, faces, a network in a .pkl or TorchScript file, or a "
            "class of yours with draw(sample_ids), map(z, labels) and synthesize(w)"
        )
    reason: str | None = getattr(generator, "not_latent_because", None)
    if reason is not None:
        raise SourceError(f"{generator.name} cannot be truncated or interpolated: {reason}")
    return generator


def seeded_normals(sample_ids: np.ndarray, dimension: int) -> np.ndarray:
    """Draw one standard normal vector per sample, float32 [n, dimension], seeded by its id.

    Sample k draws from RandomState(k), as NVIDIA's generate.py does for seed k. Raises
    SampleRangeError for ids that are no seeds.
    """
    require_seeds(sample_ids)
    rows = [np.random.RandomState(seed).randn(dimension) for seed in sample_ids]
    return np.stack(rows).astype(np.float32)


def require_seeds(sample_ids: np.ndarray) -> None:
    """Raise SampleRangeError for ids, int64 [n], that are no seeds of RandomState."""
    if sample_ids.max(initial=0) >= SEED_COUNT:
        raise SampleRangeError(
            f"sample id {sample_ids.max()} is no seed; this generator has 0-{SEED_COUNT - 1}"
        )
