"""Extract features with VGG-16 (Simonyan & Zisserman 2015), the network of precision and recall.

The network was trained on ImageNet. Kynkäänniemi et al. (2019) use the activations of its second
fully connected layer. NVIDIA's program and torch-fidelity take them after the ReLU, and so does the
default column here, `fc2_relu`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from raymetrics.extractors import class_names
from raymetrics.extractors.base import PublishedNetwork
from raymetrics.extractors.build_networks import build_empty_network, join_relus
from raymetrics.extractors.pixel_scaling import standardize_imagenet
from raymetrics.weights.known_files import VGG16
from raymetrics.weights.state_dict import StateDict

_FEATURES = 4096
_CLASSES = 1000

# Indices of the layers with weights in torchvision's lists, in the order of NVIDIA's conv1, ...
_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_LINEAR = (0, 3, 6)


class Vgg16(nn.Module):
    """VGG-16: images float32 [n, 3, 224, 224] -> fc2, fc2_relu [n, 4096], logits [n, 1000]."""

    def __init__(self) -> None:
        super().__init__()
        body: Any = build_empty_network(
            "torchvision.models",
            "torchvision",
            lambda models: models.vgg16(weights=None, init_weights=False),
        )
        self.features, self.classifier = body.features, body.classifier

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        fc1, relu, _, fc2, _, _, fc3 = self.classifier
        # The ReLUs of the list work in place and would change fc2.
        before = fc2(relu(fc1(self.features(images).flatten(1))))
        after = before.relu()
        return {"fc2": before, "fc2_relu": after, "logits": fc3(after)}


def _rename_state(state: StateDict) -> StateDict:
    """Rename NVIDIA's tensors, layers.conv1 and so on, to this network's names.

    This network has torchvision's names, so torchvision's tensors keep theirs. The 25,088 inputs of
    NVIDIA's fc1 are assumed to be in torchvision's order.
    """
    if "layers.conv1.weight" not in state:
        return state
    layer_names = {
        f"layers.conv{i}": f"features.{index}" for i, index in enumerate(_CONVOLUTIONS, 1)
    }
    layer_names |= {f"layers.fc{i}": f"classifier.{index}" for i, index in enumerate(_LINEAR, 1)}
    return {
        f"{name}.{kind}": state[f"{layer}.{kind}"]
        for layer, name in layer_names.items()
        for kind in ("weight", "bias")
        if f"{layer}.{kind}" in state
    }


ARCHITECTURE = PublishedNetwork(
    name="vgg16",
    build=Vgg16,
    size=224,
    resize="tf1-bilinear",
    scale=standardize_imagenet,
    outputs={"fc2": _FEATURES, "fc2_relu": _FEATURES, "logits": _CLASSES},
    columns=("fc2_relu",),
    weights=VGG16,
    rename_state=_rename_state,
    finish=join_relus,
    class_names=class_names.imagenet_classes,
)
