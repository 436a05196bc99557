"""Compute the correlation of two metrics over several sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def pearson_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Return Pearson's correlation coefficient, in -1..1; NaN if x or y is constant.

    x, y: [n], n >= 2.
    """
    return float(np.corrcoef(x, y)[0, 1])
