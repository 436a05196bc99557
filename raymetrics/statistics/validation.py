"""The check that two arrays are features that can be compared."""

from __future__ import annotations

import numpy as np

from raymetrics.errors import ShardError

# Rows that are checked at a time, so that a check takes little memory.
_CHUNK_ROWS = 8192


def require_comparable_features(*, real: np.ndarray, generated: np.ndarray) -> None:
    """Raise ShardError unless both are finite, of shapes [n, d] and [m, d]."""
    for side, features in (("real", real), ("generated", generated)):
        if features.ndim != 2:
            raise ShardError(
                f"{side} features have shape {list(features.shape)}, expected [samples, dimension]"
            )
        finite = _finite_rows(features)
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


def _finite_rows(features: np.ndarray) -> np.ndarray:
    """Return bool [n]: True for rows without NaN and infinities."""
    parts = [
        np.isfinite(features[i : i + _CHUNK_ROWS]).all(axis=1)
        for i in range(0, len(features), _CHUNK_ROWS)
    ]
    return np.concatenate([np.ones(0, bool), *parts])
