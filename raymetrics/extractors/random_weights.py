"""Draw random weights, for the features of an untrained network.

See Kynkäänniemi et al. (2023), section 5.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from raymetrics.weights.state_dict import StateDict


def draw_random_weights(network: nn.Module, seed: int) -> StateDict:
    """Draw values for every tensor of a network from the seed.

    Matrices, kernels and embeddings come from the normal distribution of He et al. (2015), of
    variance 2 / fan-in, which keeps the size of activations through ReLUs. Norms and layer scales
    get the values with which they change nothing; biases are 0. Each tensor has its own stream of
    numpy's, so that neither torch's version nor the order of the modules matters.
    """
    state = {}
    for position, (name, tensor) in enumerate(sorted(network.state_dict().items())):
        if tensor.dim() >= 2:
            fan_in = tensor[0].numel()
            stream = np.random.Generator(np.random.PCG64([seed, position]))
            normal = stream.standard_normal(tensor.shape, np.float32)
            state[name] = torch.from_numpy(normal * np.float32((2 / fan_in) ** 0.5))
        elif name.endswith(("weight", "running_var", "gamma", "gamma_1", "gamma_2")):
            state[name] = torch.ones_like(tensor)
        else:
            state[name] = torch.zeros_like(tensor)
    return state
