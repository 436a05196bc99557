"""Whether two arrays are features that can be compared."""

from __future__ import annotations

import numpy as np

from raymetrics.errors import ShardError

# Rows looked at together, so that a check takes no memory to speak of.
BLOCK = 8192


def check(*, real: np.ndarray, generated: np.ndarray) -> None:
    """ShardError unless both are finite [n, d] of the same d."""
    for side, features in (("real", real), ("generated", generated)):
        if features.ndim != 2:
            raise ShardError(
                f"{side} features have shape {list(features.shape)}, expected [samples, dimension]"
            )
        finite = finite_rows(features)
        if not finite.all():
            bad = np.flatnonzero(~finite)
            rows = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
            raise ShardError(
                f"{side} features hold NaN or infinite values in {len(bad)} of {len(finite)} rows "
                f"({rows}); remove those samples"
            )
    if real.shape[1] != generated.shape[1]:
        raise ShardError(
            f"real features have {real.shape[1]} dimensions, generated ones "
            f"{generated.shape[1]}; they must come from the same column of the same extractor"
        )


def finite_rows(features: np.ndarray) -> np.ndarray:
    """bool [n]: rows without NaN and infinities."""
    parts = [
        np.isfinite(features[i : i + BLOCK]).all(axis=1) for i in range(0, len(features), BLOCK)
    ]
    return np.concatenate([np.ones(0, bool), *parts])
