"""Define the generator of FastGAN (Liu et al. 2021) as Projected GAN uses it, without training.

Modules have the names of its program. Spectral norms are folded into the weights, and the
statistics of batch normalization are constants, so that images do not depend on their batch.
Without a tanh at the end, images may leave -1..1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, glu, interpolate

from raymetrics.generators.fastgan.architecture import EXCITATIONS, NetworkShape, Stage

_EPSILON = 1e-5
_POOLED = 4  # pixels of the features that weigh others


def normalize(z: Tensor) -> Tensor:
    """Divide each row by its root mean square."""
    return z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class _Norm(nn.Module):
    """Batch normalization with constant statistics, and a gain and a bias for each channel."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, torch.empty(channels))

    def forward(self, x: Tensor, embedded: Tensor | None = None) -> Tensor:
        statistics = self.running_mean, self.running_var
        return batch_norm(x, *statistics, self.weight, self.bias, eps=_EPSILON)


class _ConditionalNorm(nn.Module):
    """Batch normalization whose gain and bias are linear in the embedded class."""

    stored_mean: Tensor
    stored_var: Tensor

    def __init__(self, channels: int, z_dim: int) -> None:
        super().__init__()
        self.gain = nn.Linear(z_dim, channels)
        self.bias = nn.Linear(z_dim, channels)
        for name in ("stored_mean", "stored_var"):
            self.register_buffer(name, torch.empty(channels))

    def forward(self, x: Tensor, embedded: Tensor | None) -> Tensor:
        gain = 1 + self.gain(embedded)[:, :, None, None]
        standard = batch_norm(x, self.stored_mean, self.stored_var, eps=_EPSILON)
        return standard * gain + self.bias(embedded)[:, :, None, None]


class _NoiseInjection(nn.Module):
    """The addition of noise to all channels alike."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1))

    def forward(self, x: Tensor, noise: Tensor | None) -> Tensor:
        return x if noise is None else x + self.weight * noise


def _norm(channels: int, shape: NetworkShape) -> nn.Module:
    return _ConditionalNorm(channels, shape.z_dim) if shape.embeddings else _Norm(channels)


class _FirstLayer(nn.Module):
    """The layer from z, [n, z_dim], to features of 4 x 4 pixels."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        channels = 2 * shape.channels[0]
        convolution = nn.ConvTranspose2d(shape.z_dim, channels, 4, bias=False)
        self.init = nn.Sequential(convolution, _Norm(channels))

    def forward(self, z: Tensor) -> Tensor:
        return glu(self.init(z[:, :, None, None]), dim=1)


class _Block(nn.ModuleDict):
    """A block that doubles the resolution and then convolves, normalizes and gates."""

    def __init__(self, channels: tuple[int, int], stages: Sequence[Stage], shape: NetworkShape):
        width, channels_out = channels
        layers: dict[str, nn.Module] = {}
        for stage in stages:
            convolution = nn.Conv2d(width, 2 * channels_out, 3, padding=1, bias=False)
            layers[stage.convolution] = convolution
            layers[stage.norm] = _norm(2 * channels_out, shape)
            if stage.noise is not None:
                layers[stage.noise] = _NoiseInjection()
            width = channels_out
        super().__init__(layers)
        self.stages = stages

    def forward(
        self, x: Tensor, embedded: Tensor | None, noises: Sequence[Tensor | None]
    ) -> Tensor:
        """Compute the features; noises: [n, 1, h, w] or None, for each stage."""
        x = interpolate(x, scale_factor=2.0)
        for stage, noise in zip(self.stages, noises, strict=True):
            x = self[stage.convolution](x)
            if stage.noise is not None:
                x = self[stage.noise](x, noise)
            x = glu(self[stage.norm](x, embedded), dim=1)
        return x


class _Excitation(nn.Module):
    """Weights of the channels of large features, computed from small ones."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.AdaptiveAvgPool2d(_POOLED),
            nn.Conv2d(channels_in, channels_out, _POOLED, bias=False),
            nn.SiLU(),
            nn.Conv2d(channels_out, channels_out, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, small: Tensor, large: Tensor) -> Tensor:
        return large * self.main(small)


class FastGANNetwork(nn.Module):
    """A FastGAN: w float32 [n, w_dim] and noises -> images float32 [n, colors, h, w].

    w is z, normalized, and behind it the embedded class if the network has classes.
    """

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.shape = shape
        self.init = _FirstLayer(shape)
        widths = dict(zip([4, *shape.block_resolutions()], shape.channels, strict=True))
        for resolution, stages in zip(shape.block_resolutions(), shape.stages, strict=True):
            channels = widths[resolution // 2], widths[resolution]
            self.add_module(f"feat_{resolution}", _Block(channels, stages, shape))
            if resolution in EXCITATIONS:
                excitation = _Excitation(widths[EXCITATIONS[resolution]], channels[1])
                self.add_module(f"se_{resolution}", excitation)
        self.to_big = nn.Conv2d(shape.channels[-1], shape.colors, 3, padding=1)
        if shape.embeddings:
            self.embed = nn.Embedding(shape.embeddings, shape.z_dim)

    def noise_resolutions(self) -> list[int]:
        """Return the resolution of the noise of each stage, in order; 0 for a stage without."""
        shape = self.shape
        pairs = zip(shape.block_resolutions(), shape.stages, strict=True)
        return [0 if stage.noise is None else size for size, stages in pairs for stage in stages]

    def map(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Map z float32 [n, z_dim] and labels int64 [n] to w; labels: None without classes."""
        normalized = normalize(z)
        return normalized if labels is None else torch.cat([normalized, self.embed(labels)], dim=1)

    def forward(self, w: Tensor, noises: Sequence[Tensor | None]) -> Tensor:
        """Synthesize images; noises: [n or 1, 1, h, w] or None, for each stage."""
        z, embedded = w[:, : self.shape.z_dim], w[:, self.shape.z_dim :]
        x, remaining = self.init(z), iter(noises)
        features = {4: x}
        for resolution, stages in zip(
            self.shape.block_resolutions(), self.shape.stages, strict=True
        ):
            block_noises = [next(remaining) for _ in stages]
            x = self.get_submodule(f"feat_{resolution}")(x, embedded, block_noises)
            if resolution in EXCITATIONS:
                small = features[EXCITATIONS[resolution]]
                x = self.get_submodule(f"se_{resolution}")(small, x)
            features[resolution] = x
        images: Tensor = self.to_big(x)
        return images
