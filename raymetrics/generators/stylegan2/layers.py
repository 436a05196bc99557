"""Define the layers: dense, modulated convolution, and the conversion to colors.

Parameters are stored unscaled and scaled at each use, by the equalized learning rate (Karras et al.
2018, section 4.1). They have the names of NVIDIA's networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu, relu

from raymetrics.generators.stylegan2.upsampling import upsample, upsampling_convolution

# Each keeps the variance of a standard normal, or nearly so.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "relu": lambda x: relu(x) * math.sqrt(2),
    "lrelu": lambda x: leaky_relu(x, 0.2) * math.sqrt(2),
}


def normalize(x: Tensor) -> Tensor:
    """Divide each row by its root mean square."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def _clamp(x: Tensor, limit: float | None) -> Tensor:
    """Clip to -limit..limit, for networks trained partly in float16; None does not clip."""
    return x if limit is None else x.clamp(-limit, limit)


class Dense(nn.Module):
    """A dense layer, [n, features_in] -> [n, features_out]; `rate` multiplies the learning rate."""

    def __init__(
        self, features_in: int, features_out: int, activation: str = "linear", rate: float = 1
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features_out, features_in))
        self.bias = nn.Parameter(torch.empty(features_out))
        self.activate = ACTIVATIONS[activation]
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * (self.rate / math.sqrt(self.weight.shape[1]))
        return self.activate(torch.addmm(self.bias * self.rate, x, weight.T))


class StyledConvolution(nn.Module):
    """A modulated convolution, noise, bias, and an activation (Karras et al. 2020a, Fig. 2c).

    x [n, i, h, w] and w [n, d] -> [n, o, h, w]; with `up`, [n, o, 2h, 2w].
    """

    noise_const: Tensor

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        w_dim: int,
        resolution: int,
        *,
        up: bool,
        noise: bool,
        activation: str,
        clamp: float | None,
    ) -> None:
        super().__init__()
        self.up, self.clamp = up, clamp
        self.activate = ACTIVATIONS[activation]
        self.affine = Dense(w_dim, channels_in)
        self.weight = nn.Parameter(torch.empty(channels_out, channels_in, 3, 3))
        self.bias = nn.Parameter(torch.empty(channels_out))
        if noise:
            self.noise_strength = nn.Parameter(torch.empty(()))
            self.register_buffer("noise_const", torch.empty(resolution, resolution))

    def forward(
        self, x: Tensor, w: Tensor, fir: Tensor, noise: Tensor | None, gain: float = 1
    ) -> Tensor:
        style = self.affine(w)
        # By linearity, scaling the input and the output is the same as scaling the weights for
        # each sample (Eqs. 1 and 3); so one convolution serves the whole batch.
        x = x * style[:, :, None, None]
        if self.up:
            x = upsampling_convolution(x, self.weight, fir)
        else:
            x = conv2d(x, self.weight, padding=1)
        x = x * self.demodulation(style)[:, :, None, None]
        if noise is not None:
            x = x + noise * self.noise_strength
        x = self.activate(x + self.bias[:, None, None]) * gain
        return _clamp(x, None if self.clamp is None else self.clamp * gain)

    def demodulation(self, style: Tensor) -> Tensor:
        """Compute one over the expected deviation of each channel, [n, o] (Eq. 3)."""
        energy = self.weight.square().sum(dim=(2, 3))
        return (style.square() @ energy.T + 1e-8).rsqrt()


class ToColors(nn.Module):
    """A modulated 1 x 1 convolution to colors, without demodulation.

    x [n, i, h, w] and w [n, d] -> [n, colors, h, w].
    """

    def __init__(self, channels_in: int, colors: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = Dense(w_dim, channels_in)
        self.weight = nn.Parameter(torch.empty(colors, channels_in, 1, 1))
        self.bias = nn.Parameter(torch.empty(colors))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.affine(w) / math.sqrt(self.weight.shape[1])
        return _clamp(conv2d(x * style[:, :, None, None], self.weight, self.bias), self.clamp)


class Skip(nn.Module):
    """The residual connection of the architecture 'resnet': x [n, i, h, w] -> [n, o, 2h, 2w]."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels_out, channels_in, 1, 1))

    def forward(self, x: Tensor, fir: Tensor) -> Tensor:
        return upsample(conv2d(x, self.weight / math.sqrt(self.weight.shape[1])), fir)
