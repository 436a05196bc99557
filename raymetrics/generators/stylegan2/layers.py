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

    x [n, i, h, w] and w [n, d] -> [n, o, h, w]; with `up`, [n, o, 2h, 2w]. x has the precision of
    the weights: float32, or float16 after `to_float16`.
    """

    noise_const: Tensor
    energy: Tensor

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
        self.register_buffer("energy", torch.empty(channels_out, channels_in), persistent=False)
        if noise:
            self.noise_strength = nn.Parameter(torch.empty(()))
            self.register_buffer("noise_const", torch.empty(resolution, resolution))

    def forward(
        self, x: Tensor, w: Tensor, fir: Tensor, noise: Tensor | None, gain: float = 1
    ) -> Tensor:
        style = self.affine(w)
        if x.dtype == torch.float16:
            style = style / style.abs().amax(dim=1, keepdim=True)  # see `to_float16`
        # By linearity, scaling the input and the output is the same as scaling the weights for
        # each sample (Eqs. 1 and 3); so one convolution serves the whole batch.
        x = x * style.to(x.dtype)[:, :, None, None]
        if self.up:
            x = upsampling_convolution(x, self.weight, fir)
        else:
            x = conv2d(x, self.weight, padding=1)
        x = x * self.demodulation(style).to(x.dtype)[:, :, None, None]
        if noise is not None:
            x = x + (noise * self.noise_strength).to(x.dtype)
        x = self.activate(x + self.bias.to(x.dtype)[:, None, None]) * gain
        return _clamp(x, None if self.clamp is None else self.clamp * gain)

    def compute_energy(self) -> None:
        """Compute the sums of squares of the kernels, `energy` [o, i], from the weights."""
        self.energy = self.weight.square().sum(dim=(2, 3))

    def demodulation(self, style: Tensor) -> Tensor:
        """Compute one over the expected deviation of each channel, [n, o] (Eq. 3)."""
        return (style.square() @ self.energy.T + 1e-8).rsqrt()

    def to_float16(self, clamp: float) -> None:
        """Convert the weights to float16, with outputs that stay in its range.

        Demodulation cancels any factor of the style and of an output channel's weights, but the
        convolution before it could overflow. So the largest of a style's numbers becomes 1, and the
        largest weight of an output channel one over the root of the number of its weights. Outputs
        are clipped to -clamp..clamp unless the network has a limit of its own (Karras et al. 2020b,
        appendix on the implementation).
        """
        largest = self.weight.abs().amax(dim=(1, 2, 3), keepdim=True)
        weight = self.weight / (largest * math.sqrt(self.weight[0].numel()))
        self.energy = weight.square().sum(dim=(2, 3))
        half = weight.half().contiguous(memory_format=torch.channels_last)
        self.weight = nn.Parameter(half, requires_grad=False)
        self.clamp = clamp if self.clamp is None else self.clamp


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
        style = (self.affine(w) / math.sqrt(self.weight.shape[1])).to(x.dtype)
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return _clamp(conv2d(x * style[:, :, None, None], weight, bias), self.clamp)

    def to_float16(self, clamp: float) -> None:
        """Clip outputs to -clamp..clamp unless the network has a limit of its own."""
        self.clamp = clamp if self.clamp is None else self.clamp


class Skip(nn.Module):
    """The residual connection of the architecture 'resnet': x [n, i, h, w] -> [n, o, 2h, 2w]."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels_out, channels_in, 1, 1))

    def forward(self, x: Tensor, fir: Tensor) -> Tensor:
        weight = (self.weight / math.sqrt(self.weight.shape[1])).to(x.dtype)
        return upsample(conv2d(x, weight), fir)
