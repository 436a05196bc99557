"""Define the network of TensorFlow's Inception-V3 of 2015-12-05.

The network differs from that of Szegedy et al. (2016) and of torchvision in three places: it has
1,008 classes; its average pools leave the padding out of the mean; its last block takes a maximum
where the others take an average. Units have torchvision's names, as in pytorch-fid and
torch-fidelity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, linear, max_pool2d
from torch.nn.utils.fusion import fuse_conv_bn_eval

from raymetrics.devices.fused_convolution import ConvolutionRelu

FEATURES = 2048
CLASSES = 1008
_SPATIAL_CHANNELS = 7
SPATIAL_FEATURES = 17 * 17 * _SPATIAL_CHANNELS  # 2,023, about as many as pre_logits


def _average_pool(x: Tensor) -> Tensor:
    """Average each pixel with its neighbours, without the padding."""
    return avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _max_pool(x: Tensor) -> Tensor:
    """Take the maximum of each pixel and its neighbours."""
    return max_pool2d(x, 3, stride=1, padding=1)


def _max_pool_stride_2(x: Tensor) -> Tensor:
    """Take the maximum of 3 x 3 pixels, at every second row and column."""
    return max_pool2d(x, 3, stride=2)


Kernel = tuple[int, int]
Kernels = tuple[Kernel, ...]  # all take the same input, and their outputs are joined; mostly one
Step = tuple[int, Kernels]  # output channels of each kernel, and the kernels
Steps = tuple[Step, ...]

_ONE, _THREE, _FIVE, _WIDE, _TALL = ((1, 1),), ((3, 3),), ((5, 5),), ((1, 7),), ((7, 1),)
_FORK = ((1, 3), (3, 1))


@dataclass(frozen=True)
class BlockShape:
    """The shape of a block: input channels, branches, the pool, and the unit behind the pool.

    pool_channels: output channels of the unit behind the pool. Zero for a pool of stride 2: such a
    block has no unit there, and the last step of every branch has stride 2 too.
    """

    channels: int
    branches: Mapping[str, Steps]
    pool: Callable[[Tensor], Tensor] = _max_pool_stride_2
    pool_channels: int = 0


def _block_a(channels: int, pool_channels: int) -> BlockShape:
    """Describe a block of 35 x 35 pixels."""
    branches = {
        "branch1x1": ((64, _ONE),),
        "branch5x5": ((48, _ONE), (64, _FIVE)),
        "branch3x3dbl": ((64, _ONE), (96, _THREE), (96, _THREE)),
    }
    return BlockShape(channels, branches, _average_pool, pool_channels)


def _block_c(c: int) -> BlockShape:
    """Describe a block of 17 x 17 pixels, with `c` channels inside its branches."""
    branches = {
        "branch1x1": ((192, _ONE),),
        "branch7x7": ((c, _ONE), (c, _WIDE), (192, _TALL)),
        "branch7x7dbl": ((c, _ONE), (c, _TALL), (c, _WIDE), (c, _TALL), (192, _WIDE)),
    }
    return BlockShape(768, branches, _average_pool, 192)


def _block_e(channels: int, pool: Callable[[Tensor], Tensor]) -> BlockShape:
    """Describe a block of 8 x 8 pixels."""
    branches = {
        "branch1x1": ((320, _ONE),),
        "branch3x3": ((384, _ONE), (384, _FORK)),
        "branch3x3dbl": ((448, _ONE), (384, _THREE), (384, _FORK)),
    }
    return BlockShape(channels, branches, pool, 192)


_BLOCK_B = {
    "branch3x3": ((384, _THREE),),
    "branch3x3dbl": ((64, _ONE), (96, _THREE), (96, _THREE)),
}
_BLOCK_D = {
    "branch3x3": ((192, _ONE), (320, _THREE)),
    "branch7x7x3": ((192, _ONE), (192, _WIDE), (192, _TALL), (192, _THREE)),
}

# By unit: input channels, output channels, kernel, stride, padding.
STEM = {
    "Conv2d_1a_3x3": (3, 32, 3, 2, 0),
    "Conv2d_2a_3x3": (32, 32, 3, 1, 0),
    "Conv2d_2b_3x3": (32, 64, 3, 1, 1),
    "Conv2d_3b_1x1": (64, 80, 1, 1, 0),
    "Conv2d_4a_3x3": (80, 192, 3, 1, 0),
}
_POOLED_AFTER = ("Conv2d_2b_3x3", "Conv2d_4a_3x3")
BLOCKS = {
    "Mixed_5b": _block_a(192, 32),
    "Mixed_5c": _block_a(256, 64),
    "Mixed_5d": _block_a(288, 64),
    "Mixed_6a": BlockShape(288, _BLOCK_B),
    "Mixed_6b": _block_c(128),
    "Mixed_6c": _block_c(160),
    "Mixed_6d": _block_c(160),
    "Mixed_6e": _block_c(192),
    "Mixed_7a": BlockShape(768, _BLOCK_D),
    "Mixed_7b": _block_e(1280, _average_pool),
    "Mixed_7c": _block_e(2048, _max_pool),
}


def unit_names(branch: str, steps: Steps) -> list[list[str]]:
    """Name the units of each step of a branch.

    For instance [["branch3x3_1"], ["branch3x3_2a", "branch3x3_2b"]].
    """
    if len(steps) == 1:
        return [[branch]]
    letters = ["ab" if len(kernels) > 1 else [""] for _, kernels in steps]
    return [[f"{branch}_{i}{letter}" for letter in fork] for i, fork in enumerate(letters, 1)]


class _Unit(nn.Module):
    """A convolution without a bias, a batch norm, and a ReLU."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int | Kernel,
        stride: int = 1,
        padding: int | Kernel = 0,
    ) -> None:
        super().__init__()
        self.conv: nn.Module = nn.Conv2d(
            channels_in, channels_out, kernel, stride, padding, bias=False
        )
        self.bn: nn.Module = nn.BatchNorm2d(channels_out, eps=1e-3)
        self.relu: nn.Module = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu(self.bn(self.conv(x)))
        return y

    def fuse(self) -> None:
        """Fold the batch norm into the convolution, which then has a bias, and join the ReLU."""
        if isinstance(self.conv, nn.Conv2d) and isinstance(self.bn, nn.BatchNorm2d):
            self.conv = ConvolutionRelu(fuse_conv_bn_eval(self.conv, self.bn))
            self.bn, self.relu = nn.Identity(), nn.Identity()


