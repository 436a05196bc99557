"""Choose whether a GPU rounds the factors of float32 products to TF32, which has 10 binary digits.

torch keeps the choice in flags of the process. Without it, torch convolves in TF32 and multiplies
matrices in float32.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_flags_lock = threading.RLock()


@contextmanager
def set_tf32(allowed: bool, device: torch.device) -> Iterator[None]:
    """Allow or forbid TF32 for the kernels that are launched in the block, and restore the flags.

    One thread at a time is in such a block, as all threads share the flags. On a CPU nothing
    happens: it computes in float32.
    """
    if device.type != "cuda":
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    with _flags_lock:
        flags = matmul.allow_tf32, cudnn.allow_tf32
        matmul.allow_tf32 = cudnn.allow_tf32 = allowed
        try:
            yield
        finally:
            matmul.allow_tf32, cudnn.allow_tf32 = flags
