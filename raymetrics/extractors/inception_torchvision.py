"""Extract features with torchvision's Inception-V3 (Szegedy et al. 2016): not the network of FID.

Kynkäänniemi et al. (2023), Fig. 8b, measure how much the two networks differ. In torchvision's
network the average pools count the padding, the last block takes an average, and the weights are
those that Google trained on ImageNet in 2016.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from raymetrics.devices.fused_convolution import ConvolutionRelu
from raymetrics.extractors import class_names
from raymetrics.extractors.base import PublishedNetwork
from raymetrics.extractors.build_networks import (
    build_empty_network,
    fold_batch_norms,
    replace_layers,
)
from raymetrics.extractors.pixel_scaling import scale_to_signed
from raymetrics.weights.known_files import INCEPTION_TORCHVISION
from raymetrics.weights.state_dict import StateDict

_FEATURES = 2048
_CLASSES = 1000


class InceptionTorchvision(nn.Module):
    """Inception-V3: images float32 [n, 3, 299, 299] in -1..1 -> pre_logits [n, 2048], logits
    [n, 1000].

    torchvision's program scales images by ImageNet's mean and deviation, and its network undoes
    that with `transform_input`. Here neither is done.
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
        """Compute the map [n, 2048, 8, 8] whose spatial mean is pre_logits."""
        return self.body(images).unflatten(1, (_FEATURES, 8, 8))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.outputs(self.activations(images))

    def outputs(self, activations: Tensor) -> dict[str, Tensor]:
        """Compute pre_logits and logits from the map."""
        pre_logits = activations.float().mean(dim=(2, 3))
        return {"pre_logits": pre_logits, "logits": self.fc(pre_logits)}

    def fuse(self) -> None:
        """Fold every batch norm into its convolution, and join the ReLU behind it."""
        from torchvision.models.inception import BasicConv2d

        fold_batch_norms(self)
        replace_layers(self, BasicConv2d, lambda unit: ConvolutionRelu(unit.conv))


def _rename_state(state: StateDict) -> StateDict:
    """Rename torchvision's tensors to this network's names.

    Leaves out the auxiliary head, which only the training uses.
    """
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
    finish=InceptionTorchvision.fuse,
    float32_layers=("fc",),
    class_names=class_names.imagenet_classes,
)
