"""Convert features in memory, of numpy or torch, to arrays of numpy."""

from __future__ import annotations

from typing import Any

import numpy as np

from raymetrics.errors import ShardError
from raymetrics.statistics.validation import require_comparable_features


def as_features(values: Any) -> np.ndarray:
    """Convert features to numpy, from a tensor of any device and with a gradient too.

    ShardError for values that are not real numbers.
    """
    array = values.detach().cpu() if hasattr(values, "detach") else values
    if "bfloat16" in str(getattr(array, "dtype", "")):  # which numpy lacks
        array = array.float()
    try:
        array = np.asarray(array)
    except (TypeError, ValueError):
        array = np.array(None)
    if array.dtype.kind not in "fiu":
        raise ShardError(
            f"features are {type(values).__name__} {str(values)[:40]!r}, expected an array or a "
            "tensor of numbers [samples, dimension]; those of shards are read by "
            "raymetrics.open_shards(PLACE).read(COLUMN)"
        )
    return array


def as_comparable_features(*, real: Any, generated: Any) -> tuple[np.ndarray, np.ndarray]:
    """Convert the features of both sides to numpy, (real, generated).

    ShardError for other values, for features of different dimensions, and for features that are not
    finite.
    """
    x, y = as_features(real), as_features(generated)
    require_comparable_features(real=x, generated=y)
    return x, y
