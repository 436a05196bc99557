"""Run code for GPUs without one: tensors have a device and a shape, and no numbers.

Torch refuses to mix such a tensor of "cuda" with one of the CPU, as a GPU would; so a constant that
was left on the CPU, or a result that never came back, fails here. What numbers come out, and what
depends on them, cannot be tested this way; neither can streams, events, pinned memory, CUDA graphs
and the memory of a GPU, which are replaced by what does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from raymetrics.devices.constants import forget_constants

CUDA = torch.device("cuda")


@contextmanager
def fake_cuda() -> Iterator[FakeTensorMode]:
    """Make every tensor of the block a fake one; `numpy()` of one on the CPU returns zeros."""
    real_numpy = Tensor.numpy

    def numpy(tensor: Tensor, *, force: bool = False) -> np.ndarray:
        if not isinstance(tensor, FakeTensor):
            return real_numpy(tensor, force=force)
        assert tensor.device.type == "cpu", f"numpy() of a tensor on {tensor.device}"
        shape = [size if isinstance(size, int) else 2 for size in tensor.shape]
        # "torch.float32" -> "float32", as numpy calls it
        return np.zeros(shape, str(tensor.dtype).removeprefix("torch."))

    mode = FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv())
    forget_constants()
    try:
        with patch.object(Tensor, "numpy", numpy), mode:
            yield mode
    finally:
        forget_constants()  # without numbers they are of no use outside


def to_fake_cuda(network: torch.nn.Module) -> torch.nn.Module:
    """Move a network's parameters and buffers to the fake device; call it inside of `fake_cuda`."""
    return network._apply(lambda tensor: torch.empty_like(tensor, device=CUDA))


@contextmanager
def copies_to_the_host() -> Iterator[list[tuple[torch.dtype, tuple[int, ...]]]]:
    """Record the type and the shape of every tensor that is copied by `cpu()`, in order."""
    copies: list[tuple[torch.dtype, tuple[int, ...]]] = []
    original = Tensor.cpu

    def cpu(tensor: Tensor) -> Tensor:
        copies.append((tensor.dtype, tuple(tensor.shape)))
        return original(tensor)

    with patch.object(Tensor, "cpu", cpu):
        yield copies
