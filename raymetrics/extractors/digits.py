"""A digit classifier: a second opinion whose features have never seen ImageNet.

Trained by `python -m raymetrics.demo.train` on 4,000 of the 5,000 digits; the rest
measure it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from raymetrics.checkpoints import shipped
from raymetrics.extractors.base import NetworkExtractor
from raymetrics.extractors.resize import resize
from raymetrics.weights import load_state_dict

SIZE = 28
RESIZE = "antialias-bicubic"
FEATURES = 64
CLASSES = 10


class ClassifierNetwork(nn.Module):
    """Images float32 [n, 1, 28, 28] in [0, 1] -> (pre_logits [n, 64], logits [n, 10])."""

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
            nn.Linear(32 * 7 * 7, FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, CLASSES)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        pre_logits = self.body(images)
        return pre_logits, self.head(pre_logits)


def digits(device: torch.device) -> NetworkExtractor:
    """The extractor `digits`: columns pre_logits 64 and logits 10."""
    weights = shipped("digits-classifier.safetensors")
    network = ClassifierNetwork()
    network.load_state_dict(load_state_dict(weights))
    network.eval().requires_grad_(False).to(device)

    def forward(images: Tensor) -> tuple[Tensor, Tensor]:
        grey = resize(images.float().mean(dim=1, keepdim=True), SIZE, RESIZE)
        features: tuple[Tensor, Tensor] = network(grey / 255)
        return features

    return NetworkExtractor(
        name="digits",
        columns={"pre_logits": FEATURES, "logits": CLASSES},
        resize=RESIZE,
        weights=weights.sha256,
        class_names=tuple(str(digit) for digit in range(CLASSES)),
        forward=forward,
        device=device,
    )
