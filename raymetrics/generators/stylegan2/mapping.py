"""Define the mapping network from z to w, with its truncation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from raymetrics.generators.stylegan2.architecture import NetworkShape, Settings
from raymetrics.generators.stylegan2.layers import Dense, normalize


class Mapping(nn.Module):
    """The mapping network: z float32 [n, z_dim] and one-hot classes [n, classes] -> w [n, w_dim].

    The input of the first layer is z and the embedded class, concatenated: each normalized alone,
    or both together if the shape is `joint`.
    """

    w_avg: Tensor

    def __init__(self, shape: NetworkShape, settings: Settings) -> None:
        super().__init__()
        self.joint = shape.joint
        if shape.joint:
            self.concat = nn.Linear(shape.classes, shape.class_features, bias=False)
        elif shape.classes:
            self.embed = Dense(shape.classes, shape.class_features)
        self.depth = len(shape.mapping)
        features = shape.z_dim + shape.class_features
        for i, width in enumerate(shape.mapping):
            layer = Dense(features, width, settings.mapping_activation, settings.mapping_rate)
            self.add_module(f"fc{i}", layer)
            features = width
        self.register_buffer("w_avg", torch.empty(shape.w_dim))

    def forward(self, z: Tensor, classes: Tensor | None, scale: float = 1.0) -> Tensor:
        """Map z to w.

        scale: a factor of z, after its normalization, or before a `joint` one.
        """
        x = self._normalize_inputs(z, classes, scale)
        for i in range(self.depth):
            x = self.get_submodule(f"fc{i}")(x)
        return x

    def _normalize_inputs(self, z: Tensor, classes: Tensor | None, scale: float) -> Tensor:
        if classes is None:
            return scale * normalize(z)
        if self.joint:
            return normalize(torch.cat([scale * z, self.concat(classes)], dim=1))
        return torch.cat([scale * normalize(z), normalize(self.embed(classes))], dim=1)

    def truncate(self, w: Tensor, psi: float) -> Tensor:
        """Move w towards its average (Karras et al. 2019, appendix B).

        psi = 1 keeps w unchanged; psi = 0 gives the average.
        """
        return self.w_avg.lerp(w, psi)
