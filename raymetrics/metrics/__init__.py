"""The metrics: formulas of statistics and arrays. Pure, one definition a file.

Imports numpy and scipy; the one formula that needs scikit-learn loads it when it is called.
"""

from raymetrics.metrics.cmmd import cmmd, cmmd_influences
from raymetrics.metrics.conventions import (
    CONVENTIONS,
    PROTOCOLS,
    Convention,
    Protocol,
    get_convention,
    get_protocol,
)
from raymetrics.metrics.frechet import Gaussian, frechet_distance
from raymetrics.metrics.frechet_extrapolation import (
    FrechetByCount,
    FrechetInfinity,
    frechet_by_count,
    frechet_infinity,
    subset_sizes,
)
from raymetrics.metrics.inception_score import InceptionScore, assign_splits, inception_score
from raymetrics.metrics.kernel import (
    KernelDistance,
    draw_subsets,
    kernel_distance,
    kernel_distance_over_subsets,
    kernel_distance_parts,
)
from raymetrics.metrics.manifold_survey import (
    ManifoldSurvey,
    knn_radii,
    radii_up_to_median,
    require_neighbors,
    survey_manifolds,
)
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
    rank_ids,
)
from raymetrics.metrics.top1_distance import total_variation
from raymetrics.metrics.unit_length import normalize_rows
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
    "ManifoldSurvey",
    "PRDCurve",
    "PRDScores",
    "PrecisionRecall",
    "Protocol",
    "assign_splits",
    "cmmd",
    "cmmd_influences",
    "curve_of_histograms",
    "densities_coverages",
    "draw_subsets",
    "f_beta",
    "f_score",
    "frechet_by_count",
    "frechet_distance",
    "frechet_infinity",
    "get_convention",
    "get_protocol",
    "inception_score",
    "kernel_distance",
    "kernel_distance_over_subsets",
    "kernel_distance_parts",
    "knn_radii",
    "manifold_scores",
    "normalize_rows",
    "prd_curve",
    "prd_scores",
    "precision_recall",
    "precisions_recalls",
    "radii_up_to_median",
    "rank_ids",
    "require_neighbors",
    "subset_sizes",
    "survey_manifolds",
    "total_variation",
    "vendi_score",
]
