"""The metrics that tell copies of training samples from new samples."""

from __future__ import annotations

from raymetrics.metrics.metric import Metric

ROWS: tuple[Metric, ...] = ()
