"""The distance between two Top-1 class histograms (Kynkaanniemi et al. 2023, section 2)."""

from __future__ import annotations

from raymetrics.errors import NotEnoughData
from raymetrics.statistics import Histogram


def total_variation(*, real: Histogram, generated: Histogram) -> float:
    """Compute half the sum of the differences between the two distributions, in 0..1.

    This is the share of one side that would have to change its class to match the other side.
    NotEnoughData if a side is empty.
    """
    if not real.count or not generated.count:
        raise NotEnoughData("a class histogram of no samples; it takes at least one on each side")
    return float(abs(real.shares - generated.shares).sum() / 2)
