"""Features as directions, for metrics that compare by cosine."""

from __future__ import annotations

import numpy as np

from raymetrics.errors import ShardError


def normalize_rows(features: np.ndarray) -> np.ndarray:
    """Divide each row by its length, float64 [n, d].

    features: real [n, d]. ShardError for a row without a direction: zeros, or values not finite.
    """
    x = features.astype(np.float64)
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    bad = np.flatnonzero(~((lengths > 0) & np.isfinite(lengths)))
    if bad.size:
        raise ShardError(
            f"{bad.size} of {len(x)} rows of features have no direction, first row {bad[0]}: "
            "their length is 0 or not finite; remove those samples"
        )
    x /= lengths
    return x
