"""Cast a network to a precision with fewer digits, once, when the network is built.

torch.autocast would cast all weights again in every call, as they need no gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

# By name: the type to which layers are cast. TF32 is no type: see `raymetrics.devices.tf32`.
PRECISIONS = {
    "float32": None,
    "tf32": None,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

_CAST_LAYERS = (nn.Conv2d, nn.Linear, nn.MultiheadAttention)
_FLOAT32_LAYERS = (nn.LayerNorm,)


def cast_layers(
    network: nn.Module, dtype: torch.dtype, float32_layers: Collection[str] = ()
) -> None:
    """Cast the convolutions, linear layers and attentions of a network, except the named ones.

    These layers do nearly all the work. Each of them also casts its input. Everything else is in
    float32, as under autocast: embeddings, norms, and the sums that run through the blocks of a
    transformer. A norm right behind a cast layer casts its input back.
    """
    for name, layer in network.named_modules():
        if isinstance(layer, _CAST_LAYERS) and name not in float32_layers:
            layer.to(dtype)
            layer.register_forward_pre_hook(_input_cast(dtype))
        elif isinstance(layer, _FLOAT32_LAYERS):
            layer.register_forward_pre_hook(_input_cast(torch.float32))


def _input_cast(dtype: torch.dtype) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Tensor, ...]]:
    """Return a hook that casts the inputs of a layer."""

    def cast(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor, ...]:
        first = inputs[0].to(dtype)
        # Attention is faster if its query, key and value are one and the same tensor.
        return tuple(first if x is inputs[0] else x.to(dtype) for x in inputs)

    return cast
