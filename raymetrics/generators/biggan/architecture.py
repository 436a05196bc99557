"""Read the architecture of a BigGAN-deep from its file `config.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

_START = 4  # pixels of the first block's input
_MOST_BLOCKS = 64  # the network for 512 pixels has 14
_LARGEST = 1 << 16  # of any size


@dataclass(frozen=True)
class Block:
    """A residual block: whether it doubles the resolution, and its channels."""

    upsamples: bool
    channels_in: int
    channels_out: int


@dataclass(frozen=True)
class NetworkShape:
    """The sizes of all layers.

    attention: the number of the block before which the self-attention lies. statistics: for how
    many values of psi, evenly from 0 to 1, the file has means and variances. epsilon: added to the
    variances.
    """

    z_dim: int
    classes: int
    blocks: tuple[Block, ...]
    attention: int
    statistics: int
    epsilon: float

    @property
    def condition_dim(self) -> int:
        """The numbers of z and of the embedded class together, the input of all layers."""
        return 2 * self.z_dim

    @property
    def resolution(self) -> int:
        """The height and the width of the images."""
        return _START * int(2 ** sum(block.upsamples for block in self.blocks))

    @property
    def largest_features(self) -> int:
        """The numbers in the largest features of an image."""
        pixels, largest = _START**2, 0
        for block in self.blocks:
            pixels *= 4 if block.upsamples else 1
            largest = max(largest, pixels * block.channels_out)
        return largest


def parse_config(data: bytes) -> NetworkShape:
    """Parse the bytes of a `config.json`.

    Raises KeyError for an entry that is missing, ValueError or TypeError for one that cannot be.
    """
    config = json.loads(data)
    width = _size(config, "channel_width")
    shape = NetworkShape(
        z_dim=_size(config, "z_dim"),
        classes=_size(config, "num_classes"),
        blocks=tuple(_block(layer, width) for layer in config["layers"][: _MOST_BLOCKS + 1]),
        attention=_size(config, "attention_layer_position", 0),
        statistics=_size(config, "n_stats"),
        epsilon=float(config["eps"]),
    )
    _require_consistent(shape, config["output_dim"], width)
    return shape


def _block(layer: Any, width: int) -> Block:
    upsamples, channels_in, channels_out = layer
    return Block(bool(upsamples), width * int(channels_in), width * int(channels_out))


def _size(config: Any, name: str, smallest: int = 1) -> int:
    size = int(config[name])
    if not smallest <= size <= _LARGEST:
        raise ValueError(f"{name} is {size}, expected {smallest} to {_LARGEST}")
    return size


def _require_consistent(shape: NetworkShape, resolution: Any, width: int) -> None:
    """Raise ValueError unless the blocks follow one another, to colors of this resolution."""
    blocks = shape.blocks
    if not 1 <= len(blocks) <= _MOST_BLOCKS or shape.attention >= len(blocks):
        raise ValueError(f"layers are {len(blocks)}, and the attention is at {shape.attention}")
    follow = all(a.channels_out == b.channels_in for a, b in pairwise(blocks))
    narrow = all(0 < b.channels_out <= b.channels_in <= _LARGEST for b in blocks)
    if not follow or not narrow or blocks[-1].channels_out != width:
        raise ValueError(f"layers do not follow one another, to {width} channels")
    if resolution != shape.resolution:
        raise ValueError(f"output_dim is {resolution}, but its layers make {shape.resolution}")
