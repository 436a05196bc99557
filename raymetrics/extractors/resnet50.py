"""Extract features with torchvision's ResNet-50 (He et al. 2016), trained on ImageNet's classes.

torchvision publishes two sets of weights. IMAGENET1K_V1 is the common training; IMAGENET1K_V2 was
trained longer, with more augmentation. Each has an extractor of its own, as each has its own crop.
"""

from __future__ import annotations

from torch import Tensor, nn

from raymetrics.extractors import class_names
from raymetrics.extractors.base import PublishedNetwork
from raymetrics.extractors.pixel_scaling import standardize_imagenet
from raymetrics.extractors.resnet50_body import FEATURES, build_empty_body, fuse
from raymetrics.weights.known_files import RESNET50
from raymetrics.weights.state_dict import StateDict

_CLASSES = 1000


class Resnet50(nn.Module):
    """ResNet-50: images float32 [n, 3, h, w] -> pre_logits [n, 2048], logits [n, 1000]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = build_empty_body()
        self.fc = nn.Linear(FEATURES, _CLASSES)

    def activations(self, images: Tensor) -> Tensor:
        """Compute the map [n, 2048, h / 32, w / 32] whose spatial mean is pre_logits."""
        x: Tensor = self.body(images)
        return x

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.outputs(self.activations(images))

    def outputs(self, activations: Tensor) -> dict[str, Tensor]:
        """Compute pre_logits and logits from the map."""
        pre_logits = activations.float().mean(dim=(2, 3))
        return {"pre_logits": pre_logits, "logits": self.fc(pre_logits)}


def _rename_state(state: StateDict) -> StateDict:
    """Rename torchvision's tensors to this network's names."""
    return {
        name if name.startswith("fc.") else f"body.{name}": value for name, value in state.items()
    }


def _resnet50_network(name: str, resize: str) -> PublishedNetwork:
    """Describe the network with the weights of this name in `RESNET50`, and their crop."""
    return PublishedNetwork(
        name=name,
        build=Resnet50,
        size=224,
        resize=resize,
        scale=standardize_imagenet,
        outputs={"pre_logits": FEATURES, "logits": _CLASSES},
        columns=("pre_logits", "logits"),
        weights=RESNET50[name],
        rename_state=_rename_state,
        finish=fuse,
        float32_layers=("fc",),
        any_shape=True,
        class_names=class_names.imagenet_classes,
    )


V2 = _resnet50_network("resnet50", resize="torchvision-v2")
V1 = _resnet50_network("resnet50-v1", resize="torchvision-v1")
