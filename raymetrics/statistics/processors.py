"""What statistics and metrics ask of the library of their arrays: numpy, or torch on any device.

An operator such as `@` is the same in both libraries, and needs no function here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

# GPUs that multiply in float64 at least half as fast as in float32: A100, H100 with H200, B200.
# Other GPUs take up to 64 times as long.
FAST_FLOAT64_CAPABILITIES = {(8, 0), (9, 0), (10, 0)}


def has_fast_float64(device: Any) -> bool:
    """Return whether a device is a GPU that computes in float64 about as fast as in float32.

    device: of torch, or what the attribute `device` of an array of numpy is.
    """
    if not str(device).startswith("cuda"):
        return False
    import torch

    return torch.cuda.get_device_capability(device) in FAST_FLOAT64_CAPABILITIES


def cast_like(values: Any, features: Any) -> Any:
    """Convert an array to the library, type and device of features, without a needless copy."""
    if isinstance(features, np.ndarray):
        return values.astype(features.dtype, copy=False)
    return features.new_tensor(values) if isinstance(values, np.ndarray) else values.to(features)


def as_float64(features: Any) -> Any:
    """Convert features to float64, in their library and on their device."""
    if isinstance(features, np.ndarray):
        return features.astype(np.float64, copy=False)
    return features.double()


def to_numpy_float64(values: Any) -> np.ndarray:
    """Convert a numpy array, or a torch tensor on any device, to numpy in float64."""
    array = values if isinstance(values, np.ndarray | np.generic) else values.cpu().numpy()
    return np.asarray(array, dtype=np.float64)


def empty_vector(count: int, features: Any) -> Any:
    """Return a vector float64 [count] that is not set, in the library and on the device of
    features."""
    if isinstance(features, np.ndarray):
        return np.empty(count)
    return as_float64(features[:0, 0]).new_empty(count)


def symmetric_eigen(matrix: Any) -> tuple[Any, Any]:
    """Compute the eigenvalues [d], ascending, and eigenvectors [d, d] of a symmetric matrix.

    matrix: float64 [d, d], of numpy or torch; a tensor's are computed on its device.
    """
    if isinstance(matrix, np.ndarray):
        return scipy.linalg.eigh(matrix, driver="evd")
    import torch

    return tuple(torch.linalg.eigh(matrix))
