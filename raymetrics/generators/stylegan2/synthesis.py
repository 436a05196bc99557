"""Define the synthesis network, from one w for each layer to an image.

Everything is computed in float32: the images are those of NVIDIA's programs with the option
`force_fp32`. After `Synthesis.to_mixed_precision`, the largest blocks are computed in float16, as
in the networks that NVIDIA published.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from raymetrics.generators.stylegan2.architecture import NetworkShape, Settings
from raymetrics.generators.stylegan2.layers import Skip, StyledConvolution, ToColors
from raymetrics.generators.stylegan2.upsampling import upsample

# Of NVIDIA's networks: the number of blocks in float16, the first resolution that may be one of
# them, and the limit of what their layers give.
_FLOAT16_BLOCKS = 4
_FIRST_FLOAT16_RESOLUTION = 8
_FLOAT16_CLAMP = 256.0


class _Block(nn.Module):
    """The block of one resolution: features and colors of half the size -> features and colors.

    Layer i of the network takes w number i and noise number i; the conversion to colors takes the w
    of the next layer.
    """

    def __init__(self, shape: NetworkShape, settings: Settings, index: int) -> None:
        super().__init__()
        self.layer = 2 * index
        self.in_float16 = False
        self.architecture = shape.architecture
        channels, before = shape.channels[index], shape.channels[index - 1]

        def convolution(channels_in: int, up: bool) -> StyledConvolution:
            return StyledConvolution(
                channels_in,
                channels,
                shape.w_dim,
                4 * 2**index,
                up=up,
                noise=shape.noise,
                activation=settings.activation,
                clamp=settings.clamp,
            )

        if index == 0:
            self.const = nn.Parameter(torch.empty(channels, 4, 4))
        else:
            self.conv0 = convolution(before, up=True)
        self.conv1 = convolution(channels, up=False)
        self.has_colors = shape.architecture == "skip" or index == len(shape.channels) - 1
        if self.has_colors:
            self.torgb = ToColors(channels, shape.colors, shape.w_dim, settings.clamp)
        if index and shape.architecture == "resnet":
            self.skip = Skip(before, channels)

    def forward(
        self,
        x: Tensor | None,
        colors: Tensor | None,
        ws: Tensor,
        noise: Sequence[Tensor | None],
        fir: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        start = self._first_features if x is None else partial(self._features, self._cast(x))
        x = start(ws, noise, fir)
        if colors is not None:
            colors = upsample(colors, fir)
        if self.has_colors:
            block_colors = self.torgb(x, ws[:, self.layer + 1])
            block_colors = block_colors.to(torch.float32, memory_format=torch.contiguous_format)
            colors = block_colors if colors is None else colors + block_colors
        return x, colors

    def _cast(self, x: Tensor) -> Tensor:
        """Return features in the precision and the layout of this block."""
        if self.in_float16:
            return x.to(torch.float16, memory_format=torch.channels_last)
        return x

    def to_float16(self) -> None:
        """Compute the features in float16 from now on; colors are summed in float32."""
        self.in_float16 = True
        for layer in self.children():
            if isinstance(layer, StyledConvolution | ToColors):
                layer.to_float16(_FLOAT16_CLAMP)

    def _first_features(self, ws: Tensor, noise: Sequence[Tensor | None], fir: Tensor) -> Tensor:
        """Compute the features of 4 x 4 pixels, from the constant input."""
        x = self.const.expand(len(ws), -1, -1, -1)
        return self.conv1(x, ws[:, 0], fir, noise[0])

    def _features(
        self, x: Tensor, ws: Tensor, noise: Sequence[Tensor | None], fir: Tensor
    ) -> Tensor:
        """Compute the features of this resolution from those of half the resolution."""
        i = self.layer
        inner = self.conv0(x, ws[:, i - 1], fir, noise[i - 1])
        if self.architecture != "resnet":
            return self.conv1(inner, ws[:, i], fir, noise[i])
        half = math.sqrt(0.5)
        return self.skip(x, fir) * half + self.conv1(inner, ws[:, i], fir, noise[i], half)


class Synthesis(nn.Module):
    """The synthesis network: ws float32 [n, num_ws, w_dim] -> images float32 [n, colors, h, w].

    The values of the images are in about -1..1.
    """

    fir: Tensor

    def __init__(self, shape: NetworkShape, settings: Settings, filter_size: int) -> None:
        super().__init__()
        self.resolutions = [4 * 2**i for i in range(len(shape.channels))]
        for i, resolution in enumerate(self.resolutions):
            self.add_module(f"b{resolution}", _Block(shape, settings, i))
        self.register_buffer("fir", torch.empty(filter_size, filter_size))

    def forward(self, ws: Tensor, noise: Sequence[Tensor | None]) -> Tensor:
        """Synthesize images; noise: [n, 1, h, w], [h, w] or None, for each convolution."""
        x = colors = None
        for resolution in self.resolutions:
            block = self.get_submodule(f"b{resolution}")
            x, colors = block(x, colors, ws, noise, self.fir)
        assert colors is not None
        return colors

    def to_mixed_precision(self) -> None:
        """Compute the last four blocks in float16 from now on, as NVIDIA's published networks."""
        for resolution in self.resolutions[-_FLOAT16_BLOCKS:]:
            if resolution >= _FIRST_FLOAT16_RESOLUTION:
                block = self.get_submodule(f"b{resolution}")
                assert isinstance(block, _Block)
                block.to_float16()

    def convolutions(self) -> list[StyledConvolution]:
        """Return the convolutions in the order of their w and their noise."""
        return [module for module in self.modules() if isinstance(module, StyledConvolution)]
