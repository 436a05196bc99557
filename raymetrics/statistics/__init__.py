"""PURE. What is remembered of many features: frozen, mergeable. numpy only."""

from raymetrics.statistics.base import Measure, Statistic, fold, from_arrays, merge_all, to_arrays
from raymetrics.statistics.histogram import Histogram
from raymetrics.statistics.moments import Moments
from raymetrics.statistics.rows import Rows

__all__ = [
    "Histogram",
    "Measure",
    "Moments",
    "Rows",
    "Statistic",
    "fold",
    "from_arrays",
    "merge_all",
    "to_arrays",
]
