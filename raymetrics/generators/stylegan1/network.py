"""Define StyleGAN's network (Karras et al. 2019, Fig. 1b).

The mapping network is StyleGAN2's. Kernels are stored as they are applied, scaled by the equalized
learning rate (Karras et al. 2018, section 4.1). Everything is computed in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, interpolate, leaky_relu, relu

from raymetrics.generators.stylegan2.architecture import NetworkShape, Settings
from raymetrics.generators.stylegan2.layers import Dense, normalize
from raymetrics.generators.stylegan2.mapping import Mapping

# Other than StyleGAN2's, these do not keep the variance: the normalization after them restores it.
PLAIN_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": relu,
    "lrelu": partial(leaky_relu, negative_slope=0.2),
}


@dataclass(frozen=True)
class SynthesisSettings:
    """The settings of the synthesis network that its tensors do not show.

    instance_norm, pixel_norm: whether features are normalized over the pixels of a channel, and
    over the channels of a pixel. lod: the level of detail of progressive growing (Karras et al.
    2018, Fig. 2), the number of last blocks that do not contribute yet; 2.3 also blends 0.3 of the
    image of level 3 into that of level 2. A network whose training has ended has 0.
    """

    activation: str = "lrelu"
    instance_norm: bool = True
    pixel_norm: bool = False
    lod: float = 0


def normalize_instance(x: Tensor) -> Tensor:
    """Give each channel of each image mean 0 and variance 1 over its pixels."""
    centered = x - x.mean(dim=(2, 3), keepdim=True)
    return centered * (centered.square().mean(dim=(2, 3), keepdim=True) + 1e-8).rsqrt()


class AdaINLayer(nn.Module):
    """A convolution, noise, bias, activation, normalization, and style.

    x [n, i, h, w] and w [n, d] -> [n, o, h, w]; with a kernel of 4 x 4, which upsamples,
    [n, o, 2h, 2w]. kernel: 3, 4, or 0 for no convolution.
    """

    noise_const: Tensor

    def __init__(
        self,
        channels_in: int,
        shape: NetworkShape,
        settings: SynthesisSettings,
        block: int,
        kernel: int,
    ) -> None:
        super().__init__()
        channels, resolution = shape.channels[block], 4 * 2**block
        self.settings, self.kernel = settings, kernel
        self.activate = PLAIN_ACTIVATIONS[settings.activation]
        self.affine = Dense(shape.w_dim, 2 * channels)
        if kernel:
            self.weight = nn.Parameter(torch.empty(channels, channels_in, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(channels))
        if shape.noise:
            self.noise_strength = nn.Parameter(torch.empty(channels))
            self.register_buffer("noise_const", torch.empty(resolution, resolution))

    def forward(self, x: Tensor, w: Tensor, blur: Tensor, noise: Tensor | None) -> Tensor:
        x = self._convolve(x, blur)
        if noise is not None:
            x = x + noise * self.noise_strength[:, None, None]
        x = self.activate(x + self.bias[:, None, None])
        if self.settings.pixel_norm:
            x = normalize(x)
        if self.settings.instance_norm:
            x = normalize_instance(x)
        return self._apply_style(x, w)

    def _convolve(self, x: Tensor, blur: Tensor) -> Tensor:
        if not self.kernel:
            return x
        if self.kernel == 3:
            return conv2d(x, self.weight, padding=1)
        x = conv_transpose2d(x, self.weight.transpose(0, 1), stride=2, padding=1)
        kernels = blur.repeat(x.shape[1], 1, 1, 1)
        return conv2d(x, kernels, padding=len(blur) // 2, groups=x.shape[1])

    def _apply_style(self, x: Tensor, w: Tensor) -> Tensor:
        """Compute y_s x + y_b with the style y of w (Karras et al. 2019, Eq. 1)."""
        scale, offset = self.affine(w)[:, :, None, None].chunk(2, dim=1)
        return x * scale + offset


class _AdaINBlock(nn.Module):
    """The block of one resolution: features of half the size, or the constant -> features."""

    def __init__(self, shape: NetworkShape, settings: SynthesisSettings, index: int) -> None:
        super().__init__()
        self.first = 2 * index  # the number of the first layer's w and noise
        channels = shape.channels[index]
        if index == 0:
            self.const = nn.Parameter(torch.empty(channels, 4, 4))
        before = shape.channels[index - 1] if index else 0
        self.conv0 = AdaINLayer(before, shape, settings, index, kernel=4 if index else 0)
        self.conv1 = AdaINLayer(channels, shape, settings, index, kernel=3)
        if has_colors(len(shape.channels) - 1 - index, settings.lod):
            self.torgb = nn.Conv2d(channels, shape.colors, 1)

    def forward(
        self, x: Tensor | None, ws: Tensor, blur: Tensor, noise: Sequence[Tensor | None]
    ) -> Tensor:
        if x is None:
            x = self.const.expand(len(ws), -1, -1, -1)
        x = self.conv0(x, ws[:, self.first], blur, noise[self.first])
        return self.conv1(x, ws[:, self.first + 1], blur, noise[self.first + 1])


def share_of_coarser(level: int, lod: float) -> float:
    """Return the share of the image of half the size in the image of a level of detail."""
    return min(max(lod - level, 0), 1)


def has_colors(level: int, lod: float) -> bool:
    """Return whether the image depends on the colors of the block of a level of detail."""
    is_shown = level == 0 or share_of_coarser(level - 1, lod) > 0
    return is_shown and share_of_coarser(level, lod) < 1


class AdaINSynthesis(nn.Module):
    """The synthesis network: ws float32 [n, num_ws, w_dim] -> images float32 [n, colors, h, w].

    The values of the images are in about -1..1.
    """

    blur: Tensor

    def __init__(self, shape: NetworkShape, settings: SynthesisSettings, taps: int) -> None:
        super().__init__()
        self.lod = settings.lod
        self.resolutions = [4 * 2**i for i in range(len(shape.channels))]
        for i, resolution in enumerate(self.resolutions):
            self.add_module(f"b{resolution}", _AdaINBlock(shape, settings, i))
        self.register_buffer("blur", torch.empty(taps, taps))

    def forward(self, ws: Tensor, noise: Sequence[Tensor | None]) -> Tensor:
        """Synthesize images; noise: [n, 1, h, w], [h, w] or None, for each layer."""
        x = image = None
        for level, resolution in reversed(list(enumerate(reversed(self.resolutions)))):
            share = share_of_coarser(level, self.lod)
            if share < 1:
                x = self.get_submodule(f"b{resolution}")(x, ws, self.blur, noise)
            if image is not None:
                image = interpolate(image, scale_factor=2, mode="nearest")
            if has_colors(level, self.lod):
                colors = self.get_submodule(f"b{resolution}.torgb")(x)
                image = colors if image is None else colors.lerp(image, share)
        assert image is not None
        return image

    def convolutions(self) -> list[AdaINLayer]:
        """Return the layers in the order of their w and their noise."""
        return [module for module in self.modules() if isinstance(module, AdaINLayer)]

    def to_mixed_precision(self) -> NoReturn:
        """Raise ValueError, as NVIDIA published no network of this kind in float16."""
        raise ValueError(
            "precision is 'nvidia', but NVIDIA's StyleGAN computes in float32; leave it out"
        )


class StyleGANNetwork(nn.Module):
    """A StyleGAN network: the submodules `mapping` and `synthesis`."""

    family = "stylegan"

    def __init__(
        self,
        shape: NetworkShape,
        mapping_settings: Settings,
        synthesis_settings: SynthesisSettings,
        taps: int,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.mapping = Mapping(shape, mapping_settings)
        self.synthesis = AdaINSynthesis(shape, synthesis_settings, taps)
