"""Define the network of BigGAN-deep (Brock et al. 2019, appendix B), without its training.

Modules have the names of the PyTorch version's file. Spectral norms are folded into the weights,
and all statistics of batch normalization are constants, so that images do not depend on their
batch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, relu

from raymetrics.generators.biggan.architecture import Block, NetworkShape

_NARROWER = 4  # the inner convolutions of a block have a quarter of its channels
_COLORS = 3
_ON_GRID = 1e-6  # psi that is so near to a stored one, in steps, is that one


def neighbors_on_grid(psi: float, count: int) -> tuple[int, int, float]:
    """Return the stored values of psi below and above one, and the share of the way between.

    count: of values that are stored, evenly from 0 to 1. A psi such as 0.3, whose step number is
    not whole in floats, counts as on the grid.
    """
    steps = psi * (count - 1)
    nearest = round(steps)
    if abs(steps - nearest) < _ON_GRID:
        return nearest, nearest, 0.0
    return math.floor(steps), math.ceil(steps), steps % 1


class _Statistics(nn.Module):
    """The means and the variances of features before a layer, for every stored psi."""

    running_means: Tensor
    running_vars: Tensor

    def __init__(self, channels: int, shape: NetworkShape) -> None:
        super().__init__()
        self.epsilon = shape.epsilon
        for name in ("running_means", "running_vars"):
            self.register_buffer(name, torch.empty(shape.statistics, channels))

    def standardize(self, x: Tensor, psi: float) -> Tensor:
        """Subtract the mean of psi and divide by the deviation; between stored ones, lerp."""
        below, above, share = neighbors_on_grid(psi, len(self.running_means))
        mean = self.running_means[below].lerp(self.running_means[above], share)
        variance = self.running_vars[below].lerp(self.running_vars[above], share)
        return (x - _spread(mean)) * _spread((variance + self.epsilon).rsqrt())


class _ConditionalNorm(_Statistics):
    """Batch normalization whose gain and bias are linear in the condition."""

    def __init__(self, channels: int, shape: NetworkShape) -> None:
        super().__init__(channels, shape)
        self.scale = nn.Linear(shape.condition_dim, channels, bias=False)
        self.offset = nn.Linear(shape.condition_dim, channels, bias=False)

    def forward(self, x: Tensor, condition: Tensor, psi: float) -> Tensor:
        gain = 1 + self.scale(condition)
        return self.standardize(x, psi) * _spread(gain) + _spread(self.offset(condition))


class _Norm(_Statistics):
    """Batch normalization with a gain and a bias for all classes."""

    def __init__(self, channels: int, shape: NetworkShape) -> None:
        super().__init__(channels, shape)
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor, psi: float) -> Tensor:
        return self.standardize(x, psi) * _spread(self.weight) + _spread(self.bias)


def _spread(values: Tensor) -> Tensor:
    """Return a number for each channel, [..., c], as one for each pixel, [..., c, 1, 1]."""
    return values[..., None, None]


class _ResidualBlock(nn.Module):
    """A residual block: two 3 x 3 convolutions between two of 1 x 1, which narrow and widen.

    The skip keeps the first channels of the input.
    """

    def __init__(self, block: Block, shape: NetworkShape) -> None:
        super().__init__()
        self.block = block
        inner = block.channels_in // _NARROWER
        widths = (block.channels_in, inner, inner, inner, block.channels_out)
        for i, size in enumerate((1, 3, 3, 1)):
            self.add_module(f"bn_{i}", _ConditionalNorm(widths[i], shape))
            convolution = nn.Conv2d(widths[i], widths[i + 1], size, padding=size // 2)
            self.add_module(f"conv_{i}", convolution)

    def forward(self, x: Tensor, condition: Tensor, psi: float) -> Tensor:
        y = x
        for i in range(4):
            y = relu(self.get_submodule(f"bn_{i}")(y, condition, psi))
            y = self._upsample(y) if i == 1 else y
            y = self.get_submodule(f"conv_{i}")(y)
        return y + self._upsample(x[:, : self.block.channels_out])

    def _upsample(self, x: Tensor) -> Tensor:
        return interpolate(x, scale_factor=2.0) if self.block.upsamples else x


class _SelfAttention(nn.Module):
    """Self-attention of each pixel to the maxima of 2 x 2 pixels (Zhang et al. 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.snconv1x1_theta = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.snconv1x1_phi = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.snconv1x1_g = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.snconv1x1_o_conv = nn.Conv2d(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.empty(1))

    def forward(self, x: Tensor) -> Tensor:
        queries = self.snconv1x1_theta(x).flatten(2)
        keys = max_pool2d(self.snconv1x1_phi(x), 2).flatten(2)
        values = max_pool2d(self.snconv1x1_g(x), 2).flatten(2)
        attention = (queries.transpose(1, 2) @ keys).softmax(dim=2)
        attended = (values @ attention.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + self.gamma * self.snconv1x1_o_conv(attended)


class _Generator(nn.Module):
    """The network from a condition to an image."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        first, last = shape.blocks[0].channels_in, shape.blocks[-1].channels_out
        self.gen_z = nn.Linear(shape.condition_dim, 16 * first)
        layers: list[nn.Module] = [_ResidualBlock(block, shape) for block in shape.blocks]
        layers.insert(shape.attention, _SelfAttention(shape.blocks[shape.attention].channels_in))
        self.layers = nn.ModuleList(layers)
        self.bn = _Norm(last, shape)
        self.conv_to_rgb = nn.Conv2d(last, _COLORS, 3, padding=1)

    def forward(self, condition: Tensor, psi: float) -> Tensor:
        x = self.gen_z(condition).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2).contiguous()
        for layer in self.layers:
            x = layer(x, condition, psi) if isinstance(layer, _ResidualBlock) else layer(x)
        return torch.tanh(self.conv_to_rgb(relu(self.bn(x, psi))))


class BigGANNetwork(nn.Module):
    """A BigGAN-deep: condition float32 [n, 2 z] and psi -> images float32 [n, 3, h, w] in -1..1.

    The condition is z and the class's row of `embed`, one after the other.
    """

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.shape = shape
        self.embeddings = nn.Linear(shape.classes, shape.z_dim, bias=False)
        self.generator = _Generator(shape)

    def embed(self, labels: Tensor) -> Tensor:
        """Return the embedded classes, float32 [n, z], of int64 [n]."""
        return self.embeddings.weight.T[labels]

    def forward(self, condition: Tensor, psi: float) -> Tensor:
        images: Tensor = self.generator(condition, psi)
        return images
