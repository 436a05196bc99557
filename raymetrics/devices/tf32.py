"""Choose whether a GPU rounds the factors of float32 products to TF32, which has 10 binary digits.

torch keeps the choice in flags of the process. Without a choice, torch convolves in TF32 and
multiplies matrices in float32.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
    with _flags_lock, _set_flags(allowed) if _has_one_answer() else _set_newer_flags(allowed):
        yield


def _has_one_answer() -> bool:
    """Whether torch's two sets of flags agree; a program may have set one of them alone."""
    try:
        torch.get_float32_matmul_precision()
        _ = torch.backends.cudnn.allow_tf32
    except RuntimeError:
        return False
    return True


@contextmanager
def _set_flags(allowed: bool) -> Iterator[None]:
    """Set the flags that every version of torch reads, and which set the newer ones."""
    cudnn = torch.backends.cudnn
    former = torch.get_float32_matmul_precision(), cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(former[0])
        cudnn.allow_tf32 = former[1]


@contextmanager
def _set_newer_flags(allowed: bool) -> Iterator[None]:
    """Set the flags of single operations, for a program that sets these itself."""
    backends: Any = torch.backends
    matmul, convolution = backends.cuda.matmul, backends.cudnn.conv
    former = matmul.fp32_precision, convolution.fp32_precision
    matmul.fp32_precision = convolution.fp32_precision = "tf32" if allowed else "ieee"
    try:
        yield
    finally:
        matmul.fp32_precision, convolution.fp32_precision = former
