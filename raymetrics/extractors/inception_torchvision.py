"""torchvision's Inception-V3 (Szegedy et al. 2016), trained on ImageNet: not the network of FID.

Kynkäänniemi et al. (2023), Fig. 8b, measure how far the two are apart. Its average pools count the
padding, its last block pools by the average, and its weights are Google's of 2016.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from raymetrics.extractors import class_names
from raymetrics.extractors.base import PublishedNetwork
from raymetrics.extractors.build_networks import build_empty_network, fold_batch_norms
from raymetrics.extractors.pixel_scaling import scale_to_signed
from raymetrics.weights.known_files import INCEPTION_TORCHVISION
from raymetrics.weights.state_dict import StateDict

_FEATURES = 2048
_CLASSES = 1000


class InceptionTorchvision(nn.Module):
    """Images float32 [n, 3, 299, 299] in -1..1 -> pre_logits [n, 2048], logits [n, 1000].

    torchvision scales by ImageNet's mean, and its network takes that back: `transform_input`.
    """

    def __init__(self) -> None:
        super().__init__()
        body: Any = build_empty_network(
            "torchvision.models",
            "torchvision",
            lambda models: models.inception_v3(
                weights=None, aux_logits=False, transform_input=False, init_weights=False
            ),
        )
        self.fc = body.fc
        body.fc, body.avgpool = nn.Identity(), nn.Identity()
        self.body = body

    def activations(self, images: Tensor) -> Tensor:
        """The map [n, 2048, 8, 8] whose spatial mean is pre_logits."""
        return self.body(images).unflatten(1, (_FEATURES, 8, 8))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.outputs(self.activations(images))

    def outputs(self, activations: Tensor) -> dict[str, Tensor]:
        """All that is made of the map."""
        pre_logits = activations.mean(dim=(2, 3))
        return {"pre_logits": pre_logits, "logits": self.fc(pre_logits)}


def _rename_state(state: StateDict) -> StateDict:
    """torchvision's names -> ours, without the head that only training uses."""
    inference_state = {
        name: value for name, value in state.items() if not name.startswith("AuxLogits.")
    }
    return {
        name if name.startswith("fc.") else f"body.{name}": inference_state[name]
        for name in inference_state
    }


ARCHITECTURE = PublishedNetwork(
    name="inception-torchvision",
    build=InceptionTorchvision,
    size=299,
    resize="antialias",
    scale=scale_to_signed,
    outputs={"pre_logits": _FEATURES, "logits": _CLASSES},
    columns=("pre_logits", "logits"),
    weights=INCEPTION_TORCHVISION,
    rename_state=_rename_state,
    finish=fold_batch_norms,
    class_names=class_names.imagenet_classes,
)
