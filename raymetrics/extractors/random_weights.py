"""Random weights: what a network sees before it has learned anything (P2, section 5)."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from raymetrics.weights.state_dict import StateDict


def draw_random_weights(network: nn.Module, seed: int) -> StateDict:
    """Weights for every tensor of a network, drawn anew from the seed.

    Matrices and kernels from He et al. (2015)'s normal distribution, of variance 2 / fan-in, which
    keeps the size of activations through ReLUs; embeddings by the same rule; norms and layer scales
    change nothing; biases are 0. One stream of numpy's per tensor, so that neither torch's version
    nor the order of the modules matters.
    """
    state = {}
    for position, (name, tensor) in enumerate(sorted(network.state_dict().items())):
        if tensor.dim() >= 2:
            fan_in = tensor[0].numel()
            stream = np.random.Generator(np.random.PCG64([seed, position]))
            normal = stream.standard_normal(tensor.shape, np.float32)
            state[name] = torch.from_numpy(normal * np.float32((2 / fan_in) ** 0.5))
        elif name.endswith(("weight", "running_var", "gamma")):
            state[name] = torch.ones_like(tensor)
        else:
            state[name] = torch.zeros_like(tensor)
    return state
