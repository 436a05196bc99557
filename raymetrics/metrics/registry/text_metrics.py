"""The metrics of images and the texts that they were made from."""

from __future__ import annotations

from raymetrics.metrics.metric import Metric

ROWS: tuple[Metric, ...] = ()
