"""PURE. What is remembered of many features: frozen, mergeable. numpy and scipy."""

from raymetrics.statistics.balls import Balls
from raymetrics.statistics.base import Measure, Statistic, fold, from_arrays, merge_all, to_arrays
from raymetrics.statistics.class_scores import ClassScores
from raymetrics.statistics.draws import NestedMoments
from raymetrics.statistics.histogram import Histogram
from raymetrics.statistics.moments import Moments
from raymetrics.statistics.nearest import Nearest
from raymetrics.statistics.rows import Rows
from raymetrics.statistics.weighted import WeightedMoments

__all__ = [
    "Balls",
    "ClassScores",
    "Histogram",
    "Measure",
    "Moments",
    "Nearest",
    "NestedMoments",
    "Rows",
    "Statistic",
    "WeightedMoments",
    "fold",
    "from_arrays",
    "merge_all",
    "to_arrays",
]
