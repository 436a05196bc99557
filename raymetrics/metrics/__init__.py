"""PURE. Numbers from statistics and arrays: numpy and scipy. One definition a file.

What needs scikit-learn loads it when it is called.
"""

from raymetrics.metrics.cmmd import cmmd
from raymetrics.metrics.conventions import (
    CONVENTIONS,
    PROTOCOLS,
    Convention,
    Protocol,
    convention,
    protocol,
)
from raymetrics.metrics.frechet import Gaussian, frechet_distance
from raymetrics.metrics.frechet_extrapolation import (
    FrechetByCount,
    FrechetInfinity,
    frechet_by_count,
    frechet_infinity,
    subset_sizes,
)
from raymetrics.metrics.inception_score import InceptionScore, inception_score, splits_of
from raymetrics.metrics.kernel import KernelDistance, draws, kernel_distance, kernel_distance_of
from raymetrics.metrics.manifold_survey import Survey, radii, require, survey, up_to_median
from raymetrics.metrics.prd import (
    PRDCurve,
    PRDScores,
    curve_of_histograms,
    f_beta,
    prd_curve,
    prd_scores,
)
from raymetrics.metrics.precision_recall import (
    ManifoldScores,
    PrecisionRecall,
    densities_coverages,
    f_score,
    manifold_scores,
    precision_recall,
    precisions_recalls,
    ranked,
)
from raymetrics.metrics.top1_distance import total_variation
from raymetrics.metrics.unit_length import normalised
from raymetrics.metrics.vendi import vendi_score

__all__ = [
    "CONVENTIONS",
    "PROTOCOLS",
    "Convention",
    "FrechetByCount",
    "FrechetInfinity",
    "Gaussian",
    "InceptionScore",
    "KernelDistance",
    "ManifoldScores",
    "PRDCurve",
    "PRDScores",
    "PrecisionRecall",
    "Protocol",
    "Survey",
    "cmmd",
    "convention",
    "curve_of_histograms",
    "densities_coverages",
    "draws",
    "f_beta",
    "f_score",
    "frechet_by_count",
    "frechet_distance",
    "frechet_infinity",
    "inception_score",
    "kernel_distance",
    "kernel_distance_of",
    "manifold_scores",
    "normalised",
    "prd_curve",
    "prd_scores",
    "precision_recall",
    "precisions_recalls",
    "protocol",
    "radii",
    "ranked",
    "require",
    "splits_of",
    "subset_sizes",
    "survey",
    "total_variation",
    "up_to_median",
    "vendi_score",
]
