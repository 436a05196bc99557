"""Random weights of Inception-V3 in the published layout, for tests beside other programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from raymetrics.extractors import inception
from raymetrics.extractors.random_weights import draw_random_weights
from raymetrics.weights.state_dict import StateDict


def random_inception_state() -> StateDict:
    """Return random weights with batch norms that change something."""
    rng = np.random.default_rng(3)
    random_state = draw_random_weights(inception.build_empty_inception(), 0)
    for name, tensor in random_state.items():
        positive = name.endswith(("bn.weight", "running_var"))
        if tensor.dim() == 1:
            low, high = (0.5, 1.5) if positive else (-0.2, 0.2)
            random_state[name] = torch.from_numpy(
                rng.uniform(low, high, tensor.shape).astype(np.float32)
            )
    return random_state


def save_random_inception(file: Path) -> Path:
    """Write random weights as a file that pytorch-fid and torch-fidelity read."""
    torch.save(random_inception_state(), file)
    return file
