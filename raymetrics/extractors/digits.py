"""Extract features with a classifier of handwritten digits, which was not trained on ImageNet.

`python -m raymetrics.demo.train` trained the classifier on 4,000 of the 5,000 digits of the source
`mnist`, and measured it on the other 1,000.
"""

from __future__ import annotations

from torch import Tensor, nn

from raymetrics.extractors.base import PublishedNetwork
from raymetrics.weights.shipped import shipped_weights

_SIZE = 28
_FEATURES = 64
_CLASSES = 10


class ClassifierNetwork(nn.Module):
    """A digit classifier: images float32 [n, 1, 28, 28] in 0..1 -> pre_logits [n, 64], logits
    [n, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 7 * 7, _FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(_FEATURES, _CLASSES)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        pre_logits = self.body(images)
        return {"pre_logits": pre_logits, "logits": self.head(pre_logits)}


def _scale_pixels(images: Tensor) -> Tensor:
    """Convert images [n, 3, 28, 28] in 0..255 to grey images [n, 1, 28, 28] in 0..1."""
    return images.mean(dim=1, keepdim=True) / 255


ARCHITECTURE = PublishedNetwork(
    name="digits",
    build=ClassifierNetwork,
    size=_SIZE,
    resize="clean",
    scale=_scale_pixels,
    outputs={"pre_logits": _FEATURES, "logits": _CLASSES},
    columns=("pre_logits", "logits"),
    weights=(shipped_weights("digits-classifier.safetensors"),),
    class_names=lambda: tuple(str(digit) for digit in range(_CLASSES)),
)
