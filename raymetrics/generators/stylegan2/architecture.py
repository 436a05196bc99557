"""Infer the architecture of a network from its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

_MAX_TENSORS = 1000  # networks of 1024 x 1024 pixels have about 200


@dataclass(frozen=True)
class Settings:
    """The settings of a network that its tensors do not show."""

    mapping_rate: float = 0.01
    mapping_activation: str = "lrelu"
    activation: str = "lrelu"
    clamp: float | None = None


@dataclass(frozen=True)
class NetworkShape:
    """The sizes of all layers.

    classes, class_features: 0 for a network without classes. joint: whether z and the class are
    normalized together, as in the program of 2019, or each alone. mapping: output widths of the
    mapping network's layers. channels: of the blocks at 4, 8, 16, ... pixels.
    architecture: "skip" sums the colors of all blocks, "orig" uses the last block's colors,
    "resnet" has residual blocks. noise: whether layers add noise.
    """

    z_dim: int
    w_dim: int
    classes: int
    class_features: int
    joint: bool
    mapping: tuple[int, ...]
    channels: tuple[int, ...]
    colors: int
    architecture: str
    noise: bool

    @property
    def resolution(self) -> int:
        """The height and the width of the images."""
        return int(2 ** (len(self.channels) + 1))

    @property
    def largest_features(self) -> int:
        """The numbers in the largest features of an image."""
        return max(channels * 16 * 4**i for i, channels in enumerate(self.channels))

    @property
    def num_ws(self) -> int:
        """The number of layers with their own w, including the last conversion to colors."""
        return 2 * len(self.channels)


def require_tensors_fit(count: int, size: int) -> None:
    """Raise ValueError if `count` numbers do not fit into a file of `size` bytes.

    Tensors that repeat a few stored numbers can have more numbers than the file. In half precision,
    the shortest, a number takes two bytes.
    """
    if 2 * count > size:
        raise ValueError(f"its tensors have {count} numbers, but there are {size} bytes")


def infer_shape(state: Mapping[str, Tensor]) -> NetworkShape:
    """Infer the shape of a network from tensors with the names of NVIDIA's networks.

    Raises KeyError for a tensor that is missing, and ValueError for more tensors than any of these
    networks has.
    """
    if len(state) > _MAX_TENSORS:
        raise ValueError(f"it has {len(state)} tensors, at most {_MAX_TENSORS} are expected")
    depth = sum(re.fullmatch(r"mapping\.fc\d+\.weight", name) is not None for name in state)
    mapping = [state[f"mapping.fc{i}.weight"] for i in range(max(depth, 1))]
    height = sum(
        re.fullmatch(r"synthesis\.b\d+\.conv1\.weight", name) is not None for name in state
    )
    blocks = [4 * 2**i for i in range(max(height, 1))]
    joint = "mapping.concat.weight" in state
    embed = state.get("mapping.concat.weight" if joint else "mapping.embed.weight")
    features, classes = (0, 0) if embed is None else embed.shape
    last = blocks[-1]
    return NetworkShape(
        z_dim=mapping[0].shape[1] - features,
        w_dim=state["synthesis.b4.conv1.affine.weight"].shape[1],
        classes=classes,
        class_features=features,
        joint=joint,
        mapping=tuple(len(weight) for weight in mapping),
        channels=tuple(len(state[f"synthesis.b{r}.conv1.weight"]) for r in blocks),
        colors=len(state[f"synthesis.b{last}.torgb.weight"]),
        architecture=_detect_architecture(state, last),
        noise="synthesis.b4.conv1.noise_strength" in state,
    )


def _detect_architecture(state: Mapping[str, Tensor], last: int) -> str:
    """Return the architecture, by layers that only one of them has (Karras et al. 2020a, Fig. 7).

    last: pixels of the last block.
    """
    if f"synthesis.b{last}.skip.weight" in state:
        return "resnet"
    return "skip" if "synthesis.b4.torgb.weight" in state else "orig"