class _Block(nn.Module):
    """A block of branches with the same input, the last a pool; their outputs are joined."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.pool = shape.pool
        self.branches = [unit_names(name, steps) for name, steps in shape.branches.items()]
        for names, steps in zip(self.branches, shape.branches.values(), strict=True):
            self._add_branch(names, steps, shape.channels)
        self.branch_pool: _Unit | None = None
        if shape.pool_channels:
            self.branch_pool = _Unit(shape.channels, shape.pool_channels, 1)

    def _add_branch(self, names: list[list[str]], steps: Steps, channels: int) -> None:
        for step_number, (channels_out, kernels) in enumerate(steps, 1):
            halving = self.pool is _max_pool_stride_2 and step_number == len(steps)
            for unit, kernel in zip(names[step_number - 1], kernels, strict=True):
                padding = (0, 0) if halving else (kernel[0] // 2, kernel[1] // 2)
                stride = 2 if halving else 1
                self.add_module(unit, _Unit(channels, channels_out, kernel, stride, padding))
            channels = channels_out * len(kernels)

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for branch in self.branches:
            y = x
            for units in branch:
                ys = [self.get_submodule(unit)(y) for unit in units]
                y = torch.cat(ys, 1) if len(ys) > 1 else ys[0]
            outputs.append(y)
        pooled = self.pool(x)
        return torch.cat([*outputs, self.branch_pool(pooled) if self.branch_pool else pooled], 1)


class Inception(nn.Module):
    """Inception-V3: images float32 [n, 3, 299, 299] in about -1..1 -> {output: float32 [n, d]}.

    The output logits_unbiased is the logits before the bias is added; TensorFlow's Inception Score
    is computed from it.
    """

    def __init__(self) -> None:
        super().__init__()
        for name, shape in STEM.items():
            self.add_module(name, _Unit(*shape))
        for name, block in BLOCKS.items():
            self.add_module(name, _Block(block))
        self.fc = nn.Linear(FEATURES, CLASSES)

    def maps(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield the name and the output of each part, in the order of computation."""
        x = images
        for name in (*STEM, *BLOCKS):
            x = self.get_submodule(name)(x)
            if name in _POOLED_AFTER:
                x = _max_pool_stride_2(x)
            yield name, x

    def activations(self, images: Tensor) -> Tensor:
        """Compute the map [n, 2048, 8, 8] whose spatial mean is pre_logits.

        In the graph this is mixed_10.
        """
        *_, (_, x) = self.maps(images)
        return x

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        for name, x in self.maps(images):
            if name == "Mixed_6d":
                spatial = _spatial_features(x)
        return {**self.outputs(x), "spatial": spatial}

    def outputs(self, activations: Tensor) -> dict[str, Tensor]:
        """Compute pre_logits, logits and logits_unbiased from the last map."""
        pre_logits = activations.float().mean(dim=(2, 3))
        unbiased = linear(pre_logits, self.fc.weight)
        return {
            "pre_logits": pre_logits,
            "logits": unbiased + self.fc.bias,
            "logits_unbiased": unbiased,
        }

    def fuse(self) -> None:
        """Fold every batch norm into its convolution; outputs change by about 1e-6 at most."""
        for module in self.modules():
            if isinstance(module, _Unit):
                module.fuse()


def _spatial_features(mixed: Tensor) -> Tensor:
    """Return the features of sFID (Nash et al. 2021), [n, 17 * 17 * 7].

    These are the first seven channels of the graph's mixed_6/conv, in the order of the program of
    Dhariwal & Nichol (2021): rows, columns, channels.

    mixed: the output [n, 768, 17, 17] of Mixed_6d, whose first channels are those of mixed_6/conv.
    """
    return mixed[:, :_SPATIAL_CHANNELS].permute(0, 2, 3, 1).flatten(1)
