"""Networks of FastGAN from torch's own layers, and their pickles as Projected GAN writes them.

Its program pickles networks by the names of their classes, in modules `pg_modules`, with the
hooks of torch's spectral norm. Here these names belong to the classes below.
"""

from __future__ import annotations

import pickle
import sys
import types
import warnings
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

WIDTHS = {4: 16, 8: 8, 16: 4, 32: 2, 64: 2, 128: 1, 256: 0.5, 512: 0.25, 1024: 0.125}
EXCITED_BY = {64: 4, 128: 8, 256: 16, 512: 32}
noises: Iterator[Tensor | None] = iter(())  # what the next layers of noise add


def spectral(layer: nn.Module) -> nn.Module:
    """Give a layer torch's spectral norm, with vectors as near to it as after some training."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that there is a newer function
        nn.utils.spectral_norm(layer)
    (step,) = layer._forward_pre_hooks.values()
    with torch.no_grad():
        for _ in range(4):
            step(layer, ())
    return layer


def convolution(channels_in: int, channels_out: int, size: int, padding: int = 0) -> nn.Module:
    return spectral(nn.Conv2d(channels_in, channels_out, size, padding=padding, bias=False))


class GLU(nn.GLU):
    pass


class Swish(nn.SiLU):
    pass


class NoiseInjection(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        noise = next(noises)
        return x if noise is None else x + self.weight * noise


class CCBN(nn.Module):
    def __init__(self, channels: int, z_dim: int) -> None:
        super().__init__()
        self.gain, self.bias = (spectral(nn.Linear(z_dim, channels)) for _ in range(2))
        self.register_buffer("stored_mean", torch.zeros(channels))
        self.register_buffer("stored_var", torch.ones(channels))

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        standard = (x - self.stored_mean[:, None, None]) / (
            self.stored_var[:, None, None] + 1e-5
        ).sqrt()
        gain, bias = (layer(embedded)[..., None, None] for layer in (self.gain, self.bias))
        return standard * (1 + gain) + bias


class InitLayer(nn.Module):
    def __init__(self, z_dim: int, channels: int) -> None:
        super().__init__()
        first = spectral(nn.ConvTranspose2d(z_dim, 2 * channels, 4, bias=False))
        self.init = nn.Sequential(first, nn.BatchNorm2d(2 * channels), GLU(dim=1))


class SEBlock(nn.Module):
    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        first, second = (
            convolution(channels_in, channels_out, 4),
            convolution(*2 * [channels_out], 1),
        )
        self.main = nn.Sequential(nn.AdaptiveAvgPool2d(4), first, Swish(), second, nn.Sigmoid())


def up_block(channels_in: int, channels_out: int, large: bool) -> nn.Module:
    layers: list[nn.Module] = [nn.Upsample(scale_factor=2, mode="nearest")]
    for width in (channels_in, channels_out)[: 1 + large]:
        layers += [convolution(width, 2 * channels_out, 3, 1)]
        layers += [NoiseInjection()] if large else []
        layers += [nn.BatchNorm2d(2 * channels_out), GLU(dim=1)]
    return nn.Sequential(*layers)


class UpBlockBigCond(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, z_dim: int) -> None:
        super().__init__()
        self.up, self.act, self.noise = nn.Upsample(scale_factor=2), GLU(dim=1), NoiseInjection()
        self.conv1 = convolution(channels_in, 2 * channels_out, 3, 1)
        self.conv2 = convolution(channels_out, 2 * channels_out, 3, 1)
        self.bn1, self.bn2 = (CCBN(2 * channels_out, z_dim) for _ in range(2))

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        x = self.act(self.bn1(self.noise(self.conv1(self.up(x))), embedded))
        return self.act(self.bn2(self.noise(self.conv2(x)), embedded))


class UpBlockSmallCond(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, z_dim: int) -> None:
        super().__init__()
        self.up, self.act = nn.Upsample(scale_factor=2), GLU(dim=1)
        self.conv = convolution(channels_in, 2 * channels_out, 3, 1)
        self.bn = CCBN(2 * channels_out, z_dim)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(self.up(x)), embedded))


class FastganSynthesis(nn.Module):
    """Blocks are large at the resolutions `large`; with `rows` the network has classes."""

    def __init__(
        self, width: int, z_dim: int, resolution: int, large: Sequence[int], rows: int, colors: int
    ) -> None:
        super().__init__()
        self.img_resolution = resolution
        widths = {size: int(factor * width) for size, factor in WIDTHS.items()}
        self.init = InitLayer(z_dim, widths[4])
        for size in [size for size in widths if 4 < size <= max(256, resolution)]:
            channels = widths[size // 2], widths[size]
            if rows:
                block = UpBlockBigCond if size in large else UpBlockSmallCond
                self.add_module(f"feat_{size}", block(*channels, z_dim))
            else:
                self.add_module(f"feat_{size}", up_block(*channels, size in large))
            if size in EXCITED_BY:
                self.add_module(f"se_{size}", SEBlock(widths[EXCITED_BY[size]], widths[size]))
        self.to_big = spectral(nn.Conv2d(widths[resolution], colors, 3, padding=1))
        if rows:
            self.embed = nn.Embedding(rows, z_dim)

    def forward(self, z: Tensor, label: int | None) -> Tensor:
        z = z / (z.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
        embedded = [] if label is None else [self.embed.weight[label].expand(len(z), -1)]
        features = {4: self.init.init(z[:, :, None, None])}
        size = 4
        while size < self.img_resolution:
            size *= 2
            x = self.get_submodule(f"feat_{size}")(features[size // 2], *embedded)
            if size in EXCITED_BY:
                x = x * self.get_submodule(f"se_{size}").main(features[EXCITED_BY[size]])
            features[size] = x
        return self.to_big(features[size])


class DummyMapping(nn.Module):
    pass


class Generator(nn.Module):
    """A network with random tensors, as the averaged one after training."""

    def __init__(
        self,
        resolution: int = 128,
        large: Sequence[int] = (8, 32, 128),
        *,
        classes: int = 0,
        rows: int = 0,
        width: int = 4,
        z_dim: int = 8,
        colors: int = 3,
    ) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.img_resolution = z_dim, classes, resolution
        self.mapping = DummyMapping()
        self.synthesis = FastganSynthesis(width, z_dim, resolution, large, rows, colors)
        for parameter in self.parameters():  # an average, whose norms are not those of the vectors
            parameter.data += 0.02 * torch.randn_like(parameter)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):  # as gates halve what they let through
                module.weight.data.uniform_(1, 2)
        for name, buffer in self.named_buffers():
            if name.endswith("_mean"):
                buffer.normal_(0, 0.3)
            elif name.endswith("_var"):
                buffer.uniform_(0.5, 1.5)


_HOMES: dict[str, tuple[type, ...]] = {
    "pg_modules.networks_fastgan": (Generator, DummyMapping, FastganSynthesis),
    "pg_modules.blocks": (
        GLU, Swish, NoiseInjection, CCBN, InitLayer, SEBlock, UpBlockBigCond, UpBlockSmallCond,
    ),
}  # fmt: skip


def dumps(value: Any) -> bytes:
    """Pickle a value with the names of the program's classes for the classes above."""
    modules = {home: types.ModuleType(home) for home in ("pg_modules", *_HOMES)}
    with mock.patch.dict(sys.modules, modules):
        for home, kinds in _HOMES.items():
            for kind in kinds:
                setattr(modules[home], kind.__name__, kind)
                mock.patch.object(kind, "__module__", home).start()
        try:
            return pickle.dumps(value)
        finally:
            mock.patch.stopall()
