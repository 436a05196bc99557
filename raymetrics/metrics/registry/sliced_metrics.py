"""The distances of projections onto random directions."""

from __future__ import annotations

from raymetrics.metrics.metric import Metric

ROWS: tuple[Metric, ...] = ()
