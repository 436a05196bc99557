"""PURE. Numbers from statistics and arrays: numpy and scipy. One definition a file.

What needs scikit-learn loads it when it is called.
"""

from raymetrics.metrics.class_histogram import total_variation
from raymetrics.metrics.cmmd import cmmd
from raymetrics.metrics.frechet import frechet_distance
from raymetrics.metrics.inception_score import InceptionScore, inception_score, splits_of
from raymetrics.metrics.kernel import KernelDistance, draws, kernel_distance, kernel_distance_of
from raymetrics.metrics.normalised import normalised
from raymetrics.metrics.prd import (
    PRDCurve,
    PRDScores,
    curve_of_histograms,
    f_beta,
    prd_curve,
    prd_scores,
)
from raymetrics.metrics.precision_recall import PrecisionRecall, precision_recall
from raymetrics.metrics.uncertainty import (
    FrechetByCount,
    FrechetInfinity,
    frechet_by_count,
    frechet_infinity,
    subset_sizes,
)
from raymetrics.metrics.vendi import vendi_score

__all__ = [
    "FrechetByCount",
    "FrechetInfinity",
    "InceptionScore",
    "KernelDistance",
    "PRDCurve",
    "PRDScores",
    "PrecisionRecall",
    "cmmd",
    "curve_of_histograms",
    "draws",
    "f_beta",
    "frechet_by_count",
    "frechet_distance",
    "frechet_infinity",
    "inception_score",
    "kernel_distance",
    "kernel_distance_of",
    "normalised",
    "prd_curve",
    "prd_scores",
    "precision_recall",
    "splits_of",
    "subset_sizes",
    "total_variation",
    "vendi_score",
]
