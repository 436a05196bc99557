"""Build a network with the tensors of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def build_network(make: Callable[[], Network], state: Mapping[str, Tensor]) -> Network:
    """Return the network that `make` makes, with these tensors, for inference.

    Raises RuntimeError, before memory is allocated, if they are not exactly those of the network.
    """
    with torch.device("meta"):
        sizes = {name: tensor.to("meta") for name, tensor in state.items()}
        make().load_state_dict(sizes, assign=True)
    network = make()
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)
