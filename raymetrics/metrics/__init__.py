"""PURE. Numbers from statistics and arrays: numpy and scipy. One definition a file."""

from raymetrics.metrics.class_histogram import total_variation
from raymetrics.metrics.frechet import frechet_distance
from raymetrics.metrics.kernel import KernelDistance, kernel_distance
from raymetrics.metrics.precision_recall import PrecisionRecall, precision_recall

__all__ = [
    "KernelDistance",
    "PrecisionRecall",
    "frechet_distance",
    "kernel_distance",
    "precision_recall",
    "total_variation",
]
