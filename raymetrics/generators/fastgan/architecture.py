"""Infer the architecture of a FastGAN from its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

RESOLUTIONS = (128, 256, 512, 1024)
# The resolution whose features are weighted by a smaller one's (Liu et al. 2021, section 3.1).
EXCITATIONS = {64: 4, 128: 8, 256: 16, 512: 32}


@dataclass(frozen=True)
class Stage:
    """The names of a convolution, its noise (None without) and its normalization in a block."""

    convolution: str
    noise: str | None
    norm: str


# The blocks of the program by their stages: small and large ones, without and with classes. Layers
# of those without classes are numbered, with upsampling and activations among them.
_BLOCKS = (
    (Stage("1", None, "2"),),
    (Stage("1", "2", "3"), Stage("5", "6", "7")),
    (Stage("conv", None, "bn"),),
    (Stage("conv1", "noise", "bn1"), Stage("conv2", "noise", "bn2")),
)


@dataclass(frozen=True)
class NetworkShape:
    """The sizes of all layers.

    channels: of the features at 4, 8, 16, ... pixels. stages: of the blocks at 8, 16, ... pixels.
    classes: 0 without classes. embeddings: the rows of the embedding, of which a network may use
    the first ones alone.
    """

    z_dim: int
    channels: tuple[int, ...]
    stages: tuple[tuple[Stage, ...], ...]
    colors: int
    classes: int
    embeddings: int

    @property
    def resolution(self) -> int:
        """The height and the width of the images."""
        return int(2 ** (len(self.channels) + 1))

    @property
    def largest_features(self) -> int:
        """The numbers in the largest features of an image, before a gate halves them."""
        return max(2 * channels * 16 * 4**i for i, channels in enumerate(self.channels))

    @property
    def w_dim(self) -> int:
        """The numbers of z and of the embedded class together."""
        return 2 * self.z_dim if self.classes else self.z_dim

    def block_resolutions(self) -> list[int]:
        """Return the resolutions of the blocks: 8, 16, ... pixels."""
        return [8 * 2**i for i in range(len(self.stages))]


def infer_shape(state: Mapping[str, Tensor], resolution: int, classes: int) -> NetworkShape:
    """Infer the shape of a network from the tensors of its `synthesis`, without spectral norms.

    resolution and classes: as the program recorded them. Raises KeyError for a tensor that is
    missing, and ValueError for a resolution that the program does not have.
    """
    if resolution not in RESOLUTIONS:
        raise ValueError(f"its resolution is {resolution}, expected one of {RESOLUTIONS}")
    first = state["init.init.0.weight"]
    sizes = [size for size in (8 * 2**i for i in range(8)) if size <= resolution]
    stages = tuple(_find_stages(state, size) for size in sizes)
    embeddings = len(state["embed.weight"]) if "embed.weight" in state else 0
    if classes > embeddings > 0:
        raise ValueError(f"it has {classes} classes, but its embedding has {embeddings}")
    widths = [
        len(state[f"feat_{size}.{block[-1].convolution}.weight"]) // 2
        for size, block in zip(sizes, stages, strict=True)
    ]
    return NetworkShape(
        z_dim=len(first),
        channels=(first.shape[1] // 2, *widths),
        stages=stages,
        colors=len(state["to_big.weight"]),
        classes=classes if embeddings else 0,
        embeddings=embeddings,
    )


def _find_stages(state: Mapping[str, Tensor], resolution: int) -> tuple[Stage, ...]:
    """Return the stages of the block of a resolution, by the last norm that it has."""
    for stages in reversed(_BLOCKS):
        prefix = f"feat_{resolution}.{stages[-1].norm}"
        if any(f"{prefix}.{part}" in state for part in ("running_mean", "stored_mean")):
            return stages
    raise KeyError(f"feat_{resolution}")
